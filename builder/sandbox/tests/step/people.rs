//! Who a step runs as, and where it starts.

use crate::Test;
use crate::world::World;
use cooper_sandbox::{Outcome, SandboxError, Stage, Tier};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

pub const TESTS: &[(&str, Test)] = &[
    ("users_are_looked_up_inside", users_are_looked_up_inside),
    ("setuid_works_unless_asked", setuid_works_unless_asked),
    ("working_directory_is_made", working_directory_is_made),
    ("working_directory_may_be_private", working_directory_may_be_private),
    ("working_directory_stays_inside", working_directory_stays_inside),
    ("unmapped_users_are_explained", unmapped_users_are_explained),
];

fn users_are_looked_up_inside(tier: Tier) {
    let mut world = World::new();
    for (user, expected) in [
        ("", "0 0 0 /root\n"),
        ("app", "1000 1001 1001 50 /home/app\n"),
        ("1000", "1000 1001 1001 50 /home/app\n"),
        ("app:extra", "1000 50 50 /home/app\n"),
        ("4242", "4242 0 0 /\n"),
    ] {
        world.spec.user = user.into();
        assert_eq!(world.sh("echo $(id -u) $(id -g) $(id -G) $HOME"), expected, "{user:?}");
    }
    // The first group too: what it may not read stays so for a program that is set to another group. With one id none can
    // be changed.
    if tier != Tier::OneId {
        for (user, expected) in [("", "0"), ("app", "50 1001"), ("app:extra", "50"), ("4242", "0")] {
            world.spec.user = user.into();
            assert_eq!(world.sh("sed -n 's/^Groups:[[:space:]]*//p' /proc/self/status").trim(), expected, "{user:?}");
        }
    }
    for user in ["nobody", "99999999999", "app:nogroup", "2147483648"] {
        world.spec.user = user.into();
        let (outcome, _) = world.try_sh("touch /ran");
        assert!(matches!(outcome, Err(SandboxError::User { .. })), "{user}: {outcome:?}");
        assert!(!world.upper("ran").exists());
    }
}

fn setuid_works_unless_asked(_: Tier) {
    let mut world = World::new();
    world.with_setuid("su");
    // The only account whose password is empty.
    fs::write(world.base("etc/passwd"), "root::0:0::/:/bin/sh\napp:x:1000:1001::/:/bin/sh\n").unwrap();
    world.spec.user = "app".into();
    assert_eq!(world.sh("id -u; /suid/su root -c 'id -u'"), "1000\n0\n");
    world.spec.surroundings.no_new_privs = true;
    let (outcome, text) = world.try_sh("/suid/su root -c 'id -u'");
    assert_ne!(outcome.unwrap(), Outcome::Exited(0), "{text}");
}

fn working_directory_is_made(_: Tier) {
    let mut world = World::new();
    world.spec.user = "app".into();
    world.spec.cwd = "/srv/app/new".into();
    assert_eq!(
        world.sh("pwd; stat -c %a:%u:%g /srv /srv/app ."),
        "/srv/app/new\n755:1000:1001\n755:1000:1001\n755:1000:1001\n"
    );
    assert!(world.upper("srv/app/new").is_dir());
}

fn working_directory_may_be_private(tier: Tier) {
    let mut world = World::new();
    fs::create_dir(world.base("root")).unwrap();
    fs::set_permissions(world.base("root"), fs::Permissions::from_mode(0o700)).unwrap();
    world.spec.user = "app".into();
    world.spec.cwd = "/root".into();
    // With one id all is everybody's.
    let closed = if tier == Tier::OneId { "" } else { "closed\n" };
    assert_eq!(world.sh("pwd; ls 2>/dev/null || echo closed"), format!("/root\n{closed}"));
}

fn working_directory_stays_inside(_: Tier) {
    // Whatever the set-up process has open, one of these is it.
    let descriptors = (3..16).map(|number| (format!("/proc/self/fd/{number}"), None));
    let others =
        [("/proc/1/cwd", None), ("/way", Some("/proc/self/root")), ("/way", Some("/nowhere")), ("/etc/passwd", None)];
    let others = others.into_iter().map(|(cwd, link)| (cwd.to_owned(), link));
    for (cwd, link) in descriptors.chain(others) {
        let mut world = World::new();
        if let Some(target) = link {
            symlink(target, world.base("way")).unwrap();
        }
        world.spec.cwd = cwd.clone();
        let (outcome, _) = world.try_sh("touch /ran");
        let refused = matches!(outcome, Err(SandboxError::Setup { stage: Stage::WorkingDirectory, .. }));
        assert!(refused, "{cwd}: {outcome:?}");
        assert!(!world.upper("ran").exists());
    }
    let mut world = World::new();
    symlink("../../../etc", world.base("way")).unwrap();
    world.spec.cwd = "/way/../way".into();
    assert_eq!(world.sh("pwd"), "/etc\n");
}

fn unmapped_users_are_explained(tier: Tier) {
    let mut world = World::new();
    world.spec.user = "2000000000".into();
    let (outcome, _) = world.try_sh("true");
    match (tier, outcome) {
        (Tier::Root | Tier::OneId, Ok(Outcome::Exited(0))) => {}
        (Tier::Rootless, Err(SandboxError::User { cause, .. })) => assert!(cause.contains("subordinate"), "{cause}"),
        (_, outcome) => panic!("{outcome:?}"),
    }
}
