//! Dotted paths into objects.

use std::fmt;

use serde_json::Value;

use super::{Object, nfc};

/// The names of members, from the outside in: `address.city`.
///
/// A path reaches through arrays on its way: `products.sku` is the `sku` of each of the `products`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct DottedPath(Box<[Box<str>]>);

impl DottedPath {
    /// The path that `text` is, split at its dots.
    pub(crate) fn new(text: &str) -> Self {
        Self(nfc(text).split('.').map(Into::into).collect())
    }

    /// Whether every name of the path has at least one character.
    pub(crate) fn is_valid(&self) -> bool {
        self.0.iter().all(|name| !name.is_empty())
    }

    /// The name of the outermost member.
    pub(crate) fn root(&self) -> &str {
        self.0.first().map_or("", |name| name)
    }

    /// Whether `visit` says yes to any of the values that the path reaches in `object`, in order. It is given
    /// `None` where the path ends before its last name; an array without elements on the way is such an end.
    pub(crate) fn any<'v>(
        &self,
        object: &'v Object,
        mut visit: impl FnMut(Option<&'v Value>) -> bool,
    ) -> bool {
        any_member(object, &self.0, &mut visit)
    }
}

fn any_member<'v>(
    object: &'v Object,
    path: &[Box<str>],
    visit: &mut impl FnMut(Option<&'v Value>) -> bool,
) -> bool {
    match path.split_first() {
        None => visit(None),
        Some((name, rest)) => match member(object, name) {
            None => visit(None),
            Some(value) => any_value(value, rest, visit),
        },
    }
}

fn any_value<'v>(
    value: &'v Value,
    rest: &[Box<str>],
    visit: &mut impl FnMut(Option<&'v Value>) -> bool,
) -> bool {
    if rest.is_empty() {
        return visit(Some(value));
    }
    match value {
        Value::Object(object) => any_member(object, rest, visit),
        Value::Array(items) if !items.is_empty() => items.iter().any(|item| any_value(item, rest, visit)),
        _ => visit(None),
    }
}

/// The member of that name, which is in normal form C; the object's names may not be.
fn member<'v>(object: &'v Object, name: &str) -> Option<&'v Value> {
    let scan = || object.iter().find(|(other, _)| nfc(other) == name).map(|(_, value)| value);
    object.get(name).or_else(|| if name.is_ascii() { None } else { scan() })
}

impl fmt::Display for DottedPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

impl fmt::Debug for DottedPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_reaches_into_objects_and_through_arrays() {
        let value = json!({
            "city": "Wuhan",
            "address": {"city": "Lima", "none": null},
            "orders": [{"items": [{"sku": "a"}, {"sku": "b"}]}, {"items": []}, {"items": [[{"sku": "c"}]]}, 7],
            "e\u{301}": 1,
        });
        for (path, expected) in [
            ("city", json!(["Wuhan"])),
            ("address.city", json!(["Lima"])),
            ("address.none", json!([null])),
            ("address.none.deeper", json!(["missing"])),
            ("city.x", json!(["missing"])),
            ("absent.x", json!(["missing"])),
            ("orders.items.sku", json!(["a", "b", "missing", "c", "missing"])),
            ("é", json!([1])),
        ] {
            let mut seen = Vec::new();
            let missing = json!("missing");
            let path = DottedPath::new(path);
            path.any(value.as_object().unwrap(), |value| {
                seen.push(value.unwrap_or(&missing).clone());
                false
            });
            assert_eq!(json!(seen), expected, "{path}");
        }
        assert!(!DottedPath::new("a..b").is_valid() && !DottedPath::new("").is_valid());
    }
}
