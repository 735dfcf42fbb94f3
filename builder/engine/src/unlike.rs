//! An image that cannot be had, and what its name was perhaps meant to be.
//!
//! Takes a failure and a suggestion; gives both as one error, which is told as the failure is. Must never change whose
//! fault it is.

use crate::EngineError;
use cooper_dockerfile::instruction::{Dockerfile, Span};
use cooper_plan::build::BaseImage;
use std::error::Error;
use std::fmt;

/// A failure to get an image, with a suggestion.
#[derive(Debug)]
pub struct Unlike {
    suggestion: String,
    cause: EngineError,
}

impl Unlike {
    /// What failed.
    pub fn cause(&self) -> &EngineError {
        &self.cause
    }
    /// The suggestion, then what else can be done.
    pub fn hint(&self) -> String {
        let said = &self.suggestion;
        let stop = if said.ends_with('?') { "" } else { ";" };
        self.cause.hint().map_or_else(|| said.clone(), |hint| format!("{said}{stop} otherwise: {hint}"))
    }
}

impl fmt::Display for Unlike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}
impl Error for Unlike {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
}

impl EngineError {
    /// Suggests what the name of an image was meant to be, when no registry gave it and one is near; `asking` is the
    /// FROM of the stage that wants it.
    pub(crate) fn unlike(self, file: &Dockerfile, image: &BaseImage, asking: Span) -> Self {
        let (Self::Registry(_), BaseImage::Named(name)) = (&self, image) else { return self };
        match cooper_plan::notice::near_name(file, name, asking) {
            Some(suggestion) => Self::Unlike(Box::new(Unlike { suggestion, cause: self })),
            None => self,
        }
    }
}
