//! `--annotation`: one value may be several annotations.

use cooper_image::annotations::{Annotation, AnnotationError};
use std::str::FromStr;

/// One `--annotation`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnotationFlag(pub Vec<Annotation>);

impl FromStr for AnnotationFlag {
    type Err = AnnotationError;
    fn from_str(text: &str) -> Result<Self, AnnotationError> {
        Annotation::parse_flag(text).map(Self)
    }
}
