//! What comes in: events, lines, and whole files.

use std::cell::RefCell;
use std::collections::VecDeque;
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
    let mut tape = Tape { inner: reader, line: 1, heard: Vec::new(), again: VecDeque::new() };
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
        if tape.read_line(&mut line)? == 0 {
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

/// Reads the elements of an array one by one, so that its size does not matter. One that is no JSON is refused by itself, where it
/// can be told where it ends. False if no more is wanted.
fn read_array<R: BufRead>(
    tape: &mut Tape<R>,
    max_bytes: usize,
    give: &mut dyn FnMut(Item) -> bool,
) -> io::Result<bool> {
    let tape = RefCell::new(tape);
    // What is left of an array behind a broken element begins like one, but for its bracket.
    let mut bracket = None;
    loop {
        let mut deserializer = serde_json::Deserializer::from_reader(Heard { tape: &tape, before: bracket });
        let elements = Elements { tape: &tape, max_bytes, give: &mut *give };
        let error = match deserializer.deserialize_seq(elements) {
            Ok(more) => return Ok(more),
            Err(error) if error.is_io() => return Err(error.into()),
            Err(error) => error,
        };
        let mut tape = tape.borrow_mut();
        let end = tape.pass_element(error.is_eof())?;
        let mut raw = std::mem::take(&mut tape.heard);
        let item = if let Some(end) = end {
            raw.pop();
            let element = without_comma(&raw);
            let line = tape.line - line_ends(element);
            bracket = (end == b',').then_some(b'[');
            let element = element.trim_ascii_end();
            let reading = if element.is_empty() {
                Err((Refusal::whole("not JSON: an element of the array is missing"), raw))
            } else {
                Input::from(element.to_vec()).read(max_bytes)
            };
            Item { line, reading }
        } else {
            // The rest cannot be told apart; the lines that follow the broken one are tried as such.
            let reason = error.to_string().replace(" at line", ", array line");
            let line = tape.line.saturating_sub(line_ends(without_comma(&raw)));
            if raw.last() != Some(&b'\n') {
                tape.line += u64::from(tape.read_line(&mut raw)? > 0);
            }
            bracket = None;
            let refusal = Refusal::whole(format!("not JSON: {reason}"));
            Item { line, reading: Err((refusal, raw)) }
        };
        drop(tape);
        if !give(item) {
            return Ok(false);
        }
        if bracket.is_none() {
            return Ok(true);
        }
    }
}

/// An element of an array without the comma before it.
fn without_comma(heard: &[u8]) -> &[u8] {
    let heard = heard.trim_ascii_start();
    heard.strip_prefix(b",").unwrap_or(heard).trim_ascii_start()
}

/// How many lines end in some bytes.
fn line_ends(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

/// Where in the text of an array one is: how deep in the element, and whether in a string of it.
#[derive(Default)]
struct Nesting {
    depth: u32,
    in_string: bool,
    is_escaped: bool,
}

impl Nesting {
    /// Goes past a byte.
    fn pass(&mut self, byte: u8) {
        match byte {
            _ if self.is_escaped => self.is_escaped = false,
            b'\\' if self.in_string => self.is_escaped = true,
            b'"' => self.in_string = !self.in_string,
            _ if self.in_string => {}
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }

    /// Whether a byte that comes next stands between elements, or behind the last one.
    fn is_outside(&self) -> bool {
        self.depth == 0 && !self.in_string
    }
}

/// A reader that counts lines and remembers what was read since the last event.
struct Tape<R> {
    inner: R,
    /// The line that the next byte stands on.
    line: u64,
    heard: Vec<u8>,
    /// Bytes that are to be given once more.
    again: VecDeque<u8>,
}

impl<R: BufRead> Tape<R> {
    /// The next byte, which is remembered unless that would be too many.
    fn next(&mut self) -> io::Result<Option<u8>> {
        let byte = if let Some(byte) = self.again.pop_front() {
            byte
        } else {
            let Some(&byte) = self.inner.fill_buf()?.first() else { return Ok(None) };
            self.inner.consume(1);
            byte
        };
        self.line += u64::from(byte == b'\n');
        if self.heard.len() < BROKEN {
            self.heard.push(byte);
        }
        Ok(Some(byte))
    }

    /// Gives some bytes once more, before those that are to be given once more already.
    fn give_again(&mut self, mut bytes: Vec<u8>) {
        bytes.extend(self.again.drain(..));
        self.again = bytes.into();
    }

    /// Goes past an element of an array that was found broken: to the comma or the bracket behind it, which is what was heard last
    /// then. `None` if that is not found, as a line ends between elements and another event begins, or among what may be remembered;
    /// then what was heard ends with the line.
    fn pass_element(&mut self, is_over: bool) -> io::Result<Option<u8>> {
        let mut nesting = Nesting::default();
        let mut place = self.heard.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(0);
        // The comma before it.
        place += usize::from(self.heard.get(place) == Some(&b','));
        let begin = place;
        let mut is_line_over = false;
        if self.heard.len() >= BROKEN {
            // More of it was read than is remembered.
            return Ok(None);
        }
        while place < BROKEN && !is_over {
            let known = self.heard.get(place).copied();
            let Some(byte) = known.map_or_else(|| self.next(), |byte| Ok(Some(byte)))? else { break };
            place += 1;
            match byte {
                b',' | b']' if nesting.is_outside() => {
                    // What the parser has heard of the next one it is to hear once more.
                    let mut again = self.heard.split_off(place);
                    if byte == b']' {
                        // Behind the last one lines begin.
                        again.retain(|byte| *byte != b'\n');
                    } else {
                        self.line -= line_ends(&again);
                    }
                    self.give_again(again);
                    return Ok(Some(byte));
                }
                b'\n' if nesting.is_outside() => is_line_over |= known.is_none(),
                byte if is_line_over && !byte.is_ascii_whitespace() => break,
                byte => nesting.pass(byte),
            }
        }
        // The lines that follow the one on which it begins are told by themselves.
        let is_blank = |byte: &u8| byte.is_ascii_whitespace();
        let begin = begin + self.heard[begin..].iter().take_while(|byte| is_blank(byte)).count();
        if let Some(end) = memchr::memchr(b'\n', &self.heard[begin..]) {
            let again = self.heard.split_off(begin + end + 1);
            self.line -= line_ends(&again);
            self.give_again(again);
        }
        Ok(None)
    }

    /// Reads up to the end of a line. How many bytes that were.
    fn read_line(&mut self, line: &mut Vec<u8>) -> io::Result<usize> {
        let before = line.len();
        let known = self.again.iter().position(|byte| *byte == b'\n').map_or(self.again.len(), |end| end + 1);
        line.extend(self.again.drain(..known));
        if line.last() != Some(&b'\n') || line.len() == before {
            self.inner.read_until(b'\n', line)?;
        }
        Ok(line.len() - before)
    }
}

/// A tape as the parser of arrays holds it, while its visitor looks at it too.
struct Heard<'h, 't, R> {
    tape: &'h RefCell<&'t mut Tape<R>>,
    /// What comes before it.
    before: Option<u8>,
}

impl<R: BufRead> Read for Heard<'_, '_, R> {
    /// Gives a byte at a time, which is how the parser of arrays asks, so that it never reads ahead.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(place) = buffer.first_mut() else { return Ok(0) };
        let next = match self.before.take() {
            Some(byte) => Some(byte),
            None => self.tape.borrow_mut().next()?,
        };
        let Some(byte) = next else { return Ok(0) };
        *place = byte;
        Ok(1)
    }
}

/// Visits the elements of an array.
struct Elements<'e, 't, R> {
    tape: &'e RefCell<&'t mut Tape<R>>,
    max_bytes: usize,
    give: &'e mut dyn FnMut(Item) -> bool,
}

impl<'de, R: BufRead> Visitor<'de> for Elements<'_, '_, R> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<bool, A::Error> {
        // The bracket is no part of the first one.
        self.tape.borrow_mut().heard.clear();
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

    /// Python writes numbers so that are none, and all on one line.
    #[test]
    fn a_broken_element_of_an_array_is_refused_by_itself() {
        let broken = r#"{"type":"page","userId":"v","properties":{"n":NaN,"t":"],\\\"}"}}"#;
        for between in [",", ", ", ",\n  ", "\n,\n"] {
            let text = format!("[{}]", [EVENT, broken, EVENT, "", broken, EVENT].join(between));
            let mut raws = Vec::new();
            read_events(text.as_bytes(), false, 1 << 20, |handful| {
                raws.extend(handful.into_iter().map(|item| {
                    (item.line, item.reading.err().map(|(refusal, raw)| (refusal.to_string(), raw)))
                }));
                true
            })
            .unwrap();
            let step = between.bytes().filter(|byte| *byte == b'\n').count() as u64;
            let reasons: Vec<Option<String>> =
                raws.iter().map(|(_, bad)| bad.as_ref().map(|(reason, _)| reason.clone())).collect();
            assert_eq!(
                raws.iter().map(|(line, _)| *line).collect::<Vec<_>>()[..3],
                [1, 1 + step, 1 + 2 * step],
                "{between:?}"
            );
            assert_eq!(
                reasons.iter().map(Option::is_some).collect::<Vec<_>>(),
                [false, true, false, true, true, false],
                "{between:?}: {reasons:?}"
            );
            assert_eq!(raws[1].1.as_ref().unwrap().1, broken.as_bytes(), "{between:?}");
            assert_eq!(raws[4].1.as_ref().unwrap().1, broken.as_bytes(), "{between:?}");
            assert!(reasons[1].as_ref().unwrap().starts_with("not JSON: "), "{reasons:?}");
            assert_eq!(reasons[3].as_deref(), Some("not JSON: an element of the array is missing"));
        }
        // The first one.
        for between in [",", ",\n", "\n  , "] {
            let text = format!("[\n{}\n]\n{EVENT}", [broken, EVENT, EVENT].join(between));
            let found = items(text.as_bytes(), false);
            assert_eq!(
                (found.len(), found[0].0, &found[1].1[..], &found[2].1[..]),
                (4, 2, EVENT, EVENT),
                "{between:?}"
            );
            assert_eq!(found[3], (text.lines().count() as u64, EVENT.to_owned()));
        }
        // The last one, and what follows the array.
        let text = format!("[{EVENT},\n{broken}]\n{EVENT}\n");
        let items = items(text.as_bytes(), false);
        assert_eq!(items.iter().map(|item| item.0).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!((&items[0].1[..], &items[2].1[..]), (EVENT, EVENT));
        for end in [",]", ", ]", " ,\n]", ",nul]"] {
            let text = format!("[{EVENT}{end}\n{EVENT}");
            let (found, last) = (self::items(text.as_bytes(), false), text.lines().count() as u64);
            assert_eq!(found.len(), 3, "{end:?}: {found:?}");
            assert_eq!((&found[0].1[..], &found[2]), (EVENT, &(last, EVENT.to_owned())), "{end:?}");
        }
    }

    /// Where an element ends cannot be told if a quotation mark of it is missing; nothing is lost all the same, nor held for long.
    #[test]
    fn an_element_without_an_end_is_no_danger() {
        let lines = format!("{EVENT}\n").repeat(9_000);
        let text = format!("[{EVENT},\n{{\"type\":\"page}},\n{lines}");
        let items = items(text.as_bytes(), false);
        assert!(items[1].1.starts_with("not JSON"), "{}", items[1].1);
        assert_eq!((items.len(), items[1].0, &items[2]), (9_002, 2, &(3, EVENT.to_owned())));
        assert_eq!(items[9_001], (9_002, EVENT.to_owned()));
        let text = format!("[oops\n{lines}");
        let items = self::items(text.as_bytes(), false);
        assert_eq!((items.len(), items[0].0, &items[1]), (9_001, 1, &(2, EVENT.to_owned())));
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
