//! Secrets as files of steps in a chroot: whoever asks for one finds a file, and no disk has it.

use crate::Test;
use crate::chroot::{inventory, mount, rooted, sh, step};
use crate::world::World;
use cooper_sandbox::{Content, Files, Mount, Outcome, Private, SandboxError, Tier, run};
use rustix::process::DumpableBehavior;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

pub const TESTS: &[(&str, Test)] = &[
    ("chroot_secrets_are_files", chroot_secrets_are_files),
    ("chroot_secrets_are_found_by_every_path", chroot_secrets_are_found_by_every_path),
    ("chroot_secrets_are_found_by_links_of_users", chroot_secrets_are_found_by_links_of_users),
    ("chroot_secrets_are_for_whom_their_mode_says", chroot_secrets_are_for_whom_their_mode_says),
    ("chroot_secrets_answer_every_call_or_fail", chroot_secrets_answer_every_call_or_fail),
    ("chroot_secrets_are_in_memory_alone", chroot_secrets_are_in_memory_alone),
    ("chroot_secrets_survive_no_step", chroot_secrets_survive_no_step),
    ("chroot_secrets_need_answers", chroot_secrets_need_answers),
];

/// As it is in no other file of the machine.
fn sentinel() -> String {
    format!("sentinel-{:08x}-of-a-secret", std::process::id())
}

pub fn secret(target: &str, text: &str, (uid, gid, mode): (u32, u32, u32)) -> Mount {
    mount(target, Content::File { bytes: Private(text.as_bytes().to_vec()), uid, gid, mode })
}

const OF_ROOT: (u32, u32, u32) = (0, 0, 0o400);

/// What is in the root, whenever the step changed it.
fn untimed(world: &World) -> Vec<String> {
    let lines = inventory(&world.base(""));
    lines.iter().filter_map(|line| line.rsplit_once(' ')).map(|(what, _)| what.to_owned()).collect()
}

fn chroot_secrets_are_files(tier: Tier) {
    let Some(world) = &mut rooted(tier) else { return };
    let large = "0123456789".repeat(100_000);
    fs::write(world.base("etc/conf"), "beneath").unwrap();
    world.spec.mounts = vec![
        secret("/run/secrets/s", "words\n", OF_ROOT),
        secret("/run/secrets/env", "VAR=set\n", (7, 8, 0o444)),
        secret("/run/secrets/none", "", OF_ROOT),
        secret("/run/secrets/large", &large, OF_ROOT),
        secret("/etc/conf", "covers\n", (0, 0, 0o644)),
        secret("/home/app/of-app", "of app\n", (1000, 1001, 0o400)),
    ];
    let before = untimed(world);
    for (script, wanted) in [
        (
            "cd /run/secrets; for t in e f s r; do test -$t s && echo $t; done; test -S s || test -h s || echo neither",
            "e\nf\ns\nr\nneither\n",
        ),
        ("test -f /run/secrets/none && ! test -s /run/secrets/none && cat /run/secrets/none && echo empty", "empty\n"),
        ("! test -e /run/secrets/absent && ! cat /run/secrets/absent 2>/dev/null && echo absent", "absent\n"),
        (
            "cat /run/secrets/s /run/secrets/s; cat < /run/secrets/s; read -r x < /run/secrets/s; echo $x",
            "words\nwords\nwords\nwords\n",
        ),
        (
            "stat -c '%F %s %a %u:%g' /run/secrets/s /run/secrets/env",
            "regular file 6 400 0:0\nregular file 8 444 7:8\n",
        ),
        (
            "ls -ln /run/secrets/s | busybox cut -c 1-10; busybox find /run/secrets -name s -type f",
            "-r--------\n/run/secrets/s\n",
        ),
        (". /run/secrets/env; echo $VAR", "set\n"),
        (
            "cd /tmp; busybox cp -p /run/secrets/env copy; cat copy; stat -c '%F %s %a %u:%g' copy; rm copy",
            "VAR=set\nregular file 8 444 7:8\n",
        ),
        (
            "exec 5< /run/secrets/s; head -c 2 <&5; cat /dev/fd/5 /proc/self/fd/5; cat /dev/stdin < /run/secrets/s",
            "wowords\nwords\nwords\n",
        ),
        (
            "busybox dd if=/run/secrets/large bs=10 skip=99999 2>/dev/null; busybox wc -c < /run/secrets/large",
            "01234567891000000\n",
        ),
        ("busybox tar cf - -C / run/secrets/s | busybox tar xOf -", "words\n"),
        (
            "busybox md5sum < /run/secrets/large > /tmp/one; for i in 1 2 3 4 5 6 7 8; do busybox md5sum < /run/secrets/large > /tmp/$i & done; wait; \
          for i in 1 2 3 4 5 6 7 8; do busybox cmp /tmp/one /tmp/$i || echo $i differs; done; rm /tmp/*",
            "",
        ),
        ("cat /etc/conf /home/app/of-app", "covers\nof app\n"),
    ] {
        assert_eq!(step(world, script).1, wanted, "{script}");
    }
    // What was copied was removed again.
    assert_eq!(untimed(world), before);
    assert_eq!(fs::read_to_string(world.base("etc/conf")).unwrap(), "beneath");
    // One that is put over another is the one.
    world.spec.mounts = vec![secret("/s", "first", OF_ROOT), secret("/s", "second", OF_ROOT)];
    assert_eq!(sh(world, "cat /s"), "second");
}

fn chroot_secrets_are_found_by_every_path(tier: Tier) {
    let Some(world) = &mut rooted(tier) else { return };
    fs::create_dir_all(world.base("var/deep")).unwrap();
    fs::create_dir_all(world.base("root")).unwrap();
    for (link, to) in [
        ("var/run", "/run"),
        ("var/deep/run", "../../run"),
        ("root/.npmrc", "/run/secrets/s"),
        ("root/other", ".npmrc"),
        ("var/deep/up", "../../../../../run/secrets/s"),
        ("var/loop", "loop"),
    ] {
        symlink(to, world.base(link)).unwrap();
    }
    world.spec.mounts = vec![secret("/run/secrets/s", "words\n", (0, 0, 0o444))];
    for user in ["", "app"] {
        world.spec.user = user.into();
        for (from, paths) in [
            ("/", "/run/secrets/s //run/./secrets//s /run/secrets/../secrets/s /../../run/secrets/s run/secrets/s"),
            ("/run/secrets", "s ./s ../secrets/s ../../run/secrets/s"),
            ("/run", "secrets/s ../run/secrets/s"),
            ("/", "/var/run/secrets/s /var/deep/run/secrets/s /root/.npmrc /root/other /var/deep/up"),
            ("/root", ".npmrc other ../var/run/secrets/s"),
            ("/var/deep", "run/secrets/s up ../run/secrets/s"),
        ] {
            let script =
                format!("cd {from}; for p in {paths}; do cat $p && test -f $p && stat -Lc %s $p || echo not $p; done");
            let count = paths.split(' ').count();
            assert_eq!(step(world, &script).1, "words\n6\n".repeat(count), "{user:?}: {from}: {paths}");
        }
        let links = "stat -c %F /root/.npmrc /var/deep/up /var/run; readlink /root/.npmrc; cat /run/secrets/s/ /var/loop 2>&1; true";
        let wanted = "symbolic link\nsymbolic link\nsymbolic link\n/run/secrets/s\n\
                      cat: can't open '/run/secrets/s/': Not a directory\n\
                      cat: can't open '/var/loop': Symbolic link loop\n";
        assert_eq!(
            step(world, links).1.replace("Too many levels of symbolic links", "Symbolic link loop"),
            wanted,
            "{user:?}"
        );
    }
    world.spec.user = String::new();
    // Where the step has moved it, or given it another name, it is until the step ends.
    let moved = "mkdir /tmp/a; mv /run/secrets/s /tmp/a/s; cat /tmp/a/s; ln /tmp/a/s /tmp/b; cat /tmp/b; mv /tmp/a /tmp/c; cat /tmp/c/s";
    assert_eq!(sh(world, &format!("{moved}; cd /tmp/c; mv /tmp/c /tmp/d; cat s ../b")), "words\n".repeat(5));
}

/// In a directory for everybody the kernel follows nobody's links but one's own, nor for root, where that is set: it mostly
/// is.
fn chroot_secrets_are_found_by_links_of_users(tier: Tier) {
    const PROTECTED: &str = "/proc/sys/fs/protected_symlinks";
    let Some(world) = &mut rooted(tier) else { return };
    world.spec.mounts = vec![secret("/run/secrets/s", "words\n", (0, 0, 0o444))];
    let script = "busybox chmod 1777 /tmp; \
                  busybox su app -c 'ln -s /run/secrets/s /tmp/own; cat /tmp/own; test -f /tmp/own && stat -Lc %s /tmp/own'; \
                  cat /tmp/own 2>/dev/null || echo closed";
    let before = fs::read(PROTECTED).unwrap();
    fs::write(PROTECTED, "1").unwrap();
    let (_, text) = step(world, script);
    fs::write(PROTECTED, before).unwrap();
    assert_eq!(text, "words\n6\nclosed\n");
}

fn chroot_secrets_are_for_whom_their_mode_says(tier: Tier) {
    let Some(world) = &mut rooted(tier) else { return };
    let all = |world: &mut World| {
        world.spec.mounts = vec![
            secret("/s/root", "root ", OF_ROOT),
            secret("/s/app", "app ", (1000, 0, 0o400)),
            secret("/s/group", "group ", (0, 1001, 0o040)),
            secret("/s/extra", "extra ", (0, 50, 0o440)),
            secret("/s/all", "all ", (0, 0, 0o004)),
            secret("/s/nobody", "nobody ", (1000, 0, 0)),
        ];
    };
    let look =
        "for n in root app group extra all nobody; do cat /s/$n 2>/dev/null; test -r /s/$n && echo +; done; true";
    let of_app = "app +\ngroup +\nextra +\nall +\n";
    for (user, wanted) in [
        ("", "root +\napp +\ngroup +\nextra +\nall +\nnobody +\n"),
        ("app", of_app),
        ("1000:1001", "app +\ngroup +\nall +\n"),
        ("5:5", "all +\n"),
    ] {
        all(world);
        world.spec.user = user.into();
        assert_eq!(step(world, look).1, wanted, "{user:?}");
    }
    world.spec.user = String::new();
    assert_eq!(sh(world, &format!("busybox su app -c '{look}'")), of_app);
    // Nor by a way that leads there and that is not theirs, nor by a descriptor that only names it.
    let script = "mkdir -m 700 /p; ln -s /s/all /p/l; mkdir /q; ln -s /p/l /q/l; busybox su app -c 'cat /s/all; cat /p/l || cat /q/l || echo closed' 2>/dev/null";
    assert_eq!(sh(world, script), "all closed\n");
    assert_eq!(sh(world, "exec 5< /s/root; busybox su app -c 'cat /dev/fd/5 2>/dev/null || cat <&5'"), "root ");
}

fn chroot_secrets_answer_every_call_or_fail(tier: Tier) {
    let Some(world) = rooted(tier) else { return };
    let mut world = world.with_probe();
    world.spec.mounts = vec![secret("/run/secrets/s", "words of a secret", (0, 0, 0o444))];
    symlink("run/secrets/s", world.base("link")).unwrap();
    for user in ["", "app"] {
        world.spec.user = user.into();
        let text = sh(&mut world, "probe --secret /run/secrets/s /link");
        // What one who may not write is told first.
        let refused = if user.is_empty() { "EROFS" } else { "EACCES" };
        let wanted = [
            "read: words of a secret",
            "again: words of a secret",
            "from the end: secret",
            "by threads: 64",
            "from its directory: words of a secret",
            "write: ERR",
            "read and write: ERR",
            "truncate: ERR",
            "append: ERR",
            "make: words of a secret",
            "make anew: EEXIST",
            "as a directory: ENOTDIR",
            "the link itself: ELOOP",
            "write by number: EROFS",
            "may be read: yes",
            "may be written: ERR",
            "may be executed: EACCES",
            "openat2: ENXIO",
            "execute: EACCES",
            "stat: file 17 444 1",
            "lstat: file 17 444 1",
            "of the link: link",
            "fstat: file 17 444 1",
            "from its directory: file 17 444 1",
            "statx: file 17 444 1",
            "unopened: file 17 444 1",
            "unopened, statx: file 17 444 1",
            "unopened, opened by number: words of a secret",
            "one file: true",
        ];
        let wanted = wanted.map(|line| line.replace("ERR", refused)).join("\n");
        assert_eq!(text.trim_end(), wanted, "{user:?}");
    }
}

/// Which files below a directory have the text, also those that are only open.
fn with_text(text: &str, directory: &Path) -> String {
    let found = Command::new("grep").args(["-ral", text]).arg(directory).output().unwrap();
    String::from_utf8_lossy(&found.stdout).into_owned()
}

fn chroot_secrets_are_in_memory_alone(tier: Tier) {
    let Some(world) = &mut rooted(tier) else { return };
    let text = sentinel();
    fs::create_dir(world.base("srv")).unwrap();
    fs::write(world.base("srv/s"), "beneath").unwrap();
    let before = inventory(&world.base(""));
    for (script, cancelled) in [
        ("cat /srv/s /new/s", false),
        ("cat /srv/s /new/s; exit 3", false),
        ("cat /srv/s /new/s; busybox sleep 60", true),
    ] {
        world.spec.mounts = vec![secret("/srv/s", &text, OF_ROOT), secret("/new/s", &text, (1000, 1001, 0o444))];
        let aside = tempfile::tempdir_in(world.dir.path()).unwrap();
        if let Files::Whole(whole) = &mut world.spec.files {
            whole.aside = aside.path().to_owned();
        }
        world.spec.argv = ["/bin/sh", "-c", script].map(String::from).to_vec();
        let (dir, cancel, mut read) = (world.dir.path().to_owned(), AtomicBool::new(false), String::new());
        let mut looked = false;
        let outcome = run(
            &world.spec,
            &mut |bytes| {
                read.push_str(&String::from_utf8_lossy(bytes));
                if read.matches(&text).count() == 2 && !looked {
                    looked = true;
                    assert_eq!(with_text(&text, &dir), "", "while it runs");
                    // Of all that runs only the step and who answers have it, and neither says it in words or variables.
                    for process in fs::read_dir("/proc").unwrap().flatten() {
                        for told in ["cmdline", "environ"] {
                            let told = fs::read(process.path().join(told)).unwrap_or_default();
                            assert!(!String::from_utf8_lossy(&told).contains(&text), "{:?}", process.path());
                        }
                    }
                    cancel.store(cancelled, Ordering::Relaxed);
                }
            },
            &cancel,
        );
        assert!(looked, "{script}: {outcome:?} {read}");
        assert_eq!(matches!(outcome, Err(SandboxError::Cancelled)), cancelled, "{outcome:?}");
        assert_eq!(with_text(&text, world.dir.path()), "", "{script}");
        drop(aside);
        assert_eq!(inventory(&world.base("")), before, "{script}");
    }
    // The step's first process has none of its descriptors.
    world.spec.mounts = vec![secret("/srv/s", &text, OF_ROOT)];
    let held = "for n in 3 4 5 6 7 8 9 10 11 12 13 14 15; do test -e /proc/self/fd/$n && echo $n; readlink /proc/self/fd/$n; done; true";
    assert_eq!(sh(world, held), "");
}

fn chroot_secrets_survive_no_step(tier: Tier) {
    let Some(world) = &mut rooted(tier) else { return };
    fs::create_dir(world.base("srv")).unwrap();
    fs::write(world.base("srv/s"), "beneath").unwrap();
    let before = untimed(world);
    for (number, script) in [
        "rm /srv/s /new/s",
        "mv /srv/s /srv/t; mv /new/s /s",
        "rm /srv/s; echo mine > /srv/s",
        "mv /new/s /srv/s",
        "rm -r /new; mkdir /new",
        "busybox chmod 644 /srv/s; busybox chown 5:6 /srv/s; ! echo lost > /srv/s; ! busybox truncate -s 0 /srv/s",
    ]
    .into_iter()
    .enumerate()
    {
        let words = format!("words of {number}");
        world.spec.mounts = vec![secret("/srv/s", &words, OF_ROOT), secret("/new/s", &words, OF_ROOT)];
        assert_eq!(sh(world, &format!("cat /srv/s /new/s; {{ {script}; }} 2>/dev/null")), words.repeat(2), "{script}");
        let _made = fs::remove_dir(world.base("new"));
        assert_eq!(untimed(world), before, "{script}");
    }
    // A file that is made in the place of one is itself, also where the number of the other could be given again.
    world.spec.mounts = vec![secret("/new/s", "words", OF_ROOT)];
    let script = "rm /new/s; for n in 1 2 3 4 5 6 7 8; do echo $n > /new/$n; done; cat /new/*; rm -r /new";
    assert_eq!(sh(world, script), "1\n2\n3\n4\n5\n6\n7\n8\n");
    // Another name of one is of nothing in the next step.
    world.spec.mounts = vec![secret("/new/s", "words", OF_ROOT)];
    sh(world, "ln /new/s /kept");
    world.spec.mounts = vec![secret("/new/s", "others", OF_ROOT)];
    let (outcome, text) = step(world, "cat /new/s; cat /kept");
    assert!(outcome.unwrap() == Outcome::Exited(1) && text.starts_with("others") && !text.contains("words"), "{text}");
}

/// Where nobody can answer, the step does not begin.
fn chroot_secrets_need_answers(tier: Tier) {
    let Some(world) = &mut rooted(tier) else { return };
    world.spec.mounts = vec![secret("/s", "words", OF_ROOT)];
    let refused = |world: &mut World, why: &str| {
        match step(world, "touch /ran").0 {
            Err(error @ SandboxError::Unavailable { .. }) => {
                let (text, hint) = (error.to_string(), error.hint().unwrap_or_default());
                assert!(text.contains("written to the disk") && text.contains(why), "{text}");
                assert!(hint.contains("env=NAME"), "{hint}");
            }
            other => panic!("{why}: {other:?}"),
        }
        assert!(!world.base("ran").exists() && !world.base("s").exists());
    };
    let without = |call, error: i32, then: &mut (dyn FnMut() + Send)| {
        let [allow, refuse] = [SeccompAction::Allow, SeccompAction::Errno(error as u32)];
        let arch = std::env::consts::ARCH.try_into().unwrap();
        let filter = SeccompFilter::new([(call, Vec::new())].into(), allow, refuse, arch).unwrap();
        let filter: BpfProgram = filter.try_into().unwrap();
        let thread = || {
            apply_filter(&filter).unwrap();
            then();
        };
        std::thread::scope(|scope| scope.spawn(thread).join().unwrap());
    };
    without(libc::SYS_landlock_create_ruleset, libc::ENOSYS, &mut || refused(world, "Landlock of Linux 5.19"));
    // As filters of containers have it: there is another way to look.
    without(libc::SYS_process_vm_readv, libc::EPERM, &mut || assert_eq!(sh(world, "cat /s"), "words"));
    // Children of a process that nobody may look into are like it.
    let looked_into = |how| rustix::process::set_dumpable_behavior(how).unwrap();
    looked_into(DumpableBehavior::NotDumpable);
    refused(world, "no process may look into another");
    looked_into(DumpableBehavior::Dumpable);
    assert_eq!(sh(world, "cat /s"), "words");
}
