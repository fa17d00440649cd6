//! Who is whom: limits, shared devices, blocked values, aliases, and why.

use std::collections::BTreeMap;

use customerdb::{Cdp, Event, Identifier, ProfileId, Rules, Timestamp, minutes};
use serde_json::json;

use crate::support::{NOW, everybody, ids, memory, partition, sound};

fn page() -> Event {
    Event::page().at(NOW)
}

fn later(n: u32) -> Timestamp {
    NOW.after(minutes(n))
}

fn profile_of(cdp: &Cdp, id: &str) -> Option<ProfileId> {
    cdp.profile(id).unwrap().map(|profile| profile.id)
}

fn same(cdp: &Cdp, a: &str, b: &str) -> bool {
    let found = profile_of(cdp, a);
    found.is_some() && found == profile_of(cdp, b)
}

fn refusals(cdp: &Cdp, a: &str, b: &str) -> Vec<(String, String, String)> {
    let why = cdp.explain(a, b).unwrap();
    assert!(!why.same && why.path.is_empty());
    why.refused.into_iter().map(|r| (r.identifier.to_string(), r.reason, r.message_id)).collect()
}

// ---- limits ----

/// The worked example of Segment's documentation on identity resolution: the e-mail address is one person's already.
#[test]
fn a_second_user_id_on_a_shared_address_is_a_new_profile_and_the_address_stays() {
    let cdp = memory(Rules::default());
    let report = cdp
        .ingest([
            Event::identify().user_id("u1").with_trait("email", "shared@x.io").message_id("1"),
            Event::identify().user_id("u2").with_trait("email", "Shared@x.io ").message_id("2"),
        ])
        .unwrap();
    assert_eq!((report.accepted, report.refusals, report.profiles_created), (2, 1, 2));
    assert_eq!(partition(&cdp), [vec!["email:shared@x.io", "user_id:u1"], vec!["user_id:u2"]]);
    let reason = "at most 1 user_id in a profile, 2 if joined";
    assert_eq!(
        refusals(&cdp, "user_id:u2", "email:SHARED@x.io"),
        [("email:shared@x.io".into(), reason.into(), "2".into())]
    );
    assert_eq!(cdp.stats().unwrap().refusals, 1);
    // What the event says of the person is the second's, the address as a trait too.
    assert_eq!(cdp.profile("user_id:u2").unwrap().unwrap().value("email"), Some(&"Shared@x.io ".into()));
    // An anonymous event with the address alone is the first's.
    cdp.ingest([Event::track("Open").context_trait("email", "shared@x.io").message_id("3")]).unwrap();
    assert_eq!(cdp.profile("user_id:u1").unwrap().unwrap().events, 2);
    sound(&cdp);
}

#[test]
fn a_sixth_address_is_left_out_and_the_rest_of_its_event_goes_on() {
    let cdp = memory(Rules::default());
    let event = |n: u32| {
        Event::identify()
            .user_id("u1")
            .anonymous_id(format!("a{n}"))
            .with_trait("email", format!("{n}@x.io"))
            .message_id(format!("m{n}"))
    };
    let report = cdp.ingest((1..=6).map(event)).unwrap();
    assert_eq!((report.accepted, report.refusals), (6, 1));
    let profile = cdp.profile("user_id:u1").unwrap().unwrap();
    assert_eq!((profile.identifiers.len(), profile.events), (1 + 5 + 6, 6));
    assert!(same(&cdp, "user_id:u1", "anonymous_id:a6"));
    assert!(cdp.profile("email:6@x.io").unwrap().is_none(), "nobody has it");
    assert_eq!(
        refusals(&cdp, "user_id:u1", "email:6@x.io")[0].1,
        "at most 5 email in a profile, 6 if joined"
    );
    // It is somebody's when it comes alone.
    cdp.ingest([page().context_trait("email", "6@x.io")]).unwrap();
    assert_eq!(partition(&cdp).len(), 2);
    // With room for it, it was one person all along.
    let report = cdp.set_rules(Rules::default().limit("email", Some(6))).unwrap();
    assert_eq!((report.profiles_before, report.profiles_after, report.joined), (2, 1, 1));
    assert_eq!(cdp.stats().unwrap().refusals, 0);
    sound(&cdp);
}

#[test]
fn the_limit_on_all_identifiers_stops_a_merge_explosion() {
    let cdp = memory(Rules::unlimited().total(Some(10)));
    let many =
        (0..20).map(|n| page().user_id("u1").anonymous_id(format!("a{n}")).message_id(format!("m{n:02}")));
    let report = cdp.ingest(many).unwrap();
    assert_eq!((report.refusals, report.accepted), (11, 20));
    assert_eq!(partition(&cdp), [partition(&cdp)[0].clone()]);
    assert_eq!(cdp.profile("user_id:u1").unwrap().unwrap().identifiers.len(), 10);
    let refused = refusals(&cdp, "user_id:u1", "anonymous_id:a15");
    assert_eq!(refused[0].1, "at most 10 identifiers in a profile, 11 if joined");
    // By default it is 1,000.
    let cdp = memory(Rules::default());
    let many =
        (0..1_005).map(|n| page().user_id("u1").anonymous_id(format!("a{n}")).message_id(format!("m{n}")));
    assert_eq!(cdp.ingest(many).unwrap().refusals, 6);
    sound(&cdp);
}

#[test]
fn who_holds_more_than_the_limit_already_may_still_learn_of_other_kinds() {
    let cdp = memory(Rules::unlimited());
    let event =
        |n: u32| page().user_id("u1").context_trait("email", format!("{n}@x.io")).message_id(format!("{n}"));
    cdp.ingest((0..4).map(event)).unwrap();
    cdp.set_rules(Rules::unlimited().limit("email", Some(2))).unwrap();
    assert_eq!(cdp.profile("user_id:u1").unwrap().unwrap().identifiers.len(), 3);
    cdp.ingest([page().user_id("u1").anonymous_id("a1").message_id("5")]).unwrap();
    assert!(same(&cdp, "user_id:u1", "anonymous_id:a1"));
}

// ---- shared devices ----

#[test]
fn a_kiosk_stays_with_the_first_and_everyone_keeps_their_own_events() {
    let cdp = memory(Rules::default());
    let on_kiosk =
        |n: u32| Event::track("Look").anonymous_id("kiosk").at(later(n)).message_id(format!("m{n:02}"));
    let mut events = Vec::new();
    for user in 0..5 {
        events.push(on_kiosk(user * 3).user_id(format!("u{user}")));
        events.push(on_kiosk(user * 3 + 1));
        events.push(on_kiosk(user * 3 + 2).user_id(format!("u{user}")));
    }
    let report = cdp.ingest(events).unwrap();
    assert_eq!((report.accepted, report.refusals), (15, 8));
    assert_eq!(partition(&cdp).len(), 5);
    assert!(same(&cdp, "user_id:u0", "anonymous_id:kiosk"));
    assert_eq!(cdp.profile("user_id:u0").unwrap().unwrap().events, 2 + 5);
    assert_eq!(cdp.profile("user_id:u4").unwrap().unwrap().events, 2);
    assert_eq!(refusals(&cdp, "user_id:u3", "anonymous_id:kiosk").len(), 8);
    // Anonymous still, long after.
    cdp.ingest([on_kiosk(900)]).unwrap();
    assert_eq!(cdp.profile("user_id:u0").unwrap().unwrap().events, 8);
    sound(&cdp);
}

#[test]
fn anonymous_events_long_before_and_after_login_are_the_persons() {
    let cdp = memory(Rules::default());
    let seen = |n: u32| Event::track("Look").anonymous_id("a1").at(later(n)).message_id(format!("m{n}"));
    cdp.ingest([seen(1)]).unwrap();
    let before = profile_of(&cdp, "anonymous_id:a1");
    cdp.ingest([seen(2).user_id("u1")]).unwrap();
    assert_eq!(profile_of(&cdp, "user_id:u1"), before, "the older id survives");
    cdp.ingest([seen(900), seen(0)]).unwrap();
    let profile = cdp.profile("user_id:u1").unwrap().unwrap();
    assert_eq!(
        (profile.events, profile.first_seen, profile.last_seen),
        (4, Some(later(0)), Some(later(900)))
    );
    assert_eq!(profile.name.to_string(), "user_id:u1");
}

// ---- blocked values and spelling ----

#[test]
fn values_that_stand_for_nobody_link_nothing_in_any_position() {
    let blocked = [
        "",
        "null",
        "none",
        "undefined",
        "unknown",
        "anonymous",
        "guest",
        "n/a",
        "nan",
        "id",
        "email",
        "distinct_id",
        "distinctid",
        "0",
        "-1",
        "00000000-0000-0000-0000-000000000000",
        "true",
        "false",
        "test@test.com",
        "[object Object]",
        "not_authenticated",
    ];
    for value in blocked {
        let upper = value.to_uppercase();
        for raw in
            [value.to_owned(), upper, format!("  {value}\t"), format!("\"{value}\""), format!("'{value}'")]
        {
            let cdp = memory(Rules::unlimited().member("properties.card", "card"));
            let of = |n: u32| page().user_id(format!("u{n}")).message_id(format!("{raw} {n}"));
            let events = [
                of(0).anonymous_id(&raw),
                of(1).anonymous_id(&raw),
                of(2).context_trait("email", &*raw).context_trait("phone", &*raw),
                of(3).context_trait("email", &*raw).context_trait("phone", &*raw),
                of(4).context_trait("openid", &*raw).context_trait("unionid", &*raw),
                of(5).context_trait("openid", &*raw).context_trait("unionid", &*raw),
                of(6).external_id("crm", &raw).context("device", json!({"id": raw, "advertisingId": raw})),
                of(7).external_id("crm", &raw).context("device", json!({"id": raw, "advertisingId": raw})),
                of(8).property("card", &*raw),
                of(9).property("card", &*raw),
                Event::identify().user_id("u10").with_trait("email", &*raw).message_id("10"),
                Event::identify().user_id(&raw).anonymous_id("a11").message_id("11"),
                Event::identify().user_id(&raw).anonymous_id("a12").message_id("12"),
                Event::alias(&raw).user_id("u13").message_id("13"),
                Event::alias(&raw).user_id("u14").message_id("14"),
                Event::alias("a15").user_id(&raw).message_id("15"),
                Event::group(&raw).user_id("u16").message_id("16"),
            ];
            let count = events.len();
            let report = cdp.ingest(events).unwrap();
            assert_eq!(
                (report.accepted, report.refusals),
                (count as u64, 0),
                "{raw:?}: {:?}",
                report.rejected
            );
            assert!(partition(&cdp).iter().all(|set| set.len() == 1), "{raw:?}: {:?}", partition(&cdp));
            assert_eq!(partition(&cdp).len(), count);
            assert!(cdp.profile("user_id:u16").unwrap().unwrap().accounts.is_empty());
            let nobody = [page().user_id(&raw), page().anonymous_id(&raw).context_trait("email", &*raw)];
            assert_eq!(cdp.ingest(nobody).unwrap().rejected.len(), 2, "{raw:?}");
        }
    }
}

#[test]
fn identifiers_are_found_in_every_spelling() {
    let cdp = memory(Rules::unlimited().default_region("CN").unwrap());
    let id = "6BA7B810-9DAD-11D1-80B4-00C04FD430C8";
    cdp.ingest([
        page().user_id(" u1 ").context_trait("email", "  X.Y@Example.COM ").message_id("1"),
        page().user_id("u1").context_trait("phone", "138 0000 0002").message_id("2"),
        page().user_id("u1").context("device", json!({"id": id, "advertisingId": id})).message_id("3"),
        page().user_id("u1").external_id("email", "Z@example.com").external_id("crm", "Case").message_id("4"),
    ])
    .unwrap();
    assert_eq!(partition(&cdp).len(), 1);
    for name in [
        "user_id:u1",
        "user_id: u1",
        "email:x.y@example.com",
        "email:ｘ.y@EXAMPLE.com",
        "phone:+86 138-0000-0002",
        "phone:13800000002",
        "email:z@example.com",
        "external:crm:Case",
    ] {
        assert!(profile_of(&cdp, name).is_some(), "{name}");
    }
    for (namespace, value) in [("device_id", id), ("advertising_id", id)] {
        assert!(profile_of(&cdp, &format!("{namespace}:{value}")).is_some());
    }
    assert!(profile_of(&cdp, "external:crm:case").is_none());
    assert!(profile_of(&cdp, "user_id:U1").is_none());
}

#[test]
fn any_character_may_stand_in_an_id_up_to_1024_bytes() {
    let (_folder, path) = crate::support::place();
    let odd = [
        "a\u{0}b",
        "a\u{0}c",
        "a",
        "a:b",
        "'; DROP TABLE events; --",
        "%",
        "_",
        "\u{1F468}\u{200D}\u{1F469}",
        "ﷺ",
    ];
    let longest = "é".repeat(512);
    let longer = format!("{longest}x");
    let open = || Cdp::open(&path).unwrap();
    let cdp = open();
    for id in odd.iter().copied().chain([&*longest]) {
        cdp.ingest([Event::track(id).user_id(id).message_id(id).with_trait(id, id).context_trait(id, id)])
            .unwrap();
    }
    let report = cdp.ingest([page().user_id(&longer).anonymous_id("a1").message_id("long")]).unwrap();
    assert_eq!((report.accepted, report.refusals), (1, 1));
    let report = cdp.ingest([page().user_id(&longer)]).unwrap();
    assert!(report.rejected[0].reason.starts_with("user_id: longer than 1024 bytes"), "{report:?}");
    let before = everybody(&cdp);
    assert_eq!(before.len(), odd.len() + 2);
    for id in odd.iter().copied().chain([&*longest]) {
        let profile = cdp.profile(Identifier::new("user_id", id)).unwrap().unwrap();
        assert_eq!((profile.events, profile.value(id)), (1, Some(&id.into())));
        let records = cdp.events(profile.id, 9).unwrap();
        assert_eq!((&*records[0].name, &*records[0].message_id), (id, id));
    }
    sound(&cdp);
    drop(cdp);
    assert_eq!(everybody(&open()), before);
}

#[test]
fn a_malformed_address_is_left_out_and_listed() {
    let cdp = memory(Rules::default());
    let report =
        cdp.ingest([page().user_id("u1").context_trait("email", "nonsense").message_id("1")]).unwrap();
    assert_eq!((report.accepted, report.refusals), (1, 1));
    let expected = ("email:nonsense".to_owned(), "not an e-mail address".to_owned(), "1".to_owned());
    assert_eq!(refusals(&cdp, "user_id:u1", "email:nonsense"), [expected]);
}

/// Rules that block change the past: what is left without an identifier is kept, and is nobody's.
#[test]
fn events_whose_last_identifier_is_blocked_later_are_orphans_and_come_back_when_it_is_not() {
    let cdp = memory(Rules::default());
    let alone = page().user_id("shop").message_id("1");
    cdp.ingest([alone.clone(), page().user_id("Shop").anonymous_id("a1").message_id("2")]).unwrap();
    cdp.ingest([Event::identify().user_id("shop").with_trait("city", "Lima").message_id("3")]).unwrap();
    let before = everybody(&cdp);
    cdp.set_rules(Rules::default().block("user_id", "SHOP")).unwrap();
    let stats = cdp.stats().unwrap();
    assert_eq!((stats.events, stats.orphans, stats.profiles, stats.identifiers), (3, 2, 1, 1));
    assert_eq!(partition(&cdp), [["anonymous_id:a1"]]);
    assert_eq!(cdp.profile("anonymous_id:a1").unwrap().unwrap().events, 1);
    assert!(cdp.profile("user_id:shop").unwrap().is_none());
    assert!(cdp.events("user_id:shop", 9).unwrap().is_empty());
    assert_eq!(cdp.ingest([alone]).unwrap().duplicates, 1, "it is there still");
    sound(&cdp);
    cdp.set_rules(Rules::default()).unwrap();
    assert_eq!(cdp.stats().unwrap().orphans, 0);
    assert_eq!(everybody(&cdp), before);
    sound(&cdp);
}

/// Of a value that the rules block as `anonymous_id` only, the crate forgot that events bore it as `anonymousId`; so
/// what the `previousId` of an alias was depended on when the rule was made.
#[test]
fn rules_made_before_the_events_mean_the_same_as_rules_made_after() {
    let rules = || Rules::unlimited().block("anonymous_id", "kiosk");
    let events = || {
        [
            page().user_id("u1").anonymous_id("kiosk").message_id("1"),
            Event::alias("kiosk").user_id("u2").message_id("2"),
        ]
    };
    let before = memory(rules());
    before.ingest(events()).unwrap();
    let after = memory(Rules::unlimited());
    after.ingest(events()).unwrap();
    after.set_rules(rules()).unwrap();
    assert_eq!(partition(&after), [["user_id:u1"], ["user_id:u2"]]);
    assert_eq!(partition(&before), partition(&after));
}

// ---- aliases ----

#[test]
fn an_alias_joins_in_whatever_order_its_sides_become_known() {
    let anonymous = || page().anonymous_id("a1").message_id("1");
    let user = || page().user_id("u1").message_id("2");
    let alias = || Event::alias("a1").user_id("u1").at(NOW).message_id("3");
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        for at_once in [true, false] {
            let cdp = memory(Rules::default());
            let events = order.map(|n| match n {
                0 => anonymous(),
                1 => user(),
                _ => alias(),
            });
            if at_once {
                cdp.ingest(events.clone()).unwrap();
            } else {
                for event in &events {
                    cdp.ingest([event.clone()]).unwrap();
                }
            }
            assert_eq!(partition(&cdp), [["anonymous_id:a1", "user_id:u1"]], "{order:?} {at_once}");
            assert_eq!(cdp.profile("user_id:u1").unwrap().unwrap().events, 3);
            assert_eq!(cdp.stats().unwrap().refusals, 0);
            sound(&cdp);
        }
    }
}

#[test]
fn aliases_chain_and_circle_and_may_name_themselves() {
    let alias = |previous: &str, user: &str| Event::alias(previous).user_id(user).at(NOW);
    let cdp = memory(Rules::unlimited());
    cdp.ingest([alias("b", "c"), alias("a", "b"), alias("c", "d"), alias("d", "a"), alias("a", "a")])
        .unwrap();
    assert_eq!(partition(&cdp), [["user_id:a", "user_id:b", "user_id:c", "user_id:d"]]);
    assert_eq!(cdp.graph().unwrap().links().count(), 4);
    // One user_id to a person, unless rules say otherwise: an alias obeys the limits.
    let cdp = memory(Rules::default());
    let report = cdp.ingest([alias("a", "b"), alias("b", "a")]).unwrap();
    assert_eq!((report.accepted, report.refusals), (2, 2));
    assert_eq!(partition(&cdp), [["user_id:a"], ["user_id:b"]]);
    // With nothing but a previousId, it is an event of that person.
    let cdp = memory(Rules::default());
    cdp.ingest([Event::alias("a").at(NOW)]).unwrap();
    assert_eq!(partition(&cdp), [["user_id:a"]]);
    cdp.ingest([page().anonymous_id("a")]).unwrap();
    assert_eq!(partition(&cdp), [["anonymous_id:a"]]);
    sound(&cdp);
}

#[test]
fn an_event_sent_fifty_times_is_one_piece_of_evidence() {
    let cdp = memory(Rules::default());
    let event = page().user_id("u1").anonymous_id("a1").message_id("m1");
    for _ in 0..25 {
        cdp.ingest([event.clone(), event.clone()]).unwrap();
    }
    let stats = cdp.stats().unwrap();
    assert_eq!((stats.events, stats.links), (1, 1));
    let why = cdp.explain("user_id:u1", "anonymous_id:a1").unwrap();
    assert_eq!((why.path.len(), why.path[0].count), (1, 1));
    let events =
        (0..50).map(|n| page().user_id("u1").anonymous_id("a1").message_id(format!("n{n}")).at(later(n)));
    cdp.ingest(events).unwrap();
    let why = cdp.explain("anonymous_id:a1", "user_id:u1").unwrap();
    assert_eq!((why.path.len(), why.path[0].count, &*why.path[0].message_id), (1, 51, "m1"));
    assert_eq!((why.path[0].first_seen, why.path[0].last_seen), (NOW, later(49)));
    assert_eq!(why.path[0].a.to_string(), "anonymous_id:a1");
}

// ---- why ----

/// Every link of a path is borne out by its event, and the path leads from the one to the other.
#[test]
fn a_path_is_a_chain_of_events_that_bore_both_ends() {
    let cdp = memory(Rules::unlimited());
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut events = Vec::new();
    for n in 0..32_u32 {
        let (user, anonymous, mail) = (n * 7 % 13, n * 5 % 11, n * 3 % 17);
        let id = format!("m{n:02}");
        let mut borne = vec![format!("user_id:u{user}")];
        let mut event = page().user_id(format!("u{user}")).message_id(&id).at(later(n));
        if n % 3 != 0 {
            borne.push(format!("anonymous_id:a{anonymous}"));
            event = event.anonymous_id(format!("a{anonymous}"));
        }
        if n % 4 == 0 {
            borne.push(format!("email:{mail}@x.io"));
            event = event.context_trait("email", format!("{mail}@x.io"));
        }
        told.insert(id, borne);
        events.push(event);
    }
    events.reverse();
    cdp.ingest(events).unwrap();
    let names: Vec<String> = ids(&cdp).into_keys().collect();
    let mut longest = 0;
    for a in &names {
        for b in &names {
            let why = cdp.explain(a, b).unwrap();
            assert_eq!(why.same, same(&cdp, a, b));
            if !why.same {
                assert!(why.path.is_empty());
                continue;
            }
            let mut walker: Identifier = a.parse().unwrap();
            for link in &why.path {
                assert_eq!(link.a, walker);
                let borne = &told[&link.message_id];
                let ends = [link.a.to_string(), link.b.to_string()];
                assert!(ends.iter().all(|end| borne.contains(end)), "{ends:?} of {borne:?}");
                let count = told.values().filter(|borne| ends.iter().all(|end| borne.contains(end))).count();
                assert_eq!(link.count, count as u64);
                assert!(link.first_seen <= link.last_seen);
                walker = link.b.clone();
            }
            assert_eq!(walker.to_string(), *b);
            assert_eq!(why.path.len(), cdp.explain(b, a).unwrap().path.len());
            longest = longest.max(why.path.len());
        }
    }
    assert!(longest > 2);
    assert_eq!(cdp.graph().unwrap().components().len(), cdp.profiles().unwrap().len());
    let one = cdp.explain(profile_of(&cdp, &names[0]).unwrap(), &names[0]).unwrap();
    assert!(one.same);
    assert!(!cdp.explain("user_id:nobody", "user_id:noone").unwrap().same);
    assert!(cdp.explain("nonsense", "user_id:u1").is_err());
}

// ---- rules ----

#[test]
fn new_rules_say_what_they_did() {
    let cdp = memory(Rules::default());
    let event = |anonymous: &str, mail: &str| {
        Event::identify().anonymous_id(anonymous).with_trait("email", mail).message_id(anonymous).at(NOW)
    };
    cdp.ingest([
        event("a1", "info@x.io"),
        event("a2", "info@x.io"),
        event("a3", "c@x.io"),
        event("a4", "c@x.io"),
    ])
    .unwrap();
    let given = ids(&cdp);
    let report = cdp.set_rules(Rules::default().block("email", "INFO@x.io")).unwrap();
    assert_eq!((report.profiles_before, report.profiles_after), (2, 3));
    assert_eq!((report.joined, report.split, report.largest), (0, 1, 3));
    let names = |ids: &[Identifier]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(report.examples.len(), 1);
    assert_eq!(names(&report.examples[0].before), ["email:info@x.io"]);
    assert_eq!(names(&report.examples[0].after), ["anonymous_id:a1", "anonymous_id:a2"]);
    // The part with the strongest identifier keeps the id; the other has one that was never used.
    assert_eq!(ids(&cdp)["anonymous_id:a1"], given["anonymous_id:a1"]);
    let fresh = ids(&cdp)["anonymous_id:a2"];
    assert!(!given.values().any(|id| *id == fresh));
    assert_eq!(ids(&cdp)["anonymous_id:a3"], given["anonymous_id:a3"]);

    let report =
        cdp.set_rules(Rules::default().block_pattern("email", "@x").unwrap().block("*", "a9")).unwrap();
    assert_eq!((report.profiles_after, report.split, report.largest), (4, 1, 1));
    let report = cdp.set_rules(Rules::default()).unwrap();
    assert_eq!((report.profiles_before, report.profiles_after, report.joined, report.split), (4, 2, 2, 0));
    assert_eq!(ids(&cdp), given);
    assert_eq!(cdp.profile(fresh).unwrap().unwrap().id, given["anonymous_id:a2"], "for ever");
    let report = cdp.set_rules(Rules::default()).unwrap();
    assert_eq!((report.joined, report.split, report.examples.len()), (0, 0, 0));
    sound(&cdp);
}

#[test]
fn the_order_of_namespaces_decides_names_and_owners() {
    let cdp = memory(Rules::default());
    cdp.ingest([page().user_id("u1").anonymous_id("a1").context_trait("email", "x@y.io")]).unwrap();
    let name = |cdp: &Cdp| cdp.profiles().unwrap()[0].name.to_string();
    assert_eq!(name(&cdp), "user_id:u1");
    let id = profile_of(&cdp, "user_id:u1");
    cdp.set_rules(Rules::default().order(["anonymous_id", "email"])).unwrap();
    assert_eq!(name(&cdp), "anonymous_id:a1");
    let identifiers = cdp.profiles().unwrap().remove(0).identifiers;
    let identifiers: Vec<String> = identifiers.iter().map(ToString::to_string).collect();
    assert_eq!(identifiers, ["anonymous_id:a1", "email:x@y.io", "user_id:u1"]);
    assert_eq!(profile_of(&cdp, "user_id:u1"), id);
    sound(&cdp);
}

/// Replays settle what limits left to the order of arrival.
#[test]
fn a_replay_gives_the_answer_of_event_time_order() {
    let first = Event::identify().user_id("u1").with_trait("email", "s@x.io").at(NOW).message_id("1");
    let second = Event::identify().user_id("u2").with_trait("email", "s@x.io").at(later(1)).message_id("2");
    let cdp = memory(Rules::default());
    cdp.ingest([second]).unwrap();
    cdp.ingest([first]).unwrap();
    assert!(same(&cdp, "user_id:u2", "email:s@x.io"), "first come");
    let report = cdp.set_rules(Rules::default()).unwrap();
    assert!(same(&cdp, "user_id:u1", "email:s@x.io"));
    assert_eq!((report.profiles_before, report.profiles_after), (2, 2));
    assert_eq!(refusals(&cdp, "user_id:u2", "email:s@x.io")[0].2, "2");
    sound(&cdp);
}

/// An alias took `x` for a `user_id`, and an id was given out for it. Later `x` turns out to be an `anonymous_id`.
#[test]
fn an_id_given_out_for_a_mistaken_user_id_leads_to_the_person_whose_event_it_was() {
    let cdp = memory(Rules::default());
    cdp.ingest([Event::alias("x").at(NOW)]).unwrap();
    let id = profile_of(&cdp, "user_id:x").unwrap();
    cdp.ingest([page().anonymous_id("x")]).unwrap();
    assert_eq!(cdp.profile(id).unwrap().map(|profile| profile.id), profile_of(&cdp, "anonymous_id:x"));
}

/// For a while the person had no identifier.
#[test]
fn an_id_outlives_a_rule_that_blocked_its_only_identifier_for_a_while() {
    let cdp = memory(Rules::default());
    cdp.ingest([page().user_id("u1")]).unwrap();
    let id = profile_of(&cdp, "user_id:u1");
    cdp.set_rules(Rules::default().block("user_id", "u1")).unwrap();
    cdp.set_rules(Rules::default()).unwrap();
    assert_eq!(profile_of(&cdp, "user_id:u1"), id);
}

/// Types of external ids come from whoever writes events. Their numbers were cut to 16 bits, so that beyond 65,536 of
/// them an identifier of one namespace was taken for one of another. A file holds so many namespaces, and no more.
#[test]
fn strangers_cannot_run_the_namespaces_over() {
    let cdp = memory(Rules::unlimited());
    let event = |n: u32| {
        let types =
            (n * 1_000..(n + 1) * 1_000).fold(page(), |event, n| event.external_id(format!("t{n}"), "1"));
        types.user_id(format!("u{n}")).message_id(format!("m{n}"))
    };
    for n in 0..67 {
        cdp.ingest([event(n)]).unwrap();
    }
    assert_eq!(partition(&cdp).len(), 67);
    sound(&cdp);
}

/// An alias of nothing means nothing, and neither does a device without an id: what was empty was kept as an identifier, and
/// taken for one that was let go of.
#[test]
fn what_is_empty_is_no_identifier_whatever_it_is_named_as() {
    for (previous, anonymous) in [("", ""), ("  ", ""), ("", "\u{a0}")] {
        let cdp = memory(Rules::default());
        let raw = |event: serde_json::Value| cdp.ingest([event.to_string().as_str()]).unwrap();
        raw(json!({"type": "alias", "userId": "u", "previousId": previous, "messageId": "1"}));
        raw(json!({"type": "page", "userId": "z", "anonymousId": anonymous, "messageId": "2"}));
        raw(json!({"type": "alias", "userId": "y", "previousId": previous, "messageId": "3"}));
        assert_eq!(cdp.stats().unwrap().identifiers, 3);
        assert_eq!(partition(&cdp).len(), 3);
        sound(&cdp);
        assert_eq!(cdp.restitch().unwrap().changed, 0);
        sound(&cdp);
    }
}
