//! Stitching identifiers to people, beside petgraph's bare union-find over the same pairs.
//!
//! The reference is told dense numbers and keeps nothing but the sets; the second one also has to give names their
//! numbers. `customerdb` reads events, keeps each of them and its evidence, and commits, in memory.

mod common;

use std::collections::HashMap;

use common::{Dice, Outcome, Way, now, print, size, timed};
use customerdb::{Cdp, Event, ManualClock, Rules};
use petgraph::unionfind::UnionFind;

const BATCH: usize = 10_000;

/// Which user shows up on which device.
type Pair = (u32, u32);

fn main() -> Outcome {
    let (events, rounds) = (size(300_000, 50_000), size(5, 3));
    println!("stitch: {events} events that bear two identifiers each, {rounds} rounds, medians");
    stitch("People with about four identifiers each", &people(events), rounds)?;
    stitch("One person, to whom every event adds an identifier", &hub(events), rounds)
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
