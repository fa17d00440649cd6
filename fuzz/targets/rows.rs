//! Pieces of the log under right checksums: whoever writes them can write anything there.
#![no_main]

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;

use rusqlite::Connection;
use tempfile::TempDir;

/// The tables that have checksums of their own, each with what stands in it before the bytes (`docs/format.md`).
const TABLES: [(&str, &str, &[(&str, bool)]); 5] = [
    ("log", "bytes", &[("first", false), ("span", false)]),
    (
        "blocks",
        "bytes",
        &[
            ("first_rank", false),
            ("last_rank", false),
            ("count", false),
            ("first_at", true),
            ("last_at", true),
        ],
    ),
    ("message_ids", "bytes", &[("bucket", true)]),
    ("seals", "bloom", &[]),
    ("ranks", "bytes", &[("chunk", false), ("count", false)]),
];

/// A file with something in all of them, and a copy that is changed.
struct Files {
    whole: Vec<u8>,
    path: PathBuf,
    _folder: TempDir,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("customers.db");
        let cdp = customerdb_fuzz::people();
        cdp.backup(&path).unwrap();
        Self { whole: fs::read(&path).unwrap(), path, _folder: folder }
    }
}

thread_local!(static FILES: RefCell<Files> = RefCell::new(Files::new()));

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((&[table, row, way], bytes)) = input.split_first_chunk() else { return };
    let (table, column, before) = TABLES[usize::from(table) % TABLES.len()];
    FILES.with_borrow(|files| {
        for beside in ["db-wal", "db-shm"] {
            let _ = fs::remove_file(files.path.with_extension(beside));
        }
        fs::write(&files.path, &files.whole).unwrap();
        let conn = Connection::open(&files.path).unwrap();
        let count: i64 =
            conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
        let names: String = before.iter().map(|(name, _)| format!(", {name}")).collect();
        let sql = format!("SELECT rowid, {column}, crc{names} FROM {table} LIMIT 1 OFFSET ?1");
        let (rowid, old, known, head): (i64, Vec<u8>, u32, Vec<u8>) = conn
            .query_row(&sql, [i64::from(row) % count], |row| {
                let mut head = Vec::new();
                for (index, (_, is_long)) in before.iter().enumerate() {
                    let number: i64 = row.get(index + 3)?;
                    head.extend(number.to_le_bytes().into_iter().take(if *is_long { 8 } else { 4 }));
                }
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, head))
            })
            .unwrap();
        // In place of what stands there, or into it, so that more of it makes sense.
        let bytes: Vec<u8> = if way % 4 > 0 {
            let mixed = old.iter().enumerate();
            mixed.map(|(at, byte)| byte ^ bytes.get(at).copied().unwrap_or(0)).collect()
        } else {
            bytes.to_vec()
        };
        let mut crc = crc32fast::Hasher::new();
        crc.update(&head);
        crc.update(&bytes);
        let crc = crc.finalize();
        assert!(bytes != old || crc == known, "{table}: the checksum is another");
        let sql = format!("UPDATE {table} SET {column} = ?1, crc = ?2 WHERE rowid = ?3");
        conn.execute(&sql, (bytes, crc, rowid)).unwrap();
        drop(conn);
        if let Ok(cdp) = customerdb_fuzz::builder().open_read_only(&files.path) {
            customerdb_fuzz::ask(&cdp);
        }
        if let Ok(cdp) = customerdb_fuzz::builder().open(&files.path) {
            let _ = (cdp.maintain(), cdp.restitch(), cdp.erase("user_id:u1"));
        }
    });
});
