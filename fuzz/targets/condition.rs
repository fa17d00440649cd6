//! The JSON of a condition: what is read is written and read as the same, and can be asked for.
#![no_main]

use customerdb::{Cdp, Condition};

thread_local!(static PEOPLE: Cdp = customerdb_fuzz::people());

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(condition) = Condition::from_json(text) else { return };
    let written = condition.to_value();
    let again = Condition::from_value(&written).expect("what was written can be read");
    assert_eq!(again.to_value(), written);
    PEOPLE.with(|cdp| {
        if let Ok(found) = cdp.preview(condition.clone()) {
            assert!(found.len() <= 3);
        }
        let _ = cdp.why_condition(condition, "user_id:u1");
    });
});
