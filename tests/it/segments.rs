//! Members: right after every batch, and right at every instant, whichever way one asks.

use customerdb::{
    Cdp, Condition, Error, Event, ManualClock, RetentionRule, Rules, Segment, SharedDevice, Span, Timestamp,
    all, any, days, did, did_not, has_account, has_identifier, has_trait, hours, is_known, minutes, not,
};
use proptest::prelude::*;
use serde_json::json;

use crate::support::{NOW, builder, cases, define, everybody, memory, names, place, sound};

fn did_at(name: &str, user: &str, time: Timestamp) -> Event {
    Event::track(name).user_id(user).at(time)
}

const MICRO: Span = Span::from_micros(1);

#[test]
fn who_did_something_very_often_has_done_it_often_enough() {
    let cdp = memory(Rules::default());
    let events = |user: &'static str, many: u32| {
        (0..many)
            .map(move |n| did_at("Buy", user, NOW.before(minutes(n + 1))).message_id(format!("{user}-{n}")))
    };
    cdp.ingest(events("u255", 255).chain(events("u256", 256)).chain(events("u300", 300))).unwrap();
    for (least, expected) in [(2, 3), (255, 3), (256, 2), (257, 1), (300, 1), (301, 0)] {
        let often = did("Buy").at_least(least);
        assert_eq!(cdp.preview_count(often).unwrap(), expected, "{least}");
        let recently = did("Buy").at_least(least).within(minutes(280));
        let within = if least < 280 { expected } else { 0 };
        assert_eq!(cdp.preview_count(recently).unwrap(), within, "{least}");
    }
}

#[test]
fn who_did_several_things_did_each_in_its_own_time() {
    let cdp = memory(Rules::default());
    let ago = |user: &str, name: &str, n: u32| {
        did_at(name, user, NOW.before(days(n))).message_id(format!("{user}{n}"))
    };
    cdp.ingest([ago("u1", "View", 40), ago("u1", "Buy", 2), ago("u2", "View", 70), ago("u2", "Buy", 3)])
        .unwrap();
    cdp.ingest([ago("u3", "View", 5), ago("u3", "Buy", 20), ago("u4", "Buy", 1)]).unwrap();
    let count = |viewed: u32, bought: u32| {
        let both = [did("View").within(days(viewed)), did("Buy").within(days(bought))];
        cdp.preview_count(all(both)).unwrap()
    };
    assert_eq!([count(60, 10), count(90, 10), count(90, 30), count(10, 30), count(10, 10)], [1, 2, 3, 1, 0]);
}

#[test]
fn members_are_right_after_every_batch() {
    let cdp = memory(Rules::default());
    define(
        &cdp,
        &[
            Segment::new("buyers", did("Buy")),
            Segment::new("rest", did_not("Buy")),
            Segment::new("spenders", did("Buy").sum("revenue").gte(100)),
            Segment::new("wuhan", has_trait("city").eq("Wuhan")),
            Segment::new("all", Condition::everyone()),
            Segment::new("none", Condition::nobody()),
        ],
    );
    let buy = |user: &str, revenue: u32| Event::track("Buy").user_id(user).property("revenue", revenue);
    cdp.ingest([Event::page().user_id("u1"), buy("u2", 60)]).unwrap();
    assert_eq!(names(&cdp, "buyers"), ["user_id:u2"]);
    assert_eq!(names(&cdp, "rest"), ["user_id:u1"]);
    assert!(names(&cdp, "spenders").is_empty());
    assert_eq!(names(&cdp, "all").len(), 2);
    let city = |city, at| Event::identify().user_id("u1").with_trait("city", city).at(at);
    cdp.ingest([buy("u2", 40), city(json!("Wuhan"), NOW.before(MICRO))]).unwrap();
    assert_eq!(names(&cdp, "spenders"), ["user_id:u2"]);
    assert_eq!(names(&cdp, "wuhan"), ["user_id:u1"]);
    assert_eq!(cdp.profile("user_id:u1").unwrap().unwrap().segments, ["all", "rest", "wuhan"]);
    // Negative sums take members out; a removed trait does.
    cdp.ingest([Event::track("Buy").user_id("u2").property("revenue", -1)]).unwrap();
    cdp.ingest([city(json!(null), NOW)]).unwrap();
    assert!(
        names(&cdp, "spenders").is_empty()
            && names(&cdp, "wuhan").is_empty()
            && names(&cdp, "none").is_empty()
    );
    everybody(&cdp);
    sound(&cdp);
}

#[test]
fn a_window_is_open_at_its_far_end_and_closed_at_now() {
    let clock = ManualClock::at(NOW);
    let cdp = builder(&clock).in_memory().unwrap();
    define(
        &cdp,
        &[
            Segment::new("lately", did("A").within(days(1))),
            Segment::new("before", did("A").within(days(2)).ending(days(1))),
            Segment::new("not lately", did_not("A").within(days(1))),
            Segment::new("since", did("A").since(NOW).until(NOW.after(days(1)))),
            Segment::new("seen", has_trait("seen").within(days(1))),
            Segment::new("unseen", has_trait("seen").older_than(days(1))),
        ],
    );
    cdp.ingest([did_at("A", "u1", NOW).context_trait("seen", NOW.to_string())]).unwrap();
    for (now, expected) in [
        (NOW, vec!["lately", "seen", "since"]),
        (NOW.after(days(1)).before(MICRO), vec!["lately", "seen", "since"]),
        (NOW.after(days(1)), vec!["before", "not lately", "since", "unseen"]),
        (NOW.after(days(2)).before(MICRO), vec!["before", "not lately", "since", "unseen"]),
        (NOW.after(days(2)), vec!["not lately", "since", "unseen"]),
        (NOW.after(days(365)), vec!["not lately", "since", "unseen"]),
        // And back.
        (NOW.after(days(2)).before(MICRO), vec!["before", "not lately", "since", "unseen"]),
        (NOW, vec!["lately", "seen", "since"]),
        (NOW.before(MICRO), vec!["not lately", "since"]),
        (NOW.after(hours(1)), vec!["lately", "seen", "since"]),
    ] {
        clock.set(now);
        assert_eq!(cdp.profile("user_id:u1").unwrap().unwrap().segments, expected, "at {now}");
        everybody(&cdp);
    }
    // The same, when the file follows the clock.
    for now in [NOW.after(days(1)), NOW.after(days(2)), NOW, NOW.before(MICRO), NOW] {
        clock.set(now);
        let before = everybody(&cdp);
        cdp.advance().unwrap();
        assert_eq!(everybody(&cdp), before, "at {now}");
    }
    sound(&cdp);
}

#[test]
fn an_event_that_lies_ahead_counts_when_its_time_has_come() {
    let clock = ManualClock::at(NOW);
    let cdp = builder(&clock).in_memory().unwrap();
    define(&cdp, &[Segment::new("lately", did("A").within(days(1)))]);
    cdp.ingest([did_at("A", "u1", NOW.after(hours(3)))]).unwrap();
    assert!(names(&cdp, "lately").is_empty());
    clock.set(NOW.after(hours(3)).before(MICRO));
    assert!(names(&cdp, "lately").is_empty());
    clock.set(NOW.after(hours(3)));
    assert_eq!(names(&cdp, "lately"), ["user_id:u1"]);
    clock.set(NOW.after(hours(27)));
    assert!(names(&cdp, "lately").is_empty());
}

#[test]
fn a_late_event_counts_where_it_belongs_in_time() {
    let cdp = memory(Rules::default());
    let city = |city: &str, at| Event::identify().user_id("u1").with_trait("city", city).at(at);
    define(
        &cdp,
        &[
            Segment::new("wuhan", has_trait("city").eq("Wuhan")),
            Segment::new("old", did("A").within(days(9)).ending(days(5))),
            Segment::new("first from ad", did("A").first("source").eq("ad")),
            Segment::new("new", did("A").first_time().within(days(3))),
        ],
    );
    cdp.ingest([
        city("Wuhan", NOW.before(days(1))),
        did_at("A", "u1", NOW.before(days(2))).property("source", "mail"),
    ])
    .unwrap();
    assert_eq!(cdp.profile("user_id:u1").unwrap().unwrap().segments, ["new", "wuhan"]);
    cdp.ingest([
        city("Lima", NOW.before(days(2))),
        did_at("A", "u1", NOW.before(days(7))).property("source", "ad"),
    ])
    .unwrap();
    assert_eq!(cdp.profile("user_id:u1").unwrap().unwrap().segments, ["first from ad", "old", "wuhan"]);
    everybody(&cdp);
}

#[test]
fn a_join_brings_together_what_makes_a_member() {
    let cdp = memory(Rules::default());
    define(
        &cdp,
        &[
            Segment::new("thrice", did("A").at_least(3)),
            Segment::new("once", did("A").times(1)),
            Segment::new("unknown", not(is_known())),
            Segment::new("both", all([has_identifier("email"), has_identifier("phone")])),
            Segment::new("no city", has_trait("city").is_missing()),
        ],
    );
    let a = |anonymous: &str| Event::track("A").anonymous_id(anonymous);
    cdp.ingest([
        a("a1").message_id("1"),
        a("a1").message_id("2"),
        a("a2").message_id("3").context_trait("email", "x@y.io").context_trait("city", "Lima"),
        a("a3").message_id("4").context_trait("phone", "+12025550100"),
    ])
    .unwrap();
    assert!(names(&cdp, "thrice").is_empty());
    assert_eq!(names(&cdp, "once").len(), 2);
    assert_eq!(names(&cdp, "unknown"), ["anonymous_id:a1"]);
    cdp.ingest(["a1", "a2", "a3"].map(|id| Event::identify().anonymous_id(id).user_id("u1"))).unwrap();
    assert_eq!(cdp.profile("user_id:u1").unwrap().unwrap().segments, ["both", "thrice"]);
    assert!(["once", "unknown", "no city"].iter().all(|name| names(&cdp, name).is_empty()));
    everybody(&cdp);
    sound(&cdp);
}

#[test]
fn a_definition_holds_for_all_history_and_can_be_replaced_and_removed() {
    let (_folder, path) = place();
    let clock = ManualClock::at(NOW);
    let cdp = builder(&clock).open(&path).unwrap();
    cdp.ingest([did_at("A", "u1", NOW), did_at("B", "u2", NOW.before(days(40)))]).unwrap();
    assert_eq!(cdp.define(Segment::new("s", did("A"))).unwrap(), 1);
    assert_eq!(cdp.define(Segment::new("t", any([did("A"), did("B")]))).unwrap(), 2);
    assert_eq!(cdp.define(Segment::new("s", did("B").within(days(50)))).unwrap(), 1);
    assert_eq!(names(&cdp, "s"), ["user_id:u2"]);
    clock.set(NOW.after(days(10)));
    assert!(names(&cdp, "s").is_empty());
    assert_eq!(cdp.define(Segment::new("s", did("C"))).unwrap(), 0);
    assert_eq!(cdp.segments().unwrap().len(), 2);
    assert!(cdp.undefine("s").unwrap());
    assert!(!cdp.undefine("s").unwrap());
    let error = cdp.members("s").unwrap_err();
    assert!(matches!(&error, Error::UnknownSegment(name) if name == "s"), "{error:?}");
    // The number of the one that was removed may be given again: nobody is a member by that.
    assert_eq!(cdp.define(Segment::new("u", did("Nothing"))).unwrap(), 0);
    assert!(names(&cdp, "u").is_empty());
    let before = everybody(&cdp);
    drop(cdp);
    let cdp = builder(&clock).open(&path).unwrap();
    assert_eq!(everybody(&cdp), before);
    assert_eq!(cdp.segments().unwrap().iter().map(|s| s.segment.name()).collect::<Vec<_>>(), ["t", "u"]);
    cdp.ingest([did_at("Nothing", "u9", NOW)]).unwrap();
    assert_eq!(names(&cdp, "u"), ["user_id:u9"]);
}

#[test]
fn what_makes_no_sense_is_no_segment_and_leaves_the_old_one() {
    let cdp = memory(Rules::default());
    cdp.ingest([did_at("A", "u1", NOW)]).unwrap();
    cdp.define(Segment::new("s", did("A"))).unwrap();
    for bad in [
        Segment::new("s", has_trait("x").matches("(")),
        Segment::new("", did("A")),
        Segment::new("s", is_known().at_least(3)),
        Segment::new("x".repeat(201), did("A")),
    ] {
        let error = cdp.define(bad).unwrap_err();
        assert!(matches!(error, Error::Definition(_)), "{error:?}");
    }
    assert_eq!(names(&cdp, "s"), ["user_id:u1"]);
    assert!(cdp.preview(has_trait("x").matches("(")).is_err());
}

/// Setting rules evaluated everyone afresh without noting for which instant. When the clock was set back to between
/// the last batch and that instant, the answers of the later one were taken for those of the earlier one.
#[test]
fn after_a_replay_the_clock_may_be_set_back() {
    let clock = ManualClock::at(NOW);
    let cdp = builder(&clock).in_memory().unwrap();
    define(&cdp, &[Segment::new("lately", did("A").within(days(1)))]);
    cdp.ingest([did_at("A", "u1", NOW)]).unwrap();
    clock.set(NOW.after(days(2)));
    cdp.set_rules(Rules::default()).unwrap();
    assert!(names(&cdp, "lately").is_empty());
    clock.set(NOW.after(hours(1)));
    assert_eq!(names(&cdp, "lately"), ["user_id:u1"]);
    everybody(&cdp);
}

#[test]
fn members_of_the_past_are_told_from_the_events_up_to_then() {
    let cdp = memory(Rules::default());
    define(
        &cdp,
        &[
            Segment::new("buyers", did("Buy")),
            Segment::new("everyone", Condition::everyone()),
            Segment::new("wuhan", has_trait("city").eq("Wuhan")),
        ],
    );
    cdp.ingest([
        did_at("Buy", "u1", NOW.before(days(5))),
        did_at("Buy", "u2", NOW.before(days(1))).context_trait("city", "Wuhan"),
    ])
    .unwrap();
    let then = |name: &str, at| cdp.members_at(name, at).unwrap().len();
    assert_eq!(then("buyers", NOW.before(days(6))), 0);
    assert_eq!(then("everyone", NOW.before(days(6))), 0, "nobody was there");
    assert_eq!(then("buyers", NOW.before(days(5))), 1);
    assert_eq!(then("buyers", NOW.before(days(1)).before(MICRO)), 1);
    assert_eq!(then("buyers", NOW.before(days(1))), 2);
    assert_eq!((then("wuhan", NOW.before(days(2))), then("wuhan", NOW)), (0, 1));
    let previewed = cdp.preview_at(did("Buy").within(days(1)), NOW.before(days(4)).before(MICRO)).unwrap();
    assert_eq!(previewed.len(), 1);
}

#[test]
fn names_and_values_are_one_whatever_their_unicode_form() {
    let cdp = memory(Rules::default());
    let (composed, decomposed) = ("Caf\u{e9}", "Cafe\u{301}");
    define(
        &cdp,
        &[
            Segment::new("event", did(composed)),
            Segment::new("event too", did(decomposed)),
            Segment::new("trait", has_trait(composed).eq(composed)),
            Segment::new("property", did("Caf*").where_property(decomposed).eq(composed)),
        ],
    );
    let event = Event::track(decomposed).context_trait(decomposed, decomposed).property(composed, decomposed);
    cdp.ingest([event.user_id(decomposed)]).unwrap();
    let profile = cdp.profile(format!("user_id:{composed}")).unwrap().unwrap();
    assert_eq!(profile.segments, ["event", "event too", "property", "trait"]);
}

// ---- a wake must not be missed ----

fn condition() -> impl Strategy<Value = Condition> {
    let name = prop_oneof![Just("A"), Just("B"), Just("*")];
    let span = || (1..40_u32).prop_map(|n| minutes(n * 5));
    let event = (name, 0..4_u64, span(), 0..9_u8, span()).prop_map(|(name, n, span, form, other)| {
        let (long, short) = (span.max(other), span.min(other));
        match form {
            0 => did(name).within(span),
            1 => did(name).at_least(n).within(span),
            2 => did(name).at_most(n).within(span),
            3 => did(name).times(n).within(span),
            4 if short < long => did(name).within(long).ending(short),
            5 => did(name).first_time().within(span),
            6 => did(name).sum("n").gte(n * 3).within(span),
            7 => did(name).last("n").lt(4).within(span),
            8 => has_trait("t").within(span),
            _ => has_trait("t").older_than(span),
        }
    });
    event.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(all),
            prop::collection::vec(inner.clone(), 0..3).prop_map(any),
            inner.prop_map(not),
        ]
    })
}

#[derive(Debug, Clone)]
enum Step {
    Ingest(Vec<(u8, bool, i64, i64)>),
    Move(i64),
    Advance,
    Join(u8, u8),
    Replay,
    Define(usize, Condition),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let event = (0..4_u8, prop::bool::ANY, -240..120_i64, 0..6_i64);
    prop_oneof![
        6 => prop::collection::vec(event, 1..4).prop_map(Step::Ingest),
        8 => prop_oneof![4 => 0..90_i64, 1 => -120..0_i64].prop_map(Step::Move),
        1 => Just(Step::Advance),
        1 => (0..4_u8, 0..4_u8).prop_map(|(a, b)| Step::Join(a, b)),
        1 => Just(Step::Replay),
        1 => (0..3_usize, condition()).prop_map(|(n, condition)| Step::Define(n, condition)),
        1 => Just(Step::Reopen),
    ]
}

fn minutes_from(now: Timestamp, by: i64) -> Timestamp {
    Timestamp::from_micros(now.as_micros() + by * 60_000_000)
}

/// Of several accounts the one that fits is shown, and where none does the first: each part of the condition with what it saw.
#[test]
fn why_an_account_fits_is_told_part_by_part() {
    let cdp = memory(Rules::default());
    let group = |id: &str, plan: &str| Event::group(id).user_id("u1").with_trait("plan", plan).at(NOW);
    cdp.ingest([group("a", "free"), group("b", "pro")]).unwrap();
    let plan = |plan: &str| all([has_trait("plan").eq(plan), not(has_trait("plan").eq("trial"))]);
    for (asked, shown, holds) in [("pro", "pro", true), ("gold", "free", false)] {
        let why = cdp.why_condition(has_account(plan(asked)), "user_id:u1").unwrap().unwrap();
        assert_eq!(why.member, holds);
        let parts = &why.conditions["account"]["all"];
        assert_eq!((&parts[0]["holds"], &parts[0]["seen"]), (&json!(holds), &json!(shown)), "{parts}");
        assert_eq!((&parts[1]["holds"], &parts[1]["not"]["seen"]), (&json!(true), &json!(shown)), "{parts}");
        assert_eq!(why.conditions["seen"], json!([{"plan": "free"}, {"plan": "pro"}]));
    }
}

proptest! {
    #![proptest_config(cases(48))]

    /// `everybody` holds members, sizes and segments of profiles against a preview, which looks at everything afresh.
    #[test]
    fn nobody_overstays_or_misses_a_moment(
        conditions in prop::collection::vec(condition(), 3),
        steps in prop::collection::vec(step(), 1..24),
    ) {
        let (_folder, path) = place();
        let clock = ManualClock::at(NOW);
        let open = || builder(&clock).rules(Rules::unlimited()).open(&path).unwrap();
        let mut cdp = open();
        for (n, condition) in conditions.into_iter().enumerate() {
            cdp.define(Segment::new(format!("s{n}"), condition)).unwrap();
        }
        let mut now = NOW;
        for step in steps {
            match step {
                Step::Ingest(events) => {
                    let events = events.into_iter().map(|(who, kind, by, n)| {
                        let time = minutes_from(now, by);
                        let event = Event::track(if kind { "A" } else { "B" }).user_id(format!("u{who}"));
                        let event = event.at(time).property("n", n);
                        if n == 5 { event.context_trait("t", minutes_from(time, n).to_string()) } else { event }
                    });
                    cdp.ingest(events).unwrap();
                }
                Step::Move(by) => {
                    now = minutes_from(now, by);
                    clock.set(now);
                }
                Step::Advance => cdp.advance().unwrap(),
                Step::Join(a, b) => {
                    let join = Event::alias(format!("u{a}")).user_id(format!("u{b}")).at(now);
                    cdp.ingest([join]).unwrap();
                }
                Step::Replay => _ = cdp.set_rules(Rules::unlimited()).unwrap(),
                Step::Define(n, condition) => {
                    _ = cdp.define(Segment::new(format!("s{n}"), condition)).unwrap();
                }
                Step::Reopen => {
                    drop(cdp);
                    cdp = open();
                }
            }
            everybody(&cdp);
        }
        sound(&cdp);
    }
}

#[test]
fn a_read_only_handle_tells_members_by_its_own_clock() {
    let (_folder, path) = place();
    let clock = ManualClock::at(NOW);
    let cdp = builder(&clock).open(&path).unwrap();
    define(&cdp, &[Segment::new("lately", did("A").within(days(1)))]);
    cdp.ingest([did_at("A", "u1", NOW)]).unwrap();
    let later = ManualClock::at(NOW.after(days(1)));
    let reader: Cdp = builder(&later).open_read_only(&path).unwrap();
    assert!(names(&reader, "lately").is_empty());
    assert_eq!(names(&cdp, "lately"), ["user_id:u1"]);
    later.set(NOW.after(hours(23)));
    assert_eq!(names(&reader, "lately"), ["user_id:u1"]);
    everybody(&reader);
}

/// Conditions that only ask for traits are answered from what is kept of them in memory.
#[test]
fn whose_a_trait_is_is_known_after_whatever_changes_it() {
    let clock = ManualClock::at(NOW);
    let cdp = builder(&clock).rules(Rules::default().shared_device(SharedDevice::Last)).in_memory().unwrap();
    let at = |minute: u32| NOW.before(hours(9)).after(minutes(minute));
    let whose = |plan: &str| -> Vec<String> {
        let found = cdp.preview(has_trait("plan").eq(plan)).unwrap();
        found.into_iter().map(|person| person.name.to_string()).collect()
    };
    let login = |user: &str, minute| Event::track("Login").user_id(user).anonymous_id("kiosk").at(at(minute));
    let told = Event::track("Look").anonymous_id("kiosk").at(at(3)).context_trait("plan", "gold");
    cdp.ingest([login("u1", 1), login("u1", 5), login("u2", 6), told]).unwrap();
    assert_eq!(whose("gold"), ["user_id:u1"]);
    // A late event moves what was said, and nothing new is said.
    cdp.ingest([login("u2", 2)]).unwrap();
    assert_eq!(whose("gold"), ["user_id:u2"]);
    cdp.rectify("user_id:u2", "plan", "blue").unwrap();
    assert_eq!((whose("gold"), whose("blue")), (vec![], vec!["user_id:u2".to_owned()]));
    assert!(cdp.unpin("user_id:u2", "plan").unwrap());
    assert_eq!((whose("gold"), whose("blue")), (vec!["user_id:u2".to_owned()], vec![]));
    // What was said is let go of, and whom it was said of is still there.
    cdp.retain(RetentionRule::new("looks", hours(8)).event("Look")).unwrap();
    assert_eq!(cdp.maintain().unwrap().retained, 1);
    assert_eq!(whose("gold"), Vec::<String>::new());
    assert!(cdp.profile("user_id:u2").unwrap().is_some());
}

/// Few people are looked up one by one at first, and found in columns when the same is asked again.
#[test]
fn the_few_who_did_enough_are_asked_right_the_first_time_and_again() {
    let cdp = memory(Rules::default());
    let events = (0..40).map(|n: u32| {
        let event = did_at("Look", &format!("u{n}"), NOW.before(minutes(n + 1)));
        event.context_trait("plan", if n.is_multiple_of(2) { "gold" } else { "blue" })
    });
    cdp.ingest(events).unwrap();
    let buy = |user: &str, minute| did_at("Buy", user, NOW.before(minutes(minute)));
    cdp.ingest([buy("u3", 9), buy("u8", 8)]).unwrap();
    let whose = |plan: &str| -> Vec<String> {
        let found = cdp.preview(all([did("Buy"), has_trait("plan").eq(plan)])).unwrap();
        found.into_iter().map(|person| person.name.to_string()).collect()
    };
    for _ in 0..3 {
        assert_eq!(
            (whose("gold"), whose("blue")),
            (vec!["user_id:u8".to_owned()], vec!["user_id:u3".to_owned()])
        );
    }
    cdp.rectify("user_id:u3", "plan", "gold").unwrap();
    for _ in 0..3 {
        assert_eq!((whose("gold").len(), whose("blue").len()), (2, 0));
    }
}
