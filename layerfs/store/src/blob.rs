//! Blobs: streamed into a file in flight, hashed on the way, and given their name when they are
//! what was promised. The order is data, fsync, rename, fsync of the directory.

use crate::damage::hash_again;
use crate::held::Held;
use crate::publish::{Name, Temp, sync_dir};
use crate::{Ingest, Store, StoreError};
use cooper_image::digest::Algorithm;
use cooper_image::{Descriptor, Digest, DigestError, Hasher, Verified};
use std::fs::{File, Permissions};
use std::io::{self, BufWriter, ErrorKind, Read as _, Seek as _, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

/// Bytes that are collected before a write to the file.
const BUFFER: usize = 128 * 1024;

/// Blobs are written once and never changed.
const BLOB_MODE: u32 = 0o444;

/// A blob in the making. Dropping it without [`BlobWriter::commit`] leaves nothing, but for one that a later process is to
/// go on with.
pub struct BlobWriter {
    store: Store,
    temp: Temp,
    out: BufWriter<File>,
    hasher: Hasher,
    algorithm: Algorithm,
    written: u64,
    mode: Mode,
}

/// When does the file get the mode of blobs?
enum Mode {
    Already,
    /// A later process may have to open it for writing.
    Later,
}

impl Write for BlobWriter {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        let n = self.out.write(buf)?;
        self.hasher.update(&buf[..n]);
        self.written += n as u64;
        Ok(n)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

impl BlobWriter {
    /// The file that is written to, for reading: what was flushed is in it. It is no lease of the blob.
    ///
    /// # Errors
    /// What the system says.
    pub fn reader(&self) -> Result<File, StoreError> {
        File::open(self.temp.path()).map_err(StoreError::io("opening", self.temp.path()))
    }

    /// Bytes written so far, by an earlier process among them.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// The hash of these bytes.
    pub fn hasher(&self) -> Hasher {
        self.hasher.clone()
    }

    /// Leaves nothing, also of one that a later process was to go on with.
    pub fn discard(self) {
        self.temp.forsake();
    }

    /// Compares size, then digest, with what was promised (when something was) and publishes the
    /// blob durably. Gives its digest and size.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when the bytes are others than promised; nothing is stored then.
    pub fn commit(self, expected: Option<(&Digest, u64)>) -> Result<(Digest, u64), StoreError> {
        let Committed { digest, size, .. } = self.commit_held(expected)?;
        Ok((digest, size))
    }

    /// As [`BlobWriter::commit`], and nobody deletes the blob before the answer is dropped: time to name it.
    ///
    /// # Errors
    /// As [`BlobWriter::commit`].
    pub fn commit_held(self, expected: Option<(&Digest, u64)>) -> Result<Committed, StoreError> {
        let Self { store, temp, out, hasher, algorithm, written, mode } = self;
        temp.forsake();
        if let Some((_, size)) = expected
            && size != written
        {
            return Err(StoreError::Refused(DigestError::Size { expected: size, actual: written }));
        }
        let mut file = out.into_inner().map_err(|e| StoreError::io("writing", temp.path())(e.into_error()))?;
        let actual = match expected {
            Some((digest, _)) if digest.algorithm() != algorithm => {
                hash_again(&mut file, digest.algorithm()).map_err(StoreError::io("reading", temp.path()))?
            }
            _ => hasher.finish(),
        };
        if let Some((digest, _)) = expected
            && *digest != actual
        {
            return Err(StoreError::Refused(DigestError::Mismatch { expected: digest.clone(), actual }));
        }
        if let Mode::Later = mode {
            file.set_permissions(Permissions::from_mode(BLOB_MODE)).map_err(StoreError::io("changing", temp.path()))?;
        }
        let held = store.publish_blob(temp, file, &actual, written)?;
        Ok(Committed { digest: actual, size: written, _held: held })
    }
}

/// A blob that was just published, held until this is dropped.
#[derive(Debug)]
pub struct Committed {
    /// Its name.
    pub digest: Digest,
    /// Its size, in bytes.
    pub size: u64,
    /// Absent when the store's handle keeps it for longer.
    _held: Option<Held>,
}

impl Store {
    /// A writer for a blob named by SHA-256.
    ///
    /// # Errors
    /// When no file can be made.
    pub fn blob_writer(&self) -> Result<BlobWriter, StoreError> {
        self.blob_writer_with(Algorithm::Sha256)
    }

    /// A writer for a blob named by `algorithm`.
    ///
    /// # Errors
    /// When no file can be made.
    pub fn blob_writer_with(&self, algorithm: Algorithm) -> Result<BlobWriter, StoreError> {
        let (temp, file) = Temp::create(self.session()?, BLOB_MODE)?;
        let out = BufWriter::with_capacity(BUFFER, file);
        let (store, hasher, mode) = (self.clone(), Hasher::with(algorithm), Mode::Already);
        Ok(BlobWriter { store, temp, out, hasher, algorithm, written: 0, mode })
    }

    /// A writer for a blob of this name and size, in bytes, that arrives: with what came before, when a process was
    /// broken off, and which is left to the next one when this one is. These bytes are compared with nothing until the
    /// blob is whole. While another process has it, or what it left cannot be used, a writer that begins anew.
    ///
    /// # Errors
    /// When no file can be made.
    pub fn arriving_blob(&self, digest: &Digest, size: u64) -> Result<BlobWriter, StoreError> {
        let begun = match Ingest::begun(&self.layout().arriving(digest)) {
            Ok(Some(session)) => self.begun_blob(Arc::new(session), digest.algorithm(), size),
            Ok(None) => return self.blob_writer_with(digest.algorithm()),
            Err(error) => Err(error),
        };
        begun.or_else(|error| {
            tracing::debug!(%digest, %error, "what came of a blob cannot be used");
            self.blob_writer_with(digest.algorithm())
        })
    }

    /// A writer that goes on with what is in a directory, which goes when that is of no use.
    pub(crate) fn begun_blob(
        &self,
        session: Arc<Ingest>,
        algorithm: Algorithm,
        size: u64,
    ) -> Result<BlobWriter, StoreError> {
        // Others look there for whether names may not be on the disk yet.
        self.session()?;
        session.forsake();
        let (temp, mut file) = Temp::begun(Arc::clone(&session))?;
        let mut hasher = Hasher::with(algorithm);
        let mut written = io::copy(&mut file, &mut hasher).map_err(StoreError::io("reading", temp.path()))?;
        if written > size {
            (hasher, written) = (Hasher::with(algorithm), 0);
            file.set_len(0).and_then(|()| file.rewind()).map_err(StoreError::io("writing", temp.path()))?;
        }
        session.leave_kept();
        let out = BufWriter::with_capacity(BUFFER, file);
        Ok(BlobWriter { store: self.clone(), temp, out, hasher, algorithm, written, mode: Mode::Later })
    }

    /// Stores bytes under their SHA-256, unless they are there already and whole.
    ///
    /// # Errors
    /// What the system says.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        self.put_blob_with(Algorithm::Sha256, bytes)
    }

    /// As [`Store::put_blob`], under the digest that `algorithm` gives.
    ///
    /// # Errors
    /// What the system says.
    pub fn put_blob_with(&self, algorithm: Algorithm, bytes: &[u8]) -> Result<Digest, StoreError> {
        let mut hasher = Hasher::with(algorithm);
        hasher.update(bytes);
        let digest = hasher.finish();
        let path = self.layout().blob(&digest);
        if let Some(there) = self.lease(&path)?
            && there.len() == bytes.len() as u64
            && self.is_whole(&there, &digest)?
        {
            let _held = self.keep(&path, there);
            return self.settle(&path).map(|()| digest);
        }
        let (temp, mut file) = Temp::create(self.session()?, BLOB_MODE)?;
        file.write_all(bytes).map_err(StoreError::io("writing", temp.path()))?;
        self.publish_blob(temp, file, &digest, bytes.len() as u64)?;
        Ok(digest)
    }

    /// Size of a blob, in bytes; `None` when it is not there. From a handle that keeps leases it then stays.
    ///
    /// # Errors
    /// What the system says.
    pub fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        self.find(&self.layout().blob(digest))
    }

    /// Opens a blob for reading. What is read is not compared with the digest again.
    ///
    /// # Errors
    /// [`StoreError::MissingBlob`], or what the system says.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, StoreError> {
        let path = self.layout().blob(digest);
        if self.leases().is_some() && self.find(&path)?.is_none() {
            return Err(StoreError::MissingBlob(digest.clone()));
        }
        File::open(&path).map_err(|e| match e.kind() {
            ErrorKind::NotFound => StoreError::MissingBlob(digest.clone()),
            _ => StoreError::io("opening", &path)(e),
        })
    }

    /// Reads a document of at most `limit` bytes and compares it with its descriptor.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`], [`StoreError::MissingBlob`], [`StoreError::DamagedBlob`], or what
    /// the system says.
    pub fn read_blob(&self, blob: &Descriptor, limit: u64) -> Result<Verified<Vec<u8>>, StoreError> {
        let too_large = |size| StoreError::TooLarge { digest: blob.digest.clone(), size, limit };
        if blob.size > limit {
            return Err(too_large(blob.size));
        }
        let file = self.open_blob(&blob.digest)?;
        let mut bytes = Vec::new();
        // One byte more than promised is enough to see that the size is wrong.
        let read = file.take(blob.size + 1).read_to_end(&mut bytes);
        read.map_err(StoreError::io("reading", &self.layout().blob(&blob.digest)))?;
        Verified::check(bytes, &blob.digest, Some(blob.size))
            .map_err(|source| StoreError::DamagedBlob { digest: blob.digest.clone(), source })
    }

    /// Gives a verified file its name. When the name is taken by a file that holds the same, that one stays: another
    /// writer was faster, or the bytes were made anew. One that the disk has damaged is replaced. What gets the name
    /// is held; gives the lease unless the handle keeps it.
    fn publish_blob(&self, mut temp: Temp, file: File, digest: &Digest, size: u64) -> Result<Option<Held>, StoreError> {
        let target = self.layout().blob(digest);
        let mut mine = None;
        let held = loop {
            match self.lease(&target)? {
                Some(there) if there.len() == size && self.is_whole(&there, digest)? => break there,
                there => {
                    let held = match mine.take() {
                        Some(held) => held,
                        None => {
                            let file = file.try_clone().map_err(StoreError::io("opening", &target))?;
                            file.sync_all().map_err(StoreError::io("syncing", &target))?;
                            // Before it has the name, so that there is no moment in which anybody may delete it.
                            Held::unpublished(file).map_err(StoreError::io("locking", &target))?
                        }
                    };
                    self.note_made(&target);
                    match there {
                        // It is damaged.
                        Some(there) => {
                            let _alone = self.replacing(digest.algorithm())?;
                            if there.has_name(&target).map_err(StoreError::io("looking for", &target))? {
                                temp.publish(&target)?;
                                break held;
                            }
                        }
                        None if temp.publish_new(&target)? == Name::Given => break held,
                        None => {}
                    }
                    mine = Some(held);
                }
            }
        };
        self.release(&target);
        let given = self.keep(&target, held);
        // Also when another writer was faster: its name must survive a power cut just as ours.
        let synced = sync_dir(&self.layout().blobs(digest.algorithm()));
        if synced.is_err() {
            self.session()?.leave_unsettled();
        }
        synced.map(|()| given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::store;
    use cooper_image::MediaType;
    use std::fs;

    #[test]
    fn bytes_that_are_made_anew_take_the_place_of_damaged_ones() {
        let (_dir, store) = store();
        let write = || {
            let mut writer = store.blob_writer().unwrap();
            writer.write_all(b"right").unwrap();
            writer.commit(None).unwrap().0
        };
        let path = store.layout().blob(&write());
        fs::remove_file(&path).unwrap();
        fs::write(&path, b"wrong").unwrap();
        write();
        assert_eq!(fs::read(&path).unwrap(), b"right");
        assert_eq!(in_flight(&store), 0);
    }

    fn in_flight(store: &Store) -> usize {
        let dirs = fs::read_dir(store.layout().ingest()).unwrap();
        dirs.map(|d| fs::read_dir(d.unwrap().path()).unwrap().count()).sum()
    }

    #[test]
    fn what_is_promised_is_compared_and_a_refusal_leaves_nothing() {
        let (_dir, store) = store();
        let right = Digest::sha256("right");
        let sha512: Digest = {
            let mut h = Hasher::with(Algorithm::Sha512);
            h.update(b"right");
            h.finish()
        };
        let cases = [
            (Some((&right, 5)), true),
            (Some((&sha512, 5)), true),
            (None, true),
            (Some((&right, 6)), false),
            (Some((&Digest::sha256("wrong"), 5)), false),
        ];
        for (expected, accepted) in cases {
            let mut w = store.blob_writer().unwrap();
            w.write_all(b"right").unwrap();
            let done = w.commit(expected);
            assert_eq!(done.is_ok(), accepted, "{expected:?}");
            assert!(accepted || matches!(done, Err(StoreError::Refused(_))));
            assert_eq!(in_flight(&store), 0);
        }
        assert_eq!(store.blob_size(&right).unwrap(), Some(5));
        assert_eq!(store.blob_size(&sha512).unwrap(), Some(5));
        assert_eq!(store.blob_size(&Digest::sha256("wrong")).unwrap(), None);
    }

    #[test]
    fn what_has_arrived_is_there_for_the_next() {
        let (dir, store) = store();
        let bytes = b"a blob that comes in two parts";
        let digest = Digest::sha256(bytes);
        let arriving = || store.arriving_blob(&digest, bytes.len() as u64).unwrap();
        let mut first = arriving();
        first.write_all(&bytes[..10]).unwrap();
        let mut beside = arriving();
        assert_eq!(beside.written(), 0, "another has it");
        beside.write_all(b"x").unwrap();
        drop((first, beside));
        let mut second = arriving();
        assert_eq!((second.written(), second.hasher().finish()), (10, Digest::sha256(&bytes[..10])));
        second.write_all(&bytes[10..]).unwrap();
        second.commit(Some((&digest, bytes.len() as u64))).unwrap();
        let path = store.layout().blob(&digest);
        assert_eq!(fs::read(&path).unwrap(), bytes);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, BLOB_MODE);
        assert_eq!(fs::read_dir(dir.path().join("arriving")).unwrap().count(), 0);
        assert_eq!(in_flight(&store), 0);
    }

    #[test]
    fn what_arrived_wrong_is_not_there_for_the_next() {
        let (_dir, store) = store();
        let digest = Digest::sha256("right");
        let arriving = || store.arriving_blob(&digest, 5).unwrap();
        let mut wrong = arriving();
        wrong.write_all(b"wrong").unwrap();
        assert!(matches!(wrong.commit(Some((&digest, 5))), Err(StoreError::Refused(_))));
        assert_eq!(arriving().written(), 0);
        let mut unwanted = arriving();
        unwanted.write_all(b"ri").unwrap();
        unwanted.discard();
        assert_eq!(arriving().written(), 0);
        arriving().write_all(b"too long").unwrap();
        let mut again = arriving();
        assert_eq!(again.written(), 0, "more than there can be");
        again.write_all(b"right").unwrap();
        again.commit(Some((&digest, 5))).unwrap();
    }

    #[test]
    fn what_cannot_be_gone_on_with_is_neither_followed_nor_in_the_way() {
        let (dir, store) = store();
        let outside = dir.path().join("outside");
        fs::write(&outside, "ri").unwrap();
        let digest = Digest::sha256("right");
        let arriving = store.layout().arriving(&digest);
        let blob = arriving.join("blob");
        let plant: [&dyn Fn(); 4] = [
            &|| std::os::unix::fs::symlink(&outside, &blob).unwrap(),
            &|| fs::hard_link(&outside, &blob).unwrap(),
            &|| fs::create_dir(&blob).unwrap(),
            &|| rustix::fs::mknodat(rustix::fs::CWD, &blob, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap(),
        ];
        for plant in plant {
            fs::create_dir_all(&arriving).unwrap();
            plant();
            let mut writer = store.arriving_blob(&digest, 5).unwrap();
            assert_eq!(writer.written(), 0);
            assert!(!arriving.exists(), "it goes");
            writer.write_all(b"right").unwrap();
            writer.commit(Some((&digest, 5))).unwrap();
            let path = store.layout().blob(&digest);
            assert!(fs::symlink_metadata(&path).unwrap().is_file());
            assert_eq!(fs::read(&outside).unwrap(), b"ri");
            fs::remove_file(&path).unwrap();
        }
        // Nor is there a place for it.
        fs::remove_dir(arriving.parent().unwrap()).unwrap();
        fs::write(arriving.parent().unwrap(), "").unwrap();
        store.arriving_blob(&digest, 5).unwrap();
    }

    #[test]
    fn an_abandoned_writer_leaves_nothing() {
        let (dir, store) = store();
        let mut w = store.blob_writer().unwrap();
        w.write_all(&vec![7; 3 * BUFFER]).unwrap();
        assert_eq!(in_flight(&store), 1);
        drop(w);
        assert_eq!(in_flight(&store), 0);
        drop(store);
        assert_eq!(fs::read_dir(dir.path().join("ingest")).unwrap().count(), 0);
    }

    #[test]
    fn documents_are_bounded_and_compared() {
        let (_dir, store) = store();
        let digest = store.put_blob(b"{}").unwrap();
        let d = |size| Descriptor::new(MediaType::OciConfig, digest.clone(), size);
        assert_eq!(store.read_blob(&d(2), 2).unwrap().get(), b"{}");
        assert!(matches!(store.read_blob(&d(2), 1), Err(StoreError::TooLarge { .. })));
        assert!(matches!(store.read_blob(&d(1), 9), Err(StoreError::DamagedBlob { .. })));
        let absent = Descriptor::of(MediaType::OciConfig, b"absent");
        assert!(matches!(store.read_blob(&absent, 9), Err(StoreError::MissingBlob(_))));
        let path = store.layout().blob(&digest);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "[]").unwrap();
        assert!(matches!(store.read_blob(&d(2), 9), Err(StoreError::DamagedBlob { .. })));
    }

    #[test]
    fn a_damaged_document_of_the_right_size_is_replaced() {
        let (_dir, store) = store();
        for store in [store.clone(), store.holding()] {
            let path = store.layout().blob(&store.put_blob(b"whole").unwrap());
            fs::remove_file(&path).unwrap();
            fs::write(&path, "wh0le").unwrap();
            store.put_blob(b"whole").unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"whole");
        }
    }

    #[test]
    fn a_torn_blob_is_replaced() {
        let (_dir, store) = store();
        let digest = Digest::sha256("whole");
        fs::write(store.layout().blob(&digest), "").unwrap();
        store.put_blob(b"whole").unwrap();
        assert_eq!(fs::read(store.layout().blob(&digest)).unwrap(), b"whole");
    }
}
