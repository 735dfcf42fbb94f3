//! What a RUN has mounted, where layers cannot be stacked: files are copied; and where nothing can be mounted, caches are
//! lent, to be put into the root.
//!
//! Must never: let two steps have one cache at once, or leave a file of a cache with a second name in a root.

use super::mounts::{COPIED, Files, Ground, Held};
use super::whole::StageRoot;
use crate::EngineError;
use crate::layers::{io, set_mode};
use crate::solve::Build;
use cooper_image::RelPath;
use cooper_layerfs::LayerfsError;
use cooper_layerfs::root::Root;
use cooper_layerfs::view::{Follow, View};
use cooper_layerfs::whole::{copy_out, part};
use cooper_sandbox::{Access, Content, StepSpec, not_in_a_chroot};
use cooper_store::Ingest;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

impl Build<'_> {
    /// A copy of the files in the directory of their mount; what the step writes to it goes with it.
    pub(super) fn copied_bind(&self, files: &Files, own: &Path) -> Result<PathBuf, EngineError> {
        let layers = match files.ground() {
            Ground::Context(_) => return self.copied(files, own),
            Ground::Layers(layers) => layers,
        };
        make(own)?;
        if layers.is_empty() {
            make(&own.join(COPIED))?;
        } else {
            let path = files.view().resolve(files.path().rel(), Follow::Final)?.path;
            self.copy_of(files.view(), &path, own)?;
        }
        Ok(own.join(COPIED))
    }

    fn copy_of(&self, view: &View, path: &RelPath, own: &Path) -> Result<(), EngineError> {
        let given_up = || self.cancel.load(Ordering::Relaxed);
        let told = |e: LayerfsError| if given_up() { EngineError::Interrupted } else { e.into() };
        copy_out(view, path, (&self.engine.root(own)?, COPIED.as_bytes()), &given_up).map_err(told)
    }

    /// Lets the sandbox move caches into the stage's root. One that the step may only read is copied, since nothing keeps
    /// it from writing.
    pub(super) fn lend(
        &self,
        held: &mut Held,
        root: &StageRoot,
        ingest: &Ingest,
        spec: &mut StepSpec,
    ) -> Result<(), EngineError> {
        let mut lent = BTreeSet::new();
        for (number, mount) in spec.mounts.iter_mut().enumerate() {
            let Content::Host(path) = &mount.content else { continue };
            let Some(cache) = held.caches_mut().find(|cache| cache.path() == path) else { continue };
            if mount.access == Access::ReadOnly {
                let own = ingest.path().join(format!("read-{number}"));
                make(&own)?;
                self.copy_of(&View::dir(Root::open(cache.path())?), &RelPath::root(), &own)?;
                mount.content = Content::Host(own.join(COPIED));
                continue;
            }
            let directory = cache.path().to_owned();
            if !lent.insert(directory.clone()) {
                let cause = format!("the cache at {} is at another place already", mount.target);
                return Err(not_in_a_chroot("one cache at two places", &cause).into());
            }
            let stands = root.lend(cache)?;
            mount.content = Content::Lent { directory, stands };
        }
        Ok(())
    }
}

/// Takes second names in the root from the files of caches.
pub(super) fn part_caches(held: &mut Held) -> Result<(), EngineError> {
    for cache in held.caches_mut() {
        // What the step has deleted is no directory any more.
        if cache.path().is_dir() {
            part(&Root::open(cache.path())?)?;
        }
    }
    Ok(())
}

fn make(dir: &Path) -> Result<(), EngineError> {
    std::fs::create_dir(dir).map_err(|e| io(format!("creating {}", dir.display()), e))?;
    set_mode(dir)
}
