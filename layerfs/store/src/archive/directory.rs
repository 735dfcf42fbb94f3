//! An archive as a directory: blobs first, `index.json` last, so that a reader finds an image whole or not at all.
//!
//! What was written is taken back when something fails. The directory belongs to the caller; nothing in it is
//! believed: a blob that is there already is compared with its name.

use super::whole_file::{is_whole, open_regular, put_whole, sweep};
use super::{Content, OCI_LAYOUT, Stored, TAG_ANNOTATION, blob_path, full_name, index_json, label};
use crate::{Store, StoreError};
use cooper_image::{Descriptor, Digest, Document, MediaType, limits};
use rustix::fs::{FlockOperation, flock};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// Where a layout has blobs.
const BLOB_PLACES: [&str; 3] = ["blobs", "blobs/sha256", "blobs/sha512"];

/// Writes all of it.
pub(super) fn write(store: &Store, content: &Content, dir: &Path) -> Result<(), StoreError> {
    check(dir)?;
    let mut layout = Layout { dir, made: Vec::new() };
    layout.make_dir(dir)?;
    sweep(dir);
    // First, so that others that write there meanwhile see what it is going to be.
    layout.small("oci-layout", OCI_LAYOUT)?;
    layout.make_dir(&dir.join("blobs"))?;
    for (digest, size) in &content.blobs {
        layout.make_dir(&dir.join("blobs").join(digest.algorithm().name()))?;
        layout.blob(store, digest, *size)?;
    }
    match &content.listed {
        None => merge_index(dir, &content.index)?,
        // What `docker load` reads lists one image, and so does the index beside it.
        Some(listed) => {
            layout.small("manifest.json", listed)?;
            layout.small("index.json", &index_json(content.index.clone())?)?;
        }
    }
    layout.made.clear();
    Ok(())
}

/// Can a layout be written there: is it one, or empty, or not there? What is in it is its own, to read as to write:
/// nothing of it is a link, but the directory itself may be found through one.
///
/// # Errors
/// [`StoreError::NotALayout`] when something else is there, [`StoreError::FullLayout`].
pub fn check(dir: &Path) -> Result<(), StoreError> {
    earlier(dir)?;
    for place in BLOB_PLACES {
        if dir.join(place).symlink_metadata().is_ok_and(|there| !there.is_dir()) {
            let reason = "its blobs are behind a link, or in no directory";
            return Err(StoreError::NotALayout { path: dir.to_owned(), reason });
        }
    }
    Ok(())
}

/// The directory's index, with all that it holds; `None` when there is none.
fn earlier(dir: &Path) -> Result<Option<Map<String, Value>>, StoreError> {
    let none = |reason| StoreError::NotALayout { path: dir.to_owned(), reason };
    let names = match fs::read_dir(dir) {
        Ok(names) => names,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) if e.kind() == ErrorKind::NotADirectory => return Err(none("it is no directory, or lies below a file")),
        Err(e) => return Err(StoreError::io("reading", dir)(e)),
    };
    // Another writer may be about to make a layout of it, or have ended there.
    let is_begun = |name: &OsStr| name.as_encoded_bytes().starts_with(b"oci-layout.partial.");
    let names = names.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<Vec<_>>>();
    if names.map_err(StoreError::io("reading", dir))?.iter().all(|name| is_begun(name)) {
        return Ok(None);
    }
    match dir.join("oci-layout").symlink_metadata() {
        Ok(there) if there.is_file() => {}
        Ok(_) => return Err(none("its oci-layout is no regular file")),
        Err(_) => return Err(none("it holds files, and no OCI layout")),
    }
    let path = dir.join("index.json");
    let mut bytes = Vec::new();
    let read = open_regular(&path).and_then(|f| f.take(limits::LAYOUT_INDEX_BYTES + 1).read_to_end(&mut bytes));
    match read {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) if e.kind() == ErrorKind::InvalidInput => return Err(none("its index.json is no regular file")),
        other => other.map_err(StoreError::io("reading", &path))?,
    };
    if bytes.len() as u64 > limits::LAYOUT_INDEX_BYTES {
        return Err(full(dir));
    }
    match (Document::parse(&bytes, Some(&MediaType::OciIndex)), serde_json::from_slice(&bytes)) {
        (Ok(Document::Index(_)), Ok(whole)) => Ok(Some(whole)),
        _ => Err(StoreError::NotALayout { path: dir.to_owned(), reason: "its index.json is no index" }),
    }
}

/// Puts entries into the directory's `index.json`, which keeps what it says besides. Whoever writes there at the same
/// time keeps what was written.
///
/// # Errors
/// [`StoreError::NotALayout`], [`StoreError::FullLayout`], and what the system says.
pub fn merge_index(dir: &Path, new: &[Descriptor]) -> Result<(), StoreError> {
    let _locked = lock(dir)?;
    let index = match earlier(dir)? {
        None => index_json(new.to_vec())?,
        Some(whole) => encoded(merged(whole, new))?,
    };
    put_index(dir, &index)
}

/// Lets an entry of the directory's `index.json` lead to something else, if it is still what it was: what others have made
/// of it since was not seen by whoever made the new one. Its names stay.
///
/// # Errors
/// [`StoreError::NotALayout`], [`StoreError::FullLayout`], and what the system says.
pub fn exchange(dir: &Path, old: &Descriptor, new: &Descriptor) -> Result<Exchanged, StoreError> {
    let _locked = lock(dir)?;
    let Some(mut whole) = earlier(dir)? else { return Ok(Exchanged::Moved) };
    let Some(Value::Array(entries)) = whole.get_mut("manifests") else { return Ok(Exchanged::Moved) };
    let is = |entry: &Value| serde_json::from_value::<Descriptor>(entry.clone()).is_ok_and(|entry| entry == *old);
    let Some(entry) = entries.iter_mut().find(|entry| is(entry)) else { return Ok(Exchanged::Moved) };
    let leads = Descriptor { annotations: old.annotations.clone(), ..new.clone() };
    *entry = json!(leads);
    put_index(dir, &encoded(Ok(whole))?)?;
    Ok(Exchanged::Yes)
}

/// Was it still what it had been?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchanged {
    /// It leads to the new one now.
    Yes,
    /// Somebody else has changed it; nothing was done.
    Moved,
}

/// Keeps other writers of the directory's index away until it is dropped.
fn lock(dir: &Path) -> Result<File, StoreError> {
    let locked = File::open(dir).map_err(StoreError::io("opening", dir))?;
    flock(&locked, FlockOperation::LockExclusive).map_err(|e| StoreError::io("locking", dir)(e.into()))?;
    Ok(locked)
}

fn encoded(whole: Result<Map<String, Value>, serde_json::Error>) -> Result<Vec<u8>, StoreError> {
    let encoded = whole.and_then(|whole| serde_json::to_vec(&whole));
    encoded.map_err(|source| StoreError::Encode { what: "the archive's index", source })
}

fn put_index(dir: &Path, index: &[u8]) -> Result<(), StoreError> {
    if index.len() as u64 > limits::LAYOUT_INDEX_BYTES {
        return Err(full(dir));
    }
    let path = dir.join("index.json");
    put_whole(&path, |file| file.write_all(index)).map_err(StoreError::io("writing", &path))
}

fn full(dir: &Path) -> StoreError {
    StoreError::FullLayout { path: dir.to_owned(), limit: limits::LAYOUT_INDEX_BYTES }
}

/// The entries that the new ones do not take the place of, then the new ones.
fn merged(mut whole: Map<String, Value>, new: &[Descriptor]) -> Result<Map<String, Value>, serde_json::Error> {
    let mut all = Vec::new();
    let (mut kept, mut led) = (BTreeSet::new(), BTreeSet::new());
    let replacing = Replacing::by(new);
    for entry in whole.get("manifests").and_then(Value::as_array).into_iter().flatten() {
        let old: Descriptor = serde_json::from_value(entry.clone())?;
        if replacing.takes(&old) {
            continue;
        }
        let mut entry = entry.clone();
        match tag(&old).filter(|_| full_name(&old).is_some()).and_then(|tag| Some((tag, replacing.mere_tag(tag)?))) {
            Some((tag, digest)) if *digest == old.digest => drop(led.insert(tag.to_owned())),
            Some(_) => drop(entry["annotations"].as_object_mut().map(|all| all.remove(TAG_ANNOTATION))),
            None => {}
        }
        all.push(entry);
        kept.insert(old.digest);
    }
    let is_there = |new: &Descriptor| match (label(new), full_name(new)) {
        // What has no name needs no second entry.
        (None, _) => kept.contains(&new.digest),
        (Some(tag), None) => led.contains(tag),
        (Some(_), Some(_)) => false,
    };
    for new in new.iter().filter(|new| !is_there(new)) {
        all.push(serde_json::to_value(new)?);
    }
    whole.insert("manifests".to_owned(), json!(all));
    Ok(whole)
}

/// Entries of which old ones may have to make room. Would the name of an old entry lead to a new one? Full names decide
/// where both have one; else the tags do, since that is what readers go by. An old entry with a full name loses its tag
/// to a new one that has the tag alone, and stays. What has no name stays until it gets one.
#[derive(Default)]
struct Replacing<'n> {
    full_names: BTreeSet<&'n str>,
    tags: BTreeSet<&'n str>,
    /// Of those without a full name, and what they lead to.
    mere_tags: BTreeMap<&'n str, &'n Digest>,
    /// Of those that have a name.
    digests: BTreeSet<&'n Digest>,
}

impl<'n> Replacing<'n> {
    fn by(new: &'n [Descriptor]) -> Self {
        let mut this = Self::default();
        for entry in new {
            this.tags.extend(tag(entry));
            match full_name(entry) {
                Some(name) => drop(this.full_names.insert(name)),
                None => this.mere_tags.extend(tag(entry).map(|tag| (tag, &entry.digest))),
            }
            this.digests.extend(label(entry).map(|_| &entry.digest));
        }
        this
    }

    fn takes(&self, old: &Descriptor) -> bool {
        match (full_name(old), tag(old)) {
            (Some(name), _) => self.full_names.contains(name),
            (None, Some(tag)) => self.tags.contains(tag),
            (None, None) => self.digests.contains(&old.digest),
        }
    }

    /// What a tag leads to from now on, if that is something new.
    fn mere_tag(&self, tag: &str) -> Option<&'n Digest> {
        self.mere_tags.get(tag).copied()
    }
}

fn tag(entry: &Descriptor) -> Option<&str> {
    entry.annotations.get(TAG_ANNOTATION).map(String::as_str)
}

/// What was made so far; taken back on drop unless it was cleared.
struct Layout<'a> {
    dir: &'a Path,
    made: Vec<PathBuf>,
}

impl Layout<'_> {
    fn make_dir(&mut self, dir: &Path) -> Result<(), StoreError> {
        if dir.is_dir() {
            return Ok(());
        }
        if let Some(above) = dir.parent().filter(|p| dir == self.dir && !p.as_os_str().is_empty()) {
            fs::create_dir_all(above).map_err(StoreError::io("creating", above))?;
        }
        match fs::create_dir(dir) {
            Ok(()) => self.made.push(dir.to_owned()),
            // Another writer was faster.
            Err(e) if e.kind() == ErrorKind::AlreadyExists && dir.is_dir() => {}
            Err(e) => return Err(StoreError::io("creating", dir)(e)),
        }
        Ok(())
    }

    fn blob(&mut self, store: &Store, digest: &Digest, size: u64) -> Result<(), StoreError> {
        let path = self.dir.join(blob_path(digest));
        if is_whole(&path, digest).unwrap_or(false) {
            return Ok(());
        }
        let mut blob = Stored::open(store, digest, size)?;
        self.put(&path, |file| io::copy(&mut blob, file).map(drop))?;
        blob.check()
    }

    fn small(&mut self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.put(&self.dir.join(name), |file| file.write_all(bytes))
    }

    fn put(&mut self, path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), StoreError> {
        let is_new = !path.exists();
        put_whole(path, fill).map_err(StoreError::io("writing", path))?;
        if is_new {
            self.made.push(path.to_owned());
        }
        Ok(())
    }
}

impl Drop for Layout<'_> {
    fn drop(&mut self) {
        for path in self.made.iter().rev() {
            // The failure that led here is the one to report.
            let _ = if path.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::NAME_ANNOTATION;
    use super::*;

    /// `TAG` or `FULL NAME|TAG`, or nothing; and the letter that its digest is made of.
    fn entry(name: &str, content: &str) -> Descriptor {
        let mut d = Descriptor::of(MediaType::OciManifest, content.as_bytes());
        let (full, tag) = name.split_once('|').map_or((None, name), |(full, tag)| (Some(full), tag));
        d.annotations.extend(full.map(|full| (NAME_ANNOTATION.to_owned(), full.to_owned())));
        if !tag.is_empty() {
            d.annotations.insert(TAG_ANNOTATION.to_owned(), tag.to_owned());
        }
        d
    }

    #[test]
    fn an_entry_goes_only_when_its_name_leads_elsewhere() {
        let app = "docker.io/library/app:1";
        for (old, new, stays) in [
            ("1", "1", false),
            ("1", "2", true),
            // A tag alone, and a name with that tag.
            ("1", "docker.io/library/app:1|1", false),
            ("docker.io/library/app:1|1", "1", true),
            ("docker.io/library/app:1|1", "docker.io/library/app:1|1", false),
            ("docker.io/library/db:1|1", "docker.io/library/app:1|1", true),
            // As skopeo writes it.
            (app, "docker.io/library/app:1|1", false),
            ("", "1", true),
            ("", "", true),
            ("1", "", true),
        ] {
            let (old, new) = (entry(old, "old"), entry(new, "new"));
            let takes = Replacing::by(std::slice::from_ref(&new)).takes(&old);
            assert_eq!(!takes, stays, "{:?} then {:?}", old.annotations, new.annotations);
        }
        assert!(Replacing::by(&[entry("1", "same")]).takes(&entry("", "same")));
        assert!(!Replacing::by(&[entry("", "same")]).takes(&entry("", "same")));
    }

    #[test]
    fn a_tag_that_is_written_alone_replaces_no_full_name() {
        let (a, b) = ("a.example/app:1", "b.example/app:1");
        let names = |old: &[(&str, &str)], new: &[(&str, &str)]| -> Vec<(String, Digest)> {
            let entries = |all: &[(&str, &str)]| all.iter().map(|(name, is)| entry(name, is)).collect::<Vec<_>>();
            let whole = json!({"manifests": entries(old)}).as_object().unwrap().clone();
            let merged = merged(whole, &entries(new)).unwrap();
            let all: Vec<Descriptor> = serde_json::from_value(merged["manifests"].clone()).unwrap();
            let named = |d: &Descriptor| {
                let full = d.annotations.get(NAME_ANNOTATION).map_or("", String::as_str);
                (format!("{full}|{}", tag(d).unwrap_or_default()), d.digest.clone())
            };
            all.iter().map(named).collect()
        };
        let is = |name: &str, content: &str| (name.to_owned(), entry("", content).digest);
        let [a1, b1] = [a, b].map(|name| format!("{name}|1"));
        let [a0, b0] = [a, b].map(|name| format!("{name}|"));
        let old = [(a1.as_str(), "of a"), (b1.as_str(), "of b")];
        assert_eq!(names(&old[..1], &[("1", "new")]), [is(&a0, "of a"), is("|1", "new")]);
        assert_eq!(names(&old, &[("1", "new")]), [is(&a0, "of a"), is(&b0, "of b"), is("|1", "new")]);
        // It leads there already.
        assert_eq!(names(&old[..1], &[("1", "of a")]), [is(&a1, "of a")]);
        // A full name replaces its own entry, whatever tag that has.
        let untagged = [(a0.as_str(), "of a"), ("1", "new")];
        assert_eq!(names(&untagged[..1], &[(&a1, "newer")]), [is(&a1, "newer")]);
        assert_eq!(names(&old, &[(&a1, "newer")]), [is(&b1, "of b"), is(&a1, "newer")]);
    }

    #[test]
    fn a_directory_that_another_writer_makes_a_layout_of_can_be_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let marker = dir.path().join("oci-layout");
        put_whole(&marker, |file| {
            check(dir.path()).unwrap();
            file.write_all(OCI_LAYOUT)
        })
        .unwrap();
        fs::rename(&marker, dir.path().join("oci-layout.partial.0")).unwrap();
        check(dir.path()).unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(matches!(check(dir.path()), Err(StoreError::NotALayout { .. })));
    }

    #[test]
    fn a_layout_has_no_links_and_nothing_of_it_is_waited_for() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        use std::os::unix::fs::symlink;
        let (send, done) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for name in ["oci-layout", "index.json", "blobs", "blobs/sha256"] {
                for is_link in [false, true] {
                    let dir = tempfile::tempdir().unwrap();
                    let (layout, elsewhere) = (dir.path().join("layout"), dir.path().join("elsewhere"));
                    fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
                    fs::write(layout.join("oci-layout"), OCI_LAYOUT).unwrap();
                    fs::write(layout.join("index.json"), index_json(Vec::new()).unwrap()).unwrap();
                    check(&layout).unwrap();
                    fs::rename(layout.join(name), &elsewhere).unwrap();
                    match is_link {
                        true => symlink(&elsewhere, layout.join(name)).unwrap(),
                        false => {
                            mknodat(CWD, layout.join(name), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
                        }
                    }
                    let refused = check(&layout).unwrap_err();
                    assert!(matches!(refused, StoreError::NotALayout { .. }), "{name}: {refused}");
                }
            }
            let dir = tempfile::tempdir().unwrap();
            // The layout itself may be found through a link.
            symlink(dir.path().join("real"), dir.path().join("found")).unwrap();
            fs::create_dir(dir.path().join("real")).unwrap();
            check(&dir.path().join("found")).unwrap();
            send.send(()).unwrap();
        });
        done.recv_timeout(std::time::Duration::from_secs(60)).expect("nothing waits, and all of it holds");
    }

    #[test]
    fn an_index_is_never_written_larger_than_it_is_read() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("oci-layout"), OCI_LAYOUT).unwrap();
        let mut large = entry("1", "large");
        let more_than_a_manifest = "a".repeat(limits::MANIFEST_BYTES as usize);
        large.annotations.insert("long".to_owned(), more_than_a_manifest);
        merge_index(dir.path(), &[large.clone()]).unwrap();
        merge_index(dir.path(), &[entry("2", "small")]).unwrap();
        large.annotations.insert("long".to_owned(), "a".repeat(limits::LAYOUT_INDEX_BYTES as usize));
        let refused = merge_index(dir.path(), &[large]).unwrap_err();
        assert!(matches!(refused, StoreError::FullLayout { .. }), "{refused}");
        let index = earlier(dir.path()).unwrap().unwrap();
        assert_eq!(index["manifests"].as_array().unwrap().len(), 2);
        fs::write(dir.path().join("index.json"), " ".repeat(limits::LAYOUT_INDEX_BYTES as usize + 1)).unwrap();
        assert!(matches!(check(dir.path()), Err(StoreError::FullLayout { .. })));
    }

    #[test]
    fn an_entry_is_exchanged_only_as_long_as_it_is_what_it_was() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("oci-layout"), OCI_LAYOUT).unwrap();
        let (first, other) = (entry("docker.io/library/app:1|1", "a"), entry("2", "a"));
        assert_eq!(exchange(dir.path(), &first, &entry("", "b")).unwrap(), Exchanged::Moved);
        fs::write(dir.path().join("index.json"), index_json(vec![first.clone(), other.clone()]).unwrap()).unwrap();
        let tries = [&first, &first, &other];
        let done = tries.map(|old| exchange(dir.path(), old, &entry("", "b")).unwrap());
        assert_eq!(done, [Exchanged::Yes, Exchanged::Moved, Exchanged::Yes]);
        let index = earlier(dir.path()).unwrap().unwrap();
        let expected = [entry("docker.io/library/app:1|1", "b"), entry("2", "b")];
        assert_eq!(index["manifests"], json!(expected));
    }

    #[test]
    fn what_the_index_says_besides_stays() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("oci-layout"), OCI_LAYOUT).unwrap();
        let mut odd = serde_json::to_value(entry("", "odd")).unwrap();
        odd["urls"] = json!(["https://elsewhere.example/"]);
        let index = json!({"schemaVersion": 2, "manifests": [odd, entry("1", "old")], "annotations": {"a": "b"}});
        fs::write(dir.path().join("index.json"), index.to_string()).unwrap();
        merge_index(dir.path(), &[entry("", "odd"), entry("", "old")]).unwrap();
        // Each of many writers leaves its own.
        std::thread::scope(|s| {
            for n in 1..=8 {
                let dir = dir.path();
                s.spawn(move || merge_index(dir, &[entry(&n.to_string(), "new")]).unwrap());
            }
        });
        let index = earlier(dir.path()).unwrap().unwrap();
        assert_eq!(index["annotations"], json!({"a": "b"}));
        let entries = index["manifests"].as_array().unwrap();
        assert_eq!((entries.len(), &entries[0]["urls"]), (9, &odd["urls"]));
        let tagged = |tag: &str| entries.iter().filter(|e| e["annotations"][TAG_ANNOTATION] == tag).count();
        assert!((1..=8).all(|n| tagged(&n.to_string()) == 1), "{entries:?}");
    }
}
