//! An ssh agent for a step: a socket of its own, behind which the user's agent lists keys and signs, and does nothing
//! else.
//!
//! Takes the agent's socket and a directory; gives a socket in it, served until dropped. Must never pass on a request
//! that adds, removes or locks keys, as BuildKit does not.

use crate::layers::give;
use cooper_dockerfile::mount::Ownership;
use cooper_layerfs::owners::Owners;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Largest message of the protocol that is passed on, as OpenSSH.
const MESSAGE_BYTES: usize = 256 * 1024;
/// Most connections of a step at once; more are closed as they come.
const CONNECTIONS: usize = 64;
/// How often the end of the step is looked for.
const TICK: Duration = Duration::from_millis(50);
/// Requests of draft-miller-ssh-agent that are passed on: list keys, sign.
const PERMITTED: [u8; 2] = [11, 13];
/// Its answer to all others.
const FAILURE: &[u8] = &[0, 0, 0, 1, 5];

/// A served socket.
pub struct Agent {
    path: PathBuf,
    over: Arc<AtomicBool>,
}

impl Agent {
    /// Serves a socket in `dir`, with the owner and mode that the step wants (0600 for root when it does not say).
    pub fn start(agent: &Path, dir: &Path, (owned, owners): (Ownership, Owners)) -> io::Result<Self> {
        // Told now, not when the step needs it.
        UnixStream::connect(agent)?;
        let path = dir.join("agent");
        // A socket's path may not be long; that of a store may.
        let place = File::open(dir)?;
        let listener = UnixListener::bind(format!("/proc/self/fd/{}/agent", place.as_raw_fd()))?;
        give(owners, &path, Some(owned.uid.unwrap_or(0)), Some(owned.gid.unwrap_or(0)))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(owned.mode.unwrap_or(0o600)))?;
        listener.set_nonblocking(true)?;
        let over = Arc::new(AtomicBool::new(false));
        let (ended, agent) = (Arc::clone(&over), agent.to_owned());
        std::thread::Builder::new().name("ssh agent".to_owned()).spawn(move || serve(&listener, &agent, &ended))?;
        Ok(Self { path, over })
    }

    /// The socket.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

fn serve(listener: &UnixListener, agent: &Path, over: &AtomicBool) {
    // Each connection holds one of it.
    let connections = Arc::new(());
    while !over.load(Ordering::SeqCst) {
        match listener.accept() {
            Ok(_) if Arc::strong_count(&connections) > CONNECTIONS => {}
            Ok((step, _)) => {
                let (agent, one) = (agent.to_owned(), Arc::clone(&connections));
                let talk = move || {
                    // A connection that breaks is the step's to notice.
                    let _ = step.set_nonblocking(false).and_then(|()| talk(step, &agent));
                    drop(one);
                };
                if let Err(error) = std::thread::Builder::new().spawn(talk) {
                    tracing::warn!(%error, "an ssh agent could not be served");
                }
            }
            Err(_) => std::thread::sleep(TICK),
        }
    }
}

fn talk(mut step: UnixStream, agent: &Path) -> io::Result<()> {
    let mut agent = UnixStream::connect(agent)?;
    while let Some(request) = message(&mut step)? {
        let permitted = request.get(4).is_some_and(|kind| PERMITTED.contains(kind));
        if !permitted {
            step.write_all(FAILURE)?;
            continue;
        }
        agent.write_all(&request)?;
        let Some(answer) = message(&mut agent)? else { return Ok(()) };
        step.write_all(&answer)?;
    }
    Ok(())
}

/// One message with its length in front; `None` at the end.
fn message(from: &mut UnixStream) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let size = u32::from_be_bytes(length) as usize;
    if size > MESSAGE_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = length.to_vec();
    message.resize(size + length.len(), 0);
    from.read_exact(message.get_mut(length.len()..).unwrap_or_default())?;
    Ok(Some(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me() -> Ownership {
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        Ownership { uid: Some(uid), gid: Some(gid), mode: None }
    }

    #[test]
    fn connections_are_bounded_and_free_again() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real");
        let _behind = UnixListener::bind(&real).unwrap();
        let own = dir.path().join("own");
        std::fs::create_dir(&own).unwrap();
        let agent = Agent::start(&real, &own, (me(), Owners::Kernel)).unwrap();
        // What is not permitted is answered without the real agent.
        let ask = |step: &mut UnixStream| {
            step.write_all(&[0, 0, 0, 1, 19]).and_then(|()| message(step)).is_ok_and(|answer| answer.is_some())
        };
        let connect = || UnixStream::connect(agent.path()).unwrap();
        let mut held: Vec<UnixStream> = std::iter::repeat_with(connect).take(CONNECTIONS).collect();
        assert!(held.iter_mut().all(ask));
        assert!(!ask(&mut connect()));
        held.clear();
        let end = std::time::Instant::now() + Duration::from_secs(60);
        while !ask(&mut connect()) {
            assert!(std::time::Instant::now() < end, "no connection was given back");
            std::thread::sleep(TICK);
        }
    }

    #[test]
    fn keys_are_listed_and_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real");
        let behind = UnixListener::bind(&real).unwrap();
        let asked = std::thread::spawn(move || {
            // The first connection only looks whether somebody is there.
            drop(behind.accept().unwrap());
            let (mut client, _) = behind.accept().unwrap();
            let mut kinds = Vec::new();
            while let Some(request) = message(&mut client).unwrap() {
                kinds.push(request[4]);
                client.write_all(&[0, 0, 0, 5, 12, 0, 0, 0, 0]).unwrap();
            }
            kinds
        });
        let own = dir.path().join("own");
        std::fs::create_dir(&own).unwrap();
        let agent = Agent::start(&real, &own, (me(), Owners::Kernel)).unwrap();
        let mut step = UnixStream::connect(agent.path()).unwrap();
        for (kind, answer) in [(11, 12), (19, 5), (13, 12), (17, 5)] {
            step.write_all(&[0, 0, 0, 1, kind]).unwrap();
            assert_eq!(message(&mut step).unwrap().unwrap()[4], answer, "{kind}");
        }
        drop(step);
        assert_eq!(asked.join().unwrap(), [11, 13]);
        assert_eq!(std::fs::metadata(agent.path()).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
