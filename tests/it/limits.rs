//! Limits for periods, at their borders, and what a forced join leaves of limits.

use customerdb::{Cdp, Event, Period, Rule, Rules, Timestamp};

use crate::support::{NOW, memory, partition, sound};

fn mail(n: u32, at: &str) -> Event {
    let at: Timestamp = at.parse().unwrap();
    Event::track("Look")
        .user_id("u1")
        .context_trait("email", format!("{n}@x.io"))
        .at(at)
        .message_id(format!("m{n}"))
}

fn held(cdp: &Cdp) -> usize {
    cdp.profile("user_id:u1").unwrap().unwrap().identifiers.len() - 1
}

#[test]
fn a_period_ends_where_the_calendar_says() {
    for (per, last, next, within) in [
        (Period::Day, "2024-02-28T23:59:59.999999Z", "2024-02-29T00:00:00Z", "2024-02-28T00:00:00Z"),
        // From Monday on.
        (Period::Week, "2024-04-28T23:59:59.999999Z", "2024-04-29T00:00:00Z", "2024-04-22T00:00:00Z"),
        (Period::Month, "2024-02-29T23:59:59.999999Z", "2024-03-01T00:00:00Z", "2024-02-01T00:00:00Z"),
        (Period::Year, "2023-12-31T23:59:59.999999Z", "2024-01-01T00:00:00Z", "2023-01-01T00:00:00Z"),
        // A week may be of two years; an offset is of no account.
        (Period::Week, "2025-01-05T23:59:59Z", "2025-01-06T00:00:00Z", "2024-12-30T00:00:00Z"),
        (Period::Day, "2024-03-02T00:30:00+01:00", "2024-03-02T01:30:00+01:00", "2024-03-01T01:00:00+01:00"),
    ] {
        let cdp = |events: [Event; 2]| {
            let late = Timestamp::from_micros(NOW.as_micros() + 400 * 86_400_000_000);
            let clock = customerdb::ManualClock::at(late);
            let rules = Rules::unlimited().limit_per("email", 1, per);
            let cdp = crate::support::builder(&clock).rules(rules).in_memory().unwrap();
            cdp.ingest(events).unwrap();
            cdp
        };
        let apart = cdp([mail(1, last), mail(2, next)]);
        assert_eq!((held(&apart), apart.stats().unwrap().refusals), (2, 0), "{per} {last}");
        let together = cdp([mail(1, within), mail(2, last)]);
        assert_eq!((held(&together), together.stats().unwrap().refusals), (1, 1), "{per} {last}");
        let refused = together.refusals(0, 9).unwrap().remove(0);
        assert_eq!((refused.rule, &*refused.message_id), (Rule::Limit, "m2"));
        assert_eq!(refused.reason, format!("at most 1 email a {per} in a profile, 2 if joined"));
        assert!(together.profile("email:2@x.io").unwrap().is_none(), "it is nobody's");
        sound(&together);
    }
}

/// An identifier counts for the period of the earliest event that bears it, whenever that event comes.
#[test]
fn a_late_event_moves_an_identifier_into_an_earlier_period() {
    let cdp = memory(Rules::unlimited().limit_per("email", 1, Period::Day));
    cdp.ingest([mail(1, "2024-04-02T12:00:00Z"), mail(2, "2024-04-02T13:00:00Z")]).unwrap();
    assert_eq!(held(&cdp), 1);
    let alone = Event::track("Open")
        .context_trait("email", "2@x.io")
        .at("2024-04-01T12:00:00Z".parse::<Timestamp>().unwrap());
    cdp.ingest([alone]).unwrap();
    assert_eq!(partition(&cdp).len(), 2, "what was refused is not tried again by itself");
    let report = cdp.restitch().unwrap();
    assert_eq!((report.joined, held(&cdp), cdp.stats().unwrap().refusals), (1, 2, 0));
    // The third of its day is one too many, also after a replay.
    cdp.ingest([mail(3, "2024-04-02T14:00:00Z")]).unwrap();
    assert_eq!((held(&cdp), cdp.restitch().unwrap().changed), (2, 0));
    sound(&cdp);
}

#[test]
fn a_forced_join_does_not_freeze_a_profile() {
    let cdp = memory(Rules::default());
    cdp.ingest([mail(1, "2024-04-02T12:00:00Z")]).unwrap();
    assert_eq!(cdp.force_link("user_id:u1", "user_id:u2").unwrap().profiles.len(), 1);
    // More than the limit already: what does not add to it may come.
    let event = |user: &str, n: u32| mail(n, "2024-04-03T12:00:00Z").user_id(user);
    let report = cdp.ingest([event("u1", 2), event("u2", 3).anonymous_id("a1")]).unwrap();
    assert_eq!(report.refusals, 0);
    assert_eq!(cdp.profile("user_id:u2").unwrap().unwrap().identifiers.len(), 2 + 3 + 1);
    // A third user may not, by an event or by a link that is not forced.
    assert_eq!(cdp.ingest([event("u3", 3).message_id("m4")]).unwrap().refusals, 1);
    let refused = cdp.link("user_id:u1", "user_id:u4").unwrap().refused.unwrap();
    assert_eq!(refused.reason, "at most 1 user_id in a profile, 3 if joined");
    let before = partition(&cdp);
    assert_eq!(before.len(), 3);
    assert_eq!(cdp.restitch().unwrap().changed, 0);
    assert_eq!(partition(&cdp), before);
    sound(&cdp);
}

/// Two users joined by force hold more `user_id`s than one e-mail address may have; an address makes it no more than they
/// held, before the first one too, as a replay finds them.
#[test]
fn a_forced_join_does_not_keep_addresses_out() {
    let cdp = memory(Rules::unlimited().pair("email", "user_id", Some(1)));
    cdp.ingest([mail(1, "2024-04-02T12:00:00Z")]).unwrap();
    assert_eq!(cdp.force_link("user_id:u1", "user_id:u2").unwrap().profiles.len(), 1);
    let before = partition(&cdp);
    assert_eq!(cdp.restitch().unwrap().changed, 0);
    assert_eq!(partition(&cdp), before);
}

#[test]
fn a_pair_limit_holds_in_one_direction() {
    let open = |from: &str, to: &str| memory(Rules::unlimited().pair(from, to, Some(1)));
    let two_users =
        || [mail(1, "2024-04-02T12:00:00Z"), mail(1, "2024-04-03T12:00:00Z").user_id("u2").message_id("m2")];
    let two_mails = || [mail(1, "2024-04-02T12:00:00Z"), mail(2, "2024-04-03T12:00:00Z")];
    for (from, to, users, mails) in [("email", "user_id", 1, 0), ("user_id", "email", 0, 1)] {
        assert_eq!(open(from, to).ingest(two_users()).unwrap().refusals, users, "{from} {to}");
        assert_eq!(open(from, to).ingest(two_mails()).unwrap().refusals, mails, "{from} {to}");
    }
    // Without any of `from` in it, a profile may hold as many as it likes, and keeps them when the first one comes; but no
    // more join.
    let cdp = open("anonymous_id", "email");
    assert_eq!(cdp.ingest(two_mails()).unwrap().refusals, 0);
    cdp.ingest([mail(2, "2024-04-04T12:00:00Z").anonymous_id("a1").message_id("m3")]).unwrap();
    assert_eq!(cdp.refusals(0, 9).unwrap().len(), 0);
    cdp.ingest([mail(3, "2024-04-05T12:00:00Z").message_id("m4")]).unwrap();
    let refused = cdp.refusals(0, 9).unwrap().remove(0);
    assert_eq!((refused.rule, refused.identifier.to_string()), (Rule::Pair, "email:3@x.io".to_owned()));
    assert_eq!(refused.reason, "at most 1 email in a profile with anonymous_id, 3 if joined");
}
