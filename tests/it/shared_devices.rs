//! Whose the anonymous events of a shared device are, under each of the rules, in whatever order they arrive.

use std::collections::BTreeMap;

use customerdb::{Cdp, Event, Rules, Segment, SharedDevice, did, hours, minutes};
use proptest::prelude::*;
use serde_json::json;

use crate::support::{NOW, builder, cases, everybody, ids, memory, names, place, sound};

/// A kiosk: somebody looks, u1 logs in, somebody looks, u2 does, somebody looks, u1 again, somebody looks.
fn kiosk() -> Vec<Event> {
    let seen = |n: u32| {
        let at = NOW.before(hours(9)).after(minutes(n));
        Event::track("Look").anonymous_id("kiosk").at(at).message_id(format!("{n}"))
    };
    vec![
        seen(1),
        seen(2).user_id("u1"),
        seen(3),
        seen(4).user_id("u2"),
        seen(5),
        seen(6).user_id("u1"),
        seen(7),
    ]
}

/// Whose the events are, by the name of each person.
fn whose(cdp: &Cdp) -> BTreeMap<String, String> {
    let people = cdp.profiles().unwrap().into_iter();
    let events = |id| {
        let mut own: Vec<String> =
            cdp.events(id, 99).unwrap().into_iter().map(|event| event.message_id).collect();
        own.sort();
        own.join(" ")
    };
    people.map(|person| (person.name.to_string(), events(person.id))).collect()
}

fn expected(policy: SharedDevice) -> BTreeMap<String, String> {
    let told: &[(&str, &str)] = match policy {
        SharedDevice::First => &[("user_id:u1", "1 2 3 5 6 7"), ("user_id:u2", "4")],
        SharedDevice::Last => &[("user_id:u1", "1 2 3 6 7"), ("user_id:u2", "4 5")],
        SharedDevice::None => {
            &[("anonymous_id:kiosk", "1 3 5 7"), ("user_id:u1", "2 6"), ("user_id:u2", "4")]
        }
    };
    told.iter().map(|(name, events)| ((*name).to_owned(), (*events).to_owned())).collect()
}

const POLICIES: [SharedDevice; 3] = [SharedDevice::First, SharedDevice::Last, SharedDevice::None];

#[test]
fn a_kiosk_is_whose_the_rule_says() {
    for policy in POLICIES {
        let cdp = memory(Rules::default().shared_device(policy));
        cdp.ingest(kiosk()).unwrap();
        assert_eq!(whose(&cdp), expected(policy), "{policy:?}");
        // The same for one that is told so afterwards, and back.
        for other in POLICIES {
            cdp.set_rules(Rules::default().shared_device(other)).unwrap();
            assert_eq!(whose(&cdp), expected(other), "{policy:?} then {other:?}");
            sound(&cdp);
        }
    }
}

/// One device that two users were seen on, with nothing between them: it is nobody's from its first event on, and each
/// user keeps what is theirs. Until the second shows, it is the first's.
#[test]
fn a_device_is_nobodys_from_the_second_user_on_for_its_whole_past() {
    let cdp = memory(Rules::default().shared_device(SharedDevice::None));
    let events = kiosk();
    cdp.ingest(events[..3].to_vec()).unwrap();
    assert_eq!(whose(&cdp), BTreeMap::from([("user_id:u1".to_owned(), "1 2 3".to_owned())]));
    let id = ids(&cdp)["anonymous_id:kiosk"];
    cdp.ingest([events[3].clone()]).unwrap();
    assert_eq!(whose(&cdp)["anonymous_id:kiosk"], "1 3");
    assert_eq!(ids(&cdp)["user_id:u1"], id, "the part with the strongest identifier keeps the id");
    assert_ne!(ids(&cdp)["anonymous_id:kiosk"], id);
    // The device is no bridge either.
    assert!(!cdp.explain("user_id:u1", "anonymous_id:kiosk").unwrap().same);
    sound(&cdp);
}

/// An event on a device that is another's by the rule `last` still joins the identifiers that it bears. The segments of
/// whom it joined were left as they were.
#[test]
fn an_event_that_is_anothers_settles_whom_it_joins() {
    let cdp = memory(Rules::unlimited().total(Some(2)).shared_device(SharedDevice::Last));
    cdp.define(Segment::new("lookers", did("Look").at_least(2))).unwrap();
    let look =
        |n: u32| Event::track("Look").at(NOW.before(hours(9)).after(minutes(n))).message_id(format!("{n}"));
    cdp.ingest([look(1).anonymous_id("x"), look(2).context("device", json!({"id": "d"}))]).unwrap();
    cdp.ingest([look(3).user_id("u1").context_trait("email", "e@x.io")]).unwrap();
    cdp.ingest([Event::track("Login")
        .at(NOW.before(hours(9)).after(minutes(4)))
        .message_id("4")
        .user_id("u1")
        .anonymous_id("x")])
        .unwrap();
    assert_eq!(names(&cdp, "lookers"), Vec::<String>::new());
    cdp.ingest([look(5).anonymous_id("x").context("device", json!({"id": "d"}))]).unwrap();
    assert_eq!(whose(&cdp)["device_id:d"], "1 2");
    assert_eq!(whose(&cdp)["user_id:u1"], "3 4 5");
    assert_eq!(names(&cdp, "lookers"), ["device_id:d", "user_id:u1"]);
    everybody(&cdp);
}

proptest! {
    #![proptest_config(cases(12))]

    /// Late arrivals included: who was last seen before an event is asked of the events' times.
    #[test]
    fn a_kiosk_is_whose_the_rule_says_whenever_its_events_arrive(
        events in Just(kiosk()).prop_shuffle(),
        policy in 0..3_usize,
        size in 1..4_usize,
    ) {
        let policy = POLICIES[policy];
        let (_folder, path) = place();
        let clock = customerdb::ManualClock::at(NOW);
        let open = || builder(&clock).rules(Rules::default().shared_device(policy)).open(&path).unwrap();
        let mut cdp = open();
        let half = events.len() / 2;
        for batch in events[..half].chunks(size) {
            cdp.ingest(batch.to_vec()).unwrap();
        }
        drop(cdp);
        cdp = open();
        for batch in events[half..].chunks(size) {
            cdp.ingest(batch.to_vec()).unwrap();
        }
        match policy {
            // Which of the two came first is left to the replay.
            SharedDevice::First => {}
            // Nobody was seen before the first event: it is whose the graph holds the device with.
            SharedDevice::Last => {
                let found = whose(&cdp);
                prop_assert_eq!(found["user_id:u1"].trim_start_matches("1 "), "2 3 6 7");
                prop_assert_eq!(found["user_id:u2"].trim_start_matches("1 "), "4 5");
            }
            SharedDevice::None => prop_assert_eq!(whose(&cdp), expected(policy)),
        }
        sound(&cdp);
        cdp.restitch().unwrap();
        prop_assert_eq!(whose(&cdp), expected(policy));
        let before = everybody(&cdp);
        prop_assert_eq!(cdp.restitch().unwrap().changed, 0);
        prop_assert_eq!(everybody(&cdp), before);
        sound(&cdp);
    }
}
