//! Deletes what is not as it should be, so that the next pull or build makes it anew.
//!
//! Takes what a check found. Gives what of it is right now, and what is not. Others work on meanwhile, so that each
//! finding is looked at again right before anything is deleted, in a repository of the registry under its lock, and a
//! name while nobody gives names. Must never: delete what somebody has mended since it was found.

use crate::fsck::{Place, Problem, Report};
use crate::held::claim;
use crate::publish::remove_file;
use crate::registry::repository_of;
use crate::{Store, StoreError};
use std::path::Path;

impl Store {
    /// Deletes what is damaged, and the names of images that are not whole any more; gives what was wrong before and
    /// what is wrong still. Collections wait meanwhile.
    ///
    /// # Errors
    /// What the system says.
    pub fn repair(&self) -> Result<(Vec<Problem>, Report), StoreError> {
        let _alone = self.collector()?;
        let mut mended = Vec::new();
        let mut report = self.fsck()?;
        loop {
            let before = mended.len();
            let (mut left, mut of_blobs) = (Vec::new(), Vec::new());
            for problem in std::mem::take(&mut report.problems) {
                match self.mend(&problem)? {
                    true => mended.push(problem),
                    false if matches!(problem, Problem::Stray(_) | Problem::DamagedBlob { .. }) => {
                        of_blobs.push(problem)
                    }
                    false => left.push(problem),
                }
            }
            if mended.len() == before {
                report.problems = of_blobs.into_iter().chain(left).collect();
                return Ok((mended, report));
            }
            // What was deleted can have been a part of something else. The bytes of the blobs were compared already.
            report = Report { blobs: report.blobs, problems: of_blobs, ..Report::default() };
            self.check_names(&mut report)?;
        }
    }

    /// Says whether it is right now, by this or by another process.
    pub(crate) fn mend(&self, problem: &Problem) -> Result<bool, StoreError> {
        let delete = |path: &Path| remove_file(path).map(|_| true);
        match problem {
            Problem::Stray(path) => match claim(path).map_err(StoreError::io("locking", path))? {
                Some(_lock) => delete(path),
                None => Ok(!path.exists()),
            },
            Problem::DamagedBlob { digest, .. } => match self.discard_if_damaged(digest) {
                // Somebody deleted it, or put a whole one in its place.
                Ok(_) | Err(StoreError::MissingBlob(_)) => Ok(true),
                Err(e) => Err(e),
            },
            Problem::BrokenImage { at: Place::Name(name), .. } | Problem::LostLayer { name, .. } => {
                let _alone = self.unnaming()?;
                let now = match self.get_ref(name) {
                    // That is a finding of its own.
                    Err(StoreError::DamagedFile { .. }) => return Ok(false),
                    other => other?,
                };
                let found = now.map(|descriptor| self.check_ref(name, &descriptor)).unwrap_or_default();
                match found.iter().any(is_unknown) {
                    true => Ok(false),
                    false if found.is_empty() => Ok(true),
                    false => self.remove_ref(name).map(|_| true),
                }
            }
            Problem::BrokenImage { at: Place::Registry(name, digest), .. } => {
                let repo = self.repository(name);
                let _lock = repo.lock()?;
                match self.check_manifest(&repo, digest) {
                    Ok(()) => Ok(true),
                    Err(StoreError::Io { .. }) => Ok(false),
                    Err(_) => repo.remove_manifest(digest).map(|_| true),
                }
            }
            Problem::Unreadable(StoreError::DamagedFile { path, .. }) => {
                let repository = path.strip_prefix(self.layout().registry()).ok().and_then(repository_of);
                let _lock = repository.map(|name| self.repository(&name).lock()).transpose()?;
                let _alone = path.starts_with(self.layout().refs()).then(|| self.unnaming()).transpose()?;
                match self.check_file(path) {
                    Err(StoreError::DamagedFile { .. }) => delete(path),
                    other => other.map(|()| true),
                }
            }
            Problem::Unreadable(_) => Ok(false),
            Problem::LostBlob { repository, digest } => {
                let repo = self.repository(repository);
                let _lock = repo.lock()?;
                match self.blob_size(digest)? {
                    Some(_) => Ok(true),
                    None => repo.unlink_blob(digest).map(|_| true),
                }
            }
            Problem::LostManifest { repository, tag, .. } => {
                let repo = self.repository(repository);
                let _lock = repo.lock()?;
                match self.lost_manifest(&repo, tag) {
                    // That is a finding of its own.
                    Err(StoreError::DamagedFile { .. }) => Ok(false),
                    Ok(Some(_)) => repo.remove_tag(tag).map(|_| true),
                    other => other.map(|_| true),
                }
            }
        }
    }
}

/// Something that could not be looked at can be whole.
fn is_unknown(problem: &Problem) -> bool {
    matches!(problem, Problem::BrokenImage { error: StoreError::Io { .. }, .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::store;
    use cooper_image::assemble::{Format, assemble};
    use cooper_image::{Descriptor, DiffId, Digest, ImageConfig, MediaType, Platform};
    use std::fs::{self, File};

    #[test]
    fn what_is_damaged_goes_and_what_is_whole_stays() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let whole = store.put_blob(b"whole").unwrap();
        let config = ImageConfig::scratch(&Platform::linux("amd64"));
        let layer = Descriptor::of(MediaType::OciLayerGzip, b"layer");
        let image = assemble(&config, vec![layer.clone()], Format::Oci, Default::default()).unwrap();
        for bytes in [b"layer".as_slice(), &image.config, &image.manifest] {
            store.put_blob(bytes).unwrap();
        }
        store.set_ref(&"app".parse().unwrap(), &image.descriptor).unwrap();
        let repo = store.repository(&"team/app".parse().unwrap());
        repo.link_blob(&layer.digest).unwrap();
        repo.put_manifest(&image.manifest, &image.descriptor, None).unwrap();
        store.add_layer_blob(&DiffId(Digest::sha256("tar")), &layer).unwrap();
        let path = store.layout().blob(&layer.digest);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "lay3r").unwrap();
        fs::write(dir.path().join("blobs/sha256/partial"), "").unwrap();
        fs::create_dir(dir.path().join("builds")).unwrap();
        for torn in ["refs/docker.io/library/app/_tags/torn", "records/torn", "builds/7"] {
            fs::write(dir.path().join(torn), "{").unwrap();
        }
        let (mended, left) = store.repair().unwrap();
        assert!(left.problems.is_empty(), "{:?}", left.problems);
        let told: Vec<String> = mended.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 8, "{told:?}");
        assert_eq!(left.blobs, 4, "each was hashed once, the damaged one too");
        assert!(store.fsck().unwrap().problems.is_empty());
        assert_eq!(store.get_ref(&"app".parse().unwrap()).unwrap(), None);
        assert_eq!((store.blob_size(&whole).unwrap(), store.blob_size(&layer.digest).unwrap()), (Some(5), None));
        assert_eq!(repo.manifest(&image.descriptor.digest).unwrap(), None);
    }

    #[test]
    fn a_tag_without_its_manifest_is_found_and_goes_unless_it_was_pushed_again() {
        let (dir, store) = store();
        let repo = store.repository(&"team/app".parse().unwrap());
        let lost = Descriptor::of(MediaType::OciIndex, b"lost");
        let (tag, other) = ("1".parse().unwrap(), "2".parse().unwrap());
        repo.set_tag(&tag, &lost).unwrap();
        let found = store.fsck().unwrap().problems;
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].to_string(), format!("tag team/app:1: manifest {} is not there", lost.digest));
        // Somebody pushes another image to the tag meanwhile.
        let index = serde_json::to_vec(&cooper_image::Index::of(Vec::new())).unwrap();
        let whole = Descriptor::of(MediaType::OciIndex, &index);
        repo.put_manifest(&index, &whole, None).unwrap();
        repo.set_tag(&tag, &whole).unwrap();
        assert!(store.mend(&found[0]).unwrap());
        assert_eq!(repo.tag(&tag).unwrap().as_ref(), Some(&whole));
        repo.set_tag(&other, &lost).unwrap();
        let (mended, left) = store.repair().unwrap();
        assert_eq!((mended.len(), left.problems.len()), (1, 0), "{mended:?} {left:?}");
        assert_eq!(repo.tags().unwrap(), [tag]);
        drop(dir);
    }

    #[test]
    fn a_name_stays_while_somebody_gives_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let name = "app".parse().unwrap();
        let lost = Descriptor::of(MediaType::OciManifest, b"lost");
        let torn = store.layout().reference(&"torn".parse().unwrap());
        store.set_ref(&name, &lost).unwrap();
        fs::create_dir_all(torn.parent().unwrap()).unwrap();
        fs::write(&torn, "{").unwrap();
        let found = store.fsck().unwrap().problems;
        assert_eq!(found.len(), 2, "{found:?}");
        let naming = File::open(store.layout().refs()).unwrap();
        naming.lock_shared().unwrap();
        std::thread::scope(|scope| {
            let mending: Vec<_> = found.iter().map(|problem| scope.spawn(|| store.mend(problem).unwrap())).collect();
            std::thread::sleep(std::time::Duration::from_millis(50));
            assert!(torn.exists());
            assert_eq!(store.get_ref(&name).unwrap(), Some(lost));
            drop(naming);
            assert!(mending.into_iter().all(|m| m.join().unwrap()));
        });
        assert!(!torn.exists());
        assert_eq!(store.get_ref(&name).unwrap(), None);
    }

    /// What was found, and put right by others before anything was deleted, stays and counts as mended.
    #[test]
    fn what_others_mended_meanwhile_stays() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let mut config = ImageConfig::scratch(&Platform::linux("amd64"));
        config.rootfs.diff_ids = vec![DiffId(Digest::sha256("tar"))];
        let layer = Descriptor::of(MediaType::OciLayerGzip, b"layer");
        let image = assemble(&config, vec![layer.clone()], Format::Oci, Default::default()).unwrap();
        let put = |bytes: &[u8]| store.put_blob(bytes).unwrap();
        put(&image.config);
        put(&image.manifest);
        let (app, lazy) = ("app".parse().unwrap(), "lazy".parse().unwrap());
        store.set_ref(&app, &image.descriptor).unwrap();
        store.set_ref(&lazy, &image.config_descriptor).unwrap();
        let repo = store.repository(&"team/app".parse().unwrap());
        put(b"layer");
        repo.link_blob(&layer.digest).unwrap();
        repo.put_manifest(&image.manifest, &image.descriptor, None).unwrap();
        let tag = "1".parse().unwrap();
        repo.set_tag(&tag, &image.descriptor).unwrap();
        let path = store.layout().blob(&layer.digest);
        let damaged = put(b"damaged");
        let torn = [
            store.layout().reference(&"torn".parse().unwrap()),
            store.layout().repository_tags(repo.name()).join("1"),
            dir.path().join("urls/torn"),
        ];
        let break_it = || {
            fs::remove_file(&path).unwrap();
            for path in &torn {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "{").unwrap();
            }
            let _ = fs::remove_file(store.layout().blob(&damaged));
            fs::write(store.layout().blob(&damaged), "damag3d").unwrap();
            fs::write(dir.path().join("blobs/sha256/partial"), "").unwrap();
        };
        break_it();
        let found = store.fsck().unwrap().problems;
        assert_eq!(found.len(), 9, "{found:?}");
        // As a pull does it.
        put(b"layer");
        store.add_layer_blob(&DiffId(Digest::sha256("tar")), &layer).unwrap();
        fs::remove_file(store.layout().blob(&damaged)).unwrap();
        fs::remove_file(dir.path().join("blobs/sha256/partial")).unwrap();
        store.set_ref(&"torn".parse().unwrap(), &image.descriptor).unwrap();
        repo.set_tag(&tag, &image.descriptor).unwrap();
        fs::remove_file(&torn[2]).unwrap();
        assert!(store.fsck().unwrap().problems.is_empty());
        for problem in &found {
            assert!(store.mend(problem).unwrap(), "{problem}");
        }
        assert_eq!(store.refs().unwrap().len(), 3);
        assert_eq!(repo.tag(&tag).unwrap(), Some(image.descriptor.clone()));
        assert!(repo.manifest(&image.descriptor.digest).unwrap().is_some());
        assert_eq!(repo.blob(&layer.digest).unwrap(), Some(5));
        // Nobody mended it: it goes.
        break_it();
        assert!(store.repair().unwrap().1.problems.is_empty());
        assert!(store.refs().unwrap().is_empty() && store.fsck().unwrap().problems.is_empty());
    }
}
