//! What a hand decides: it holds, it is sound at once, and stitching everything anew changes nothing about it.

use customerdb::{Cdp, Event, ManualClock, Rules, SharedDevice, Source, minutes};

use crate::support::{NOW, builder, ids, memory, partition, sound};

/// Stitching everything anew changes nobody, and nobody's id.
fn settled(cdp: &Cdp) {
    sound(cdp);
    let before = (partition(cdp), ids(cdp));
    assert_eq!(cdp.restitch().unwrap().changed, 0);
    assert_eq!((partition(cdp), ids(cdp)), before);
    sound(cdp);
}

/// The check of the evidence counted events only, so a link in an empty file was reported as damage.
#[test]
fn a_link_before_the_first_event_is_sound() {
    let cdp = memory(Rules::default());
    cdp.link("user_id:u1", "anonymous_id:a1").unwrap();
    assert_eq!(partition(&cdp), [["anonymous_id:a1", "user_id:u1"]]);
    settled(&cdp);
}

/// A profile that lost all its identifiers, and whose events went to another, was absorbed where rules were set, and
/// merely gone where they were tried out.
#[test]
fn trying_rules_out_tells_what_setting_them_does() {
    let cdp = memory(Rules::default().block("email", "e@x.io"));
    cdp.ingest([
        Event::identify().user_id("u1").with_trait("email", "e@x.io"),
        Event::identify().anonymous_id("a1").with_trait("email", "e@x.io"),
    ])
    .unwrap();
    let rules = Rules::default().block("anonymous_id", "a1");
    let expected = cdp.simulate(rules.clone()).unwrap();
    assert_eq!((expected.profiles_before, expected.profiles_after, expected.joined), (2, 1, 1));
    assert_eq!(cdp.set_rules(rules).unwrap(), expected);
    settled(&cdp);
}

/// Events of the source that bear no link, because a limit left their identifiers out, kept their old refusals until
/// everything was stitched anew.
#[test]
fn a_source_is_cut_off_from_what_a_limit_had_kept_out_too() {
    let cdp = memory(Rules::default());
    let crm = Source::new("crm");
    cdp.ingest_from(&crm, [Event::alias("u2").user_id("u1")]).unwrap();
    cdp.split_source("crm").unwrap();
    let refused = cdp.refusals(0, 10).unwrap();
    assert_eq!((refused.len(), refused[0].rule), (1, customerdb::Rule::Cut));
    settled(&cdp);
}

/// A person of whom a replay left nothing, and who came again, had a new id until everything was stitched anew: then the
/// old one came back and absorbed it.
#[test]
fn whoever_comes_again_keeps_the_new_id() {
    let cdp = memory(Rules::default());
    cdp.ingest([Event::track("Call").user_id("u1")]).unwrap();
    cdp.never("user_id:u1", "user_id:u2").unwrap();
    cdp.ingest([Event::alias("u2").user_id("u1")]).unwrap();
    let old = cdp.profile("user_id:u2").unwrap().unwrap().id;
    let decision = cdp.decisions().unwrap()[0].number;
    cdp.take_back(decision).unwrap();
    assert!(cdp.profile("user_id:u2").unwrap().is_none(), "a limit keeps u2 out, and nobody else bears it");
    cdp.ingest([Event::track("Call").user_id("u2").at(NOW.after(minutes(1)))]).unwrap();
    let new = cdp.profile("user_id:u2").unwrap().unwrap().id;
    settled(&cdp);
    assert_eq!(cdp.profile("user_id:u2").unwrap().unwrap().id, new);
    assert_eq!(cdp.profile(old).unwrap().unwrap().id, new, "the old id leads there too");
}

/// What made an alias mean an `anonymous_id` was that the identifier was known, from wherever. A link by hand made it
/// known without telling the alias anew, so the next decision resolved the alias to somebody whom it had not let go of,
/// and the file came to hold other people than memory.
#[test]
fn an_alias_means_what_events_bear_and_not_what_a_hand_named() {
    let cdp = memory(Rules::default().limit("user_id", None));
    cdp.ingest([Event::alias("x").user_id("b")]).unwrap();
    cdp.link("user_id:q", "anonymous_id:x").unwrap();
    cdp.never("user_id:b", "user_id:r").unwrap();
    assert_eq!(partition(&cdp), [["anonymous_id:x", "user_id:q"], ["user_id:b", "user_id:x"]]);
    settled(&cdp);
    // Now an event bears it.
    cdp.ingest([Event::track("Visit").anonymous_id("x")]).unwrap();
    assert_eq!(partition(&cdp), [["anonymous_id:x", "user_id:b", "user_id:q"]]);
    settled(&cdp);
}

#[test]
fn an_alias_does_not_mean_what_another_member_bears() {
    let cdp = memory(Rules::default().limit("user_id", None));
    cdp.ingest([
        Event::alias("x").user_id("b"),
        Event::identify().user_id("q").external_id("anonymous_id", "x"),
    ])
    .unwrap();
    assert_eq!(partition(&cdp), [["anonymous_id:x", "user_id:q"], ["user_id:b", "user_id:x"]]);
    settled(&cdp);
    cdp.ingest([Event::track("Visit").anonymous_id("x")]).unwrap();
    assert_eq!(partition(&cdp), [["anonymous_id:x", "user_id:b", "user_id:q"]]);
    settled(&cdp);
}

/// Memory took the time of the second cut, the file kept that of the first.
#[test]
fn a_source_that_is_cut_off_twice_was_cut_off_the_first_time() {
    let clock = ManualClock::at(NOW);
    let cdp = builder(&clock).in_memory().unwrap();
    cdp.split_source("crm").unwrap();
    clock.set(NOW.after(minutes(1)));
    cdp.split_source("crm").unwrap();
    assert_eq!(cdp.decisions().unwrap()[0].at, NOW);
    settled(&cdp);
}

/// Taking the cut between the two back lifted the ban that the cut of the source had left.
#[test]
fn what_a_source_parted_stays_apart_when_a_cut_of_the_two_is_taken_back() {
    let cdp = memory(Rules::default());
    let login = || Event::identify().user_id("u1").anonymous_id("a1");
    cdp.ingest_from(&Source::new("crm"), [login().message_id("1")]).unwrap();
    cdp.split_source("crm").unwrap();
    cdp.unlink("user_id:u1", "anonymous_id:a1").unwrap();
    let cut = cdp.decisions().unwrap().pop().unwrap().number;
    cdp.take_back(cut).unwrap();
    cdp.ingest([login().message_id("2")]).unwrap();
    assert_eq!(partition(&cdp), [["anonymous_id:a1"], ["user_id:u1"]]);
    settled(&cdp);
}

/// A second user on a device whose holder a cut had parted from that user was taken for nobody seen.
#[test]
fn a_user_is_seen_on_a_device_of_somebody_from_whom_a_cut_parted_them() {
    let cdp = memory(Rules::default().shared_device(SharedDevice::Last));
    let at = |n: u32| NOW.after(minutes(n));
    let login = |user: &str| Event::identify().user_id(user).anonymous_id("kiosk");
    cdp.ingest([
        Event::identify().user_id("u1").with_trait("email", "e@x.io").at(NOW),
        Event::identify().anonymous_id("kiosk").with_trait("email", "e@x.io").at(at(1)),
    ])
    .unwrap();
    cdp.unlink("user_id:u1", "email:e@x.io").unwrap();
    cdp.ingest([
        login("u1").at(at(2)),
        Event::track("Search").anonymous_id("kiosk").message_id("s").at(at(3)),
    ])
    .unwrap();
    assert_eq!(partition(&cdp), [vec!["anonymous_id:kiosk", "email:e@x.io"], vec!["user_id:u1"]]);
    assert_eq!(cdp.events("user_id:u1", 1).unwrap()[0].message_id, "s");
    settled(&cdp);
}

/// A batch may show within itself that an alias meant an anonymous id. People of before keep their ids.
#[test]
fn an_alias_that_its_own_batch_betrays_costs_nobody_an_id() {
    let cdp = memory(Rules::default().limit("user_id", None));
    cdp.ingest([Event::page().user_id("x"), Event::page().user_id("u1")]).unwrap();
    let id = |name: &str| cdp.profile(name).unwrap().map(|profile| profile.id);
    let before = (id("user_id:x"), id("user_id:u1"));
    let report = cdp
        .ingest([
            Event::alias("x").user_id("u1"),
            Event::page().anonymous_id("x"),
            Event::page().anonymous_id("other"),
        ])
        .unwrap();
    assert_eq!((report.profiles_created, report.merges), (1, 0));
    assert_eq!((id("user_id:x"), id("user_id:u1")), before);
    assert_eq!(id("anonymous_id:x"), before.1);
    assert_eq!(cdp.journal(0, 10).unwrap(), []);
    sound(&cdp);
    // One that founds people which the next event takes apart leaves no gap in their numbers.
    cdp.ingest([
        Event::alias("y").user_id("u2"),
        Event::alias("z").user_id("u2"),
        Event::page().anonymous_id("y"),
        Event::page().anonymous_id("z").user_id("u3"),
    ])
    .unwrap();
    assert_eq!(id("anonymous_id:y"), id("user_id:u2"));
    sound(&cdp);
    assert_eq!(cdp.restitch().unwrap().changed, 0);
}

#[test]
fn a_ban_stands_before_a_link_and_gives_way_when_it_is_taken_back() {
    let cdp = memory(Rules::default());
    cdp.link("user_id:u1", "anonymous_id:a1").unwrap();
    cdp.never("user_id:u1", "anonymous_id:a1").unwrap();
    assert!(!cdp.explain("user_id:u1", "anonymous_id:a1").unwrap().same);
    let ban = cdp.decisions().unwrap().pop().unwrap();
    cdp.take_back(ban.number).unwrap();
    assert!(cdp.explain("user_id:u1", "anonymous_id:a1").unwrap().same);
    sound(&cdp);
}

#[test]
fn a_link_joins_again_what_a_cut_of_the_two_has_parted() {
    let cdp = memory(Rules::default());
    let login = |id: &str| Event::page().user_id("u1").anonymous_id("a1").message_id(id);
    cdp.ingest([login("m1")]).unwrap();
    assert_eq!(cdp.unlink("user_id:u1", "anonymous_id:a1").unwrap().profiles.len(), 2);
    cdp.ingest([login("m2")]).unwrap();
    assert_eq!(cdp.profiles().unwrap().len(), 2);
    assert_eq!(cdp.link("user_id:u1", "anonymous_id:a1").unwrap().profiles.len(), 1);
    sound(&cdp);
    assert_eq!(cdp.restitch().unwrap().changed, 0);
}

#[test]
fn what_a_later_rule_blocks_is_linked_with_nobody_and_can_still_be_unlinked() {
    let cdp = memory(Rules::default());
    cdp.ingest([Event::page().user_id("u1")]).unwrap();
    cdp.link("user_id:u1", "email:x@example.com").unwrap();
    cdp.set_rules(Rules::default().block("email", "x@example.com")).unwrap();
    assert_eq!(cdp.profile("user_id:u1").unwrap().unwrap().identifiers.len(), 1);
    assert!(cdp.link("user_id:u2", "email:x@example.com").is_err());
    cdp.unlink("user_id:u1", "email:x@example.com").unwrap();
    cdp.set_rules(Rules::default()).unwrap();
    assert_eq!(cdp.profile("user_id:u1").unwrap().unwrap().identifiers.len(), 1);
    sound(&cdp);
}

#[test]
fn a_device_is_shared_once_a_second_user_shows_and_not_for_another_rule() {
    let none = || Rules::default().shared_device(SharedDevice::None);
    let cdp = memory(none().total(Some(2)));
    cdp.ingest([
        Event::page().user_id("u1").anonymous_id("d1"),
        Event::page().user_id("u1").anonymous_id("d2"),
    ])
    .unwrap();
    assert_eq!(cdp.profiles().unwrap().len(), 1);

    let cdp = memory(none());
    let at = |after: u32| NOW.before(minutes(60 - after));
    cdp.ingest([
        Event::page().user_id("u1").anonymous_id("d").at(at(0)),
        Event::page().anonymous_id("d").at(at(1)),
        Event::page().user_id("u2").anonymous_id("d").at(at(5)),
    ])
    .unwrap();
    let then = cdp.profile_at("anonymous_id:d", at(2)).unwrap().unwrap();
    assert_eq!((then.name.to_string(), then.events), ("user_id:u1".to_owned(), 2));
    let now = cdp.profile("anonymous_id:d").unwrap().unwrap();
    assert_eq!((now.identifiers.len(), now.events), (1, 1));
    sound(&cdp);
}
