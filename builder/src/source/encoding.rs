//! Dockerfiles that are not UTF-8 throughout: comments may hold any bytes, everything else is refused with its place.
//!
//! Takes the bytes; gives a text with the same lines, or every place that cannot be read as an error of the file.

use crate::failure::{Excerpt, Failure};
use cooper_dockerfile::ast::Ast;
use cooper_dockerfile::diagnostic::{Columns, Diagnostic};
use cooper_dockerfile::instruction::Span;
use cooper_dockerfile::limits::DIAGNOSTICS;
use cooper_engine::EngineError;

/// The text; bytes of comments that are not UTF-8 are U+FFFD there.
///
/// # Errors
/// When such bytes stand elsewhere: each line's first.
pub fn read(name: &str, bytes: &[u8]) -> Result<String, Failure> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let ast = cooper_dockerfile::tree(&text);
    let lines = (1..).zip(bytes.split(|b| *b == b'\n')).filter(|(n, line)| !is_comment(&ast, *n, line));
    let errors: Vec<Diagnostic> = lines.filter_map(|(n, line)| fault(n, line)).take(DIAGNOSTICS).collect();
    if errors.is_empty() {
        return Ok(text);
    }
    let dockerfile = Excerpt { name: name.to_owned(), text: escaped(bytes) };
    Err(Failure::Build { error: Box::new(EngineError::Dockerfile(errors)), dockerfile })
}

/// A line that the builder leaves out; in the body of a heredoc there is none.
fn is_comment(ast: &Ast, line: u32, bytes: &[u8]) -> bool {
    let behind = ast.nodes.partition_point(|n| n.span.start <= line);
    let node = behind.checked_sub(1).and_then(|at| ast.nodes.get(at)).filter(|n| line <= n.span.end);
    bytes.trim_ascii_start().starts_with(b"#") && node.is_none_or(|n| n.heredocs.is_empty())
}

fn fault(number: u32, line: &[u8]) -> Option<Diagnostic> {
    let valid = line.utf8_chunks().next().filter(|chunk| !chunk.invalid().is_empty())?.valid().len();
    let byte = line.get(valid)?;
    let start = u32::try_from(valid + 1).unwrap_or(u32::MAX);
    let error = Diagnostic::error(
        "NotUtf8",
        Span { start: number, end: number },
        format!("the byte {byte:#04x} is not UTF-8, which only comments may go without"),
    );
    let columns = Some(Columns { start, end: start.saturating_add(SHOWN) });
    Some(Diagnostic { columns, ..error.with_hint("save the file as UTF-8") })
}

/// Bytes that [`escaped`] shows one byte with.
const SHOWN: u32 = 4;

/// The text with the bytes that are none as `\xNN`.
fn escaped(bytes: &[u8]) -> String {
    bytes.utf8_chunks().map(|chunk| format!("{}{}", chunk.valid(), chunk.invalid().escape_ascii())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_may_hold_any_bytes() {
        for (bytes, places) in [
            (&b"# caf\xe9\nFROM a\n  # \xff\nRUN b \\\n# \xe9\n c\n"[..], &[][..]),
            (b"FROM a\nRUN caf\xe9 \xe9\nENV A=\xc3\n", &[(2, 8), (3, 7)]),
            (b"FROM a\nRUN <<E\n# \xe9\nE\n", &[(3, 3)]),
            (b"FROM a\nRUN b \\\n \xe9\n", &[(3, 2)]),
        ] {
            let found = match read("D", bytes) {
                Ok(text) => {
                    assert_eq!(text.lines().count(), bytes.split(|b| *b == b'\n').count() - 1);
                    Vec::new()
                }
                Err(Failure::Build { error, dockerfile }) => {
                    assert!(dockerfile.text.contains("\\x"), "{dockerfile:?}");
                    let place = |d: &Diagnostic| (d.span.start, d.columns.map_or(0, |c| c.start));
                    error.diagnostics().iter().map(place).collect()
                }
                Err(other) => panic!("{other}"),
            };
            assert_eq!(found, places, "{}", bytes.escape_ascii());
        }
    }
}
