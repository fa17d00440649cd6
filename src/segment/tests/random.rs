//! Random conditions and people: what is written reads back, answers stand as long as they say, and faster ways agree
//! with naive ones.

use proptest::arbitrary::any as arbitrary;
use proptest::prelude::{
    BoxedStrategy, Just, ProptestConfig, Strategy, prop, prop_assert, prop_assert_eq, prop_oneof, proptest,
};
use serde_json::{Value, json};

use super::*;
use crate::ConsentState;
use crate::segment::Least;

// Random conditions over random histories, in whole seconds and few values, so that boundaries meet.

/// An operator for any subject.
#[derive(Debug, Clone)]
enum Op {
    One(u8, Value),
    List(bool, Vec<Value>),
    Between(i32, i32),
    Text(u8, String),
    Exists(bool),
}

fn value() -> BoxedStrategy<Value> {
    prop_oneof![
        4 => (-3..4_i64).prop_map(Value::from),
        1 => prop_oneof![Just(0.1), Just(0.3), Just(1.0), Just(-2.5), Just(1e300), Just(1e-9)].prop_map(Value::from),
        1 => any_number(),
        1 => arbitrary::<bool>().prop_map(Value::from),
        2 => text().prop_map(Value::from),
        1 => (0..5_i64).prop_map(|n| Value::from(second(n))),
        1 => Just(json!(["a", 1, null, {"b": 1.5}])),
        1 => Just(json!({"x": [1]})),
    ]
    .boxed()
}

fn any_number() -> BoxedStrategy<Value> {
    prop_oneof![
        arbitrary::<i64>().prop_map(Value::from),
        arbitrary::<u64>().prop_map(Value::from),
        arbitrary::<f64>().prop_filter("JSON has no others", |float| float.is_finite()).prop_map(Value::from),
    ]
    .boxed()
}

fn text() -> BoxedStrategy<String> {
    prop_oneof![Just("a".into()), Just("ab".into()), Just("e\u{301}".into()), Just("5".into()), ".{0,4}"]
        .boxed()
}

fn op() -> BoxedStrategy<Op> {
    let ordered = value().prop_filter("kinds with an order", |value| !value.is_array() && !value.is_object());
    prop_oneof![
        4 => (0..4_u8, ordered).prop_map(|(which, value)| Op::One(which, value)),
        2 => (4..7_u8, value()).prop_map(|(which, value)| Op::One(which, value)),
        1 => (arbitrary::<bool>(), prop::collection::vec(value(), 0..4)).prop_map(|(is_in, list)| Op::List(is_in, list)),
        1 => (-3..2, 0..3).prop_map(|(low, more)| Op::Between(low, low + more)),
        1 => (0..3_u8, text()).prop_map(|(which, text)| Op::Text(which, text)),
        1 => arbitrary::<bool>().prop_map(Op::Exists),
    ]
    .boxed()
}

fn apply<Of, Out>(subject: Subject<Of, Out>, op: Op) -> Out {
    match op {
        Op::One(0, value) => subject.gt(value),
        Op::One(1, value) => subject.gte(value),
        Op::One(2, value) => subject.lt(value),
        Op::One(3, value) => subject.lte(value),
        Op::One(4, value) => subject.eq(value),
        Op::One(5, value) => subject.ne(value),
        Op::One(_, value) => subject.contains(value),
        Op::List(true, values) => subject.is_in(values),
        Op::List(false, values) => subject.not_in(values),
        Op::Between(low, high) => subject.number().between(low, high),
        Op::Text(0, text) => subject.starts_with(&text),
        Op::Text(1, text) => subject.ends_with(&text),
        Op::Text(_, text) => subject.matches(&regex::escape(&text)),
        Op::Exists(true) => subject.exists(),
        Op::Exists(false) => subject.is_missing(),
    }
}

fn path() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("n"), Just("s"), Just("list"), Just("list.n"), Just("t")]
}

fn did_something() -> BoxedStrategy<Condition> {
    let name = prop_oneof![Just("A"), Just("B"), Just("A*"), Just("*")];
    let window = prop_oneof![
        1 => Just((0, 0, 0)),
        4 => (Just(1), 1..40_u32, Just(0)),
        3 => (1..20_u32, 1..20_u32).prop_map(|(ending, more)| (2, ending + more, ending)),
        1 => (0..40_u32, 1..40_u32).prop_map(|(from, more)| (3, from, from + more)),
    ];
    let count = prop_oneof![2 => Just((9, 0)), 3 => (0..4_u8, 0..4_u64)];
    let filter = prop::option::of((path(), op()));
    let element = prop::option::weighted(0.2, op());
    let aggregate = prop::option::weighted(0.5, (0..7_u8, path(), op()));
    (name, window, count, filter, element, aggregate, arbitrary::<bool>())
        .prop_map(|(name, window, count, filter, element, aggregate, first)| {
            let mut condition = match window {
                (1, span, _) => did(name).within(seconds(span)),
                (2, span, ending) => did(name).within(seconds(span)).ending(seconds(ending)),
                (3, from, until) => did(name).since(second(from.into())).until(second(until.into())),
                _ => did(name),
            };
            condition = match count {
                (0, n) => condition.at_least(n),
                (1, n) => condition.at_most(n),
                (2, n) => condition.times(n),
                (3, n) => {
                    let mut value = condition.to_value();
                    value["count"] = json!({"between": [n, n + 1]});
                    Condition::from_value(&value).unwrap()
                }
                _ => condition,
            };
            if let Some((path, op)) = filter {
                condition = apply(condition.where_property(path), op);
            }
            if let Some(op) = element {
                condition = condition.where_element("list", [apply(property("n"), op)]);
            }
            if let Some((which, path, op)) = aggregate {
                let aggregates = [
                    Condition::sum,
                    Condition::avg,
                    Condition::min,
                    Condition::max,
                    Condition::unique,
                    Condition::first,
                    Condition::last,
                ];
                condition = apply(aggregates[usize::from(which)](condition, path), op);
            }
            if first { condition.first_time() } else { condition }
        })
        .boxed()
}

fn condition() -> BoxedStrategy<Condition> {
    let leaf = prop_oneof![
        6 => did_something(),
        2 => (path(), op()).prop_map(|(path, op)| apply(has_trait(path), op)),
        1 => (path(), 1..40_u32).prop_map(|(path, n)| has_trait(path).within(seconds(n))),
        1 => (path(), 1..40_u32).prop_map(|(path, n)| has_trait(path).older_than(seconds(n))),
        1 => arbitrary::<bool>().prop_map(Condition::Known),
        1 => Just(has_identifier("email")),
        2 => (path(), op(), 1..40_u32).prop_map(|(path, op, n)| apply(has_trait(path), op).held_for(seconds(n))),
        1 => (path(), 1..400_u32).prop_map(|(path, n)| has_trait(path).anniversary_within(n)),
        1 => (path(), -3..3_i64, 0..4_i64).prop_map(|(path, n, more)| has_trait(path).range(n..=n + more)),
        3 => sequences(),
        1 => (0..4_u64, 0..4_u64, 1..9_u32).prop_map(|(n, more, every)| did("A").in_periods(n, n + more + 1, seconds(every))),
        1 => prop_oneof![Just("s"), Just("t")].prop_map(in_segment),
        1 => prop_oneof![Just("s"), Just("t")].prop_map(has_tag),
        1 => prop_oneof![Just("marketing"), Just("own")].prop_map(consented_to),
        1 => (path(), op()).prop_map(|(path, op)| has_account(apply(has_trait(path), op))),
        1 => (0..50_u32, 1..50_u32).prop_map(|(from, more)| in_sample("x", from.into(), (from + more).into())),
    ];
    leaf.prop_recursive(4, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Condition::All),
            prop::collection::vec(inner.clone(), 0..4).prop_map(Condition::Any),
            inner.prop_map(not),
        ]
    })
    .boxed()
}

fn sequences() -> BoxedStrategy<Condition> {
    let step = || {
        let filter = prop::option::weighted(0.2, op());
        (prop_oneof![Just("A"), Just("B"), Just("AB"), Just("A*")], filter).prop_map(|(name, filter)| {
            match filter {
                Some(op) => apply(did(name).where_property("n"), op),
                None => did(name),
            }
        })
    };
    let steps = prop::collection::vec((step(), prop::bool::weighted(0.3)), 1..5);
    (steps, prop::option::of(1..40_u32), arbitrary::<bool>(), arbitrary::<bool>())
        .prop_map(|(steps, within, same, ties)| {
            let mut first = true;
            let steps: Vec<Condition> = steps
                .into_iter()
                .map(
                    |(step, forbidden)| {
                        if forbidden && !std::mem::take(&mut first) { not(step) } else { step }
                    },
                )
                .collect();
            let open_end = matches!(steps.last(), Some(Condition::Not(_)));
            let mut built = sequence(steps);
            if let Some(span) = within.or(open_end.then_some(9)) {
                built = built.within(seconds(span));
            }
            built = if same { built.same("s") } else { built };
            if ties { built.allowing_ties() } else { built }
        })
        .boxed()
}

/// Whether a sequence has come about, found by trying every choice of events.
fn naive_sequence(condition: &SequenceCondition, events: &[PastEvent], now: Timestamp) -> bool {
    fn choose(
        condition: &SequenceCondition,
        events: &[PastEvent],
        now: Timestamp,
        chosen: &mut Vec<usize>,
    ) -> bool {
        let positive: Vec<usize> =
            (0..condition.steps.len()).filter(|n| !condition.steps[*n].forbidden).collect();
        let key = |place: usize| {
            let path = condition.same.as_ref()?;
            let mut found = None;
            path.any(&events[place].properties, |value| {
                found = value.filter(|value| !value.is_null()).cloned();
                true
            });
            found
        };
        let alike = |a: usize, b: usize| {
            condition.same.is_none()
                || key(a).zip(key(b)).is_some_and(|(a, b)| {
                    let a = crate::value::Comparable::of(&a, false).unwrap();
                    a.order(&crate::value::Comparable::of(&b, false).unwrap()).is_eq()
                })
        };
        // Whether one event is after another, as far as the sequence is concerned.
        let after = |a: usize, b: usize| {
            if condition.strictly_increasing { events[b].at > events[a].at } else { b > a }
        };
        let Some(&step) = positive.get(chosen.len()) else {
            let (first, last) = (chosen[0], chosen[chosen.len() - 1]);
            let trailing = &condition.steps[positive[positive.len() - 1] + 1..];
            let Some(within) = condition.within.filter(|_| !trailing.is_empty()) else { return true };
            let end = events[first].at.after(within);
            let undone = (0..events.len()).any(|place| {
                after(last, place)
                    && events[place].at <= end
                    && alike(first, place)
                    && trailing.iter().any(|step| step.event.fits(&events[place]))
            });
            return !undone && end < now;
        };
        (0..events.len()).any(|place| {
            let fits = condition.steps[step].event.fits(&events[place])
                && (condition.same.is_none() || key(place).is_some());
            let fits = fits
                && match chosen[..] {
                    [] => true,
                    [first] | [first, ..] => {
                        let last = chosen[chosen.len() - 1];
                        let previous = positive[chosen.len() - 1];
                        let between = &condition.steps[previous + 1..step];
                        let forbidden = (0..events.len()).any(|other| {
                            after(last, other)
                                && after(other, place)
                                && alike(first, other)
                                && between.iter().any(|step| step.event.fits(&events[other]))
                        });
                        after(last, place)
                            && alike(first, place)
                            && !forbidden
                            && condition
                                .within
                                .is_none_or(|within| events[place].at <= events[first].at.after(within))
                    }
                };
            fits && {
                chosen.push(place);
                let found = choose(condition, events, now, chosen);
                chosen.pop();
                found
            }
        })
    }
    choose(condition, events, now, &mut Vec::new())
}

fn members() -> BoxedStrategy<Value> {
    let list = prop::collection::vec(prop_oneof![value(), value().prop_map(|n| json!({"n": n}))], 0..3);
    (prop::option::of(value()), text(), list, 0..60_i64)
        .prop_map(|(n, s, list, t)| json!({"n": n, "s": s, "list": list, "t": second(t)}))
        .boxed()
}

fn history() -> BoxedStrategy<History> {
    let name = prop_oneof![Just("A"), Just("B"), Just("AB")];
    let events = prop::collection::vec((name, 0..60_i64, members()), 0..12);
    let verdict = || (arbitrary::<bool>(), prop::option::of(100..200_i64));
    let past = prop::collection::vec((0..60_i64, value()), 0..4);
    (events, members(), arbitrary::<bool>(), (verdict(), verdict()), past, members())
        .prop_map(|(events, traits, email, (member, tagged), mut past, account)| {
            let mut person = person(&events);
            person.traits = traits.as_object().cloned().unwrap_or_default();
            past.sort_by_key(|(at, _)| *at);
            past.dedup_by_key(|(at, _)| *at);
            let mut past: Vec<_> = past.into_iter().map(|(at, value)| (second(at), value)).collect();
            // What stands last is what stands.
            past.push((second(60), person.traits["n"].clone()));
            person.past.insert("n".into(), past);
            let verdict = |(holds, until): (bool, Option<i64>)| Verdict::until(holds, until.map(second));
            person.segments.insert("s".into(), verdict(member));
            person.tags.insert("t".into(), verdict(tagged));
            let traits = account.as_object().cloned().unwrap_or_default();
            person.accounts = vec![History { traits, ..History::default() }];
            let state = if email { ConsentState::Granted } else { ConsentState::Denied };
            person.consents.insert("marketing".into(), state);
            person.profile = Some(crate::ProfileId::from_uuid(uuid::Uuid::from_u128(7)));
            person.namespaces = if email { vec![Namespace::EMAIL] } else { vec![Namespace::DEVICE_ID] };
            person
        })
        .boxed()
}

/// The number of events that count, found by looking at each on its own.
fn naive_count(condition: &EventCondition, person: &History, now: Timestamp) -> u64 {
    use super::condition::{CountTest, Window};
    let fits = |event: &&PastEvent| {
        let alone = EventCondition {
            window: Window::Ever,
            first_time: false,
            count: vec![CountTest::Eq(1)],
            aggregate: None,
            ..condition.clone()
        };
        let person = History { events: vec![(*event).clone()], ..History::default() };
        evaluate(&Condition::Event(Box::new(alone)), &person, now).holds
    };
    let inside = |event: &&PastEvent| match condition.window {
        Window::Ever => true,
        Window::Within { span, ending } => {
            event.at.after(span) > now && ending.map_or(event.at, |ending| event.at.after(ending)) <= now
        }
        Window::Fixed { from, until } => {
            from.is_none_or(|from| event.at >= from) && until.is_none_or(|until| event.at < until)
        }
    };
    let candidates: Vec<_> = person.events.iter().filter(fits).collect();
    let limit = if condition.first_time { 1 } else { candidates.len() };
    candidates.into_iter().take(limit).filter(inside).count() as u64
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) })]

    #[test]
    fn every_condition_reads_back_what_it_writes(condition in condition()) {
        prop_assert_eq!(condition.check(), Ok(()));
        let text = condition.to_value().to_string();
        prop_assert_eq!(&Condition::from_json(&text).unwrap(), &condition);
        prop_assert_eq!(&serde_json::from_str::<Condition>(&text).unwrap(), &condition);
        prop_assert_eq!(serde_json::to_string(&condition).unwrap(), text);
    }

    #[test]
    fn no_answer_changes_before_it_says(condition in condition(), person in history(), now in 0..100_i64) {
        let verdict = evaluate(&condition, &person, second(now));
        let end = verdict.until.unwrap_or(second(now + 120));
        prop_assert!(end > second(now));
        let rests = condition.needs().segments().chain(condition.needs().tags()).count() > 0;
        prop_assert!(verdict.until.is_none() || condition.needs().time() || rests);
        // A year of seconds is too many.
        let instants = (now..now + 150).map(second).take_while(|at| *at < end);
        // The standings to others that are given here stand until 100 at least.
        let end = if rests { end.min(second(100)) } else { end };
        let instants = instants.take_while(|at| *at < end);
        for at in instants.chain([Timestamp::from_micros(end.as_micros() - 1)]) {
            prop_assert_eq!(evaluate(&condition, &person, at).holds, verdict.holds, "at {}", at);
        }
    }

    #[test]
    fn counting_backwards_or_with_shortcuts_is_counting(
        condition in did_something(),
        person in history(),
        now in 0..100_i64,
    ) {
        let Condition::Event(mut event) = condition else { unreachable!() };
        event.aggregate = None;
        let count = naive_count(&event, &person, second(now));
        let expected = if event.count.is_empty() { count > 0 } else { event.count.iter().all(|test| test.fits(count)) };
        let verdict = evaluate(&Condition::Event(event), &person, second(now));
        prop_assert_eq!(verdict.holds, expected, "{} events", count);
    }

    #[test]
    fn whoever_meets_a_condition_has_done_the_least(
        conditions in proptest::collection::vec(condition(), 1..3),
        person in history(),
        now in 0..100_i64,
    ) {
        let (condition, now) = (all(conditions), second(now));
        let has_done = |least: &Least| {
            let inside = least.inside();
            let counts =
                |event: &&PastEvent| least.wants(&event.name) && inside.contains(&event.at.as_micros());
            person.events.iter().filter(counts).count() as u64 >= least.count
        };
        let all_done = condition.least(now).iter().all(has_done);
        let rest = evaluate(&condition.rest(), &person, now).holds;
        prop_assert_eq!(evaluate(&condition, &person, now).holds, all_done && rest);
    }

    #[test]
    fn a_sequence_is_found_if_any_choice_of_events_makes_one(
        condition in sequences(),
        person in history(),
        now in 0..100_i64,
    ) {
        let Condition::Sequence(sequence) = &condition else { unreachable!() };
        let expected = naive_sequence(sequence, &person.events, second(now));
        prop_assert_eq!(evaluate(&condition, &person, second(now)).holds, expected);
    }

    #[test]
    fn nothing_that_is_not_needed_is_looked_at(condition in condition(), person in history(), now in 0..100_i64) {
        let needs = condition.needs();
        let mut less = person.clone();
        less.events.retain(|event| needs.wants_event(&event.name));
        less.traits = less.traits.into_iter().filter(|(name, _)| needs.wants_trait(name)).collect();
        less.past.retain(|name, _| needs.wants_past(name));
        less.segments.retain(|name, _| needs.segments().any(|other| other == name));
        less.tags.retain(|name, _| needs.tags().any(|other| other == name));
        if !needs.accounts() {
            less.accounts.clear();
        }
        for account in &mut less.accounts {
            account.traits = std::mem::take(&mut account.traits)
                .into_iter()
                .filter(|(name, _)| needs.wants_account_trait(name))
                .collect();
        }
        if !needs.profile() {
            less.profile = None;
        }
        if !needs.identifiers() {
            less.namespaces.clear();
        }
        for event in less.events.iter_mut().filter(|event| !needs.wants_properties(&event.name)) {
            event.properties.clear();
        }
        let now = second(now);
        prop_assert_eq!(evaluate(&condition, &less, now), evaluate(&condition, &person, now));
    }
}
