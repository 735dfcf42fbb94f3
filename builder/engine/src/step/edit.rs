//! ENV, CMD and all the others that only change the configuration.

use super::Place;
use crate::EngineError;
use crate::event::Event;
use crate::history;
use crate::solve::{Build, StageState};
use cooper_image::edit::ConfigEdit;
use cooper_plan::op::{Op, Step};

impl Build<'_> {
    /// An edit that is not the Dockerfile's own.
    pub fn settle_quietly(&self, state: &mut StageState, step: &Step) {
        if let Op::Edit(edits) = &step.op {
            edits.iter().for_each(|edit| edit.apply(&mut state.config));
        }
    }

    pub fn edit(
        &self,
        state: &mut StageState,
        place: &Place<'_>,
        edits: &[ConfigEdit],
        text: &str,
    ) -> Result<(), EngineError> {
        for edit in edits {
            edit.apply(&mut state.config);
        }
        history::push(&mut state.config, state.created, text, history::Layer::None);
        self.sink.event(Event::Noted { step: place.no, label: place.label.clone() });
        Ok(())
    }
}
