//! The walls of the house (`DESIGN` §1), held by reading `src/`: who may import whom, and who may name what.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const VOCABULARY: [&str; 5] = ["id", "value", "clock", "error", "event"];

/// The stages and what stands beside them: each with the rules that it may use.
const RULES: [(&str, &[&str]); 6] = [
    ("identity", &[]),
    ("profile", &["identity"]),
    ("segment", &["identity", "profile"]),
    ("activation", &["identity", "profile", "segment"]),
    ("analytics", &["identity", "profile", "segment", "activation"]),
    ("privacy", &["identity", "profile", "segment", "activation"]),
];

/// Beside the facade `lib`, which may do nothing but name all others.
const SHELL: [&str; 3] = ["pipeline", "cdp", "builder"];

/// The modules that a module may import, `None` for a module that the house does not know.
fn allowed(module: &str) -> Option<Vec<&'static str>> {
    if VOCABULARY.contains(&module) {
        return Some(VOCABULARY.to_vec());
    }
    if let Some((_, left)) = RULES.iter().find(|(name, _)| *name == module) {
        return Some([&VOCABULARY[..], left].concat());
    }
    let below = || [&VOCABULARY[..], &RULES.map(|(name, _)| name)].concat();
    match module {
        "store" => Some(below()),
        "pipeline" | "cdp" | "builder" | "lib" => Some([&below()[..], &["store"], &SHELL].concat()),
        _ => None,
    }
}

/// A crate, or a name, and the only places where it may stand.
const OWNED: [(&str, &[&str]); 8] = [
    ("rusqlite", &["store", "error"]),
    ("petgraph", &["identity"]),
    ("strsim", &["identity"]),
    ("SystemTime", &["clock"]),
    ("Instant::now", &["clock"]),
    ("Utc::now", &["clock"]),
    ("Local::now", &["clock"]),
    ("PRAGMA", &["store"]),
];

const BANNED: [&str; 4] = [".unwrap()", "todo!", "unimplemented!", "dbg!"];

const LONGEST: usize = 600;

/// The module of the first level that a file below `src/` belongs to.
fn module_of(file: &Path) -> String {
    let first =
        file.components().next().expect("a file has a name").as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// The lines of a file without its comments, its tests and the insides of its strings' macros, with their numbers.
fn code(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut skipped = None;
    let mut pending = false;
    for (index, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let bare = line.trim();
        if let Some(depth) = skipped {
            // rustfmt closes a block at the indent at which it was opened.
            if indent == depth && bare.starts_with('}') {
                skipped = None;
            }
            continue;
        }
        if bare.starts_with("#[cfg(test)]") {
            pending = true;
            continue;
        }
        if pending {
            if bare.starts_with("#[") {
                continue;
            }
            pending = false;
            if bare.ends_with('{') {
                skipped = Some(indent);
            }
            continue;
        }
        let uncommented = if bare.starts_with("//") { "" } else { bare.split(" // ").next().unwrap_or("") };
        lines.push((index + 1, uncommented.to_owned()));
    }
    lines
}

/// The modules of the first level that a file names, each with the line that does.
fn imports(module: &str, depth: usize, lines: &[(usize, String)]) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let mut add = |name: &str, line: usize| {
        let name: String = name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if name.starts_with(|c: char| c.is_lowercase()) {
            found.entry(name).or_insert(line);
        }
    };
    // A tree of names may span lines: `use crate::{` … `};`.
    let mut open = false;
    for (number, line) in lines {
        if open {
            line.split([',', '{', '}']).for_each(|part| add(part.trim(), *number));
            open = !line.contains("};");
            continue;
        }
        for (place, _) in line.match_indices("crate::") {
            let rest = &line[place + "crate::".len()..];
            match rest.strip_prefix('{') {
                Some(tree) => {
                    tree.split([',', '}']).for_each(|part| add(part.trim(), *number));
                    open = !tree.contains('}');
                }
                None => add(rest, *number),
            }
        }
        // Up and out of the module by `super`.
        let up = "super::".repeat(depth + 1);
        for (place, _) in line.match_indices(&up) {
            add(&line[place + up.len()..], *number);
        }
    }
    found.remove(module);
    found
}

/// What is wrong with one file; `modules` are the names of the first level.
fn faults(file: &Path, text: &str, modules: &BTreeSet<String>) -> Vec<String> {
    let module = module_of(file);
    let lines = code(text);
    let mut faults = Vec::new();
    let mut fault = |line: usize, what: String| faults.push(format!("src/{}:{line}: {what}", file.display()));
    let is_test = file.with_extension("").components().any(|part| part.as_os_str() == "tests");
    let Some(allowed) = allowed(&module) else {
        fault(1, format!("module {module:?} has no place in the house: give it one in DESIGN §1 and here"));
        return faults;
    };
    let depth =
        file.components().count() - 1 - usize::from(file.file_stem().is_some_and(|stem| stem == "mod"));
    for (import, line) in imports(&module, depth, &lines) {
        if modules.contains(&import) && !allowed.contains(&&*import) && !is_test {
            fault(line, format!("{module} imports {import}, but may import only: {}", allowed.join(", ")));
        }
    }
    if is_test {
        return faults;
    }
    for (number, line) in &lines {
        for (name, owners) in OWNED {
            if line.contains(name) && !owners.contains(&&*module) {
                fault(*number, format!("{name} may be named in {} only", owners.join(" and ")));
            }
        }
        for banned in BANNED.into_iter().filter(|banned| line.contains(banned)) {
            fault(*number, format!("{banned} outside tests: return an error, or say why it cannot happen"));
        }
    }
    if lines.len() > LONGEST {
        fault(LONGEST, format!("{} lines outside tests, {LONGEST} at most: it wants to be two", lines.len()));
    }
    faults
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

fn source() -> (PathBuf, Vec<PathBuf>, BTreeSet<String>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files: Vec<PathBuf> =
        files(&root).into_iter().map(|path| path.strip_prefix(&root).unwrap().to_owned()).collect();
    let modules = files.iter().map(|file| module_of(file)).collect();
    (root, files, modules)
}

#[test]
fn every_module_stays_in_its_place() {
    let (root, files, modules) = source();
    assert!(files.len() > 30, "src/ was found");
    let faults: Vec<String> = files
        .iter()
        .flat_map(|file| faults(file, &std::fs::read_to_string(root.join(file)).unwrap(), &modules))
        .collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn the_facade_holds_nothing_but_names() {
    let (root, ..) = source();
    let text = std::fs::read_to_string(root.join("lib.rs")).unwrap();
    for (number, line) in code(&text) {
        let named = line.starts_with("mod ") || line.starts_with("pub use ") || line.starts_with("#![");
        let within = line.is_empty() || line.ends_with(',') || line == "};" || line == "}";
        assert!(named || within, "src/lib.rs:{number}: not a module, a re-export or an attribute: {line}");
    }
}

/// A checker that finds nothing is as good as none.
#[test]
fn the_checker_finds_what_is_out_of_place() {
    let (_, _, modules) = source();
    for (file, text, expected) in [
        ("identity/x.rs", "use crate::profile::Profile;", "src/identity/x.rs:1: identity imports profile"),
        (
            "identity/x.rs",
            "\nuse crate::{\n    id::Identifier,\n    store::Db,\n};",
            "src/identity/x.rs:4: identity imports store",
        ),
        ("id.rs", "use crate::{clock::Timestamp, segment::Segment};", "src/id.rs:1: id imports segment"),
        ("event/mod.rs", "fn f(of: &crate::cdp::Cdp) {}", "src/event/mod.rs:1: event imports cdp"),
        ("profile.rs", "use super::segment::Condition;", "src/profile.rs:1: profile imports segment"),
        ("segment/x.rs", "use super::super::store::Db;", "src/segment/x.rs:1: segment imports store"),
        ("store/mod.rs", "use crate::pipeline::State;", "src/store/mod.rs:1: store imports pipeline"),
        (
            "cdp.rs",
            "use rusqlite::Connection;",
            "src/cdp.rs:1: rusqlite may be named in store and error only",
        ),
        (
            "segment/x.rs",
            "use petgraph::Graph;",
            "src/segment/x.rs:1: petgraph may be named in identity only",
        ),
        (
            "builder.rs",
            "let now = chrono::Utc::now();",
            "src/builder.rs:1: Utc::now may be named in clock only",
        ),
        ("value/x.rs", "    let x = y.unwrap();", "src/value/x.rs:1: .unwrap() outside tests"),
        ("cdp/x.rs", "todo!()", "src/cdp/x.rs:1: todo! outside tests"),
        ("utils.rs", "", "src/utils.rs:1: module \"utils\" has no place in the house"),
        ("value/x.rs", &"// x\n".repeat(601), "src/value/x.rs:600: 601 lines outside tests, 600 at most"),
    ] {
        let faults = faults(Path::new(file), text, &modules);
        assert_eq!(faults.len(), 1, "{text}: {faults:?}");
        assert!(faults[0].starts_with(expected), "{}", faults[0]);
    }
}

#[test]
fn the_checker_lets_pass_what_is_in_its_place() {
    let (_, _, modules) = source();
    let tests = "#[cfg(test)]\nmod tests {\n    use crate::Cdp;\n    fn f() {\n        x.unwrap();\n        crate::store::f();\n    }\n}\n";
    for (file, text) in [
        (
            "segment/x.rs",
            "use crate::profile::History;\nuse super::at::At;\nuse crate::{clock, id::Namespace};",
        ),
        ("store/x.rs", "use rusqlite::Row;\nuse crate::segment::Segment;"),
        (
            "identity/x.rs",
            "//! As petgraph and [`crate::store`] know.\n/// `x.unwrap()`\nuse petgraph::graph::Graph;",
        ),
        ("pipeline/mod.rs", "use crate::store::Db;\nuse crate::identity::{Draft};"),
        ("id.rs", tests),
        ("segment/tests.rs", "fn f() { x.unwrap() }"),
    ] {
        assert_eq!(faults(Path::new(file), text, &modules), Vec::<String>::new(), "{text}");
    }
}
