//! The handle: one root, one directory in flight for the small things of this process.

use crate::boot::{self, Trees};
use crate::held::Leases;
use crate::ingest::{self, Ingest};
use crate::layout::Layout;
use crate::{StoreError, format};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A store on disk. Clones share one handle; any number of threads and processes may use one root.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
    /// Absent from a handle that only looks.
    leases: Option<Arc<Leases>>,
}

#[derive(Debug)]
struct Inner {
    layout: Layout,
    /// Which trees are whole.
    trees: Trees,
    /// Where files in flight are made; absent until the first write, so that reading needs no
    /// writable disk.
    session: Mutex<Option<Arc<Ingest>>>,
    /// Blobs and trees that this process gave a name, until somebody asks.
    made: Mutex<Vec<PathBuf>>,
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
        let version = format::open_or_create(&layout)?;
        let trees = boot::enter(&layout, version)?;
        ingest::sweep(&layout);
        Ok(Self {
            inner: Arc::new(Inner { layout, trees, session: Mutex::new(None), made: Mutex::default() }),
            leases: None,
        })
    }

    /// Says whether a directory that has no store yet could have one: it must not hold anything else. Nothing is made.
    ///
    /// # Errors
    /// [`StoreError::NotAStore`], or what the system says.
    pub fn could_be_at(root: &Path) -> Result<(), StoreError> {
        format::only_ours(&Layout::new(root))
    }

    /// The directory that holds it.
    pub fn root(&self) -> &Path {
        self.inner.layout.root()
    }

    pub(crate) fn with_leases(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), leases: Some(Arc::default()) }
    }

    pub(crate) fn without_leases(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), leases: None }
    }

    pub(crate) fn leases(&self) -> Option<&Leases> {
        self.leases.as_deref()
    }

    pub(crate) fn trees(&self) -> Trees {
        self.inner.trees
    }

    /// Remembers what was just given a name.
    pub(crate) fn note_made(&self, path: &Path) {
        if self.leases.is_some() {
            self.inner.made.lock().unwrap_or_else(PoisonError::into_inner).push(path.to_owned());
        }
    }

    /// What was given a name since it was last asked.
    pub(crate) fn take_made(&self) -> Vec<PathBuf> {
        std::mem::take(&mut self.inner.made.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.inner.layout
    }

    /// This process's directory for files in flight, if it has made one.
    pub(crate) fn own_session(&self) -> Option<Arc<Ingest>> {
        self.inner.session.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// This process's directory for files in flight.
    pub(crate) fn session(&self) -> Result<Arc<Ingest>, StoreError> {
        let mut session = self.inner.session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = &*session {
            return Ok(Arc::clone(open));
        }
        let new = Arc::new(Ingest::new(&self.inner.layout)?);
        *session = Some(Arc::clone(&new));
        Ok(new)
    }
}
