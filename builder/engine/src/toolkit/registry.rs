//! A repository of a registry, to read from and to write to.

use super::origin::{Origin, Reader, cause};
use super::pinned::check_names;
use super::reach::Reach;
use super::shipment::{Name, Put, Shipment, Target};
use crate::EngineError;
use crate::event::Direction;
use crate::layers::lock;
use crate::neighbours::Neighbours;
use cooper_image::{Descriptor, Digest, Reference};
use cooper_registry::{Pushed, Raw, RegistryError};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Pieces of a blob that wait to be read.
const WAITING: usize = 4;
/// Most bytes of one. What comes can be a part of megabytes at once, which must not wait here as often as pieces may.
const PIECE: usize = 256 * 1024;

/// Reads from a registry.
pub(super) struct RegistryOrigin {
    reach: Reach,
    name: Reference,
    top: OnceLock<(Descriptor, Vec<u8>)>,
}

impl RegistryOrigin {
    pub(super) fn new(reach: Reach, name: Reference) -> Self {
        Self { reach, name, top: OnceLock::new() }
    }

    /// One that leads to what was fetched from there.
    pub(super) fn having(reach: Reach, name: Reference, top: Raw) -> Self {
        let descriptor = top.descriptor();
        Self { reach, name, top: OnceLock::from((descriptor, top.bytes.into_inner())) }
    }

    fn fetch(&self, d: Option<&Descriptor>) -> Result<(Descriptor, Vec<u8>), EngineError> {
        let raw = self.reach.wait(self.reach.client().raw(&self.name, d))?;
        Ok((raw.descriptor(), raw.bytes.into_inner()))
    }
}

impl Origin for RegistryOrigin {
    fn place(&self) -> String {
        self.name.familiar()
    }

    fn top(&self) -> Result<Descriptor, EngineError> {
        if let Some((descriptor, _)) = self.top.get() {
            return Ok(descriptor.clone());
        }
        let fetched = self.fetch(None)?;
        Ok(self.top.get_or_init(|| fetched).0.clone())
    }

    fn document(&self, d: &Descriptor) -> Result<Vec<u8>, EngineError> {
        match self.top.get().filter(|(known, _)| known.digest == d.digest && known.size == d.size) {
            Some((_, bytes)) => Ok(bytes.clone()),
            None => Ok(self.fetch(Some(d))?.1),
        }
    }

    fn open(&self, d: &Descriptor) -> Result<Reader, EngineError> {
        self.open_at(d, 0)
    }

    /// The transfer runs on a thread of its own, and no faster than it is read. It ends with its reader: the runtime may
    /// be gone soon after that.
    fn open_at(&self, d: &Descriptor, from: u64) -> Result<Reader, EngineError> {
        let (send, receive) = sync_channel::<Piece>(WAITING);
        let (stay, left) = oneshot::channel::<()>();
        let (reach, name, d) = (self.reach.clone(), self.name.clone(), d.clone());
        let transfer = std::thread::spawn(move || {
            let mut sink = |bytes: &[u8]| hand_on(&send, bytes);
            let transfer = async {
                match from {
                    0 => reach.client().blob(&name, &d, &mut sink).await,
                    _ => reach.client().end_of_blob(&name, &d, from, &mut sink).await,
                }
            };
            let done = reach.runtime().block_on(async {
                tokio::select! {
                    done = transfer => done.map_err(EngineError::from),
                    // A reader that is gone wants no more of it.
                    _ = left => Ok(()),
                }
            });
            if let Err(error) = done {
                let kind = match &error {
                    // When a mirror was wrong, whoever reads again is served by another place.
                    EngineError::Registry(RegistryError::Mirror(_)) => io::ErrorKind::ConnectionReset,
                    EngineError::Registry(RegistryError::Digest { .. }) => io::ErrorKind::InvalidData,
                    _ => io::ErrorKind::Other,
                };
                let _ = send.send(Err(io::Error::new(kind, error)));
            }
        });
        let ends = Some((receive, stay, transfer));
        Ok(Box::new(Arriving { ends, piece: Vec::new(), at: 0 }))
    }

    fn size(&self, d: &Descriptor) -> Result<Option<u64>, EngineError> {
        self.reach.wait(self.reach.client().blob_size(&self.name, &d.digest))
    }

    fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, EngineError> {
        self.reach.wait(self.reach.client().referrers(&self.name, subject, None))
    }

    fn repository(&self) -> Option<&Reference> {
        Some(&self.name)
    }
}

/// Gives bytes to the reader; waits for it while enough of them wait.
fn hand_on(send: &SyncSender<Piece>, bytes: &[u8]) -> io::Result<()> {
    let mut pieces = bytes.chunks(PIECE).map(|piece| send.send(Ok(piece.to_vec())));
    pieces.try_for_each(|sent| sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe)))
}

/// Bytes of a blob, or why no more come.
type Piece = io::Result<Vec<u8>>;

/// A blob on its way.
struct Arriving {
    /// What comes, what holds the transfer, and its thread.
    ends: Option<(Receiver<Piece>, oneshot::Sender<()>, JoinHandle<()>)>,
    piece: Vec<u8>,
    at: usize,
}

impl Drop for Arriving {
    fn drop(&mut self) {
        let Some((receive, stay, transfer)) = self.ends.take() else { return };
        // It waits for this reader to take something, or for the registry.
        drop((receive, stay));
        // Whatever went wrong was said, or nobody asked.
        let _ = transfer.join();
    }
}

impl Read for Arriving {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.at >= self.piece.len() {
            match self.ends.as_ref().map(|(receive, ..)| receive.recv()) {
                Some(Ok(piece)) => (self.piece, self.at) = (piece?, 0),
                // The transfer has ended well: whatever went wrong would have been said.
                Some(Err(_)) | None => return Ok(0),
            }
        }
        let rest = self.piece.get(self.at..).unwrap_or_default();
        let n = rest.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..n), rest.get(..n)) {
            to.copy_from_slice(from);
        }
        self.at += n;
        Ok(n)
    }
}

/// Writes to a repository.
pub struct RegistryTarget {
    reach: Reach,
    repository: Reference,
    /// What the store knows of other repositories, where there is one.
    near: Option<Neighbours>,
    has: Has,
}

/// In which repository of a registry blobs are that were brought there.
pub(super) type Has = Arc<Mutex<BTreeMap<Digest, Reference>>>;

impl RegistryTarget {
    /// Into the repository of a name, whatever tag or digest that has.
    pub fn new(reach: Reach, name: &Reference) -> Self {
        Self::beside(reach, name, &Has::default())
    }

    /// The same, where other things come to repositories of that registry: what these have is taken from there.
    pub(super) fn beside(reach: Reach, name: &Reference, has: &Has) -> Self {
        let repository = name.repository_only();
        let near = reach.store().map(|store| Neighbours::of(store, &repository));
        Self { reach, repository, near, has: Arc::clone(has) }
    }

    fn put(&self, at: &Reference, d: &Descriptor, bytes: &[u8]) -> Result<(), EngineError> {
        self.reach.wait(self.reach.client().push_manifest(at, bytes, &d.media_type)).map(drop)
    }
}

impl Target for RegistryTarget {
    fn begin(&self, all: &Shipment) -> Result<(), EngineError> {
        check_names(all, "send it under a tag, without the part from the @ on")
    }

    fn put_blob(&self, d: &Descriptor, from: &Arc<dyn Origin>) -> Result<Put, EngineError> {
        let (origin, wanted) = (Arc::clone(from), d.clone());
        let source = Arc::new(move |from| {
            let opened = if from == 0 { origin.open(&wanted) } else { origin.open_at(&wanted, from) };
            opened.map_err(io::Error::other)
        });
        let known = from.repository().filter(|near| near.host() == self.repository.host());
        let brought = lock(&self.has).get(&d.digest).filter(|near| **near != self.repository).cloned();
        let near = known.or(brought.as_ref()).or_else(|| self.near.as_ref()?.having(&d.digest));
        let pushed = self.reach.client().push_stream(&self.repository, d, source, near);
        let pushed = self.reach.runtime().block_on(pushed);
        if pushed.is_ok() {
            lock(&self.has).entry(d.digest.clone()).or_insert_with(|| self.repository.clone());
        }
        match (pushed, near) {
            (Ok(Pushed::Existed), _) => Ok(Put::Existed),
            (Ok(Pushed::Mounted), Some(near)) => Ok(Put::Mounted { from: near.clone() }),
            (Ok(Pushed::Uploaded | Pushed::Mounted), _) => Ok(Put::Sent),
            // The failure of the other side, not of this one.
            (Err(RegistryError::Local { source, .. }), _) => {
                Err(cause(source, || format!("reading {} of {}", d.digest, from.place())))
            }
            (Err(e), _) => Err(e.into()),
        }
    }

    fn put_document(&self, d: &Descriptor, bytes: &[u8]) -> Result<(), EngineError> {
        self.put(&self.repository.with_digest(d.digest.clone()), d, bytes)
    }

    fn name(&self, d: &Descriptor, bytes: &[u8], names: &[Name]) -> Result<(), EngineError> {
        let mut tags = Vec::new();
        for name in names {
            match name {
                Name::Full(at) => match at.tag().filter(|_| at.digest().is_none()) {
                    Some(tag) => tags.push(tag),
                    None => self.put(at, d, bytes)?,
                },
                Name::Tag(tag) => tags.push(tag),
            }
        }
        if tags.is_empty() {
            return Ok(());
        }
        let client = self.reach.client();
        let sent = client.push_manifest_tagged(&self.repository, &tags, bytes, (&d.media_type, &d.digest));
        self.reach.wait(sent)
    }

    fn direction(&self) -> Direction {
        Direction::Push
    }

    fn sends_by_name(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A transfer that stays behind would wait on a runtime that is gone.
    #[test]
    fn a_transfer_ends_with_its_reader() {
        use std::io::Write as _;
        use std::net::TcpListener;
        use std::time::Duration;
        // A registry that sends the beginning of a blob, and then nothing.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let name: Reference = format!("{}/team/app:1", listener.local_addr().unwrap()).parse().unwrap();
        let blob = vec![7_u8; 1 << 20];
        let part = blob.get(..1 << 16).unwrap().to_vec();
        let registry = std::thread::spawn(move || {
            let mut space = [0; 4096];
            let next = || {
                let end = listener.accept().unwrap().0;
                end.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                end
            };
            let mut end = next();
            loop {
                match end.read(&mut space).unwrap() {
                    0 => end = next(),
                    n if String::from_utf8_lossy(&space[..n]).contains("/blobs/") => break,
                    _ => end.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap(),
                }
            }
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 1048576\r\n\r\n";
            end.write_all(&[head.as_bytes(), &part].concat()).unwrap();
            match end.read(&mut space) {
                Ok(n) => n == 0,
                Err(e) => e.kind() == io::ErrorKind::ConnectionReset,
            }
        });
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let client = cooper_registry::Client::new(Default::default()).unwrap();
        let origin = RegistryOrigin::new(Reach::without_store(client, runtime.handle().clone()), name);
        let mut reader = origin.open(&Descriptor::of(cooper_image::MediaType::OciLayer, &blob)).unwrap();
        reader.read_exact(&mut [0; 1000]).unwrap();
        drop(reader);
        assert!(registry.join().unwrap(), "the transfer goes on though nobody reads it");
    }

    #[test]
    fn little_waits_however_much_comes_at_once() {
        let bytes: Vec<u8> = (0..4 << 20 | 1_usize).map(|n| (n % 251) as u8).collect();
        let (send, receive) = sync_channel(WAITING);
        let read = std::thread::scope(|scope| {
            scope.spawn(|| {
                let send = send;
                hand_on(&send, &bytes).unwrap();
            });
            let pieces: Vec<Vec<u8>> = receive.iter().map(Result::unwrap).collect();
            assert!(pieces.iter().all(|piece| piece.len() * WAITING <= 1 << 20), "a megabyte waits at most");
            pieces.concat()
        });
        assert!(read == bytes);
        let (send, receive) = sync_channel(WAITING);
        drop(receive);
        assert_eq!(hand_on(&send, b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
