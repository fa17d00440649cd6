//! The JSON of an event without what its row of the log tells beside it: its message id, and its time.
//!
//! Both are looked for as text, by a rule that whoever reads can follow as well: the value of a member begins behind the
//! first quotation mark after the first place where the member's name stands in quotation marks. If there is something else
//! there (another spelling, another member of the name before), nothing is left out.

use std::sync::LazyLock;

use chrono::{DateTime, SecondsFormat, Utc};
use memchr::memchr;
use memchr::memmem::Finder;

use crate::clock::Timestamp;

/// Find the names of the members.
static MESSAGE_ID: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(r#""messageId""#));
static TIMESTAMP: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(r#""timestamp""#));

/// In what form a time was left out: each, and how many bytes it has.
const TIMES: [(SecondsFormat, usize); 3] =
    [(SecondsFormat::Secs, 20), (SecondsFormat::Millis, 24), (SecondsFormat::Micros, 27)];

/// What was left out of a text: 1 for the message id; twice the number of the time's form, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cuts(u8);

impl Cuts {
    /// What `number` says. `None` if there is no such thing to say.
    pub(super) fn new(number: u64) -> Option<Self> {
        u8::try_from(number).ok().filter(|number| usize::from(number >> 1) <= TIMES.len()).map(Self)
    }

    pub(super) fn number(self) -> u64 {
        self.0.into()
    }
}

/// Where the value of a member begins.
fn hole(json: &str, member: &Finder<'_>) -> Option<usize> {
    let behind = member.find(json.as_bytes())? + member.needle().len();
    Some(behind + memchr(b'"', &json.as_bytes()[behind..])? + 1)
}

/// A time in one of the forms.
fn written(at: Timestamp, form: SecondsFormat) -> String {
    DateTime::<Utc>::from(at).to_rfc3339_opts(form, true)
}

/// Appends the JSON of an event to a text, without what can be left out.
pub(super) fn cut(json: &str, id: &str, at: Timestamp, out: &mut String) -> Cuts {
    let start = out.len();
    let mut cuts = 0;
    let is_there = |place: usize| json[place..].strip_prefix(id).is_some_and(|rest| rest.starts_with('"'));
    match hole(json, &MESSAGE_ID).filter(|place| is_there(*place)) {
        Some(place) => {
            out.push_str(&json[..place]);
            out.push_str(&json[place + id.len()..]);
            cuts |= 1;
        }
        None => out.push_str(json),
    }
    if let Some(place) = hole(&out[start..], &TIMESTAMP).map(|place| start + place) {
        let value = &out[place..];
        // Nothing but those is as long.
        let len = value.bytes().take(TIMES[2].1 + 1).position(|byte| byte == b'"');
        let form = (1..).zip(TIMES).find(|(_, (_, bytes))| Some(*bytes) == len);
        if let Some((number, (form, len))) = form
            && value.starts_with(&written(at, form))
        {
            out.replace_range(place..place + len, "");
            cuts |= number << 1;
        }
    }
    Cuts(cuts)
}

/// Puts what was left out of the text from `start` on back into it. `None` if it was not made so.
pub(super) fn restore(text: &mut String, start: usize, cuts: Cuts, id: &str, at: Timestamp) -> Option<()> {
    if let Some((form, _)) = usize::from(cuts.0 >> 1).checked_sub(1).and_then(|form| TIMES.get(form)) {
        let place = start + hole(text.get(start..)?, &TIMESTAMP)?;
        text.insert_str(place, &written(at, *form));
    }
    if cuts.0 & 1 == 1 {
        let place = start + hole(text.get(start..)?, &MESSAGE_ID)?;
        text.insert_str(place, id);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is left of a text, and that it is whole again.
    fn left(json: &str, id: &str, at: Timestamp) -> (String, Cuts) {
        let mut text = String::from("before");
        let cuts = cut(json, id, at, &mut text);
        let left = text.split_off("before".len());
        text.push_str(&left);
        assert_eq!(restore(&mut text, "before".len(), Cuts::new(cuts.number()).unwrap(), id, at), Some(()));
        assert_eq!(text.strip_prefix("before"), Some(json));
        (left, cuts)
    }

    #[test]
    fn what_the_row_tells_is_left_out_however_it_is_spaced() {
        let at = Timestamp::from_micros(1_714_564_800_123_000);
        for (json, rest, cuts) in [
            (
                r#"{"messageId":"m1","timestamp":"2024-05-01T12:00:00.123Z"}"#,
                r#"{"messageId":"","timestamp":""}"#,
                5,
            ),
            (
                r#"{"timestamp" : "2024-05-01T12:00:00.123000Z", "messageId": "m1"}"#,
                r#"{"timestamp" : "", "messageId": ""}"#,
                7,
            ),
            // Another offset, another precision, an id in escapes, a member of the name before.
            (
                r#"{"timestamp":"2024-05-01T14:00:00.123+02:00","messageId":"m1"}"#,
                r#"{"timestamp":"2024-05-01T14:00:00.123+02:00","messageId":""}"#,
                1,
            ),
            (
                r#"{"timestamp":"2024-05-01T12:00:00.12300Z","messageId":"\u006d1"}"#,
                r#"{"timestamp":"2024-05-01T12:00:00.12300Z","messageId":"\u006d1"}"#,
                0,
            ),
            (
                r#"{"a":{"messageId":"x","timestamp":7},"messageId":"m1","timestamp":"2024-05-01T12:00:00.123Z"}"#,
                r#"{"a":{"messageId":"x","timestamp":7},"messageId":"m1","timestamp":"2024-05-01T12:00:00.123Z"}"#,
                0,
            ),
            (r#"{"messageId":"m1.2"}"#, r#"{"messageId":"m1.2"}"#, 0),
            ("{}", "{}", 0),
        ] {
            assert_eq!(left(json, "m1", at), (rest.to_owned(), Cuts(cuts)), "{json}");
        }
    }

    #[test]
    fn times_of_every_form_are_left_out_if_they_say_the_same() {
        for (time, form) in
            [("2024-05-01T12:00:00Z", 1), ("2024-05-01T12:00:00.000Z", 2), ("2024-05-01T12:00:00.000000Z", 3)]
        {
            let json = format!(r#"{{"timestamp":"{time}"}}"#);
            let at: Timestamp = time.parse().unwrap();
            assert_eq!(left(&json, "", at), (r#"{"timestamp":""}"#.to_owned(), Cuts(form << 1)));
            assert_eq!(left(&json, "", Timestamp::from_micros(at.as_micros() + 1_000_000)).1, Cuts(0));
        }
    }

    proptest! {
        /// Whatever the text is: it need not even be JSON.
        #[test]
        fn a_text_is_whole_again(
            pieces in prop::collection::vec(
                prop_oneof![
                    Just("\"messageId\"".to_owned()), Just("\"timestamp\"".to_owned()), Just("\"".to_owned()), Just("m1".to_owned()),
                    Just("2024-05-01T12:00:00Z".to_owned()), Just(":".to_owned()), "[a-z\"é]{0,3}",
                ],
                0..14,
            ),
            id in prop_oneof![Just("m1"), Just(""), Just("\""), Just("timestamp"), Just("é\"messageId\"")],
        ) {
            left(&pieces.concat(), id, "2024-05-01T12:00:00Z".parse().unwrap());
        }

        #[test]
        fn a_text_that_was_not_made_so_is_told_or_gets_what_is_missing(text in ".{0,20}", number in 0..9_u64) {
            let mut whole = text.clone();
            if let Some(cuts) = Cuts::new(number) {
                if restore(&mut whole, 0, cuts, "m1", Timestamp::EARLIEST).is_some() {
                    prop_assert!(whole.len() >= text.len());
                }
            } else {
                prop_assert!(number > 7);
            }
        }
    }
}
