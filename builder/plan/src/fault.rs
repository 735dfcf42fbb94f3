//! Errors of planning as diagnostics: one constructor per kind, so that each has its code, its wording and its hint.
//!
//! Takes what is wrong and where; gives a [`Diagnostic`]. Must never build a message without a place.

use cooper_dockerfile::diagnostic::Diagnostic;
use cooper_dockerfile::instruction::Span;

/// What is parsed and cannot be done.
pub(crate) const UNSUPPORTED: &str = "Unsupported";
/// A variable that is not there, or an expression that does not hold.
pub(crate) const EXPANSION: &str = "Expansion";
/// A base that is no image name.
pub(crate) const BASE: &str = "InvalidBase";
/// A platform that is none, or that does not fit.
pub(crate) const PLATFORM: &str = "InvalidPlatform";
/// A stage that is not there.
pub(crate) const STAGE: &str = "UnknownStage";
/// A value that an instruction does not take.
pub(crate) const VALUE: &str = "InvalidValue";
/// More than this builder is ready to hold.
pub(crate) const TOO_LARGE: &str = "TooLarge";

/// An error with advice.
pub(crate) fn error(code: &'static str, span: Span, message: impl Into<String>, hint: impl Into<String>) -> Diagnostic {
    Diagnostic::error(code, span, message).with_hint(hint)
}

/// A feature that is known and not there yet.
pub(crate) fn unsupported(span: Span, feature: &str, hint: &str) -> Diagnostic {
    error(UNSUPPORTED, span, format!("{feature} is not supported yet"), hint)
}

/// A value that the instruction does not take.
pub(crate) fn value(span: Span, message: impl Into<String>, hint: &str) -> Diagnostic {
    error(VALUE, span, message, hint)
}
