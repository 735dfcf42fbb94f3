//! Which kind of marks the trees of a store carry.
//!
//! Overlay keeps deletions and opaque directories in attributes that only the machine's root may write
//! (`trusted.`), or in others inside a user namespace (`user.`). A mount reads one kind alone, so trees of both
//! kinds in one store would lose deletions without a word. Where overlay cannot be mounted, trees have marks that none
//! reads, and whoever makes them differs in whose files and devices they have. The first who makes a tree decides.

use crate::publish::{Durability, read_small};
use crate::{Store, StoreError};
use std::fmt;

/// More than the file ever has, in bytes.
const LIMIT: u64 = 64;

/// The kinds of marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreeMarks {
    /// `trusted.overlay.*`: trees made by the machine's root.
    Trusted,
    /// `user.overlay.*`: trees made inside a user namespace.
    User,
    /// `user.overlay.*`, and records of owners: trees made in a user namespace with one id.
    Recorded,
    /// Deletions that no overlay knows: trees made where nothing can be mounted.
    Unstacked,
    /// The same, made by the machine's root.
    UnstackedRoot,
    /// The same, made inside a user namespace.
    UnstackedUser,
    /// The same, made in a user namespace with one id.
    UnstackedRecorded,
    /// As [`TreeMarks::Trusted`] as long as nobody knows whether overlay can be mounted over them: made by the machine's
    /// root.
    UntriedRoot,
    /// The same, made inside a user namespace.
    UntriedUser,
    /// The same, made in a user namespace with one id.
    UntriedRecorded,
}

impl TreeMarks {
    const ALL: [Self; 10] = [
        Self::Trusted,
        Self::User,
        Self::Recorded,
        Self::Unstacked,
        Self::UnstackedRoot,
        Self::UnstackedUser,
        Self::UnstackedRecorded,
        Self::UntriedRoot,
        Self::UntriedUser,
        Self::UntriedRecorded,
    ];

    /// What a file says.
    fn written(found: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|marks| found == format!("{marks}\n").as_bytes())
    }

    /// What is said of trees by whoever has the same rights, before it is known what can be mounted.
    pub fn untried(self) -> Option<Self> {
        match self {
            Self::Trusted | Self::UnstackedRoot | Self::UntriedRoot => Some(Self::UntriedRoot),
            Self::User | Self::UnstackedUser | Self::UntriedUser => Some(Self::UntriedUser),
            Self::Recorded | Self::UnstackedRecorded | Self::UntriedRecorded => Some(Self::UntriedRecorded),
            Self::Unstacked => None,
        }
    }

    /// Does it say what the roots of steps are?
    pub fn is_tried(self) -> bool {
        self.untried() != Some(self)
    }
}

impl fmt::Display for TreeMarks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trusted => "trusted",
            Self::User => "user",
            Self::Recorded => "recorded",
            Self::Unstacked => "unstacked",
            Self::UnstackedRoot => "unstacked-root",
            Self::UnstackedUser => "unstacked-user",
            Self::UnstackedRecorded => "unstacked-recorded",
            Self::UntriedRoot => "untried-root",
            Self::UntriedUser => "untried-user",
            Self::UntriedRecorded => "untried-recorded",
        })
    }
}

impl Store {
    /// Which marks its trees carry; nothing as long as nobody has said it, or when nobody knows them here.
    ///
    /// # Errors
    /// What the system says.
    pub fn marks(&self) -> Result<Option<TreeMarks>, StoreError> {
        Ok(read_small(&self.layout().marks(), LIMIT)?.and_then(|found| TreeMarks::written(&found)))
    }

    /// Says which marks the caller's trees carry, before it makes or uses one. What nobody had tried can be said later, by
    /// whoever has the same rights: unstacked trees are read with any marks.
    ///
    /// # Errors
    /// [`StoreError::OtherMarks`] when the store has trees of the other kind; what the system says.
    pub fn use_marks(&self, marks: TreeMarks) -> Result<(), StoreError> {
        let path = self.layout().marks();
        let wanted = format!("{marks}\n");
        let other = || StoreError::OtherMarks { root: self.root().to_owned() };
        // Read once: whoever judges it twice may judge two different files.
        if let Some(found) = read_small(&path, LIMIT)? {
            if found == wanted.as_bytes() {
                return Ok(());
            }
            let known = TreeMarks::written(&found).ok_or_else(other)?;
            if known.untried().is_none() || known.untried() != marks.untried() || (known.is_tried() && marks.is_tried())
            {
                return Err(other());
            }
            if known.is_tried() {
                return Ok(());
            }
        }
        self.write_small(&path, wanted.as_bytes(), Durability::Synced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_kind_stays() {
        for first in TreeMarks::ALL {
            let dir = tempfile::tempdir().unwrap();
            assert_eq!(Store::open(dir.path()).unwrap().marks().unwrap(), None);
            for _ in 0..2 {
                Store::open(dir.path()).unwrap().use_marks(first).unwrap();
                assert_eq!(Store::open(dir.path()).unwrap().marks().unwrap(), Some(first));
            }
            let same_rights = |other: &TreeMarks| first.untried().is_some() && first.untried() == other.untried();
            for other in TreeMarks::ALL.into_iter().filter(|other| *other != first) {
                if same_rights(&other) && !(first.is_tried() && other.is_tried()) {
                    continue;
                }
                let refused = Store::open(dir.path()).unwrap().use_marks(other).unwrap_err();
                assert!(matches!(refused, StoreError::OtherMarks { .. }) && refused.hint().is_some(), "{refused}");
                assert_eq!(Store::open(dir.path()).unwrap().marks().unwrap(), Some(first));
            }
        }
    }

    #[test]
    fn what_is_said_is_read_once() {
        use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        for (first, then) in [
            (TreeMarks::UntriedUser, TreeMarks::UntriedUser),
            (TreeMarks::UntriedUser, TreeMarks::User),
            (TreeMarks::User, TreeMarks::UntriedUser),
            (TreeMarks::User, TreeMarks::Trusted),
        ] {
            let path = store.layout().marks();
            std::fs::write(&path, format!("{first}\n")).unwrap();
            let watch = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
            add_watch(&watch, &path, WatchFlags::OPEN).unwrap();
            let _ = store.use_marks(then);
            let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
            let mut events = Reader::new(watch, &mut buffer);
            let mut opened = 0;
            while let Ok(event) = events.next() {
                opened += usize::from(event.events().contains(ReadFlags::OPEN));
            }
            assert_eq!(opened, 1, "{first} {then}");
        }
    }

    #[test]
    fn what_nobody_had_tried_is_said_later_and_once() {
        for (untried, first, second) in [
            (TreeMarks::UntriedRoot, TreeMarks::Trusted, TreeMarks::UnstackedRoot),
            (TreeMarks::UntriedUser, TreeMarks::UnstackedUser, TreeMarks::User),
            (TreeMarks::UntriedRecorded, TreeMarks::Recorded, TreeMarks::UnstackedRecorded),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let store = Store::open(dir.path()).unwrap();
            store.use_marks(untried).unwrap();
            store.use_marks(first).unwrap();
            // Whoever cannot try it goes on with what is known.
            store.use_marks(untried).unwrap();
            assert_eq!(store.marks().unwrap(), Some(first));
            store.use_marks(second).unwrap_err();
        }
    }
}
