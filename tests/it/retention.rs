//! What is kept for a time only, and what is left when the time is up: what it would be if the rest had never come.

use std::collections::BTreeSet;

use customerdb::{
    Cause, Cdp, ChangeCause, Event, ManualClock, Party, RetentionRule, Rules, Segment, SegmentMove, Source,
    Timestamp, days, did, has_identifier, has_trait,
};
use proptest::prelude::*;

use crate::reference::{Told, agree, answer, binds, book, decide, history, open_book, steady_deed};
use crate::support::{
    NOW, builder, cases, define, everybody, ids, incompressible, memory, partition, place, sound,
};

fn fresh(rules: Rules) -> Cdp {
    let cdp = memory(rules);
    let segments = [
        Segment::new("lookers", did("Look").at_least(2)),
        Segment::new("wuhan", has_trait("city").eq("Wuhan")),
        Segment::new("mail", has_identifier("email")),
    ];
    define(&cdp, &segments);
    cdp
}

fn party(source: &str) -> Party {
    if source == "crm" { Party::Third } else { Party::First }
}

/// Takes a history in, of which what comes from `crm` is a third party's.
fn take_in(cdp: &Cdp, told: &[Told]) {
    for event in told {
        let source = Source::new(event.source).party(party(event.source));
        cdp.ingest_from(&source, [event.json().to_string()]).unwrap();
    }
}

proptest! {
    #![proptest_config(cases(32))]

    #[test]
    fn what_is_left_is_what_the_rest_alone_would_be(
        mut told in history(28, true),
        book in prop_oneof![book(), open_book()],
        deeds in prop::collection::vec(steady_deed(), 0..3),
        (age, by_party, by_name) in (0..200_u32, any::<bool>(), any::<bool>()),
    ) {
        told.sort_by(|a, b| (a.at, &a.message_id).cmp(&(b.at, &b.message_id)));
        let mut rule = RetentionRule::new("r", days(age));
        if by_party {
            rule = rule.party(Party::Third);
        }
        if by_name {
            rule = rule.event("Lo*");
        }
        let cdp = fresh(book.rules());
        take_in(&cdp, &told);
        for deed in &deeds {
            decide(&cdp, deed);
        }
        cdp.retain(rule).unwrap();
        let cutoff = NOW.before(days(age));
        let is_old = |event: &&Told| {
            event.at <= cutoff
                && (!by_party || event.source == "crm")
                && (!by_name || (event.previous.is_none() && event.account.is_none()))
        };
        let (old, left): (Vec<Told>, Vec<Told>) = told.iter().cloned().partition(|event| is_old(&event));
        prop_assert_eq!(cdp.maintain().unwrap().retained, old.len() as u64);
        sound(&cdp);
        let expected = answer(&left, &book, &cdp.decisions().unwrap());
        if !binds(&cdp) && !expected.binds {
            agree(&cdp, &expected);
        }
        cdp.restitch().unwrap();
        agree(&cdp, &expected);
        if deeds.is_empty() {
            let never = fresh(book.rules());
            take_in(&never, &left);
            never.restitch().unwrap();
            prop_assert_eq!(everybody(&cdp), everybody(&never));
            prop_assert_eq!(cdp.stats().unwrap().identifiers, never.stats().unwrap().identifiers);
        }
        // All of it once more: nothing comes back, now or later.
        let (before, found) = (everybody(&cdp), ids(&cdp));
        for event in &told {
            let report = cdp.ingest([event.json().to_string()]).unwrap();
            prop_assert_eq!((report.duplicates, report.conflicts), (1, 0));
        }
        prop_assert_eq!(cdp.maintain().unwrap().retained, 0);
        prop_assert_eq!(everybody(&cdp), before);
        prop_assert_eq!(ids(&cdp), found);
        sound(&cdp);
    }
}

#[test]
fn anonymous_data_of_a_third_party_is_kept_for_ninety_days() {
    let (_folder, path) = place();
    let clock = ManualClock::at(NOW);
    let cdp = builder(&clock).open(&path).unwrap();
    define(&cdp, &[Segment::new("seen", did("$page"))]);
    cdp.retain(RetentionRule::new("bought", days(90)).party(Party::Third).anonymous()).unwrap();
    let ads = Source::new("ads").party(Party::Third);
    let page = |device: &str, id: &str| Event::page().anonymous_id(device).message_id(id).at(NOW);
    cdp.ingest_from(&ads, [page("gone-1", "1"), page("known-1", "2"), page("known-1", "3").user_id("u1")])
        .unwrap();
    cdp.ingest([page("own-1", "4")]).unwrap();
    cdp.ingest_from(&ads, [page("own-1", "5")]).unwrap();
    assert_eq!(cdp.maintain().unwrap().retained, 0);
    clock.set(NOW.after(days(90)).before(customerdb::millis(1)));
    assert_eq!(cdp.maintain().unwrap().retained, 0);
    clock.set(NOW.after(days(90)));
    let gone = cdp.profile("anonymous_id:gone-1").unwrap().unwrap();
    let done = cdp.maintain().unwrap();
    assert_eq!((done.retained, done.identifiers), (2, 1));
    let told: BTreeSet<String> = partition(&cdp).into_iter().flatten().collect();
    assert_eq!(
        told.into_iter().collect::<Vec<_>>(),
        ["anonymous_id:known-1", "anonymous_id:own-1", "user_id:u1"]
    );
    assert_eq!(cdp.profile("anonymous_id:own-1").unwrap().unwrap().events, 1);
    assert_eq!(cdp.profile("user_id:u1").unwrap().unwrap().events, 2);
    let exit = cdp.changes(0, 99).unwrap().pop().unwrap();
    assert_eq!(
        (exit.profile, exit.change, exit.cause),
        (gone.id, SegmentMove::Exited, ChangeCause::Retention)
    );
    assert_eq!(exit.member.to_string(), format!("profile:{}", gone.id));
    // Whoever comes under that name later is somebody new.
    cdp.ingest([page("gone-1", "6")]).unwrap();
    assert_ne!(cdp.profile("anonymous_id:gone-1").unwrap().unwrap().id, gone.id);
    assert_eq!(cdp.ingest_from(&ads, [page("gone-1", "1")]).unwrap().duplicates, 1);
    sound(&cdp);
    drop(cdp);
    let cdp = builder(&clock).open(&path).unwrap();
    assert_eq!(cdp.retention_rules().unwrap()[0].name(), "bought");
    assert_eq!(cdp.ingest_from(&ads, [page("gone-1", "1")]).unwrap().duplicates, 1);
    sound(&cdp);
}

#[test]
fn a_join_that_rested_on_what_is_dropped_falls_apart() {
    let cdp = memory(Rules::default());
    let at = |time: Timestamp, id: &str| Event::identify().user_id("ann").message_id(id).at(time);
    let old = NOW.before(days(30));
    cdp.ingest_from(&Source::new("crm").party(Party::Second), [at(old, "1").with_trait("email", "ann@x.io")])
        .unwrap();
    cdp.ingest([
        at(old, "2").with_trait("city", "Lima"),
        Event::track("Opened").external_id("email", "ann@x.io").message_id("3").at(NOW),
    ])
    .unwrap();
    assert_eq!(partition(&cdp).len(), 1);
    cdp.retain(RetentionRule::new("partner", days(7)).party(Party::Second)).unwrap();
    let done = cdp.maintain().unwrap();
    assert_eq!((done.retained, done.identifiers), (1, 0));
    assert_eq!(partition(&cdp), vec![vec!["email:ann@x.io".to_owned()], vec!["user_id:ann".to_owned()]]);
    let split = cdp.journal(0, 9).unwrap().pop().unwrap();
    assert_eq!(split.cause, Cause::Retention);
    assert_eq!(cdp.profile("user_id:ann").unwrap().unwrap().traits.len(), 1);
    // A rule that is lifted drops no more.
    assert!(cdp.lift_retention("partner").unwrap());
    assert!(!cdp.lift_retention("partner").unwrap());
    assert_eq!(cdp.retention_rules().unwrap(), []);
    sound(&cdp);
}

#[test]
fn maintenance_gives_room_back_and_empties_the_log() {
    let (_folder, path) = place();
    let clock = ManualClock::at(NOW);
    let cdp = builder(&clock).open(&path).unwrap();
    let large =
        |n: usize| Event::page().user_id(format!("u{n}")).property("x", incompressible(n, 4_000)).at(NOW);
    cdp.ingest((0..1_500).map(large)).unwrap();
    cdp.ingest([Event::track("Kept").user_id("u7").at(NOW)]).unwrap();
    let full = cdp.stats().unwrap();
    assert!(full.wal_bytes > 0);
    cdp.retain(RetentionRule::new("pages", days(1)).event("$page")).unwrap();
    clock.set(NOW.after(days(2)));
    let done = cdp.maintain().unwrap();
    assert_eq!(done.retained, 1_500);
    let left = cdp.stats().unwrap();
    assert_eq!((left.events, left.profiles, left.wal_bytes), (1, 1, 0));
    assert!(done.pages_freed > 900 && done.wal_bytes > 0, "{done:?}");
    assert!(left.file_bytes < full.file_bytes / 2, "{} of {}", left.file_bytes, full.file_bytes);
    assert_eq!((done.erasures, done.waiting), (0, 0));
    sound(&cdp);
    let reader = builder(&clock).open_read_only(&path).unwrap();
    assert!(matches!(reader.maintain(), Err(customerdb::Error::ReadOnly)));
    assert!(matches!(reader.erase("user_id:u7"), Err(customerdb::Error::ReadOnly)));
}
