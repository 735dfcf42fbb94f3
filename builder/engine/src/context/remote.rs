//! Contexts from elsewhere: a repository, or a file behind a URL, which is an archive or a single file.
//!
//! Takes a parsed source. Gives its files in a private directory; no ignore file applies to them, as in BuildKit.
//! Must never: take a file for an archive by its name, or keep anything of it after the build.

use super::archive::{Incoming, incoming};
use super::files::{Hold, Shape};
use super::{Files, SINGLE};
use crate::fetch::{Fetcher, HttpFile, Wanted};
use crate::layers::{io, set_mode};
use crate::request::BuildRequest;
use crate::{Engine, EngineError};
use cooper_dockerfile::remote::{GitSource, HttpSource, Remote};
use cooper_layerfs::root::Root;
use cooper_plan::op::AddSource;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

/// Mode of a single file, as of one that ADD fetches.
const MODE: u32 = 0o600;

/// On whose behalf something is fetched.
#[derive(Clone, Copy)]
pub struct Behalf<'a> {
    /// The build, with its secrets.
    pub request: &'a BuildRequest,
    /// Stops everything when it becomes true.
    pub cancel: &'a AtomicBool,
}

impl Engine {
    /// Fetches the files of a context.
    ///
    /// # Errors
    /// Network; what is wrong with the repository or the archive; storage.
    pub fn fetch_context(&self, remote: &Remote, behalf: Behalf<'_>) -> Result<Files, EngineError> {
        match remote {
            Remote::Git(source) => self.git_context(source, behalf),
            Remote::Http(source) => self.http_context(source, behalf),
        }
    }

    /// Fetches one file, as the Dockerfile of `-f URL`.
    ///
    /// # Errors
    /// Network, storage.
    pub fn fetch_file(&self, source: &HttpSource, behalf: Behalf<'_>) -> Result<File, EngineError> {
        let file = self.fetcher(behalf).http(source, None)?;
        Ok(self.store.open_blob(&file.digest)?)
    }

    fn fetcher<'a>(&'a self, behalf: Behalf<'a>) -> Fetcher<'a> {
        Fetcher { engine: self, cancel: behalf.cancel, secrets: &behalf.request.run }
    }

    fn git_context(&self, source: &GitSource, behalf: Behalf<'_>) -> Result<Files, EngineError> {
        let fetcher = self.fetcher(behalf);
        let commit = fetcher.git_commit(source)?;
        let asked = behalf.request.build_args.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR");
        let asked = asked.is_some_and(|v| matches!(v.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True"));
        let git_dir = asked || source.keep_git_dir == Some(true);
        let checkout = fetcher.git_files(source, &commit, Wanted { git_dir, now: behalf.request.created })?;
        let (root, time) = (checkout.root.clone(), checkout.time);
        Ok(Files::private(source.shown(), root, Hold::Repository { _files: checkout }, Some(time), Shape::Tree))
    }

    fn http_context(&self, source: &HttpSource, behalf: Behalf<'_>) -> Result<Files, EngineError> {
        self.http_files(source, &self.fetcher(behalf).http(source, None)?)
    }

    /// When what an ADD fetches was last changed: the time of a commit; what a server says of its file, else the newest
    /// file of an archive. Nothing where nobody says it.
    pub(crate) fn time_of(&self, source: &AddSource, behalf: Behalf<'_>) -> Result<Option<i64>, EngineError> {
        match source {
            AddSource::Local(_) => Ok(None),
            AddSource::Git { source, .. } => Ok(self.git_context(source, behalf)?.time()),
            AddSource::Http { source, checksum } => {
                let file = self.fetcher(behalf).http(source, checksum.as_ref())?;
                if file.modified > 0 {
                    return Ok(Some(file.modified));
                }
                Ok(self.http_files(source, &file)?.time())
            }
        }
    }

    /// What came from a URL, unpacked when it is an archive.
    fn http_files(&self, source: &HttpSource, file: &HttpFile) -> Result<Files, EngineError> {
        let name = source.shown();
        let stated = (file.modified > 0).then_some(file.modified);
        let blob = Box::new(self.store.open_blob(&file.digest)?);
        let read = incoming(blob).map_err(|e| io(format!("reading what {name} is"), e))?;
        let text: Box<dyn Read + Send> = match read {
            Incoming::Archive(archive) => return self.unpack_context(&name, archive, stated),
            Incoming::Text(text) => text,
            Incoming::Empty => Box::new(std::io::empty()),
        };
        self.single(name, text, stated)
    }

    /// A directory with one file in it.
    fn single(&self, name: String, mut bytes: Box<dyn Read + Send>, time: Option<i64>) -> Result<Files, EngineError> {
        let ingest = self.store.ingest()?;
        let dir = ingest.path().join("context");
        let failed = |e| io(format!("writing the context {name}"), e);
        std::fs::create_dir(&dir).map_err(failed)?;
        set_mode(&dir)?;
        let options = OpenOptions::new().write(true).create_new(true).mode(MODE).open(dir.join(SINGLE));
        let mut file = options.map_err(failed)?;
        std::io::copy(&mut bytes, &mut file).map_err(failed)?;
        let seconds = time.and_then(|t| u64::try_from(t).ok()).unwrap_or(0);
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).map_err(failed)?;
        Ok(Files::private(name.clone(), Root::open(&dir)?, Hold::Written { _place: ingest }, time, Shape::Single))
    }
}
