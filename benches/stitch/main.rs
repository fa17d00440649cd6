//! Stitching identifiers to people, beside petgraph's bare union-find over the same pairs.
//!
//! The reference is told dense numbers and keeps nothing but the sets; the second one also has to give names their
//! numbers. `customerdb` reads events, keeps each of them and its evidence, and commits, in memory.
//! Then it explains, from a file, why two identifiers of a large person are one.

#[path = "../common/mod.rs"]
mod common;
mod giant;
mod identity;
mod join;
mod links;
mod memory;
mod opening;

/// What `identity`, compiled alone, finds at this place in the crate.
mod id {
    pub(crate) use customerdb::{Identifier, Namespace};
}

use std::collections::HashMap;

use common::{Dice, Folder, Outcome, Way, now, print, size, timed};
use customerdb::{Cdp, Event, Identifier, ManualClock, Rules};
use petgraph::algo::astar;
use petgraph::graph::UnGraph;
use petgraph::unionfind::UnionFind;

const BATCH: usize = 10_000;

/// Which user shows up on which device.
type Pair = (u32, u32);

fn main() -> Outcome {
    if let Some(asked) = memory::asked() {
        return measure(&asked);
    }
    resolve()?;
    links::bench();
    memory::bench()?;
    opening::bench()?;
    join::bench()?;
    giant::bench()
}

/// Measures what a bench has started this process for.
fn measure(asked: &[String]) -> Outcome {
    match asked.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["map", count] => memory::map(count.parse()?),
        ["open", path, people] => opening::open(path, people.parse()?),
        ["interner", count] => memory::interner(count.parse()?),
        _ => Err(format!("nothing is known of measuring {asked:?}").into()),
    }
}

fn resolve() -> Outcome {
    let (events, rounds) = (size(300_000, 50_000), size(5, 3));
    println!("stitch: {events} events that bear two identifiers each, {rounds} rounds, medians");
    stitch("People with about four identifiers each", &people(events), rounds)?;
    stitch("One person, to whom every event adds an identifier", &hub(events), rounds)?;
    explain("Why two of 1,000 identifiers around one are one person", &star(), rounds)?;
    explain("Why two of 1,000 identifiers in a chain are one person", &chain(), rounds)
}

/// Users with two devices of their own, one in fifty events on a device of somebody else.
fn people(events: usize) -> Vec<Pair> {
    let users = u32::try_from(events / 8).unwrap_or(u32::MAX);
    let mut dice = Dice::new(7);
    let mut user = move || u32::try_from(dice.below(u64::from(users))).unwrap_or(0);
    let mut pairs = Vec::with_capacity(events);
    for number in 0..events {
        let (who, whose) = (user(), user());
        let owner = if number % 50 == 0 { whose } else { who };
        pairs.push((who, owner * 2 + whose % 2));
    }
    pairs
}

fn hub(events: usize) -> Vec<Pair> {
    (0..u32::try_from(events).unwrap_or(u32::MAX)).map(|device| (0, device)).collect()
}

fn stitch(title: &str, pairs: &[Pair], rounds: usize) -> Outcome {
    let mut ways = [
        Way::new("petgraph UnionFind over numbers", pairs.len()),
        Way::new("petgraph UnionFind, names to numbers by a HashMap", pairs.len()),
        Way::new("customerdb: ingest, 10,000 a batch", pairs.len()),
    ];
    let names: Vec<(String, String)> =
        pairs.iter().map(|(user, device)| (format!("user-{user}"), format!("device-{device}"))).collect();
    let mut people = [0; 3];
    for _ in 0..rounds {
        let (time, found) = timed(|| bare(pairs));
        people[0] = found;
        ways[0].add(time);
        let (time, found) = timed(|| named(&names));
        people[1] = found;
        ways[1].add(time);
        let cdp = Cdp::builder().clock(ManualClock::at(now())).rules(Rules::unlimited()).in_memory()?;
        let (time, stored) = timed(|| {
            names.chunks(BATCH).try_for_each(|batch| {
                let event = |(user, device): &(String, String)| {
                    Event::identify().user_id(user.as_str()).anonymous_id(device.as_str()).at(now())
                };
                cdp.ingest(batch.iter().map(event)).map(|_| ())
            })
        });
        stored?;
        ways[2].add(time);
        people[2] = usize::try_from(cdp.stats()?.profiles)?;
    }
    assert!(people.iter().all(|found| *found == people[0]), "different people: {people:?}");
    print(title, "events", &ways);
    Ok(())
}

/// How many people there are, of identifiers that have numbers.
fn bare(pairs: &[Pair]) -> usize {
    let devices = pairs.iter().map(|(_, device)| device + 1).max().unwrap_or(0);
    let users = pairs.iter().map(|(user, _)| user + 1).max().unwrap_or(0);
    let mut sets = UnionFind::<u32>::new((users + devices) as usize);
    let mut seen = vec![false; (users + devices) as usize];
    let mut joins = 0;
    for (user, device) in pairs {
        let device = users + device;
        seen[*user as usize] = true;
        seen[device as usize] = true;
        joins += usize::from(sets.union(*user, device));
    }
    seen.iter().filter(|seen| **seen).count() - joins
}

/// How many people there are, of identifiers that have names.
fn named(pairs: &[(String, String)]) -> usize {
    let mut numbers: HashMap<(u8, &str), u32> = HashMap::new();
    let mut sets = UnionFind::<u32>::new_empty();
    let mut joins = 0;
    for (user, device) in pairs {
        let [user, device] = [(0, user.as_str()), (1, device.as_str())]
            .map(|name| *numbers.entry(name).or_insert_with(|| sets.new_set()));
        joins += usize::from(sets.union(user, device));
    }
    numbers.len() - joins
}

/// One user and 999 devices: users have even numbers here, and devices odd ones.
fn star() -> Vec<Pair> {
    (0..999).map(|number| (0, 2 * number + 1)).collect()
}

/// User after device after user, 1,000 in all.
fn chain() -> Vec<Pair> {
    (1..1_000).map(|number| (number - 1, number)).collect()
}

/// Explains joins within one person, beside petgraph's search for the same path over numbers that are in memory
/// already, and beside loading the person's graph to search it.
fn explain(title: &str, pairs: &[Pair], rounds: usize) -> Outcome {
    let questions = size(1_000, 50);
    let mut dice = Dice::new(11);
    let mut end = move || {
        let (a, b) = pairs[usize::try_from(dice.below(pairs.len() as u64)).unwrap_or(0)];
        if dice.below(2) == 0 { a } else { b }
    };
    let asked: Vec<Pair> = (0..questions).map(|_| (end(), end())).collect();
    let name = |number: u32| {
        Identifier::new(["user_id", "anonymous_id"][number as usize % 2], format!("number-{number}"))
    };
    let folder = Folder::new("explain")?;
    let builder = Cdp::builder().clock(ManualClock::at(now())).rules(Rules::unlimited());
    let cdp = builder.open(folder.file("explain.db"))?;
    let event = |(a, b): &Pair| {
        let (user, device) = if a % 2 == 0 { (*a, *b) } else { (*b, *a) };
        Event::page().user_id(name(user).value()).anonymous_id(name(device).value()).at(now())
    };
    cdp.ingest(pairs.iter().map(event))?;
    let graph = UnGraph::<(), ()>::from_edges(pairs);

    let mut ways = [
        Way::new("petgraph astar over numbers in memory", questions),
        Way::new("customerdb: graph_of, and its path", questions),
        Way::new("customerdb: explain", questions),
    ];
    let mut links = [0; 3];
    for _ in 0..rounds {
        let (time, found) = timed(|| {
            let cost = |(a, b): &Pair| astar(&graph, (*a).into(), |node| node == (*b).into(), |_| 1, |_| 0);
            asked.iter().filter_map(cost).map(|(length, _)| length).sum()
        });
        links[0] = found;
        ways[0].add(time);
        let (time, found) = timed(|| {
            let length = |(a, b): &Pair| {
                let graph = cdp.graph_of(name(*a))?;
                Ok::<_, customerdb::Error>(graph.path(&name(*a), &name(*b)).map_or(0, |path| path.len()))
            };
            asked.iter().map(length).sum::<Result<usize, _>>()
        });
        links[1] = found?;
        ways[1].add(time);
        let (time, found) = timed(|| {
            let length =
                |(a, b): &Pair| Ok::<_, customerdb::Error>(cdp.explain(name(*a), name(*b))?.path.len());
            asked.iter().map(length).sum::<Result<usize, _>>()
        });
        links[2] = found?;
        ways[2].add(time);
    }
    assert!(links.iter().all(|found| *found == links[0]), "different paths: {links:?}");
    print(title, "questions", &ways);
    Ok(())
}
