//! Becoming root without being root: a user namespace with the subordinate ids that the machine's
//! administrator gave to the user. Takes the user's identity from the process and the machine's
//! files; never maps an id that was not given.

use crate::{IDMAP_ARGUMENT, SandboxError, apparmor, container, owners, probe, sys};
use cooper_image::limits::PASSWD_BYTES;
use rustix::thread::{CapabilitySet, UnshareFlags};
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, Read};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// With which rights steps run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// As the machine's (or container's) root: may make devices and trusted attributes.
    Root,
    /// As root of a user namespace: may not.
    Rootless,
    /// As root of a user namespace with a single id, which is the user's: owners are recorded (`owners`).
    OneId,
    /// As root of a container that lets nobody mount or leave a namespace: in a chroot.
    Container,
}

/// The inode number that the kernel gives to the first user namespace, for all time.
const FIRST_USER_NAMESPACE: u64 = 0xefff_fffd;

/// What this process is, provided that it is privileged.
pub(crate) fn tier_here() -> Tier {
    // Whoever only asks is told of less than there is.
    tier_of_namespace().unwrap_or(Tier::Rootless)
}

/// As [`tier_here`], for whoever builds on the answer.
pub(crate) fn tier_of_namespace() -> io::Result<Tier> {
    match std::fs::metadata("/proc/self/ns/user") {
        Ok(namespace) if namespace.ino() == FIRST_USER_NAMESPACE => Ok(Tier::Root),
        Ok(_) if ids_of("/proc/self/uid_map")? == 1 || ids_of("/proc/self/gid_map")? == 1 => Ok(Tier::OneId),
        Ok(_) => Ok(Tier::Rootless),
        // A kernel that knows none.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Tier::Root),
        Err(error) => Err(error),
    }
}

/// The same, told as an error where it cannot be found out: a store belongs to one tier.
pub(crate) fn tier_found() -> Result<Tier, SandboxError> {
    tier_of_namespace().map_err(SandboxError::io("look at the own user namespace"))
}

/// How many ids a map of the kernel's has.
fn ids_of(map: &str) -> io::Result<u64> {
    let text = std::fs::read_to_string(map)?;
    Ok(text.lines().filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok()).sum())
}

/// The first of two ids that means nobody in this user namespace, with its kind.
///
/// # Errors
/// The kernel's maps cannot be read.
pub fn unmapped(uid: Option<u32>, gid: Option<u32>) -> io::Result<Option<(&'static str, u32)>> {
    for (kind, map, id) in [("uid", "/proc/self/uid_map", uid), ("gid", "/proc/self/gid_map", gid)] {
        if let Some(id) = id
            && !maps(&std::fs::read_to_string(map)?, id)
        {
            return Ok(Some((kind, id)));
        }
    }
    Ok(None)
}

/// Is this id in a map? Each line is a first id inside, one outside, and how many there are (user_namespaces(7)).
fn maps(map: &str, id: u32) -> bool {
    map.lines().any(|line| {
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        matches!(numbers[..], [first, _, count] if (first..first.saturating_add(count)).contains(&id.into()))
    })
}

/// The work order for the helper, as arguments after the process id.
#[derive(Debug, Serialize, Deserialize)]
struct Maps {
    newuidmap: PathBuf,
    uid: Vec<String>,
    newgidmap: PathBuf,
    gid: Vec<String>,
}

/// One of the two kinds of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ids {
    Users,
    Groups,
}

impl Ids {
    pub(crate) fn tool(self) -> &'static str {
        match self {
            Self::Users => "newuidmap",
            Self::Groups => "newgidmap",
        }
    }

    pub(crate) fn file(self) -> &'static str {
        match self {
            Self::Users => "/etc/subuid",
            Self::Groups => "/etc/subgid",
        }
    }
}

/// Whether this process may do what steps need without a user namespace.
pub(crate) fn is_privileged() -> bool {
    rustix::process::geteuid().is_root()
        && rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN))
}

/// Makes this process able to run steps: as root (be it that of an outer user namespace) by doing
/// nothing, otherwise by becoming root of a new user namespace. Call it first in `main`, while the process has a single thread.
///
/// A root that can do neither, in a container, becomes nothing else; its steps run in a chroot.
pub fn enter_user_namespace() -> Result<Tier, SandboxError> {
    if is_privileged() {
        return tier_found();
    }
    if is_contained() {
        return container::usable().map(|()| Tier::Container);
    }
    // Before anything else fails of it, in other words.
    if !may_have_namespaces() {
        return Err(namespaces_denied("tried"));
    }
    let maps = match plan() {
        Ok(maps) => maps,
        Err(lacking) if owners::are_recorded_here() => return enter_with_one_id(&lacking),
        // More ids would not help there.
        Err(lacking) => return Err(probe::check_kernel().err().unwrap_or(lacking)),
    };
    crate::caller::remember();
    let mut helper = Command::new("/proc/self/exe")
        .arg0("cooper")
        .arg(IDMAP_ARGUMENT)
        .arg(std::process::id().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(SandboxError::io("start the id map helper"))?;
    // The helper stays outside; it ends without work when the order never comes.
    let left = sys::unshare(UnshareFlags::NEWUSER);
    if let (Ok(()), Some(mut stdin)) = (&left, helper.stdin.take()) {
        crate::protocol::write_line(&mut stdin, &maps).map_err(SandboxError::io("order the id map"))?;
    }
    let done = helper.wait_with_output().map_err(SandboxError::io("wait for the id map helper"))?;
    left.map_err(|error| namespaces_denied(&error.to_string()))?;
    if !done.status.success() {
        return Err(SandboxError::Unavailable {
            feature: "subordinate ids",
            cause: String::from_utf8_lossy(&done.stderr).trim().to_owned(),
            hint: "newuidmap and newgidmap must be setuid root; in a container without CAP_SYS_ADMIN they need file \
                   capabilities instead: chmod u-s, then setcap cap_setuid+ep and setcap cap_setgid+ep"
                .into(),
        });
    }
    prove_rights()?;
    Ok(Tier::Rootless)
}

/// AppArmor lets the namespace be made but makes its root powerless; see at once. The mounts are its own, so that it can
/// make more (`own_program`).
fn prove_rights() -> Result<(), SandboxError> {
    sys::unshare(PROOF).map_err(|error| namespaces_denied(&error.to_string()))
}

/// What root of a user namespace with rights can leave, beside it.
const PROOF: UnshareFlags = UnshareFlags::NEWUTS.union(UnshareFlags::NEWNS);

/// What every step leaves as well.
const OF_STEPS: UnshareFlags = UnshareFlags::NEWPID.union(UnshareFlags::NEWIPC).union(UnshareFlags::NEWCGROUP);

/// Would [`enter_user_namespace`] get one with rights, and a step its namespaces in it? Tried in a child process.
pub(crate) fn may_have_namespaces() -> bool {
    sys::may_unshare(&[UnshareFlags::NEWUSER, PROOF, OF_STEPS]).unwrap_or(false)
}

/// Would a step get its namespaces from this process, which has what it takes to make some? Tried in a child process.
pub(crate) fn prove_namespaces() -> Result<(), SandboxError> {
    if sys::may_unshare(&[PROOF, OF_STEPS]).unwrap_or(false) { Ok(()) } else { Err(namespaces_denied("tried")) }
}

/// Becomes root of a user namespace that has the user's own id alone: the kernel lets everybody map that.
fn enter_with_one_id(lacking: &SandboxError) -> Result<Tier, SandboxError> {
    crate::caller::remember();
    tracing::debug!(%lacking, "owners are recorded");
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    sys::unshare(UnshareFlags::NEWUSER).map_err(|error| namespaces_denied(&error.to_string()))?;
    let write = |map: &str, text: String| {
        std::fs::write(Path::new("/proc/self").join(map), text).map_err(SandboxError::io("write an id map"))
    };
    // Without it the kernel lets nobody map a group who has no rights outside.
    write("setgroups", "deny".to_owned())?;
    write("uid_map", format!("0 {uid} 1"))?;
    write("gid_map", format!("0 {gid} 1"))?;
    prove_rights()?;
    owners::prove_looks(lacking)?;
    Ok(Tier::OneId)
}

/// Why this process, which entered no namespace yet, will have a single id where it does; nothing where it has more.
pub fn lacking_ids() -> Option<SandboxError> {
    if is_privileged() || is_contained() {
        return None;
    }
    plan().err()
}

/// Why a user namespace could not be had, from the settings that can forbid it.
pub(crate) fn namespaces_denied(observed: &str) -> SandboxError {
    let setting = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned());
    let is = |path: &str, value: &str| setting(path).is_ok_and(|found| found == value);
    let none_of = |kind: &&str| is(&format!("/proc/sys/user/max_{kind}_namespaces"), "0");
    if let Some(kind) = ["user", "mnt", "pid", "uts", "ipc", "cgroup"].into_iter().find(none_of) {
        return none_allowed(kind, observed);
    }
    let profile = apparmor::profile();
    let (cause, hint) = if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        ("kernel.unprivileged_userns_clone is 0", "sysctl -w kernel.unprivileged_userns_clone=1".to_owned())
    } else if apparmor::restricts(profile.as_deref()) {
        ("AppArmor restricts unprivileged user namespaces", apparmor::spared())
    } else {
        return denied_untold("user namespaces", observed, profile.as_deref());
    };
    SandboxError::Unavailable { feature: "user namespaces", cause: format!("{cause} ({observed})"), hint }
}

fn none_allowed(kind: &str, observed: &str) -> SandboxError {
    let setting = format!("user.max_{kind}_namespaces");
    let (cause, hint) = (format!("{setting} is 0 ({observed})"), format!("sysctl -w {setting}=28633"));
    let feature = if kind == "user" { "user namespaces" } else { "namespaces" };
    SandboxError::Unavailable { feature, cause, hint }
}

/// Why nothing can be mounted by whoever has namespaces.
pub(crate) fn mounts_denied(observed: &io::Error) -> SandboxError {
    denied_untold("mounts", &observed.to_string(), apparmor::profile().as_deref())
}

/// Where no setting tells, for a process that a profile of AppArmor confines or none.
fn denied_untold(feature: &'static str, observed: &str, profile: Option<&str>) -> SandboxError {
    let cause = match profile {
        Some(profile) => format!("AppArmor's profile {profile}, the kernel or a seccomp profile denies them"),
        None => "the kernel or an outer container's seccomp profile denies them".to_owned(),
    };
    let rules = profile.map(|_| format!("give that profile {}, or ", apparmor::RULES)).unwrap_or_default();
    SandboxError::Unavailable {
        feature,
        cause: format!("{cause} ({observed})"),
        hint: format!(
            "{rules}run as root, or start the outer container with --security-opt seccomp=unconfined --security-opt \
             apparmor=unconfined --security-opt systempaths=unconfined"
        ),
    }
}

/// Is this a root without rights over the machine, who cannot get a user namespace with several ids either?
pub(crate) fn is_contained() -> bool {
    rustix::process::geteuid().is_root() && !is_privileged() && (plan().is_err() || !may_have_namespaces())
}

fn plan() -> Result<Maps, SandboxError> {
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let name = own_name();
    let map = |ids, own: u32| Ok(arguments(own, &given(ids, &name)?));
    Ok(Maps {
        newuidmap: privileged_tool(Ids::Users)?.0,
        uid: map(Ids::Users, uid)?,
        newgidmap: privileged_tool(Ids::Groups)?.0,
        gid: map(Ids::Groups, gid)?,
    })
}

/// The login name of this process's user; its number as text when it has none.
pub(crate) fn own_name() -> String {
    let uid = rustix::process::getuid().as_raw().to_string();
    let passwd = read_bounded("/etc/passwd").unwrap_or_default();
    passwd
        .lines()
        .find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)? == uid).then(|| name.to_owned())
        })
        .unwrap_or(uid)
}

/// Finds `newuidmap` or `newgidmap`, able to do its work, and says what makes it so.
pub(crate) fn privileged_tool(ids: Ids) -> Result<(PathBuf, &'static str), SandboxError> {
    let path = tool(ids)?;
    let unable = |cause: String, hint: String| SandboxError::Unavailable { feature: ids.tool(), cause, hint };
    let setuid = std::fs::metadata(&path).is_ok_and(|meta| meta.mode() & 0o4000 != 0);
    let mut value = [0_u8; 64];
    let capable = rustix::fs::getxattr(&path, "security.capability", &mut value).is_ok();
    if !setuid && !capable {
        let cause = format!("{} is neither setuid nor has a file capability", path.display());
        return Err(unable(cause, format!("chmod u+s {}", path.display())));
    }
    if rustix::thread::no_new_privs().unwrap_or(false) {
        let hint = "start the outer container with privilege escalation allowed, without no_new_privs";
        return Err(unable("this process may gain no rights (no_new_privs)".to_owned(), hint.to_owned()));
    }
    Ok((path, if setuid { "setuid" } else { "file capability" }))
}

/// Finds `newuidmap` or `newgidmap`.
fn tool(ids: Ids) -> Result<PathBuf, SandboxError> {
    tool_in(ids, &["/usr/bin", "/bin", "/usr/sbin", "/sbin", "/usr/local/bin"].map(Path::new))
}

/// Not by PATH: what is found will be trusted with privileges.
fn tool_in(ids: Ids, directories: &[&Path]) -> Result<PathBuf, SandboxError> {
    directories.iter().map(|directory| directory.join(ids.tool())).find(|path| path.is_file()).ok_or_else(|| {
        SandboxError::Unavailable {
            feature: ids.tool(),
            cause: "not installed".into(),
            hint: "install the package uidmap (Debian, Ubuntu) or shadow-utils (Fedora)".into(),
        }
    })
}

/// The ranges (first, count) given to a user.
pub(crate) fn given(ids: Ids, name: &str) -> Result<Vec<(u32, u32)>, SandboxError> {
    let uid = rustix::process::getuid().as_raw().to_string();
    let ranges = ranges(&read_bounded(ids.file()).unwrap_or_default(), name, &uid);
    if ranges.is_empty() {
        return Err(SandboxError::Unavailable {
            feature: "subordinate ids",
            cause: format!("{} has no range for {name}", ids.file()),
            hint: format!("usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}"),
        });
    }
    Ok(ranges)
}

fn ranges(text: &str, name: &str, uid: &str) -> Vec<(u32, u32)> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.trim().split(':');
            let owner = fields.next()?;
            let first: u32 = fields.next()?.parse().ok()?;
            let count: u32 = fields.next()?.parse().ok()?;
            first.checked_add(count)?;
            ((owner == name || owner == uid) && count > 0).then_some((first, count))
        })
        .collect()
}

/// Root inside is the user itself; the given ids follow from 1 on.
fn arguments(own: u32, ranges: &[(u32, u32)]) -> Vec<String> {
    let mut arguments = vec!["0".to_owned(), own.to_string(), "1".to_owned()];
    let mut inside: u32 = 1;
    for (first, count) in ranges {
        let Some(next) = inside.checked_add(*count) else {
            break;
        };
        arguments.extend([inside.to_string(), first.to_string(), count.to_string()]);
        inside = next;
    }
    arguments
}

fn read_bounded(path: &str) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(PASSWD_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// The helper's whole life: waits for the order, then has the maps of process `pid` written.
pub(crate) fn helper(pid: &str) -> ExitCode {
    let mut line = Vec::new();
    let mut input = std::io::stdin().lock().take(PASSWD_BYTES);
    if input.read_until(b'\n', &mut line).is_err() {
        return ExitCode::FAILURE;
    }
    let Ok(maps) = serde_json::from_slice::<Maps>(&line) else {
        return ExitCode::FAILURE;
    };
    for (tool, arguments) in [(maps.newuidmap, maps.uid), (maps.newgidmap, maps.gid)] {
        // The tool's own words go to the shared standard error.
        let done = Command::new(tool).arg(pid).args(arguments).stdin(Stdio::null()).status();
        if !done.is_ok_and(|status| status.success()) {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_by_name_or_number() {
        let text = "ann:100000:65536\nbob:165536:65536\n1000:500000:10\nann:x:1\nann:5:0\n\
                    ann:4294967295:9\n";
        for (name, uid, expected) in [
            ("ann", "1000", vec![(100_000, 65_536), (500_000, 10)]),
            ("bob", "7", vec![(165_536, 65_536)]),
            ("eve", "8", vec![]),
        ] {
            assert_eq!(ranges(text, name, uid), expected, "{name}");
        }
    }

    #[test]
    fn ids_are_in_a_map_or_mean_nobody() {
        let map = "         0       1000          1\n         1     100000      65536\n";
        for (id, known) in [(0, true), (1, true), (65_536, true), (65_537, false), (u32::MAX, false)] {
            assert_eq!(maps(map, id), known, "{id}");
        }
        assert!(maps("0 0 4294967295\n", u32::MAX - 1) && !maps("0 0 4294967295\n", u32::MAX));
        assert_eq!(unmapped(Some(0), None).unwrap(), None);
    }

    #[test]
    fn tools_are_files_in_the_given_directories() {
        let dir = tempfile::tempdir().unwrap();
        let (empty, full) = (dir.path().join("empty"), dir.path().join("full"));
        std::fs::create_dir_all(empty.join("newuidmap")).unwrap();
        std::fs::create_dir(&full).unwrap();
        std::fs::write(full.join("newuidmap"), "").unwrap();
        assert_eq!(tool_in(Ids::Users, &[&empty, &full]).unwrap(), full.join("newuidmap"));
        match tool_in(Ids::Users, &[&empty]) {
            Err(SandboxError::Unavailable { feature, hint, .. }) => {
                assert!(feature == "newuidmap" && hint.contains("uidmap"), "{feature}: {hint}");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_profile_that_denies_is_named() {
        let denied = |profile| denied_untold("mounts", "tried", profile);
        let (named, other) = (denied(Some("cooper")), denied(None));
        assert!(named.to_string().contains("AppArmor's profile cooper, the kernel"), "{named}");
        assert!(
            named.hint().unwrap().starts_with("give that profile flags=(attach_disconnected) and `userns,`"),
            "{named:?}"
        );
        assert!(
            !other.to_string().contains("AppArmor") && other.hint().unwrap().starts_with("run as root"),
            "{other:?}"
        );
    }

    #[test]
    fn root_is_the_user_itself() {
        let map = arguments(1000, &[(100_000, 65_536), (500_000, 10)]).join(" ");
        assert_eq!(map, "0 1000 1 1 100000 65536 65537 500000 10");
    }
}
