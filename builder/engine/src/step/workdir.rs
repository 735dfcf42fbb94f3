//! WORKDIR: the configuration, and the directory when it is not there yet.

use super::Place;
use crate::EngineError;
use crate::event::Event;
use crate::layers::{io, set_mode};
use crate::solve::{Build, StageState};
use cooper_image::edit::ConfigEdit;
use cooper_image::{ContainerPath, DiffId};
use cooper_layerfs::LayerfsError;
use cooper_layerfs::copy::{CopyPart, CopyRequest, Owner, Unpack};
use cooper_layerfs::root::Root;
use cooper_layerfs::select::Selection;
use cooper_layerfs::stat::Kind;
use cooper_layerfs::userdb::resolve_owner;
use cooper_layerfs::view::{Follow, View};
use cooper_plan::op::{Step, Workdir};
use std::time::Instant;

impl Build<'_> {
    pub fn workdir(
        &self,
        state: &mut StageState,
        place: &Place<'_>,
        dir: &Workdir,
        step: &Step,
    ) -> Result<(), EngineError> {
        ConfigEdit::WorkingDir(dir.path.to_string()).apply(&mut state.config);
        let record =
            self.dated(cooper_plan::key::workdir_key(Self::parent(state).as_ref(), dir, &place.stage.platform));
        let Some(miss) = self.look_up(state, place, record, &step.history)? else { return Ok(()) };
        let _permit = self.permits.take().ok_or(EngineError::Dependency)?;
        let start = Instant::now();
        self.sink.event(Event::Started { step: place.no, label: place.label.clone() });
        let diff = self.make_directory(state, place, &dir.path, &dir.user)?;
        self.commit(state, miss, diff, &step.history)?;
        self.sink.event(Event::Finished { step: place.no, took: start.elapsed() });
        Ok(())
    }

    fn make_directory(
        &self,
        state: &StageState,
        place: &Place<'_>,
        path: &ContainerPath,
        user: &str,
    ) -> Result<DiffId, EngineError> {
        let target = self.engine.view(&state.layers)?;
        let there = target.resolve(path.rel(), Follow::Final)?;
        if there.meta.is_some_and(|m| m.kind != Kind::Dir) {
            return Err(LayerfsError::NotADirectory { path: there.path.display() }.into());
        }
        let owner = match user {
            "" => Owner::Keep,
            user => self.owner(&target, path, user)?,
        };
        if there.meta.is_some() {
            return self.keep_layer(place, |out| Ok(cooper_layerfs::copy::pack_nothing(out)?));
        }
        let ingest = self.engine.store.ingest()?;
        let empty = ingest.path().join("empty");
        std::fs::create_dir(&empty).map_err(|e| io("creating an empty directory", e))?;
        set_mode(&empty)?;
        let view = View::dir(Root::open(&empty)?);
        let request = CopyRequest {
            parts: &[CopyPart { view: &view, selection: &Selection::whole_directory(&view)?, unpack: Unpack::No }],
            target: &target,
            dest: path,
            dest_is_dir: true,
            owner,
            chmod: None,
            clamp: Some(self.request.created),
            now: self.request.created,
            inline: &[],
        };
        self.keep_layer(place, |out| Ok(cooper_layerfs::copy::pack_copy(&request, out).map(drop)?))
    }

    /// Who the directory belongs to. USER is only looked up when something runs, so that a name which the image does not
    /// know is no error here: as in BuildKit, root takes its place.
    fn owner(&self, target: &View, path: &ContainerPath, user: &str) -> Result<Owner, EngineError> {
        let name = user.split_once(':').map_or(user, |(name, _)| name);
        let (uid, gid) = match resolve_owner(target, user) {
            Err(e @ LayerfsError::Owner { .. }) => {
                self.sink.event(Event::Warning { text: format!("WORKDIR {path}: {e}; root takes its place") });
                match resolve_owner(target, name) {
                    Err(LayerfsError::Owner { .. }) => (0, 0),
                    known => known?,
                }
            }
            known => known?,
        };
        Ok(Owner::Set { uid, gid })
    }
}
