//! Links between identifiers that have numbers, stitched in memory: the partition alone.

use petgraph::unionfind::UnionFind;

use crate::common::{Dice, Way, print, size, timed};
use crate::identity::partition::{Node, Partition, ProfileNo};

/// Two linked identifiers, by number.
type Link = (u32, u32);

pub(crate) fn bench() {
    let (nodes, links, rounds) = (size(5_000_000, 500_000), size(10_000_000, 1_000_000), size(7, 5));
    println!("\nstitch: {links} links over {nodes} identifiers in memory, {rounds} rounds, medians");
    stitch(
        "Links between the four identifiers of a person, in any order",
        nodes,
        &people(nodes, links),
        rounds,
    );
    stitch("Links between any two identifiers, which end as one crowd", nodes, &crowd(nodes, links), rounds);
}

/// Each link joins two of the four identifiers of somebody. A person's identifiers are numbered near each other, as
/// they would be in order of arrival; people come in any order.
fn people(nodes: usize, links: usize) -> Vec<Link> {
    let mut dice = Dice::new(11);
    let mut below = move |n: usize| u32::try_from(dice.below(n as u64)).unwrap_or(0);
    let link = |_| {
        let person = below(nodes / 4) * 4;
        (person + below(4), person + below(4))
    };
    (0..links).map(link).collect()
}

fn crowd(nodes: usize, links: usize) -> Vec<Link> {
    let mut dice = Dice::new(12);
    let mut below = move || u32::try_from(dice.below(nodes as u64)).unwrap_or(0);
    (0..links).map(|_| (below(), below())).collect()
}

fn stitch(title: &str, nodes: usize, links: &[Link], rounds: usize) {
    let mut ways = [
        Way::new("petgraph UnionFind, bare", links.len()),
        Way::new("customerdb's partition, with members and profiles", links.len()),
    ];
    for _ in 0..rounds {
        let (time, sets) = timed(|| {
            let mut sets = UnionFind::<u32>::new(nodes);
            nodes - links.iter().filter(|(a, b)| sets.union(*a, *b)).count()
        });
        ways[0].add(time);
        let (time, partition) = timed(|| {
            let mut partition = Partition::dormant(nodes);
            for node in (0..nodes).map(Node::at) {
                partition.found(node, ProfileNo(node.0));
            }
            for (a, b) in links {
                partition.union(Node(*a), Node(*b));
            }
            partition
        });
        ways[1].add(time);
        assert_eq!(partition.sets(), sets, "as many sets");
    }
    print(title, "links", &ways);
}
