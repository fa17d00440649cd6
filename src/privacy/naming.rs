//! Whether a text names somebody: text that is no event, or is none of theirs.
//!
//! For an erasure and at the door, where a text too many is the lesser evil. An export, which is given away, takes a text
//! for somebody's by a stricter reading.

use std::borrow::Cow;

use crate::event::as_id;
use crate::id::Identifier;
use crate::identity::{Rules, normalise};
use crate::value::Value;

/// The shortest value that is looked for within longer texts. Shorter ones stand in every other text by chance.
const SHORTEST: usize = 4;

/// The values in a text that may be identifiers: the strings and numbers of JSON, or where it is none, what stands
/// between quotes and white space.
pub(crate) fn values(text: &str) -> Vec<String> {
    let mut values = Vec::new();
    if let Ok(json) = serde_json::from_str::<Value>(text) {
        leaves(&json, &mut |value| values.push(value.into_owned()));
    } else {
        let quoted = text.split('"').map(str::trim);
        let apart = |c: char| c.is_whitespace() || "\"'`,;()[]{}<>=".contains(c);
        let all = quoted.chain(text.split(apart)).filter(|value| !value.is_empty());
        values.extend(all.map(str::to_owned));
        // What was cut off may be JSON up to there.
        let escaped = text.split('"').filter(|piece| piece.contains('\\'));
        values.extend(escaped.filter_map(|piece| serde_json::from_str(&format!("\"{piece}\"")).ok()));
    }
    values.sort_unstable();
    values.dedup();
    values
}

fn leaves<'v>(value: &'v Value, each: &mut dyn FnMut(Cow<'v, str>)) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| leaves(item, each)),
        Value::Object(members) => members.values().for_each(|member| leaves(member, each)),
        Value::Null | Value::Bool(_) => {}
        Value::String(_) | Value::Number(_) => as_id(value).into_iter().for_each(each),
    }
}

/// Identifiers that are looked for in texts.
pub(crate) struct Names<'n> {
    identifiers: &'n [Identifier],
    rules: &'n Rules,
    /// Their values in lower case.
    folded: Vec<String>,
}

impl<'n> Names<'n> {
    pub(crate) fn new(identifiers: &'n [Identifier], rules: &'n Rules) -> Self {
        let folded = identifiers.iter().map(|identifier| identifier.value().to_lowercase()).collect();
        Self { identifiers, rules, folded }
    }

    /// Whether a text names any of them: in a value of its own, in any spelling, or as a word of a longer one.
    pub(crate) fn are_in(&self, text: &str) -> bool {
        let spells = |value: &String| {
            self.identifiers.iter().any(|identifier| {
                let normal = normalise(identifier.namespace(), value, self.rules.region());
                normal.is_ok_and(|normal| normal == identifier.value())
            })
        };
        if values(text).iter().any(spells) {
            return true;
        }
        let text = text.to_lowercase();
        self.folded.iter().filter(|value| value.len() >= SHORTEST).any(|value| is_word_of(value, &text))
    }
}

/// Whether a value stands in a text with nothing on either side that could be a part of it.
fn is_word_of(value: &str, text: &str) -> bool {
    let of_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    text.match_indices(value).any(|(place, _)| {
        let before = text[..place].chars().next_back();
        let after = text[place + value.len()..].chars().next();
        !before.is_some_and(of_word) && !after.is_some_and(of_word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_names_somebody_in_any_spelling_and_not_by_chance() {
        let identifiers = [
            Identifier::new("email", "ann@example.com"),
            Identifier::new("phone", "+8613800000002"),
            Identifier::new("user_id", "u1"),
            Identifier::new("external:crm", "4711"),
        ];
        let rules = Rules::default();
        let names = Names::new(&identifiers, &rules);
        for text in [
            r#"{"type":"track","traits":{"email":" Ann@Example.com"}}"#,
            r#"{"a":[{"b":"+86 138 0000 0002"}]}"#,
            r#"{"userId":"u1"}"#,
            r#"{"crm":4711}"#,
            r#"{"url":"https://x.io/?mail=ANN@example.com&x=1"}"#,
            r#"{"type":"track","userId":"u1","#,
            "u1,Ann",
            r#"{"\u0061":"\u00751"}"#,
            r#"{"userId":"\u00751","#,
            r#"{"mail":"ann\u0040example.com","n":"#,
        ] {
            assert!(names.are_in(text), "{text}");
        }
        for text in [
            r#"{"userId":"u11"}"#,
            r#"{"note":"about u1 again"}"#,
            r#"{"url":"joann@example.com"}"#,
            r#"{"n":47110,"u1":true}"#,
            r#"{"userId":"u11","#,
            "",
        ] {
            assert!(!names.are_in(text), "{text}");
        }
    }
}
