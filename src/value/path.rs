//! Dotted paths into objects.

use std::fmt;

use serde_json::Value;

use super::{Object, nfc};

/// The names of members, from the outside in: `address.city`.
///
/// A path reaches through arrays on its way: `products.sku` is the `sku` of each of the `products`. A member whose own
/// name has dots goes before the path that its name spells.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct DottedPath {
    text: Box<str>,
    /// Where in the text each name ends.
    ends: Box<[usize]>,
}

impl DottedPath {
    /// The path that `text` is, split at its dots.
    pub(crate) fn new(text: &str) -> Self {
        let text: Box<str> = nfc(text).into();
        let dots = text.match_indices('.').map(|(place, _)| place);
        let ends = dots.chain([text.len()]).collect();
        Self { text, ends }
    }

    /// Whether every name of the path has at least one character.
    pub(crate) fn is_valid(&self) -> bool {
        self.text.split('.').all(|name| !name.is_empty())
    }

    /// The text of the names from one place to another.
    fn names(&self, from: usize, to: usize) -> &str {
        let start = if from == 0 { 0 } else { self.ends[from - 1] + 1 };
        &self.text[start..self.ends[to - 1]]
    }

    /// The names that the outermost member may have, the longest first: `address.city` and `address`.
    pub(crate) fn roots(&self) -> impl Iterator<Item = &str> {
        self.ends.iter().rev().map(|end| &self.text[..*end])
    }

    /// What follows on a root, if anything does.
    pub(crate) fn below(&self, root: &str) -> Option<&str> {
        self.text.get(root.len() + 1..)
    }

    /// Whether `visit` says yes to any of the values that the path reaches in `object`, in order. It is given
    /// `None` where the path ends before its last name; an array without elements on the way is such an end.
    pub(crate) fn any<'v>(&self, object: &'v Object, visit: impl FnMut(Option<&'v Value>) -> bool) -> bool {
        self.any_among(&object, visit)
    }

    /// The same, wherever the outermost member is found.
    pub(crate) fn any_among<'v>(
        &self,
        members: &impl Members<'v>,
        mut visit: impl FnMut(Option<&'v Value>) -> bool,
    ) -> bool {
        self.any_member(members, 0, &mut visit)
    }

    /// The first value there that is neither missing nor null.
    pub(crate) fn first<'v>(&self, members: &impl Members<'v>) -> Option<&'v Value> {
        let mut found = None;
        self.any_among(members, |value| {
            found = value.filter(|value| !value.is_null());
            found.is_some()
        });
        found
    }

    /// Like [`any`](Self::any), beginning with a value that was found under the one of the [`roots`](Self::roots) that has so
    /// many bytes.
    pub(crate) fn any_below<'v>(
        &self,
        value: &'v Value,
        root: &str,
        mut visit: impl FnMut(Option<&'v Value>) -> bool,
    ) -> bool {
        let from =
            self.ends.iter().position(|end| *end == root.len()).map_or(self.ends.len(), |place| place + 1);
        self.any_value(value, from, &mut visit)
    }

    fn any_member<'v>(
        &self,
        object: &impl Members<'v>,
        from: usize,
        visit: &mut impl FnMut(Option<&'v Value>) -> bool,
    ) -> bool {
        let found = (from + 1..=self.ends.len())
            .rev()
            .find_map(|to| object.member(self.names(from, to)).map(|value| (value, to)));
        match found {
            Some((value, to)) => self.any_value(value, to, visit),
            None => visit(None),
        }
    }

    fn any_value<'v>(
        &self,
        value: &'v Value,
        from: usize,
        visit: &mut impl FnMut(Option<&'v Value>) -> bool,
    ) -> bool {
        if from == self.ends.len() {
            return visit(Some(value));
        }
        match value {
            Value::Object(object) => self.any_member(&object, from, visit),
            Value::Array(items) if !items.is_empty() => {
                items.iter().any(|item| self.any_value(item, from, visit))
            }
            _ => visit(None),
        }
    }
}

/// Where members are found by their names, which are in normal form C.
pub(crate) trait Members<'v> {
    /// The member of that name.
    fn member(&self, name: &str) -> Option<&'v Value>;
}

impl<'v> Members<'v> for &'v Object {
    fn member(&self, name: &str) -> Option<&'v Value> {
        // The object's own names may not be in normal form.
        let scan = || self.iter().find(|(other, _)| nfc(other) == name).map(|(_, value)| value);
        self.get(name).or_else(|| if name.is_ascii() { None } else { scan() })
    }
}

impl fmt::Display for DottedPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
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
            "a.b": {"c": 1, "d.e": 2},
            "a": {"b": {"c": 3, "f": 4}},
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
            ("a.b.c", json!([1])),
            ("a.b.d.e", json!([2])),
            ("a.b.f", json!(["missing"])),
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
