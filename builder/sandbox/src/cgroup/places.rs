//! Where this process may make control groups: version 2 where its group is delegated and has the controllers, else the
//! hierarchies of version 1.
//!
//! Reads what the kernel says of this process. Changes something only for version 2, where a group with processes may
//! have no groups with controllers: then this process, when it is the only one in its group, moves into one below it.

use crate::SandboxError;
use crate::idmap::{Tier, tier_here};
use rustix::fs::{Access, access};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Where this process waits, below its former group.
const LEAF: &str = "cooper-builder";

/// Keeps two threads from moving the process at once.
static MOVING: Mutex<()> = Mutex::new(());

/// What limits something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controller {
    /// Memory and swap.
    Memory,
    /// Time of the processors.
    Cpu,
    /// Number of processes.
    Pids,
}

impl Controller {
    const ALL: [Self; 3] = [Self::Memory, Self::Cpu, Self::Pids];

    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Pids => "pids",
        }
    }

    /// The flag that wants it.
    fn flag(self) -> &'static str {
        match self {
            Self::Memory => "--memory",
            Self::Cpu => "--cpus",
            Self::Pids => "--pids",
        }
    }
}

/// Which interface a hierarchy has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A hierarchy for each controller, or for some.
    One,
    /// One hierarchy for all.
    Two,
}

/// A group below which others can be made.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    /// Its interface.
    pub version: Version,
    /// Its directory.
    pub dir: PathBuf,
    /// Those of the wanted controllers that it has; at least one.
    pub controllers: Vec<Controller>,
}

/// The hierarchies, and the group of this process in each, as `/proc` says them.
struct Seen {
    mountinfo: String,
    groups: String,
}

impl Seen {
    fn here() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        Self { mountinfo: read("/proc/self/mountinfo"), groups: read("/proc/self/cgroup") }
    }

    /// The directory of this process's group in the hierarchy of version 2.
    fn unified(&self) -> Option<PathBuf> {
        let path = self.groups.lines().find_map(|line| line.strip_prefix("0::"))?;
        self.mounted(|kind, _| kind == "cgroup2", path)
    }

    /// The same in the hierarchy of version 1 that has a controller.
    fn of_controller(&self, controller: Controller) -> Option<PathBuf> {
        let has = |list: &str| list.split(',').any(|name| name == controller.name());
        let path = self.groups.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (names, path) = rest.split_once(':')?;
            has(names).then_some(path)
        })?;
        self.mounted(|kind, options| kind == "cgroup" && has(options), path)
    }

    /// Where a path of a hierarchy is in the file system (proc_pid_mountinfo(5)).
    fn mounted(&self, wanted: impl Fn(&str, &str) -> bool, path: &str) -> Option<PathBuf> {
        self.mountinfo.lines().find_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let (mut left, mut right) = (left.split(' ').skip(3), right.split(' '));
            let (root, point) = (left.next()?, left.next()?);
            let (kind, _, options) = (right.next()?, right.next()?, right.next()?);
            if !wanted(kind, options) {
                return None;
            }
            let below = Path::new(path).strip_prefix(root).ok()?;
            Some(Path::new(&plain(point)).join(below))
        })
    }
}

/// Undoes the escapes of mountinfo.
fn plain(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// Where groups with these controllers can be made.
///
/// # Errors
/// What is missing, of the first controller that cannot be had.
pub fn places(wanted: &[Controller]) -> Result<Vec<Place>, SandboxError> {
    let _alone = MOVING.lock().unwrap_or_else(PoisonError::into_inner);
    let seen = Seen::here();
    match seen.unified() {
        Some(dir) if wanted.iter().all(|c| offers(&dir, *c)) => delegated(&dir, wanted).map(|place| vec![place]),
        unified => wanted.iter().map(|c| first_version(&seen, *c, unified.as_deref())).collect(),
    }
}

fn first_version(seen: &Seen, controller: Controller, unified: Option<&Path>) -> Result<Place, SandboxError> {
    match seen.of_controller(controller) {
        Some(dir) => match writable(&dir) {
            Ok(()) => Ok(Place { version: Version::One, dir, controllers: vec![controller] }),
            Err(e) => Err(refused(&dir, controller, Version::One, &e)),
        },
        None => Err(missing(controller, unified, Starter::here())),
    }
}

/// Does a group of version 2 have a controller to give? What a leaf of ours was moved out of counts.
fn offers(dir: &Path, controller: Controller) -> bool {
    has(&home(dir).join("cgroup.controllers"), controller)
}

fn has(file: &Path, controller: Controller) -> bool {
    let names = std::fs::read_to_string(file).unwrap_or_default();
    names.split_whitespace().any(|name| name == controller.name())
}

/// The group that this process was in before it moved.
fn home(dir: &Path) -> &Path {
    match dir.parent() {
        Some(parent) if dir.file_name().is_some_and(|name| name == LEAF) => parent,
        _ => dir,
    }
}

fn writable(dir: &Path) -> io::Result<()> {
    for path in [dir.to_owned(), dir.join("cgroup.procs")] {
        access(&path, Access::WRITE_OK)?;
    }
    Ok(())
}

/// May groups with a controller be made below a group of version 2, as [`delegated`] makes it ready for that? Changes
/// nothing.
fn usable(dir: &Path, controller: Controller) -> io::Result<()> {
    let control = dir.join("cgroup.subtree_control");
    writable(dir)?;
    access(&control, Access::WRITE_OK)?;
    // The root of all groups may have processes and groups.
    if !has(&control, controller) && dir.join("cgroup.type").exists() {
        is_alone_in(dir)?;
    }
    Ok(())
}

/// The group of this process, ready to have groups with controllers.
fn delegated(dir: &Path, wanted: &[Controller]) -> Result<Place, SandboxError> {
    let dir = home(dir);
    let place = Place { version: Version::Two, dir: dir.to_owned(), controllers: wanted.to_vec() };
    let first = wanted.first().copied().unwrap_or(Controller::Memory);
    let refused = |e: &io::Error| refused(dir, first, Version::Two, e);
    let control = dir.join("cgroup.subtree_control");
    writable(dir).and_then(|()| Ok(access(&control, Access::WRITE_OK)?)).map_err(|e| refused(&e))?;
    let lacking: Vec<String> =
        wanted.iter().filter(|c| !has(&control, **c)).map(|c| format!("+{}", c.name())).collect();
    if lacking.is_empty() {
        return Ok(place);
    }
    // The root of all groups may have both.
    if dir.join("cgroup.type").exists() {
        step_down(dir).map_err(|e| refused(&e))?;
    }
    std::fs::write(&control, lacking.join(" ")).map_err(|e| refused(&e))?;
    Ok(place)
}

/// Is this process in a group? An error when there are others in it, which are not moved.
fn is_alone_in(dir: &Path) -> io::Result<bool> {
    let own = std::process::id().to_string();
    let members = std::fs::read_to_string(dir.join("cgroup.procs"))?;
    if members.lines().any(|pid| pid != own) {
        return Err(io::Error::other("other processes are in this control group, beside cooper"));
    }
    Ok(!members.is_empty())
}

/// Moves this process into a group below its own.
fn step_down(dir: &Path) -> io::Result<()> {
    if !is_alone_in(dir)? {
        return Ok(());
    }
    let leaf = dir.join(LEAF);
    match std::fs::create_dir(&leaf) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    std::fs::write(leaf.join("cgroup.procs"), std::process::id().to_string())
}

/// A group cannot be made, or not used.
pub fn refused(dir: &Path, controller: Controller, version: Version, error: &io::Error) -> SandboxError {
    SandboxError::Unavailable {
        feature: controller.flag(),
        cause: format!("no control group can be made in {}: {error}", dir.display()),
        hint: match version {
            Version::One => {
                "build as root: this machine has control groups of version 1, which nobody else may make; or \
                             boot it with systemd.unified_cgroup_hierarchy=1"
                    .to_owned()
            }
            Version::Two if error.kind() == io::ErrorKind::ReadOnlyFilesystem => MOUNTED.to_owned(),
            Version::Two => format!("start it in a group of its own: {}", Starter::here().command()),
        },
    }
}

/// What a container needs.
const MOUNTED: &str = "mount /sys/fs/cgroup writable, or build outside of this container";

/// Who can have a group for this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Starter {
    /// The system's service manager, whom the machine's root asks.
    System,
    /// The user's own.
    User,
    /// No systemd runs here.
    Nobody,
}

impl Starter {
    fn here() -> Self {
        // As sd_booted(3).
        if !Path::new("/run/systemd/system").is_dir() {
            return Self::Nobody;
        }
        // An ordinary user is root as well, where the namespace for steps was entered already.
        if rustix::process::geteuid().is_root() && tier_here() == Tier::Root { Self::System } else { Self::User }
    }

    fn command(self) -> &'static str {
        match self {
            Self::System => "systemd-run --scope -p Delegate=yes cooper build …",
            Self::User => "systemd-run --user --scope -p Delegate=yes cooper build …",
            Self::Nobody => "as the only process of one that it may write to, in a container as its first process",
        }
    }

    /// How to get a controller.
    fn delegation(self) -> String {
        let first = match self {
            Self::User => "have it delegated: Delegate=cpu memory pids for user@.service, then ",
            Self::System | Self::Nobody => "start it in a group of its own: ",
        };
        format!("{first}{}", self.command())
    }
}

fn missing(controller: Controller, unified: Option<&Path>, starter: Starter) -> SandboxError {
    let name = controller.name();
    SandboxError::Unavailable {
        feature: controller.flag(),
        cause: match unified {
            Some(dir) => format!("the controller {name} is not in {}", dir.join("cgroup.controllers").display()),
            None => format!("no control groups with the controller {name} are mounted here"),
        },
        hint: match unified {
            Some(_) => format!("{}; or leave {} away", starter.delegation(), controller.flag()),
            None => MOUNTED.to_owned(),
        },
    }
}

/// For the doctor: which limits can be kept, and what is missing for the others. Changes nothing.
pub(crate) fn probe() -> Result<String, SandboxError> {
    let seen = Seen::here();
    let unified = seen.unified();
    let mut kept = Vec::new();
    for controller in Controller::ALL {
        match &unified {
            Some(dir) if offers(dir, controller) => {
                let refused = |e: io::Error| refused(dir, controller, Version::Two, &e);
                let home = home(dir);
                usable(home, controller).map_err(refused)?;
                kept.push((controller, Version::Two));
            }
            _ => kept.push((controller, first_version(&seen, controller, unified.as_deref())?.version)),
        }
    }
    let name = |(controller, version): &(Controller, Version)| {
        let number = if *version == Version::One { 1 } else { 2 };
        format!("{} (version {number})", controller.name())
    };
    Ok(kept.iter().map(name).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
        32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
        35 31 0:32 /docker/ab /sys/fs/cgroup/my\\040memory rw,relatime shared:9 - cgroup cgroup rw,memory\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
    const GROUPS: &str = "9:name=systemd:/\n4:memory:/docker/ab/c\n1:cpuacct,cpu:/jobs/1\n0::/scope\n";

    #[test]
    fn groups_are_found_through_what_is_mounted() {
        let seen = Seen { mountinfo: HYBRID.to_owned(), groups: GROUPS.to_owned() };
        let path = |p: &str| Some(PathBuf::from(p));
        assert_eq!(seen.unified(), path("/sys/fs/cgroup/unified/scope"));
        assert_eq!(seen.of_controller(Controller::Cpu), path("/sys/fs/cgroup/cpu,cpuacct/jobs/1"));
        assert_eq!(seen.of_controller(Controller::Memory), path("/sys/fs/cgroup/my memory/c"));
        assert_eq!(seen.of_controller(Controller::Pids), None);
        let elsewhere = Seen { groups: "4:memory:/other\n".to_owned(), ..seen };
        assert_eq!(elsewhere.of_controller(Controller::Memory), None, "it is not below what is mounted");
    }

    #[test]
    fn what_is_missing_is_named() {
        let missing = |starter| missing(Controller::Pids, Some(Path::new("/sys/fs/cgroup/scope")), starter);
        let by_user = missing(Starter::User);
        assert_eq!(
            by_user.to_string(),
            "--pids not available: the controller pids is not in /sys/fs/cgroup/scope/cgroup.controllers"
        );
        assert!(by_user.hint().unwrap().contains("Delegate=cpu memory pids"));
        for (starter, said) in [
            (Starter::System, "own: systemd-run --scope -p Delegate=yes cooper build …; or leave --pids away"),
            (Starter::User, "then systemd-run --user --scope -p Delegate=yes cooper build …; or leave --pids away"),
            (Starter::Nobody, "in a container as its first process; or leave --pids away"),
        ] {
            let hint = missing(starter).hint().unwrap();
            assert!(hint.ends_with(said), "{hint}");
        }
        let unwritable = io::Error::from(io::ErrorKind::ReadOnlyFilesystem);
        let unwritable = refused(Path::new("/sys/fs/cgroup"), Controller::Cpu, Version::Two, &unwritable);
        assert_eq!(unwritable.hint().as_deref(), Some(MOUNTED));
    }

    #[test]
    fn a_delegated_group_is_made_ready() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("cgroup.controllers", "cpu memory pids\n");
        write("cgroup.subtree_control", "memory\n");
        write("cgroup.type", "domain\n");
        write("cgroup.procs", &format!("{}\n", std::process::id()));
        let place = delegated(dir.path(), &[Controller::Memory, Controller::Pids]).unwrap();
        assert_eq!(place.dir, dir.path());
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("cgroup.subtree_control"), "+pids");
        assert_eq!(read("cooper-builder/cgroup.procs"), std::process::id().to_string());
        // From the leaf it is the same group.
        write("cgroup.subtree_control", "memory pids\n");
        let again = delegated(&dir.path().join(LEAF), &[Controller::Memory, Controller::Pids]).unwrap();
        assert_eq!(again.dir, dir.path());
        // Somebody else's process is not moved.
        write("cgroup.subtree_control", "memory\n");
        write("cgroup.procs", &format!("{}\n1\n", std::process::id()));
        let refused = delegated(dir.path(), &[Controller::Pids]).unwrap_err();
        assert!(refused.to_string().contains("other processes"), "{refused}");
        assert!(refused.hint().unwrap().contains(Starter::here().command()));
        // Who only looks finds the same.
        let seen = usable(dir.path(), Controller::Pids).unwrap_err();
        assert!(refused.to_string().ends_with(&seen.to_string()), "{seen}");
        usable(dir.path(), Controller::Memory).unwrap();
    }
}
