//! COPY and ADD: select and hash, look up, pack.

use super::Place;
use crate::EngineError;
use crate::event::Event;
use crate::solve::{Build, StageState};
use cooper_image::{DiffId, RelPath};
use cooper_layerfs::copy::{Chmod, CopyRequest, Owner, Unpack};
use cooper_layerfs::root::Root;
use cooper_layerfs::select::{Ownership, SelectRequest, Selection};
use cooper_layerfs::view::View;
use cooper_plan::op::{Base, Copy, Step};
use std::time::Instant;

impl Build<'_> {
    pub fn copy(&self, state: &mut StageState, place: &Place<'_>, copy: &Copy, step: &Step) -> Result<(), EngineError> {
        let view = self.source(copy, place)?;
        let permit = self.permits.take().ok_or(EngineError::Dependency)?;
        let selection = self.select(copy, &view)?;
        let record = self.dated(cooper_plan::key::copy_key(
            Self::parent(state).as_ref(),
            copy,
            &selection.digest,
            &place.stage.platform,
        ));
        let Some(miss) = self.look_up(state, place, record, &step.history)? else { return Ok(()) };
        let start = Instant::now();
        self.sink.event(Event::Started { step: place.no, label: place.label.clone() });
        let diff = self.pack(state, copy, &view, &selection)?;
        drop(permit);
        self.commit(state, miss, diff, &step.history)?;
        self.sink.event(Event::Finished { step: place.no, took: start.elapsed() });
        Ok(())
    }

    fn source(&self, copy: &Copy, place: &Place<'_>) -> Result<View, EngineError> {
        match &copy.from {
            None => Ok(View::dir(Root::open(&self.request.context)?)),
            Some(Base::Scratch) => Ok(View::stack(Vec::new())),
            Some(Base::Stage(id)) => self.engine.view(&self.stage(*id)?.layers),
            Some(Base::Image(reference)) => {
                let image = self.engine.base(reference, &place.stage.platform, self.request.freshness, self.sink)?;
                self.engine.view(&image.layers)
            }
        }
    }

    fn select(&self, copy: &Copy, view: &View) -> Result<Selection, EngineError> {
        // An ignore file rules the context alone.
        let ruled = copy.from.is_none();
        let ignored = |p: &RelPath| ruled && self.ignore.ignored(p.as_bytes());
        let may_hold = |p: &RelPath| !ruled || self.ignore.may_hold_included(p.as_bytes());
        let glob = |pattern: &[u8], name: &[u8]| cooper_dockerfile::glob::glob_match(pattern, name).unwrap_or(false);
        Ok(cooper_layerfs::select::select(&SelectRequest {
            view,
            patterns: &copy.sources,
            ignored: &ignored,
            may_hold_included: &may_hold,
            glob: &glob,
            ownership: if ruled { Ownership::Zero } else { Ownership::Keep },
        })?)
    }

    fn pack(&self, state: &StageState, copy: &Copy, view: &View, selection: &Selection) -> Result<DiffId, EngineError> {
        let target = self.engine.view(&state.layers)?;
        let owner = match &copy.chown {
            Some(spec) => {
                let (uid, gid) = cooper_layerfs::userdb::resolve_owner(&target, spec)?;
                Owner::Set { uid, gid }
            }
            // The selection has made files of the context root's; archives keep the owners that they name.
            None => Owner::Keep,
        };
        let chmod = copy.chmod.as_deref().map(Chmod::parse).transpose()?;
        let inline: Vec<(String, Vec<u8>)> =
            copy.inline.iter().map(|(n, b)| (n.clone(), b.clone().into_bytes())).collect();
        let mut writer = self.engine.store.blob_writer()?;
        let request = CopyRequest {
            view,
            selection,
            target: &target,
            dest: &copy.dest,
            dest_is_dir: copy.dest_is_dir,
            owner,
            chmod: chmod.as_ref(),
            clamp: self.request.clamp.then_some(self.request.created),
            inline: &inline,
            unpack: if copy.unpack { Unpack::Local } else { Unpack::No },
        };
        cooper_layerfs::copy::pack_copy(&request, &mut writer)?;
        Ok(DiffId(writer.commit(None)?.0))
    }
}
