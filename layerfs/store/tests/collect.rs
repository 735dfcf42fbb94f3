//! Collecting beside others: nothing that a living process uses goes, nothing that a name leads to goes, and what a
//! dead process held is nobody's.
//!
//! The children are this test's own executable, which runs one ignored test.
#![allow(clippy::unwrap_used)]

use cooper_image::assemble::{Format, assemble};
use cooper_image::{Descriptor, DiffId, Digest, ImageConfig, MediaType, Platform, Reference};
use cooper_store::{Doing, Fate, Keeps, Kind, Policy, Removed, StepRecord, Store};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// Far later than anything that a test makes.
const LATER: i64 = 4_000_000_000;
/// Processes that build at once.
const BUILDERS: usize = 14;
/// Processes that collect meanwhile.
const COLLECTORS: usize = 2;
const ROUNDS: usize = 60;

fn everything() -> Policy {
    Policy { keep: None, max_bytes: None, kinds: Vec::new(), names: Vec::new(), doing: Doing::Delete }
}

fn start(root: &Path, role: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "child", "--nocapture"])
        .env("CHILD_ROOT", root)
        .env("CHILD_ROLE", role)
        .stdout(Stdio::piped())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap()
}

fn wait_for_line(out: &mut BufReader<ChildStdout>, line: &str) {
    let mut text = String::new();
    while !text.trim_end().ends_with(line) {
        text.clear();
        assert!(out.read_line(&mut text).unwrap() > 0, "the child ended without {line:?}");
    }
}

#[test]
#[ignore = "runs as a child of the other tests"]
fn child() {
    let root = std::env::var_os("CHILD_ROOT").unwrap();
    let store = Store::open(Path::new(&root)).unwrap();
    match std::env::var("CHILD_ROLE").unwrap().split_once(' ') {
        Some(("build", n)) => (0..ROUNDS).for_each(|round| build(&store.holding(), n.parse().unwrap(), round)),
        Some(("collect", _)) => collect_until_told(&store),
        Some(("suspend", _)) => suspend(&store.holding()),
        other => panic!("no such role: {other:?}"),
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "{line}").and_then(|()| out.flush()).unwrap();
}

fn collect_until_told(store: &Store) {
    let told = std::thread::spawn(|| std::io::stdin().lines().for_each(drop));
    while !told.is_finished() {
        store.collect(&everything(), LATER).unwrap();
    }
}

/// A layer that several processes have in common, as a tree and as a tar, and an image of it.
fn build(store: &Store, n: usize, round: usize) {
    // Few different ones: they are made, found, named and deleted over and over.
    let content = format!("layer {}", (n + round) % 5);
    let key = Digest::sha256(format!("key of {content}"));
    let diff = match store.record(&key).unwrap().and_then(|r| r.layer).filter(|d| has(store, d)) {
        Some(found) => found,
        None => make_layer(store, &key, &content),
    };
    let mut config = ImageConfig::scratch(&Platform::linux("amd64"));
    config.rootfs.diff_ids = vec![diff.clone()];
    let layer = Descriptor::new(MediaType::OciLayer, diff.0.clone(), content.len() as u64);
    let image = assemble(&config, vec![layer], Format::Oci, Default::default()).unwrap();
    store.put_blob(&image.config).unwrap();
    store.put_blob(&image.manifest).unwrap();
    let name: Reference = format!("app{n}:{}", round % 2).parse().unwrap();
    let lazily = round.is_multiple_of(3);
    store.set_ref(&name, if lazily { &image.config_descriptor } else { &image.descriptor }).unwrap();
    // What was found or made is there still, whole, whoever collects.
    assert_eq!(std::fs::read(store.layer(&diff).unwrap().tree.unwrap().join("f")).unwrap(), content.as_bytes());
    assert_eq!(store.read_blob(&image.config_descriptor, 1 << 20).unwrap().get(), &image.config);
    if round.is_multiple_of(4) {
        assert_eq!(store.remove_ref(&name).unwrap(), Removed::Yes);
    }
}

fn has(store: &Store, diff: &DiffId) -> bool {
    let forms = store.layer(diff).unwrap();
    forms.tree.is_some() && forms.tar.is_some()
}

fn make_layer(store: &Store, key: &Digest, content: &str) -> DiffId {
    let diff = DiffId(store.put_blob(content.as_bytes()).unwrap());
    let ingest = store.ingest().unwrap();
    let tree = ingest.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(tree.join("f"), content).unwrap();
    store.publish_tree(&tree, &diff).unwrap();
    let record = StepRecord {
        version: 1,
        key: key.clone(),
        slot: "slot".to_owned(),
        parts: BTreeMap::new(),
        files: BTreeMap::new(),
        base: None,
        layer: Some(diff.clone()),
        created_unix: 1,
    };
    store.put_record(&record).unwrap();
    diff
}

/// Stops itself at each point at which somebody could delete what it is about to use.
fn suspend(store: &Store) {
    let stop = |at: &str| {
        say(at);
        let me = std::process::id().to_string();
        assert!(Command::new("kill").args(["-STOP", &me]).status().unwrap().success());
    };
    let mut writer = store.blob_writer().unwrap();
    writer.write_all(b"half of it").unwrap();
    stop("half written");
    writer.write_all(b", and the rest").unwrap();
    let (digest, size) = writer.commit(None).unwrap();
    let diff = DiffId(digest);
    stop("not named yet");
    let layer = Descriptor::new(MediaType::OciLayer, diff.0.clone(), size);
    let mut config = ImageConfig::scratch(&Platform::linux("amd64"));
    config.rootfs.diff_ids = vec![diff];
    let image = assemble(&config, vec![layer], Format::Oci, Default::default()).unwrap();
    store.put_blob(&image.config).unwrap();
    store.put_blob(&image.manifest).unwrap();
    stop("documents not named yet");
    store.set_ref(&"suspended".parse().unwrap(), &image.descriptor).unwrap();
}

#[test]
fn builds_and_collections_at_once_harm_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut collectors: Vec<Child> = (0..COLLECTORS).map(|n| start(dir.path(), &format!("collect {n}"))).collect();
    let builders: Vec<Child> = (0..BUILDERS).map(|n| start(dir.path(), &format!("build {n}"))).collect();
    for builder in builders {
        let out = builder.wait_with_output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    }
    for collector in &mut collectors {
        drop(collector.stdin.take());
    }
    for collector in collectors {
        let out = collector.wait_with_output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    }
    let store = Store::open(dir.path()).unwrap();
    let report = store.fsck().unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    assert!(report.refs > 0);
    // Names alone keep anything now.
    let left = store.collect(&everything(), LATER).unwrap();
    assert!(left.verdicts.iter().all(|v| v.fate.goes() || matches!(v.fate, Fate::Kept(Keeps::Name(_) | Keeps::Store))));
    assert!(store.fsck().unwrap().problems.is_empty());
    drop(store);
    assert_eq!(std::fs::read_dir(dir.path().join("ingest")).unwrap().count(), 0);
}

/// A child that does not outlive a test that fails.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_suspended_writer_finds_everything_when_it_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Ending(start(dir.path(), "suspend x"));
    let mut out = BufReader::new(writer.0.stdout.take().unwrap());
    let store = Store::open(dir.path()).unwrap();
    for point in ["half written", "not named yet", "documents not named yet"] {
        wait_for_line(&mut out, point);
        let stopped = || std::fs::read_to_string(format!("/proc/{}/stat", writer.0.id())).unwrap().contains(") T ");
        let since = Instant::now();
        while !stopped() {
            assert!(since.elapsed() < Duration::from_secs(60), "the writer does not stop at {point:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
        store.collect(&everything(), LATER).unwrap();
        assert!(Command::new("kill").args(["-CONT", &writer.0.id().to_string()]).status().unwrap().success());
    }
    out.lines().for_each(drop);
    assert!(writer.0.wait().unwrap().success());
    assert!(store.get_ref(&"suspended".parse().unwrap()).unwrap().is_some());
    assert!(store.fsck().unwrap().problems.is_empty());
}

#[test]
fn what_a_killed_process_held_is_nobodys() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = start(dir.path(), "suspend x");
    let mut out = BufReader::new(writer.stdout.take().unwrap());
    wait_for_line(&mut out, "half written");
    let store = Store::open(dir.path()).unwrap();
    let in_flight = |used: bool| {
        let of = store.inventory(LATER).unwrap();
        of.iter().filter(|i| i.kind == Kind::Inflight && i.kept.is_some() == used).count()
    };
    assert_eq!((in_flight(true), in_flight(false)), (1, 0));
    writer.kill().unwrap();
    writer.wait().unwrap();
    assert_eq!((in_flight(true), in_flight(false)), (0, 1));
    store.collect(&everything(), LATER).unwrap();
    assert_eq!(in_flight(false), 0);
}
