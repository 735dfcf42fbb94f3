//! Steps in a root that is one directory. Only root can enter one, here with more rights than a container has.

use crate::Test;
use crate::world::{World, processes_with};
use cooper_sandbox::{
    Access, Content, Files, Mount, Network, OWN_NAMES, Outcome, SandboxError, Security, Stage, Tier, Whole, probe, run,
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub const TESTS: &[(&str, Test)] = &[
    ("chroot_gives_a_step_its_few_files", |tier| as_root(tier, gives_a_step_its_few_files)),
    ("chroot_keeps_a_step_inside", |tier| as_root(tier, keeps_a_step_inside)),
    ("chroot_keeps_signals_inside", |tier| as_root(tier, keeps_signals_inside)),
    ("chroot_ends_all_that_was_started", |tier| as_root(tier, ends_all_that_was_started)),
    ("chroot_ends_what_never_stops_writing", |tier| as_root(tier, ends_what_never_stops_writing)),
    ("chroot_needs_an_answer_of_landlock", |tier| as_root(tier, needs_an_answer_of_landlock)),
    ("chroot_puts_files_back", |tier| as_root(tier, puts_files_back)),
    ("chroot_follows_links_inside", |tier| as_root(tier, follows_links_inside)),
    ("chroot_puts_mounts_in_place", |tier| as_root(tier, puts_mounts_in_place)),
    ("chroot_asks_the_image_who_the_user_is", |tier| as_root(tier, asks_the_image)),
    ("chroot_takes_mounts_out_of_what_a_step_made_of_them", |tier| as_root(tier, takes_mounts_out)),
    ("chroot_lends_directories", |tier| as_root(tier, lends_directories)),
    ("chroot_mounts_nothing_outside", |tier| as_root(tier, mounts_nothing_outside)),
    ("chroot_refuses_what_it_cannot_keep", |tier| as_root(tier, refuses_what_it_cannot_keep)),
];

/// What is asked for that a chroot cannot give.
type Change = fn(&mut World);

fn as_root(tier: Tier, test: fn(&mut World)) {
    if let Some(world) = &mut rooted(tier) {
        test(world);
    }
}

/// A world of a directory, where this is root.
pub fn rooted(tier: Tier) -> Option<World> {
    (tier == Tier::Root).then(in_a_directory)
}

/// A world whose root is the directory of its base.
pub fn in_a_directory() -> World {
    let mut world = World::new();
    let root = world.base("");
    fs::create_dir(world.dir.path().join("outside")).unwrap();
    fs::write(world.dir.path().join("outside/canary"), "whole").unwrap();
    world.spec.files = Files::Whole(Whole { root, aside: PathBuf::new() });
    world
}

/// Does Landlock keep signals among the processes of a step (Linux 6.12)? As the doctor says it of its other scope.
fn has_scopes() -> bool {
    probe().findings.iter().any(|finding| finding.name == "abstract sockets" && finding.hint.is_none())
}

pub fn step(world: &mut World, script: &str) -> (Result<Outcome, SandboxError>, String) {
    let aside = tempfile::tempdir_in(world.dir.path()).unwrap();
    if let Files::Whole(whole) = &mut world.spec.files {
        whole.aside = aside.path().to_owned();
    }
    world.try_sh(script)
}

pub fn sh(world: &mut World, script: &str) -> String {
    let (outcome, text) = step(world, script);
    assert_eq!(outcome.unwrap(), Outcome::Exited(0), "{script}: {text}");
    text
}

fn gives_a_step_its_few_files(world: &mut World) {
    assert_eq!(sh(world, "cd /dev; echo *"), "full null random shm stderr stdin stdout tty urandom zero\n");
    assert_eq!(sh(world, "echo /sys/*; stat -c %a /dev/shm"), "/sys/*\n1777\n");
    let proc = "cpuinfo filesystems loadavg meminfo mounts self stat thread-self uptime version\n";
    assert_eq!(sh(world, "cd /proc; echo *"), proc);
    assert_eq!(sh(world, "cat; echo x > /dev/null; head -c1 /dev/random > /dev/null"), "");
    for user in ["", "app"] {
        world.spec.user = user.into();
        assert_eq!(sh(world, "echo out > /dev/stdout; echo err > /dev/stderr"), "out\nerr\n", "{user:?}");
    }
    assert_eq!(sh(world, "id -u; id -G; umask; cd /; pwd"), "1000\n1001 50\n0022\n/\n");
    world.spec.user = String::new();
    world.spec.script = Some(("EOF".into(), "#!/bin/sh\necho from $0".into()));
    assert_eq!(sh(world, "/dev/pipes/EOF"), "from /dev/pipes/EOF\n");
    world.spec.cwd = "/made/for/it".into();
    assert_eq!(sh(world, "pwd"), "/made/for/it\n");
    // Into another directory, as package managers do it: by name, and by link.
    world.spec.cwd = "/".into();
    sh(
        world,
        "mkdir a b; echo x > a/f; ln a/f b/g; ln a/f b/h; stat -c %h b/h; mv a/f b/f; stat -c %h b/f; stat -c %i b/f > 1",
    );
    sh(world, "stat -c %i b/g > 2; test \"$(cat 1)\" = \"$(cat 2)\"");
    for name in OWN_NAMES {
        assert!(!world.base(name).exists(), "{name} is left");
    }
}

fn keeps_a_step_inside(world: &mut World) {
    let outside = world.dir.path().join("outside").display().to_string();
    let ways = [
        "chroot /tmp /bin/true",
        "mkdir -p /j && cd / && chroot /j /bin/true",
        "mknod /tmp/x c 1 3",
        "mknod /tmp/x b 8 0",
        "mount -t tmpfs x /tmp",
        "unshare -m true",
        "ls /proc/1",
    ];
    for way in ways {
        let (outcome, text) = step(world, way);
        assert_ne!(outcome.unwrap(), Outcome::Exited(0), "{way}: {text}");
    }
    for path in [outside.clone(), format!("/../../../../..{outside}"), format!("/dev/../..{outside}")] {
        let (_, text) = step(world, &format!("cat {path}/canary; echo gone > {path}/canary"));
        assert!(!text.contains("whole"), "{text}");
    }
    assert_eq!(fs::read_to_string(world.dir.path().join("outside/canary")).unwrap(), "whole");
    // A descriptor of the caller that everybody inherits.
    let held = fs::File::open("/").unwrap();
    rustix::io::fcntl_setfd(&held, rustix::io::FdFlags::empty()).unwrap();
    let script =
        "for n in 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do eval \"true <&$n\" && echo open $n; done; true";
    assert!(!sh(world, &format!("({script}) 2>/dev/null")).contains("open"));
}

fn keeps_signals_inside(world: &mut World) {
    // Elsewhere the step would end whoever runs this, and the machine's processes.
    if !has_scopes() {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
        let version: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        assert!(version < (6, 12), "Linux {release} has scopes, and none are seen");
        return;
    }
    let me = std::process::id();
    let (_, text) =
        step(world, &format!("kill -0 {me} && echo reached; kill -9 {me}; kill -9 $PPID; kill -9 1; echo on"));
    assert!(text.ends_with("on\n") && !text.contains("reached"), "{text}");
    // Everybody that it may signal is its own.
    let (outcome, _) = step(world, "sleep 100 & kill -9 -1; exit 3");
    assert!(matches!(outcome, Ok(Outcome::Exited(3) | Outcome::Signaled(9))), "{outcome:?}");
}

fn ends_all_that_was_started(world: &mut World) {
    let mark = format!("95{:07}", std::process::id());
    let began = Instant::now();
    sh(world, &format!("setsid sleep {mark} & (setsid sh -c 'trap \"\" TERM; sleep {mark}; true' &) ; exit 0"));
    // One that forks without end, each time from another process.
    let storm = format!("f() {{ sleep {mark} & (f) & }}; ulimit -p 300; f; sleep 0.2 2>/dev/null; exit 0");
    let (outcome, _) = step(world, &storm);
    assert!(outcome.is_ok(), "{outcome:?}");
    assert_eq!(processes_with(&mark), 0);
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    let cancel = Arc::new(AtomicBool::new(false));
    let (signal, other) = (Arc::clone(&cancel), mark.clone());
    let thread = std::thread::spawn(move || {
        let limit = Instant::now() + Duration::from_secs(10);
        while processes_with(&other) < 2 && Instant::now() < limit {
            std::thread::sleep(Duration::from_millis(20));
        }
        signal.store(true, Ordering::Relaxed);
    });
    let aside = tempfile::tempdir_in(world.dir.path()).unwrap();
    if let Files::Whole(whole) = &mut world.spec.files {
        whole.aside = aside.path().to_owned();
    }
    let script = format!("setsid sleep {mark} & sleep {mark}");
    world.spec.argv = ["/bin/sh", "-c", &script].map(String::from).to_vec();
    let outcome = run(&world.spec, &mut |_| {}, &cancel);
    thread.join().unwrap();
    assert!(matches!(outcome, Err(SandboxError::Cancelled)), "{outcome:?}");
    assert_eq!(processes_with(&mark), 0);
}

fn ends_what_never_stops_writing(world: &mut World) {
    // Should it not be ended, it ends by itself, too late.
    let flood = "busybox timeout 30 cat /dev/zero > /dev/stdout & ";
    let script = format!("{}wait", flood.repeat(6));
    let aside = tempfile::tempdir_in(world.dir.path()).unwrap();
    if let Files::Whole(whole) = &mut world.spec.files {
        whole.aside = aside.path().to_owned();
    }
    world.spec.argv = ["/bin/sh", "-c", &script].map(String::from).to_vec();
    let pipe = world.base("dev/stdout");
    let (cancel, mut seen, mut asked) = (AtomicBool::new(false), 0, None);
    let outcome = run(
        &world.spec,
        &mut |bytes| {
            // A slow reader, and a pipe as large as a step may make it: it is never empty.
            if seen == 0 {
                let pipe = fs::File::open(&pipe).unwrap();
                rustix::pipe::fcntl_setpipe_size(&pipe, 1 << 20).unwrap();
            }
            std::thread::sleep(Duration::from_millis(2));
            seen += bytes.len();
            if seen > 1 << 20 && asked.is_none() {
                asked = Some(Instant::now());
                cancel.store(true, Ordering::Relaxed);
            }
        },
        &cancel,
    );
    let took = asked.expect("it was flooded").elapsed();
    assert!(matches!(outcome, Err(SandboxError::Cancelled)), "{outcome:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(processes_with("cat\0/dev/zero"), 0);
    // All that was written before the end arrives.
    let text = sh(world, "i=0; while [ $i -lt 3000 ]; do echo 0123456789 > /dev/stdout; i=$((i+1)); done");
    assert_eq!(text, "0123456789\n".repeat(3000));
}

/// Who cannot ask whether there are walls does not start a step without them.
fn needs_an_answer_of_landlock(world: &mut World) {
    let ask = [(libc::SYS_landlock_create_ruleset, Vec::new())];
    let [allow, refuse] = [SeccompAction::Allow, SeccompAction::Errno(libc::EPERM as u32)];
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let filter: BpfProgram = SeccompFilter::new(ask.into(), allow, refuse, arch).unwrap().try_into().unwrap();
    // It holds for the thread and for all that it starts.
    let thread = || {
        apply_filter(&filter).unwrap();
        step(world, "touch /ran").0
    };
    let outcome = std::thread::scope(|scope| scope.spawn(thread).join().unwrap());
    assert!(matches!(outcome, Err(SandboxError::Setup { stage: Stage::Process, .. })), "{outcome:?}");
    assert!(!world.base("ran").exists());
}

fn puts_files_back(world: &mut World) {
    let image = "from the image\n";
    let inode = |world: &World| fs::metadata(world.base("etc/hosts")).unwrap().ino();
    let (before, time) = (inode(world), fs::metadata(world.base("etc")).unwrap().modified().unwrap());
    assert!(sh(world, "cat /etc/hosts").contains("127.0.0.1\tlocalhost"));
    assert!(!sh(world, "cat /etc/resolv.conf").contains(image));
    assert_eq!(fs::metadata(world.base("etc")).unwrap().modified().unwrap(), time);
    for script in [
        "echo mine > /etc/hosts",
        "rm /etc/hosts",
        "rm /etc/hosts; mkdir -p /etc/hosts/deep; touch /etc/hosts/deep/x",
        "rm /etc/hosts; ln -s /bin/busybox /etc/hosts",
    ] {
        sh(world, script);
        assert_eq!(fs::read_to_string(world.base("etc/hosts")).unwrap(), image, "{script}");
        assert_eq!(inode(world), before, "{script}");
    }
    sh(world, "mv /etc /moved");
    assert_eq!(fs::read_to_string(world.base("moved/hosts")).unwrap(), image);
    assert!(!world.base("etc").exists());
    sh(world, "rm -rf /moved");
    assert!(!world.base("moved").exists());
    // There is no directory for the files now: one is made, and goes again.
    assert!(sh(world, "cat /etc/hosts").contains("localhost"));
    assert!(!world.base("etc").exists());
    sh(world, "touch /etc/mine");
    assert_eq!(fs::read_dir(world.base("etc")).unwrap().count(), 1);
}

fn follows_links_inside(world: &mut World) {
    for name in ["hosts", "resolv.conf"] {
        fs::remove_file(world.base("etc").join(name)).unwrap();
    }
    let outside = world.dir.path().join("outside/canary");
    symlink(&outside, world.base("etc/hosts")).unwrap();
    symlink("../run/resolve/stub", world.base("etc/resolv.conf")).unwrap();
    assert!(sh(world, "cat /etc/hosts; ls /run/resolve").ends_with("stub\n"));
    assert_eq!(fs::read_to_string(&outside).unwrap(), "whole");
    assert!(!world.base("run").exists() && !world.base("tmp/canary").exists());
    // What leads into the sandbox's own stays what the image wants.
    fs::remove_file(world.base("etc/hosts")).unwrap();
    symlink("/dev/null", world.base("etc/hosts")).unwrap();
    assert_eq!(sh(world, "cat /etc/hosts; echo x > /dev/null; stat -c %F /dev/null"), "character special file\n");
    // A link that ends nowhere ends the step before it starts.
    fs::remove_file(world.base("etc/hosts")).unwrap();
    symlink("hosts", world.base("etc/hosts")).unwrap();
    let (outcome, _) = step(world, "touch /ran");
    assert!(matches!(outcome, Err(SandboxError::Setup { .. })) && !world.base("ran").exists(), "{outcome:?}");
}

pub fn mount(target: &str, content: Content) -> Mount {
    Mount { target: target.into(), access: Access::ReadWrite, content }
}

/// A directory of the host with one file.
fn host_dir(world: &World, name: &str) -> PathBuf {
    let dir = world.dir.path().join(name);
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("file"), name).unwrap();
    dir
}

/// A directory that is lent, and what is to stand for it.
fn lent(world: &World, name: &str) -> (PathBuf, Content) {
    let (directory, stands) = (host_dir(world, name), world.dir.path().join(format!("{name}-stands")));
    fs::write(&stands, "for it").unwrap();
    (directory.clone(), Content::Lent { directory, stands })
}

/// Everything below a root but what is the sandbox's own, with kind, mode, inode number and time, so that what is moved or
/// touched is seen.
pub fn inventory(top: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut pending = vec![top.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if OWN_NAMES.iter().any(|own| path == top.join(own)) {
                continue;
            }
            let m = fs::symlink_metadata(&path).unwrap();
            found.push(format!("{} {:o} {} {}.{}", path.display(), m.mode(), m.ino(), m.mtime(), m.mtime_nsec()));
            if m.is_dir() {
                pending.push(path);
            }
        }
    }
    found.sort();
    found
}

fn puts_mounts_in_place(world: &mut World) {
    fs::create_dir(world.base("srv")).unwrap();
    fs::set_permissions(world.base("srv"), fs::Permissions::from_mode(0o750)).unwrap();
    fs::write(world.base("srv/beneath"), "beneath").unwrap();
    symlink("srv", world.base("to-srv")).unwrap();
    let before = inventory(&world.base(""));
    let mounts = |world: &World, round: usize| {
        let one = world.dir.path().join(format!("one-{round}"));
        fs::write(&one, "one").unwrap();
        let socket = world.dir.path().join(format!("socket-{round}"));
        drop(UnixListener::bind(&socket).unwrap());
        vec![
            mount("/to-srv", Content::Tmpfs { bytes: None }),
            mount("/srv/in/it", Content::Host(host_dir(world, &format!("bound-{round}")))),
            mount("/new/deep", Content::Tmpfs { bytes: None }),
            mount("/etc/passwd", Content::Host(one.clone())),
            mount("/run/socket", Content::Host(socket)),
            mount("/dev/shm", Content::Tmpfs { bytes: None }),
        ]
    };
    let look = "stat -c '%a %u:%g' /srv /new/deep; cat /srv/in/it/file /etc/passwd; echo; test -S /run/socket && echo socket; \
                ls /srv; touch /srv/x /srv/in/it/y /new/deep/z /dev/shm/s; echo lost > /etc/passwd";
    for (round, end) in ["", "; exit 3", "; kill -9 $$"].into_iter().enumerate() {
        world.spec.mounts = mounts(world, round);
        let (outcome, text) = step(world, &format!("{look}{end}"));
        let wanted = [Outcome::Exited(0), Outcome::Exited(3), Outcome::Signaled(9)];
        assert_eq!(outcome.unwrap(), wanted[round], "{text}");
        assert_eq!(text, format!("750 0:0\n1777 0:0\nbound-{round}one\nsocket\nin\n"));
        assert_eq!(inventory(&world.base("")), before, "{end}");
    }
    // What a step puts beside a mount into a directory that was made for it stays.
    world.spec.mounts = vec![mount("/new/deep", Content::Tmpfs { bytes: None })];
    sh(world, "touch /new/mine");
    assert_eq!(fs::read_dir(world.base("new")).unwrap().count(), 1);
}

/// Whatever the step has in the place of the user databases.
fn asks_the_image(world: &mut World) {
    world.spec.user = "app".into();
    let file = world.dir.path().join("passwd");
    fs::write(&file, "app:x:0:0::/:\n").unwrap();
    for (target, content) in [("/etc/passwd", Content::Host(file.clone())), ("/etc", Content::Tmpfs { bytes: None })] {
        let target = target.to_owned();
        world.spec.mounts = vec![Mount { target, access: Access::ReadOnly, content }];
        assert_eq!(sh(world, "echo $(id -u):$(id -g)"), "1000:1001\n");
    }
}

fn takes_mounts_out(world: &mut World) {
    let secret = "bytes that no layer may hold";
    fs::create_dir_all(world.base("app/data")).unwrap();
    fs::write(world.base("app/data/beneath"), "beneath").unwrap();
    let holds = |world: &World| {
        let files = inventory(&world.base(""));
        let paths = files.iter().filter_map(|line| line.split(' ').next()).map(Path::new);
        paths.filter(|path| fs::read_to_string(path).is_ok_and(|text| text == secret)).count()
    };
    for (number, script) in [
        "mv /app /moved",
        "mv /app/data /elsewhere; mkdir /app/data; touch /app/data/instead",
        "mv /app/data/file /app/data/other; mv /app/data /tmp/x; mv /tmp/x /app/data",
        "mv /app/one /app/two; echo instead > /app/one",
        "mkdir /a; mv /app /a/app; mkdir /app; touch /app/data",
    ]
    .into_iter()
    .enumerate()
    {
        let dir = host_dir(world, &format!("d-{number}"));
        fs::write(dir.join("file"), secret).unwrap();
        let one = world.dir.path().join(format!("f-{number}"));
        fs::write(&one, secret).unwrap();
        world.spec.mounts = vec![mount("/app/data", Content::Host(dir)), mount("/app/one", Content::Host(one))];
        sh(world, &format!("test -f /app/data/file && {script}"));
        assert_eq!(holds(world), 0, "{script}: {:#?}", inventory(&world.base("")));
        let now = ["app", "moved", "a/app"].map(|app| world.base(app).join("data/beneath"));
        let now: Vec<_> = now.iter().filter(|path| path.exists()).collect();
        assert_eq!(now.len(), 1, "{script}: {:#?}", inventory(&world.base("")));
        // For the next one.
        let app = now[0].ancestors().nth(2).unwrap().to_owned();
        assert!(!app.join("one").exists(), "{script}");
        if app != world.base("app") {
            let _ = fs::remove_dir_all(world.base("app"));
            fs::rename(app, world.base("app")).unwrap();
        }
    }
    // What was beneath goes with its directory, as the step wants it.
    let dir = host_dir(world, "last");
    world.spec.mounts = vec![mount("/app/data", Content::Host(dir))];
    sh(world, "rm -rf /app");
    assert!(!world.base("app").exists());
}

fn lends_directories(world: &mut World) {
    for (number, (script, left)) in [
        ("echo more > /c/file", Some("more\n")),
        ("echo more > /c/file; exit 1", Some("more\n")),
        ("mv /c /other; mkdir /c; touch /c/instead", Some("kept")),
        ("mkdir -p /x/y; mv /c /x/y/z; ln -s /x/y/z /c", Some("kept")),
        ("rm -rf /c", None),
    ]
    .into_iter()
    .enumerate()
    {
        let (directory, content) = lent(world, &format!("cache-{number}"));
        fs::write(directory.join("file"), "kept").unwrap();
        let inode = fs::metadata(&directory).unwrap().ino();
        world.spec.mounts = vec![mount("/c", content)];
        let watched = directory.clone();
        let seen = std::thread::spawn(move || {
            let limit = Instant::now() + Duration::from_secs(10);
            while watched.is_dir() && Instant::now() < limit {
                std::thread::sleep(Duration::from_millis(5));
            }
            // Somebody has its lock as long as it stands there.
            let file = fs::File::open(&watched).unwrap();
            (fs::read_to_string(&watched).unwrap_or_default(), file.try_lock().is_err())
        });
        let (outcome, text) = step(world, &format!("sleep 0.3; {script}"));
        assert!(outcome.is_ok(), "{outcome:?} {text}");
        assert_eq!(seen.join().unwrap(), ("for it".to_owned(), true), "{script}");
        match left {
            Some(text) => {
                assert_eq!(fs::read_to_string(directory.join("file")).unwrap(), text, "{script}");
                assert_eq!(fs::metadata(&directory).unwrap().ino(), inode);
            }
            None => assert!(directory.is_file()),
        }
        for name in ["c", "other", "x/y/z"] {
            assert!(fs::symlink_metadata(world.base(name)).is_err(), "{script}: {name} is left");
        }
    }
    // Where somebody else is at it, the directory stays where it is.
    let (directory, content) = lent(world, "busy");
    let stands = fs::File::open(world.dir.path().join("busy-stands")).unwrap();
    stands.lock().unwrap();
    world.spec.mounts = vec![mount("/c", content)];
    let (outcome, _) = step(world, "touch /ran");
    assert!(matches!(outcome, Err(SandboxError::Mount { .. })), "{outcome:?}");
    assert!(directory.join("file").exists() && !world.base("ran").exists());
}

fn mounts_nothing_outside(world: &mut World) {
    let outside = world.dir.path().join("outside");
    symlink(&outside, world.base("out")).unwrap();
    for (link, to) in [("p", "/proc"), ("d", "/dev"), ("r", "/"), ("up", "../../..")] {
        symlink(to, world.base(link)).unwrap();
    }
    for (target, words) in [
        ("/p", "the kernel's own files"),
        ("/p/sys", "the kernel's own files"),
        ("/sys/x", "the kernel's own files"),
        ("/d", "the kernel's own files"),
        ("/r", "it leads to the root"),
        ("/up", "it leads to the root"),
        ("/bin/busybox", "a file there"),
        ("/bin/busybox/x", "a file there"),
    ] {
        world.spec.mounts = vec![mount(target, Content::Tmpfs { bytes: None })];
        match step(world, "touch /ran").0 {
            Err(error @ SandboxError::Mount { .. }) => assert!(error.to_string().contains(words), "{target}: {error}"),
            other => panic!("{target}: {other:?}"),
        }
    }
    let one = world.dir.path().join("one");
    fs::write(&one, "").unwrap();
    world.spec.mounts = vec![mount("/tmp", Content::Host(one))];
    let (outcome, _) = step(world, "touch /ran");
    assert!(
        matches!(&outcome, Err(SandboxError::Mount { cause, .. }) if cause.contains("a directory there")),
        "{outcome:?}"
    );
    assert!(!world.base("ran").exists());
    // The image's link leads to a place in the root; that of the step leads nowhere afterwards.
    for (target, script) in [
        ("/out/canary", "true"),
        ("/a/b", &*format!("mv /a /elsewhere; ln -s {} /a", outside.display())),
        ("/a/canary", &*format!("rm -rf /a; ln -s {} /a", outside.display())),
        ("/etc/hosts", &*format!("mv /etc /was; ln -s {} /etc", outside.display())),
    ] {
        let file = world.dir.path().join("put");
        fs::write(&file, "from a mount").unwrap();
        world.spec.mounts = vec![mount(target, Content::Host(file))];
        let (outcome, text) = step(world, script);
        // Where the directory of the link is not there in the root, nothing can be made for it.
        assert!(
            matches!(outcome, Ok(Outcome::Exited(0)) | Err(SandboxError::Mount { .. })),
            "{target}: {outcome:?} {text}"
        );
        let left: Vec<_> = fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["canary"], "{target}");
        assert_eq!(fs::read_to_string(outside.join("canary")).unwrap(), "whole", "{target}");
        for name in ["a", "elsewhere"] {
            let path = world.base(name);
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
        }
    }
}

fn refuses_what_it_cannot_keep(world: &mut World) {
    let sane = world.spec.clone();
    let changes: [(&str, Change); 4] = [
        ("a network other", |world| world.spec.surroundings.network = Network::None),
        ("--security=insecure", |world| world.spec.surroundings.security = Security::Insecure),
        ("--shm-size", |world| world.spec.surroundings.shm_bytes = Some(1 << 20)),
        ("size= of RUN --mount=type=tmpfs", |world| {
            world.spec.mounts = vec![mount("/m", Content::Tmpfs { bytes: Some(1 << 20) })];
        }),
    ];
    for (name, change) in changes {
        change(world);
        match step(world, "touch /ran").0 {
            Err(error @ SandboxError::Unavailable { .. }) => {
                assert!(error.to_string().contains(name) && error.hint().is_some(), "{error}");
            }
            other => panic!("{name}: {other:?}"),
        }
        world.spec = sane.clone();
        assert!(!world.base("ran").exists());
    }
}
