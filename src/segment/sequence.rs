//! One thing after the other.

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

    /// Follows each start on its own until its window ends, since what is forbidden until then may undo it.
    fn wait(&self, roles: &[Role], now: Timestamp) -> Reached {
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
