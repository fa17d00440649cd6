//! A disk that fails in the middle, and power that is cut: at every write, truncation, sync and removal in turn.
//!
//! `faults/preload.c` stands between a child and the disk. It makes the n-th of them fail, or records them all, so that
//! what a disk may have at any moment can be put together afterwards: of each file everything up to its last sync, and of
//! what came later any part, torn or out of order. Names of files are taken to be on the disk at once, and a sync to keep
//! its promise. The steps are those of [`kills`](crate::kills).

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use customerdb::{Cdp, Durability, Error};

use crate::kills::{Dice, View, busy, is_maintenance, take_step, view};

const ROLE: &str = "CUSTOMERDB_FAULTS_ROLE";
const FOLDER: &str = "FAULTS_IN";
const LOG: &str = "FAULTS_LOG";

/// Tests are built without optimisation, then, and try fewer.
const IS_SLOW: bool = cfg!(debug_assertions);

const SEED: u64 = 3;

/// How many steps are taken.
const STEPS: u64 = if IS_SLOW { 12 } else { 30 };

/// A folder as the kernel names it, and a path in it.
fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap().join("customers.db");
    (folder, path)
}

/// What a database says that no fault has met, after no step, after one, after two…
fn views(steps: u64) -> Vec<View> {
    let cdp = busy().in_memory().unwrap();
    let mut views = vec![view(&cdp)];
    for step in 0..steps {
        take_step(&cdp, SEED, step).unwrap();
        views.push(view(&cdp));
    }
    views
}

/// Runs a child behind `preload.c` in a folder, and gives what it prints.
fn run_child(role: &str, folder: &Path, log: Option<&Path>) -> String {
    let built = tempfile::tempdir().unwrap();
    let library = built.path().join("preload.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/faults/preload.c");
    let compiled = Command::new("cc")
        .args(["-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .output()
        .unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "faults::a_child_behind_a_disk_of_its_own", "--ignored", "--nocapture"]);
    child.env(ROLE, role).env(FOLDER, folder).env("LD_PRELOAD", &library);
    if let Some(log) = log {
        child.env(LOG, log);
    }
    let output = child.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    out.into_owned()
}

/// Not a test: what children do.
#[test]
#[ignore = "run by other tests, in a process of its own"]
fn a_child_behind_a_disk_of_its_own() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let folder = PathBuf::from(std::env::var_os(FOLDER).unwrap());
    match &*role {
        "fail" => fail_everywhere(&folder),
        "full" => take_steps(&folder, Durability::Full),
        "normal" => take_steps(&folder, Durability::Normal),
        other => panic!("no such role: {other}"),
    }
}

// ---- a disk that fails ----

/// How often something failed, and what came of it.
#[derive(Default)]
struct Tally {
    tried: usize,
    refused: usize,
    done_all_the_same: usize,
}

/// The disk of a child, which fails when it is told to.
struct Disk {
    control: PathBuf,
    path: PathBuf,
}

impl Disk {
    /// Lets the n-th write, truncation, sync or removal from now on fail.
    fn fail(&self, n: usize, how: &str) {
        let (input_output, no_space) = (5, 28);
        let number = if how == "torn" { no_space } else { input_output };
        fs::write(&self.control, format!("fail {n} {number} {how}\n")).unwrap();
    }

    /// Lets none fail any more, and gives how many there were since.
    fn heal(&self) -> usize {
        fs::write(&self.control, "off\n").unwrap();
        fs::read_to_string(&self.control).unwrap().trim().parse().unwrap()
    }

    /// Puts files in the place of those that are there.
    fn put(&self, files: &BTreeMap<String, Vec<u8>>) {
        let folder = self.path.parent().unwrap();
        for name in ["customers.db", "customers.db-wal", "customers.db-shm", "customers.db-journal"] {
            let _ = fs::remove_file(folder.join(name));
        }
        for (name, bytes) in files {
            fs::write(folder.join(name), bytes).unwrap();
        }
    }

    /// The files as they lie there.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let folder = self.path.parent().unwrap();
        let names = ["customers.db", "customers.db-wal"].into_iter();
        names.filter_map(|name| Some((name.to_owned(), fs::read(folder.join(name)).ok()?))).collect()
    }

    fn open(&self) -> Cdp {
        busy().durability(Durability::Full).open(&self.path).unwrap()
    }
}

fn fail_everywhere(folder: &Path) {
    let disk = Disk { control: folder.join("control"), path: folder.join("customers.db") };
    let views = views(STEPS);
    let mut tally = Tally::default();
    drop(disk.open());
    disk.heal();
    for step in 0..STEPS {
        // As a process has left it that was killed, so that the log is brought home when it is opened.
        let killed = {
            let cdp = disk.open();
            cdp.advance().unwrap();
            disk.files()
        };
        let closed = disk.files();
        let around = views[usize::try_from(step).unwrap()..].first_chunk().unwrap();
        for (how, stride, wide) in [("once", 3, 7), ("torn", 5, 14), ("ever", 7, 21)] {
            let stride = if IS_SLOW { wide } else { stride };
            let first = 1 + usize::try_from(step).unwrap() % stride;
            for n in (first..).step_by(stride) {
                disk.put(&closed);
                if !fail_in_step(&disk, step, (n, how), around, &mut tally) {
                    break;
                }
            }
            for n in (first..).step_by(2 * stride) {
                disk.put(&killed);
                if !fail_from_opening_on(&disk, step, (n, how), around, &mut tally) {
                    break;
                }
            }
        }
        disk.put(&closed);
        take_step(&disk.open(), SEED, step).unwrap();
    }
    fail_backup_and_restore(&disk, &mut tally);
    let Tally { tried, refused, done_all_the_same } = tally;
    println!("{tried} faults: {refused} calls refused, {done_all_the_same} done all the same");
    assert!(refused > 20 && done_all_the_same > 20, "{tried}, {refused}, {done_all_the_same}");
}

/// An error that says that the disk is at fault.
fn is_the_disks(error: &Error) -> bool {
    matches!(error, Error::Full | Error::Storage(_) | Error::Io { .. })
}

/// Lets the disk fail in the middle of a step. False if the step is done before.
fn fail_in_step(
    disk: &Disk,
    step: u64,
    (n, how): (usize, &str),
    [before, after]: &[View; 2],
    tally: &mut Tally,
) -> bool {
    let whence = format!("step {step}, fault {n}, {how}");
    let cdp = disk.open();
    disk.fail(n, how);
    let done = take_step(&cdp, SEED, step);
    let met = disk.heal() >= n;
    tally.tried += usize::from(met);
    let found = view(&cdp);
    match &done {
        Ok(()) => {
            tally.done_all_the_same += usize::from(met);
            assert_eq!(&found, after, "{whence}: done, and is not there");
        }
        Err(error) => {
            tally.refused += 1;
            assert!(met && is_the_disks(error), "{whence}: {error:?}");
            // Maintenance is several transactions, of which the first may be done.
            assert!(
                &found == before || is_maintenance(SEED, step) && &found == after,
                "{whence}: {error:?} has left {found:#?}\nand not {before:#?}"
            );
        }
    }
    assert_eq!(cdp.check().unwrap(), [], "{whence}");
    // Whoever tries again on a sound disk is served, on the same handle or another.
    let is_done = done.is_ok() || &found != before;
    if n.is_multiple_of(2) && !is_done {
        take_step(&cdp, SEED, step).unwrap();
        assert_eq!(&view(&cdp), after, "{whence}, tried again");
    }
    drop(cdp);
    let cdp = disk.open();
    assert_eq!(cdp.check().unwrap(), [], "{whence}, opened again");
    let found = view(&cdp);
    // A commit that was refused may be on the disk all the same: whole, if at all.
    assert!(&found == after || &found == before && done.is_err(), "{whence}, opened again: {found:#?}");
    if &found != after {
        take_step(&cdp, SEED, step).unwrap();
    }
    assert_eq!(cdp.maintain().unwrap().waiting, 0, "{whence}");
    assert_eq!(cdp.check().unwrap(), [], "{whence}, put in order");
    met
}

/// Lets the disk fail from the moment on in which a file is opened that a process has left which was killed, until it is
/// closed. False if it is closed before.
fn fail_from_opening_on(
    disk: &Disk,
    step: u64,
    (n, how): (usize, &str),
    [before, after]: &[View; 2],
    tally: &mut Tally,
) -> bool {
    let whence = format!("step {step}, fault {n} from opening on, {how}");
    disk.fail(n, how);
    let done = busy().open(&disk.path).and_then(|cdp| take_step(&cdp, SEED, step));
    let met = disk.heal() >= n;
    tally.tried += usize::from(met);
    match &done {
        Ok(()) => tally.done_all_the_same += usize::from(met),
        Err(error) => {
            tally.refused += 1;
            assert!(met && is_the_disks(error), "{whence}: {error:?}");
        }
    }
    let cdp = disk.open();
    assert_eq!(cdp.check().unwrap(), [], "{whence}");
    let found = view(&cdp);
    assert!(&found == after || &found == before && done.is_err(), "{whence}: {found:#?}");
    met
}

/// Lets the disk fail at every place of a backup, and of a restore. A part that cannot be removed is the next one's to clear
/// away.
fn fail_backup_and_restore(disk: &Disk, tally: &mut Tally) {
    let (copy, kept) = (disk.path.with_file_name("copy.db"), disk.path.with_file_name("kept.db"));
    let cdp = disk.open();
    let before = view(&cdp);
    cdp.backup(&kept).unwrap();
    let stride = if IS_SLOW { 29 } else { 3 };
    for n in (1..).step_by(stride) {
        let _ = fs::remove_file(&copy);
        disk.fail(n, if n % 4 == 0 { "torn" } else { "once" });
        let done = cdp.backup(&copy);
        let met = disk.heal() >= n;
        tally.tried += usize::from(met);
        match done {
            Ok(()) => {
                tally.done_all_the_same += usize::from(met);
                let copied = busy().open(&copy).unwrap();
                assert_eq!(copied.check().unwrap(), [], "backup, fault {n}");
                assert_eq!(view(&copied), before, "backup, fault {n}");
            }
            Err(error) => {
                tally.refused += 1;
                assert!(met && is_the_disks(&error), "backup, fault {n}: {error:?}");
                assert!(!copy.exists(), "backup, fault {n}");
            }
        }
        if !met {
            break;
        }
    }
    let person = cdp.profiles().unwrap().remove(0);
    cdp.erase(person.id).unwrap();
    let erased = view(&cdp);
    drop(cdp);
    let closed = disk.files();
    let mut restored = None;
    for n in (1..).step_by(stride) {
        disk.put(&closed);
        disk.fail(n, if n % 4 == 0 { "torn" } else { "once" });
        let done = busy().restore(&kept, &disk.path);
        let met = disk.heal() >= n;
        tally.tried += usize::from(met);
        let cdp = disk.open();
        assert_eq!(cdp.check().unwrap(), [], "restore, fault {n}");
        match done {
            Ok(done) => {
                tally.done_all_the_same += usize::from(met);
                assert_eq!(done.people, 1, "restore, fault {n}");
                let found = view(&cdp);
                assert_eq!(&found, restored.get_or_insert_with(|| view(&cdp)), "restore, fault {n}");
            }
            Err(error) => {
                tally.refused += 1;
                assert!(met, "restore, fault {n}: {error:?}");
                assert_eq!(view(&cdp), erased, "restore, fault {n}");
            }
        }
        assert!(cdp.profile(&person.name).unwrap().is_none(), "restore, fault {n}");
        if !met {
            break;
        }
    }
}

#[test]
fn whichever_write_or_sync_fails_a_call_is_done_or_has_left_nothing() {
    let (folder, path) = place();
    print!("{}", run_child("fail", path.parent().unwrap(), None));
    drop(folder);
}

// ---- a disk that is full ----

/// The largest size of the file, page by page, through all steps: whatever does not fit is refused, and nothing else is
/// different.
#[test]
fn at_every_size_of_the_disk_a_step_is_taken_or_has_left_nothing() {
    const STEPS: u64 = 40;
    let views = views(STEPS);
    let (_folder, path) = place();
    let page = 4_096;
    drop(busy().open(&path).unwrap());
    let empty = fs::metadata(&path).unwrap().len() / page;
    let (mut refused, mut whole) = (0, false);
    for pages in (empty..).step_by(if IS_SLOW { 3 } else { 1 }) {
        let (_folder, path) = place();
        let limited = || busy().durability(Durability::Normal).max_file_bytes(pages * page);
        // What the file may hold is less than what a step takes from time to time, which others find room for.
        let model = busy().in_memory().unwrap();
        // The first commit, by which the rules are set, may not fit either.
        let Ok(mut cdp) = limited().open(&path) else { continue };
        let mut all = true;
        for step in 0..STEPS {
            let whence = format!("{pages} pages, step {step}");
            match take_step(&cdp, SEED, step) {
                Ok(()) => take_step(&model, SEED, step).unwrap(),
                Err(error) => {
                    assert!(matches!(error, Error::Full), "{whence}: {error:?}");
                    (refused, all) = (refused + 1, false);
                    if is_maintenance(SEED, step) && view(&cdp) != view(&model) {
                        take_step(&model, SEED, step).unwrap();
                    }
                }
            }
            if step % 5 == 4 || !all {
                assert_eq!(view(&cdp), view(&model), "{whence}");
            }
            if step % 7 == 6 {
                drop(cdp);
                cdp = limited().open(&path).unwrap();
                assert_eq!(view(&cdp), view(&model), "{whence}, opened again");
                assert_eq!(cdp.check().unwrap(), [], "{whence}");
            }
        }
        assert_eq!(cdp.check().unwrap(), [], "{pages} pages");
        if all {
            assert_eq!(view(&cdp), views[views.len() - 1]);
            whole = true;
            break;
        }
    }
    assert!(whole && refused > 5, "the range of sizes is too short: {refused}");
}

// ---- power that is cut ----

/// Takes all steps, and says after each that it is taken, in a file that is recorded with the others.
fn take_steps(folder: &Path, durability: Durability) {
    let mut told = fs::File::create(folder.join("acks")).unwrap();
    let cdp = busy().durability(durability).open(folder.join("customers.db")).unwrap();
    for step in 0..STEPS {
        take_step(&cdp, SEED, step).unwrap();
        told.write_all(&[u8::try_from(step + 1).unwrap()]).unwrap();
    }
    // The rest, what closing does, is as good as any other moment.
}

/// One thing that was done to a file.
struct Done {
    letter: u8,
    name: String,
    at: usize,
    bytes: Vec<u8>,
}

impl Done {
    /// Reads a record of `preload.c`.
    fn read(log: &mut &[u8]) -> Option<Self> {
        fn take<'l>(log: &mut &'l [u8], length: usize) -> &'l [u8] {
            let (taken, rest) = log.split_at(length);
            *log = rest;
            taken
        }
        let size = |bytes: &[u8]| usize::try_from(u32::from_ne_bytes(bytes.try_into().unwrap())).unwrap();
        if log.is_empty() {
            return None;
        }
        let letter = take(log, 1)[0];
        let length = size(take(log, 4));
        let name = String::from_utf8(take(log, length).to_vec()).unwrap();
        let at = usize::try_from(u64::from_ne_bytes(take(log, 8).try_into().unwrap())).unwrap();
        let length = size(take(log, 4));
        Some(Self { letter, name, at, bytes: take(log, length).to_vec() })
    }

    /// Does it again; of a write so many bytes.
    fn repeat(&self, files: &mut BTreeMap<String, Vec<u8>>, length: usize) {
        let file = files.entry(self.name.clone()).or_default();
        match self.letter {
            b'w' => {
                let end = self.at + length.min(self.bytes.len());
                file.resize(file.len().max(end), 0);
                file[self.at..end].copy_from_slice(&self.bytes[..end - self.at]);
            }
            b't' => file.resize(self.at, 0),
            _ => {}
        }
    }
}

/// What a disk has, and what has not come to it yet.
#[derive(Default)]
struct Platter<'d> {
    safe: BTreeMap<String, Vec<u8>>,
    loose: Vec<&'d Done>,
    /// How many steps were told to be taken.
    acknowledged: usize,
}

impl<'d> Platter<'d> {
    fn take(&mut self, done: &'d Done) {
        match (done.letter, &*done.name) {
            (b'w', "acks") => self.acknowledged = done.bytes[0].into(),
            (_, "acks") => {}
            (b's', name) => {
                let (synced, loose) = self.loose.iter().partition(|done| done.name == name);
                let synced: Vec<&Done> = synced;
                self.loose = loose;
                for done in synced {
                    done.repeat(&mut self.safe, usize::MAX);
                }
            }
            (b'u', name) => {
                self.safe.remove(name);
                self.loose.retain(|done| done.name != name);
            }
            _ => self.loose.push(done),
        }
    }

    /// What may be there after a power cut: of what is loose nothing, all but for a piece of the last, or any part.
    fn after_a_cut(&self, how: usize, dice: &mut Dice) -> BTreeMap<String, Vec<u8>> {
        let mut files = self.safe.clone();
        let last = self.loose.len().saturating_sub(1);
        for (index, done) in self.loose.iter().enumerate() {
            let torn = usize::try_from(dice.roll(1 + done.bytes.len() as u64)).unwrap();
            match how {
                0 => {}
                1 => done.repeat(&mut files, if index == last { torn } else { usize::MAX }),
                _ if dice.roll(2) == 0 => {}
                _ => done.repeat(&mut files, if dice.roll(4) == 0 { torn } else { usize::MAX }),
            }
        }
        files
    }
}

/// Whoever is erased after so many steps, by what they were called.
fn erased() -> Vec<Vec<String>> {
    let cdp = busy().in_memory().unwrap();
    let mut erased = vec![Vec::new()];
    for step in 0..STEPS {
        take_step(&cdp, SEED, step).unwrap();
        let persons = (0..12).map(|n| ("user_id", format!("person-{n:02}")));
        let named = persons.chain((0..30).map(|n| ("anonymous_id", format!("device-{n:02}"))));
        let gone = named.filter(|(kind, value)| cdp.is_suppressed(format!("{kind}:{value}")).unwrap());
        erased.push(gone.map(|(_, value)| value).collect());
    }
    erased
}

fn cut_everywhere(role: &str, samples: usize) {
    let full = role == "full";
    let (folder, path) = place();
    let elsewhere = tempfile::tempdir().unwrap();
    let log = elsewhere.path().join("log");
    run_child(role, path.parent().unwrap(), Some(&log));
    let log = fs::read(&log).unwrap();
    let all: Vec<Done> = std::iter::from_fn({
        let mut rest = &log[..];
        move || Done::read(&mut rest)
    })
    .collect();
    let (views, erased) = (views(STEPS), erased());
    let stride = (all.len() * 3).div_ceil(samples).max(1);
    let (mut platter, mut cuts, mut lost) = (Platter::default(), 0, 0);
    for (index, done) in all.iter().enumerate() {
        platter.take(done);
        for how in (0..3).filter(|how| (index * 3 + how) % stride == 0) {
            let whence = format!("{role}: cut after {index} of {}, in the manner {how}", all.len());
            let (_folder, path) = place();
            let files = platter.after_a_cut(how, &mut Dice::of(SEED, index as u64));
            for (name, bytes) in &files {
                fs::write(path.with_file_name(name), bytes).unwrap();
            }
            let acknowledged = platter.acknowledged;
            for gone in &erased[acknowledged] {
                let found = files
                    .iter()
                    .find(|(_, bytes)| bytes.windows(gone.len()).any(|window| window == gone.as_bytes()));
                assert!(found.is_none(), "{whence}: {gone} is in {}", found.unwrap().0);
            }
            let cdp = busy()
                .durability(Durability::Normal)
                .open(&path)
                .unwrap_or_else(|error| panic!("{whence}: {error:?}"));
            assert_eq!(cdp.check().unwrap(), [], "{whence}");
            let found = view(&cdp);
            let least = if full { acknowledged } else { 0 };
            let most = (acknowledged + 1).min(views.len() - 1);
            let Some(step) = (least..=most).rev().find(|step| views[*step] == found) else {
                panic!("{whence}: after {acknowledged} steps {found:#?}");
            };
            cuts += 1;
            lost += usize::from(step < acknowledged);
            if cuts % 8 == 0 {
                // And goes on from there.
                for step in u64::try_from(step).unwrap()..STEPS {
                    take_step(&cdp, SEED, step).unwrap();
                }
                assert_eq!(view(&cdp), views[views.len() - 1], "{whence}, and on");
                assert_eq!(cdp.check().unwrap(), [], "{whence}, and on");
            }
        }
    }
    println!("{role}: {} records, {cuts} cuts, {lost} of them lost acknowledged steps", all.len());
    assert!(cuts > 50, "{cuts} cuts");
    assert_eq!(lost > 0, !full, "{lost} of {cuts} cuts lost acknowledged steps");
    drop(folder);
}

#[test]
fn a_power_cut_takes_nothing_acknowledged() {
    cut_everywhere("full", if IS_SLOW { 120 } else { 900 });
}

#[test]
fn with_less_durability_a_power_cut_takes_the_last_steps_and_damages_nothing() {
    cut_everywhere("normal", if IS_SLOW { 120 } else { 900 });
}
