//! Texts of an event that are not copied out of the JSON that it was read from.

/// A piece of the JSON that an event was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    start: u32,
    end: u32,
}

impl Piece {
    /// Where `piece` lies, which was borrowed from `json`. `None` if it was not, or lies too far behind.
    pub(super) fn of(piece: &str, json: &str) -> Option<Self> {
        let start = piece.as_ptr().addr().checked_sub(json.as_ptr().addr())?;
        let end = start.checked_add(piece.len())?;
        let (start, end) = (u32::try_from(start).ok()?, u32::try_from(end).ok()?);
        (json.get(start as usize..end as usize)? == piece).then_some(Self { start, end })
    }

    /// The text that lies there.
    pub(super) fn within(self, json: &str) -> &str {
        json.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// A text of an event: a piece of its JSON, or one of its own.
#[derive(Debug, Clone)]
pub(super) enum Text {
    Piece(Piece),
    Own(Box<str>),
}

impl Text {
    /// The text, of an event that was read from `json`.
    pub(super) fn within<'t>(&'t self, json: &'t str) -> &'t str {
        match self {
            Self::Piece(piece) => piece.within(json),
            Self::Own(text) => text,
        }
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::Own(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_found_again_and_another_text_is_none() {
        let json = r#"{"a":"b","c":"é"}"#;
        for piece in [json, "", &json[1..4], &json[14..16]] {
            let found = Piece::of(piece, json);
            assert_eq!(found.map(|found| found.within(json)), (!piece.is_empty()).then_some(piece));
        }
        assert_eq!(Piece::of(&json[5..5], json).map(|found| found.within(json)), Some(""));
        let other = json.to_owned();
        assert_eq!(Piece::of(&other, json), None);
        assert_eq!(Piece { start: 90, end: 91 }.within(json), "");
    }
}
