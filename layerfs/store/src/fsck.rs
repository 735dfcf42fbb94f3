//! Looks at everything in the store and says what is not as it should be; changes nothing.
//!
//! Trees are not compared with anything: only the tar of a layer has a digest, and a tree that was unpacked from one
//! packs into an equal, but not always the same, tar.

use crate::layout::ALGORITHMS;
use crate::publish::{names, read_json};
use crate::{Repo, RepoName, Store, StoreError, TagName, closure, refs};
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
    /// A tag of a repository leads to a manifest that the repository does not hold.
    LostManifest {
        /// The repository.
        repository: RepoName,
        /// The tag.
        tag: TagName,
        /// The manifest.
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
            Self::LostManifest { repository, tag, digest } => {
                write!(f, "tag {repository}:{}: manifest {digest} is not there", tag.as_str())
            }
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
        for algorithm in ALGORITHMS {
            self.check_blobs(algorithm, &mut report)?;
        }
        self.check_names(&mut report)?;
        Ok(report)
    }

    /// Everything but the bytes of the blobs.
    pub(crate) fn check_names(&self, report: &mut Report) -> Result<(), StoreError> {
        self.each_ref(&mut |found| {
            report.refs += 1;
            match found {
                Ok((name, descriptor)) => report.problems.extend(self.check_ref(&name, &descriptor)),
                Err(error) => report.problems.push(Problem::Unreadable(error)),
            }
        })?;
        self.check_registry(report)?;
        self.check_small(report)
    }

    /// Small files that count as absent when they are damaged.
    fn check_small(&self, report: &mut Report) -> Result<(), StoreError> {
        let mut look = |path: PathBuf| {
            report.small += 1;
            report.problems.extend(self.check_file(&path).err().map(Problem::Unreadable));
        };
        for dir in ["records", "urls", "builds"] {
            let dir = self.layout().top(dir);
            names(&dir)?.into_iter().for_each(|name| look(dir.join(name)));
        }
        for algorithm in ALGORITHMS {
            let dir = self.layout().layers(algorithm);
            for layer in names(&dir)?.into_iter().map(|name| dir.join(name)) {
                names(&layer)?.into_iter().for_each(|link| look(layer.join(link)));
            }
        }
        Ok(())
    }

    /// Can a small file be read? By the directory of the top level that it is in.
    pub(crate) fn check_file(&self, path: &Path) -> Result<(), StoreError> {
        let top = path.strip_prefix(self.root()).ok().and_then(|below| below.iter().next());
        match top.and_then(|top| top.to_str()) {
            Some("records") => Self::check_record(path),
            Some("urls") => Self::check_url_record(path),
            Some("builds") => Self::check_build(path),
            Some("refs") => refs::check(path),
            _ => read_json::<Descriptor>(path).map(drop),
        }
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

    /// What is wrong with an image that has a name.
    pub(crate) fn check_ref(&self, name: &Reference, descriptor: &Descriptor) -> Vec<Problem> {
        let broken = |error| vec![Problem::BrokenImage { at: Place::Name(name.clone()), error }];
        if !matches!(descriptor.media_type, MediaType::OciConfig | MediaType::DockerConfig) {
            return self.check_closure(descriptor).map_or_else(broken, |()| Vec::new());
        }
        let lost = |diff| Problem::LostLayer { name: name.clone(), diff };
        self.lost_layers(descriptor).map_or_else(broken, |diffs| diffs.into_iter().map(lost).collect())
    }

    pub(crate) fn check_closure(&self, root: &Descriptor) -> Result<(), StoreError> {
        closure::visit(self, root, &mut |d| match self.blob_size(&d.digest)? {
            Some(_) => Ok(()),
            None if d.media_type.is_foreign() => Ok(()),
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

    /// Is everything there that a manifest of a repository leads to?
    pub(crate) fn check_manifest(&self, repo: &Repo, digest: &Digest) -> Result<(), StoreError> {
        let Some(descriptor) = repo.manifest(digest)? else { return Ok(()) };
        // What was not fetched or pushed yet is not lost.
        if repo.is_partial()? {
            return self.read_blob(&descriptor, limits::MANIFEST_BYTES).map(drop);
        }
        self.check_closure(&descriptor)
    }

    /// What a tag leads to, when the repository does not hold it. A link that cannot be read is a finding of its own.
    pub(crate) fn lost_manifest(&self, repo: &Repo, tag: &TagName) -> Result<Option<Digest>, StoreError> {
        let Some(Descriptor { digest, .. }) = repo.tag(tag)? else { return Ok(None) };
        match repo.manifest(&digest) {
            Ok(Some(_)) | Err(StoreError::DamagedFile { .. }) => Ok(None),
            Ok(None) => Ok(Some(digest)),
            Err(error) => Err(error),
        }
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
                match self.lost_manifest(&repo, &tag) {
                    Ok(None) => {}
                    Ok(Some(digest)) => {
                        report.problems.push(Problem::LostManifest { repository: name.clone(), tag, digest });
                    }
                    Err(error) => report.problems.push(Problem::Unreadable(error)),
                }
            }
            for digest in repo.manifests()? {
                report.manifests += 1;
                if let Err(error) = self.check_manifest(&repo, &digest) {
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
}
