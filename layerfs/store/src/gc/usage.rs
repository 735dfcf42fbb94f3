//! Collecting by itself: a number in a small file says whether there is anything to do.
//!
//! The file `usage` holds what the store was measured to hold and when, and a line for what each build added since.
//! Nothing else is read as long as the sum is below the cap. It is a cache: without it the store is measured.

use super::meter::Meter;
use super::{Doing, Outcome, Policy};
use crate::publish::{Durability, read_small};
use crate::{Store, StoreError};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

/// Version of the file.
const VERSION: &str = "usage/1";
/// A measurement is believed for so long, in seconds: others may have changed the store.
const BELIEVED: i64 = 24 * 60 * 60;
/// Most bytes of the file that are read; one with more lines is measured anew.
const LIMIT: u64 = 16 * 1024;

/// What collecting by itself came to.
#[derive(Debug)]
pub enum Automatic {
    /// There was nothing to do.
    Nothing,
    /// Something was deleted, or is in the way.
    Collected(Box<Outcome>),
}

/// What is known of how much the store holds.
struct Known {
    bytes: u64,
    measured: i64,
}

/// Notes a measurement. The file may be lost; nothing depends on it.
pub fn note(store: &Store, bytes: u64, now: i64) {
    let text = format!("{VERSION} {bytes} {now}\n");
    if let Err(error) = store.write_small(&store.layout().usage(), text.as_bytes(), Durability::Cache) {
        tracing::debug!(%error, "how much the store holds is not noted");
    }
}

fn read(store: &Store) -> Option<Known> {
    let bytes = read_small(&store.layout().usage(), LIMIT).ok()??;
    let text = String::from_utf8(bytes).ok()?;
    let mut lines = text.lines();
    let mut first = lines.next()?.split(' ');
    if first.next()? != VERSION {
        return None;
    }
    let (measured_bytes, measured) = (first.next()?.parse::<u64>().ok()?, first.next()?.parse().ok()?);
    let mut added = lines.map(|l| l.strip_prefix('+')?.parse::<u64>().ok());
    let bytes = added.try_fold(measured_bytes, |sum: u64, n: Option<u64>| sum.checked_add(n?))?;
    Some(Known { bytes, measured })
}

fn add(store: &Store, bytes: u64) {
    let path = store.layout().usage();
    let appended = OpenOptions::new().append(true).mode(0o600).open(&path);
    if let Err(error) = appended.and_then(|mut f| f.write_all(format!("+{bytes}\n").as_bytes())) {
        tracing::debug!(%error, "what was added is not noted");
    }
}

impl Store {
    /// Deletes what was not used for longest when the store holds more than `max_bytes`; a tenth less is left, so that
    /// not every build has to. Reads one small file when there is nothing to do. Whoever calls it has done with what this
    /// handle found and made: none of it is held any longer. `now` in Unix seconds.
    ///
    /// # Errors
    /// What the system says.
    pub fn collect_when_full(&self, max_bytes: u64, now: i64) -> Result<Automatic, StoreError> {
        let made = self.take_made();
        let added = {
            let mut meter = Meter::default();
            made.iter().map(|path| meter.all(path).bytes).sum::<u64>()
        };
        let known = read(self).filter(|k| (0..BELIEVED).contains(&now.saturating_sub(k.measured)));
        let holds = match known {
            Some(known) if known.bytes.saturating_add(added) <= max_bytes => {
                if added > 0 {
                    add(self, added);
                }
                return Ok(Automatic::Nothing);
            }
            _ => self.measure(now)?,
        };
        if holds <= max_bytes {
            return Ok(Automatic::Nothing);
        }
        self.end_leases();
        let policy = Policy {
            keep: None,
            max_bytes: Some(max_bytes - max_bytes / 10),
            kinds: Vec::new(),
            names: Vec::new(),
            doing: Doing::Delete,
        };
        Ok(Automatic::Collected(Box::new(self.collect(&policy, now)?)))
    }
}
