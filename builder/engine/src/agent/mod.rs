//! An ssh agent for a step: a socket of its own, behind which the user's agent or keys of files list keys and sign, and
//! do nothing else.
//!
//! Takes the agent's socket or keys, and a directory; gives a socket in it, served until dropped. Must never pass on a
//! request that adds, removes or locks keys, as BuildKit does not.

mod keys;
mod pair;
mod pem;
#[cfg(test)]
mod tests;
mod wire;

pub use keys::{KeyError, Keys};

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
/// Requests of draft-miller-ssh-agent that are answered: list keys, sign.
const LIST: u8 = 11;
const SIGN: u8 = 13;
/// Its answer to all others.
const FAILURE: u8 = 5;

/// What is behind a socket.
#[derive(Debug, Clone)]
pub enum AgentSource {
    /// The socket of an agent.
    Socket(PathBuf),
    /// Keys of files.
    Keys(Arc<Keys>),
}

/// A served socket.
pub struct Agent {
    path: PathBuf,
    over: Arc<AtomicBool>,
}

impl Agent {
    /// Serves a socket in `dir`, with the owner and mode that the step wants (0600 for root when it does not say).
    pub fn start(source: &AgentSource, dir: &Path, (owned, owners): (Ownership, Owners)) -> io::Result<Self> {
        let agent = Self::start_own(source, dir)?;
        give(owners, agent.path(), Some(owned.uid.unwrap_or(0)), Some(owned.gid.unwrap_or(0)))?;
        std::fs::set_permissions(agent.path(), std::fs::Permissions::from_mode(owned.mode.unwrap_or(0o600)))?;
        Ok(agent)
    }

    /// Serves a socket in `dir` for this process's user.
    pub fn start_own(source: &AgentSource, dir: &Path) -> io::Result<Self> {
        if let AgentSource::Socket(agent) = source {
            // Told now, not when the step needs it.
            UnixStream::connect(agent)?;
        }
        let path = dir.join("agent");
        // A socket's path may not be long; that of a store may.
        let place = File::open(dir)?;
        let listener = UnixListener::bind(format!("/proc/self/fd/{}/agent", place.as_raw_fd()))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let over = Arc::new(AtomicBool::new(false));
        let (ended, source) = (Arc::clone(&over), source.clone());
        std::thread::Builder::new().name("ssh agent".to_owned()).spawn(move || serve(&listener, &source, &ended))?;
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

fn serve(listener: &UnixListener, source: &AgentSource, over: &AtomicBool) {
    // Each connection holds one of it.
    let connections = Arc::new(());
    while !over.load(Ordering::SeqCst) {
        match listener.accept() {
            Ok(_) if Arc::strong_count(&connections) > CONNECTIONS => {}
            Ok((step, _)) => {
                let (source, one) = (source.clone(), Arc::clone(&connections));
                let talk = move || {
                    // A connection that breaks is the step's to notice.
                    let _ = step.set_nonblocking(false).and_then(|()| talk(step, &source));
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

fn talk(mut step: UnixStream, source: &AgentSource) -> io::Result<()> {
    enum Behind<'a> {
        Agent(UnixStream),
        Keys(&'a Keys),
    }
    let mut behind = match source {
        AgentSource::Socket(agent) => Behind::Agent(UnixStream::connect(agent)?),
        AgentSource::Keys(keys) => Behind::Keys(keys),
    };
    while let Some(request) = message(&mut step)? {
        let permitted = request.first().is_some_and(|kind| [LIST, SIGN].contains(kind));
        let answer = match &mut behind {
            _ if !permitted => vec![FAILURE],
            Behind::Keys(keys) => keys.answer(&request),
            Behind::Agent(agent) => {
                send(agent, &request)?;
                let Some(answer) = message(agent)? else { return Ok(()) };
                answer
            }
        };
        send(&mut step, &answer)?;
    }
    Ok(())
}

fn send(to: &mut UnixStream, message: &[u8]) -> io::Result<()> {
    let mut framed = Vec::new();
    wire::put_string(&mut framed, message);
    to.write_all(&framed)
}

/// One message without its length; `None` at the end.
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
    let mut message = vec![0; size];
    from.read_exact(&mut message)?;
    Ok(Some(message))
}
