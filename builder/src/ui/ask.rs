//! Questions to the person at the terminal. Standard error asks, standard input answers; both sides of it must be
//! looked at by a person. Must never show, keep or pass on what was typed at [`secret`] but by its return.

use crate::failure::{Exit, Failure};
use cooper_registry::Secret;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{IsTerminal as _, Write as _};

/// Longest answer, in bytes.
const ANSWER: usize = 64 * 1024;

/// Can anybody be asked?
pub fn somebody() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks for a line of text; what is typed is seen.
///
/// # Errors
/// When standard input cannot be read.
pub fn line(question: &str) -> Result<String, Failure> {
    ask(question);
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(cannot)?;
    Ok(answer.trim().to_owned())
}

/// Asks for a line of text; what is typed is not seen.
///
/// # Errors
/// When standard input is no terminal or cannot be read, and [`Failure::Interrupted`].
pub fn secret(question: &str) -> Result<Secret, Failure> {
    let quiet = Quiet::begin()?;
    ask(question);
    let typed = typed(std::io::stdin().lock());
    drop(quiet);
    // The line break that was typed was not seen either.
    ask("\n");
    typed
}

fn ask(text: &str) {
    // Who does not see the question may answer it all the same.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn cannot(e: std::io::Error) -> Failure {
    Failure::file("reading the answer", Exit::Usage, e)
}

/// Reads keys up to the end of the line. Erasing works as people expect, and an interrupt ends it: the terminal sends
/// no signal meanwhile, so that its settings are always put back.
fn typed(input: impl std::io::BufRead) -> Result<Secret, Failure> {
    let mut line: Vec<u8> = Vec::new();
    for byte in input.bytes() {
        match byte.map_err(cannot)? {
            b'\r' | b'\n' | 0x04 => break,
            0x03 => return Err(Failure::Interrupted(Exit::Interrupted)),
            0x08 | 0x7f => erase(&mut line),
            0x15 => line.clear(),
            _ if line.len() >= ANSWER => return Err(cannot(std::io::Error::other("it is too long"))),
            other => line.push(other),
        }
    }
    let text = String::from_utf8(line).map_err(|_| cannot(std::io::Error::other("it is not UTF-8")))?;
    Ok(Secret::new(text))
}

/// Takes the last character away, of however many bytes.
fn erase(line: &mut Vec<u8>) {
    while let Some(byte) = line.pop() {
        // Only the first byte of a character is not of the form 10xxxxxx.
        if byte & 0xc0 != 0x80 {
            break;
        }
    }
}

/// While it lives, the terminal shows nothing that is typed and gives every key at once.
struct Quiet {
    before: Termios,
}

impl Quiet {
    fn begin() -> Result<Self, Failure> {
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin).map_err(|e| cannot(e.into()))?;
        let mut quiet = before.clone();
        quiet.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        tcsetattr(&stdin, OptionalActions::Flush, &quiet).map_err(|e| cannot(e.into()))?;
        Ok(Self { before })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // A terminal that is gone needs no settings.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        let of = |keys: &str| typed(keys.as_bytes()).map(|s| s.expose().to_owned());
        for (keys, text) in [
            ("abc\nrest", "abc"),
            ("abc\r", "abc"),
            ("abc\u{4}", "abc"),
            ("aé\u{7f}b", "ab"),
            ("\u{8}\u{7f}a", "a"),
            ("wrong\u{15}right\n", "right"),
            (" spaces stay \n", " spaces stay "),
            ("", ""),
        ] {
            assert_eq!(of(keys).unwrap(), text, "{keys:?}");
        }
        assert!(matches!(of("abc\u{3}\n"), Err(Failure::Interrupted(Exit::Interrupted))));
        assert!(of(&"x".repeat(ANSWER + 1)).is_err());
        assert!(typed(&b"\xff\n"[..]).is_err());
    }
}
