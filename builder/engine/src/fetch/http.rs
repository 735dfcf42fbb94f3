//! A file behind a URL: asked for every time, unless its checksum says what it is, and kept as a blob.
//!
//! Takes a source and its checksum. Gives the blob, and the file as a selection that can be copied. Must never: keep
//! bytes that are not those of the checksum.

use super::{FetchError, Fetcher, secrets};
use crate::EngineError;
use cooper_dockerfile::remote::HttpSource;
use cooper_image::{Digest, DigestError, Hasher, RelPath};
use cooper_layerfs::root::Root;
use cooper_layerfs::select::{Presented, Selection, single_file};
use cooper_layerfs::view::View;
use cooper_registry::web::{Validators, WebAnswer, WebError, WebRequest};
use cooper_store::{BlobWriter, Ingest, StoreError, UrlRecord};

/// Largest file, in bytes.
const FILE_BYTES: u64 = 64 * 1024 * 1024 * 1024;
/// Mode of what was fetched, as in BuildKit: nobody said that others may read it.
const MODE: u32 = 0o600;

/// How it is known what the file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// It was fetched.
    Fetched,
    /// The server says that what the store has is still it.
    Unchanged,
    /// Its checksum says so; nobody was asked.
    Pinned,
}

/// A file of the store that came from a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpFile {
    /// Its bytes.
    pub digest: Digest,
    /// `Last-Modified`, as the server wrote it.
    pub last_modified: Option<String>,
    /// The same in seconds since 1970; 0 when the server does not say.
    pub modified: i64,
    /// How this is known.
    pub answered: Answered,
}

impl Fetcher<'_> {
    /// The file behind a URL.
    ///
    /// # Errors
    /// Network, [`FetchError::Digest`], storage.
    pub fn http(&self, source: &HttpSource, checksum: Option<&Digest>) -> Result<HttpFile, EngineError> {
        let store = &self.engine.store;
        let known = match store.url_record(&source.url)? {
            Some(record) if store.discard_if_damaged(&record.digest)? => None,
            known => known,
        };
        if let Some(record) = known.as_ref().filter(|r| Some(&r.digest) == checksum) {
            return Ok(file(record, Answered::Pinned));
        }
        let request = WebRequest {
            url: source.url.clone(),
            known: known.as_ref().map(validators),
            authorization: secrets::for_url(self.secrets, host_name(&source.url)),
            limit: FILE_BYTES,
        };
        let mut open = || store.blob_writer().map_err(|e| std::io::Error::other(e.to_string()));
        let answer = self.wait(self.engine.client.get(&request, &mut open))?.map_err(FetchError::from)?;
        match (answer, known) {
            (WebAnswer::Unchanged, Some(record)) => {
                self.compare(source, &record.digest, checksum)?;
                Ok(file(&record, Answered::Unchanged))
            }
            (WebAnswer::File { to, validators }, _) => {
                let digest = commit(source, to, checksum)?;
                let Validators { etag, last_modified, date } = validators;
                let record = UrlRecord { etag, last_modified, date, ..UrlRecord::new(digest) };
                store.put_url_record(&source.url, &record)?;
                Ok(file(&record, Answered::Fetched))
            }
            // Nothing was known, so nothing can be unchanged; the client never says so.
            (WebAnswer::Unchanged, None) => {
                Err(FetchError::Web(WebError::Status { url: source.shown(), status: 304 }).into())
            }
        }
    }

    /// Compares a blob of the store with a checksum of any kind.
    fn compare(&self, source: &HttpSource, has: &Digest, checksum: Option<&Digest>) -> Result<(), EngineError> {
        let Some(expected) = checksum else { return Ok(()) };
        let mut actual = has.clone();
        if has.algorithm() != expected.algorithm() {
            let mut hasher = Hasher::with(expected.algorithm());
            let mut blob = self.engine.store.open_blob(has)?;
            std::io::copy(&mut blob, &mut hasher).map_err(|e| crate::layers::io("reading a fetched file", e))?;
            actual = hasher.finish();
        }
        if actual == *expected { Ok(()) } else { Err(mismatch(source, expected, &actual)) }
    }

    /// The file as something to copy. `place` has to live as long as the view is used.
    ///
    /// # Errors
    /// Storage.
    pub fn select_http(
        &self,
        source: &HttpSource,
        file: &HttpFile,
        place: &Ingest,
    ) -> Result<(View, Selection), EngineError> {
        self.engine.store.lend_blob(&file.digest, place, "file")?;
        let view = View::dir(Root::open(place.path())?);
        let presented = Presented { name: &source.file_name, mode: MODE, mtime: file.modified };
        let selection = single_file(&view, &RelPath::from("file"), presented)?;
        Ok((view, selection))
    }
}

fn validators(record: &UrlRecord) -> Validators {
    let UrlRecord { etag, last_modified, date, .. } = record.clone();
    Validators { etag, last_modified, date }
}

fn file(record: &UrlRecord, answered: Answered) -> HttpFile {
    let modified = validators(record).modified().unwrap_or(0);
    HttpFile { digest: record.digest.clone(), last_modified: record.last_modified.clone(), modified, answered }
}

/// Publishes what came, when it is what it is to be.
fn commit(source: &HttpSource, came: BlobWriter, checksum: Option<&Digest>) -> Result<Digest, EngineError> {
    let size = came.written();
    match came.commit(checksum.map(|c| (c, size))) {
        Ok((digest, _)) => Ok(digest),
        Err(StoreError::Refused(DigestError::Mismatch { expected, actual })) => {
            Err(mismatch(source, &expected, &actual))
        }
        Err(e) => Err(e.into()),
    }
}

fn mismatch(source: &HttpSource, expected: &Digest, actual: &Digest) -> EngineError {
    let (expected, actual) = (expected.to_string(), actual.to_string());
    FetchError::Digest { url: source.shown(), expected, actual }.into()
}

/// The host of a URL, without user and port.
fn host_name(url: &str) -> &str {
    let authority =
        url.split_once("://").map_or(url, |(_, rest)| rest).split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match host.strip_prefix('[') {
        Some(six) => six.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_urls() {
        for (url, host) in [
            ("https://h/f", "h"),
            ("https://me:pw@h:8080/f@x", "h"),
            ("http://[::1]:80/f", "::1"),
            ("http://h?x@y", "h"),
        ] {
            assert_eq!(host_name(url), host, "{url}");
        }
    }
}
