//! Inserting many rows with few statements: most of what a short row costs is that a statement begins and ends.

use std::fmt::Write as _;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Statement};

use super::Result;

/// How many rows a statement inserts. With more of them a row becomes hardly cheaper, and the statement longer to make.
const AT_ONCE: usize = 32;

/// Inserts rows into a table, of all its columns or of those that `into` names.
pub(super) fn insert_rows<'v, const N: usize>(
    conn: &Connection,
    into: &str,
    rows: impl IntoIterator<Item = [ValueRef<'v>; N]>,
) -> Result<()> {
    let mut rows = rows.into_iter();
    let mut batch: Vec<_> = rows.by_ref().take(AT_ONCE).collect();
    if batch.len() == AT_ONCE {
        let mut insert = conn.prepare_cached(&statement(into, N, AT_ONCE))?;
        while batch.len() == AT_ONCE {
            run(&mut insert, &batch)?;
            batch.clear();
            batch.extend(rows.by_ref().take(AT_ONCE));
        }
    }
    // Every number of rows would have a statement of its own: what is left over goes row by row.
    let mut insert = conn.prepare_cached(&statement(into, N, 1))?;
    batch.chunks(1).try_for_each(|row| run(&mut insert, row))
}

/// Runs a statement with the values of as many rows as it has.
pub(super) fn run<const N: usize>(insert: &mut Statement<'_>, rows: &[[ValueRef<'_>; N]]) -> Result<()> {
    for (place, value) in (1..).zip(rows.iter().flatten()) {
        insert.raw_bind_parameter::<usize, _>(place, ToSqlOutput::Borrowed(*value))?;
    }
    insert.raw_execute()?;
    Ok(())
}

/// The statement that inserts so many rows.
fn statement(into: &str, columns: usize, rows: usize) -> String {
    let mut sql = format!("INSERT INTO {into} VALUES ");
    let mut parameters = 1..;
    for row in 0..rows {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        for (column, parameter) in (0..columns).zip(parameters.by_ref()) {
            let comma = if column == 0 { "" } else { ", " };
            // Writing to a string cannot fail.
            let _ = write!(sql, "{comma}?{parameter}");
        }
        sql.push(')');
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_has_a_parameter_for_each_value() {
        assert_eq!(statement("t (a, b)", 2, 2), "INSERT INTO t (a, b) VALUES (?1, ?2), (?3, ?4)");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any table will do")]
    fn any_number_of_rows_arrives() {
        for count in [0, 1, 31, 32, 33, 64, 100] {
            let conn = Connection::open_in_memory().unwrap();
            conn.execute_batch("CREATE TABLE t (number INTEGER, text TEXT) STRICT").unwrap();
            let texts: Vec<String> = (0..count).map(|number| format!("row {number}")).collect();
            let rows = texts.iter().zip(0..).map(|(text, number)| {
                [
                    ValueRef::Integer(number),
                    if number % 3 == 0 { ValueRef::Null } else { text.as_str().into() },
                ]
            });
            insert_rows(&conn, "t", rows).unwrap();
            let sql = "SELECT count(*), count(text), count(DISTINCT number) FROM t WHERE text IS NULL OR text = 'row ' || number";
            let found: (i64, i64, i64) =
                conn.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
            assert_eq!(found, (count, count - (count + 2) / 3, count));
        }
    }
}
