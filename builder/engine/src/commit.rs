//! Cache look-ups and what a step leaves behind: a record, a layer, a line of history.

use crate::EngineError;
use crate::ahead::Watched;
use crate::doing::Claim;
use crate::event::Event;
use crate::history;
use crate::layers::Layer;
use crate::solve::{Build, StageState};
use crate::step::Place;
use crate::why;
use cooper_image::stable_hash::StableHash;
use cooper_image::{ChainId, DiffId, Digest};
use cooper_layerfs::layer::DigestWriter;
use cooper_plan::difference::Difference;
use cooper_plan::key::KeyRecord;
use cooper_plan::op::Reuse;
use cooper_store::StepRecord;
use std::io::Write;
use std::sync::atomic::Ordering;

/// How many places around its own an instruction is looked for that has moved.
const AROUND: usize = 2;

/// A step whose key is known and whose result is not.
pub struct Miss {
    record: KeyRecord,
    key: Digest,
    slot: String,
    label: String,
    /// Nobody else of this build does the same meanwhile.
    _claim: Claim,
}

impl Build<'_> {
    /// Files whose times are clamped are other files: the clamp belongs into the key.
    pub fn dated(&self, record: KeyRecord) -> KeyRecord {
        record.dated(self.request.clamp.then_some(self.request.created))
    }

    /// Takes the step's result from the cache, or says why it cannot.
    pub fn look_up(
        &self,
        state: &mut StageState,
        place: &Place<'_>,
        record: KeyRecord,
        history_text: &str,
    ) -> Result<Option<Miss>, EngineError> {
        let key = record.digest();
        let slot = self.slot(place, place.index);
        let claim = self.doing.claim(&key);
        let done_now = claim.was_done();
        let miss = Miss { record, key, slot, label: place.label.clone(), _claim: claim };
        // What another thread of this build has just done is no earlier result.
        if let Some(reason) = self.without_cache(place).filter(|_| !done_now) {
            self.missed(place, &miss, vec![Difference::note(reason)]);
            return Ok(Some(miss));
        }
        if let Some((diff, created_unix)) = self.kept(&miss.key)? {
            self.doing.found(&miss.key);
            self.sink.event(Event::Cached { step: place.no, label: place.label.clone(), key: miss.key });
            self.cached.fetch_add(1, Ordering::Relaxed);
            self.add(state, diff, created_unix, history_text);
            return Ok(None);
        }
        let reasons = match self.earlier(place, &miss)? {
            Some(old) => why::differences(old, &miss.record, state),
            None => vec![Difference::note("it was not run before")],
        };
        self.missed(place, &miss, reasons);
        Ok(Some(miss))
    }

    /// Would a look-up find the step's result?
    pub fn is_known(&self, place: &Place<'_>, record: &KeyRecord) -> Result<bool, EngineError> {
        if self.without_cache(place).is_some() {
            return Ok(false);
        }
        Ok(self.kept(&record.digest())?.is_some())
    }

    /// The layer that a step with this key made, and when; nothing when the store has lost it.
    fn kept(&self, key: &Digest) -> Result<Option<(DiffId, i64)>, EngineError> {
        match self.engine.store.record(key)? {
            Some(StepRecord { layer: Some(diff), created_unix, .. }) if self.engine.has_layer(&diff)? => {
                Ok(Some((diff, created_unix)))
            }
            _ => Ok(None),
        }
    }

    /// The nearest earlier record. A line more or less above moves an instruction to another place of its stage, and the
    /// steps of this build are none that were there before.
    fn earlier(&self, place: &Place<'_>, miss: &Miss) -> Result<Option<StepRecord>, EngineError> {
        let store = &self.engine.store;
        let earlier = |slot: &str| -> Result<Vec<StepRecord>, EngineError> {
            let mut records = store.records_in_slot(slot)?;
            records.retain(|record| !self.doing.has(&record.key));
            Ok(records)
        };
        let own = why::nearest(earlier(&miss.slot)?, &miss.record);
        if own.as_ref().is_some_and(|r| why::is_same_instruction(r, &miss.record)) {
            return Ok(own);
        }
        let around = place.index.saturating_sub(AROUND)..=place.index + AROUND;
        let mut records = Vec::new();
        for index in around.filter(|i| *i != place.index) {
            records.extend(earlier(&self.slot(place, index))?);
        }
        // Of equals the last one is the nearest.
        records.extend(own);
        Ok(why::nearest(records, &miss.record))
    }

    fn missed(&self, place: &Place<'_>, miss: &Miss, reasons: Vec<Difference>) {
        self.sink.event(Event::Missed { step: place.no, key: miss.key.clone(), reasons });
    }

    /// Why no known result may be used, if none may.
    fn without_cache(&self, place: &Place<'_>) -> Option<&'static str> {
        match place.stage.reuse {
            _ if self.request.freshness.no_cache => Some("the cache is off"),
            Reuse::Never => Some("the cache is off for this stage"),
            Reuse::Allowed => None,
        }
    }

    /// Keeps the layer whose tar `produce` writes: as a tar, or at once compressed when that is how it is wanted.
    pub fn keep_layer(
        &self,
        place: &Place<'_>,
        produce: impl FnOnce(&mut dyn Write) -> Result<(), EngineError>,
    ) -> Result<DiffId, EngineError> {
        let given_up = || self.cancel.load(Ordering::Relaxed);
        let kept = match place.ahead {
            Some(ahead) => {
                let write = |out: &mut dyn Write| {
                    let mut tar = DigestWriter::new(Watched::new(out, &given_up));
                    produce(&mut tar)?;
                    Ok(DiffId(tar.finish().digest))
                };
                self.engine.compressed(ahead.method(), ahead.uplink(), write).map(|(diff, _)| diff)
            }
            None => self.keep_tar(|out| produce(&mut Watched::new(out, &given_up))),
        };
        kept.map_err(|e| if given_up() { EngineError::Interrupted } else { e })
    }

    fn keep_tar(&self, produce: impl FnOnce(&mut dyn Write) -> Result<(), EngineError>) -> Result<DiffId, EngineError> {
        let mut writer = self.engine.store.blob_writer()?;
        produce(&mut writer)?;
        Ok(DiffId(writer.commit(None)?.0))
    }

    /// Keeps a new layer and its record.
    pub fn commit(
        &self,
        state: &mut StageState,
        miss: Miss,
        diff: DiffId,
        history_text: &str,
    ) -> Result<(), EngineError> {
        let created = self.request.created;
        self.engine.store.put_record(&StepRecord {
            version: 1,
            key: miss.key.clone(),
            slot: miss.slot,
            parts: miss.record.parts,
            files: miss.record.files,
            layer: Some(diff.clone()),
            base: state.base.clone(),
            created_unix: created,
        })?;
        self.doing.done(&miss.key);
        self.run.fetch_add(1, Ordering::Relaxed);
        self.add(state, diff, created, history_text);
        state.anew.get_or_insert(miss.label);
        Ok(())
    }

    /// The name of what the layers are so far.
    pub fn parent(state: &StageState) -> Option<ChainId> {
        ChainId::of(&crate::layers::diff_ids(&state.layers))
    }

    fn add(&self, state: &mut StageState, diff: DiffId, created: i64, text: &str) {
        state.layers.push(Layer { diff, claimed: None });
        // Only a date that was asked for is written over the date on which the layer came to be.
        state.created = if self.request.clamp { self.request.created } else { created };
        history::push(&mut state.config, state.created, text, history::Layer::One);
    }

    /// Which instruction of which file this is: where the nearest earlier record is looked for.
    fn slot(&self, place: &Place<'_>, index: usize) -> String {
        let mut h = StableHash::new("slot/1");
        h.part("context", self.request.context.name());
        h.part("dockerfile", &self.request.dockerfile_name);
        h.part("stage", &place.stage.label);
        h.part("step", index.to_string());
        h.part("platform", place.stage.platform.to_string());
        h.finish().hex()[..32].to_owned()
    }
}
