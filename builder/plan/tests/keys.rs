//! Keys of steps: every field that a result depends on changes the key, and nothing else does.

use cooper_dockerfile::remote::{self, GitSource, HttpSource, Mtime, Remote};
use cooper_image::{ChainId, ContainerPath, Digest, Platform};
use cooper_plan::key::{Found, Given, KeyRecord, copy_key, exec_key, fetch_key, workdir_key};
use cooper_plan::mount::{Access, Cache, Mount, Mounted, Ownership, Secret, Sharing, Source};
use cooper_plan::op::{AddSource, Base, Copy, Exec, Fetch, Network, Security, StageId, Workdir};
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
        security: Security::Sandbox,
        mounts: Vec::new(),
    }
}

fn copy() -> Copy {
    Copy {
        from: None,
        sources: vec!["a".into(), "b c".into()],
        parents: false,
        exclude: Vec::new(),
        inline: vec![("EOF".into(), "text".into())],
        dest: ContainerPath::from("/dest"),
        dest_is_dir: true,
        chown: Some("1:1".into()),
        chmod: None,
        unpack: false,
        link: false,
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
    let mut all: Vec<KeyRecord> = mutants(&exec(), &changes)
        .iter()
        .map(|e| exec_key(Some(&chain("1")), e, &Given::default(), &platform()))
        .collect();
    all.extend(places().iter().map(|(parent, p)| exec_key(parent.as_ref(), &exec(), &Given::default(), p)));
    all_differ(&all);
}

/// A RUN that has this mounted at `/m`.
fn mounted(what: Mounted) -> Exec {
    let target = Some(ContainerPath::from("/m"));
    Exec { mounts: vec![Mount { target, access: Access::ReadWrite, what }], ..exec() }
}

fn cache(id: &str, uid: Option<u32>) -> Mounted {
    let ownership = Ownership { uid, ..Ownership::default() };
    Mounted::Cache(Cache { id: id.to_owned(), sharing: Sharing::Shared, seed: None, ownership })
}

fn secret(id: &str, variable: Option<&str>) -> Mounted {
    let ownership = Ownership::default();
    let variable = variable.map(str::to_owned);
    Mounted::Secret(Secret { id: id.to_owned(), variable, required: false, ownership })
}

fn bind(from: Option<Base>, path: &str) -> Mounted {
    Mounted::Bind(Source { from, path: ContainerPath::from(path) })
}

#[test]
fn what_is_given_to_a_run_counts() {
    let key = |exec: &Exec, given: &Given| exec_key(None, exec, given, &platform());
    let files = |text: &str| Given { files: vec![Some(Digest::sha256(text))], ..Given::default() };
    let plain = Given::default();
    let mut read_only = mounted(cache("a", None));
    read_only.mounts[0].access = Access::ReadOnly;
    let mut elsewhere = mounted(cache("a", None));
    elsewhere.mounts[0].target = Some(ContainerPath::from("/n"));
    let ssh = |required| Mounted::Ssh { id: "a".into(), required, ownership: Ownership::default() };
    let Mounted::Secret(may) = secret("a", None) else { unreachable!("it is one") };
    let needed = Mounted::Secret(Secret { required: true, ..may });
    let insecure = Exec { security: Security::Insecure, ..exec() };
    all_differ(&[
        key(&exec(), &plain),
        key(&insecure, &plain),
        key(&exec(), &Given { network: Network::None, ..plain.clone() }),
        key(&exec(), &Given { hosts: vec!["db".into()], ..plain.clone() }),
        key(&exec(), &Given { shm_bytes: Some(1), ..plain.clone() }),
        key(&exec(), &Given { limits: vec!["nofile=1:1".into()], ..plain.clone() }),
        key(&exec(), &Given { no_new_privs: true, ..plain.clone() }),
        key(&mounted(bind(None, "/")), &files("1")),
        key(&mounted(bind(None, "/")), &files("2")),
        key(&mounted(cache("a", None)), &plain),
        key(&mounted(cache("a", Some(1))), &plain),
        key(&mounted(cache("a", None)), &files("1")),
        key(&read_only, &plain),
        key(&elsewhere, &plain),
        key(&mounted(Mounted::Tmpfs { bytes: None }), &plain),
        key(&mounted(Mounted::Tmpfs { bytes: Some(1) }), &plain),
        key(&mounted(secret("a", None)), &plain),
        key(&mounted(secret("b", None)), &plain),
        key(&mounted(secret("a", Some("A"))), &plain),
        key(&mounted(needed), &plain),
        key(&mounted(ssh(true)), &plain),
        key(&mounted(ssh(false)), &plain),
    ]);
    // What only says where a thing comes from does not count.
    let same = [
        [key(&mounted(bind(None, "/")), &files("1")), key(&mounted(bind(Some(Base::Scratch), "/x")), &files("1"))],
        [key(&mounted(cache("a", None)), &plain), key(&mounted(cache("b", None)), &plain)],
    ];
    for [one, other] in same {
        assert_eq!(one, other);
    }
    let own = Exec { network: Network::Host, ..exec() };
    assert_eq!(key(&own, &Given { network: Network::None, ..plain.clone() }), key(&own, &plain));
}

#[test]
fn proxies_do_not_count_and_are_not_kept() {
    let record = exec_key(None, &exec(), &Given::default(), &platform());
    let changes: [fn(&mut Exec); 2] = [|e| e.unkeyed_env.clear(), |e| e.unkeyed_env[0].1 = "other".into()];
    for changed in mutants(&exec(), &changes) {
        assert_eq!(exec_key(None, &changed, &Given::default(), &platform()), record);
    }
    assert!(!serde_json::to_string(&record).unwrap().contains("password"));
    assert_eq!(record.parts["env.PATH"], "/bin");
}

/// Formerly such a copy made a directory, and a store may hold what it made.
#[test]
fn several_onto_one_path_are_told_from_a_directory() {
    let files = Digest::sha256("files");
    let onto = |c: &Copy| copy_key(None, c, &files, &platform()).parts.get("onto").cloned();
    let list = |sources: &[&str]| sources.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    let inline = |n: usize| vec![("EOF".to_owned(), String::new()); n];
    for (sources, written, in_turn) in [
        (&["a", "b"][..], 0, true),
        (&["a*"], 0, true),
        (&["[ab]"], 0, true),
        (&["a"], 1, true),
        (&[], 2, true),
        (&["a"], 0, false),
        (&["a\\*"], 0, false),
        (&[], 1, false),
    ] {
        let copy = Copy { sources: list(sources), inline: inline(written), dest_is_dir: false, ..copy() };
        assert_eq!(onto(&copy).as_deref(), in_turn.then_some("in turn"), "{sources:?} {written}");
        assert_eq!(onto(&Copy { dest_is_dir: true, ..copy.clone() }), None);
        assert_eq!(onto(&Copy { parents: true, ..copy.clone() }), None);
        let local = copy.sources.iter().cloned().map(AddSource::Local).collect();
        let fetch = Fetch { sources: local, unpack: false, copy: Copy { sources: Vec::new(), ..copy } };
        let found = fetch_key(None, &fetch, &[], &platform());
        assert_eq!(found.parts.get("onto").map(String::as_str), in_turn.then_some("in turn"), "{sources:?}");
    }
}

#[test]
fn every_field_of_a_copy_counts() {
    let changes: [fn(&mut Copy); 24] = [
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
        |c| c.parents = true,
        |c| c.exclude = vec!["a b".into()],
        |c| c.exclude = vec!["a".into(), "b".into()],
        |c| c.exclude = vec![String::new()],
        |c| c.link = true,
    ];
    let files = Digest::sha256("files");
    let mut all: Vec<KeyRecord> =
        mutants(&copy(), &changes).iter().map(|c| copy_key(Some(&chain("1")), c, &files, &platform())).collect();
    all.extend(places().iter().map(|(parent, p)| copy_key(parent.as_ref(), &copy(), &files, p)));
    all.push(copy_key(Some(&chain("1")), &copy(), &Digest::sha256("other files"), &platform()));
    all_differ(&all);
}

#[test]
fn a_linked_copy_holds_upon_any_layers() {
    let linked = Copy { link: true, ..copy() };
    let key = |parent: Option<&ChainId>, c: &Copy| copy_key(parent, c, &Digest::sha256("files"), &platform()).digest();
    assert_eq!(key(Some(&chain("1")), &linked), key(Some(&chain("2")), &linked));
    assert_eq!(key(Some(&chain("1")), &linked), key(None, &linked));
    assert_ne!(key(None, &copy()), key(None, &linked));
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
    all.push(exec_key(Some(&chain("1")), &exec(), &Given::default(), &platform()));
    all.push(copy_key(Some(&chain("1")), &copy(), &Digest::sha256(""), &platform()));
    all_differ(&all);
}

/// The encoding is on disk in every store: a change of it needs a new version of the domain.
#[test]
fn the_encoding_is_pinned() {
    let key = exec_key(None, &exec(), &Given::default(), &platform()).digest().to_string();
    assert_eq!(key, "sha256:28f362f78b035f2d00f1172e5d6ccb1ccbf7c12bf7f2204c10250e4dd31f533c");
}

#[test]
fn records_survive_the_disk() {
    let record = copy_key(Some(&chain("1")), &copy(), &Digest::sha256("files"), &platform());
    let text = serde_json::to_string(&record).unwrap();
    let again: KeyRecord = serde_json::from_str(&text).unwrap();
    assert_eq!((again.digest(), again), (record.digest(), record));
}

fn fetch() -> Fetch {
    let git = "https://h/r.git#v1";
    let (Some(Ok(Remote::Http(http))), Some(Ok(Remote::Git(git)))) =
        (remote::parse("https://h/a/f"), remote::parse(git))
    else {
        panic!()
    };
    let sources = vec![
        AddSource::Local("a".into()),
        AddSource::Http { source: http, checksum: None },
        AddSource::Git { source: git, git_dir: false },
    ];
    Fetch { sources, unpack: false, copy: Copy { sources: Vec::new(), ..copy() } }
}

fn found() -> [Found; 3] {
    [
        Found::Files(Digest::sha256("files")),
        Found::Http { digest: Digest::sha256("f"), modified: Some("then".into()) },
        Found::Git { commit: "c".repeat(40), name: None },
    ]
}

fn http(f: &mut Fetch) -> &mut HttpSource {
    let AddSource::Http { source, .. } = &mut f.sources[1] else { panic!() };
    source
}

fn git(f: &mut Fetch) -> (&mut GitSource, &mut bool) {
    let AddSource::Git { source, git_dir } = &mut f.sources[2] else { panic!() };
    (source, git_dir)
}

#[test]
fn what_was_found_counts_and_where_it_was_found_does_not() {
    let key = |f: &Fetch, found: &[Found]| fetch_key(Some(&chain("1")), f, found, &platform());
    let base = key(&fetch(), &found());
    let changes: [fn(&mut Fetch, &mut [Found; 3]); 15] = [
        |f, _| f.sources[0] = AddSource::Local("b".into()),
        |_, is| is[0] = Found::Files(Digest::sha256("others")),
        |f, _| http(f).file_name = "g".into(),
        |_, is| is[1] = Found::Http { digest: Digest::sha256("g"), modified: Some("then".into()) },
        |_, is| is[1] = Found::Http { digest: Digest::sha256("f"), modified: Some("now".into()) },
        |_, is| is[1] = Found::Http { digest: Digest::sha256("f"), modified: None },
        |_, is| is[2] = Found::Git { commit: "d".repeat(40), name: None },
        |f, _| git(f).0.subdir = Some("d".into()),
        |f, _| git(f).0.submodules = false,
        |f, _| git(f).0.mtime = Mtime::Checkout,
        |f, _| *git(f).1 = true,
        |f, is| {
            *git(f).1 = true;
            is[2] = Found::Git { commit: "c".repeat(40), name: Some("refs/heads/main".into()) };
        },
        |f, _| f.unpack = true,
        |f, _| f.copy.dest_is_dir = false,
        |f, _| f.copy.chown = None,
    ];
    let mut all = vec![base.clone()];
    for change in changes {
        let (mut f, mut is) = (fetch(), found());
        change(&mut f, &mut is);
        all.push(key(&f, &is));
    }
    all_differ(&all);
    let mut elsewhere = fetch();
    http(&mut elsewhere).url = "https://mirror/f".into();
    git(&mut elsewhere).0.remote = "https://mirror/r.git".into();
    git(&mut elsewhere).0.reference = Some("main".into());
    assert_eq!(key(&elsewhere, &found()).digest(), base.digest());
}
