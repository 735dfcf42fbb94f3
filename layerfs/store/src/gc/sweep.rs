//! Deletes, least recently used first, and says of each thing why it went or stayed.
//!
//! A file goes by unlink; a directory is renamed to the place of what is in flight and then emptied, so that whoever
//! finds it after a crash may finish the work. Its lock is held until it is gone.

use super::inventory::{Forms, Inventory, kept};
use super::item::{Item, Keeps, Kind};
use super::reach::Reach;
use super::{Doing, Fate, Policy, Verdict};
use crate::held::claim;
use crate::ingest::{random_name, sync_all};
use crate::lent::{self, Lent};
use crate::publish::sync_dir;
use crate::remove::remove_tree;
use crate::{Store, StoreError};
use cooper_image::{DiffId, Digest};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Most things whose locks are held at once, between two looks at all names.
const BATCH: usize = 256;

/// Does a living process hold it?
pub fn in_use(item: &Item) -> bool {
    matches!(item.kind, Kind::Tar | Kind::Blob | Kind::Tree | Kind::Mount | Kind::Failed)
        && matches!(claim(&item.path), Ok(None))
}

/// A collection under way.
pub struct Sweep<'a> {
    store: &'a Store,
    policy: &'a Policy,
    reach: Reach,
    links: HashMap<Digest, Vec<PathBuf>>,
    items: Vec<Item>,
    /// What the store holds, as far as is known.
    bytes: u64,
}

impl<'a> Sweep<'a> {
    pub fn new(store: &'a Store, policy: &'a Policy, reach: Reach, inventory: Inventory) -> Self {
        let bytes = inventory.bytes();
        let Inventory { mut items, links } = inventory;
        items.sort_by_key(|i| i.last_used);
        Self { store, policy, reach, links, items, bytes }
    }

    /// Goes through everything once.
    pub fn run(mut self, now: i64) -> Result<Vec<Verdict>, StoreError> {
        let mut verdicts = Vec::with_capacity(self.items.len());
        let mut batch: Vec<(Item, File)> = Vec::new();
        // What the locked ones will free.
        let mut promised = 0;
        for item in std::mem::take(&mut self.items) {
            let fits = |bytes: u64| self.policy.max_bytes.is_some_and(|max| bytes <= max);
            if fits(self.bytes.saturating_sub(promised)) && !batch.is_empty() {
                self.delete_locked(std::mem::take(&mut batch), &mut verdicts)?;
                promised = 0;
            }
            let fate = match &item.kept {
                Some(keeps) => Fate::Kept(keeps.clone()),
                None if !self.chosen(&item) => Fate::NotChosen,
                None if self.is_recent(&item, now) => Fate::Recent,
                None if fits(self.bytes) => Fate::Fits,
                None if !needs_lock(item.kind) => self.delete_small(&item),
                None => match claim(&item.path) {
                    Ok(Some(lock)) => {
                        promised += item.bytes;
                        batch.push((item, lock));
                        if batch.len() >= BATCH {
                            self.delete_locked(std::mem::take(&mut batch), &mut verdicts)?;
                            promised = 0;
                        }
                        continue;
                    }
                    Ok(None) => Fate::Kept(Keeps::Process),
                    Err(e) => Fate::Refused(e.to_string()),
                },
            };
            verdicts.push(Verdict { item, fate });
        }
        self.delete_locked(batch, &mut verdicts)?;
        verdicts.sort_by_key(|v| v.item.last_used);
        Ok(verdicts)
    }

    fn chosen(&self, item: &Item) -> bool {
        let kind = self.policy.kinds.is_empty() || self.policy.kinds.contains(&item.kind);
        let begins = |n: &String| item.name.starts_with(n.as_str()) || bare(&item.name).starts_with(n.as_str());
        kind && (self.policy.names.is_empty() || self.policy.names.iter().any(begins))
    }

    fn is_recent(&self, item: &Item, now: i64) -> bool {
        let age = Duration::from_secs(now.saturating_sub(item.last_used).max(0).cast_unsigned());
        // What a dead process left is of no use to anybody, but for blobs that another goes on with.
        let layout = self.store.layout();
        let goes_on = [layout.all_arriving(), layout.all_receiving()].iter().any(|dir| item.path.starts_with(dir));
        let of_use = item.kind != Kind::Inflight || goes_on;
        of_use && self.policy.keep.is_some_and(|keep| age < keep)
    }

    /// Everything here is nobody's, and nobody can begin to use it. Was a name written meanwhile that leads to it?
    fn delete_locked(&mut self, batch: Vec<(Item, File)>, verdicts: &mut Vec<Verdict>) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let store = self.store;
        let reached = self.reach.search(store)?;
        let forms = Forms::new(store, &reached)?;
        let mut going = Vec::new();
        for (item, lock) in batch {
            let digest = item.name.parse::<Digest>().ok();
            let keeper = match item.kind {
                Kind::Tree => digest.as_ref().and_then(|d| forms.keeper_of_tree(&DiffId(d.clone()))),
                Kind::Tar | Kind::Blob => digest.as_ref().and_then(|d| forms.keeper_of_blob(d)),
                _ => None,
            };
            match keeper {
                Some(keeper) => verdicts.push(Verdict { item, fate: Fate::Kept(kept(keeper)) }),
                None => going.push((item, digest, lock)),
            }
        }
        let mut marked = self.unmark(going.iter().map(|(item, ..)| item));
        marked.extend(self.unsettled(going.iter().map(|(item, ..)| item)));
        let mut gone: Vec<(PathBuf, File)> = Vec::new();
        for (item, digest, lock) in going {
            let fate = match marked.get(&item.path) {
                Some(refused) => Fate::Refused(refused.clone()),
                None => self.take_away(&item, digest.as_ref(), lock, &mut gone),
            };
            if fate.goes() {
                self.bytes = self.bytes.saturating_sub(item.bytes);
            }
            verdicts.push(Verdict { item, fate });
        }
        for (path, _lock) in gone {
            if let Err(error) = remove_tree(&path) {
                tracing::warn!(path = %path.display(), %error, "what was taken away could not be deleted");
            }
        }
        Ok(())
    }

    /// Takes the marks of trees away, on the disk, before the trees themselves go: one that is left, or that comes back
    /// with a power cut, would vouch for a tree that is made later. Gives those of which that failed, and why.
    fn unmark<'i>(&self, items: impl Iterator<Item = &'i Item>) -> HashMap<PathBuf, String> {
        let layout = self.store.layout();
        let mut refused = HashMap::new();
        let mut unmarked = Vec::new();
        for item in items.filter(|item| item.kind == Kind::Tree && self.policy.doing == Doing::Delete) {
            match layout.mark_of(&item.path).map_or(Ok(()), |mark| unlink(&mark)) {
                Ok(()) => unmarked.push(item.path.clone()),
                Err(e) => drop(refused.insert(item.path.clone(), e.to_string())),
            }
        }
        // Also for those that had no mark: somebody may have taken it away and not come to this.
        if !unmarked.is_empty()
            && let Err(error) = sync_dir(&layout.synced())
        {
            refused.extend(unmarked.into_iter().map(|path| (path, error.to_string())));
        }
        refused
    }

    /// What a dead process gave a name may not be on the disk, and its directory in flight is all that says so: it is put
    /// there before that goes. Gives those of which that failed, and why.
    fn unsettled<'i>(&self, items: impl Iterator<Item = &'i Item>) -> HashMap<PathBuf, String> {
        let dead = items.filter(|item| item.kind == Kind::Inflight && self.policy.doing == Doing::Delete);
        let dead: Vec<&Item> = dead.collect();
        if dead.is_empty() || sync_all(self.store.layout()) {
            return HashMap::new();
        }
        let why = "what its process wrote could not be put on the disk";
        dead.into_iter().map(|item| (item.path.clone(), why.to_owned())).collect()
    }

    fn take_away(&self, item: &Item, digest: Option<&Digest>, lock: File, gone: &mut Vec<(PathBuf, File)>) -> Fate {
        if self.policy.doing == Doing::Say {
            return Fate::Goes;
        }
        if item.kind == Kind::Inflight {
            match lent::bring_all_back(self.store.layout(), &item.path, None) {
                Ok(Lent::Back) => {}
                Ok(Lent::Out) => return Fate::Kept(Keeps::Process),
                Err(e) => return Fate::Refused(e.to_string()),
            }
        }
        let done = match item.kind {
            Kind::Tree | Kind::Mount | Kind::Failed | Kind::Inflight => {
                let aside = self.store.layout().ingest().join(random_name());
                std::fs::rename(&item.path, &aside).map(|()| gone.push((aside, lock)))
            }
            _ => {
                // The links first: one that is left without a blob tells nothing, one that is made anew belongs to a
                // blob that is made anew.
                let mut links = digest.and_then(|d| self.links.get(d)).into_iter().flatten();
                links.try_for_each(|l| unlink(l)).and_then(|()| unlink(&item.path))
            }
        };
        // Directories of one layer or one cache: gone when they are empty.
        let links = digest.and_then(|d| self.links.get(d)).into_iter().flatten();
        for above in links.filter_map(|l| l.parent()) {
            let _ = std::fs::remove_dir(above);
        }
        if let Some(above) = item.path.parent().filter(|_| item.kind == Kind::Mount)
            // Whoever is about to put a copy into it has its lock.
            && let Ok(Some(_lock)) = claim(above)
        {
            let _ = std::fs::remove_dir(above);
        }
        done.map_or_else(|e| Fate::Refused(e.to_string()), |()| Fate::Goes)
    }

    /// Files whose loss is a miss for whoever looks for them.
    fn delete_small(&mut self, item: &Item) -> Fate {
        if self.policy.doing == Doing::Delete
            && let Err(e) = unlink(&item.path)
        {
            return Fate::Refused(e.to_string());
        }
        self.bytes = self.bytes.saturating_sub(item.bytes);
        Fate::Goes
    }
}

/// Kinds that processes hold.
fn needs_lock(kind: Kind) -> bool {
    matches!(kind, Kind::Tar | Kind::Blob | Kind::Tree | Kind::Mount | Kind::Failed | Kind::Inflight)
}

/// A digest's hexadecimal part.
fn bare(name: &str) -> &str {
    name.split_once(':').map_or(name, |(_, hex)| hex)
}

/// Deletes a file; one that is gone already is no failure.
fn unlink(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
