//! The agents behind `--ssh`.
//!
//! Takes flags; gives sockets. Must never read a key.

use crate::cmd::Place;
use crate::failure::Failure;
use crate::flags::steps::SshFlag;
use std::collections::BTreeMap;
use std::os::unix::fs::FileTypeExt as _;
use std::path::PathBuf;

/// The socket of each agent; the last of one id wins.
///
/// # Errors
/// What is no socket, or no agent at all.
pub fn find(place: &Place, flags: &[SshFlag]) -> Result<BTreeMap<String, PathBuf>, Failure> {
    flags.iter().map(|flag| Ok((flag.id.clone(), one(place, flag)?))).collect()
}

fn one(place: &Place, SshFlag { id, socket }: &SshFlag) -> Result<PathBuf, Failure> {
    let hint = "start ssh-agent, put the key into it with ssh-add, and give --ssh default or --ssh ID=SOCKET";
    let socket = match socket.clone().or_else(|| place.env.agent()) {
        Some(socket) => socket,
        None => return Err(Failure::usage(format!("--ssh {id}: SSH_AUTH_SOCK is not set"), hint)),
    };
    let meta = std::fs::metadata(&socket)
        .map_err(|e| Failure::usage(format!("--ssh {id}: {}: {e}", socket.display()), hint))?;
    if !meta.file_type().is_socket() {
        let message =
            format!("--ssh {id}: {} is not an agent's socket; keys are not read from files", socket.display());
        return Err(Failure::usage(message, hint));
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_only() {
        let dir = tempfile::tempdir().unwrap();
        let (socket, key) = (dir.path().join("s"), dir.path().join("id_ed25519"));
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        std::fs::write(&key, "key").unwrap();
        let flag = |path: &std::path::Path| format!("a={}", path.display()).parse::<SshFlag>().unwrap();
        assert_eq!(find(&Place::bare(), &[flag(&socket)]).unwrap()["a"], socket);
        for (flag, words) in [
            (flag(&key), "is not an agent's socket; keys are not read from files"),
            (flag(&dir.path().join("absent")), "No such file"),
            ("default".parse().unwrap(), "--ssh default: SSH_AUTH_SOCK is not set"),
        ] {
            let failure = find(&Place::bare(), &[flag]).unwrap_err();
            assert!(failure.to_string().contains(words), "{failure}");
        }
    }
}
