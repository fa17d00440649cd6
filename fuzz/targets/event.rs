//! The JSON of one event: what is read is written, and what was written is read as the same.
#![no_main]

use customerdb::Event;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(event) = Event::from_json(text) else { return };
    let written = event.to_json();
    let again = Event::from_json(&written).expect("what was written can be read");
    assert_eq!(again.to_json(), written);
});
