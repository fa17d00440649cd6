//! What `docs/guarantees.md` promises is held by tests that exist.

use std::path::Path;

#[test]
fn every_promise_names_a_test_that_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let promises = std::fs::read_to_string(root.join("docs/guarantees.md")).unwrap();
    let promises = promises.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| promise"));
    let mut found = 0;
    for promise in promises {
        let tests = promise.rsplit('|').nth(1).unwrap();
        let names: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test: {promise}");
        for name in names {
            let (module, test) = (name.split("::").next().unwrap(), name.rsplit("::").next().unwrap());
            let source = std::fs::read_to_string(root.join(format!("tests/it/{module}.rs"))).unwrap();
            assert!(source.contains(&format!("fn {test}(")), "{name} is no test");
            found += 1;
        }
    }
    assert!(found > 40, "{found} tests are found");
}
