//! The JSON of rules of identity: what is read is written and read as the same, and can be tried out.
#![no_main]

use customerdb::{Cdp, Rules};

thread_local!(static PEOPLE: Cdp = customerdb_fuzz::people());

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(json) = serde_json::from_str(text) else { return };
    let Ok(rules) = Rules::default().changed(&json) else { return };
    let written = rules.to_json();
    let again = Rules::unlimited().changed(&written).expect("what was written can be read");
    assert_eq!(again.to_json(), written);
    PEOPLE.with(|cdp| {
        let report = cdp.simulate(rules).expect("rules that can be read can be tried out");
        assert!(report.profiles_after <= 20);
    });
});
