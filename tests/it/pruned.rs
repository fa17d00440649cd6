//! A batch asks people about those segments only that its news can change: the answers are those of asking everyone
//! about everything.

use customerdb::{
    Cdp, ComputedTrait, Condition, ConsentDecision, ConsentState, Event, ManualClock, Policy, Purpose,
    RfmBounds, Rules, Segment, SegmentMove, SharedDevice, TagRule, Timestamp, Value, all, any, consented_to,
    days, did, did_not, has_account, has_identifier, has_tag, has_trait, hours, in_sample, in_segment,
    is_known, minutes, not, sequence,
};
use proptest::prelude::*;
use serde_json::json;

use crate::live::journal_agrees;
use crate::support::{NOW, builder, cases, everybody, names, nested, sound};

fn leaf() -> impl Strategy<Value = Condition> {
    let name = || prop::sample::select(vec!["A", "B", "C", "$page", "$identify", "A*", "*"]);
    let span = || (1..60_u32).prop_map(|n| minutes(n * 3));
    prop_oneof![
        (name(), 0..4_u64, span()).prop_map(|(name, n, span)| did(name).at_least(n).within(span)),
        (name(), 0..4_u64).prop_map(|(name, n)| did(name).at_most(n)),
        (name(), span()).prop_map(|(name, span)| did(name).first_time().within(span)),
        (name(), 0..9_i64).prop_map(|(name, n)| did(name).sum("n").gte(n)),
        (name(), 0..6_i64).prop_map(|(name, n)| did(name).where_property("n").eq(n)),
        (name(), 0..6_i64).prop_map(|(name, n)| did(name).last("n").eq(n)),
        (name(), name(), span())
            .prop_map(|(a, b, span)| sequence([did(a), did_not(b)]).within(span).same("n")),
        (name(), name()).prop_map(|(a, b)| sequence([did(a), did(b)])),
        (0..6_i64).prop_map(|n| has_trait("t").eq(n)),
        Just(has_trait("t").is_missing()),
        (0..6_i64, span()).prop_map(|(n, span)| has_trait("t").gte(n).held_for(span)),
        (0..6_i64).prop_map(|n| has_trait("first").eq(n)),
        (0..9_i64).prop_map(|n| has_trait("sum").gte(n)),
        (1..6_i64).prop_map(|n| has_trait("rfm.f").eq(n)),
        prop::bool::ANY.prop_map(|known| if known { is_known() } else { not(is_known()) }),
        prop::sample::select(vec!["email", "anonymous_id", "user_id"]).prop_map(has_identifier),
        prop::sample::select(vec!["marketing", "own"]).prop_map(consented_to),
        prop::sample::select(vec!["tag", "given"]).prop_map(has_tag),
        prop::sample::select(vec!["list", "base"]).prop_map(in_segment),
        (0..6_i64).prop_map(|n| has_account(has_trait("size").gte(n))),
        Just(has_account(all(Vec::<Condition>::new()))),
        (1..60_u32).prop_map(|to| in_sample("x", 0.0, to.into())),
    ]
}

/// An event of a person, a device, or both, some minutes before or after now.
#[derive(Debug, Clone)]
struct Told {
    kind: u8,
    user: Option<u8>,
    device: Option<u8>,
    by: i64,
    n: i64,
}

fn told() -> impl Strategy<Value = Told> {
    let by = prop_oneof![2 => Just(0), 2 => -240..60_i64];
    (0..12_u8, prop::option::of(0..3_u8), prop::option::weighted(0.7, 0..4_u8), by, 0..6_i64)
        .prop_map(|(kind, user, device, by, n)| Told { kind, user, device, by, n })
}

fn event(told: &Told, now: Timestamp) -> Event {
    let Told { kind, n, .. } = *told;
    let event = match kind {
        0 | 1 => Event::track("A").property("n", n),
        2 => Event::track("AB").property("n", n.to_string()),
        3 | 4 => Event::track("B").property("n", n),
        5 => Event::track("C"),
        6 => Event::page().context_trait("t", n),
        7 => Event::identify().with_trait("t", if n == 0 { Value::Null } else { n.into() }),
        8 => Event::identify().with_trait("email", format!("p{n}@mail.example")),
        9 => Event::group("acme").with_trait("size", n),
        10 => Event::track("A").context("consent", json!({"categoryPreferences": {"ads": n > 2}})),
        _ => Event::alias(format!("u{}", n % 3)),
    };
    let at = Timestamp::from_micros(now.as_micros() + told.by * 60_000_000);
    let event = match (told.user, told.device) {
        (Some(user), _) => event.user_id(format!("u{user}")),
        (None, None) => event.anonymous_id("d9"),
        _ => event,
    };
    let event = if let Some(device) = told.device { event.anonymous_id(format!("d{device}")) } else { event };
    event.at(at)
}

#[derive(Debug, Clone)]
enum Step {
    /// Calls that are committed together.
    Ingest(Vec<Vec<Told>>),
    Move(i64),
    Hand(u8, u8),
}

fn step() -> impl Strategy<Value = Step> {
    let call = prop::collection::vec(told(), 1..4);
    prop_oneof![
        8 => prop::collection::vec(call, 1..3).prop_map(Step::Ingest),
        3 => prop_oneof![9 => 0..90_i64, 1 => -60..0_i64].prop_map(Step::Move),
        1 => (0..6_u8, 0..3_u8).prop_map(|(what, who)| Step::Hand(what, who)),
    ]
}

fn prepare(cdp: &Cdp, conditions: Vec<Condition>) {
    cdp.define_purpose(Purpose::new("marketing").category("ads")).unwrap();
    cdp.define_trait(ComputedTrait::first("first", did("A*"), "n")).unwrap();
    cdp.define_trait(ComputedTrait::sum("sum", did("B").within(hours(2)), "n")).unwrap();
    cdp.define_trait(ComputedTrait::rfm("rfm", did("A"), "n", RfmBounds::default().frequency([4, 3, 2, 1])))
        .unwrap();
    cdp.define_tag(TagRule::new("tag", any([did("C").within(hours(1)), has_trait("t").eq(3)]))).unwrap();
    cdp.define(Segment::list("list", ["user_id:u1", "anonymous_id:d2"])).unwrap();
    cdp.define(Segment::new("base", all([did("B"), not(has_tag("tag"))]))).unwrap();
    for (n, condition) in conditions.into_iter().enumerate() {
        cdp.define(Segment::new(format!("s{n}"), condition)).unwrap();
    }
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn what_the_news_cannot_change_need_not_be_asked(
        conditions in prop::collection::vec(nested(leaf()), 6),
        steps in prop::collection::vec(step(), 1..14),
        policy in prop::sample::select(vec![SharedDevice::First, SharedDevice::Last, SharedDevice::None]),
    ) {
        let clock = ManualClock::at(NOW);
        let cdp = builder(&clock).rules(Rules::default().shared_device(policy)).in_memory().unwrap();
        prepare(&cdp, conditions);
        let mut now = NOW;
        for step in steps {
            match step {
                Step::Ingest(calls) => {
                    let mut batch = cdp.begin().unwrap();
                    for call in calls {
                        batch.ingest(call.iter().map(|told| event(told, now))).unwrap();
                    }
                    batch.commit().unwrap();
                }
                Step::Move(by) => {
                    now = Timestamp::from_micros(now.as_micros() + by * 60_000_000);
                    clock.set(now);
                }
                Step::Hand(what, who) => {
                    let user = format!("user_id:u{who}");
                    match what {
                        0 => cdp.tag(&user, "given", NOW.after(days(1))).unwrap(),
                        1 => _ = cdp.add("list", [&user]).unwrap(),
                        2 => _ = cdp.remove("list", [&user]).unwrap(),
                        3 => cdp.set_policy("t", [Policy::Latest, Policy::First, Policy::Max][usize::from(who)].clone()).unwrap(),
                        4 => _ = cdp.split(format!("anonymous_id:d{who}")).unwrap(),
                        _ => {
                            let states = [ConsentState::Granted, ConsentState::Denied, ConsentState::Withdrawn];
                            let decision = ConsentDecision::new("own", states[usize::from(who)]);
                            cdp.record_consent(&user, decision).unwrap();
                        }
                    }
                }
            }
            everybody(&cdp);
        }
        journal_agrees(&cdp);
        sound(&cdp);
    }
}

#[test]
fn a_wake_that_comes_too_early_changes_nothing() {
    let clock = ManualClock::at(NOW);
    let cdp = builder(&clock).in_memory().unwrap();
    cdp.define(Segment::new("seen", did("Visit").within(hours(2)))).unwrap();
    let visit = |at| cdp.ingest([Event::track("Visit").user_id("u1").at(at)]).unwrap();
    visit(NOW);
    clock.set(NOW.after(hours(1)));
    visit(NOW.after(hours(1)));
    // The first visit is forgotten now, the second is not; and the third comes when nobody has looked for long.
    clock.set(NOW.after(hours(2)));
    assert_eq!(names(&cdp, "seen").len(), 1);
    clock.set(NOW.after(hours(9)));
    visit(NOW.after(hours(9)));
    let changes = cdp.changes(0, 9).unwrap();
    let told: Vec<_> = changes.iter().map(|change| (change.change, change.at)).collect();
    let (entered, exited) = (SegmentMove::Entered, SegmentMove::Exited);
    let hour = |n| NOW.after(hours(n));
    assert_eq!(told, [(entered, hour(0)), (exited, hour(3)), (entered, hour(9))]);
    sound(&cdp);
}
