//! The agents behind `--ssh`, and keys from files: read once, before anything is built.
//!
//! Takes flags; gives what lists keys and signs. Must never put what it read into a message.

use crate::cmd::Place;
use crate::failure::{Exit, Failure};
use crate::flags::steps::SshFlag;
use cooper_engine::agent::{AgentSource, Keys};
use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::sync::Arc;

/// What is read of a file at most, as BuildKit does.
const KEY_BYTES: u64 = 100 * 1024;
const HINT: &str = "start ssh-agent, put the key into it with ssh-add, and give --ssh default or --ssh ID=SOCKET; or give \
                    files of private keys, --ssh ID=KEY,KEY";

/// The agent of each id; the last of one id wins.
///
/// # Errors
/// No agent at all; a file that is no key; a socket among several paths.
pub fn find(place: &Place, flags: &[SshFlag]) -> Result<BTreeMap<String, AgentSource>, Failure> {
    flags.iter().map(|flag| Ok((flag.id.clone(), one(place, flag)?))).collect()
}

fn one(place: &Place, SshFlag { id, paths }: &SshFlag) -> Result<AgentSource, Failure> {
    let usage = |words: String| Failure::usage(format!("--ssh {id}: {words}"), HINT);
    match paths.as_slice() {
        [] => {
            let socket = place.env.agent().ok_or_else(|| usage("SSH_AUTH_SOCK is not set".to_owned()))?;
            if !about(id, &socket)?.file_type().is_socket() {
                return Err(usage(format!("SSH_AUTH_SOCK: {} is not an agent's socket", socket.display())));
            }
            Ok(AgentSource::Socket(socket))
        }
        [socket] if about(id, socket)?.file_type().is_socket() => Ok(AgentSource::Socket(socket.clone())),
        files => {
            let mut keys = Keys::default();
            for file in files {
                add(id, file, &mut keys)?;
            }
            Ok(AgentSource::Keys(Arc::new(keys)))
        }
    }
}

fn add(id: &str, path: &Path, keys: &mut Keys) -> Result<(), Failure> {
    let usage = |words: &str, hint: &str| Failure::usage(format!("--ssh {id}: {}: {words}", path.display()), hint);
    let kind = about(id, path)?.file_type();
    if kind.is_socket() {
        return Err(usage("a socket is given alone", "give the socket of an agent, or files of keys, not both"));
    }
    // A pipe too: what a shell makes of `<(…)`, so that a key need not be on the disk.
    if !kind.is_file() && !kind.is_fifo() {
        return Err(usage("it is neither an agent's socket nor a file", HINT));
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(KEY_BYTES).read_to_end(&mut bytes))
        .map_err(|e| Failure::file(format!("reading {} for --ssh {id}", path.display()), Exit::Usage, e))?;
    keys.add(&bytes).map_err(|e| usage(&e.to_string(), e.hint()))
}

fn about(id: &str, path: &Path) -> Result<Metadata, Failure> {
    std::fs::metadata(path).map_err(|e| Failure::usage(format!("--ssh {id}: {}: {e}", path.display()), HINT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_and_keys() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let _listener = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        let mut keygen = std::process::Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-f", &at("key")]);
        assert!(keygen.status().expect("openssh-client is installed").success());
        std::fs::write(at("text"), "no key").unwrap();
        let find = |flag: String| find(&Place::bare(), &[flag.parse::<SshFlag>().unwrap()]);
        let socket = find(format!("a={}", at("socket"))).unwrap();
        assert!(matches!(&socket["a"], AgentSource::Socket(path) if path.display().to_string() == at("socket")));
        let keys = find(format!("a={0},{0}", at("key"))).unwrap();
        assert_eq!(format!("{:?}", keys["a"]), "Keys(Keys(2))");
        for (flag, words) in [
            (format!("a={}", at("text")), "text: it is no private key"),
            (format!("a={},{}", at("key"), at("socket")), "socket: a socket is given alone"),
            (format!("a={}", dir.path().display()), "it is neither an agent's socket nor a file"),
            (format!("a={}", at("absent")), "No such file"),
            ("default".to_owned(), "--ssh default: SSH_AUTH_SOCK is not set"),
        ] {
            let failure = find(flag).unwrap_err();
            assert!(failure.to_string().contains(words), "{failure}");
        }
    }
}
