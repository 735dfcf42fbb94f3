//! House-keeping: what the store holds, and deleting what nobody needs, while others work.
//!
//! Takes a [`Policy`] and the time. Gives what went and what stayed, each with its reason. One process at a time
//! collects; builds, pulls, pushes and the registry go on beside it. Order for a blob or a tree: its exclusive lock, so
//! that no living process uses it and none can begin to; then all names again, since whoever writes a name holds what
//! it leads to; then it goes. Must never: delete what a name leads to, what a living process holds, or the last form of
//! a layer that an image needs.

mod inventory;
mod item;
mod links;
mod meter;
mod reach;
mod sweep;
mod usage;

pub use item::{Item, Keeps, Kind};
pub use usage::Automatic;

use crate::{Store, StoreError};
use links::Unnamed;
use reach::Reach;
use serde::Serialize;
use std::fmt;
use std::fs::File;
use std::time::Duration;
use sweep::Sweep;

/// What is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// What was used within this time before now stays, when it is given.
    pub keep: Option<Duration>,
    /// How much may be left, in bytes. When it is given, no more goes than has to.
    pub max_bytes: Option<u64>,
    /// Of these kinds alone; of all when there is none.
    pub kinds: Vec<Kind>,
    /// Those whose name begins with one of these alone; all when there is none.
    pub names: Vec<String>,
    /// Delete, or only say what would go?
    pub doing: Doing,
}

/// Delete, or look?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// It goes.
    Delete,
    /// Nothing goes.
    Say,
}

/// What became of one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "fate", content = "because", rename_all = "kebab-case")]
pub enum Fate {
    /// It went, or would go.
    Goes,
    /// It stays.
    Kept(Keeps),
    /// It was used within the time that was given.
    Recent,
    /// The rest is small enough with it.
    Fits,
    /// It was not asked for.
    NotChosen,
    /// The system refused.
    Refused(String),
}

impl Fate {
    /// Does it go?
    pub fn goes(&self) -> bool {
        *self == Self::Goes
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Goes => f.write_str("nobody needs it"),
            Self::Kept(keeps) => keeps.fmt(f),
            Self::Recent => f.write_str("it was used recently"),
            Self::Fits => f.write_str("the rest is small enough with it"),
            Self::NotChosen => f.write_str("it was not chosen"),
            Self::Refused(why) => write!(f, "it could not be deleted: {why}"),
        }
    }
}

/// One thing and what became of it.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// The thing.
    #[serde(flatten)]
    pub item: Item,
    /// Its fate.
    #[serde(flatten)]
    pub fate: Fate,
}

/// What a collection did.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Everything that was there: what was not used for longest first.
    pub verdicts: Vec<Verdict>,
    /// What the store held before, in bytes.
    pub before: u64,
    /// What it holds now; with [`Doing::Say`], what it would hold.
    pub after: u64,
}

impl Outcome {
    /// Bytes of what went.
    pub fn freed(&self) -> u64 {
        self.verdicts.iter().filter(|v| v.fate.goes()).map(|v| v.item.bytes).sum()
    }
}

impl Store {
    /// Everything that the store holds, measured; `now` in Unix seconds.
    ///
    /// # Errors
    /// What the system says.
    pub fn inventory(&self, now: i64) -> Result<Vec<Item>, StoreError> {
        let reached = Reach::without(Unnamed::all(now)).search(self)?;
        let mut items = inventory::take(self, &reached, now)?.items;
        for item in items.iter_mut().filter(|i| i.kept.is_none()) {
            item.kept = sweep::in_use(item).then_some(Keeps::Process);
        }
        Ok(items)
    }

    /// Deletes what a policy says, least recently used first. Waits while another process collects.
    ///
    /// # Errors
    /// What the system says. What went until then is gone.
    pub fn collect(&self, policy: &Policy, now: i64) -> Result<Outcome, StoreError> {
        let _alone = self.collector()?;
        let mut reach = Reach::default();
        if let Some(rule) = Unnamed::by(policy, now) {
            match policy.doing {
                // Afterwards every link that is left counts.
                Doing::Delete => links::let_go(self, rule)?,
                Doing::Say => reach = Reach::without(rule),
            }
        }
        let reached = reach.search(self)?;
        let inventory = inventory::take(self, &reached, now)?;
        let before = inventory.bytes();
        let verdicts = Sweep::new(self, policy, reach, inventory).run(now)?;
        let after = match policy.doing {
            Doing::Delete => self.measure(now)?,
            Doing::Say => before - verdicts.iter().filter(|v| v.fate.goes()).map(|v| v.item.bytes).sum::<u64>(),
        };
        Ok(Outcome { verdicts, before, after })
    }

    /// Measures the store and notes it.
    fn measure(&self, now: i64) -> Result<u64, StoreError> {
        // The note counts itself.
        if !self.layout().usage().exists() {
            usage::note(self, 0, now);
        }
        let reached = Reach::default().search(self)?;
        let bytes = inventory::take(self, &reached, now)?.bytes();
        usage::note(self, bytes, now);
        Ok(bytes)
    }

    /// The lock of whoever collects or repairs.
    pub(crate) fn collector(&self) -> Result<File, StoreError> {
        let dir = self.layout().top("blobs");
        let file = File::open(&dir).map_err(StoreError::io("opening", &dir))?;
        file.lock().map_err(StoreError::io("locking", &dir))?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests;
