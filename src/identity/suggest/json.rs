//! Models as JSON, both ways, and what makes no sense in them.

use serde_json::json;

use super::compare::{COMPARISONS, LEVELS};
use super::matching::{BlockingKey, ComparisonLevel, Matching, Test, TraitComparison};
use crate::clock::Span;
use crate::error::DefinitionError;
use crate::identity::rules::json::{array, expected, object, string, unknown};
use crate::value::{DottedPath, Object, Value};

type Result<T> = std::result::Result<T, DefinitionError>;

const MEMBERS: &str = "compare, block, prior, threshold, limit, largest_block, seed";
const TESTS: [&str; 6] = ["exact", "jaro_winkler", "damerau_levenshtein", "first", "within", "else"];
const LEVEL: &str = "exact, jaro_winkler, damerau_levenshtein, first, within, else, m, u";

impl Matching {
    /// Reads a model from JSON text. Members other than `compare` and `block` may be left out.
    ///
    /// # Errors
    ///
    /// A [`DefinitionError`] with the path and the reason, if the text is not JSON, has an unknown member or a value of
    /// the wrong kind, or gives probabilities that are none or that lack others; if nothing is compared, or with
    /// nobody; if a trait is compared twice; or if every blocking rule has a trait whose `m` is to be estimated.
    pub fn from_json(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| DefinitionError::new("", format!("not JSON: {error}")))?;
        Self::from_value(&value)
    }

    /// Reads a model from a JSON value.
    ///
    /// # Errors
    ///
    /// Those of [`from_json`](Self::from_json).
    pub fn from_value(value: &Value) -> Result<Self> {
        let mut matching = Self::default();
        for (name, value) in object("", value)? {
            match name.as_str() {
                "compare" => matching.comparisons = each("compare", value, comparison)?,
                "block" => matching.rules = each("block", value, |path, keys| each(path, keys, key))?,
                "prior" if value.is_null() => matching.prior = None,
                "prior" => matching.prior = Some(open(name, value)?),
                "threshold" => matching.threshold = threshold(name, value)?,
                "limit" => matching.limit = count(name, value, 1)?,
                "largest_block" => matching.largest_block = count(name, value, 2)?,
                "seed" => {
                    let seed = value.as_u64();
                    matching.seed = seed.ok_or_else(|| wanted(name, "a whole number from 0 on", value))?;
                }
                _ => return Err(unknown("", name, MEMBERS)),
            }
        }
        matching.whole()?;
        Ok(matching)
    }

    /// Whether the model could be read from JSON; what builders make is checked where it is used.
    ///
    /// # Errors
    ///
    /// Those of [`from_json`](Self::from_json).
    pub fn check(&self) -> Result<()> {
        self.checked().map(drop)
    }

    /// This model as it is when it has been written and read again.
    pub(crate) fn checked(&self) -> Result<Self> {
        Self::from_value(&self.to_value())
    }

    /// What the members must be to each other.
    fn whole(&self) -> Result<()> {
        let all = COMPARISONS;
        match self.comparisons.len() {
            0 => return Err(DefinitionError::new("compare", "no trait is compared")),
            many if many > all => {
                return Err(DefinitionError::new("compare", format!("{many} traits, {all} at most")));
            }
            _ => {}
        }
        if self.rules.is_empty() {
            return Err(DefinitionError::new("block", "no rule says who is compared with whom"));
        }
        for (index, rule) in self.rules.iter().enumerate() {
            if rule.is_empty() {
                return Err(DefinitionError::new(format!("block[{index}]"), "a rule without a key"));
            }
        }
        for (index, comparison) in self.comparisons.iter().enumerate() {
            let path = format!("compare[{index}]");
            let name = &comparison.path;
            if self.comparisons[..index].iter().any(|other| other.path == *name) {
                return Err(DefinitionError::new(format!("{path}.trait"), "compared twice"));
            }
            let estimated = comparison.levels.iter().all(|level| level.m.is_none());
            if estimated && !(0..self.rules.len()).any(|rule| self.tells(rule, index)) {
                let reason =
                    "every blocking rule has this trait, so none can tell its m: give it, or add a rule";
                return Err(DefinitionError::new(path, reason));
            }
        }
        Ok(())
    }

    /// The model as JSON, from which it can be read again.
    pub fn to_value(&self) -> Value {
        let compare: Vec<Value> = self.comparisons.iter().map(write_comparison).collect();
        let block: Vec<Vec<Value>> =
            self.rules.iter().map(|rule| rule.iter().map(write_key).collect()).collect();
        json!({
            "compare": compare, "block": block, "prior": self.prior, "threshold": self.threshold,
            "limit": self.limit, "largest_block": self.largest_block, "seed": self.seed,
        })
    }
}

impl serde::Serialize for Matching {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.to_value().serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for Matching {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Self::from_value(&Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// The elements of an array, each read with its path.
fn each<T>(path: &str, value: &Value, read: impl Fn(&str, &Value) -> Result<T>) -> Result<Vec<T>> {
    let elements = array(path, value)?.iter().enumerate();
    elements.map(|(index, element)| read(&format!("{path}[{index}]"), element)).collect()
}

fn comparison(path: &str, value: &Value) -> Result<TraitComparison> {
    let (mut name, mut levels, mut term_frequency) = (None, None, false);
    for (member, value) in object(path, value)? {
        let here = format!("{path}.{member}");
        match member.as_str() {
            "trait" => name = Some(trait_path(&here, value)?),
            "levels" => levels = Some(each(&here, value, level)?),
            "term_frequency" => {
                term_frequency = value.as_bool().ok_or_else(|| expected(&here, "a boolean", value))?;
            }
            _ => return Err(unknown(path, member, "trait, levels, term_frequency")),
        }
    }
    let missing = |member: &str| DefinitionError::new(path, format!("{member} is missing"));
    let name = name.ok_or_else(|| missing("trait"))?;
    let levels = levels.ok_or_else(|| missing("levels"))?;
    let comparison = TraitComparison { path: name, levels, term_frequency };
    check_levels(path, &comparison)?;
    Ok(comparison)
}

fn check_levels(path: &str, comparison: &TraitComparison) -> Result<()> {
    let levels = &comparison.levels;
    let here = format!("{path}.levels");
    let tests = levels.iter().filter(|level| level.test != Test::Else).count();
    if tests == 0 {
        return Err(DefinitionError::new(here, "no level besides \"else\""));
    }
    if tests >= LEVELS {
        return Err(DefinitionError::new(
            here,
            format!("{tests} levels besides \"else\", {} at most", LEVELS - 1),
        ));
    }
    if let Some(index) = levels.iter().position(|level| level.test == Test::Else)
        && index + 1 < levels.len()
    {
        return Err(DefinitionError::new(format!("{here}[{index}]"), "\"else\" must be the last level"));
    }
    if comparison.term_frequency && !levels.iter().any(|level| level.test == Test::Exact) {
        let reason = "counts with an exact level only, and there is none";
        return Err(DefinitionError::new(format!("{path}.term_frequency"), reason));
    }
    for (name, of) in
        [("m", (|level| level.m) as fn(&ComparisonLevel) -> Option<f64>), ("u", |level| level.u)]
    {
        if levels.iter().all(|level| of(level).is_none()) {
            continue;
        }
        if let Some(index) = levels.iter().position(|level| of(level).is_none()) {
            let reason = format!("{name} is missing: give it to every level of the trait, or to none");
            return Err(DefinitionError::new(format!("{here}[{index}]"), reason));
        }
        if tests == levels.len() {
            let reason = format!("{name} of \"else\" is missing: add that level");
            return Err(DefinitionError::new(here, reason));
        }
    }
    Ok(())
}

fn level(path: &str, value: &Value) -> Result<ComparisonLevel> {
    let members = object(path, value)?;
    let (mut m, mut u, mut test) = (None, None, None);
    for (member, value) in members {
        let here = format!("{path}.{member}");
        match member.as_str() {
            "m" => m = Some(closed(&here, value)?),
            "u" => u = Some(closed(&here, value)?),
            name if TESTS.contains(&name) && test.is_some() => {
                return Err(DefinitionError::new(path, "two tests in one level"));
            }
            name if TESTS.contains(&name) => test = Some(read_test(name, &here, value)?),
            _ => return Err(unknown(path, member, LEVEL)),
        }
    }
    match test {
        Some(test) => Ok(ComparisonLevel { test, m, u }),
        None => Err(DefinitionError::new(path, format!("no test, expected one of {}", TESTS.join(", ")))),
    }
}

fn read_test(name: &str, path: &str, value: &Value) -> Result<Test> {
    Ok(match name {
        "exact" | "else" if *value != Value::Bool(true) => return Err(expected(path, "true", value)),
        "exact" => Test::Exact,
        "else" => Test::Else,
        "jaro_winkler" => match value.as_f64() {
            Some(similarity) if similarity > 0.0 && similarity <= 1.0 => Test::JaroWinkler(similarity),
            _ => return Err(wanted(path, "a number above 0, 1 at most", value)),
        },
        "damerau_levenshtein" => Test::DamerauLevenshtein(small(path, value)?),
        "first" => Test::First(small(path, value)?),
        _ => within(path, value)?,
    })
}

fn within(path: &str, value: &Value) -> Result<Test> {
    match value {
        Value::String(text) => {
            let span: Span = text.parse().map_err(|error| DefinitionError::new(path, format!("{error}")))?;
            Ok(Test::WithinSpan(span))
        }
        _ => match value.as_f64() {
            Some(difference) if difference >= 0.0 => Ok(Test::Within(difference)),
            _ => Err(wanted(path, "a number from 0 on, or a duration (\"30d\")", value)),
        },
    }
}

fn key(path: &str, value: &Value) -> Result<BlockingKey> {
    let Some(members) = value.as_object() else {
        return Ok(BlockingKey { path: trait_path(path, value)?, first: None });
    };
    let (mut name, mut first) = (None, None);
    for (member, value) in members {
        let here = format!("{path}.{member}");
        match member.as_str() {
            "trait" => name = Some(trait_path(&here, value)?),
            "first" => first = Some(small(&here, value)?),
            _ => return Err(unknown(path, member, "trait, first")),
        }
    }
    let name = name.ok_or_else(|| DefinitionError::new(path, "trait is missing"))?;
    Ok(BlockingKey { path: name, first })
}

fn trait_path(path: &str, value: &Value) -> Result<String> {
    let text = string(path, value)?;
    let name = DottedPath::new(text);
    if !name.is_valid() {
        return Err(DefinitionError::new(path, "a trait without a name"));
    }
    Ok(name.to_string())
}

/// A probability that says something: neither 0 nor 1.
fn open(path: &str, value: &Value) -> Result<f64> {
    match value.as_f64() {
        Some(probability) if probability > 0.0 && probability < 1.0 => Ok(probability),
        _ => Err(wanted(path, "a probability between 0 and 1", value)),
    }
}

/// A probability of a level: 0 would make its weight infinite.
fn closed(path: &str, value: &Value) -> Result<f64> {
    match value.as_f64() {
        Some(probability) if probability > 0.0 && probability <= 1.0 => Ok(probability),
        _ => Err(wanted(path, "a probability above 0, 1 at most", value)),
    }
}

fn threshold(path: &str, value: &Value) -> Result<f64> {
    match value.as_f64() {
        Some(probability) if (0.0..1.0).contains(&probability) => Ok(probability),
        _ => Err(wanted(path, "a probability from 0 on, below 1", value)),
    }
}

fn count(path: &str, value: &Value, least: usize) -> Result<usize> {
    let count = value.as_u64().and_then(|count| usize::try_from(count).ok()).filter(|count| *count >= least);
    count.ok_or_else(|| wanted(path, &format!("a whole number from {least} on"), value))
}

fn small(path: &str, value: &Value) -> Result<u32> {
    let count = value.as_u64().and_then(|count| u32::try_from(count).ok()).filter(|count| *count > 0);
    count.ok_or_else(|| wanted(path, "a whole number from 1 on", value))
}

/// What should stand there instead: a number is shown, as it may be of the right kind.
fn wanted(path: &str, what: &str, found: &Value) -> DefinitionError {
    match found {
        Value::Number(number) => DefinitionError::new(path, format!("expected {what}, found {number}")),
        _ => expected(path, what, found),
    }
}

fn write_comparison(comparison: &TraitComparison) -> Value {
    let levels: Vec<Value> = comparison.levels.iter().map(write_level).collect();
    let mut written = json!({"trait": comparison.path, "levels": levels});
    if comparison.term_frequency {
        written["term_frequency"] = json!(true);
    }
    written
}

fn write_level(level: &ComparisonLevel) -> Value {
    let (name, value) = match level.test {
        Test::Exact => ("exact", json!(true)),
        Test::JaroWinkler(similarity) => ("jaro_winkler", json!(similarity)),
        Test::DamerauLevenshtein(edits) => ("damerau_levenshtein", json!(edits)),
        Test::First(characters) => ("first", json!(characters)),
        Test::Within(difference) => ("within", json!(difference)),
        Test::WithinSpan(span) => ("within", json!(span)),
        Test::Else => ("else", json!(true)),
    };
    let mut written = Object::new();
    written.insert(name.to_owned(), value);
    for (name, probability) in [("m", level.m), ("u", level.u)] {
        if let Some(probability) = probability {
            written.insert(name.to_owned(), json!(probability));
        }
    }
    Value::Object(written)
}

fn write_key(key: &BlockingKey) -> Value {
    match key.first {
        None => json!(key.path),
        Some(characters) => json!({"trait": key.path, "first": characters}),
    }
}
