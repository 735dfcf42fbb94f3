//! What a registry shows of the store: repositories with links to blobs, manifests and tags.
//!
//! A blob of the store is visible in a repository only by a link that was written there, and a
//! link is durable before its writing returns. Names are of a checked type before they get a path.

use crate::held::{note_use, note_use_at};
use crate::layout::{BLOBS, MANIFESTS, TAGS, digest_of, file_name};
use crate::publish::{Durability, Removed, make_dirs, names, read_json, remove_file, sync_dir};
use crate::referrers::Referrer;
use crate::{Store, StoreError};
use cooper_image::reference::{valid_component, valid_tag};
use cooper_image::{Descriptor, Digest};
use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::str::FromStr;
use std::time::SystemTime;

/// Longest repository name, in bytes (distribution-spec, "Pulling manifests").
const NAME_BYTES: usize = 255;
/// Deepest repository name: 255 bytes of one-letter components.
const DEPTH: usize = 130;

/// A text that is neither a repository's name nor a tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a {kind}: {text:?}")]
pub struct NameError {
    /// What it should have been.
    pub kind: &'static str,
    /// What was given, clipped.
    pub text: String,
}

/// A repository's name in the grammar of the distribution specification.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepoName(String);

impl RepoName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RepoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RepoName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() <= NAME_BYTES && text.split('/').all(valid_component) {
            return Ok(Self(text.to_owned()));
        }
        Err(NameError { kind: "repository name", text: text.chars().take(NAME_BYTES).collect() })
    }
}

/// A tag in the grammar of the distribution specification.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TagName(String);

impl TagName {
    /// The tag.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TagName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        if valid_tag(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(NameError { kind: "tag", text: text.chars().take(NAME_BYTES).collect() })
    }
}

/// Held while a repository is changed, so that what was checked is still true when it is written.
/// Holds for other processes too.
#[derive(Debug)]
pub struct RepoLock {
    _file: File,
}

/// One repository of the registry, there or not.
#[derive(Debug, Clone)]
pub struct Repo {
    pub(crate) store: Store,
    pub(crate) name: RepoName,
}

impl Store {
    /// A repository of the registry.
    pub fn repository(&self, name: &RepoName) -> Repo {
        Repo { store: self.clone(), name: name.clone() }
    }

    /// The repositories that hold a manifest, sorted.
    ///
    /// # Errors
    /// What the system says.
    pub fn repositories(&self) -> Result<Vec<RepoName>, StoreError> {
        let mut found = Vec::new();
        walk(&self.layout().registry(), "", DEPTH, &[MANIFESTS], &mut found)?;
        found.sort();
        Ok(found)
    }

    /// A repository that holds a blob, of those that `may` says yes to. All are looked through: there is no list by blob.
    ///
    /// # Errors
    /// What the system says.
    pub fn repository_with(
        &self,
        digest: &Digest,
        may: impl Fn(&RepoName) -> bool,
    ) -> Result<Option<RepoName>, StoreError> {
        if self.blob_size(digest)?.is_none() {
            return Ok(None);
        }
        let holds = |name: &RepoName| self.layout().repository_blob(name, digest).is_file();
        Ok(self.all_repositories()?.into_iter().find(|name| holds(name) && may(name)))
    }

    /// The repositories that hold a manifest, a blob or a tag.
    pub(crate) fn all_repositories(&self) -> Result<Vec<RepoName>, StoreError> {
        let mut found = Vec::new();
        walk(&self.layout().registry(), "", DEPTH, &[MANIFESTS, BLOBS, TAGS], &mut found)?;
        found.dedup();
        Ok(found)
    }
}

/// Names of repositories that hold something in one of the directories `kinds`, one after the other.
fn walk(dir: &Path, name: &str, depth: usize, kinds: &[&str], found: &mut Vec<RepoName>) -> Result<(), StoreError> {
    for entry in names(dir)? {
        if kinds.contains(&entry.as_str()) {
            if !names(&dir.join(entry))?.is_empty() {
                found.extend(name.parse().ok());
            }
        } else if depth > 0 && valid_component(&entry) {
            let below = if name.is_empty() { entry.clone() } else { format!("{name}/{entry}") };
            walk(&dir.join(&entry), &below, depth - 1, kinds, found)?;
        }
    }
    Ok(())
}

impl Repo {
    /// Its name.
    pub fn name(&self) -> &RepoName {
        &self.name
    }

    /// Waits until nobody else changes the repository.
    ///
    /// # Errors
    /// What the system says.
    pub fn lock(&self) -> Result<RepoLock, StoreError> {
        let dir = self.store.layout().repository(&self.name);
        make_dirs(&dir, Durability::Synced)?;
        let file = File::open(&dir).map_err(StoreError::io("opening", &dir))?;
        file.lock().map_err(StoreError::io("locking", &dir))?;
        Ok(RepoLock { _file: file })
    }

    /// Was a manifest ever pushed to it?
    ///
    /// # Errors
    /// What the system says.
    pub fn exists(&self) -> Result<bool, StoreError> {
        let dir = self.store.layout().repository(&self.name).join(MANIFESTS);
        dir.try_exists().map_err(StoreError::io("looking for", &dir))
    }

    /// Marks it as one whose manifests may name what is not there: a mirror's, which is filled when somebody asks, or
    /// one that takes partial copies.
    ///
    /// # Errors
    /// What the system says.
    pub fn mark_partial(&self) -> Result<(), StoreError> {
        if self.is_partial()? {
            return Ok(());
        }
        self.store.write_small(&self.store.layout().repository_partial(&self.name), b"", Durability::Synced)
    }

    /// Is it marked so?
    ///
    /// # Errors
    /// What the system says.
    pub fn is_partial(&self) -> Result<bool, StoreError> {
        let mark = self.store.layout().repository_partial(&self.name);
        mark.try_exists().map_err(StoreError::io("looking for", &mark))
    }

    /// Size of a blob in bytes, when the repository holds it.
    ///
    /// # Errors
    /// What the system says.
    pub fn blob(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        let link = File::open(self.store.layout().repository_blob(&self.name, digest));
        let Ok((link, is)) = link.and_then(|link| link.metadata().map(|is| (link, is))) else { return Ok(None) };
        if !is.is_file() {
            return Ok(None);
        }
        // Whoever was told that it is there may be about to push what names it.
        note_use(&link, &is);
        self.store.blob_size(digest)
    }

    /// Makes a blob of the store visible, durably.
    ///
    /// # Errors
    /// [`StoreError::MissingBlob`] when the store does not have it, else what the system says.
    pub fn link_blob(&self, digest: &Digest) -> Result<(), StoreError> {
        // Held until the link is there: from then on the link keeps it.
        let Some(_held) = self.store.lease(&self.store.layout().blob(digest))? else {
            return Err(StoreError::MissingBlob(digest.clone()));
        };
        let link = self.store.layout().repository_blob(&self.name, digest);
        if link.is_file() {
            // A repair may have found that the blob was not there, and be about to delete the link.
            let _lock = self.lock()?;
            if let Ok(there) = File::open(&link)
                && let Ok(is) = there.metadata()
            {
                note_use(&there, &is);
                // Whoever wrote it may have died before it was on the disk, or have told a failure.
                return sync_dir(&self.store.layout().repository(&self.name).join(BLOBS));
            }
        }
        self.store.write_small(&link, b"", Durability::Synced)
    }

    /// Makes what it shows of blobs survive a power cut, also what somebody wrote who died before it was on the disk, or
    /// who told a failure. Whoever looked may have been told that it is there.
    ///
    /// # Errors
    /// What the system says.
    pub fn settle(&self) -> Result<(), StoreError> {
        let (all, mine) = (self.store.layout().registry(), self.store.layout().repository(&self.name));
        let blobs = mine.join(BLOBS);
        // A manifest without blobs is possible.
        blobs.is_dir().then(|| sync_dir(&blobs)).transpose()?;
        mine.ancestors().take_while(|dir| dir.starts_with(&all)).try_for_each(sync_dir)
    }

    /// Digests of the blobs that it holds, sorted.
    pub(crate) fn blobs(&self) -> Result<Vec<Digest>, StoreError> {
        let dir = self.store.layout().repository(&self.name).join(BLOBS);
        Ok(names(&dir)?.iter().filter_map(|n| digest_of(n)).collect())
    }

    /// Takes a blob out of the repository; others keep it.
    ///
    /// # Errors
    /// What the system says.
    pub fn unlink_blob(&self, digest: &Digest) -> Result<Removed, StoreError> {
        remove_file(&self.store.layout().repository_blob(&self.name, digest))
    }

    /// The descriptor of a manifest that the repository holds.
    ///
    /// # Errors
    /// What the system says, [`StoreError::DamagedFile`].
    pub fn manifest(&self, digest: &Digest) -> Result<Option<Descriptor>, StoreError> {
        let found: Option<Descriptor> = read_json(&self.store.layout().repository_manifest(&self.name, digest))?;
        Ok(found.filter(|d| d.digest == *digest))
    }

    /// Notes that somebody asked for a manifest: what it names is about to be asked for by its digest, also when its
    /// tag is moved meanwhile.
    pub fn note_asked(&self, digest: &Digest) {
        self.note_asked_at(digest, SystemTime::now());
    }

    pub(crate) fn note_asked_at(&self, digest: &Digest, now: SystemTime) {
        let link = self.store.layout().repository_manifest(&self.name, digest);
        if let Ok(link) = File::open(link)
            && let Ok(is) = link.metadata()
        {
            note_use_at(&link, &is, now);
        }
    }

    /// Stores a manifest under a digest that the caller computed, and lists it as a referrer when it is one.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when the bytes are not what the descriptor says, else what the system says.
    pub fn put_manifest(
        &self,
        bytes: &[u8],
        descriptor: &Descriptor,
        referrer: Option<&Referrer>,
    ) -> Result<(), StoreError> {
        let mut writer = self.store.blob_writer_with(descriptor.digest.algorithm())?;
        writer.write_all(bytes).map_err(StoreError::io("writing", self.store.root()))?;
        let _held = writer.commit_held(Some((&descriptor.digest, descriptor.size)))?;
        if let Some(Referrer { subject, descriptor }) = referrer {
            let dir = self.store.layout().repository_referrers(&self.name, subject);
            self.store.write_json(&dir.join(file_name(&descriptor.digest)), "a referrer", descriptor)?;
        }
        let link = self.store.layout().repository_manifest(&self.name, &descriptor.digest);
        self.store.write_json(&link, "a manifest's link", descriptor)
    }

    /// Takes a manifest out of the repository, with the tags that lead to it.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove_manifest(&self, digest: &Digest) -> Result<Removed, StoreError> {
        for tag in self.tags()? {
            if self.tag(&tag)?.is_some_and(|d| d.digest == *digest) {
                self.remove_tag(&tag)?;
            }
        }
        self.unlink_manifest(digest)
    }

    /// The same of one to which no tag leads.
    pub(crate) fn unlink_manifest(&self, digest: &Digest) -> Result<Removed, StoreError> {
        remove_file(&self.store.layout().repository_manifest(&self.name, digest))
    }

    /// Digests of the manifests, sorted.
    ///
    /// # Errors
    /// What the system says.
    pub fn manifests(&self) -> Result<Vec<Digest>, StoreError> {
        let dir = self.store.layout().repository(&self.name).join(MANIFESTS);
        Ok(names(&dir)?.iter().filter_map(|n| digest_of(n)).collect())
    }

    /// Is there a link to it, whatever is in that?
    pub(crate) fn has_manifest(&self, digest: &Digest) -> Result<bool, StoreError> {
        let link = self.store.layout().repository_manifest(&self.name, digest);
        link.try_exists().map_err(StoreError::io("looking for", &link))
    }

    /// Digests of the manifests here that are listed as referring to one.
    pub(crate) fn referring(&self, subject: &Digest) -> Result<Vec<Digest>, StoreError> {
        let listed = names(&self.store.layout().repository_referrers(&self.name, subject))?;
        Ok(listed.iter().filter_map(|n| digest_of(n)).collect())
    }

    /// What a tag leads to.
    ///
    /// # Errors
    /// What the system says, [`StoreError::DamagedFile`].
    pub fn tag(&self, tag: &TagName) -> Result<Option<Descriptor>, StoreError> {
        read_json(&self.store.layout().repository_tags(&self.name).join(tag.as_str()))
    }

    /// Writes a tag, durably, replacing what had it.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_tag(&self, tag: &TagName, descriptor: &Descriptor) -> Result<(), StoreError> {
        self.store.write_json(&self.store.layout().repository_tags(&self.name).join(tag.as_str()), "a tag", descriptor)
    }

    /// Takes a tag away.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove_tag(&self, tag: &TagName) -> Result<Removed, StoreError> {
        remove_file(&self.store.layout().repository_tags(&self.name).join(tag.as_str()))
    }

    /// The tags, sorted by their bytes.
    ///
    /// # Errors
    /// What the system says.
    pub fn tags(&self) -> Result<Vec<TagName>, StoreError> {
        Ok(names(&self.store.layout().repository_tags(&self.name))?.iter().filter_map(|n| n.parse().ok()).collect())
    }
}

/// The repository whose file this is, by the part of the path below the directory of all repositories.
pub fn repository_of(below: &Path) -> Option<RepoName> {
    below.ancestors().skip(1).find_map(|above| above.to_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Referrers;
    use cooper_image::MediaType;

    #[test]
    fn a_link_that_is_being_deleted_is_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let repo = store.repository(&"team/app".parse().unwrap());
        let digest = store.put_blob(b"blob").unwrap();
        repo.link_blob(&digest).unwrap();
        let lock = repo.lock().unwrap();
        std::thread::scope(|scope| {
            let linking = scope.spawn(|| repo.link_blob(&digest).unwrap());
            std::thread::sleep(std::time::Duration::from_millis(50));
            repo.unlink_blob(&digest).unwrap();
            drop(lock);
            linking.join().unwrap();
        });
        assert_eq!(repo.blob(&digest).unwrap(), Some(4));
    }

    #[test]
    fn a_file_tells_its_repository() {
        for (path, name) in [("a/_tags/b", Some("a")), ("a/b/_blobs/sha256-00", Some("a/b")), ("_tags", None)] {
            assert_eq!(repository_of(Path::new(path)).map(|n| n.to_string()).as_deref(), name, "{path}");
        }
    }

    #[test]
    fn only_names_of_the_grammar_get_a_path() {
        for good in ["a", "library/debian", "a/b/c.d/e-f", "a__b"] {
            assert!(good.parse::<RepoName>().is_ok(), "{good}");
        }
        let long = "a/".repeat(127) + "ab";
        for bad in ["", "/", "a/", "/a", "..", "a/../b", "_catalog", "a/_tags", "A", "a\0", "a b", "a%2f", &long] {
            assert!(bad.parse::<RepoName>().is_err(), "{bad}");
        }
        assert!(long[1..].trim_start_matches('/').parse::<RepoName>().is_ok());
        for bad in ["", ".", "..", "-a", "a/b", "a\0", &"a".repeat(129)] {
            assert!(bad.parse::<TagName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_blob_is_seen_only_where_it_is_linked() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let repo = |n: &str| store.repository(&n.parse().unwrap());
        let digest = store.put_blob(b"blob").unwrap();
        assert_eq!(repo("a").blob(&digest).unwrap(), None);
        repo("a").link_blob(&digest).unwrap();
        repo("a").link_blob(&digest).unwrap();
        assert_eq!(repo("a").blob(&digest).unwrap(), Some(4));
        assert_eq!(repo("a/b").blob(&digest).unwrap(), None);
        let with = |digest: &Digest, may: bool| store.repository_with(digest, |_| may).unwrap();
        assert_eq!(with(&digest, true), Some("a".parse().unwrap()));
        assert_eq!((with(&digest, false), with(&Digest::sha256("absent"), true)), (None, None));
        assert!(matches!(repo("a").link_blob(&Digest::sha256("absent")), Err(StoreError::MissingBlob(_))));
        assert_eq!(repo("a").unlink_blob(&digest).unwrap(), Removed::Yes);
        assert_eq!(repo("a").blob(&digest).unwrap(), None);
        assert_eq!(store.blob_size(&digest).unwrap(), Some(4));
    }

    #[test]
    fn what_a_mirror_has_not_fetched_and_what_is_foreign_is_not_lost() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let put = |name: &str, media_type: &str, mirror: bool| {
            let repo = store.repository(&name.parse().unwrap());
            let (absent, config) = (Digest::sha256(name), store.put_blob(b"{}").unwrap());
            let text = format!(
                "{{\"schemaVersion\":2,\"config\":{{\"mediaType\":\"x/y\",\"digest\":\"{config}\",\"size\":2}},\
                 \"layers\":[{{\"mediaType\":\"{media_type}\",\"digest\":\"{absent}\",\"size\":9}}]}}"
            );
            mirror.then(|| repo.mark_partial().unwrap());
            repo.put_manifest(text.as_bytes(), &Descriptor::of(MediaType::OciManifest, text.as_bytes()), None).unwrap();
            store.fsck().unwrap().problems.len()
        };
        assert_eq!(put("mirrored", "application/vnd.oci.image.layer.v1.tar", true), 0);
        assert_eq!(put("foreign", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", false), 0);
        assert_eq!(put("broken", "application/vnd.oci.image.layer.v1.tar", false), 1);
    }

    #[test]
    fn removing_a_manifest_takes_its_tags_and_its_referral_along() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let repo = store.repository(&"team/app".parse().unwrap());
        let _lock = repo.lock().unwrap();
        assert!(!repo.exists().unwrap());
        let d = Descriptor::of(MediaType::OciManifest, b"{}");
        let subject = Digest::sha256("subject");
        let referrer = Referrer { subject: subject.clone(), descriptor: d.clone() };
        repo.put_manifest(b"{}", &d, Some(&referrer)).unwrap();
        assert!(repo.put_manifest(b"[]", &d, None).is_err());
        let tag: TagName = "v1".parse().unwrap();
        repo.set_tag(&tag, &d).unwrap();
        assert_eq!(repo.tag(&tag).unwrap().as_ref(), Some(&d));
        let page = |last: Option<&Digest>, bytes| repo.referrers(&subject, last, bytes).unwrap();
        assert_eq!(page(None, 1), Referrers { descriptors: vec![d.clone()], more: None });
        assert_eq!(store.repositories().unwrap(), ["team/app".parse().unwrap()]);
        assert_eq!(repo.remove_manifest(&d.digest).unwrap(), Removed::Yes);
        assert_eq!(repo.tag(&tag).unwrap(), None);
        assert_eq!(page(None, 1), Referrers::default());
        assert!(store.repositories().unwrap().is_empty());
    }
}
