//! Keys of steps: every field that a result depends on changes the key, and nothing else does.

use cooper_image::{ChainId, ContainerPath, Digest, Platform};
use cooper_plan::key::{KeyRecord, copy_key, exec_key, workdir_key};
use cooper_plan::op::{Base, Copy, Exec, Network, StageId, Workdir};
use cooper_plan::reason::reasons;

fn exec() -> Exec {
    Exec {
        argv: vec!["/bin/sh".into(), "-c".into(), "make".into()],
        env: vec![("A".into(), "1".into()), ("PATH".into(), "/bin".into())],
        unkeyed_env: vec![("HTTP_PROXY".into(), "http://user:password@proxy".into())],
        cwd: ContainerPath::from("/src"),
        user: "builder".into(),
        script: Some(("EOF".into(), "#!/bin/sh\n".into())),
        network: Network::Default,
        hostname: None,
    }
}

fn copy() -> Copy {
    Copy {
        from: None,
        sources: vec!["a".into(), "b c".into()],
        inline: vec![("EOF".into(), "text".into())],
        dest: ContainerPath::from("/dest"),
        dest_is_dir: true,
        chown: Some("1:1".into()),
        chmod: None,
        unpack: false,
    }
}

fn workdir() -> Workdir {
    Workdir { path: ContainerPath::from("/app"), user: "builder".into() }
}

fn chain(text: &str) -> ChainId {
    ChainId(Digest::sha256(text))
}

fn platform() -> Platform {
    Platform::linux("amd64")
}

/// Copies of `base`, each changed by one function.
fn mutants<T: Clone>(base: &T, changes: &[fn(&mut T)]) -> Vec<T> {
    let mutant = |change: &fn(&mut T)| {
        let mut changed = base.clone();
        change(&mut changed);
        changed
    };
    changes.iter().map(mutant).collect()
}

/// All keys differ from each other, and each difference has an explanation.
fn all_differ(records: &[KeyRecord]) {
    for (i, a) in records.iter().enumerate() {
        assert_eq!(a.digest(), a.clone().digest(), "a key is stable");
        for b in &records[..i] {
            assert_ne!(a.digest(), b.digest(), "{a:?}\n{b:?}");
            assert!(!reasons(&b.parts, &a.parts).is_empty());
        }
    }
}

/// Platforms and parents that all have to differ.
fn places() -> Vec<(Option<ChainId>, Platform)> {
    let variant = Platform { variant: Some("v7".into()), ..Platform::linux("arm") };
    let version = Platform { os_version: Some("10".into()), ..Platform::linux("amd64") };
    let mut places: Vec<_> = [platform(), Platform::linux("arm64"), Platform::linux("arm"), variant, version]
        .into_iter()
        .map(|p| (Some(chain("1")), p))
        .collect();
    places.push((Some(chain("2")), platform()));
    places.push((None, platform()));
    places
}

#[test]
fn every_field_of_a_run_counts() {
    let changes: [fn(&mut Exec); 23] = [
        |e| e.argv[2].push(' '),
        |e| e.argv = vec!["/bin/sh".into(), "-c make".into()],
        |e| e.argv.swap(0, 1),
        |e| e.argv.push(String::new()),
        |e| e.argv.clear(),
        |e| e.env[0].1 = "2".into(),
        |e| e.env[0].1.clear(),
        |e| e.env[0].0 = "B".into(),
        |e| e.env.clear(),
        |e| e.env.push(("Z".into(), String::new())),
        |e| e.env[0] = ("A".into(), "1\0PATH=/bin".into()),
        |e| e.cwd = ContainerPath::root(),
        |e| e.cwd = ContainerPath::from("/src/builder"),
        |e| e.user.clear(),
        |e| e.user = "builder:builder".into(),
        |e| e.script = None,
        |e| e.script = Some(("EOT".into(), "#!/bin/sh\n".into())),
        |e| e.script = Some(("EOF".into(), "#!/bin/sh\n\n".into())),
        |e| e.script = Some((String::new(), String::new())),
        |e| e.network = Network::None,
        |e| e.network = Network::Host,
        |e| e.hostname = Some(String::new()),
        |e| e.hostname = Some("host".into()),
    ];
    let mut all: Vec<KeyRecord> =
        mutants(&exec(), &changes).iter().map(|e| exec_key(Some(&chain("1")), e, &platform())).collect();
    all.extend(places().iter().map(|(parent, p)| exec_key(parent.as_ref(), &exec(), p)));
    all_differ(&all);
}

#[test]
fn proxies_do_not_count_and_are_not_kept() {
    let record = exec_key(None, &exec(), &platform());
    let changes: [fn(&mut Exec); 2] = [|e| e.unkeyed_env.clear(), |e| e.unkeyed_env[0].1 = "other".into()];
    for changed in mutants(&exec(), &changes) {
        assert_eq!(exec_key(None, &changed, &platform()), record);
    }
    assert!(!serde_json::to_string(&record).unwrap().contains("password"));
    assert_eq!(record.parts["env.PATH"], "/bin");
}

#[test]
fn every_field_of_a_copy_counts() {
    let changes: [fn(&mut Copy); 19] = [
        |c| c.from = Some(Base::Scratch),
        |c| c.sources[0] = "x".into(),
        |c| c.sources.swap(0, 1),
        |c| c.sources = vec!["a b c".into()],
        |c| c.sources = vec!["a\",\"b c".into()],
        |c| c.sources.clear(),
        |c| c.inline.clear(),
        |c| c.inline[0].0 = "EOT".into(),
        |c| c.inline[0].1 = "texT".into(),
        |c| c.inline.push(("F".into(), String::new())),
        |c| c.dest = ContainerPath::root(),
        |c| c.dest = ContainerPath::from("/dest/a"),
        |c| c.dest_is_dir = false,
        |c| c.chown = None,
        |c| c.chown = Some("1".into()),
        |c| c.chown = Some(String::new()),
        |c| c.chmod = Some("755".into()),
        |c| c.chmod = Some(String::new()),
        |c| c.unpack = true,
    ];
    let files = Digest::sha256("files");
    let mut all: Vec<KeyRecord> =
        mutants(&copy(), &changes).iter().map(|c| copy_key(Some(&chain("1")), c, &files, &platform())).collect();
    all.extend(places().iter().map(|(parent, p)| copy_key(parent.as_ref(), &copy(), &files, p)));
    all.push(copy_key(Some(&chain("1")), &copy(), &Digest::sha256("other files"), &platform()));
    all_differ(&all);
}

#[test]
fn the_same_files_from_another_stage_hit() {
    let from = |base| Copy { from: Some(base), ..copy() };
    let key = |c: &Copy| copy_key(None, c, &Digest::sha256("files"), &platform()).digest();
    let image = Base::Image("debian:12".parse().unwrap());
    assert_eq!(key(&from(Base::Stage(StageId(1)))), key(&from(Base::Stage(StageId(2)))));
    assert_eq!(key(&from(Base::Stage(StageId(1)))), key(&from(image)));
}

#[test]
fn every_field_of_a_workdir_counts() {
    let changes: [fn(&mut Workdir); 3] =
        [|w| w.path = ContainerPath::from("/app/x"), |w| w.user.clear(), |w| w.user = "0".into()];
    let mut all: Vec<KeyRecord> =
        mutants(&workdir(), &changes).iter().map(|w| workdir_key(Some(&chain("1")), w, &platform())).collect();
    all.extend(places().iter().map(|(parent, p)| workdir_key(parent.as_ref(), &workdir(), p)));
    // Kinds of step never meet, whatever their fields are.
    all.push(exec_key(Some(&chain("1")), &exec(), &platform()));
    all.push(copy_key(Some(&chain("1")), &copy(), &Digest::sha256(""), &platform()));
    all_differ(&all);
}

/// The encoding is on disk in every store: a change of it needs a new version of the domain.
#[test]
fn the_encoding_is_pinned() {
    let key = exec_key(None, &exec(), &platform()).digest().to_string();
    assert_eq!(key, "sha256:28f362f78b035f2d00f1172e5d6ccb1ccbf7c12bf7f2204c10250e4dd31f533c");
}

#[test]
fn records_survive_the_disk() {
    let record = copy_key(Some(&chain("1")), &copy(), &Digest::sha256("files"), &platform());
    let text = serde_json::to_string(&record).unwrap();
    let again: KeyRecord = serde_json::from_str(&text).unwrap();
    assert_eq!((again.digest(), again), (record.digest(), record));
}
