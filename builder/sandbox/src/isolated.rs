//! A network of a step's own that reaches the outside: a helper, pasta or slirp4netns, carries what goes through it.
//!
//! Takes the process that left the host's network; gives it an address, a way out and a name server. The host's
//! loopback is not reached through it. The helper lives outside of the sandbox, ends with whoever started it, and is
//! found in the system's directories only. Must never let a step begin without the network that was asked for.

use crate::spec::Network;
use crate::{NETWORK_ARGUMENT, SandboxError};
use rustix::fs::{Access, MemfdFlags};
use rustix::process::Signal;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

/// Where names are asked for inside: both helpers hand it on to the host's own name server.
const NAME_SERVER: &str = "10.0.2.3";
/// Most bytes of what a helper says that are told.
const SAID: u64 = 2048;
/// Where helpers are looked for; not by PATH, since they come near to the host's network.
const DIRECTORIES: [&str; 5] = ["/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/sbin"];
/// Where networks of programs are made.
const TUN: &str = "/dev/net/tun";
/// Where a helper finds the network that it is for.
const NETWORK: &str = "/proc/self/fd/0";
/// What may be installed, the better one first.
const HELPERS: [&str; 2] = ["pasta", "slirp4netns"];

/// Finds a helper.
///
/// # Errors
/// [`SandboxError::Unavailable`] when there is none.
pub(crate) fn find() -> Result<PathBuf, SandboxError> {
    find_in(&DIRECTORIES.map(Path::new))
}

/// Can steps have this network here? To be asked before anything runs.
///
/// # Errors
/// [`SandboxError::Unavailable`] with what is missing.
pub fn check_network(wanted: Network) -> Result<(), SandboxError> {
    if wanted == Network::Isolated { probe().map(drop) } else { Ok(()) }
}

/// Which helper there is, when it can work.
pub(crate) fn probe() -> Result<PathBuf, SandboxError> {
    let helper = find()?;
    // A helper opens it itself, within its own time; here it can be said at once.
    match rustix::fs::access(TUN, Access::READ_OK | Access::WRITE_OK) {
        Ok(()) => Ok(helper),
        Err(error) => Err(SandboxError::Unavailable {
            feature: "--network=isolated",
            cause: format!("{TUN}, which {} needs, cannot be used: {error}", helper.display()),
            hint: format!(
                "let this user open it, as root: modprobe tun; chmod 666 {TUN} (give a container --device {TUN}); or \
                 choose --network=none or host"
            ),
        }),
    }
}

fn find_in(directories: &[&Path]) -> Result<PathBuf, SandboxError> {
    let all = HELPERS.iter().flat_map(|name| directories.iter().map(move |dir| dir.join(name)));
    all.into_iter().find(|path| path.is_file()).ok_or_else(|| SandboxError::Unavailable {
        feature: "--network=isolated",
        cause: "neither pasta nor slirp4netns is installed".to_owned(),
        hint: "install the package passt or slirp4netns, or choose --network=none or host".to_owned(),
    })
}

/// Arguments for the network at a path.
fn arguments(helper: &Path, network: &str) -> Vec<String> {
    let words = match helper.file_name().and_then(|name| name.to_str()) {
        // Its interface would have the name of the host's. The ports of the host's and of the step's loopback stay where
        // they are, and so does root, whose namespaces they are.
        Some("pasta") => {
            "--foreground --quiet -4 --config-net -I eth0 -a 10.0.2.100 -n 24 -g 10.0.2.2 -t none -u none -T none -U none \
             --no-map-gw --dns-forward 10.0.2.3 --runas 0 --netns-only --netns NETWORK"
        }
        _ => {
            "--configure --mtu=65520 --disable-host-loopback --enable-sandbox --enable-seccomp --netns-type=path NETWORK \
             eth0"
        }
    };
    words.split_whitespace().map(|word| if word == "NETWORK" { network.to_owned() } else { word.to_owned() }).collect()
}

/// A helper at work; it ends with this.
pub(crate) struct Helper {
    child: Child,
    said: File,
    name: String,
}

impl Helper {
    /// Starts one for the network of a process.
    pub(crate) fn start(pid: u32) -> Result<Self, SandboxError> {
        let helper = find()?;
        let memory = rustix::fs::memfd_create("network helper", MemfdFlags::CLOEXEC).map_err(io::Error::from);
        let said = File::from(memory.map_err(SandboxError::io("make a file in memory"))?);
        let [out, err] = [said.try_clone(), said.try_clone()].map(|copy| copy.map(Stdio::from));
        let child = Command::new("/proc/self/exe")
            .arg0("cooper")
            .arg(NETWORK_ARGUMENT)
            .arg(std::process::id().to_string())
            .arg(pid.to_string())
            .arg(&helper)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(out.map_err(SandboxError::io("copy a file"))?)
            .stderr(err.map_err(SandboxError::io("copy a file"))?)
            .process_group(0)
            .spawn()
            .map_err(SandboxError::io("start the network helper"))?;
        let name = helper.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { child, said, name })
    }

    /// Why it ended, when it has: it should not before the step.
    pub(crate) fn ended(&mut self) -> Option<SandboxError> {
        let status = self.child.try_wait().ok().flatten()?;
        let mut text = Vec::new();
        // What it said is only for people.
        let _ = self.said.rewind().and_then(|()| (&self.said).take(SAID).read_to_end(&mut text));
        let text = String::from_utf8_lossy(&text);
        Some(SandboxError::Unavailable {
            feature: "--network=isolated",
            cause: format!("{} ended with {status}: {}", self.name, text.trim()),
            hint: "see that this machine has a route to the outside, or choose --network=none or host".to_owned(),
        })
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // Gone already, or it goes now.
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

/// The internal entry point: `PARENT PID HELPER`. Becomes the helper, which ends when the thread that started it does.
pub(crate) fn main(arguments: &[String]) -> ExitCode {
    let [parent, pid, helper] = arguments else { return ExitCode::FAILURE };
    let error = become_helper(parent, pid, Path::new(helper));
    // Whoever waits reads what is said here; there is nobody else to tell.
    let _unheard = writeln!(io::stderr(), "starting {helper}: {error}");
    ExitCode::FAILURE
}

fn become_helper(parent: &str, pid: &str, helper: &Path) -> io::Error {
    let prepare = || -> io::Result<File> {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().to_string());
        if now.as_deref() != Some(parent) {
            return Err(io::Error::other("the build has ended"));
        }
        // Opened here, since a helper gives up first what that takes.
        File::open(format!("/proc/{pid}/ns/net"))
    };
    match prepare() {
        // As standard input, which no helper reads: pasta closes all that it inherits but the three streams (since 2024).
        Ok(network) => Command::new(helper).args(arguments(helper, NETWORK)).stdin(network).exec(),
        Err(error) => error,
    }
}

/// Does this process's network have a way out yet? From the kernel's table of routes (proc_pid_net(5)).
pub(crate) fn is_ready() -> io::Result<bool> {
    std::fs::read_to_string("/proc/thread-self/net/route").map(|table| has_default_route(&table))
}

fn has_default_route(table: &str) -> bool {
    table.lines().skip(1).any(|line| line.split_whitespace().nth(1) == Some("00000000"))
}

/// What `/etc/resolv.conf` says inside: the helper's name server, and the host's other settings.
pub(crate) fn resolv_conf(host: &[u8]) -> Vec<u8> {
    let mut text = format!("nameserver {NAME_SERVER}\n");
    for line in String::from_utf8_lossy(host).lines().filter(|line| !line.trim_start().starts_with("nameserver")) {
        text.push_str(line);
        text.push('\n');
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helper_is_a_file_of_the_system() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        std::fs::create_dir_all(one.join("pasta")).unwrap();
        std::fs::create_dir(&two).unwrap();
        let missing = find_in(&[&one, &two]).unwrap_err();
        assert!(missing.to_string().contains("neither pasta nor slirp4netns"), "{missing}");
        assert!(missing.hint().unwrap().contains("passt"));
        std::fs::write(one.join("slirp4netns"), "").unwrap();
        assert_eq!(find_in(&[&one, &two]).unwrap(), one.join("slirp4netns"));
        std::fs::write(two.join("pasta"), "").unwrap();
        assert_eq!(find_in(&[&one, &two]).unwrap(), two.join("pasta"));
    }

    #[test]
    fn both_are_kept_from_the_host_s_loopback_and_make_one_interface() {
        for (name, words) in [
            ("pasta", "-T none"),
            ("pasta", "--no-map-gw"),
            ("pasta", "-I eth0"),
            ("slirp4netns", "--disable-host-loopback"),
            ("slirp4netns", " eth0"),
        ] {
            let all = arguments(&Path::new("/usr/bin").join(name), NETWORK).join(" ");
            assert!(all.contains(words) && all.contains(" /proc/self/fd/0"), "{all}");
        }
    }

    #[test]
    fn routes_and_name_servers() {
        let head = "Iface\tDestination\tGateway \tFlags\n";
        assert!(!has_default_route(head));
        assert!(!has_default_route(&format!("{head}eth0\t0002000A\t00000000\t0001\n")));
        assert!(has_default_route(&format!("{head}eth0\t0002000A\t00000000\t0001\neth0\t00000000\t0202000A\t0003\n")));
        let host = b"# here\nnameserver 127.0.0.53\nsearch lan\n nameserver ::1\noptions edns0";
        assert_eq!(resolv_conf(host), b"nameserver 10.0.2.3\n# here\nsearch lan\noptions edns0\n");
    }
}
