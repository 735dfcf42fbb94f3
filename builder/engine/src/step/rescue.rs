//! Files of a RUN that failed, copied to a directory of the user's.
//!
//! Takes a path of the step's root; writes what is there under its own name. Links on the way are followed inside the
//! root alone; those that are found are copied as links. Must never read or write outside.

use super::keep::Failed;
use crate::EngineError;
use crate::event::Event;
use crate::layers::io;
use crate::run_request::Rescue;
use crate::solve::Build;
use cooper_image::RelPath;
use cooper_layerfs::export::{Others, Part, export_dir};
use cooper_layerfs::view::{Follow, View};
use cooper_layerfs::whole::copy_out;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

/// What the root of the step is called while it is copied.
const ROOT: &[u8] = b"root";

impl Build<'_> {
    /// Copies one path out. That it is not there is told.
    pub fn rescue(&self, rescue: &Rescue, failed: &Failed<'_>) -> Result<(), EngineError> {
        let lowers = self.engine.trees(&failed.state.layers)?;
        let roots = lowers.iter().map(PathBuf::as_path).chain([failed.upper]);
        let view = View::stack(roots.map(|tree| self.engine.root(tree)).collect::<Result<_, _>>()?);
        let found = view.resolve(rescue.path.rel(), Follow::Final)?;
        if found.meta.is_none() {
            self.warn(format!("{} is not in the root of the failed step: nothing is copied", rescue.path));
            return Ok(());
        }
        let name = rescue.path.rel().components().next_back();
        let (place, given_up) = (self.engine.store.ingest()?, || self.cancel.load(Ordering::Relaxed));
        let own = self.engine.root(place.path())?;
        let copied = copy_out(&view, &found.path, (&own, name.unwrap_or(ROOT)), &given_up);
        copied.map_err(|e| if given_up() { EngineError::Interrupted } else { e.into() })?;
        // What is in the root has no name to be put below.
        let shown = match name {
            Some(_) => own,
            None => own.sub(&RelPath::clean(ROOT)).map_err(|e| io("opening what was copied", e))?,
        };
        let part = Part { into: RelPath::root(), view: View::dir(shown) };
        export_dir(&part, &rescue.dest, Others::Keep, None)?;
        self.sink.event(Event::Exported { dest: rescue.dest.display().to_string() });
        Ok(())
    }
}
