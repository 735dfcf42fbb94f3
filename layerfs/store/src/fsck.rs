//! Looks at everything in the store and says what is not as it should be; on request deletes that, so that the next
//! pull or build makes it anew.
//!
//! Trees are not compared with anything: only the tar of a layer has a digest, and a tree that was unpacked from one
//! packs into an equal, but not always the same, tar.

use crate::held::claim;
use crate::publish::{names, read_json, remove_file};
use crate::{Removed, RepoName, Store, StoreError, closure};
use cooper_image::digest::Algorithm;
use cooper_image::{Descriptor, DiffId, Digest, Hasher, ImageConfig, MediaType, Reference, limits};
use std::fmt;
use std::path::{Path, PathBuf};

/// What was looked at, and what is wrong.
#[derive(Debug, Default)]
pub struct Report {
    /// Blobs that were read and hashed.
    pub blobs: u64,
    /// Image names that were followed.
    pub refs: u64,
    /// Manifests of the registry that were followed.
    pub manifests: u64,
    /// Small files of caches that were read: records, what is known of layers, URLs and builds.
    pub small: u64,
    /// Everything that is wrong, in the order in which it was found.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Debug)]
pub enum Problem {
    /// A file among the blobs whose name is no digest.
    Stray(PathBuf),
    /// A blob whose bytes are not what its name says.
    DamagedBlob {
        /// Its name.
        digest: Digest,
        /// What the bytes hash to.
        actual: Digest,
    },
    /// An image name of which something is missing or damaged.
    BrokenImage {
        /// The name.
        at: Place,
        /// What is wrong.
        error: StoreError,
    },
    /// A layer that an image needs, of which there is no form.
    LostLayer {
        /// The image's name.
        name: Reference,
        /// The layer.
        diff: DiffId,
    },
    /// A name, a link or a small file of a cache that cannot be read.
    Unreadable(StoreError),
    /// A repository holds a blob that is not there.
    LostBlob {
        /// The repository.
        repository: RepoName,
        /// The blob.
        digest: Digest,
    },
}

/// Where an image has a name.
#[derive(Debug, Clone)]
pub enum Place {
    /// Among the names of the store.
    Name(Reference),
    /// In a repository of the registry.
    Registry(RepoName, Digest),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Registry(name, digest) => write!(f, "{name}@{digest}"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stray(path) => write!(f, "{} is no blob", path.display()),
            Self::DamagedBlob { digest, actual } => write!(f, "blob {digest} holds the bytes of {actual}"),
            Self::BrokenImage { at, error } => write!(f, "image {at}: {error}"),
            Self::LostLayer { name, diff } => write!(f, "image {name}: no form of layer {diff} is left"),
            Self::Unreadable(error) => write!(f, "{error}"),
            Self::LostBlob { repository, digest } => write!(f, "repository {repository}: blob {digest} is not there"),
        }
    }
}

impl Store {
    /// Checks that each blob has the bytes that its name says, that everything which an image name
    /// or a manifest of the registry leads to is there, and that no file without a proper name lies
    /// among the blobs.
    ///
    /// # Errors
    /// When the store cannot be read at all; what is wrong in it is in the report.
    pub fn fsck(&self) -> Result<Report, StoreError> {
        let mut report = Report::default();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            self.check_blobs(algorithm, &mut report)?;
        }
        self.each_ref(&mut |found| {
            report.refs += 1;
            match found {
                Ok((name, descriptor)) => self.check_ref(&name, &descriptor, &mut report),
                Err(error) => report.problems.push(Problem::Unreadable(error)),
            }
        })?;
        self.check_registry(&mut report)?;
        self.check_small(&mut report)?;
        Ok(report)
    }

    /// Deletes what is damaged, and the names of images that are not whole any more; gives what was wrong before and
    /// what is wrong still. Collections wait meanwhile.
    ///
    /// # Errors
    /// What the system says.
    pub fn repair(&self) -> Result<(Vec<Problem>, Report), StoreError> {
        let _alone = self.collector()?;
        let mut mended = Vec::new();
        loop {
            let report = self.fsck()?;
            let before = mended.len();
            let mut left = Report { problems: Vec::new(), ..report };
            for problem in report.problems {
                if self.mend(&problem)? { mended.push(problem) } else { left.problems.push(problem) }
            }
            // What was deleted can have been a part of something else.
            if mended.len() == before {
                return Ok((mended, left));
            }
        }
    }

    /// Says whether it did something.
    fn mend(&self, problem: &Problem) -> Result<bool, StoreError> {
        let gone = |path: &Path| Ok(remove_file(path)? == Removed::Yes);
        match problem {
            Problem::Stray(path) => match claim(path).map_err(StoreError::io("locking", path))? {
                Some(_lock) => gone(path),
                None => Ok(false),
            },
            Problem::DamagedBlob { digest, .. } => self.discard_if_damaged(digest),
            Problem::BrokenImage { at: Place::Name(name), .. } | Problem::LostLayer { name, .. } => {
                Ok(self.remove_ref(name)? == Removed::Yes)
            }
            Problem::BrokenImage { at: Place::Registry(name, digest), .. } => {
                let repo = self.repository(name);
                let _lock = repo.lock()?;
                Ok(repo.remove_manifest(digest)? == Removed::Yes)
            }
            Problem::Unreadable(StoreError::DamagedFile { path, .. }) => gone(path),
            Problem::Unreadable(_) => Ok(false),
            Problem::LostBlob { repository, digest } => {
                Ok(self.repository(repository).unlink_blob(digest)? == Removed::Yes)
            }
        }
    }

    /// Small files that count as absent when they are damaged.
    fn check_small(&self, report: &mut Report) -> Result<(), StoreError> {
        for (dir, check) in [
            ("records", Self::check_record as fn(&Path) -> Result<(), StoreError>),
            ("urls", Self::check_url_record),
            ("builds", Self::check_build),
        ] {
            let dir = self.layout().top(dir);
            for name in names(&dir)? {
                report.small += 1;
                report.problems.extend(check(&dir.join(name)).err().map(Problem::Unreadable));
            }
        }
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let dir = self.layout().layers(algorithm);
            for layer in names(&dir)? {
                for link in names(&dir.join(&layer))? {
                    report.small += 1;
                    let read = read_json::<Descriptor>(&dir.join(&layer).join(link));
                    report.problems.extend(read.err().map(Problem::Unreadable));
                }
            }
        }
        Ok(())
    }

    fn check_blobs(&self, algorithm: Algorithm, report: &mut Report) -> Result<(), StoreError> {
        let dir = self.layout().blobs(algorithm);
        for name in names(&dir)? {
            let path = dir.join(&name);
            let Ok(digest) = format!("{}:{name}", algorithm.name()).parse::<Digest>() else {
                report.problems.push(Problem::Stray(path));
                continue;
            };
            let mut hasher = Hasher::with(algorithm);
            let mut file = match self.open_blob(&digest) {
                // Deleted since the directory was read.
                Err(StoreError::MissingBlob(_)) => continue,
                other => other?,
            };
            std::io::copy(&mut file, &mut hasher).map_err(StoreError::io("reading", &path))?;
            report.blobs += 1;
            let actual = hasher.finish();
            if actual != digest {
                report.problems.push(Problem::DamagedBlob { digest, actual });
            }
        }
        Ok(())
    }

    fn check_ref(&self, name: &Reference, descriptor: &Descriptor, report: &mut Report) {
        let broken = |error| Problem::BrokenImage { at: Place::Name(name.clone()), error };
        if !matches!(descriptor.media_type, MediaType::OciConfig | MediaType::DockerConfig) {
            report.problems.extend(self.check_closure(descriptor).err().map(broken));
            return;
        }
        match self.lost_layers(descriptor) {
            Ok(lost) => {
                report.problems.extend(lost.into_iter().map(|diff| Problem::LostLayer { name: name.clone(), diff }))
            }
            Err(error) => report.problems.push(broken(error)),
        }
    }

    fn check_closure(&self, root: &Descriptor) -> Result<(), StoreError> {
        closure::visit(self, root, &mut |d| match self.blob_size(&d.digest)? {
            Some(_) => Ok(()),
            None => Err(StoreError::MissingBlob(d.digest.clone())),
        })
    }

    /// Layers of an image that was never compressed: any form will do.
    fn lost_layers(&self, config: &Descriptor) -> Result<Vec<DiffId>, StoreError> {
        let bytes = self.read_blob(config, limits::CONFIG_BYTES)?;
        let config: ImageConfig = serde_json::from_slice(bytes.get())
            .map_err(|e| StoreError::DamagedFile { path: self.layout().blob(&config.digest), reason: e.to_string() })?;
        let mut lost = Vec::new();
        for diff in config.rootfs.diff_ids {
            let forms = self.layer(&diff)?;
            if forms.tree.is_none() && forms.tar.is_none() && forms.blobs.is_empty() {
                lost.push(diff);
            }
        }
        Ok(lost)
    }

    fn check_registry(&self, report: &mut Report) -> Result<(), StoreError> {
        for name in self.all_repositories()? {
            let repo = self.repository(&name);
            for digest in repo.blobs()? {
                if self.blob_size(&digest)?.is_none() {
                    report.problems.push(Problem::LostBlob { repository: name.clone(), digest });
                }
            }
            for tag in repo.tags()? {
                report.problems.extend(repo.tag(&tag).err().map(Problem::Unreadable));
            }
            for digest in repo.manifests()? {
                report.manifests += 1;
                let checked = repo.manifest(&digest).and_then(|link| link.map_or(Ok(()), |d| self.check_closure(&d)));
                if let Err(error) = checked {
                    let at = Place::Registry(name.clone(), digest);
                    report.problems.push(Problem::BrokenImage { at, error });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cooper_image::Platform;
    use cooper_image::assemble::{Format, assemble};
    use std::fs;

    #[test]
    fn each_kind_of_damage_is_found_and_a_whole_store_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let layer = Descriptor::of(MediaType::OciLayerGzip, b"layer");
        let mut config = ImageConfig::scratch(&Platform::linux("amd64"));
        config.rootfs.diff_ids = vec![DiffId(Digest::sha256("tree"))];
        let image = assemble(&config, vec![layer], Format::Oci, Default::default()).unwrap();
        for bytes in [b"layer".as_slice(), &image.config, &image.manifest] {
            store.put_blob(bytes).unwrap();
        }
        store.set_ref(&"whole".parse().unwrap(), &image.descriptor).unwrap();
        let report = store.fsck().unwrap();
        assert!(report.problems.is_empty(), "{:?}", report.problems);
        assert_eq!((report.blobs, report.refs), (3, 1));

        store.set_ref(&"never-compressed".parse().unwrap(), &image.config_descriptor).unwrap();
        fs::write(dir.path().join("blobs/sha256/partial"), "").unwrap();
        let path = dir.path().join("blobs/sha256").join(Digest::sha256("layer").hex());
        fs::remove_file(&path).unwrap();
        fs::write(&path, "lay3r").unwrap();
        fs::write(dir.path().join("refs/docker.io/library/whole/_tags/torn"), "{").unwrap();
        let found: Vec<String> = store.fsck().unwrap().problems.iter().map(ToString::to_string).collect();
        for word in ["is no blob", "holds the bytes of", "no form of layer", "is damaged"] {
            assert_eq!(found.iter().filter(|p| p.contains(word)).count(), 1, "{word}: {found:?}");
        }
        fs::remove_file(&path).unwrap();
        let found = store.fsck().unwrap().problems;
        assert!(found.iter().any(
            |p| matches!(p, Problem::BrokenImage { at: Place::Name(name), .. } if name.repository().contains("whole"))
        ));
    }

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
        assert!(store.fsck().unwrap().problems.is_empty());
        assert_eq!(store.get_ref(&"app".parse().unwrap()).unwrap(), None);
        assert_eq!((store.blob_size(&whole).unwrap(), store.blob_size(&layer.digest).unwrap()), (Some(5), None));
        assert_eq!(repo.manifest(&image.descriptor.digest).unwrap(), None);
    }
}
