//! A whole file, changed at random.
#![no_main]

use std::fs;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("customers.db");
    fs::write(&path, bytes).unwrap();
    if let Ok(cdp) = customerdb_fuzz::builder().open_read_only(&path) {
        customerdb_fuzz::ask(&cdp);
    }
    if let Ok(cdp) = customerdb_fuzz::builder().open(&path) {
        let event = customerdb::Event::track("View").user_id("u0").anonymous_id("a1").message_id("new");
        let _ = (cdp.ingest([event]), cdp.maintain(), cdp.erase("user_id:u1"));
        customerdb_fuzz::ask(&cdp);
    }
});
