//! What a repository of the registry holds that nothing in it names: links to blobs of pushes that were broken off, of
//! manifests that were deleted, and manifests whose tag was moved.
//!
//! Takes a repository as it is under its lock; gives the links that may go, and takes them away. Must never: judge where
//! a document of the repository cannot be read, since nobody knows then what it names; nor take a link that is young,
//! since the manifest of a push comes after its blobs, and the blobs of a pull after its manifest.

use super::Policy;
use super::reach::{Reach, Reached};
use crate::{Repo, Store, StoreError};
use cooper_image::Digest;
use std::collections::HashSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

/// So long after it was made or asked for a link stays, whatever names it: a push or a pull may be under way.
const GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// Which links may go.
#[derive(Debug, Clone, Copy)]
pub struct Unnamed {
    /// Those that were made before, in Unix seconds.
    before: i64,
    /// Manifests that no tag leads to as well?
    untagged: bool,
}

impl Unnamed {
    /// By a policy; none where it chooses what goes, or how much.
    pub fn by(policy: &Policy, now: i64) -> Option<Self> {
        let all = policy.kinds.is_empty() && policy.names.is_empty() && policy.max_bytes.is_none();
        let grace = policy.keep.unwrap_or_default().max(GRACE).as_secs();
        let before = now.saturating_sub(i64::try_from(grace).unwrap_or(i64::MAX));
        all.then_some(Self { before, untagged: policy.keep.is_none() })
    }

    /// Those of `cooper prune --all`.
    pub fn all(now: i64) -> Self {
        Self { before: now.saturating_sub(GRACE.as_secs().cast_signed()), untagged: true }
    }

    /// Is there a link, and is it old?
    fn is_old(self, link: &Path) -> bool {
        std::fs::symlink_metadata(link).is_ok_and(|is| is.ctime() < self.before)
    }
}

/// Links of one repository that may go.
#[derive(Debug, Default)]
pub struct Loose {
    pub blobs: HashSet<Digest>,
    pub manifests: HashSet<Digest>,
}

/// Looks for them. Whoever takes them away has the repository's lock.
pub fn loose(reach: &mut Reach, store: &Store, repo: &Repo, rule: Unnamed) -> Result<Loose, StoreError> {
    let layout = store.layout();
    let manifests = repo.manifests()?;
    let (mut kept, mut pending) = (HashSet::new(), Vec::new());
    if rule.untagged {
        for tag in repo.tags()? {
            match repo.tag(&tag) {
                Ok(found) => pending.extend(found.map(|d| d.digest)),
                Err(StoreError::DamagedFile { .. }) => return Ok(Loose::default()),
                Err(e) => return Err(e),
            }
        }
        let old = |d: &&Digest| rule.is_old(&layout.repository_manifest(repo.name(), d));
        pending.extend(manifests.iter().filter(|d| !old(d)).cloned());
    } else {
        pending.extend(manifests.iter().cloned());
    }
    let mut named = Reached::default();
    while let Some(digest) = pending.pop() {
        if !kept.insert(digest.clone()) {
            continue;
        }
        pending.extend(repo.referring(&digest)?);
        let Some(children) = reach.named_by(store, repo, &digest, &mut named)? else { return Ok(Loose::default()) };
        pending.extend(children);
    }
    let blobs = repo
        .blobs()?
        .into_iter()
        .filter(|d| !named.blobs.contains_key(d) && rule.is_old(&layout.repository_blob(repo.name(), d)));
    let blobs = blobs.collect();
    let manifests = manifests.into_iter().filter(|d| !kept.contains(d)).collect();
    Ok(Loose { blobs, manifests })
}

/// Takes them away in all repositories, durably, before what they lead to goes.
pub fn let_go(store: &Store, rule: Unnamed) -> Result<(), StoreError> {
    let mut reach = Reach::default();
    for name in store.all_repositories()? {
        let repo = store.repository(&name);
        let _lock = repo.lock()?;
        let loose = loose(&mut reach, store, &repo, rule)?;
        unlink(store, &repo, rule, &loose)?;
    }
    Ok(())
}

/// Takes away what was loose a moment ago. Who asks for something waits for no lock: what is young by now stays.
pub(super) fn unlink(store: &Store, repo: &Repo, rule: Unnamed, loose: &Loose) -> Result<(), StoreError> {
    let is_old = |d: &Digest| rule.is_old(&store.layout().repository_manifest(repo.name(), d));
    // Its blobs are asked for next, and which of them are loose was judged without it. The next prune looks again.
    if !loose.manifests.iter().all(is_old) {
        return Ok(());
    }
    // No tag leads to them.
    for digest in &loose.manifests {
        repo.unlink_manifest(digest)?;
    }
    for digest in loose.blobs.iter().filter(|d| rule.is_old(&store.layout().repository_blob(repo.name(), d))) {
        repo.unlink_blob(digest)?;
    }
    Ok(())
}
