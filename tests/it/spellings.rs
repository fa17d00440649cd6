//! What odd spellings, numbers and names in events may and may not do to people.

use customerdb::{Cdp, Event, ManualClock, Rules, Segment, days, has_trait};

use crate::support::{NOW, memory, partition, sound};

fn page() -> Event {
    Event::page()
}

/// The types of external ids come from events. Beyond 65,536 of them their numbers began anew, and events went to
/// strangers.
#[test]
fn strangers_cannot_make_namespaces_without_end() {
    let cdp = memory(Rules::default());
    cdp.ingest([page().user_id("5").message_id("u")]).unwrap();
    let types = (0..1_200).map(|n| page().external_id(format!("t{n}"), "5").message_id(format!("m{n}")));
    let report = cdp.ingest(types).unwrap();
    assert!(report.accepted > 900 && !report.rejected.is_empty(), "{} accepted", report.accepted);
    assert!(report.rejected[0].reason.contains("at most 1000 namespaces"), "{:?}", report.rejected[0]);
    assert_eq!(cdp.profile("user_id:5").unwrap().unwrap().events, 1);
    assert_eq!(cdp.profile("external:t7:5").unwrap().unwrap().events, 1);
    sound(&cdp);
}

/// Only the ids at the top level were held to it that a number too large to be exact is no id: others joined strangers.
#[test]
fn numbers_are_ids_wherever_they_stand_and_only_if_they_are_exact() {
    let cdp = memory(Rules::default().member("properties.card", "card"));
    let line = |who: &str, rest: &str| format!(r#"{{"type":"identify","anonymousId":"{who}",{rest}}}"#);
    cdp.ingest([
        line("a", r#""traits":{"openid":123456789012345678901234}"#),
        line("b", r#""traits":{"openid":123456789012345678901235}"#),
        line("c", r#""properties":{"card":5}"#),
        line("d", r#""properties":{"card":5.0}"#),
    ])
    .unwrap();
    assert_eq!(
        partition(&cdp),
        vec![
            vec!["anonymous_id:a"],
            vec!["anonymous_id:b"],
            vec!["anonymous_id:c", "anonymous_id:d", "card:5"]
        ]
    );
}

/// Blocked values were looked for in the spelling that came only, and normalising made one of another.
#[test]
fn a_blocked_value_is_blocked_in_the_normalised_spelling_too() {
    let cdp = memory(Rules::default());
    for (n, email) in ["ｔｅｓｔ＠ｔｅｓｔ．ｃｏｍ", "ＴＥＳＴ＠test.com"].into_iter().enumerate()
    {
        cdp.ingest([Event::identify().anonymous_id(format!("a{n}")).with_trait("email", email)]).unwrap();
    }
    assert_eq!(partition(&cdp), [["anonymous_id:a0"], ["anonymous_id:a1"]]);
}

/// Where an alias was told anew, the profiles that it had founded by mistake were counted too.
#[test]
fn a_report_counts_the_people_that_there_are_after_an_alias_was_told_anew() {
    let cdp = memory(Rules::default());
    let report = cdp.ingest([Event::alias("x"), page().anonymous_id("x")]).unwrap();
    assert_eq!((report.profiles_created, report.merges), (1, 0));
    assert_eq!(cdp.stats().unwrap().profiles, 1);

    let cdp = memory(Rules::default());
    cdp.ingest([Event::alias("u1").anonymous_id("a1"), page().user_id("u1")]).unwrap();
    let report = cdp.ingest([page().anonymous_id("u1")]).unwrap();
    assert_eq!((report.profiles_created, report.merges), (0, 0), "one profile that fell apart");
    assert_eq!(cdp.stats().unwrap().profiles, 2);
}

/// An alias whose every identifier a rule had blocked forgot what it was waiting for.
#[test]
fn an_alias_that_belongs_to_nobody_is_told_anew_all_the_same() {
    let cdp = memory(Rules::default());
    cdp.ingest([Event::alias("x").user_id("u")]).unwrap();
    cdp.set_rules(Rules::default().block("user_id", "u").block("user_id", "x")).unwrap();
    cdp.ingest([page().anonymous_id("x")]).unwrap();
    assert_eq!(cdp.profile("anonymous_id:x").unwrap().unwrap().events, 2);
    assert_eq!(cdp.stats().unwrap().orphans, 0);
}

/// The time was looked at before the message id.
#[test]
fn an_event_that_is_kept_stays_a_duplicate_when_the_clock_is_set_back() {
    let clock = ManualClock::at(NOW);
    let cdp = Cdp::builder().clock(clock.clone()).in_memory().unwrap();
    let event = page().user_id("u").message_id("1").at(NOW);
    cdp.ingest([event.clone()]).unwrap();
    clock.set(NOW.before(days(30)));
    assert_eq!(cdp.ingest([event]).unwrap().duplicates, 1);
}

#[test]
fn names_are_the_same_in_every_unicode_form() {
    let (composed, decomposed) = ("\u{e9}", "e\u{301}");
    let cdp = memory(Rules::default());
    cdp.ingest([
        Event::identify().user_id("u").at(NOW.before(days(2))).with_trait(composed, 1),
        Event::identify().user_id("u").at(NOW.before(days(1))).with_trait(decomposed, 2),
        page().external_id(composed, "5").message_id(composed),
        page().external_id(decomposed, "5").message_id(decomposed),
    ])
    .unwrap();
    assert_eq!(cdp.stats().unwrap().events, 3, "the last one is a duplicate");
    assert_eq!(cdp.profile("user_id:u").unwrap().unwrap().value(composed), Some(&2.into()));
    assert_eq!(cdp.trait_history("user_id:u", decomposed).unwrap().len(), 2);
    cdp.define(Segment::new(composed, has_trait(decomposed).eq(2))).unwrap();
    assert_eq!(cdp.members(decomposed).unwrap().len(), 1);
    assert!(cdp.undefine(decomposed).unwrap());
}
