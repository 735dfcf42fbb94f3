//! ENV, CMD and all the others that only change the configuration.

use super::Place;
use crate::EngineError;
use crate::event::Event;
use crate::history;
use crate::solve::{Build, StageState};
use cooper_image::edit::ConfigEdit;

impl Build<'_> {
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
        if !text.is_empty() {
            history::push(&mut state.config, state.created, text, history::Layer::None);
        }
        self.sink.event(Event::Noted { step: place.no, label: place.label.clone() });
        Ok(())
    }
}
