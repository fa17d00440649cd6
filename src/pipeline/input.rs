//! What comes in: events, lines, and whole files.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::event::{Event, Refusal, Source};
use crate::store::MessageId;
use crate::value::{Value, nfc};

/// Something to be ingested: an [`Event`], or the JSON text of one.
///
/// Text is kept to the letter, and comes back so; text that is no event is refused and kept in quarantine.
///
/// ```
/// use customerdb::{Cdp, Event, Input};
///
/// let cdp = Cdp::in_memory()?;
/// let line = r#"{"type":"track","event":"Search","userId":"u1"}"#;
/// let report = cdp.ingest([Input::from(Event::page().user_id("u1")), line.into(), "no event".into()])?;
/// assert_eq!((report.accepted, report.rejected[0].position), (2, 2));
/// # Ok::<(), customerdb::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Input(Form);

#[derive(Clone)]
enum Form {
    Event(Box<Event>),
    Text(String),
    /// What is not even text.
    Bytes(Vec<u8>),
}

impl fmt::Debug for Form {
    /// Text may hold anything, so its length must do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(event) => event.fmt(f),
            Self::Text(text) => write!(f, "{} bytes of text", text.len()),
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
        }
    }
}

impl From<Event> for Input {
    fn from(event: Event) -> Self {
        Self(Form::Event(Box::new(event)))
    }
}

impl From<String> for Input {
    fn from(json: String) -> Self {
        Self(Form::Text(json))
    }
}

impl From<&str> for Input {
    fn from(json: &str) -> Self {
        Self(Form::Text(json.to_owned()))
    }
}

impl From<&Value> for Input {
    fn from(json: &Value) -> Self {
        Self(Form::Text(json.to_string()))
    }
}

impl From<Vec<u8>> for Input {
    /// The bytes of a line. If they are not UTF-8, they are refused and kept as they are.
    fn from(bytes: Vec<u8>) -> Self {
        Self(match String::from_utf8(bytes) {
            Ok(text) => Form::Text(text),
            Err(error) => Form::Bytes(error.into_bytes()),
        })
    }
}

/// An event that was read from its JSON text, and the hash of its message id, if it bears one.
pub(crate) struct Parsed {
    pub(crate) event: Event,
    hash: Option<u64>,
}

impl Parsed {
    fn new(event: Event) -> Self {
        let hash = event.ids().message_id.map(|id| MessageId::new(nfc(id)).hash());
        Self { event, hash }
    }

    /// Its message id in normal form; if it bears none, one that is made of its content and of the source.
    pub(crate) fn message_id(&self, source: &Source) -> MessageId<'_> {
        match (self.event.ids().message_id, self.hash) {
            (Some(id), Some(hash)) => MessageId::hashed(nfc(id), hash),
            _ => MessageId::new(self.event.content_id(&source.name)),
        }
    }
}

/// An input once it is read: an event, or a refusal with what was refused.
pub(crate) type Reading = Result<Parsed, (Refusal, Vec<u8>)>;

impl Input {
    /// Reads the event.
    pub(crate) fn read(self, max_bytes: usize) -> Reading {
        let text = match self.0 {
            // Through the same door as everything else: what comes out of it later must have passed it once.
            Form::Event(event) => event.to_json(),
            Form::Text(text) => text,
            Form::Bytes(bytes) => {
                let valid = std::str::from_utf8(&bytes).map_or_else(|error| error.valid_up_to(), str::len);
                return Err((
                    Refusal::whole(format!("not JSON: not UTF-8 from byte {} on", valid + 1)),
                    bytes,
                ));
            }
        };
        match Event::read(text, max_bytes) {
            Ok(event) => Ok(Parsed::new(event)),
            Err((refusal, text)) => Err((refusal, text.into_bytes())),
        }
    }
}

/// How far a long ingest has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes of the file read so far, as it lies on the disk.
    pub bytes: u64,
    /// The size of the file, `None` where it is not known.
    pub of: Option<u64>,
    /// Events taken in so far, good or bad.
    pub events: u64,
}

/// An event of a file, read, and the line on which it begins, counted from 1.
pub(crate) struct Item {
    pub(crate) line: u64,
    pub(crate) reading: Reading,
}

/// How many events are handed over at once.
const HANDFUL: usize = 512;

/// How much of a broken array is kept in quarantine, in bytes.
const BROKEN: usize = 1 << 16;

/// Reads events from JSON lines or from a JSON array, packed with gzip or zstd or not at all, and hands them over
/// in order until `hand` says that it wants no more.
///
/// `lines` says that it is JSON lines whatever it begins with.
pub(crate) fn read_events(
    reader: impl Read,
    lines: bool,
    max_bytes: usize,
    mut hand: impl FnMut(Vec<Item>) -> bool,
) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(1 << 18, unpack(reader)?);
    if reader.fill_buf()?.starts_with(b"\xEF\xBB\xBF") {
        reader.consume(3);
    }
    let mut handful = Vec::with_capacity(HANDFUL);
    let mut give = |item: Item, last: bool| {
        handful.push(item);
        if handful.len() < HANDFUL && !last { true } else { hand(std::mem::take(&mut handful)) }
    };
    let mut tape = Tape { inner: reader, line: 1, heard: Vec::new() };
    let begins = |buffer: &[u8]| buffer.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    if !lines
        && begins(tape.inner.fill_buf()?)
        && !read_array(&mut tape, max_bytes, &mut |item| give(item, false))?
    {
        return Ok(());
    }
    // After an array, too: what follows one is told line by line.
    let mut line = Vec::new();
    loop {
        line.clear();
        let number = tape.line;
        if tape.inner.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        tape.line += 1;
        let text = line.trim_ascii();
        if !text.is_empty() {
            let reading = Input::from(text.to_vec()).read(max_bytes);
            // Whoever sends its events one by one is not kept waiting for a handful.
            if !give(Item { line: number, reading }, tape.inner.buffer().is_empty()) {
                return Ok(());
            }
        }
    }
    if !handful.is_empty() {
        hand(handful);
    }
    Ok(())
}

/// Reads the elements of an array one by one, so that its size does not matter. False if no more is wanted.
fn read_array<R: BufRead>(
    tape: &mut Tape<R>,
    max_bytes: usize,
    give: &mut dyn FnMut(Item) -> bool,
) -> io::Result<bool> {
    let tape = RefCell::new(tape);
    let mut deserializer = serde_json::Deserializer::from_reader(Heard(&tape));
    let elements = Elements { tape: &tape, max_bytes, give: &mut *give };
    match deserializer.deserialize_seq(elements) {
        Ok(more) => Ok(more),
        Err(error) if error.is_io() => Err(error.into()),
        Err(error) => {
            // The rest cannot be told apart; the lines that follow the broken one are tried as such.
            let mut tape = tape.borrow_mut();
            let refusal = Refusal::whole(format!(
                "not JSON: {}",
                error.to_string().replace(" at line", ", array line")
            ));
            let mut raw = std::mem::take(&mut tape.heard);
            let line = tape.line;
            tape.line += u64::from(tape.inner.read_until(b'\n', &mut raw)? > 0);
            let item = Item { line, reading: Err((refusal, raw)) };
            drop(tape);
            Ok(give(item))
        }
    }
}

/// A reader that counts lines and remembers what was read since the last event.
struct Tape<R> {
    inner: R,
    /// The line that the next byte stands on.
    line: u64,
    heard: Vec<u8>,
}

/// A tape as the parser of arrays holds it, while its visitor looks at it too.
struct Heard<'t, R>(&'t RefCell<&'t mut Tape<R>>);

impl<R: BufRead> Read for Heard<'_, R> {
    /// Gives a byte at a time, which is how the parser of arrays asks, so that it never reads ahead.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut tape = self.0.borrow_mut();
        let Some(&byte) = tape.inner.fill_buf()?.first() else { return Ok(0) };
        let Some(place) = buffer.first_mut() else { return Ok(0) };
        *place = byte;
        tape.inner.consume(1);
        tape.line += u64::from(byte == b'\n');
        if tape.heard.len() < BROKEN {
            tape.heard.push(byte);
        }
        Ok(1)
    }
}

/// Visits the elements of an array.
struct Elements<'e, R> {
    tape: &'e RefCell<&'e mut Tape<R>>,
    max_bytes: usize,
    give: &'e mut dyn FnMut(Item) -> bool,
}

impl<'de, R: BufRead> Visitor<'de> for Elements<'_, R> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<bool, A::Error> {
        while let Some(element) = elements.next_element::<Box<RawValue>>()? {
            let mut tape = self.tape.borrow_mut();
            // The parser looks one byte past a number, which may be a line's end.
            let past = tape.heard.last() == Some(&b'\n');
            let inside = element.get().bytes().filter(|byte| *byte == b'\n').count() as u64;
            let line = tape.line - inside - u64::from(past);
            tape.heard.clear();
            drop(tape);
            let reading = Input::from(Box::<str>::from(element).into_string()).read(self.max_bytes);
            if !(self.give)(Item { line, reading }) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// A reader of what is packed in `reader`, told by its first bytes.
#[cfg(feature = "compression")]
fn unpack<'r>(reader: impl Read + 'r) -> io::Result<Box<dyn Read + 'r>> {
    let mut reader = BufReader::with_capacity(1 << 16, reader);
    let start = reader.fill_buf()?;
    Ok(if start.starts_with(&[0x1F, 0x8B]) {
        Box::new(flate2::bufread::MultiGzDecoder::new(reader))
    } else if start.starts_with(&[0x28, 0xB5, 0x2F, 0xFD]) {
        Box::new(zstd::Decoder::with_buffer(reader)?)
    } else {
        Box::new(reader)
    })
}

#[cfg(not(feature = "compression"))]
fn unpack<'r>(reader: impl Read + 'r) -> io::Result<Box<dyn Read + 'r>> {
    Ok(Box::new(reader))
}

/// Whether a file's name says that it holds JSON lines: `.jsonl` or `.ndjson`, packed or not.
pub(crate) fn is_named_lines(path: &Path) -> bool {
    let ends = |path: &Path, endings: [&str; 2]| {
        path.extension().is_some_and(|found| endings.iter().any(|ending| found.eq_ignore_ascii_case(ending)))
    };
    let inner = if ends(path, ["gz", "zst"]) { path.with_extension("") } else { path.to_owned() };
    ends(&inner, ["jsonl", "ndjson"])
}

/// A reader that counts what it has given, for whoever holds the count.
pub(crate) struct Counted<R> {
    pub(crate) inner: R,
    pub(crate) count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(bytes: &[u8], lines: bool) -> Vec<(u64, String)> {
        let mut items = Vec::new();
        read_events(bytes, lines, 1 << 20, |handful| {
            items.extend(handful.into_iter().map(|item| match item.reading {
                Ok(parsed) => (item.line, parsed.event.as_read().to_owned()),
                Err((refusal, _)) => (item.line, refusal.to_string()),
            }));
            true
        })
        .unwrap();
        items
    }

    const EVENT: &str = r#"{"type":"page","userId":"u"}"#;

    #[test]
    fn lines_are_counted_with_the_blank_ones() {
        let text = format!("\u{feff}{EVENT}\r\n\n  \n{EVENT}\nnonsense\n{EVENT}");
        let items = items(text.as_bytes(), false);
        assert_eq!(items.iter().map(|item| item.0).collect::<Vec<_>>(), [1, 4, 5, 6]);
        assert_eq!(items[0].1, EVENT);
        assert!(items[2].1.starts_with("not JSON"), "{}", items[2].1);
    }

    #[test]
    fn the_elements_of_an_array_know_the_lines_on_which_they_begin() {
        let spread = "{\n \"type\": \"page\",\n \"userId\": \"v\"\n}";
        let text = format!("[{EVENT},\n{spread}, 7\n,\n{EVENT}]\n");
        let items = items(text.as_bytes(), false);
        assert_eq!(items.iter().map(|item| item.0).collect::<Vec<_>>(), [1, 2, 5, 7]);
        assert_eq!(items[1].1, spread);
        assert_eq!(items[2].1, "not an object: found a number");
    }

    #[test]
    fn a_broken_array_loses_nothing_that_can_be_read() {
        let text = format!("[{EVENT},\n{EVENT} oops\n{EVENT}\n");
        let items = items(text.as_bytes(), false);
        assert_eq!(items.len(), 4, "{items:?}");
        assert_eq!((items[0].0, items[1].0, items[2].0, items[3].0), (1, 2, 2, 3));
        assert!(items[2].1.starts_with("not JSON"), "{}", items[2].1);
        assert_eq!(items[3].1, EVENT);
    }

    #[test]
    fn an_array_at_the_head_of_json_lines_is_one_bad_line() {
        let text = format!("[1]\n{EVENT}\n");
        for (lines, reason) in
            [(true, "not an object: found an array"), (false, "not an object: found a number")]
        {
            assert_eq!(items(text.as_bytes(), lines), [(1, reason.to_owned()), (2, EVENT.to_owned())]);
        }
    }

    #[cfg(feature = "compression")]
    #[test]
    fn packed_files_are_unpacked() {
        use std::io::Write;
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(EVENT.as_bytes()).unwrap();
        let zstd = zstd::encode_all(EVENT.as_bytes(), 1).unwrap();
        for packed in [gzip.finish().unwrap(), zstd] {
            assert_eq!(items(&packed, false), [(1, EVENT.to_owned())]);
        }
    }

    #[test]
    fn what_is_no_text_is_refused_with_its_place() {
        assert_eq!(
            items(b"{\"type\":\"\xFF\"}", true),
            [(1, "not JSON: not UTF-8 from byte 10 on".to_owned())]
        );
    }
}
