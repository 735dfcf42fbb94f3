//! What this program does when it is executed inside a step or on an unfit machine: one attempt,
//! one line that says what came of it.

use rustix::net::{AddressFamily, Protocol, SocketType, socket};
use rustix::thread::CapabilitySets;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

/// Serves the probe arguments.
pub fn dispatch(args: &[String]) -> Option<ExitCode> {
    let text = match (args.get(1)?.as_str(), args.get(2)) {
        ("--abstract", Some(name)) => abstract_socket(name),
        ("--sockets", None) => sockets(),
        ("--opens", Some(path)) => opens(path),
        ("--secret", Some(path)) => crate::looks::at(path, args.get(3)?),
        ("--deface", _) => deface(),
        ("--enter", None) => enter(),
        ("--execute", _) => execute(args.get(2..)?),
        ("--keep", Some(program)) => keep(program),
        _ => return None,
    };
    println!("{text}");
    Some(ExitCode::SUCCESS)
}

fn abstract_socket(name: &str) -> String {
    let address = SocketAddr::from_abstract_name(name).unwrap();
    match UnixStream::connect_addr(&address) {
        Ok(_) => "connected".into(),
        Err(error) => format!("{:?}", error.kind()),
    }
}

/// How long it takes to open a file, and to look at it, also once it is open, at best: other processes' turns are in all
/// but the shortest times.
fn opens(path: &str) -> String {
    const TIMES: u32 = 50;
    let shortest = |act: &dyn Fn()| {
        let times = (0..400).map(|_| {
            let began = std::time::Instant::now();
            (0..TIMES).for_each(|_| act());
            began.elapsed().as_nanos() / u128::from(TIMES)
        });
        times.min().unwrap_or_default()
    };
    let opened = shortest(&|| drop(std::fs::File::open(path)));
    let looked_at = shortest(&|| drop(std::fs::symlink_metadata(path)));
    let held = std::fs::File::open(path).ok();
    let open = held.map_or(0, |file| shortest(&|| drop(file.metadata())));
    format!("opened {opened} ns, looked at {looked_at} ns, and open {open} ns")
}

fn sockets() -> String {
    let raw = |number: u32| std::num::NonZero::new(number).map(Protocol::from_raw);
    let packet = AddressFamily::from_raw(libc::AF_PACKET as u16);
    [
        ("packet", socket(packet, SocketType::RAW, None)),
        ("tcp packets", socket(AddressFamily::INET, SocketType::RAW, raw(6))),
        ("tcp", socket(AddressFamily::INET, SocketType::STREAM, None)),
        ("netlink", socket(AddressFamily::NETLINK, SocketType::RAW, None)),
    ]
    .map(|(name, made)| format!("{name} {}", if made.is_ok() { "yes" } else { "no" }))
    .join(", ")
}

/// What it may do to the file that it was executed from.
fn deface() -> String {
    use std::os::unix::fs::PermissionsExt;
    let own = std::path::Path::new("/proc/self/exe");
    let tries = [
        ("write", std::fs::OpenOptions::new().write(true).open(own).map(drop)),
        ("mode", std::fs::set_permissions(own, std::fs::Permissions::from_mode(0o4777))),
        ("owner", std::os::unix::fs::chown(own, Some(0), Some(0))),
        ("times", std::fs::File::open(own).and_then(|file| file.set_modified(std::time::UNIX_EPOCH))),
    ];
    tries.map(|(name, done)| format!("{name} {}", if done.is_ok() { "yes" } else { "no" })).join(", ")
}

/// Why each of the files cannot be executed, and who this process is after that.
fn execute(files: &[String]) -> String {
    use rustix::process::{getegid, geteuid, getgid, getuid};
    let tried = files.iter().map(|file| {
        let error = std::process::Command::new(file).exec();
        format!("{:?}\n{} {} {} {}", error.kind(), getuid(), geteuid(), getgid(), getegid())
    });
    tried.collect::<Vec<_>>().join("\n")
}

/// Becomes another user with the capabilities of this one, after it could not execute a file; then another group.
fn keep(file: &str) -> String {
    use rustix::process::{Gid, Uid, getgid, getuid};
    rustix::thread::set_keep_capabilities(true).unwrap();
    let _error = std::process::Command::new(file).exec();
    rustix::thread::set_thread_uid(Uid::from_raw(1000)).unwrap();
    let sets = rustix::thread::capabilities(None).unwrap();
    rustix::thread::set_capabilities(None, CapabilitySets { effective: sets.permitted, ..sets }).unwrap();
    let group = rustix::thread::set_thread_gid(Gid::from_raw(5));
    group.map_or_else(|error| error.to_string(), |()| format!("{} {}", getuid(), getgid()))
}

fn enter() -> String {
    let lacking = cooper_sandbox::lacking_ids();
    match (cooper_sandbox::enter_user_namespace(), lacking) {
        (Ok(tier), None) => format!("{tier:?}"),
        (Ok(tier), Some(error)) => format!("{tier:?} for: {error}; hint: {}", error.hint().unwrap_or_default()),
        (Err(error @ cooper_sandbox::SandboxError::Unavailable { .. }), _) => {
            format!("unavailable: {error}; hint: {}", error.hint().unwrap_or_default())
        }
        (Err(error), _) => format!("other: {error}"),
    }
}
