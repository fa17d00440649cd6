//! What an engineer sees of the graph of identities: hubs, bridges, paths and pictures.

use customerdb::{Cdp, Event, Identifier, IdentityGraph, Link, ManualClock, Rules, Source, days};
use proptest::prelude::*;

use crate::support::{NOW, builder, cases, memory, partition};

fn id(text: &str) -> Identifier {
    text.parse().unwrap()
}

fn page() -> Event {
    Event::page().at(NOW)
}

fn texts<'i>(identifiers: impl IntoIterator<Item = &'i Identifier>) -> Vec<String> {
    identifiers.into_iter().map(ToString::to_string).collect()
}

/// What an event bears: a user, an address and a device, by number, where there is one.
type Borne = (Option<u8>, Option<u8>, Option<u8>);

fn event(number: usize, (user, address, device): Borne) -> Event {
    let mut event = page().message_id(format!("m{number:03}"));
    if let Some(user) = user {
        event = event.user_id(format!("u{user}"));
    }
    if let Some(address) = address {
        event = event.context_trait("email", format!("e{address}@x.io"));
    }
    event.anonymous_id(format!("a{}", device.unwrap_or(9)))
}

/// Two families that share a tablet. The first one also shares an address and a device.
fn families() -> Cdp {
    let cdp = memory(Rules::unlimited());
    let family = (1..=4).map(|n| {
        Event::identify()
            .at(NOW)
            .user_id(format!("ann-{n}"))
            .anonymous_id("kitchen")
            .with_trait("email", "family@x.io")
            .message_id(format!("1-{n}"))
    });
    cdp.ingest(family).unwrap();
    let other = (1..=2).map(|n| page().user_id(format!("bob-{n}")).anonymous_id("living-room"));
    cdp.ingest(other).unwrap();
    cdp.ingest([
        page().user_id("ann-1").anonymous_id("tablet").message_id("2-1"),
        page().user_id("bob-1").anonymous_id("tablet").message_id("2-2"),
    ])
    .unwrap();
    let late = page().at(NOW.before(days(1))).user_id("bob-1").anonymous_id("tablet").message_id("2-0");
    cdp.ingest_from(&Source::new("app"), [late]).unwrap();
    cdp
}

/// With the limit of one `user_id` lifted, an address that many people gave makes them one.
#[test]
fn the_address_that_all_share_is_what_glues_most_people_together() {
    let cdp = memory(Rules::unlimited());
    let people = (0..50).flat_map(|n| {
        let user = format!("u{n}");
        let own = |n: i32| page().user_id(user.clone()).anonymous_id(format!("device-{user}-{n}"));
        [own(0), own(1), page().user_id(user.clone()).context_trait("email", format!("{user}@x.io"))]
    });
    cdp.ingest(people).unwrap();
    assert_eq!(cdp.graph().unwrap().component_sizes(), vec![4; 50]);
    let shared = |n: i32| page().user_id(format!("u{n}")).context_trait("email", "info@hotel.example");
    cdp.ingest((0..20).map(shared)).unwrap();

    let graph = cdp.graph().unwrap();
    assert_eq!(graph.component_sizes()[..2], [81, 4]);
    let hubs = graph.hubs(3);
    assert_eq!(hubs[0].identifier, id("email:info@hotel.example"));
    assert_eq!((hubs[0].degree, &hubs[0].parts), (20, &vec![4; 20]));
    assert_eq!(hubs[0].pairs, 20 * 19 / 2 * 4 * 4);
    assert!(hubs[0].outlier && !hubs[1].outlier, "{hubs:?}");
    // Each person hangs on their user_id, and nobody more than another.
    assert_eq!(texts(hubs[1..].iter().map(|hub| &hub.identifier)), ["user_id:u0", "user_id:u1"]);
    assert_eq!(hubs[1].parts, [77, 1, 1, 1]);

    // Without it they are the people that they were.
    cdp.set_rules(Rules::unlimited().block("email", "info@hotel.example")).unwrap();
    assert_eq!(cdp.graph().unwrap().component_sizes(), vec![4; 50]);
}

#[test]
fn a_shared_tablet_is_the_bridge_between_two_families() {
    let graph = families().graph_of("user_id:ann-3").unwrap();
    assert_eq!((graph.len(), graph.components().len()), (10, 1));
    let bridges = graph.bridges(usize::MAX);
    let bridge = &bridges[0];
    assert_eq!((&bridge.a, &bridge.b), (&id("user_id:ann-1"), &id("anonymous_id:tablet")));
    assert_eq!(bridge.sizes, [6, 4]);
    let [one, other] = graph.sides(&bridge.a, &bridge.b).unwrap();
    let users = ["user_id:ann-1", "user_id:ann-2", "user_id:ann-3", "user_id:ann-4"];
    assert_eq!(texts(one), [&users[..], &["email:family@x.io", "anonymous_id:kitchen"]].concat());
    assert_eq!(
        texts(other),
        ["user_id:bob-1", "user_id:bob-2", "anonymous_id:living-room", "anonymous_id:tablet"]
    );
    // The evidence of two sources is one bridge, and both are told, the earlier one first.
    let between = bridges.iter().find(|bridge| bridge.links.len() > 1).unwrap();
    assert_eq!((&between.a, &between.b), (&id("anonymous_id:tablet"), &id("user_id:bob-1")));
    let told: Vec<(&str, &str)> =
        between.links.iter().map(|link| (&*link.source, &*link.message_id)).collect();
    assert_eq!(told, [("app", "2-0"), ("default", "2-2")]);
    assert_eq!(graph.degree(&id("anonymous_id:tablet")), 2);
}

#[test]
fn the_graph_of_nobody_is_empty() {
    let cdp = families();
    assert!(cdp.graph_of("user_id:nobody").unwrap().is_empty());
    assert!(Cdp::in_memory().unwrap().graph().unwrap().is_empty());
    assert!(cdp.explain("user_id:ann-1", "user_id:ann-1").unwrap().path.is_empty());
}

#[test]
fn an_explanation_tells_each_link_by_its_earliest_event() {
    let cdp = families();
    let profile = cdp.profile("user_id:bob-1").unwrap().unwrap();
    let why = cdp.explain("email:family@x.io", "user_id:bob-1").unwrap();
    let told: Vec<(String, String, &str)> =
        why.path.iter().map(|link| (link.a.to_string(), link.b.to_string(), &*link.message_id)).collect();
    assert_eq!(
        told,
        [
            ("email:family@x.io".into(), "user_id:ann-1".into(), "1-1"),
            ("user_id:ann-1".into(), "anonymous_id:tablet".into(), "2-1"),
            ("anonymous_id:tablet".into(), "user_id:bob-1".into(), "2-0"),
        ]
    );
    // A profile id stands for its strongest identifier.
    let of_profile = cdp.explain(profile.id, "user_id:bob-1").unwrap();
    assert_eq!(of_profile.path[0].a, profile.name);
}

/// The lines of a picture, with what stands in quotes made out by hand.
fn labels(dot: &str) -> Vec<String> {
    assert!(dot.starts_with("graph identity {\n") && dot.ends_with("}\n"), "{dot}");
    let mut labels = Vec::new();
    for line in dot.lines().filter(|line| line.contains("[label=")) {
        let text = line.split_once("[label=\"").unwrap().1;
        let (mut label, mut letters) = (String::new(), text.chars());
        let rest = loop {
            match letters.next().expect("a label ends") {
                '"' => break letters.as_str(),
                '\\' => match letters.next().expect("an escape has a letter") {
                    'n' => label.push('\n'),
                    escaped @ ('"' | '\\') => label.push(escaped),
                    other => panic!("{other:?} is not to be escaped: {line}"),
                },
                letter => label.push(letter),
            }
        };
        assert_eq!(rest, "];", "nothing but the end stands after the quotes: {line}");
        labels.push(label.replace("&amp;", "&"));
    }
    labels
}

#[test]
fn a_picture_is_masked_unless_asked_for_and_escapes_what_events_bring() {
    let cdp = memory(Rules::unlimited());
    let spoilt = "\"];\nn9 -- n0 [label=\"\\";
    cdp.ingest_from(
        &Source::new("the \"shop\" & co\\"),
        [page().user_id(spoilt).context_trait("email", "xiaoming@example.com")],
    )
    .unwrap();
    let graph = cdp.graph_of("email:xiaoming@example.com").unwrap();
    let clear = labels(&graph.to_dot().unmasked().to_string());
    assert_eq!(
        clear,
        [
            format!("user_id\n{}", spoilt.replace('\n', "\\n")),
            "email\nxiaoming@example.com".into(),
            "the \"shop\" & co\\ ×1\n2024-05-01".into(),
        ]
    );
    let masked = labels(&graph.to_dot().to_string());
    assert_eq!(masked[1], "email\nx***@example.com");
    assert!(!graph.to_dot().to_string().contains("xiaoming"));
}

/// How many identifiers each component has, counted without a graph.
fn sizes(people: &[Vec<String>]) -> Vec<usize> {
    let mut sizes: Vec<usize> = people.iter().map(Vec::len).collect();
    sizes.sort_unstable_by(|one, other| other.cmp(one));
    sizes
}

/// The lengths of the shortest paths from one identifier, by going on from all that are reached, again and again.
fn distance(links: &[&Link], from: &Identifier, to: &Identifier) -> Option<usize> {
    let (mut reached, mut steps) = (vec![from], 0);
    while !reached.contains(&to) {
        let next = links.iter().flat_map(|link| [(&link.a, &link.b), (&link.b, &link.a)]);
        let mut new: Vec<&Identifier> =
            next.filter(|(a, b)| reached.contains(a) && !reached.contains(b)).map(|(_, b)| b).collect();
        if new.is_empty() {
            return None;
        }
        reached.append(&mut new);
        steps += 1;
    }
    Some(steps)
}

fn explained(cdp: &Cdp, graph: &IdentityGraph) {
    let links: Vec<&Link> = graph.links().collect();
    for a in graph.identifiers() {
        for b in graph.identifiers() {
            let why = cdp.explain(a, b).unwrap();
            let found = why.same.then_some(why.path.len());
            assert_eq!(found, distance(&links, a, b), "{a} {b}");
            assert_eq!(found, graph.path(a, b).map(|path| path.len()), "{a} {b}");
            let ends = why.path.first().zip(why.path.last()).map(|(first, last)| (&first.a, &last.b));
            assert!(ends.is_none_or(|ends| ends == (a, b)), "{why:?}");
            assert!(why.path.windows(2).all(|pair| pair[0].b == pair[1].a), "{why:?}");
        }
    }
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn graph_profiles_and_explanations_agree(
        events in prop::collection::vec((prop::option::of(0_u8..4), prop::option::of(0_u8..4), prop::option::of(0_u8..4)), 1..12),
    ) {
        let cdp = memory(Rules::unlimited());
        cdp.ingest(events.into_iter().enumerate().map(|(number, borne)| event(number, borne))).unwrap();
        let graph = cdp.graph().unwrap();
        let people = partition(&cdp);
        prop_assert_eq!(graph.component_sizes(), sizes(&people));
        let mut components: Vec<Vec<String>> = graph.components().map(texts).collect();
        for component in &mut components {
            component.sort();
        }
        components.sort();
        prop_assert_eq!(components, people);
        explained(&cdp, &graph);
        for hub in graph.hubs(usize::MAX) {
            let whole = cdp.graph_of(&hub.identifier).unwrap();
            prop_assert_eq!(whole.len(), 1 + hub.parts.iter().sum::<usize>());
            prop_assert_eq!(whole.degree(&hub.identifier), hub.degree);
        }
        for bridge in graph.bridges(usize::MAX) {
            let sides = graph.sides(&bridge.a, &bridge.b).unwrap();
            prop_assert_eq!(sides.map(|side| side.len()), bridge.sizes);
        }
    }
}

/// What there is to see of everybody's evidence.
fn evidence(cdp: &Cdp) -> (Vec<Link>, u64, Vec<Vec<Link>>) {
    let graph = cdp.graph().unwrap();
    let own = cdp.profiles().unwrap().into_iter().map(|person| {
        let own = cdp.graph_of(person.name).unwrap();
        own.links().cloned().collect()
    });
    (graph.links().cloned().collect(), cdp.stats().unwrap().links, own.collect())
}

proptest! {
    #![proptest_config(cases(48))]

    /// Brought to its place after every other event, or by `maintain` alone, or never: evidence is the same, seen by the
    /// handle that writes, by the same one after a rollback, and by one that reads beside it.
    #[test]
    fn evidence_is_the_same_wherever_it_waits(
        calls in prop::collection::vec(
            prop::collection::vec((prop::option::of(0..4_u8), prop::option::of(0..2_u8), prop::option::of(0..5_u8)), 1..6),
            1..7,
        ),
        maintained in 0..7_usize,
        changes in prop::collection::vec((0..7_usize, 0..4_u8, 0..5_u8), 0..4),
        erased in prop::option::of(0..4_u8),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let open = |name: &str, every| {
            let builder = builder(&ManualClock::at(NOW)).rules(Rules::unlimited()).seal_every(every);
            builder.open(folder.path().join(name)).unwrap()
        };
        let cdps = [open("at once.db", 1), open("never.db", 1_000), open("maintained.db", 1_000)];
        let beside = Cdp::open_read_only(folder.path().join("never.db")).unwrap();
        let mut number = 0;
        for (call, borne) in calls.iter().enumerate() {
            let events: Vec<Event> = (number..).zip(borne).map(|(number, borne)| event(number, *borne)).collect();
            number += borne.len();
            for cdp in &cdps {
                let mut taken_back = cdp.begin().unwrap();
                taken_back.ingest((0..7).map(|n| event(900 + n, (Some(7), None, Some(7))))).unwrap();
                drop(taken_back);
                cdp.ingest(events.clone()).unwrap();
            }
            if call == maintained {
                cdps[2].maintain().unwrap();
            }
            for (_, user, device) in changes.iter().filter(|(at, ..)| *at == call) {
                let (user_id, device_id) = (format!("user_id:u{user}"), format!("anonymous_id:a{device}"));
                for cdp in &cdps {
                    // Both make a part of the log be told anew; not everybody is known.
                    let _ = cdp.unlink(&user_id, &device_id);
                    cdp.set_rules(Rules::unlimited().block("anonymous_id", format!("a{}", device / 2))).unwrap();
                }
            }
            let seen = evidence(&cdps[0]);
            prop_assert_eq!(&evidence(&cdps[1]), &seen);
            prop_assert_eq!(&evidence(&cdps[2]), &seen);
            prop_assert_eq!(&evidence(&beside), &seen);
        }
        if let Some(user) = erased {
            for cdp in &cdps {
                cdp.erase(format!("user_id:u{user}")).unwrap();
            }
            let seen = evidence(&cdps[0]);
            prop_assert_eq!(&evidence(&cdps[1]), &seen);
            prop_assert_eq!(&evidence(&beside), &seen);
            for cdp in &cdps {
                prop_assert_eq!(cdp.check().unwrap(), []);
            }
        }
    }
}
