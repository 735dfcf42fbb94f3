//! What a path of a step names that elsewhere `/proc` would have: found by its text alone.

/// Whose `/proc/PID` a path is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// The caller's.
    Own,
    /// That of its thread.
    OwnThread,
    /// That of the process, or thread, with this number.
    Of(u32),
}

/// What it names there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// Itself. For the caller's it is a link to the number.
    Itself,
    Directory,
    /// A link, by its path below it.
    Link(String),
    File(&'static str),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    Process(Whose, What),
    /// A stream of the caller, by a name that the root has as well.
    Stream(u32),
    /// A file of the machine.
    Machine(&'static str),
}

/// Links of a process that lead to what it has.
const LINKS: [&str; 3] = ["cwd", "exe", "root"];
/// Directories of a process.
const DIRECTORIES: [&str; 2] = ["fd", "task"];
/// Files of a process. None of them is about anything but the process.
const FILES: [&str; 15] = [
    "auxv",
    "cmdline",
    "comm",
    "environ",
    "io",
    "limits",
    "maps",
    "oom_score",
    "oom_score_adj",
    "schedstat",
    "smaps",
    "smaps_rollup",
    "stat",
    "statm",
    "status",
];
/// Files of the machine: those that say something else at each look, and settings of the kernel that tools look at. None
/// of them does anything, whoever reads it.
const MACHINE: [&str; 32] = [
    "loadavg",
    "meminfo",
    "stat",
    "uptime",
    "sys/crypto/fips_enabled",
    "sys/fs/file-max",
    "sys/fs/inotify/max_user_instances",
    "sys/fs/inotify/max_user_watches",
    "sys/fs/nr_open",
    "sys/fs/pipe-max-size",
    "sys/kernel/cap_last_cap",
    "sys/kernel/hostname",
    "sys/kernel/ngroups_max",
    "sys/kernel/osrelease",
    "sys/kernel/ostype",
    "sys/kernel/overflowgid",
    "sys/kernel/overflowuid",
    "sys/kernel/pid_max",
    "sys/kernel/random/boot_id",
    "sys/kernel/random/entropy_avail",
    "sys/kernel/random/poolsize",
    "sys/kernel/random/uuid",
    "sys/kernel/shmall",
    "sys/kernel/shmmax",
    "sys/kernel/threads-max",
    "sys/kernel/version",
    "sys/net/core/somaxconn",
    "sys/net/ipv4/ip_local_port_range",
    "sys/net/ipv6/conf/all/disable_ipv6",
    "sys/vm/max_map_count",
    "sys/vm/overcommit_memory",
    "sys/vm/swappiness",
];
const STREAMS: [&str; 3] = ["stdin", "stdout", "stderr"];

/// What a path names, where it begins at the root and climbs nowhere.
pub(super) fn named(path: &[u8]) -> Option<Named> {
    // Nearly all paths are others.
    if !path.starts_with(b"/") || !path.windows(4).any(|part| matches!(part, b"proc" | b"dev/")) {
        return None;
    }
    let path = std::str::from_utf8(path).ok()?;
    // A slash behind a name has the kernel follow a link to a directory.
    if path.ends_with('/') {
        return None;
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let (whose, rest) = match parts.as_slice() {
        ["dev", "fd", name] => return Some(Named::Process(Whose::Own, descriptor(name)?)),
        ["dev", name] => {
            let stream = (0..).zip(STREAMS).find(|(_, stream)| stream == name);
            return stream.map(|(number, _)| Named::Stream(number));
        }
        ["proc", "self", rest @ ..] => (Whose::Own, rest),
        ["proc", "thread-self", rest @ ..] => (Whose::OwnThread, rest),
        ["proc", rest @ ..] => match (number(rest.first()?), rest) {
            (Some(process), [_, rest @ ..]) => (Whose::Of(process), rest),
            _ => return constant(&MACHINE, &rest.join("/")).map(Named::Machine),
        },
        _ => return None,
    };
    let what = match *rest {
        [] => What::Itself,
        [name] if LINKS.contains(&name) => What::Link(name.to_owned()),
        [name] if DIRECTORIES.contains(&name) => What::Directory,
        [name] => What::File(constant(&FILES, name)?),
        ["fd", name] => descriptor(name)?,
        _ => return None,
    };
    Some(Named::Process(whose, what))
}

fn descriptor(name: &str) -> Option<What> {
    Some(What::Link(format!("fd/{}", number(name)?)))
}

fn constant(known: &[&'static str], name: &str) -> Option<&'static str> {
    known.iter().find(|known| **known == name).copied()
}

/// A number as `/proc` has it for a name.
fn number(name: &str) -> Option<u32> {
    name.parse().ok().filter(|number: &u32| number.to_string() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_understood_by_their_text_alone() {
        let link = |whose, name: &str| Some(Named::Process(whose, What::Link(name.to_owned())));
        for (path, wanted) in [
            ("/proc/self/exe", link(Whose::Own, "exe")),
            ("//proc/./self///fd/12", link(Whose::Own, "fd/12")),
            ("/dev/fd/3", link(Whose::Own, "fd/3")),
            ("/proc/thread-self/cwd", link(Whose::OwnThread, "cwd")),
            ("/proc/12/root", link(Whose::Of(12), "root")),
            ("/proc/self", Some(Named::Process(Whose::Own, What::Itself))),
            ("/proc/12", Some(Named::Process(Whose::Of(12), What::Itself))),
            ("/proc/self/fd", Some(Named::Process(Whose::Own, What::Directory))),
            ("/proc/self/maps", Some(Named::Process(Whose::Own, What::File("maps")))),
            ("/dev/stderr", Some(Named::Stream(2))),
            ("/proc/meminfo", Some(Named::Machine("meminfo"))),
            ("/proc/sys/kernel/random/uuid", Some(Named::Machine("sys/kernel/random/uuid"))),
            ("/proc/self/exe/", None),
            ("/proc/self/fd/../../1/exe", None),
            ("/proc/self/../1/exe", None),
            ("/../proc/self/exe", None),
            ("/proc/self/fd/3/x", None),
            ("/proc/self/fd/03", None),
            ("/proc/self/fd/-1", None),
            ("/proc/+1/exe", None),
            ("/proc/99999999999/exe", None),
            ("/proc/self/mem", None),
            ("/proc/self/task/1/maps", None),
            ("/proc/kcore", None),
            ("/proc/sys/kernel/hostname/", None),
            ("/proc/sys/kernel/core_pattern", None),
            ("/proc", None),
            ("/dev/fd", None),
            ("/dev/null", None),
            ("/dev/fd/3/4", None),
            ("/x/proc/self/exe", None),
            ("proc/self/exe", None),
            ("", None),
        ] {
            assert_eq!(named(path.as_bytes()), wanted, "{path}");
        }
        assert_eq!(named(b"/proc/self/exe\xff"), None);
    }
}
