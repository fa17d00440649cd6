//! Answers about segments as people read them.

use std::fmt::{self, Display};

use customerdb::{ChangeCause, SegmentMove, Value};

use super::{counted, name};
use crate::answer::{Changes, Defined, Segments, WhyOf};
use crate::table::{Table, clean, plain};

impl Display for Defined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", counted(self.members, "member", "members"))
    }
}

impl Display for Segments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.segments.is_empty() {
            return f.write_str("no segments\n");
        }
        let mut table = Table::new("");
        for segment in &self.segments {
            let members = counted(segment.members, "member", "members");
            let condition = segment.condition.as_ref().map_or_else(|| "a list".to_owned(), Value::to_string);
            table = table.row([&segment.name, &members, &condition]);
        }
        table.fmt(f)
    }
}

impl Display for WhyOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.conditions.is_null() {
            return f.write_str("nobody goes by that id\n");
        }
        f.write_str(if self.member { "a member\n" } else { "not a member\n" })?;
        node(f, &self.conditions, 1)
    }
}

/// One condition a line, what it is made of below it.
fn node(f: &mut fmt::Formatter<'_>, condition: &Value, depth: usize) -> fmt::Result {
    let Some(object) = condition.as_object() else { return Ok(()) };
    let mark = if object.get("holds") == Some(&Value::Bool(true)) { "yes" } else { "no " };
    let told = |name: &&String| !["holds", "seen", "conditions"].contains(&name.as_str());
    let parts: Vec<&Value> = ["all", "any"]
        .iter()
        .filter_map(|name| object.get(*name)?.as_array())
        .flatten()
        .chain(object.get("not"))
        .chain(object.get("conditions"))
        .collect();
    let members = object.keys().filter(told).map(|name| match name.as_str() {
        "all" => "all of".to_owned(),
        "any" => "any of".to_owned(),
        "not" => "not".to_owned(),
        _ => format!("{name}: {}", object.get(name).map(plain).unwrap_or_default()),
    });
    let text = members.collect::<Vec<_>>().join(", ");
    write!(f, "{:indent$}{mark}  {}", "", clean(&text), indent = depth * 2)?;
    match object.get("seen") {
        Some(Value::Null) if !parts.is_empty() => writeln!(f)?,
        Some(seen) => writeln!(f, "  (saw {})", plain(seen))?,
        None => writeln!(f)?,
    }
    parts.into_iter().try_for_each(|part| node(f, part, depth + 1))
}

impl Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.changes.is_empty() {
            return f.write_str("no changes\n");
        }
        let mut table = Table::new("");
        for change in &self.changes {
            let moved = if change.change == SegmentMove::Entered { "entered" } else { "exited" };
            let cause = match &change.cause {
                ChangeCause::Event { message_id } => format!("by event {message_id}"),
                ChangeCause::Trait { name, message_id } => format!("by trait {name} of event {message_id}"),
                ChangeCause::Consent { purpose } => format!("by consent for {purpose}"),
                cause => format!("by {cause:?}").to_lowercase(),
            };
            let (cursor, at) = (change.cursor.to_string(), change.at.to_string());
            table = table.row([&cursor, &at, &name(&change.member), moved, &change.segment, &cause]);
        }
        table.fmt(f)
    }
}
