//! Funnels whose steps may be done in any order: how many different steps are done within one window.

use super::attempt::Rules;
use super::{Mask, Row};

/// The window that holds the most steps, the earliest of several, as the place of its first event, and
/// when each step was reached; `None` if no step was ever done.
///
/// One event fills one step only, so that steps and events are matched: a maximum matching, grown by augmenting paths
/// (H. W. Kuhn, *The Hungarian method for the assignment problem*, 1955). Events that can be the same steps are alike,
/// and as many of them as there are steps are enough.
pub(super) fn best(rules: &Rules, events: &[Row], times: &mut Vec<i64>) -> Option<usize> {
    let steps = Mask::MAX >> (Mask::BITS as usize - rules.steps);
    let places: Vec<usize> = (0..events.len()).filter(|place| events[*place].mask & steps != 0).collect();
    let mut best: Option<(usize, usize)> = None;
    // How many events of each kind the window holds, beginning with that of `first`.
    let mut kinds: Vec<(Mask, usize)> = Vec::new();
    let mut seen: Vec<usize> = Vec::new();
    let mut end = 0;
    for (number, first) in places.iter().enumerate() {
        while let Some(place) = places.get(end).filter(|place| is_inside(rules, events, *first, **place)) {
            match kinds.iter_mut().find(|(kind, _)| *kind == events[*place].mask & steps) {
                Some((_, count)) => *count += 1,
                None => kinds.push((events[*place].mask & steps, 1)),
            }
            end += 1;
        }
        let now: Vec<usize> = kinds.iter().map(|(_, count)| (*count).min(rules.steps)).collect();
        if now != seen {
            let reached = matching(rules.steps, &kinds);
            if best.is_none_or(|(_, most)| reached > most) {
                best = Some((number, reached));
                if reached == rules.steps {
                    break;
                }
            }
            seen = now;
        }
        if let Some((_, count)) = kinds.iter_mut().find(|(kind, _)| *kind == events[*first].mask & steps) {
            *count -= 1;
        }
    }
    let (number, _) = best?;
    let first = places[number];
    let inside = places[number..].iter().take_while(|place| is_inside(rules, events, first, **place));
    let mut steps_taken = Matching::new(rules.steps);
    times.clear();
    for place in inside {
        if times.len() < rules.steps && steps_taken.take(events[*place].mask & steps) {
            times.push(events[*place].at);
        }
    }
    Some(first)
}

fn is_inside(rules: &Rules, events: &[Row], first: usize, place: usize) -> bool {
    rules.within.is_none_or(|within| events[place].at - events[first].at <= within)
}

/// How many steps events of these kinds can be, each event one step.
fn matching(steps: usize, kinds: &[(Mask, usize)]) -> usize {
    let mut matching = Matching::new(steps);
    let mut taken = 0;
    for (kind, count) in kinds {
        taken += (0..(*count).min(steps)).take_while(|_| matching.take(*kind)).count();
    }
    taken
}

/// Which event is which step, as the kind of the event that is.
struct Matching(Vec<Option<Mask>>);

impl Matching {
    fn new(steps: usize) -> Self {
        Self(vec![None; steps])
    }

    /// Makes one more event a step, moving others if need be, and says whether that could be done.
    fn take(&mut self, kind: Mask) -> bool {
        self.place(kind, &mut 0)
    }

    fn place(&mut self, kind: Mask, tried: &mut Mask) -> bool {
        for step in 0..self.0.len() {
            if kind & (1 << step) == 0 || *tried & (1 << step) != 0 {
                continue;
            }
            *tried |= 1 << step;
            let free = match self.0[step] {
                None => true,
                Some(other) => self.place(other, tried),
            };
            if free {
                self.0[step] = Some(kind);
                return true;
            }
        }
        false
    }
}
