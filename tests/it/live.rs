//! Definitions that rest on each other, and the journal of who comes and goes.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use customerdb::{
    Cdp, ChangeCause, ComputedTrait, Condition, Error, Event, ManualClock, Policy, ProfileId, RfmBounds,
    Rules, Segment, SegmentMove, TagRule, Timestamp, Trend, all, any, days, did, did_not, has_account,
    has_tag, has_trait, hours, in_sample, in_segment, minutes, not, sequence,
};
use proptest::prelude::*;
use serde_json::json;

use crate::support::{NOW, builder, cases, everybody, memory, names, nested, place, sound, told};

fn error(cdp: &Cdp, segment: Segment) -> String {
    let error = cdp.define(segment).unwrap_err();
    assert!(matches!(error, Error::Definition(_)), "{error:?}");
    error.to_string()
}

#[test]
fn segments_rest_on_each_other_and_never_on_themselves() {
    let cdp = memory(Rules::default());
    assert_eq!(
        error(&cdp, Segment::new("a", in_segment("a"))),
        "segment: a cycle: segment \"a\" → segment \"a\""
    );
    assert_eq!(
        error(&cdp, Segment::new("a", all([in_segment("b")]))),
        "all[0].segment: no segment is named \"b\""
    );
    cdp.define(Segment::new("a", did("A"))).unwrap();
    cdp.define(Segment::new("b", all([in_segment("a"), did("B")]))).unwrap();
    cdp.define_tag(TagRule::new("t", in_segment("b"))).unwrap();
    cdp.define(Segment::new("c", not(has_tag("t")))).unwrap();
    assert_eq!(
        error(&cdp, Segment::new("a", any([did("A"), not(in_segment("c"))]))),
        "any[1].not.segment: a cycle: segment \"a\" → segment \"c\" → tag \"t\" → segment \"b\" → segment \"a\""
    );
    let refused = cdp.undefine("a").unwrap_err().to_string();
    assert_eq!(refused, "segment \"a\": cannot be removed: the segment \"b\" rests on it");
    cdp.ingest([
        Event::track("A").user_id("u1"),
        Event::track("B").user_id("u1"),
        Event::track("A").user_id("u2"),
    ])
    .unwrap();
    assert_eq!(
        (names(&cdp, "b"), names(&cdp, "c")),
        (vec!["user_id:u1".into()], vec!["user_id:u2".to_owned()])
    );
    // What rests on a definition follows it.
    cdp.define(Segment::new("a", did("Nothing"))).unwrap();
    assert!(names(&cdp, "b").is_empty() && names(&cdp, "c").len() == 2);
    everybody(&cdp);
    sound(&cdp);
    let chain = (0..150).try_for_each(|n| {
        let rests_on = if n == 0 { did("A") } else { in_segment(&format!("n{}", n - 1)) };
        cdp.define(Segment::new(format!("n{n}"), rests_on)).map(drop)
    });
    assert!(chain.unwrap_err().to_string().contains("a chain of more than 100 definitions"));
}

#[test]
fn joins_and_splits_are_journalled_as_such() {
    let cdp = memory(Rules::default());
    cdp.define(Segment::new("thrice", did("A").at_least(3))).unwrap();
    cdp.define(Segment::new("once", did("A").times(1))).unwrap();
    let a = |id: &str, n: &str| Event::track("A").anonymous_id(id).message_id(n).at(NOW);
    cdp.ingest([a("a1", "1"), a("a1", "2"), a("a2", "3")]).unwrap();
    cdp.link("anonymous_id:a1", "anonymous_id:a2").unwrap();
    cdp.split("anonymous_id:a2").unwrap();
    let entries = told(&cdp);
    let row = |n: usize| (entries[n].0.as_str(), entries[n].2, entries[n].3.clone());
    assert_eq!(row(0), ("once", true, ChangeCause::Event { message_id: "3".into() }));
    assert_eq!(row(1), ("once", false, ChangeCause::Merge));
    assert_eq!(row(2), ("thrice", true, ChangeCause::Merge));
    assert!(!row(3).1);
    assert!(entries[3..].iter().all(|(.., cause)| *cause == ChangeCause::Split), "{entries:?}");
    everybody(&cdp);
    sound(&cdp);
}

#[test]
fn of_two_values_of_one_instant_live_segments_see_the_one_whose_message_id_is_higher() {
    for turned in [false, true] {
        let cdp = memory(Rules::default());
        cdp.define(Segment::new("lima", all([has_trait("city").eq("Lima"), has_trait("plan").exists()])))
            .unwrap();
        let say = |id: &str, city: &str| {
            let plan = Event::identify().user_id("u1").message_id(id).at(NOW).with_trait("plan", id);
            plan.with_trait("city", city)
        };
        let mut said = [say("m1", "Oslo"), say("m2", "Lima")];
        if turned {
            said.reverse();
        }
        for event in said {
            cdp.ingest([event]).unwrap();
        }
        assert_eq!(names(&cdp, "lima"), ["user_id:u1"], "{turned}");
        assert_eq!(cdp.profile("user_id:u1").unwrap().unwrap().traits["city"].value, json!("Lima"));
        sound(&cdp);
    }
}

#[test]
fn account_traits_that_change_are_seen_in_all_members() {
    let cdp = memory(Rules::default());
    cdp.define(Segment::new("gold", has_account(has_trait("plan").eq("gold")))).unwrap();
    let group = |user: &str| Event::group("acme").user_id(user);
    cdp.ingest([group("u1"), group("u2"), Event::group("zeta").user_id("u3")]).unwrap();
    assert!(names(&cdp, "gold").is_empty());
    cdp.ingest([group("u2").with_trait("plan", "gold")]).unwrap();
    assert_eq!(names(&cdp, "gold"), ["user_id:u1", "user_id:u2"]);
    everybody(&cdp);
    sound(&cdp);
}

#[test]
fn computed_traits_are_exact_after_late_events_joins_and_splits() {
    let cdp = memory(Rules::default());
    cdp.define_trait(ComputedTrait::sum("spent", did("Order"), "total")).unwrap();
    cdp.define_trait(ComputedTrait::first("source", did("Visit"), "from")).unwrap();
    cdp.define(Segment::new("spenders", has_trait("spent").gte(100))).unwrap();
    cdp.define(Segment::new("by ad", has_trait("source").eq("ad"))).unwrap();
    let order =
        |id: &str, total: u32| Event::track("Order").anonymous_id(id).property("total", total).at(NOW);
    let visit =
        |from: &str, at: Timestamp| Event::track("Visit").anonymous_id("a1").property("from", from).at(at);
    cdp.ingest([order("a1", 60), order("a2", 50), visit("mail", NOW.before(days(1)))]).unwrap();
    assert!(names(&cdp, "spenders").is_empty() && names(&cdp, "by ad").is_empty());
    cdp.ingest([visit("ad", NOW.before(days(2)))]).unwrap();
    assert_eq!(names(&cdp, "by ad").len(), 1);
    cdp.link("anonymous_id:a1", "anonymous_id:a2").unwrap();
    assert_eq!(cdp.profile("anonymous_id:a2").unwrap().unwrap().computed["spent"], 110);
    assert_eq!(names(&cdp, "spenders").len(), 1);
    cdp.split("anonymous_id:a2").unwrap();
    assert_eq!(cdp.profile("anonymous_id:a2").unwrap().unwrap().computed["spent"], 50);
    assert!(names(&cdp, "spenders").is_empty());
    // The history of a computed trait is not kept, so `for` has nothing to look at.
    let message = error(&cdp, Segment::new("x", has_trait("spent").gte(1).held_for(days(1))));
    assert_eq!(message, "for: the trait \"spent\" is computed, and has no history");
    everybody(&cdp);
    sound(&cdp);
}

#[test]
fn customers_change_their_group_at_midnight_and_are_not_looked_at_before() {
    let clock = ManualClock::at(NOW);
    let cdp = builder(&clock).zone("Asia/Kathmandu".parse().unwrap()).in_memory().unwrap();
    let bounds = RfmBounds::default().recency_days([1, 3, 5, 7]);
    cdp.define_trait(ComputedTrait::rfm("rfm", did("Order"), "total", bounds)).unwrap();
    cdp.define(Segment::new("new", has_trait("rfm.group").eq("new_customers"))).unwrap();
    cdp.define(Segment::new("today", has_trait("rfm.recency_days").eq(0))).unwrap();
    cdp.ingest([Event::track("Order").user_id("u1").property("total", 5).at(NOW)]).unwrap();
    assert_eq!((names(&cdp, "new").len(), names(&cdp, "today").len()), (1, 1));
    // In Kathmandu the first of May ends at 18:15 UTC; the score does so with the second.
    clock.set(NOW.after(days(9)));
    let left: Vec<_> =
        cdp.changes(2, 9).unwrap().into_iter().map(|change| (change.segment, change.at)).collect();
    let midnight = NOW.after(minutes(375));
    assert_eq!(left, [("today".to_owned(), midnight), ("new".to_owned(), midnight.after(days(1)))]);
    sound(&cdp);
}

#[test]
fn a_file_that_is_opened_in_another_zone_has_its_days_there() {
    let (_folder, path) = place();
    let time = |text: &str| text.parse::<Timestamp>().unwrap();
    let clock = ManualClock::at(time("2024-03-30T22:30:00Z"));
    let open = |zone: &str| builder(&clock).zone(zone.parse().unwrap()).open(&path).unwrap();
    let cdp = open("UTC");
    cdp.define(Segment::new("birthday", has_trait("born").anniversary_within(1))).unwrap();
    cdp.define(Segment::new("yesterday", did("Visit").in_periods(1, 1, days(1)))).unwrap();
    cdp.ingest([
        Event::identify().user_id("u1").with_trait("born", "1990-03-31").at(NOW.before(days(99))),
        Event::track("Visit").user_id("u2").at(time("2024-03-30T21:00:00Z")),
    ])
    .unwrap();
    assert!(names(&cdp, "birthday").is_empty() && names(&cdp, "yesterday").is_empty());
    drop(cdp);
    // There it is 0:30 on the 31st of March, and 4:15; at the visit it was 23:00, and 2:45.
    for (zone, visitors) in [("Europe/Kyiv", 1), ("Asia/Kathmandu", 0)] {
        let reader = builder(&clock).zone(zone.parse().unwrap()).open_read_only(&path).unwrap();
        assert_eq!(names(&reader, "birthday"), ["user_id:u1"], "{zone}");
        assert_eq!(names(&reader, "yesterday").len(), visitors, "{zone}");
        everybody(&reader);
    }
    let cdp = open("Europe/Kyiv");
    assert_eq!(names(&cdp, "birthday"), ["user_id:u1"], "before anything is written");
    cdp.advance().unwrap();
    // That day has 23 hours in Kyiv: the clocks go forward at one o'clock UTC.
    clock.set(time("2024-03-31T20:59:59Z"));
    assert_eq!((names(&cdp, "birthday").len(), names(&cdp, "yesterday").len()), (1, 1));
    clock.set(time("2024-03-31T21:00:00Z"));
    assert_eq!((names(&cdp, "birthday").len(), names(&cdp, "yesterday").len()), (0, 0));
    let changes = cdp.changes(0, 9).unwrap().into_iter().filter(|change| change.segment == "birthday");
    let told: Vec<_> = changes.map(|change| (change.at, change.cause)).collect();
    let opened = (time("2024-03-30T22:30:00Z"), ChangeCause::Definition);
    assert_eq!(told, [opened, (time("2024-03-31T21:00:00Z"), ChangeCause::Time)]);
    everybody(&cdp);
    sound(&cdp);
}

#[test]
fn a_policy_holds_for_the_past_and_in_what_rests_on_it() {
    let cdp = memory(Rules::default());
    cdp.define(Segment::new("started free", has_trait("plan").eq("free"))).unwrap();
    let plan = |plan: &str, at| Event::identify().user_id("u1").with_trait("plan", plan).at(at);
    cdp.ingest([plan("gold", NOW), plan("free", NOW.before(days(1)))]).unwrap();
    assert!(names(&cdp, "started free").is_empty());
    cdp.set_policy("plan", Policy::First).unwrap();
    assert_eq!(names(&cdp, "started free"), ["user_id:u1"]);
    assert_eq!(cdp.policy("plan"), Policy::First);
    assert_eq!(told(&cdp)[0].3, ChangeCause::Definition);
    cdp.ingest([plan("silver", NOW.before(days(2)))]).unwrap();
    assert!(names(&cdp, "started free").is_empty(), "an earlier value came late");
    everybody(&cdp);
    sound(&cdp);
}

#[test]
fn what_events_say_is_seen_by_segments_that_came_later() {
    let cdp = memory(Rules::default());
    let order = |id: &str, total: u32| {
        let order = Event::track("Order").user_id("u1").message_id(id).at(NOW);
        order.property("total", total).property("items", 3)
    };
    cdp.define(Segment::new("spenders", did("Order").sum("total").gte(100))).unwrap();
    let mut batch = cdp.begin().unwrap();
    batch.ingest([order("m0", 1_000)]).unwrap();
    batch.rollback();
    for (id, total) in [("m1", 60), ("m2", 30)] {
        cdp.ingest([order(id, total)]).unwrap();
        assert!(names(&cdp, "spenders").is_empty(), "{id}");
    }
    cdp.ingest([order("m3", 10)]).unwrap();
    assert_eq!(names(&cdp, "spenders"), ["user_id:u1"]);
    cdp.define(Segment::new("collectors", did("Order").sum("items").gte(12))).unwrap();
    assert!(names(&cdp, "collectors").is_empty());
    cdp.ingest([order("m4", 0)]).unwrap();
    assert_eq!(names(&cdp, "collectors"), ["user_id:u1"]);
    // More than the writer keeps at hand.
    let others =
        (0..100).map(|n| Event::track("Order").user_id(format!("o{n}")).property("total", 7).at(NOW));
    cdp.ingest(others).unwrap();
    cdp.define(Segment::new("hoarders", did("Order").sum("items").gte(15))).unwrap();
    cdp.ingest([order("m5", 0)]).unwrap();
    assert_eq!(names(&cdp, "hoarders"), ["user_id:u1"]);
    everybody(&cdp);
    sound(&cdp);
}

#[test]
fn what_moves_somebody_at_once_for_several_reasons_is_told_with_each() {
    let cdp = memory(Rules::default());
    for name in ["A", "B", "C"] {
        cdp.define(Segment::new(name, did(name))).unwrap();
    }
    let event = |name: &str| Event::track(name).user_id("u1").message_id(format!("m-{name}")).at(NOW);
    cdp.ingest([event("A"), event("B"), event("C")]).unwrap();
    let cause = |name: &str| ChangeCause::Event { message_id: format!("m-{name}") };
    let entered = |name: &str| (name.to_owned(), "user_id:u1".to_owned(), true, cause(name));
    assert_eq!(told(&cdp), ["A", "B", "C"].map(entered));
}

#[test]
fn of_several_events_of_several_people_each_is_told_with_their_latest() {
    let cdp = memory(Rules::default());
    cdp.define(Segment::new("twice", did("A").at_least(2))).unwrap();
    let event =
        |user: &str, n: u32| Event::track("A").user_id(user).message_id(format!("{user}-{n}")).at(NOW);
    cdp.ingest([event("u1", 1), event("u2", 1), event("u1", 2), event("u3", 1), event("u2", 2)]).unwrap();
    let entered = |user: &str| {
        let cause = ChangeCause::Event { message_id: format!("{user}-2") };
        ("twice".to_owned(), format!("user_id:{user}"), true, cause)
    };
    assert_eq!(told(&cdp), ["u1", "u2"].map(entered));
}

#[test]
fn what_pages_and_screens_are_called_is_seen_and_of_no_track() {
    let cdp = memory(Rules::default());
    let home = did("$page").where_property("name").eq("Home");
    cdp.define(Segment::new("home", home.clone())).unwrap();
    cdp.define(Segment::new("café", did("$screen").where_property("caf\u{e9}").eq("a"))).unwrap();
    cdp.ingest([
        r#"{"type":"page","userId":"u1","name":"Home"}"#,
        r#"{"type":"track","event":"$page","userId":"u2","name":"Home"}"#,
        r#"{"type":"screen","userId":"u3","name":"Home","properties":{"cafe\u0301":"a"}}"#,
    ])
    .unwrap();
    assert_eq!(names(&cdp, "home"), ["user_id:u1"]);
    assert_eq!(names(&cdp, "café"), ["user_id:u3"]);
    assert_eq!(cdp.preview(home.clone()).unwrap().len(), 1);
    let trend = cdp.trend(&Trend::of(home)).unwrap();
    assert_eq!(trend.series.iter().filter_map(|point| point.value.as_u64()).sum::<u64>(), 1);
    everybody(&cdp);
}

#[test]
fn what_is_looked_at_for_segments_that_others_rest_on_is_seen() {
    let cdp = memory(Rules::default());
    let spent = did("Order").sum("total").gte(30);
    cdp.define(Segment::new("spenders", spent).live(false)).unwrap();
    cdp.define(Segment::new("ours", all([in_segment("spenders"), did("Order")]))).unwrap();
    for id in ["m1", "m2", "m3"] {
        assert!(names(&cdp, "ours").is_empty(), "{id}");
        cdp.ingest([Event::track("Order").user_id("u1").message_id(id).property("total", 10).at(NOW)])
            .unwrap();
    }
    assert_eq!(names(&cdp, "ours"), ["user_id:u1"]);
    everybody(&cdp);
}

#[test]
fn a_subscriber_is_told_each_change_once_and_may_answer() {
    let clock = ManualClock::at(NOW);
    let cdp = builder(&clock).in_memory().unwrap();
    cdp.define(Segment::new("new", did("Visit").within(days(1)))).unwrap();
    cdp.define(Segment::new("greeted", did("Greeting"))).unwrap();
    let log = Arc::new(Mutex::new(Vec::new()));
    let (seen, handle) = (Arc::clone(&log), cdp.clone());
    let subscription = cdp
        .subscribe(move |changes| {
            for change in changes {
                seen.lock().unwrap().push((change.segment.clone(), change.change));
                if change.segment == "new" && change.change == SegmentMove::Entered {
                    // Nothing is locked: the callback writes to the database that called it.
                    let user = change.member.value().to_owned();
                    handle.ingest([Event::track("Greeting").user_id(user)]).unwrap();
                }
            }
        })
        .unwrap();
    cdp.ingest([Event::track("Visit").user_id("u1").at(NOW)]).unwrap();
    clock.set(NOW.after(days(2)));
    cdp.advance().unwrap();
    let (entered, exited) = (SegmentMove::Entered, SegmentMove::Exited);
    let expected = [("new".to_owned(), entered), ("greeted".to_owned(), entered), ("new".to_owned(), exited)];
    assert_eq!(*log.lock().unwrap(), expected);
    drop(subscription);
    cdp.ingest([Event::track("Greeting").user_id("u2")]).unwrap();
    assert_eq!(log.lock().unwrap().len(), 3);
}

/// Whoever is told holds nobody up: neither what the callback waits for, nor those who shared the transaction, nor those
/// who come meanwhile.
#[test]
fn a_subscriber_may_wait_for_what_other_threads_take_in() {
    const THREADS: usize = 6;
    const CALLS: usize = 20;
    let cdp = builder(&ManualClock::at(NOW)).in_memory().unwrap();
    cdp.define(Segment::new("visitors", did("Visit"))).unwrap();
    let handle = cdp.clone();
    let _subscription = cdp
        .subscribe(move |changes| {
            std::thread::scope(|scope| {
                for change in changes {
                    let (handle, user) = (handle.clone(), change.member.value().to_owned());
                    scope.spawn(move || handle.ingest([Event::track("Greeting").user_id(user)]).unwrap());
                }
            });
        })
        .unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let cdp = &cdp;
            scope.spawn(move || {
                for call in 0..CALLS {
                    let visit = Event::track("Visit").user_id(format!("u{thread}-{call}"));
                    assert_eq!(cdp.ingest([visit]).unwrap().accepted, 1);
                }
            });
        }
    });
    assert_eq!(cdp.preview_count(did("Greeting")).unwrap(), THREADS * CALLS);
    sound(&cdp);
}

#[test]
fn time_is_journalled_step_by_step() {
    let clock = ManualClock::at(NOW);
    let cdp = builder(&clock).in_memory().unwrap();
    cdp.define(Segment::new("between", did("A").within(days(3)).ending(days(1)))).unwrap();
    cdp.ingest([Event::track("A").user_id("u1").at(NOW)]).unwrap();
    clock.set(NOW.after(days(9)));
    let changes = cdp.changes(0, 10).unwrap();
    let at: Vec<_> = changes.iter().map(|change| (change.change, change.at)).collect();
    assert_eq!(at, [(SegmentMove::Entered, NOW.after(days(1))), (SegmentMove::Exited, NOW.after(days(3)))]);
    sound(&cdp);
}

#[test]
fn definitions_outlive_the_handle() {
    let (_folder, path) = place();
    let clock = ManualClock::at(NOW);
    let cdp = builder(&clock).open(&path).unwrap();
    cdp.ingest([Event::track("A").user_id("u1").at(NOW), Event::track("A").user_id("u2").at(NOW)]).unwrap();
    cdp.define_trait(ComputedTrait::days_since_last("idle", did("A"))).unwrap();
    cdp.define_tag(TagRule::new("t", has_trait("idle").gte(1)).weight(2.0).half_life(days(7))).unwrap();
    cdp.tag("user_id:u1", "vip", NOW.after(days(3))).unwrap();
    cdp.set_policy("plan", Policy::SourceOrder(vec!["crm".into()])).unwrap();
    cdp.define(Segment::new("vip", all([has_tag("vip"), has_tag("t")]))).unwrap();
    cdp.define(Segment::list("list", ["user_id:u2"])).unwrap();
    cdp.define(Segment::new("asked", not(in_segment("list"))).live(false)).unwrap();
    clock.set(NOW.after(days(1)));
    let before = everybody(&cdp);
    assert_eq!(
        (names(&cdp, "vip"), names(&cdp, "asked")),
        (vec!["user_id:u1".into()], vec!["user_id:u1".to_owned()])
    );
    drop(cdp);
    let cdp = builder(&clock).open(&path).unwrap();
    assert_eq!(everybody(&cdp), before);
    assert_eq!(cdp.policy("plan"), Policy::SourceOrder(vec!["crm".into()]));
    assert_eq!((cdp.computed_traits().len(), cdp.tag_rules().len()), (1, 1));
    clock.set(NOW.after(days(3)));
    assert!(names(&cdp, "vip").is_empty(), "the tag has expired");
    everybody(&cdp);
    sound(&cdp);
    // Of what is removed nothing is left, and the journal says so.
    assert!(cdp.undefine("vip").unwrap() && cdp.undefine("asked").unwrap() && cdp.undefine("list").unwrap());
    assert!(cdp.undefine_tag("t").unwrap() && !cdp.undefine_tag("t").unwrap());
    assert!(cdp.undefine_trait("idle").unwrap());
    assert_eq!(told(&cdp).last().unwrap().3, ChangeCause::Definition);
    sound(&cdp);
}

/// Who was on a list, or carried a tag by hand, is known of every instant, and of nobody who was on it for no time.
#[test]
fn what_was_taken_back_by_hand_stood_until_then() {
    let day = |n: u32| NOW.after(days(n));
    let clock = ManualClock::at(NOW);
    let cdp = builder(&clock).in_memory().unwrap();
    cdp.ingest([Event::track("A").user_id("u1").at(NOW), Event::track("A").user_id("u2").at(NOW)]).unwrap();
    cdp.define(Segment::list("list", ["user_id:u1"])).unwrap();
    cdp.define(Segment::new("tagged", has_tag("vip"))).unwrap();
    let at = |segment: &str, instant| -> Vec<String> {
        let mut names: Vec<String> =
            cdp.members_at(segment, instant).unwrap().iter().map(|person| person.name.to_string()).collect();
        names.sort();
        names
    };
    let u1 = vec!["user_id:u1".to_owned()];
    clock.set(day(1));
    cdp.tag("user_id:u1", "vip", None).unwrap();
    clock.set(day(2));
    // Who is not on the list is not taken off it.
    assert_eq!(cdp.remove("list", ["user_id:u1", "user_id:u2"]).unwrap(), 0);
    assert!(cdp.untag("user_id:u1", "vip").unwrap() && !cdp.untag("user_id:u1", "vip").unwrap());
    // On it and off again at one instant.
    cdp.add("list", ["user_id:u2"]).unwrap();
    cdp.remove("list", ["user_id:u2"]).unwrap();
    clock.set(day(4));
    cdp.add("list", ["user_id:u1"]).unwrap();
    cdp.tag("user_id:u1", "vip", day(6)).unwrap();
    clock.set(day(5));
    // Longer than was said before, and a list made anew.
    cdp.tag("user_id:u1", "vip", day(8)).unwrap();
    cdp.define(Segment::list("list", ["user_id:u2"])).unwrap();
    clock.set(day(9));
    for (n, listed, tagged) in [
        (0, &u1, false),
        (1, &u1, true),
        (2, &vec![], false),
        (3, &vec![], false),
        (4, &u1, true),
        (5, &vec!["user_id:u2".to_owned()], true),
        (7, &vec!["user_id:u2".to_owned()], true),
        (8, &vec!["user_id:u2".to_owned()], false),
    ] {
        assert_eq!(&at("list", day(n)), listed, "the list on day {n}");
        assert_eq!(at("tagged", day(n)), if tagged { u1.clone() } else { vec![] }, "the tag on day {n}");
        assert_eq!(cdp.preview_at(in_segment("list"), day(n)).unwrap().len(), listed.len());
    }
    assert_eq!((names(&cdp, "list"), names(&cdp, "tagged")), (vec!["user_id:u2".to_owned()], vec![]));
    let export = cdp.export("user_id:u1").unwrap().unwrap();
    let document: serde_json::Value = serde_json::from_str(export.as_json()).unwrap();
    let spans = |member: &str| -> Vec<(String, Option<String>)> {
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        let entries = document[member].as_array().unwrap().iter();
        entries.map(|entry| (text(&entry["at"]).unwrap(), text(&entry["until"]))).collect()
    };
    let told = |spans: &[(u32, u32)]| -> Vec<(String, Option<String>)> {
        spans.iter().map(|(from, until)| (day(*from).to_string(), Some(day(*until).to_string()))).collect()
    };
    assert_eq!(spans("lists"), told(&[(0, 2), (4, 5)]));
    let given = [told(&[(1, 2), (4, 5)]), vec![(day(5).to_string(), None)]].concat();
    assert_eq!(spans("given_tags"), given);
    sound(&cdp);
    // Where it was taken back, nothing keeps an identifier that nobody else bears; and an erasure takes it out of the past.
    cdp.erase("user_id:u1").unwrap();
    assert!(at("list", day(1)).is_empty());
    sound(&cdp);
}

// ---- live is what a look at everything gives, whatever happens ----

fn leaf() -> impl Strategy<Value = Condition> {
    let name = || prop_oneof![Just("A"), Just("B"), Just("*")];
    let span = || (1..40_u32).prop_map(|n| minutes(n * 5));
    prop_oneof![
        (name(), span()).prop_map(|(name, span)| did(name).within(span)),
        (name(), name(), span()).prop_map(|(a, b, span)| sequence([did(a), did(b)]).within(span)),
        (name(), name(), span())
            .prop_map(|(a, b, span)| sequence([did(a), did_not(b)]).within(span).same("n")),
        (0..6_i64, span()).prop_map(|(n, span)| has_trait("t").gte(n).held_for(span)),
        (0..6_i64).prop_map(|n| has_trait("t").range(n..n + 3)),
        (1..4_u64).prop_map(|n| did("A").in_periods(n, 4, hours(1))),
        (1..3_u64).prop_map(|n| did("A").in_periods(n, 3, days(1))),
        (1..3_u32).prop_map(|n| has_trait("born").anniversary_within(n)),
        (0..9_i64).prop_map(|n| has_trait("sum").gte(n)),
        (0..9_i64).prop_map(|n| has_trait("recent").lte(n)),
        (1..6_i64).prop_map(|n| has_trait("rfm.r").lte(n)),
        prop_oneof![Just("promising"), Just("at_risk")].prop_map(|group| has_trait("rfm.group").eq(group)),
        (0..2_i64).prop_map(|n| has_trait("rfm.recency_days").eq(n)),
        Just(has_tag("tag")),
        Just(has_tag("given")),
        Just(in_segment("list")),
        Just(in_segment("base")),
        (0..6_i64).prop_map(|n| has_account(has_trait("size").gte(n))),
        (1..60_u32).prop_map(|to| in_sample("x", 0.0, to.into())),
    ]
}

#[derive(Debug, Clone)]
enum Step {
    Ingest(Vec<(u8, u8, i64, i64)>),
    Move(i64),
    Link(u8, u8),
    Split(u8),
    List(u8, bool),
    Tag(u8, Option<i64>),
    Base(Condition),
    Policy(u8),
    Replay,
    /// In a zone.
    Reopen(&'static str),
}

/// Days begin in them at the clock's beginning, a quarter of a day from it, and at the other end.
const ZONES: [&str; 4] = ["UTC", "+12:00", "-06:15", "Pacific/Apia"];

fn step() -> impl Strategy<Value = Step> {
    let event = (0..4_u8, 0..5_u8, -240..120_i64, 0..6_i64);
    prop_oneof![
        8 => prop::collection::vec(event, 1..4).prop_map(Step::Ingest),
        8 => prop_oneof![5 => 0..90_i64, 1 => -120..0_i64].prop_map(Step::Move),
        2 => (0..4_u8, 0..4_u8).prop_map(|(a, b)| Step::Link(a, b)),
        2 => (0..4_u8).prop_map(Step::Split),
        1 => (0..5_u8, prop::bool::ANY).prop_map(|(who, on)| Step::List(who, on)),
        1 => (0..5_u8, prop::option::of(0..200_i64)).prop_map(|(who, expires)| Step::Tag(who, expires)),
        1 => (0..40_u32).prop_map(|n| Step::Base(did("B").within(minutes(n * 5 + 1)))),
        1 => (0..4_u8).prop_map(Step::Policy),
        1 => Just(Step::Replay),
        2 => prop::sample::select(ZONES.to_vec()).prop_map(Step::Reopen),
    ]
}

fn later(now: Timestamp, by: i64) -> Timestamp {
    Timestamp::from_micros(now.as_micros() + by * 60_000_000)
}

/// The entries and exits of each profile, taken together, are who is a member now.
pub(crate) fn journal_agrees(cdp: &Cdp) {
    let mut standing: BTreeSet<(String, ProfileId)> = BTreeSet::new();
    for change in cdp.changes(0, usize::MAX).unwrap() {
        let row = (change.segment, change.profile);
        match change.change {
            SegmentMove::Entered => assert!(standing.insert(row.clone()), "{row:?} entered twice"),
            SegmentMove::Exited => assert!(standing.remove(&row), "{row:?} left twice"),
        }
    }
    let mut members = BTreeSet::new();
    for found in cdp.segments().unwrap().into_iter().filter(|found| found.segment.is_live()) {
        let name = found.segment.name();
        members.extend(cdp.members(name).unwrap().into_iter().map(|person| (name.to_owned(), person.id)));
    }
    assert_eq!(standing, members);
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn live_is_what_a_look_at_everything_gives(
        conditions in prop::collection::vec(nested(leaf()), 3),
        steps in prop::collection::vec(step(), 1..20),
    ) {
        let (_folder, path) = place();
        let clock = ManualClock::at(NOW);
        let builder = |zone: &str| builder(&clock).zone(zone.parse().unwrap());
        let open = |zone: &str| builder(zone).rules(Rules::unlimited()).open(&path).unwrap();
        let mut cdp = open("UTC");
        cdp.define_trait(ComputedTrait::sum("sum", did("A"), "n")).unwrap();
        cdp.define_trait(ComputedTrait::count("recent", did("*").within(hours(2)))).unwrap();
        let bounds = RfmBounds::default().recency_days([0, 0, 1, 1]).frequency([4, 3, 2, 1]);
        cdp.define_trait(ComputedTrait::rfm("rfm", did("A").within(hours(20)), "n", bounds)).unwrap();
        cdp.define_tag(TagRule::new("tag", did("A").at_least(2).within(hours(3)))).unwrap();
        cdp.define(Segment::list("list", ["user_id:u1"])).unwrap();
        cdp.define(Segment::new("base", did("B").within(hours(1)))).unwrap();
        for (n, condition) in conditions.into_iter().enumerate() {
            cdp.define(Segment::new(format!("s{n}"), condition).live(n != 2)).unwrap();
        }
        let mut now = NOW;
        let user = |who: u8| format!("user_id:u{who}");
        for step in steps {
            match step {
                Step::Ingest(events) => {
                    let events = events.into_iter().map(|(who, kind, by, n)| {
                        let event = match kind {
                            0 => Event::group("acme").with_trait("size", n),
                            1 | 2 => Event::track("A"),
                            _ => Event::track("B"),
                        };
                        let event = event.user_id(format!("u{who}")).property("n", n).at(later(now, by));
                        let event = if n > 3 { event.context_trait("t", n) } else { event };
                        let born = later(NOW, (n - 3) * 480 + by).to_string();
                        if n % 2 == 0 { event.context_trait("born", born) } else { event }
                    });
                    cdp.ingest(events).unwrap();
                }
                Step::Move(by) => {
                    now = later(now, by);
                    clock.set(now);
                }
                Step::Link(a, b) if a != b => _ = cdp.force_link(user(a), user(b)).unwrap(),
                Step::Link(..) => {}
                Step::Split(who) => _ = cdp.split(user(who)).unwrap(),
                Step::List(who, true) => _ = cdp.add("list", [user(who)]).unwrap(),
                Step::List(who, false) => _ = cdp.remove("list", [user(who)]).unwrap(),
                Step::Tag(who, expires) => {
                    cdp.tag(user(who), "given", expires.map(|by| later(now, by))).unwrap();
                }
                Step::Base(condition) => _ = cdp.define(Segment::new("base", condition)).unwrap(),
                Step::Policy(n) => {
                    let policies = [Policy::Latest, Policy::First, Policy::Max, Policy::Min];
                    cdp.set_policy("t", policies[usize::from(n)].clone()).unwrap();
                }
                Step::Replay => _ = cdp.set_rules(Rules::unlimited()).unwrap(),
                Step::Reopen(zone) => {
                    // A reader has a calendar of its own, whatever that of the writer was.
                    everybody(&builder(zone).open_read_only(&path).unwrap());
                    drop(cdp);
                    cdp = open(zone);
                }
            }
            everybody(&cdp);
        }
        journal_agrees(&cdp);
        sound(&cdp);
    }
}

#[test]
fn ten_thousand_values_and_hostile_patterns_are_no_trouble() {
    let cdp = memory(Rules::default());
    let skus: Vec<String> = (0..10_000).map(|n| format!("sku-{n}")).collect();
    cdp.define(Segment::new("listed", did("Order").where_property("sku").is_in(skus))).unwrap();
    cdp.define(Segment::new("odd", has_trait("name").matches("(a+)+$"))).unwrap();
    let order = Event::track("Order").user_id("u1").property("sku", "sku-9999");
    cdp.ingest([order.context_trait("name", "a".repeat(50_000) + "b")]).unwrap();
    assert_eq!((names(&cdp, "listed").len(), names(&cdp, "odd").len()), (1, 0));
    let deep = (0..100).fold(json!({"event": "Order"}), |inner, _| json!({"not": inner})).to_string();
    assert_eq!(cdp.preview(Condition::from_json(&deep).unwrap()).unwrap().len(), 1);
}
