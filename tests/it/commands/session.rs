//! A conversation with `cdp run`.

use std::fs::DirEntry;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::LazyLock;
use std::time::SystemTime;

use serde_json::{Value, json};
use tempfile::TempDir;

/// The example's binary, which `cargo test` builds before it runs anything.
///
/// `cargo test --test it` does not, and would test an old one without a word, were it not for the check here.
pub(super) fn cdp() -> Command {
    static BINARY: LazyLock<PathBuf> = LazyLock::new(|| {
        let test = std::env::current_exe().unwrap();
        let profile = test.parent().and_then(Path::parent).unwrap();
        let path = profile.join("examples").join(format!("cdp{}", std::env::consts::EXE_SUFFIX));
        let built = path.metadata().and_then(|found| found.modified()).ok();
        let sources = ["src", "examples/cdp"].map(|name| Path::new(env!("CARGO_MANIFEST_DIR")).join(name));
        let written = sources.iter().filter_map(|folder| latest(folder)).max();
        assert!(
            built.is_some() && built >= written,
            "{}: run `cargo build --example cdp` first",
            path.display()
        );
        path
    });
    Command::new(&*BINARY)
}

/// When a file in a folder, however deep, was written last.
fn latest(folder: &Path) -> Option<SystemTime> {
    let entries = folder.read_dir().ok()?.filter_map(Result::ok);
    let written = |entry: DirEntry| {
        let path = entry.path();
        if path.is_dir() { latest(&path) } else { entry.metadata().and_then(|found| found.modified()).ok() }
    };
    entries.filter_map(written).max()
}

/// A running `cdp run` and the folder of its file.
pub(super) struct Session {
    child: Child,
    pub(super) requests: Option<ChildStdin>,
    pub(super) answers: BufReader<ChildStdout>,
    pub(super) folder: TempDir,
}

impl Session {
    pub(super) fn new() -> Self {
        Self::configured("{}")
    }

    /// One with that configuration.
    pub(super) fn configured(json: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let config = folder.path().join("configuration.json");
        std::fs::write(&config, json).unwrap();
        let mut command = cdp();
        command.arg("--db").arg(folder.path().join("test.db")).arg("--config").arg(config).arg("run");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (requests, answers) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, requests, answers, folder }
    }

    pub(super) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(super) fn write(&mut self, text: &[u8]) {
        self.requests.as_mut().unwrap().write_all(text).unwrap();
    }

    pub(super) fn read(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "an answer is a whole line: {line:?}");
        line
    }

    /// Sends a line, and gives the answer's line.
    pub(super) fn line(&mut self, request: &str) -> String {
        self.write(format!("{request}\n").as_bytes());
        self.read()
    }

    #[track_caller]
    pub(super) fn ok(&mut self, request: &Value) -> Value {
        let answer: Value = serde_json::from_str(&self.line(&request.to_string())).unwrap();
        assert_eq!(answer.as_object().unwrap().keys().collect::<Vec<_>>(), ["ok"], "{request}: {answer}");
        answer["ok"].clone()
    }

    #[track_caller]
    pub(super) fn error(&mut self, request: &str) -> (String, String) {
        let answer: Value = serde_json::from_str(&self.line(request)).unwrap();
        assert_eq!(answer.as_object().unwrap().keys().collect::<Vec<_>>(), ["error"], "{request}: {answer}");
        let text = |name: &str| answer["error"][name].as_str().unwrap().to_owned();
        (text("kind"), text("message"))
    }

    /// A session in which a device turned out to be Xiaoming's, and was then used by another.
    pub(super) fn with_two_people() -> Self {
        let mut session = Self::new();
        session.ok(&json!({"do": "now", "at": "2024-06-01T00:00:00Z"}));
        let report = session.ok(&json!({"do": "ingest", "source": "web", "events": [
            {"type": "track", "event": "Search", "anonymousId": "d7", "messageId": "m0",
             "timestamp": "2024-05-01T10:00:00Z", "properties": {"query": "Antarctica"}},
            {"type": "identify", "userId": "xm", "anonymousId": "d7", "messageId": "m1",
             "timestamp": "2024-05-02T10:00:00Z", "traits": {"city": "Beijing", "children": 1}},
            {"type": "identify", "userId": "xm", "messageId": "m2",
             "timestamp": "2024-05-03T10:00:00Z", "traits": {"city": "Wuhan"}},
            {"type": "group", "userId": "xm", "groupId": "acme", "messageId": "m3",
             "timestamp": "2024-05-04T10:00:00Z", "traits": {"plan": "gold"}},
            {"type": "identify", "userId": "u2", "anonymousId": "d7", "messageId": "m4",
             "timestamp": "2024-05-05T10:00:00Z", "traits": {"city": "Oslo"}},
        ]}));
        assert_eq!(report["accepted"], 5, "{report}");
        session
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.requests.take());
        let status = self.child.wait();
        if !std::thread::panicking() {
            assert!(status.unwrap().success(), "run ends well when its input ends");
        }
    }
}
