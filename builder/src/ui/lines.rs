//! Cuts a step's bytes into lines, for each step by itself.
//!
//! Takes bytes as they come, gives whole lines without their ends. A line that does not end is
//! kept until it does, until it is too long, or until the step is over.

/// Longest line that is kept together, in bytes.
pub const LINE_BYTES: usize = 64 * 1024;

/// The unfinished line of one step.
#[derive(Debug, Default)]
pub struct LineBuffer {
    bytes: Vec<u8>,
    /// The last byte was a carriage return that ended a line; a line feed after it ends none.
    after_return: bool,
}

impl LineBuffer {
    /// Takes bytes, gives the lines that they complete. `\n`, `\r` and `\r\n` end a line; a `\r`
    /// at the start of a line ends nothing, as progress meters write it there.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut done = Vec::new();
        for &b in bytes {
            let after_return = std::mem::take(&mut self.after_return);
            match b {
                b'\n' if after_return => {}
                b'\n' => done.push(std::mem::take(&mut self.bytes)),
                b'\r' if self.bytes.is_empty() => {}
                b'\r' => {
                    self.after_return = true;
                    done.push(std::mem::take(&mut self.bytes));
                }
                b => {
                    if self.bytes.len() >= LINE_BYTES && !is_continuation(b) || self.bytes.len() >= LINE_BYTES + 4 {
                        done.push(std::mem::take(&mut self.bytes));
                    }
                    self.bytes.push(b);
                }
            }
        }
        done
    }

    /// The rest that no line end followed.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        Some(std::mem::take(&mut self.bytes)).filter(|rest| !rest.is_empty())
    }
}

/// Is it inside a character of UTF-8, where no line is cut?
fn is_continuation(b: u8) -> bool {
    b & 0b1100_0000 == 0b1000_0000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(pieces: &[&str]) -> Vec<String> {
        let mut buffer = LineBuffer::default();
        let mut lines: Vec<Vec<u8>> = pieces.iter().flat_map(|p| buffer.push(p.as_bytes())).collect();
        lines.extend(buffer.finish());
        lines.into_iter().map(|l| String::from_utf8(l).unwrap()).collect()
    }

    #[test]
    fn line_ends() {
        for (pieces, lines) in [
            (&["a\nb\n"][..], &["a", "b"][..]),
            (&["a", "b\nc"], &["ab", "c"]),
            (&["a\n\nb"], &["a", "", "b"]),
            (&["a\r\nb\r", "\nc"], &["a", "b", "c"]),
            (&["10%\r20%\r\r30%\n"], &["10%", "20%", "30%"]),
            (&["\r\n"], &[""]),
            (&[""], &[]),
        ] {
            assert_eq!(cut(pieces), lines, "{pieces:?}");
        }
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        let long = "é".repeat(LINE_BYTES);
        let lines = cut(&["x", &long]);
        assert_eq!(lines.concat(), format!("x{long}"));
        assert!(
            lines.iter().all(|l| l.len() <= LINE_BYTES + 4),
            "{:?}",
            lines.iter().map(String::len).collect::<Vec<_>>()
        );
        let mut buffer = LineBuffer::default();
        let lines = buffer.push(&[0x80; 3 * LINE_BYTES]);
        assert!(lines.len() >= 2 && lines.iter().all(|l| l.len() <= LINE_BYTES + 4));
    }
}
