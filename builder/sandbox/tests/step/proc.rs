//! What steps in a chroot are told of their own processes, in place of `/proc`, and that they hear of nobody else.

use crate::Test;
use crate::chroot::{in_a_directory, rooted, sh, step};
use crate::owners::{kill, kill_the_server, set_up_and_server};
use crate::secrets::secret;
use crate::world::World;
use cooper_sandbox::{Files, Outcome, SandboxError, Tier};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

pub const TESTS: &[(&str, Test)] = &[
    ("chroot_tells_where_a_process_is", chroot_tells_where_a_process_is),
    ("chroot_opens_what_a_process_has", chroot_opens_what_a_process_has),
    ("chroot_tells_what_a_process_is", chroot_tells_what_a_process_is),
    ("chroot_tells_of_the_machine", chroot_tells_of_the_machine),
    ("chroot_looks_without_opening", chroot_looks_without_opening),
    ("chroot_tells_of_nobody_else", chroot_tells_of_nobody_else),
    ("chroot_executes_nothing_of_the_builder", chroot_executes_nothing_of_the_builder),
    ("chroot_no_step_without_answers", chroot_no_step_without_answers),
    ("chroot_answers_without_a_terminal", chroot_answers_without_a_terminal),
    ("chroot_nothing_outlives_its_set_up", chroot_nothing_outlives_its_set_up),
];

fn chroot_tells_where_a_process_is(tier: Tier) {
    let Some(world) = &mut rooted(tier) else { return };
    world.spec.cwd = "/made/for/it".into();
    for user in ["", "app", "0:5"] {
        world.spec.user = user.into();
        let script = "cd /proc; readlink self/exe; for link in exe root cwd; do readlink /proc/self/$link; done; \
                      cd /tmp; readlink /proc/thread-self/cwd; readlink //proc/./self//cwd; readlink /proc/self/fd/0; \
                      exec 5</etc/passwd; readlink /proc/self/fd/5; readlink /dev/fd/5; readlink /proc/$$/fd/5; \
                      readlink /proc/self/fd/77";
        let wanted = "/bin/busybox\n/\n/proc\n/tmp\n/tmp\n/dev/null\n/etc/passwd\n/etc/passwd\n/etc/passwd\n";
        assert_eq!(step(world, script).1, wanted, "{user:?}");
    }
    world.spec.user = String::new();
    // What has no place in any root, and what lost its own.
    let text = sh(
        world,
        "readlink /proc/self/fd/1; echo x > /tmp/gone; exec 6< /tmp/gone; rm /tmp/gone; readlink /proc/self/fd/6",
    );
    assert!(text.starts_with("pipe:[") && text.ends_with("\n/tmp/gone (deleted)\n"), "{text}");
    // Itself and its processes are links and directories, as realpath finds out.
    let text = sh(world, "readlink /proc/self; readlink /proc/thread-self; readlink /proc/$$ || echo none");
    let lines: Vec<&str> = text.lines().collect();
    let [own, thread, none] = lines.as_slice() else { panic!("{text}") };
    assert!(own.parse::<u32>().is_ok() && *none == "none", "{text}");
    let (group, number) = thread.split_once("/task/").unwrap();
    assert!(group == number && number.parse::<u32>().is_ok(), "{text}");
    // A child's, also when its parent is gone, and room for a part of the answer.
    sh(world, "cd /tmp; setsid sleep 100 & child=$!; cd /; test $(readlink /proc/$child/cwd) = /tmp");
}

fn chroot_opens_what_a_process_has(tier: Tier) {
    let Some(world) = &mut rooted(tier) else { return };
    for user in ["", "app"] {
        world.spec.user = user.into();
        for (script, wanted) in [
            ("echo in | cat /dev/stdin", "in\n"),
            ("echo in | cat /dev/fd/0 -", "in\n"),
            ("cat /dev/stdin /proc/self/fd/0", ""),
            ("cd /tmp; (echo err > /dev/stderr; echo out > /dev/stdout) 2> e$$ > o$$; cat e$$ o$$", "err\nout\n"),
            ("exec 5< /etc/passwd; head -c 4 <&5; head -c 4 /proc/self/fd/5; head -c 4 /dev/fd/5", "rootrootroot"),
            ("cd /tmp; exec 5> f$$; echo one >&5; echo two >> /dev/fd/5; cat f$$", "one\ntwo\n"),
            ("mkdir -p /tmp/dir; exec 5< /tmp/dir; cat /dev/fd/5; true", "cat: read error: Is a directory\n"),
            ("head -c 4 /proc/self/exe | busybox od -An -c", " 177   E   L   F\n"),
            ("cat /proc/self/fd/77 /proc/self/fd/x 2>/dev/null || echo none", "none\n"),
        ] {
            assert_eq!(step(world, script).1, wanted, "{user:?}: {script}");
        }
    }
    // Only as it could be opened by its name.
    let held = "exec 5< /etc/passwd; busybox su app -c";
    let script = format!(
        "chmod 600 /etc/passwd; {held} 'cat /dev/fd/5'; {held} 'echo x >> /dev/fd/5'; chmod 644 /etc/passwd; {held} 'head -c 4 /dev/fd/5'; {held} 'echo x >> /dev/fd/5'"
    );
    world.spec.user = String::new();
    let (_, text) = step(world, &script);
    assert_eq!(text.matches("Permission denied").count(), 3, "{text}");
    assert!(text.contains("root") && !text.contains("root:"), "{text}");
    assert!(!fs::read_to_string(world.base("etc/passwd")).unwrap().contains("x\n"));
}

fn chroot_tells_what_a_process_is(tier: Tier) {
    let Some(world) = &mut rooted(tier) else { return };
    let outside = world.dir.path().display().to_string();
    for user in ["", "app"] {
        world.spec.user = user.into();
        let text = sh(world, "cat /proc/self/maps");
        assert!(text.contains(" /bin/busybox\n") && text.contains("[stack]") && !text.contains(&outside), "{text}");
        let text = sh(
            world,
            "cat /proc/self/comm; grep Name /proc/thread-self/status; cat /proc/self/cmdline; MINE=5 cat /proc/self/environ",
        );
        assert!(text.starts_with("cat\nName:\tgrep\ncat\0/proc/self/cmdline\0"), "{text:?}");
        assert!(text.contains("MINE=5\0"), "{text:?}");
        let text = sh(
            world,
            "sleep 100 & until grep -q sleep /proc/$!/comm; do :; done; cat /proc/$!/cmdline; cat /proc/self/stat /proc/self/limits",
        );
        assert!(
            text.starts_with("sleep\x00100\0") && text.contains(" (cat) ") && text.contains("Max open files"),
            "{text}"
        );
    }
    // Whatever a process calls itself.
    let script = "cd /tmp; odd=$(printf 'odd\\377'); printf '#!/bin/sh\\nread -r name < /proc/self/comm; : < /proc/self/exe && echo told $name' > $odd; chmod +x $odd; ./$odd";
    let (_, text) = step(world, script);
    assert!(text.starts_with("told odd"), "{text}");
    // What is not the caller's to see is told to nobody: here a process of root's.
    world.spec.user = String::new();
    let script = "KEY=secret sleep 100 & until grep -q sleep /proc/$!/comm; do :; done; cat /proc/$!/environ; \
                  busybox su app -c \"cat /proc/$!/environ /proc/$!/maps && echo told; echo looked\"";
    let text = sh(world, script);
    assert!(text.matches("KEY=secret").count() == 1 && !text.contains("told") && text.contains("looked"), "{text}");
}

fn chroot_looks_without_opening(tier: Tier) {
    let Some(world) = &mut rooted(tier) else { return };
    for user in ["", "app"] {
        world.spec.user = user.into();
        for (script, wanted) in [
            ("echo | stat -Lc %F /dev/fd/0 /dev/stdin /proc/self/fd/0", "fifo\nfifo\nfifo\n"),
            ("stat -Lc %F /dev/stdin", "character special file\n"),
            ("stat -Lc %i /proc/self/exe; stat -c %i /bin/busybox", "same"),
            (
                "stat -c %F /proc/self/exe /proc/self /proc/self/cwd /proc/$$ /proc/self/maps",
                "symbolic link\nsymbolic link\nsymbolic link\ndirectory\nregular empty file\n",
            ),
            (
                "stat -c %F /proc/sys/kernel/osrelease /proc/cpuinfo /proc/self/mounts",
                "regular empty file\nregular file\nregular file\n",
            ),
            ("sleep 9 & test -d /proc/$! && test -e /proc/$!/exe && echo lives", "lives\n"),
            ("for x in 1/exe 1/cmdline 1 self/fd/77 self/fd self/mem; do test -e /proc/$x && echo $x; done; true", ""),
        ] {
            let (outcome, text) = step(world, script);
            let same = text.trim().split_once('\n').is_some_and(|(a, b)| a == b);
            assert!(text == wanted || (wanted == "same" && same), "{user:?}: {script}: {outcome:?} {text}");
        }
    }
}

fn chroot_tells_of_the_machine(tier: Tier) {
    let Some(world) = &mut rooted(tier) else { return };
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let script =
        "cat /proc/sys/kernel/osrelease; cat /proc/mounts /proc/self/mounts /proc/self/cgroup; head -c 9 /proc/meminfo";
    let mounts = "overlay / overlay rw,relatime 0 0\n".repeat(2);
    assert_eq!(sh(world, script), format!("{release}{mounts}0::/\nMemTotal:"));
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap().matches("\nprocessor\t").count() + 1;
    assert_eq!(sh(world, "grep -c ^processor /proc/cpuinfo"), format!("{processors}\n"));
    let two = sh(world, "cat /proc/sys/kernel/random/uuid /proc/sys/kernel/random/uuid");
    let (first, second) = two.trim().split_once('\n').unwrap();
    assert!(first.len() == 36 && second.len() == 36 && first != second, "{two}");
    // What it writes there is its own, until it ends.
    let before = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let script = "mkdir -p /proc/sys/kernel; echo /mine > /proc/sys/kernel/core_pattern; echo b > /proc/sysrq-trigger; chmod 600 /proc/uptime; \
                  echo 9 > /proc/sys/kernel/pid_max; echo mine > /proc/self/comm; rm -r /proc/sys; cat /proc/self/comm";
    assert_eq!(sh(world, script), "cat\n");
    assert_eq!(fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(), before);
    assert_ne!(fs::read_to_string("/proc/sys/kernel/pid_max").unwrap(), "9\n");
    assert!(!world.base("proc").exists());
}

fn chroot_tells_of_nobody_else(tier: Tier) {
    let Some(world) = &mut rooted(tier) else { return };
    let me = std::process::id();
    let mut victim = Command::new("sleep").arg("1000").env("CANARY", "seen").uid(1000).gid(1001).spawn().unwrap();
    let victim_pid = victim.id();
    let script = format!(
        "for pid in 1 2 {me} {victim_pid} $PPID; do for link in exe cwd root fd/0 fd/3; do \
         readlink /proc/$pid/$link && echo told of $pid/$link; done; \
         for file in cmdline environ status stat comm maps; do cat /proc/$pid/$file && echo told of $pid/$file; done; done; \
         for file in mem task kcore ../{me}/cmdline root/proc/1/cmdline cwd/../1/cmdline ns/mnt; do cat /proc/self/$file && echo told of $file; done; \
         readlink /proc/self/../{me}/exe && echo climbed; readlink /proc/self/root/../proc/{me}/exe && echo climbed; readlink /proc/self/exe"
    );
    for user in ["", "app"] {
        world.spec.user = user.into();
        let text = sh(world, &script);
        assert!(!text.contains("told of") && !text.contains("climbed") && !text.contains("seen"), "{user:?}: {text}");
        assert!(text.ends_with("\n/bin/busybox\n"), "it looked: {text}");
    }
    victim.kill().unwrap();
    victim.wait().unwrap();
}

/// By a link, and by a script that such a link interprets.
fn chroot_executes_nothing_of_the_builder(tier: Tier) {
    let Some(world) = &mut rooted(tier) else { return };
    symlink("/proc/self/exe", world.base("bin/link")).unwrap();
    fs::write(world.base("bin/script"), "#!/proc/self/exe\n").unwrap();
    fs::set_permissions(world.base("bin/script"), fs::Permissions::from_mode(0o755)).unwrap();
    for program in ["/bin/link", "/bin/script", "/proc/self/exe", "/dev/fd/3"] {
        // The set-up itself, and a program of the step.
        let aside = tempfile::tempdir_in(world.dir.path()).unwrap();
        if let Files::Whole(whole) = &mut world.spec.files {
            whole.aside = aside.path().to_owned();
        }
        world.spec.argv = vec![program.into(), "__init".into()];
        let (outcome, text) = world.try_run();
        assert!(matches!(outcome, Err(SandboxError::Exec { .. })), "{program}: {outcome:?} {text}");
        let (outcome, text) = step(world, &format!("{program} __init"));
        assert_ne!(outcome.unwrap(), Outcome::Exited(0), "{program}: {text}");
    }
}

fn chroot_no_step_without_answers(tier: Tier) {
    let Some(world) = &mut rooted(tier) else { return };
    let began = Instant::now();
    let killer = std::thread::spawn(kill_the_server);
    let (outcome, text) = step(world, "echo runs; /bin/busybox sleep 60; touch /ran");
    assert!(killer.join().unwrap(), "there was no server: {text}");
    assert!(!world.base("ran").exists() && began.elapsed() < Duration::from_secs(30), "{text}");
    assert!(matches!(outcome, Err(SandboxError::Setup { .. })), "{outcome:?}");
    assert!(fs::read_dir(world.base("proc")).is_err());
}

/// Whoever is in the builder's session could open its terminal by a descriptor for `/dev/tty`.
fn chroot_answers_without_a_terminal(tier: Tier) {
    let Some(world) = &mut rooted(tier) else { return };
    let looker = std::thread::spawn(|| {
        let (_, server) = set_up_and_server()?;
        let stat = fs::read_to_string(format!("/proc/{server}/stat")).ok()?;
        // After the name: state, parent, group, session, terminal.
        let told = |number| stat.rsplit(')').next()?.split_whitespace().nth(number).map(str::to_owned);
        kill(&server).then_some((server.clone(), told(3)?, told(4)?))
    });
    let (outcome, text) = step(world, "/bin/busybox sleep 60");
    assert!(outcome.is_err(), "{outcome:?} {text}");
    let (server, session, terminal) = looker.join().unwrap().unwrap();
    assert_eq!((session, terminal.as_str()), (server, "0"));
}

/// Also what has left the step's session, and its parent.
fn chroot_nothing_outlives_its_set_up(tier: Tier) {
    let Some(world) = &mut rooted(tier) else { return };
    let killer = std::thread::spawn(|| set_up_and_server().is_some_and(|(set_up, _)| kill(&set_up)));
    let (outcome, text) = step(world, "(setsid sleep 4711 &); echo runs; /bin/busybox sleep 60; touch /ran");
    assert!(killer.join().unwrap(), "there was no set-up process: {text}");
    assert!(matches!(outcome, Err(SandboxError::Lost { .. })), "{outcome:?}");
    let lines = fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok());
    let left: Vec<_> = lines.filter(|line| line.starts_with(b"sleep\x004711\0")).collect();
    assert!(left.is_empty() && !world.base("ran").exists(), "{left:?} {text}");
}

/// How often it is measured.
const ROUNDS: usize = 25;
const SECRET: &str = "/run/secrets/s";

/// Says what a step in a chroot pays for each file that it opens, beside one in namespaces, and what one with nothing in it
/// takes. For a person to read, with a release build; not a test.
pub fn time() {
    let mut with_secret = in_a_directory();
    with_secret.spec.mounts = vec![secret(SECRET, "words", (0, 0, 0o400))];
    let worlds = [
        ("namespaces", World::new(), ""),
        ("chroot", in_a_directory(), ""),
        ("chroot", in_a_directory(), "app"),
        ("chroot with a secret", with_secret, ""),
    ];
    for (name, world, user) in worlds {
        let mut world = world.with_probe();
        world.spec.user = user.into();
        let given = world.spec.mounts.iter().map(|mount| mount.target.clone()).collect::<Vec<_>>();
        let mut run = |script: &str| {
            let (outcome, text) =
                if name.starts_with("chroot") { step(&mut world, script) } else { world.try_sh(script) };
            assert_eq!(outcome.unwrap(), Outcome::Exited(0), "{text}");
            text
        };
        let paths = ["/bin/busybox", "/absent", "/proc/self/status", "/dev/null"].map(str::to_owned);
        let opens = paths.into_iter().chain(given).map(|path| {
            let took = run(&format!("probe --opens {path}"));
            format!("{path} {}", took.trim())
        });
        let opens: Vec<_> = opens.collect();
        let empty = (0..ROUNDS).map(|_| {
            let began = Instant::now();
            run("true");
            began.elapsed()
        });
        println!("{name} {user}: nothing {:?}; {}", empty.min().unwrap_or_default(), opens.join("; "));
    }
}
