//! Files of a RUN that failed, copied to a directory of the user's.
//!
//! Takes a path of the step's root; writes what is there under its own name. Links on the way are followed inside the
//! root alone; those that are found are copied as links. Must never read or write outside.

use super::keep::Failed;
use super::mounts::literal;
use crate::EngineError;
use crate::event::Event;
use crate::run_request::Rescue;
use crate::solve::Build;
use cooper_image::{ContainerPath, RelPath};
use cooper_layerfs::export::{Others, Part, export_dir};
use cooper_layerfs::root::Root;
use cooper_layerfs::select::{self, Ownership, SelectRequest};
use cooper_layerfs::view::{Follow, View};
use std::path::PathBuf;

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
        let selection = select::select(&SelectRequest {
            view: &view,
            patterns: &[literal(&ContainerPath::root().resolve(found.path.as_bytes()))],
            ignored: &|_| false,
            may_hold_included: &|_| false,
            glob: &|_, _| false,
            ownership: Ownership::Keep,
            rules: select::Rules::default(),
        })?;
        let name = rescue.path.rel().components().next_back().unwrap_or_default();
        let dest = ContainerPath::root().resolve(name);
        let place = self.engine.store.ingest()?;
        self.copy_files(&view, &selection, place.path(), &dest)?;
        let part = Part { into: RelPath::root(), view: View::dir(Root::open(place.path())?) };
        export_dir(&part, &rescue.dest, Others::Keep, None)?;
        self.sink.event(Event::Exported { dest: rescue.dest.display().to_string() });
        Ok(())
    }
}
