//! The handle: one root, one directory in flight for the small things of this process.

use crate::ingest::{self, Ingest};
use crate::layout::Layout;
use crate::{StoreError, format};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// A store on disk. Clones share one handle; any number of threads and processes may use one root.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    layout: Layout,
    /// Where files in flight are made; absent until the first write, so that reading needs no
    /// writable disk.
    session: Mutex<Option<Arc<Ingest>>>,
}

impl Store {
    /// Opens the store at `root` and makes it when there is none. Deletes what dead processes left.
    /// A store on a read-only disk opens too; its first write fails.
    ///
    /// # Errors
    /// [`StoreError::Newer`], [`StoreError::NotAStore`], or what the system says.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let root = std::path::absolute(root).map_err(StoreError::io("finding", root))?;
        let layout = Layout::new(&root);
        format::open_or_create(&layout)?;
        ingest::sweep(&layout);
        Ok(Self(Arc::new(Inner { layout, session: Mutex::new(None) })))
    }

    /// The directory that holds it.
    pub fn root(&self) -> &Path {
        self.0.layout.root()
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.0.layout
    }

    /// This process's directory for files in flight.
    pub(crate) fn session(&self) -> Result<Arc<Ingest>, StoreError> {
        let mut session = self.0.session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = &*session {
            return Ok(Arc::clone(open));
        }
        let new = Arc::new(Ingest::new(&self.0.layout)?);
        *session = Some(Arc::clone(&new));
        Ok(new)
    }
}
