//! Every path of the store. Nobody else joins a name to the root.
//!
//! Takes: checked names (digests, references, repository names). Gives: paths. Does no I/O.
//! A text whose grammar is not a file name's is hashed before it gets here a name.
//!
//! ```text
//! <root>/                                   mode 0700
//! ├── format                                version and features of this tree
//! ├── marks                                 which overlay attributes the trees carry
//! ├── blobs/<algorithm>/<hex>               any blob: config, manifest, compressed layer, layer tar
//! ├── trees/<algorithm>/<hex>/              unpacked layer, named by its DiffId
//! ├── synced/<algorithm>-<hex>              a tree that is on the disk whatever happens; the others are of this boot
//! ├── boot, boot.lock                       the boot in which the store was last used
//! ├── layers/<algorithm>/<hex>/<hash>       one blob that inflates to the DiffId, a descriptor each
//! ├── refs/<host>/<repository>/_tags/<tag>  image name → descriptor; written last
//! │                          └ _digests/<algorithm>-<hex>
//! ├── records/<algorithm>-<hex>             result of a step and the named parts of its key
//! ├── slots/<hash>                          keys of the records of one place in a Dockerfile, newest last
//! ├── chunks/<hash>/<hex>                   where chunks that one method compressed lie in blobs
//! ├── stat/<hash>                           which files of a context are the same still
//! ├── mounts/<algorithm>-<hex>/<number>/    copies of a directory that outlives builds, each locked while in use; a file
//! │                                         while it is lent to a root
//! ├── failed/<id>/                           a step that failed, kept to be looked at; locked while somebody does
//! ├── urls/<hash>                           what a file behind a URL was when it was last asked for
//! ├── uploads/<hash>                        where a registry goes on with an upload, locked while it is under way
//! ├── registry/<repository>/                what `cooper serve` shows of the blobs above
//! │   ├── _blobs/<algorithm>-<hex>          the repository holds this blob
//! │   ├── _manifests/<algorithm>-<hex>      the repository holds this manifest: its descriptor
//! │   ├── _tags/<tag>                       tag → descriptor
//! │   └── _referrers/<subject>/<manifest>   manifests that name a subject: their descriptors
//! ├── builds/<number>                       what one of the last builds did, for `explain`
//! ├── usage                                 how much all of this was when it was last measured
//! ├── arriving/<algorithm>-<hex>/blob       what has come of a large blob, for whoever goes on with it
//! ├── receiving/<hash>/blob                 what has come of an upload of a registry's client, locked while under way
//! └── ingest/<random>/                      in flight; whoever can take its lock may delete it
//! ```
//! A component of a repository's name begins with a letter or a digit, so that a name with `_` in
//! front is never a repository.

use crate::RepoName;
use cooper_image::digest::Algorithm;
use cooper_image::{DiffId, Digest, Reference};
use std::path::{Path, PathBuf};

/// The algorithms that name things.
pub const ALGORITHMS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];

/// Directories that exist in every store with one directory for each algorithm, and those without.
const BY_ALGORITHM: [&str; 3] = ["blobs", "trees", "layers"];
const SKELETON: [&str; 6] = ["refs", "records", "slots", "registry", "ingest", "synced"];

/// Directory of tags, below a repository.
pub const TAGS: &str = "_tags";
/// Directory of names by digest, below a repository of `refs`.
pub const DIGESTS: &str = "_digests";
/// Directory of blob links, below a repository of `registry`.
pub const BLOBS: &str = "_blobs";
/// Directory of manifest links, below a repository of `registry`.
pub const MANIFESTS: &str = "_manifests";

/// Names every file below one root.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }
    pub fn root(&self) -> &Path {
        &self.root
    }
    pub fn skeleton(&self) -> impl Iterator<Item = PathBuf> {
        let named = BY_ALGORITHM.into_iter().flat_map(|d| ALGORITHMS.map(|a| self.root.join(d).join(a.name())));
        named.chain(SKELETON.into_iter().map(|d| self.root.join(d)))
    }
    pub fn format(&self) -> PathBuf {
        self.root.join("format")
    }
    pub fn marks(&self) -> PathBuf {
        self.root.join("marks")
    }
    pub fn ingest(&self) -> PathBuf {
        self.root.join("ingest")
    }

    pub fn blobs(&self, algorithm: Algorithm) -> PathBuf {
        self.root.join("blobs").join(algorithm.name())
    }
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs(digest.algorithm()).join(digest.hex())
    }
    pub fn tree(&self, diff: &DiffId) -> PathBuf {
        self.root.join("trees").join(diff.0.algorithm().name()).join(diff.0.hex())
    }
    pub fn layer(&self, diff: &DiffId) -> PathBuf {
        self.root.join("layers").join(diff.0.algorithm().name()).join(diff.0.hex())
    }

    pub fn trees(&self, algorithm: Algorithm) -> PathBuf {
        self.root.join("trees").join(algorithm.name())
    }
    /// What is known of the blobs of all layers, a directory for each.
    pub fn layers(&self, algorithm: Algorithm) -> PathBuf {
        self.root.join("layers").join(algorithm.name())
    }
    /// A directory of the top level.
    pub fn top(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
    /// Steps that failed and are kept.
    pub fn failed(&self) -> PathBuf {
        self.root.join("failed")
    }
    /// How much the store held when it was last measured.
    pub fn usage(&self) -> PathBuf {
        self.root.join("usage")
    }

    pub fn refs(&self) -> PathBuf {
        self.root.join("refs")
    }
    /// The file of an image name: by digest when it has one, else by tag, else by `latest`.
    pub fn reference(&self, name: &Reference) -> PathBuf {
        let repository = self.refs().join(name.host()).join(name.repository());
        match name.digest() {
            Some(digest) => repository.join(DIGESTS).join(file_name(digest)),
            None => repository.join(TAGS).join(name.tag().unwrap_or("latest")),
        }
    }

    pub fn record(&self, key: &Digest) -> PathBuf {
        self.root.join("records").join(file_name(key))
    }
    pub fn slot(&self, slot: &str) -> PathBuf {
        self.root.join("slots").join(Digest::sha256(slot).hex())
    }

    /// What is remembered of the files of a context.
    pub fn stat(&self, context: &[u8]) -> PathBuf {
        self.root.join("stat").join(Digest::sha256(context).hex())
    }
    /// In which boot the store was last used.
    pub fn boot(&self) -> PathBuf {
        self.root.join("boot")
    }
    /// Locked while the first process of a boot looks at the trees.
    pub fn boot_lock(&self) -> PathBuf {
        self.root.join("boot.lock")
    }
    /// Marks of trees that are on the disk.
    pub fn synced(&self) -> PathBuf {
        self.root.join("synced")
    }
    /// The mark of a tree.
    pub fn synced_tree(&self, diff: &DiffId) -> PathBuf {
        self.synced().join(file_name(&diff.0))
    }
    /// The mark of a tree, by the tree's path.
    pub fn mark_of(&self, tree: &Path) -> Option<PathBuf> {
        let hex = tree.file_name()?.to_str()?;
        let algorithm = tree.parent()?.file_name()?.to_str()?;
        Some(self.synced().join(format!("{algorithm}-{hex}")))
    }
    /// The directories that trees are in.
    pub fn tree_dirs(&self) -> impl Iterator<Item = PathBuf> {
        ALGORITHMS.into_iter().map(|a| self.trees(a))
    }
    /// The chunks that one method compressed.
    pub fn chunks(&self, method: &str) -> PathBuf {
        self.root.join("chunks").join(Digest::sha256(method).hex())
    }
    /// What the last builds did, each under its number.
    pub fn builds(&self) -> PathBuf {
        self.root.join("builds")
    }
    pub fn build(&self, number: u64) -> PathBuf {
        self.builds().join(number.to_string())
    }
    /// The caches of `RUN --mount`.
    pub fn cache_mounts(&self) -> PathBuf {
        self.root.join("mounts")
    }
    /// All copies of one of them.
    pub fn cache_mount(&self, cache: &Digest) -> PathBuf {
        self.cache_mounts().join(file_name(cache))
    }
    pub fn url(&self, url: &str) -> PathBuf {
        self.root.join("urls").join(Digest::sha256(url).hex())
    }
    /// What has come of blobs.
    pub fn all_arriving(&self) -> PathBuf {
        self.root.join("arriving")
    }
    pub fn arriving(&self, digest: &Digest) -> PathBuf {
        self.all_arriving().join(file_name(digest))
    }
    /// What has come of uploads of a registry's clients.
    pub fn all_receiving(&self) -> PathBuf {
        self.root.join("receiving")
    }
    pub fn receiving(&self, name: &str) -> PathBuf {
        self.all_receiving().join(Digest::sha256(name).hex())
    }
    pub fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }
    pub fn upload(&self, name: &str) -> PathBuf {
        self.uploads().join(Digest::sha256(name).hex())
    }

    pub fn registry(&self) -> PathBuf {
        self.root.join("registry")
    }
    pub fn repository(&self, name: &RepoName) -> PathBuf {
        self.registry().join(name.as_str())
    }
    pub fn repository_blob(&self, name: &RepoName, digest: &Digest) -> PathBuf {
        self.repository(name).join(BLOBS).join(file_name(digest))
    }
    pub fn repository_manifest(&self, name: &RepoName, digest: &Digest) -> PathBuf {
        self.repository(name).join(MANIFESTS).join(file_name(digest))
    }
    pub fn repository_partial(&self, name: &RepoName) -> PathBuf {
        self.repository(name).join("_partial")
    }
    pub fn repository_tags(&self, name: &RepoName) -> PathBuf {
        self.repository(name).join(TAGS)
    }
    pub fn repository_referrers(&self, name: &RepoName, subject: &Digest) -> PathBuf {
        self.repository(name).join("_referrers").join(file_name(subject))
    }
}

/// A digest as one file name.
pub fn file_name(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm().name(), digest.hex())
}

/// The digest of which [`file_name`] made this name.
pub fn digest_of(file_name: &str) -> Option<Digest> {
    file_name.replacen('-', ":", 1).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_stays_below_its_directory() {
        let layout = Layout::new(Path::new("/s"));
        let digest = Digest::sha256("x");
        assert_eq!(digest_of(&file_name(&digest)), Some(digest.clone()));
        assert_eq!(digest_of(".."), None);
        for (name, below) in [
            ("[::1]:5000/a/b:c", "/s/refs/[::1]:5000/a/b/_tags/c"),
            ("debian", "/s/refs/docker.io/library/debian/_tags/latest"),
            ("localhost:1/tags/x:y", "/s/refs/localhost:1/tags/x/_tags/y"),
        ] {
            assert_eq!(layout.reference(&name.parse().unwrap()), Path::new(below));
        }
        let by_digest: Reference = format!("debian:12@{digest}").parse().unwrap();
        assert!(layout.reference(&by_digest).starts_with("/s/refs/docker.io/library/debian/_digests"));
        assert_eq!(layout.slot("../../etc/passwd").parent(), Some(Path::new("/s/slots")));
    }
}
