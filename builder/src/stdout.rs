//! Standard output: data, and nothing else.
//!
//! A reader that went away (`| head`) is no failure: the command ends quietly.

use crate::failure::{Exit, Failure};
use crate::ui::escape;
use serde::Serialize;
use std::io::{ErrorKind, Write as _};

/// Writes text and a line feed.
///
/// # Errors
/// When it cannot be written for another reason than that nobody reads.
pub fn line(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::file("writing to standard output", Exit::Storage, e))
        }
        _ => Ok(()),
    }
}

/// Writes a value as indented JSON.
///
/// # Errors
/// As [`line`]; when the value has no JSON form.
pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Failure::file("writing JSON", Exit::Storage, e))?;
    line(&escape::json(&text))
}
