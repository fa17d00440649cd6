use std::collections::BTreeSet;

use super::*;
use crate::id::Namespace;

fn id(value: &str) -> Identifier {
    Identifier::new("user_id", value)
}

/// A link of the earliest event `message_id`, at that many milliseconds.
fn link(a: &str, b: &str, message_id: &str, at: i64) -> Link {
    Link {
        a: id(a),
        b: id(b),
        message_id: message_id.into(),
        source: "default".into(),
        first_seen: Timestamp::from_millis(at),
        last_seen: Timestamp::from_millis(at),
        count: 1,
    }
}

/// The graph of these links and of one identifier alone, the identifiers in the order of their values.
fn graph(links: impl IntoIterator<Item = Link>) -> IdentityGraph {
    let links: Vec<Link> = links.into_iter().collect();
    let ends = links.iter().flat_map(|link| [link.a.clone(), link.b.clone()]);
    let identifiers: BTreeSet<Identifier> = ends.chain([id("~alone")]).collect();
    let place = |of: &Identifier| identifiers.iter().position(|other| other == of).unwrap();
    let links: Vec<_> = links.into_iter().map(|link| ([place(&link.a), place(&link.b)], link)).collect();
    IdentityGraph::new(identifiers, links)
}

fn values<'i>(identifiers: impl IntoIterator<Item = &'i Identifier>) -> Vec<&'i str> {
    identifiers.into_iter().map(Identifier::value).collect()
}

/// A family around a shared address, a family of two, and a tablet between them.
fn families() -> IdentityGraph {
    graph([
        link("address", "ann", "m1", 1),
        link("address", "bob", "m2", 2),
        link("address", "cem", "m3", 3),
        link("ann", "bob", "m4", 4),
        link("cem", "tablet", "m5", 5),
        link("tablet", "cem", "m6", 2),
        link("dora", "tablet", "m7", 7),
        link("dora", "emil", "m8", 8),
    ])
}

#[test]
fn a_path_is_a_shortest_one_told_in_its_direction() {
    let graph = graph([
        link("a", "b", "m1", 1),
        link("b", "c", "m2", 2),
        link("d", "c", "m3", 3),
        link("d", "a", "m4", 4),
    ]);
    let path = graph.path(&id("c"), &id("a")).unwrap();
    assert_eq!(path.len(), 2);
    assert_eq!((&path[0].a, &path[1].b), (&id("c"), &id("a")));
    assert_eq!(path[0].b, path[1].a);
    assert_eq!(graph.path(&id("a"), &id("a")), Some(Vec::new()));
    assert_eq!(graph.path(&id("a"), &id("~alone")), None);
    assert_eq!(graph.path(&id("a"), &id("nobody")), None);
}

#[test]
fn of_parallel_links_the_one_seen_first_tells() {
    let graph = graph([link("a", "b", "late", 9), link("b", "a", "early", 1)]);
    let path = graph.path(&id("a"), &id("b")).unwrap();
    assert_eq!(path[0].message_id, "early");
    assert_eq!(path[0].a.value(), "a");
    let both = graph.links_between(&id("b"), &id("a"));
    assert!(both.iter().all(|link| link.a == id("b")));
    assert_eq!(both.iter().map(|link| &*link.message_id).collect::<Vec<_>>(), ["early", "late"]);
    assert_eq!(graph.links_between(&id("a"), &id("~alone")), []);
}

#[test]
fn an_empty_graph_has_nothing_to_tell() {
    let empty = IdentityGraph::default();
    assert!(empty.is_empty() && !empty.contains(&id("a")));
    assert_eq!((empty.len(), empty.links().len(), empty.components().len()), (0, 0, 0));
    assert_eq!((empty.hubs(9), empty.bridges(9)), (vec![], vec![]));
    assert_eq!(empty.to_dot().to_string(), "graph identity {\n  node [shape=box];\n}\n");
}

#[test]
fn neighbours_are_told_once_and_components_by_size() {
    let graph = families();
    assert_eq!((graph.len(), graph.links().len()), (8, 8));
    assert_eq!(values(graph.neighbours(&id("tablet"))), ["cem", "dora"]);
    assert_eq!(
        (graph.degree(&id("address")), graph.degree(&id("~alone")), graph.degree(&id("nobody"))),
        (3, 0, 0)
    );
    assert!(graph.contains(&id("~alone")) && !graph.contains(&id("nobody")));
    let components: Vec<Vec<&str>> = graph.components().map(values).collect();
    assert_eq!(components, [vec!["address", "ann", "bob", "cem", "dora", "emil", "tablet"], vec!["~alone"]]);
    assert_eq!(graph.component_sizes(), [7, 1]);
}

#[test]
fn components_of_one_size_stand_by_their_strongest_identifier() {
    let graph = graph([link("a", "y", "m1", 1), link("b", "x", "m2", 2)]);
    let components: Vec<Vec<&str>> = graph.components().map(values).collect();
    assert_eq!(components, [vec!["a", "y"], vec!["b", "x"], vec!["~alone"]]);
}

#[test]
fn hubs_are_sorted_by_the_pairs_that_they_hold_together() {
    let hubs = families().hubs(usize::MAX);
    let told: Vec<_> = hubs
        .iter()
        .map(|hub| (hub.identifier.value(), hub.degree, hub.parts.as_slice(), hub.pairs))
        .collect();
    assert_eq!(
        told,
        [
            ("cem", 2, [3, 3].as_slice(), 9),
            ("address", 3, &[4, 2], 8),
            ("tablet", 2, &[4, 2], 8),
            ("dora", 2, &[5, 1], 5),
            ("ann", 2, &[6], 0),
            ("bob", 2, &[6], 0),
            ("emil", 1, &[6], 0),
            ("~alone", 0, &[], 0),
        ]
    );
    assert_eq!(families().hubs(3), hubs[..3]);
    assert_eq!(families().hubs(0), []);
}

#[test]
fn an_outlier_has_far_more_neighbours_than_its_kind() {
    let kinds = |ray: usize| if ray < 6 { "email" } else { "device_id" };
    let identifiers =
        [("user_id", "hub".to_owned()), ("user_id", "other".to_owned()), ("email", "shared".to_owned())]
            .into_iter()
            .chain((0..12).map(|ray| (kinds(ray), format!("ray-{ray}"))));
    let identifiers: Vec<Identifier> =
        identifiers.map(|(namespace, value)| Identifier::new(namespace, value)).collect();
    let mut links = Vec::new();
    let mut join = |a: usize, b: usize| links.push(([a, b], link("a", "b", "m", 1)));
    (3..15).for_each(|ray| join(0, ray));
    // Both quartiles of the addresses are 1, and so the fence is at 4.
    (10..15).for_each(|ray| join(2, ray));
    let found = IdentityGraph::new(identifiers.clone(), links.clone()).hubs(usize::MAX);
    let outliers: Vec<_> = found.iter().filter(|hub| hub.outlier).map(|hub| hub.identifier.value()).collect();
    assert_eq!(outliers, ["shared"], "and not the hub, as there is but one other user_id to measure it by");
    links.pop();
    let found = IdentityGraph::new(identifiers, links).hubs(usize::MAX);
    assert!(found.iter().all(|hub| !hub.outlier), "on the fence is within it");
}

#[test]
fn bridges_are_sorted_by_the_smaller_side_and_bring_all_their_evidence() {
    let graph = families();
    let bridges = graph.bridges(usize::MAX);
    let told: Vec<_> =
        bridges.iter().map(|bridge| (bridge.a.value(), bridge.b.value(), bridge.sizes)).collect();
    assert_eq!(
        told,
        [
            ("cem", "address", [4, 3]),
            ("cem", "tablet", [4, 3]),
            ("tablet", "dora", [5, 2]),
            ("dora", "emil", [6, 1]),
        ]
    );
    let both: Vec<_> = bridges[1].links.iter().map(|link| (link.a.value(), &*link.message_id)).collect();
    assert_eq!(both, [("cem", "m6"), ("cem", "m5")]);
    assert_eq!(graph.bridges(2), bridges[..2]);
}

#[test]
fn the_sides_of_a_join_are_what_is_left_without_its_evidence() {
    let graph = families();
    let [one, other] = graph.sides(&id("tablet"), &id("cem")).unwrap();
    assert_eq!(
        (values(one), values(other)),
        (vec!["dora", "emil", "tablet"], vec!["address", "ann", "bob", "cem"])
    );
    assert_eq!(graph.sides(&id("ann"), &id("bob")), None, "the address holds them together");
    assert_eq!(graph.sides(&id("ann"), &id("emil")), None, "they are not linked");
    assert_eq!(graph.sides(&id("ann"), &id("nobody")), None);
    for bridge in graph.bridges(usize::MAX) {
        let sides = graph.sides(&bridge.a, &bridge.b).unwrap();
        assert_eq!(sides.map(|side| side.len()), bridge.sizes);
    }
}

#[test]
fn a_picture_is_masked_and_its_quotes_are_escaped() {
    let spoilt = Identifier::new(Namespace::new("external:\"x\" & y"), "say \"hi\"\\\n\u{7f}&amp;");
    let links = [([0, 1], Link { source: "w\"eb\\".into(), count: 12, ..link("a", "b", "m", 0) })];
    let graph = IdentityGraph::new([Identifier::new("email", "xiaoming@example.com"), spoilt], links);
    assert_eq!(
        graph.to_dot().to_string(),
        r#"graph identity {
  node [shape=box];
  n0 [label="email\nx***@example.com"];
  n1 [label="external:\"x\" &amp; y\nsay ****mp;"];
  n0 -- n1 [label="w\"eb\\ ×12\n1970-01-01"];
}
"#
    );
    let whole = graph.to_dot().unmasked().to_string();
    assert!(whole.contains(r#"n0 [label="email\nxiaoming@example.com"];"#), "{whole}");
    assert!(whole.contains(r#"\nsay \"hi\"\\\\n\\u{7f}&amp;amp;"];"#), "{whole}");
}

#[test]
fn edges_of_a_picture_stand_by_their_ends_and_then_by_their_first_day() {
    let dot = families().to_dot().unmasked().to_string();
    let edges: Vec<&str> = dot
        .lines()
        .filter_map(|line| line.split_once(" [").filter(|_| line.contains("--")))
        .map(|(ends, _)| ends.trim())
        .collect();
    assert_eq!(
        edges,
        ["n0 -- n1", "n0 -- n2", "n0 -- n3", "n1 -- n2", "n3 -- n6", "n3 -- n6", "n4 -- n5", "n4 -- n6"]
    );
}

#[test]
fn debug_shows_no_identifier() {
    let graph = IdentityGraph::new([Identifier::new("email", "x@example.com")], []);
    assert_eq!(format!("{graph:?}"), "IdentityGraph { identifiers: 1, links: 0, .. }");
    let dot = graph.to_dot().unmasked();
    assert_eq!(
        format!("{dot:?}"),
        "Dot { graph: IdentityGraph { identifiers: 1, links: 0, .. }, masked: false }"
    );
}
