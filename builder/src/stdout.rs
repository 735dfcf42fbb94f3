//! Standard output: data, and nothing else.
//!
//! A reader that went away (`| head`) is no failure: the command ends quietly.

use crate::failure::{Exit, Failure};
use crate::ui::escape;
use serde::Serialize;
use std::io::{ErrorKind, IsTerminal as _, Write as _};

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

/// Nobody wants an archive on a terminal.
///
/// # Errors
/// When standard output is one.
pub fn not_a_terminal(what: &str, hint: &str) -> Result<(), Failure> {
    if std::io::stdout().is_terminal() {
        return Err(Failure::usage(format!("{what} would go to the terminal"), hint));
    }
    Ok(())
}

/// Writes names, one on each line; none make no line.
///
/// # Errors
/// As [`line`].
pub fn names(names: &[String]) -> Result<(), Failure> {
    if names.is_empty() {
        return Ok(());
    }
    line(&names.iter().map(|name| escape::line(name)).collect::<Vec<_>>().join("\n"))
}

/// Writes bytes as they are, so that their digest stays the same; on a terminal as text that does not steer it.
///
/// # Errors
/// As [`line`].
pub fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    if out.is_terminal() {
        drop(out);
        return line(&escape::lines(&String::from_utf8_lossy(bytes)));
    }
    match out.write_all(bytes).and_then(|()| out.flush()) {
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
