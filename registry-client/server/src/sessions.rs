//! Uploads under way: a blob in the making for each, kept between requests.
//!
//! An identifier is 128 random bits and worth nothing in another repository. One request at a time
//! has the blob; when it ends, however it ends, the blob comes back with what was received. One whose client has fallen
//! silent ends for another one that wants to write. An upload whose identifier a
//! client was told lies in the store under a name made of both, so that the next process goes on with it when this one
//! ends, however it ends.

use crate::Limits;
use crate::api_error::{ApiError, Code};
use crate::course::{Course, STALLED};
use cooper_store::{BlobWriter, RepoName, Store, StoreError};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// When there is no room for another, an upload that was left alone for so long goes.
const LEFT_ALONE: Duration = Duration::from_secs(60);

/// How long a request waits for the one before it: until that can be seen to be stalled, of which the last bytes may have
/// been on their way when this one came; and then until what it received is with the system. It looks so often.
const UNTIL_STALLED: Duration = STALLED.saturating_mul(2);
const UNTIL_BACK: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(20);

/// Names an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UploadId(u128);

impl UploadId {
    /// A new one, which nobody can guess.
    fn random() -> Result<Self, ApiError> {
        let mut bytes = [0; 16];
        match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
            // The kernel gives up to 256 bytes whole or fails.
            Ok(_) => Ok(Self(u128::from_ne_bytes(bytes))),
            Err(e) => Err(ApiError::internal(&e)),
        }
    }
    /// Reads exactly what [`UploadId`]'s `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        hex.then(|| u128::from_str_radix(text, 16).ok().map(Self)).flatten()
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

struct Session {
    repository: RepoName,
    blob: Blob,
    touched: Instant,
}

/// Where the blob of an upload is.
enum Blob {
    /// It is being opened.
    Opening,
    Here(Box<BlobWriter>),
    /// A request has it.
    Away(Arc<Course>),
}

impl Session {
    /// Leaves nothing to a later process.
    fn discard(self) {
        if let Blob::Here(writer) = self.blob {
            writer.discard();
        }
    }

    fn is_idle(&self) -> bool {
        matches!(self.blob, Blob::Here(_))
    }

    fn discard_some(this: Option<Self>) {
        this.into_iter().for_each(Self::discard);
    }
}

/// The name of an upload in the store. No repository's name has a colon.
fn name(repository: &RepoName, id: UploadId) -> String {
    format!("{id}:{repository}")
}

/// The uploads under way.
pub struct Sessions {
    all: Mutex<HashMap<UploadId, Session>>,
    most: usize,
    idle: Duration,
}

impl Sessions {
    pub fn new(limits: Limits) -> Self {
        Self { all: Mutex::default(), most: limits.uploads, idle: limits.idle_upload }
    }

    /// How many are under way.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Begins an upload in one request, of which nobody is told the identifier: it ends with the process.
    pub fn start(&self, store: &Store, repository: RepoName) -> Result<UploadId, ApiError> {
        self.begin(UploadId::random()?, repository, || store.blob_writer())
    }

    /// Begins an upload that goes on in other requests, also to another process.
    pub fn start_lasting(&self, store: &Store, repository: RepoName) -> Result<UploadId, ApiError> {
        let id = UploadId::random()?;
        let name = name(&repository, id);
        self.begin(id, repository, || store.receive_blob(&name))
    }

    /// Is it one of this process?
    pub fn knows(&self, id: UploadId) -> bool {
        self.lock().contains_key(&id)
    }

    /// Finds an upload that an earlier process took. Reads what came, however much that is. Of one that there is not,
    /// whoever looks for it afterwards is told.
    pub fn find(&self, store: &Store, repository: &RepoName, id: UploadId) -> Result<(), ApiError> {
        let name = name(repository, id);
        if self.knows(id) || !store.has_received(&name)? {
            return Ok(());
        }
        self.begin(id, repository.clone(), || store.receive_blob(&name)).map(drop)
    }

    /// Takes the place of an upload, then opens its blob, which can take long. A request beside this one waits for none.
    fn begin(
        &self,
        id: UploadId,
        repository: RepoName,
        open: impl FnOnce() -> Result<BlobWriter, StoreError>,
    ) -> Result<UploadId, ApiError> {
        let mut all = self.lock();
        let now = Instant::now();
        if all.contains_key(&id) {
            return Err(busy());
        }
        let forgotten = if all.len() < self.most { None } else { Some(forget(&mut all, now)?) };
        all.insert(id, Session { repository, blob: Blob::Opening, touched: now });
        drop(all);
        // Closing a file may wait for the disk: not under the lock.
        Session::discard_some(forgotten);
        match open() {
            Ok(writer) => {
                self.give_back(id, writer);
                Ok(id)
            }
            Err(error) => {
                self.end(id);
                // Of another process.
                Err(if matches!(error, StoreError::Busy { .. }) { busy() } else { error.into() })
            }
        }
    }

    /// Bytes received so far, by an upload that is at rest: while a request has the blob, some may be on their way to it
    /// still, and whoever went on behind the others would have them twice.
    pub async fn written(&self, repository: &RepoName, id: UploadId) -> Result<u64, ApiError> {
        let (writer, _) = self.seize(repository, id).await?;
        let written = writer.written();
        self.give_back(id, writer);
        Ok(written)
    }

    /// Takes the blob for one request.
    pub fn take(&self, repository: &RepoName, id: UploadId) -> Result<(BlobWriter, Arc<Course>), ApiError> {
        let mut all = self.lock();
        let session = find(&mut all, repository, id)?;
        match std::mem::replace(&mut session.blob, Blob::Opening) {
            Blob::Here(writer) => {
                let course = Arc::new(Course::default());
                session.blob = Blob::Away(Arc::clone(&course));
                Ok((*writer, course))
            }
            other => {
                session.blob = other;
                Err(busy())
            }
        }
    }

    /// As [`Sessions::take`], also from a request whose client has fallen silent: the same client may be back on another
    /// connection.
    pub async fn seize(&self, repository: &RepoName, id: UploadId) -> Result<(BlobWriter, Arc<Course>), ApiError> {
        let mut until = Instant::now() + UNTIL_STALLED;
        let mut ended = false;
        loop {
            match self.take(repository, id) {
                Err(e) if e.is(Code::Conflict) && Instant::now() < until => {}
                taken => return taken,
            }
            if !ended && self.end_if_stalled(id) {
                (ended, until) = (true, Instant::now() + UNTIL_BACK);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn end_if_stalled(&self, id: UploadId) -> bool {
        match self.lock().get(&id).map(|session| &session.blob) {
            Some(Blob::Away(course)) => course.end_if_stalled(),
            _ => false,
        }
    }

    /// Gives the blob back for the next request.
    pub fn give_back(&self, id: UploadId, writer: BlobWriter) {
        if let Some(session) = self.lock().get_mut(&id) {
            session.blob = Blob::Here(Box::new(writer));
            session.touched = Instant::now();
        }
    }

    /// Ends an upload; what it received is gone, unless a request has it right now.
    pub fn end(&self, id: UploadId) {
        let ended = self.lock().remove(&id);
        // Closing the file may wait for the disk: not under the lock.
        Session::discard_some(ended);
    }

    /// Drops what was idle for too long.
    pub fn expire(&self) {
        self.expire_at(Instant::now());
    }

    /// Drops what was idle for too long, also of processes that have ended.
    pub fn sweep(&self, store: &Store) {
        self.expire();
        match store.forget_received(self.idle) {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "uploads of earlier processes that nobody continued were dropped"),
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "old uploads cannot be looked for"),
        }
    }

    fn expire_at(&self, now: Instant) {
        let gone: Vec<Session> = {
            let mut all = self.lock();
            // One that a request has is not idle.
            let old = |s: &mut Session| s.is_idle() && now.saturating_duration_since(s.touched) > self.idle;
            all.extract_if(|_, s| old(s)).map(|(_, s)| s).collect()
        };
        if !gone.is_empty() {
            tracing::info!(count = gone.len(), "uploads that nobody continued were dropped");
        }
        gone.into_iter().for_each(Session::discard);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UploadId, Session>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes room by the upload that was left alone for longest. Clients begin some that they never go on with, as after a
/// mount that was refused; these must not keep others out for an hour.
fn forget(all: &mut HashMap<UploadId, Session>, now: Instant) -> Result<Session, ApiError> {
    let idle = |s: &Session| s.is_idle() && now.saturating_duration_since(s.touched) > LEFT_ALONE;
    let oldest = all.iter().filter(|(_, s)| idle(s)).min_by_key(|(_, s)| s.touched).map(|(id, _)| *id);
    oldest.and_then(|id| all.remove(&id)).ok_or_else(|| ApiError::busy("too many uploads are under way"))
}

fn find<'a>(
    all: &'a mut HashMap<UploadId, Session>,
    repository: &RepoName,
    id: UploadId,
) -> Result<&'a mut Session, ApiError> {
    all.get_mut(&id)
        .filter(|s| s.repository == *repository)
        .ok_or_else(|| ApiError::new(Code::BlobUploadUnknown, "there is no such upload"))
}

fn busy() -> ApiError {
    ApiError::new(Code::Conflict, "another request is writing to this upload")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    /// What an upload that is at rest has.
    fn written(sessions: &Sessions, repository: &RepoName, id: UploadId) -> Option<u64> {
        let (writer, _) = sessions.take(repository, id).ok()?;
        let written = writer.written();
        sessions.give_back(id, writer);
        Some(written)
    }

    #[test]
    fn an_upload_belongs_to_its_repository_and_to_one_request() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let sessions = Sessions::new(Limits::default());
        let (mine, other): (RepoName, RepoName) = ("a".parse().unwrap(), "b".parse().unwrap());
        let id = sessions.start_lasting(&store, mine.clone()).unwrap();
        assert_eq!(UploadId::parse(&id.to_string()), Some(id));
        assert!(sessions.take(&other, id).is_err());
        let (writer, _) = sessions.take(&mine, id).unwrap();
        assert!(sessions.take(&mine, id).is_err());
        let later = Instant::now() + Limits::default().idle_upload + Duration::from_secs(60);
        sessions.expire_at(later);
        sessions.give_back(id, writer);
        assert_eq!(written(&sessions, &mine, id), Some(0));
        sessions.expire_at(Instant::now());
        assert_eq!(written(&sessions, &mine, id), Some(0));
        sessions.expire_at(later);
        sessions.find(&store, &mine, id).unwrap();
        assert_eq!(written(&sessions, &mine, id), None);
    }

    #[test]
    fn a_later_process_finds_an_upload_in_its_repository_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (mine, other): (RepoName, RepoName) = ("a".parse().unwrap(), "b".parse().unwrap());
        let begin = || (Store::open(dir.path()).unwrap(), Sessions::new(Limits::default()));
        let (store, earlier) = begin();
        let (id, alone) = (earlier.start_lasting(&store, mine.clone()).unwrap(), earlier.start(&store, mine.clone()));
        let (mut writer, _) = earlier.take(&mine, id).unwrap();
        writer.write_all(b"half").unwrap();
        earlier.give_back(id, writer);
        let (store, later) = begin();
        assert!(later.find(&store, &mine, id).unwrap_err().is(Code::Conflict), "the earlier one has it still");
        drop(earlier);
        for (repository, id, expected) in
            [(&other, id, None), (&mine, UploadId(1), None), (&mine, alone.unwrap(), None), (&mine, id, Some(4))]
        {
            later.find(&store, repository, id).unwrap();
            assert_eq!(written(&later, repository, id), expected, "{repository} {id}");
        }
        later.end(id);
        later.find(&store, &mine, id).unwrap();
        assert_eq!(written(&later, &mine, id), None);
    }

    #[test]
    fn the_number_of_uploads_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let sessions = Sessions::new(Limits::default());
        let name: RepoName = "a".parse().unwrap();
        // Identifiers without blobs: only the number counts here, not hundreds of open files.
        for n in 0..Limits::default().uploads as u128 - 1 {
            let session = Session { repository: name.clone(), blob: Blob::Opening, touched: Instant::now() };
            sessions.lock().insert(UploadId(n), session);
        }
        let store = Store::open(dir.path()).unwrap();
        let id = sessions.start_lasting(&store, name.clone()).unwrap();
        assert!(sessions.start_lasting(&store, name.clone()).is_err());
        // Left alone for long enough, it makes room; those that requests have do not.
        let long_ago = Instant::now().checked_sub(LEFT_ALONE + Duration::from_secs(1)).unwrap();
        sessions.lock().get_mut(&id).unwrap().touched = long_ago;
        let next = sessions.start(&store, name.clone()).unwrap();
        sessions.find(&store, &name, id).unwrap();
        assert!(written(&sessions, &name, id).is_none() && written(&sessions, &name, next).is_some());
    }
}
