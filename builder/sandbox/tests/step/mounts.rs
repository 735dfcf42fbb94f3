//! What a step has mounted besides its root, and what else it finds around it.

use crate::Test;
use crate::world::World;
use cooper_sandbox::{Access, Content, Limit, Mount, Outcome, Private, Resource, SandboxError, Security, Tier};
use std::fs;
use std::os::unix::fs::symlink;

pub const TESTS: &[(&str, Test)] = &[
    ("mounted_files_are_read_only_unless_asked", mounted_files_are_read_only_unless_asked),
    ("secrets_are_in_memory_alone", secrets_are_in_memory_alone),
    ("mounts_inside_mounts", mounts_inside_mounts),
    ("targets_go_through_links_that_lead_to_nothing", targets_go_through_links_that_lead_to_nothing),
    ("the_image_says_who_the_user_is", the_image_says_who_the_user_is),
    ("no_target_leads_outside", no_target_leads_outside),
    ("surroundings_are_as_asked", surroundings_are_as_asked),
    ("insecure_is_all_or_nothing", insecure_is_all_or_nothing),
];

fn add(world: &mut World, target: &str, access: Access, content: Content) {
    world.spec.mounts.push(Mount { target: target.into(), access, content });
}

/// Two layers with a file each, as what a mount shows.
fn layers(world: &World, path: &str) -> Content {
    let at = |name: &str| {
        let dir = world.dir.path().join(name);
        fs::create_dir_all(&dir).unwrap();
        dir
    };
    let (low, high) = (at("low"), at("high"));
    fs::create_dir_all(low.join("sub")).unwrap();
    fs::write(low.join("sub/low"), "low\n").unwrap();
    fs::create_dir_all(high.join("sub")).unwrap();
    fs::write(high.join("sub/high"), "high\n").unwrap();
    let _there = symlink("/sub", high.join("link"));
    Content::Layers { lowers: vec![low, high], upper: at("mount-upper"), work: at("mount-work"), path: path.into() }
}

fn mounted_files_are_read_only_unless_asked(_: Tier) {
    let mut world = World::new();
    let host = world.dir.path().join("host");
    fs::create_dir(&host).unwrap();
    fs::write(host.join("f"), "host\n").unwrap();
    let shown = layers(&world, "/link");
    add(&mut world, "/m/ro", Access::ReadOnly, shown.clone());
    add(&mut world, "/m/host", Access::ReadWrite, Content::Host(host.clone()));
    add(&mut world, "/m/file", Access::ReadOnly, Content::Host(host.join("f")));
    let text = world.sh("cat /m/ro/low /m/ro/high /m/file; ! touch /m/ro/x && ! touch /m/file && touch /m/host/new");
    assert!(text.starts_with("low\nhigh\nhost\n"), "{text}");
    assert!(host.join("new").exists());
    assert!(!world.upper("m").exists(), "nothing of a mount is in the layer");
    let mut world = World::new();
    let shown = layers(&world, "/");
    add(&mut world, "/m", Access::ReadWrite, shown);
    world.sh("echo x > /m/sub/new && rm /m/sub/low");
    assert!(world.dir.path().join("mount-upper/sub/new").exists());
    assert!(world.dir.path().join("low/sub/low").exists());
    assert!(!world.upper("m").exists());
}

fn secrets_are_in_memory_alone(tier: Tier) {
    let mut world = World::new();
    let bytes = Private(b"the-secret-itself".to_vec());
    let file = Content::File { bytes, uid: 1000, gid: 1001, mode: 0o400 };
    assert!(!format!("{file:?}").contains("secret-itself"));
    add(&mut world, "/run/secrets/s", Access::ReadOnly, file);
    world.spec.user = "app".into();
    let text =
        world.sh("cat /run/secrets/s; stat -c ' %a %u:%g' /run/secrets/s; ! echo x 2>/dev/null > /run/secrets/s");
    assert!(text.starts_with("the-secret-itself 400 1000:1001"), "{text}");
    assert!(!world.upper("run").exists());
    // Nor in the swap, where the kernel gives such a file system: to root of the machine, from Linux 6.4 on.
    if tier == Tier::Root {
        let mount = world.sh("grep ' /run/secrets/s ' /proc/self/mountinfo");
        assert!(mount.contains("noswap"), "{mount}");
    }
    let walk = std::process::Command::new("grep").args(["-r", "the-secret-itself"]).arg(world.dir.path()).output();
    assert!(walk.unwrap().stdout.is_empty());
}

fn targets_go_through_links_that_lead_to_nothing(_: Tier) {
    let mut world = World::new();
    symlink("/not/there", world.base("far")).unwrap();
    symlink("near", world.base("relative")).unwrap();
    symlink("relative", world.base("chain")).unwrap();
    let file = |text: &str| Content::File { bytes: Private(text.into()), uid: 0, gid: 0, mode: 0o444 };
    add(&mut world, "/far/a/b", Access::ReadOnly, file("deep"));
    add(&mut world, "/chain", Access::ReadWrite, Content::Tmpfs { bytes: None });
    let text =
        world.sh("cat /not/there/a/b /far/a/b; echo; echo x > /near/x; cat /chain/x; test -L /chain && echo link");
    assert_eq!(text, "deepdeep\nx\nlink\n");
    assert!(["not", "near"].iter().all(|name| !world.upper(name).exists()), "nothing of a mount is in the layer");
    let mut world = World::new();
    symlink("/not/there", world.base("file")).unwrap();
    add(&mut world, "/file", Access::ReadOnly, file("end"));
    assert_eq!(world.sh("cat /not/there"), "end");
    assert!(!world.upper("not").exists());
}

/// Whatever the step has in the place of the user databases.
fn the_image_says_who_the_user_is(_: Tier) {
    let mut world = World::new();
    world.spec.user = "app".into();
    add(&mut world, "/etc", Access::ReadWrite, Content::Tmpfs { bytes: None });
    assert_eq!(world.sh("echo $(id -u):$(id -g); ls -A /etc | wc -l"), "1000:1001\n0\n");
    let mut world = World::new();
    let bytes = Private(b"app:x:7:7::/:\n".to_vec());
    add(&mut world, "/etc/passwd", Access::ReadOnly, Content::File { bytes, uid: 0, gid: 0, mode: 0o444 });
    world.spec.user = "app".into();
    assert_eq!(world.sh("echo $(id -u); cut -d: -f3 /etc/passwd"), "1000\n7\n");
}

fn mounts_inside_mounts(_: Tier) {
    let mut world = World::new();
    fs::create_dir(world.base("kept")).unwrap();
    fs::set_permissions(world.base("kept"), std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
    add(&mut world, "/kept", Access::ReadWrite, Content::Tmpfs { bytes: Some(1 << 20) });
    add(&mut world, "/kept/a/b", Access::ReadWrite, Content::Tmpfs { bytes: None });
    let text = world.sh("touch /kept/x /kept/a/b/y && stat -c %a /kept /kept/a/b && ls /kept");
    assert_eq!(text, "711\n1777\na\nx\n");
    let left = fs::symlink_metadata(world.upper("kept")).map(|_| fs::read_dir(world.upper("kept")).unwrap().count());
    assert!(left.is_err() || left.unwrap() == 0);
}

fn no_target_leads_outside(_: Tier) {
    for (link, target) in
        [("/proc", "/l/sys"), ("/", "/l"), ("/sys", "/l/x"), ("/bin/busybox", "/l"), ("CANARY", "/l/x")]
    {
        let mut world = World::new();
        let canary = world.dir.path().join("canary");
        fs::create_dir(&canary).unwrap();
        // Of the machine's there is nothing in the root: the place is made there, below the root.
        let is_host = link == "CANARY";
        let link = if is_host { canary.to_str().unwrap().to_owned() } else { link.to_owned() };
        symlink(&link, world.base("l")).unwrap();
        add(&mut world, target, Access::ReadWrite, Content::Tmpfs { bytes: None });
        let (outcome, _) = world.try_sh("touch /ran; touch /l/x/in-memory");
        match is_host {
            true => assert_eq!(outcome.unwrap(), Outcome::Exited(0), "{link} {target}"),
            false => assert!(matches!(outcome, Err(SandboxError::Mount { .. })), "{link} {target}: {outcome:?}"),
        }
        assert_eq!(world.upper("ran").exists(), is_host);
        assert_eq!(fs::read_dir(&canary).unwrap().count(), 0);
    }
    let mut world = World::new();
    symlink("../../../../tmp", world.base("up")).unwrap();
    add(&mut world, "/up", Access::ReadWrite, Content::Tmpfs { bytes: None });
    world.sh("touch /tmp/in-memory && grep ' /tmp tmpfs' /proc/mounts");
    assert!(!world.upper("tmp/in-memory").exists());
}

fn surroundings_are_as_asked(tier: Tier) {
    let mut world = World::new();
    let around = &mut world.spec.surroundings;
    around.hosts = vec![("db".into(), "10.1.2.3".parse().unwrap())];
    around.shm_bytes = Some(1 << 20);
    let limit = |resource, soft, hard| Limit { resource, soft: Some(soft), hard: Some(hard) };
    around.limits = vec![limit(Resource::Nofile, 77, 88), limit(Resource::Core, 4096, 8192)];
    let text = world.sh("cat /etc/hosts; grep /dev/shm /proc/mounts; ulimit -n; ulimit -Hn; \
        sed -n 's/^Max core file size *//p' /proc/self/limits | tr -s ' '");
    for wanted in ["10.1.2.3\tdb\n", "size=1024k", "77\n88\n4096 8192 bytes"] {
        assert!(text.contains(wanted), "{text}");
    }
    if tier != Tier::Root {
        world.spec.surroundings.limits = vec![Limit { resource: Resource::Nofile, soft: None, hard: None }];
        let (outcome, _) = world.try_sh("touch /ran");
        assert!(matches!(outcome, Err(SandboxError::Setup { .. })), "{outcome:?}");
        assert!(!world.upper("ran").exists());
    }
}

fn insecure_is_all_or_nothing(tier: Tier) {
    let mut world = World::new();
    let (sandboxed, _) = world.try_sh("mount -t tmpfs t /tmp");
    assert_ne!(sandboxed.unwrap(), Outcome::Exited(0));
    world.spec.surroundings.security = Security::Insecure;
    let (outcome, text) =
        world.try_sh("mount -t tmpfs t /tmp && grep -c ' ro,' /proc/mounts; grep Seccomp: /proc/self/status");
    match tier {
        Tier::Root => {
            assert_eq!(outcome.unwrap(), Outcome::Exited(0), "{text}");
            assert!(text.contains("Seccomp:\t0"), "{text}");
            world.spec.user = "app".into();
            let text = world.sh("grep -e CapEff -e CapAmb /proc/self/status");
            let all = std::fs::read_to_string("/proc/self/status").unwrap();
            let mine = all.lines().find_map(|l| l.strip_prefix("CapPrm:\t")).unwrap();
            assert_eq!(text.matches(mine).count(), 2, "{text} {mine}");
        }
        Tier::Rootless | Tier::OneId | Tier::Container => {
            assert!(matches!(outcome, Err(SandboxError::Unavailable { .. })), "{outcome:?}")
        }
    }
}
