//! One thing after the other.

use std::collections::VecDeque;

use super::condition::{EventCondition, SequenceCondition};
use crate::clock::Timestamp;
use crate::profile::{PastEvent, Verdict};
use crate::value::{Comparable, Value};

/// The least span there is: what lies just beyond an instant.
const MICRO: crate::clock::Span = crate::clock::Span::from_micros(1);

/// A sequence as it is walked: which events must come, and what must not come before each.
struct Walk<'s> {
    /// Each step, with what is forbidden between it and the step before.
    steps: Vec<(&'s EventCondition, Vec<&'s EventCondition>)>,
    /// What is forbidden from the last step until the end of the window.
    after: Vec<&'s EventCondition>,
    condition: &'s SequenceCondition,
}

/// What one event is to the sequence.
struct Role {
    at: Timestamp,
    /// Which steps it can be.
    steps: Vec<usize>,
    /// Before which steps it is forbidden.
    forbidden: Vec<usize>,
    /// Whether it is forbidden after the last step.
    ends: bool,
}

/// How far a walk through the events has come.
#[derive(Default)]
pub(super) struct Reached {
    /// How many steps one person has done in order at most.
    pub(super) steps: usize,
    /// Whether the whole sequence has come about, and nothing forbidden can undo it.
    pub(super) done: bool,
    /// When it will have, if nothing forbidden comes.
    pub(super) pending: Option<Timestamp>,
}

impl SequenceCondition {
    pub(super) fn verdict(&self, events: &[PastEvent], now: Timestamp) -> Verdict {
        let reached = self.reached(events, now);
        if reached.done { Verdict::always(true) } else { Verdict::until(false, reached.pending) }
    }

    /// How many steps there are, those that are forbidden left out.
    pub(super) fn length(&self) -> usize {
        self.steps.iter().filter(|step| !step.forbidden).count()
    }

    pub(super) fn reached(&self, events: &[PastEvent], now: Timestamp) -> Reached {
        let walk = Walk::new(self);
        let mut whole = Reached::default();
        for roles in walk.attempts(events) {
            let reached = if walk.after.is_empty() { walk.through(&roles) } else { walk.wait(&roles, now) };
            whole.steps = whole.steps.max(reached.steps);
            whole.done |= reached.done;
            whole.pending = super::evaluate::earliest(whole.pending, reached.pending);
        }
        whole
    }
}

impl<'s> Walk<'s> {
    fn new(condition: &'s SequenceCondition) -> Self {
        let (mut steps, mut between) = (Vec::new(), Vec::new());
        for step in &condition.steps {
            if step.forbidden {
                between.push(&step.event);
            } else {
                steps.push((&step.event, std::mem::take(&mut between)));
            }
        }
        Self { steps, after: between, condition }
    }

    /// What the events are to the sequence, those that share the property that must be the same apart from others.
    fn attempts(&self, events: &[PastEvent]) -> Vec<Vec<Role>> {
        let roles = events.iter().filter_map(|event| Some((event, self.role(event)?)));
        let Some(path) = &self.condition.same else {
            return vec![roles.map(|(_, role)| role).collect()];
        };
        let mut keyed: Vec<(Comparable<'_>, Role)> = Vec::new();
        for (event, role) in roles {
            let mut value: Option<&Value> = None;
            path.any(&event.properties, |found| {
                value = found;
                true
            });
            // What does not have the property shares it with nothing.
            if let Some(key) = value.and_then(|value| Comparable::of(value, false)) {
                keyed.push((key, role));
            }
        }
        // Stable, so that each group stays in order of time.
        keyed.sort_by(|(a, _), (b, _)| a.order(b));
        let mut groups: Vec<Vec<Role>> = Vec::new();
        let mut last: Option<Comparable<'_>> = None;
        for (key, role) in keyed {
            match groups.last_mut() {
                Some(group) if last.as_ref().is_some_and(|last| last.order(&key).is_eq()) => group.push(role),
                _ => groups.push(vec![role]),
            }
            last = Some(key);
        }
        groups
    }

    fn role(&self, event: &PastEvent) -> Option<Role> {
        let any = |forbidden: &[&EventCondition]| forbidden.iter().any(|condition| condition.fits(event));
        let places = || self.steps.iter().enumerate();
        let role = Role {
            at: event.at,
            steps: places().filter(|(_, (step, _))| step.fits(event)).map(|(place, _)| place).collect(),
            forbidden: places().filter(|(_, (_, before))| any(before)).map(|(place, _)| place).collect(),
            ends: any(&self.after),
        };
        (!role.steps.is_empty() || !role.forbidden.is_empty() || role.ends).then_some(role)
    }

    /// The roles in groups within which none is after another: those of one instant, or each on its own where the order
    /// of message ids counts.
    fn groups<'r>(&self, roles: &'r [Role]) -> impl Iterator<Item = &'r [Role]> {
        let strictly = self.condition.strictly_increasing;
        roles.chunk_by(move |a, b| strictly && a.at == b.at)
    }

    /// Walks once through all events, and keeps for each step the latest start from which it can be reached.
    fn through(&self, roles: &[Role]) -> Reached {
        let mut starts: Vec<Option<Timestamp>> = vec![None; self.steps.len()];
        let mut reached = Reached::default();
        for group in self.groups(roles) {
            let mut found: Vec<(usize, Timestamp)> = Vec::new();
            for role in group {
                for &step in &role.steps {
                    let start = if step == 0 { Some(role.at) } else { starts[step - 1] };
                    let inside = |start: &Timestamp| {
                        self.condition.within.is_none_or(|within| role.at <= start.after(within))
                    };
                    found.extend(start.filter(inside).map(|start| (step, start)));
                }
            }
            // What is forbidden before a step ends all that wait for it, but not what is of the same instant.
            for step in group.iter().flat_map(|role| &role.forbidden).filter(|step| **step > 0) {
                starts[step - 1] = None;
            }
            for (step, start) in found {
                starts[step] = starts[step].max(Some(start));
                reached.steps = reached.steps.max(step + 1);
            }
        }
        reached.done = reached.steps == self.steps.len();
        reached
    }

    /// Goes once through all events, with every start until its window ends, since what is forbidden until then may undo it.
    fn wait(&self, roles: &[Role], now: Timestamp) -> Reached {
        let mut reached = Reached::default();
        let Some(within) = self.condition.within else { return reached };
        let mut open = Open::default();
        let note = |reached: &mut Reached, (start, is_over): (Timestamp, bool)| {
            let end = start.after(within);
            if is_over && end < now {
                reached.done = true;
            } else if is_over {
                // The first whose window is open still: the later ones end later.
                reached.pending = reached.pending.or(Some(end.after(MICRO)));
            }
        };
        for group in self.groups(roles) {
            let at = group[0].at;
            while let Some(ended) = open.close(|start| start.after(within) < at) {
                note(&mut reached, ended);
            }
            if reached.done {
                reached.steps = self.steps.len();
                return reached;
            }
            reached.steps = reached.steps.max(open.take(group, self.steps.len()));
        }
        while let Some(ended) = open.close(|_| true) {
            note(&mut reached, ended);
        }
        reached
    }
}

/// The starts whose windows are open. What an event does is the same to all of them that have the same steps behind them,
/// so those are a set, and sets that come to have the same steps behind them are one from then on: there are few, however
/// many starts there are.
#[derive(Default)]
struct Open {
    /// In order of time, each with the set that it was put in.
    starts: VecDeque<(Timestamp, usize)>,
    sets: Vec<Set>,
    /// Those of the sets that are told apart.
    apart: Vec<usize>,
}

struct Set {
    /// Of each step, whether it was the last one for any of the ways on which the starts have come so far.
    behind: Vec<bool>,
    starts: usize,
    /// The set that it went into, if it is not told apart any more.
    into: Option<usize>,
}

impl Open {
    /// The set that a set is now.
    fn set(&mut self, mut of: usize) -> usize {
        while let Some(into) = self.sets[of].into {
            // Half of the way is gone by whoever comes next (path halving).
            self.sets[of].into = self.sets[into].into.or(Some(into));
            of = into;
        }
        of
    }

    /// Closes the window of the first start if it is to be: gives the start, and whether it has all steps behind it.
    fn close(&mut self, is_due: impl FnOnce(Timestamp) -> bool) -> Option<(Timestamp, bool)> {
        let &(start, set) = self.starts.front().filter(|(start, _)| is_due(*start))?;
        self.starts.pop_front();
        let set = self.set(set);
        self.sets[set].starts -= 1;
        Some((start, self.sets[set].behind.last() == Some(&true)))
    }

    /// Takes events in, none of which is after another. Gives how many steps any start has behind it by them.
    fn take(&mut self, group: &[Role], length: usize) -> usize {
        let (sets, mut steps) = (&mut self.sets, 0);
        self.apart.retain(|set| sets[*set].starts > 0);
        for set in &self.apart {
            let behind = &mut sets[*set].behind;
            let on = |step: &&usize| **step > 0 && behind[**step - 1];
            let found: Vec<usize> =
                group.iter().flat_map(|role| role.steps.iter().filter(on).copied()).collect();
            for step in group.iter().flat_map(|role| &role.forbidden).filter(|step| **step > 0) {
                behind[step - 1] = false;
            }
            if let Some(last) = behind.last_mut().filter(|_| group.iter().any(|role| role.ends)) {
                *last = false;
            }
            for step in found {
                behind[step] = true;
                steps = steps.max(step + 1);
            }
        }
        self.unite();
        for start in group.iter().filter(|role| role.steps.contains(&0)) {
            let fresh = |behind: &[bool]| behind.iter().enumerate().all(|(step, is)| *is == (step == 0));
            let like = self.apart.iter().copied().find(|set| fresh(&self.sets[*set].behind));
            let set = like.unwrap_or_else(|| {
                let behind = (0..length).map(|step| step == 0).collect();
                self.sets.push(Set { behind, starts: 0, into: None });
                self.apart.push(self.sets.len() - 1);
                self.sets.len() - 1
            });
            self.sets[set].starts += 1;
            self.starts.push_back((start.at, set));
            steps = steps.max(1);
        }
        steps
    }

    /// Makes those sets one that have the same steps behind them, and forgets those that have none: nothing can come of them
    /// any more.
    fn unite(&mut self) {
        let sets = &mut self.sets;
        if self.apart.len() > 1 {
            self.apart.sort_by(|a, b| sets[*a].behind.cmp(&sets[*b].behind));
        }
        let mut kept: Vec<usize> = Vec::new();
        for set in std::mem::take(&mut self.apart) {
            match kept.last() {
                Some(like) if sets[*like].behind == sets[set].behind => {
                    sets[*like].starts += std::mem::take(&mut sets[set].starts);
                    sets[set].into = Some(*like);
                    sets[set].behind = Vec::new();
                }
                _ if !sets[set].behind.contains(&true) => sets[set].behind = Vec::new(),
                _ => kept.push(set),
            }
        }
        self.apart = kept;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::seconds;
    use crate::segment::{Condition, did, did_not, sequence};

    impl Walk<'_> {
        /// Follows each start on its own until its window ends.
        fn wait_one_by_one(&self, roles: &[Role], now: Timestamp) -> Reached {
            let mut reached = Reached::default();
            let Some(within) = self.condition.within else { return reached };
            for (place, first) in roles.iter().enumerate().filter(|(_, role)| role.steps.contains(&0)) {
                let end = first.at.after(within);
                let mut waiting = vec![false; self.steps.len()];
                let mut started = false;
                for group in self.groups(&roles[place..]) {
                    if group.first().is_some_and(|role| role.at > end) {
                        break;
                    }
                    let mut found = Vec::new();
                    for role in group {
                        let can = |step: &&usize| if **step == 0 { !started } else { waiting[**step - 1] };
                        found.extend(role.steps.iter().filter(can).copied());
                        started = true;
                    }
                    for step in group.iter().flat_map(|role| &role.forbidden).filter(|step| **step > 0) {
                        waiting[step - 1] = false;
                    }
                    if let Some(last) = waiting.last_mut().filter(|_| group.iter().any(|role| role.ends)) {
                        *last = false;
                    }
                    for step in found {
                        waiting[step] = true;
                        reached.steps = reached.steps.max(step + 1);
                    }
                }
                if waiting.last() == Some(&true) {
                    if end < now {
                        reached.done = true;
                    } else {
                        let over = end.after(MICRO);
                        reached.pending = Some(reached.pending.map_or(over, |other| other.min(over)));
                    }
                }
            }
            reached
        }
    }

    fn events(of: &[(i64, u8)]) -> Vec<PastEvent> {
        let event = |(n, (at, name)): (usize, &(i64, u8))| PastEvent {
            name: char::from(b'A' + name).to_string(),
            at: Timestamp::from_micros(at * 1_000_000),
            message_id: format!("{n:03}"),
            properties: crate::value::Object::new(),
        };
        of.iter().enumerate().map(event).collect()
    }

    proptest! {
        #[test]
        fn starts_that_go_together_come_as_far_as_each_alone(
            mut of in prop::collection::vec((0..40_i64, 0..5_u8), 0..40),
            steps in prop::collection::vec((0..5_u8, prop::bool::weighted(0.4)), 1..7),
            (within, now, strictly) in (1..20_u32, 0..60_i64, any::<bool>()),
        ) {
            of.sort_by_key(|(at, _)| *at);
            let step = |(name, not): &(u8, bool)| {
                let name = char::from(b'A' + name).to_string();
                if *not { did_not(&name) } else { did(&name) }
            };
            let whole = [did("A")].into_iter().chain(steps.iter().map(step)).chain([did_not("E")]);
            let built = sequence(whole).within(seconds(within));
            let Condition::Sequence(mut condition) = built else { unreachable!() };
            condition.strictly_increasing = strictly;
            let (walk, events) = (Walk::new(&condition), events(&of));
            let roles: Vec<Role> = events.iter().filter_map(|event| walk.role(event)).collect();
            let now = Timestamp::from_micros(now * 1_000_000);
            let (together, alone) = (walk.wait(&roles, now), walk.wait_one_by_one(&roles, now));
            prop_assert_eq!(together.done, alone.done);
            if !alone.done {
                prop_assert_eq!((together.steps, together.pending), (alone.steps, alone.pending));
            }
        }
    }

    /// Followed one by one, forty thousand starts that wait for the end of their windows would take minutes.
    #[test]
    fn many_starts_wait_in_few_sets() {
        let condition = sequence([did("A"), did_not("C"), did("B"), did_not("D")]).within(seconds(1_000_000));
        let Condition::Sequence(condition) = condition else { unreachable!() };
        let of: Vec<(i64, u8)> = (0..40_000).zip([0, 1, 0, 2].into_iter().cycle()).collect();
        let (walk, events) = (Walk::new(&condition), events(&of));
        let roles: Vec<Role> = events.iter().filter_map(|event| walk.role(event)).collect();
        let mut open = Open::default();
        for group in walk.groups(&roles) {
            open.take(group, 2);
            assert!(open.apart.len() <= 3, "{}", open.apart.len());
        }
        assert_eq!(open.starts.len(), 20_000);
        let reached = walk.wait(&roles, Timestamp::from_micros(0));
        assert_eq!((reached.done, reached.pending.is_some()), (false, true));
    }
}
