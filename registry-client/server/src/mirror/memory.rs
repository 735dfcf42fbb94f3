//! What the upstream said lately about names, so that it is not asked again for a while.
//!
//! Must never: grow with what strangers ask for.

use cooper_store::RepoName;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Most names that are remembered.
const NAMES: usize = 10_000;

/// Said with an answer that could not be compared with the upstream.
pub type Warning = Option<&'static str>;

/// What became of asking about a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// What is here is what is to be served, with this warning.
    Serve(Warning),
    /// There is no such thing.
    Absent,
    /// It does not let us have it.
    Refused,
    /// It could not be asked.
    Failed,
}

impl Said {
    /// Is it about something that is here?
    fn serves(self) -> bool {
        matches!(self, Self::Serve(_))
    }
}

/// What was said, and until when that counts, by repository and tag or digest.
#[derive(Debug, Default)]
pub struct Memory(Mutex<HashMap<(RepoName, String), (Instant, Said)>>);

impl Memory {
    /// What counts still about a name of which something is here, or is not.
    pub fn recall(&self, name: &RepoName, reference: &str, is_here: bool) -> Option<Said> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, said) = *all.get(&(name.clone(), reference.to_owned()))?;
        (Instant::now() < until && said.serves() == is_here).then_some(said)
    }

    /// Remembers what was said for so long.
    pub fn note(&self, name: &RepoName, reference: &str, time: Duration, said: Said) {
        let now = Instant::now();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= NAMES {
            all.retain(|_, (until, _)| now < *until);
        }
        let key = (name.clone(), reference.to_owned());
        // What is in it already makes it no larger, and what was said last counts.
        if all.len() < NAMES || all.contains_key(&key) {
            all.insert(key, (now + time, said));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_counts_for_a_while_and_for_what_it_is_about() {
        let (memory, name): (_, RepoName) = (Memory::default(), "a".parse().unwrap());
        memory.note(&name, "old", Duration::ZERO, Said::Absent);
        memory.note(&name, "absent", Duration::from_secs(60), Said::Absent);
        memory.note(&name, "here", Duration::from_secs(60), Said::Serve(None));
        for (reference, is_here, said) in [
            ("old", false, None),
            ("absent", false, Some(Said::Absent)),
            // It came meanwhile, or went.
            ("absent", true, None),
            ("here", false, None),
            ("here", true, Some(Said::Serve(None))),
            ("never", false, None),
        ] {
            assert_eq!(memory.recall(&name, reference, is_here), said, "{reference} {is_here}");
        }
    }

    #[test]
    fn strangers_do_not_make_it_grow() {
        let (memory, name): (_, RepoName) = (Memory::default(), "a".parse().unwrap());
        for n in 0..NAMES + 10 {
            memory.note(&name, &n.to_string(), Duration::from_secs(60), Said::Absent);
        }
        assert_eq!(memory.0.lock().unwrap().len(), NAMES);
        assert!(memory.recall(&name, "0", false).is_some());
        // Of what it knows it hears the latest all the same.
        memory.note(&name, "0", Duration::from_secs(60), Said::Refused);
        assert_eq!(memory.recall(&name, "0", false), Some(Said::Refused));
        assert_eq!(memory.0.lock().unwrap().len(), NAMES);
    }
}
