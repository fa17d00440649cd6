//! Inserting many rows with few statements: most of what a short row costs is that a statement begins and ends.

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Statement};

use super::Result;

/// How many rows a statement inserts: of these the largest that there are enough for. With more rows one becomes hardly cheaper, and the
/// statement longer to make.
const AT_ONCE: [usize; 4] = [32, 8, 2, 1];

/// Inserts rows into a table, given with its columns. One that cannot be inserted is an error, and those before it stay: whoever
/// hears of it takes the transaction back, so SQLite need not write down how to take back the statement.
pub(super) fn insert_rows<'v, const N: usize>(
    conn: &Connection,
    into: &str,
    rows: impl IntoIterator<Item = [ValueRef<'v>; N]>,
) -> Result<()> {
    let (most, mut rows) = (AT_ONCE[0], rows.into_iter());
    let mut batch: Vec<_> = rows.by_ref().take(most).collect();
    if batch.len() == most {
        let mut many = conn.prepare_cached(&insert(into, N, most))?;
        while batch.len() == most {
            run(&mut many, &batch)?;
            batch.clear();
            batch.extend(rows.by_ref().take(most));
        }
    }
    let mut left = batch.as_slice();
    for at_once in AT_ONCE {
        while let Some((these, rest)) = left.split_at_checked(at_once) {
            run(&mut *conn.prepare_cached(&insert(into, N, at_once))?, these)?;
            left = rest;
        }
    }
    Ok(())
}

/// Runs a statement with the values of as many rows as it has.
fn run<const N: usize>(insert: &mut Statement<'_>, rows: &[[ValueRef<'_>; N]]) -> Result<()> {
    for (place, value) in (1..).zip(rows.iter().flatten()) {
        insert.raw_bind_parameter::<usize, _>(place, ToSqlOutput::Borrowed(*value))?;
    }
    insert.raw_execute()?;
    Ok(())
}

/// The statement that inserts so many rows of so many columns.
fn insert(into: &str, columns: usize, rows: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(", "));
    format!("INSERT OR FAIL INTO {into} VALUES {}", vec![row; rows].join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any table will do")]
    fn any_number_of_rows_arrives() {
        for count in [0, 1, 2, 3, 9, 15, 31, 32, 33, 64, 100] {
            let conn = Connection::open_in_memory().unwrap();
            conn.execute_batch("CREATE TABLE t (number INTEGER, text TEXT) STRICT").unwrap();
            let texts: Vec<String> = (0..count).map(|number| format!("row {number}")).collect();
            let rows = texts.iter().zip(0..).map(|(text, number)| {
                [
                    ValueRef::Integer(number),
                    if number % 3 == 0 { ValueRef::Null } else { text.as_str().into() },
                ]
            });
            insert_rows(&conn, "t (number, text)", rows).unwrap();
            let sql = "SELECT count(*), count(text), count(DISTINCT number) FROM t WHERE text IS NULL OR text = 'row ' || number";
            let found: (i64, i64, i64) =
                conn.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
            assert_eq!(found, (count, count - (count + 2) / 3, count));
        }
    }
}
