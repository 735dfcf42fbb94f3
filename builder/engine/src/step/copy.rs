//! COPY and ADD: select and hash, look up, pack.

use super::Place;
use crate::EngineError;
use crate::event::Event;
use crate::layers::Layer;
use crate::solve::{Build, StageState};
use cooper_dockerfile::ignore::Ignore;
use cooper_image::stable_hash::StableHash;
use cooper_image::{DiffId, Digest, RelPath};
use cooper_layerfs::LayerfsError;
use cooper_layerfs::copy::{Chmod, CopyPart, CopyRequest, Owner, Unpack};
use cooper_layerfs::select::{Ownership, Rule, Rules, SelectRequest, Selection, Taken};
use cooper_layerfs::view::View;
use cooper_plan::op::{self, Base, Step};
use std::time::Instant;

/// Most files whose names are kept beside a step's key: enough for sources, and a record stays small.
pub const NAMED_FILES: usize = 2000;

/// Where files are taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A context's files, which an ignore file may rule and whose owners do not count.
    Context,
    /// A stage or an image, whose owners do.
    Root,
    /// A repository: nobody's files, and no ignore file of the build's.
    Repository,
}

/// How a flag of ADD is carried out.
pub fn unpacking(wanted: bool) -> Unpack {
    if wanted { Unpack::Local } else { Unpack::No }
}

impl Build<'_> {
    pub fn copy(
        &self,
        state: &mut StageState,
        place: &Place<'_>,
        copy: &op::Copy,
        step: &Step,
    ) -> Result<(), EngineError> {
        let record = |state: &StageState, files: &Digest| {
            let parent = Self::parent(state);
            self.dated(cooper_plan::key::copy_key(parent.as_ref(), copy, files, &place.stage.platform))
        };
        let layers = self.layers_from(copy, place)?;
        let question = layers.as_ref().map(|layers| self.question(copy, layers));
        // What layers hold never changes: where it is known, and with it the result, no tree is needed.
        if let Some(files) = question.as_ref().and_then(|question| self.engine.store.selection(question)) {
            let record = record(state, &files);
            if self.is_known(place, &record)? && self.look_up(state, place, record, &step.history)?.is_none() {
                return Ok(());
            }
        }
        let view = self.source(copy, layers.as_deref())?;
        let permit = self.permits.take().ok_or(EngineError::Dependency)?;
        let origin = match &copy.from {
            None | Some(Base::Files(_)) => Origin::Context,
            Some(_) => Origin::Root,
        };
        let selection = self.select(copy, &view, origin)?;
        if let Some(question) = question
            && let Err(error) = self.engine.store.put_selection(&question, &selection.digest)
        {
            tracing::warn!(%error, "the digest of what was selected cannot be kept");
        }
        let mut record = record(state, &selection.digest);
        record.files = selection.files(NAMED_FILES).unwrap_or_default();
        let Some(miss) = self.look_up(state, place, record, &step.history)? else { return Ok(()) };
        let start = Instant::now();
        self.sink.event(Event::Started { step: place.no, label: place.label.clone() });
        let unpack = unpacking(copy.unpack);
        let diff = self.pack(state, place, copy, &[CopyPart { view: &view, selection: &selection, unpack }])?;
        drop(permit);
        self.commit(state, miss, diff, &step.history)?;
        self.sink.event(Event::Finished { step: place.no, took: start.elapsed() });
        Ok(())
    }

    /// The layers that are copied from; nothing for a context's files.
    fn layers_from(&self, copy: &op::Copy, place: &Place<'_>) -> Result<Option<Vec<Layer>>, EngineError> {
        Ok(match &copy.from {
            None | Some(Base::Files(_)) => None,
            Some(Base::Scratch) => Some(Vec::new()),
            Some(Base::Stage(id)) => Some(self.stage(*id)?.layers.clone()),
            Some(base @ (Base::Image(_) | Base::Layout(_))) => {
                Some(self.image(base, place.stage, self.request.freshness)?.layers)
            }
        })
    }

    /// Names what is selected from layers, and how.
    fn question(&self, copy: &op::Copy, layers: &[Layer]) -> Digest {
        let mut hash = StableHash::new("selection of layers/1");
        // Without privileges, trees have no devices.
        hash.part("tier", format!("{:?}", self.engine.tier));
        for diff in crate::layers::diff_ids(layers) {
            hash.part("layer", diff.to_string());
        }
        for source in &copy.sources {
            hash.part("source", source);
        }
        for pattern in &copy.exclude {
            hash.part("exclude", pattern);
        }
        hash.part("parents", [u8::from(copy.parents)]);
        hash.finish()
    }

    fn source(&self, copy: &op::Copy, layers: Option<&[Layer]>) -> Result<View, EngineError> {
        match (layers, &copy.from) {
            (Some(layers), _) => self.engine.view(layers),
            (None, Some(Base::Files(name))) => self.files_of(name)?.view(),
            (None, _) => self.main.view(),
        }
    }

    pub fn select(&self, copy: &op::Copy, view: &View, origin: Origin) -> Result<Selection, EngineError> {
        // Each context has an ignore file of its own, stages, images and repositories have none.
        let context = match origin {
            Origin::Context => self.context(copy.from.as_ref())?,
            Origin::Root | Origin::Repository => None,
        };
        let ignored = |p: &RelPath| context.as_ref().is_some_and(|c| c.ignore.ignored(p.as_bytes()));
        let may_hold = |p: &RelPath| context.as_ref().is_none_or(|c| c.ignore.may_hold_included(p.as_bytes()));
        let glob = |pattern: &[u8], name: &[u8]| cooper_dockerfile::glob::glob_match(pattern, name).unwrap_or(false);
        let excluded = match copy.exclude.is_empty() {
            true => None,
            false => Some(Patterns(rules(copy.exclude.iter().map(String::as_str))?)),
        };
        let (patterns, kept) = divided(copy);
        let found = kept.iter().map(|k| if k.is_empty() { Ok(None) } else { rules([*k]).map(|r| Some(Patterns(r))) });
        let found = found.collect::<Result<Vec<_>, _>>()?;
        let taken = found.iter().zip(&kept).map(|(r, kept)| Taken { rule: r.as_ref().map(|r| r as &dyn Rule), kept });
        let taken: Vec<Taken<'_>> = taken.collect();
        let selected = cooper_layerfs::select::select(&SelectRequest {
            view,
            patterns: &patterns,
            ignored: &ignored,
            may_hold_included: &may_hold,
            glob: &glob,
            ownership: if origin == Origin::Root { Ownership::Keep } else { Ownership::Zero },
            rules: Rules { excluded: excluded.as_ref().map(|e| e as &dyn Rule), taken: &taken },
        });
        Ok(selected.map_err(|e| if origin == Origin::Context { e.of_context() } else { e })?)
    }

    pub fn pack(
        &self,
        state: &StageState,
        place: &Place<'_>,
        copy: &op::Copy,
        parts: &[CopyPart<'_>],
    ) -> Result<DiffId, EngineError> {
        // A layer that holds upon any others is made upon none: it sees no links, no users, no modes of theirs.
        let target = if copy.link { View::stack(Vec::new()) } else { self.engine.view(&state.layers)? };
        let owner = match &copy.chown {
            Some(spec) => {
                let (uid, gid) = cooper_layerfs::userdb::resolve_owner(&target, spec).map_err(|e| unlinked(copy, e))?;
                Owner::Set { uid, gid }
            }
            // The selection has made files of the context root's; archives keep the owners that they name.
            None => Owner::Keep,
        };
        let chmod = copy.chmod.as_deref().map(Chmod::parse).transpose().map_err(LayerfsError::from)?;
        let inline: Vec<(String, Vec<u8>)> =
            copy.inline.iter().map(|(n, b)| (n.clone(), b.clone().into_bytes())).collect();
        let request = CopyRequest {
            parts,
            target: &target,
            dest: &copy.dest,
            dest_is_dir: copy.dest_is_dir,
            owner,
            chmod: chmod.as_ref(),
            clamp: self.request.clamp.then_some(self.request.created),
            now: self.request.created,
            inline: &inline,
        };
        self.keep_layer(place, |out| Ok(cooper_layerfs::copy::pack_copy(&request, out).map(drop)?))
    }
}

/// Patterns as the rule of a selection.
struct Patterns(Ignore);

impl Rule for Patterns {
    fn matches(&self, path: &RelPath) -> bool {
        self.0.ignored(path.as_bytes())
    }
    fn differs_below(&self, dir: &RelPath) -> bool {
        match self.matches(dir) {
            true => self.0.may_hold_included(dir.as_bytes()),
            false => self.0.may_match_beneath(dir.as_bytes()),
        }
    }
}

/// The sources as patterns, and with `--parents` what of each is kept below the destination.
fn divided(copy: &op::Copy) -> (Vec<String>, Vec<&str>) {
    if !copy.parents {
        return (copy.sources.clone(), Vec::new());
    }
    copy.sources.iter().map(|s| op::pivot(s)).map(|(away, kept)| (away.to_owned(), kept)).unzip()
}

fn rules<'p>(patterns: impl IntoIterator<Item = &'p str>) -> Result<Ignore, EngineError> {
    Ignore::of(patterns).map_err(EngineError::ignore)
}

/// The root of a linked copy is empty: creating the user would not help.
fn unlinked(copy: &op::Copy, error: LayerfsError) -> LayerfsError {
    match error {
        LayerfsError::Owner { spec, .. } if copy.link => LayerfsError::NoNames { spec },
        other => other,
    }
}
