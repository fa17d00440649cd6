//! What a set of identifiers holds, counted for the limits of the rules.

use rustc_hash::FxHashMap;

use super::interner::NamespaceNo;
use super::rules::{Day, Period, Rules};
use crate::id::Namespace;

/// Which rule left an identifier out of the resolution of an event, or kept two identifiers apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Rule {
    /// The limit on identifiers of its namespace.
    Limit,
    /// The limit on identifiers in all.
    Total,
    /// The limit for a pair of namespaces.
    Pair,
    /// A decision by hand that the two are never one person.
    Never,
    /// A cut: evidence that was taken away by hand, or what fell apart by it.
    Cut,
    /// The rule that a shared device is nobody's.
    SharedDevice,
    /// Its form: the value cannot be an identifier of its namespace.
    Form,
    /// The most namespaces that a file holds.
    Namespaces,
}

impl Rule {
    const ALL: [Self; 8] = [
        Self::Limit,
        Self::Total,
        Self::Pair,
        Self::Never,
        Self::Cut,
        Self::SharedDevice,
        Self::Form,
        Self::Namespaces,
    ];

    /// A short, stable word for the rule.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Total => "total",
            Self::Pair => "pair",
            Self::Never => "never",
            Self::Cut => "cut",
            Self::SharedDevice => "shared_device",
            Self::Form => "form",
            Self::Namespaces => "namespaces",
        }
    }

    pub(crate) fn read(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.as_str() == text)
    }

    /// Whether an identifier that it leaves out stands for somebody else, and so is a person by itself if nobody
    /// holds it. A limit leaves open whose the identifier is.
    pub(crate) fn sets_apart(self) -> bool {
        matches!(self, Self::Never | Self::Cut | Self::SharedDevice)
    }
}

/// A rule that a join would break, and how, in words.
pub(crate) type Broken = (Rule, String);

/// How many identifiers a set holds, of each namespace and in each period that is limited.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    pub(crate) size: u32,
    /// By the namespace's number.
    kinds: Vec<u32>,
    /// Of namespaces with a limit for a period: how many were first seen in each.
    periods: FxHashMap<(NamespaceNo, u32), u32>,
}

/// The limits as they apply to namespaces by number: what counting needs.
pub(crate) struct Limits<'r> {
    rules: &'r Rules,
    periodic: bool,
}

impl<'r> Limits<'r> {
    pub(crate) fn new(rules: &'r Rules) -> Self {
        Self { rules, periodic: rules.has_periods() }
    }

    /// The period in which a node counts that was first seen on a day, if its namespace has a limit for periods.
    pub(crate) fn period(&self, namespace: &Namespace, day: Day) -> Option<u32> {
        let per = if self.periodic { self.rules.period(namespace) } else { Period::Ever };
        (per != Period::Ever).then(|| per.of(day))
    }
}

impl Counts {
    /// Counts one more identifier of a namespace, first seen in a period that matters.
    pub(crate) fn add(&mut self, kind: NamespaceNo, period: Option<u32>) {
        let place = usize::from(kind);
        if place >= self.kinds.len() {
            self.kinds.resize(place + 1, 0);
        }
        self.kinds[place] += 1;
        self.size += 1;
        if let Some(period) = period {
            *self.periods.entry((kind, period)).or_insert(0) += 1;
        }
    }

    /// Counts an identifier in another period than before.
    pub(crate) fn shift(&mut self, kind: NamespaceNo, from: u32, to: u32) {
        if let Some(count) = self.periods.get_mut(&(kind, from)) {
            *count = count.saturating_sub(1);
        }
        *self.periods.entry((kind, to)).or_insert(0) += 1;
    }

    /// Adds what another set holds.
    pub(crate) fn merge(&mut self, other: Self) {
        self.size += other.size;
        if self.kinds.len() < other.kinds.len() {
            self.kinds.resize(other.kinds.len(), 0);
        }
        self.kinds.iter_mut().zip(other.kinds).for_each(|(own, other)| *own += other);
        for (key, count) in other.periods {
            *self.periods.entry(key).or_insert(0) += count;
        }
    }

    fn of(&self, kind: usize) -> u32 {
        self.kinds.get(kind).copied().unwrap_or(0)
    }

    /// The limit that the union of two sets would break: where it would hold more than allowed, and more than either
    /// side did.
    pub(crate) fn broken<'n>(
        &self,
        other: &Self,
        rules: &Rules,
        namespace: impl Fn(NamespaceNo) -> &'n Namespace,
    ) -> Option<Broken> {
        // Neither side may hold it all: `a + b` is more than `a` and more than `b`.
        let more = |max: u32, a: u32, b: u32| a > 0 && b > 0 && a + b > max;
        if let Some(max) = rules.max_total().filter(|max| more(*max, self.size, other.size)) {
            let reason =
                format!("at most {max} identifiers in a profile, {} if joined", self.size + other.size);
            return Some((Rule::Total, reason));
        }
        for (kind, (a, b)) in (0..).zip(self.kinds.iter().zip(&other.kinds)) {
            let (a, b) = (*a, *b);
            if a == 0 || b == 0 {
                continue;
            }
            let name = namespace(kind);
            let Some(limit) = rules.limit_of(name) else { continue };
            let max = limit.max;
            if limit.per == Period::Ever {
                if more(max, a, b) {
                    return Some((
                        Rule::Limit,
                        format!("at most {max} {name} in a profile, {} if joined", a + b),
                    ));
                }
                continue;
            }
            let over = self.periods.iter().filter(|((own, _), _)| *own == kind).find_map(|(key, a)| {
                let b = other.periods.get(key).copied().unwrap_or(0);
                more(max, *a, b).then_some(a + b)
            });
            if let Some(held) = over {
                let reason = format!("at most {max} {name} a {} in a profile, {held} if joined", limit.per);
                return Some((Rule::Limit, reason));
            }
        }
        self.broken_pair(other, rules, namespace)
    }

    /// The limit for a pair of namespaces that the union of two sets would break.
    fn broken_pair<'n>(
        &self,
        other: &Self,
        rules: &Rules,
        namespace: impl Fn(NamespaceNo) -> &'n Namespace,
    ) -> Option<Broken> {
        if rules.pairs().is_empty() {
            return None;
        }
        let kinds = self.kinds.len().max(other.kinds.len());
        let number = |name: &Namespace| {
            (0..kinds).find(|kind| NamespaceNo::try_from(*kind).is_ok_and(|no| namespace(no) == name))
        };
        rules.pairs().iter().find_map(|pair| {
            let (from, to) = (number(&pair.from)?, number(&pair.to)?);
            let joined = self.of(to) + other.of(to);
            (joined > pair.max
                && joined > self.of(to)
                && joined > other.of(to)
                && self.of(from) + other.of(from) > 0)
                .then(|| {
                    let (from, to, max) = (&pair.from, &pair.to, pair.max);
                    let reason = format!("at most {max} {to} in a profile with {from}, {joined} if joined");
                    (Rule::Pair, reason)
                })
        })
    }
}
