//! What a RUN runs, as far as rules have to understand it: its text, and whether a word is a program. The commands in
//! the text are parted by [`super::run`].

use crate::ast::Node;

/// Programs that run a text.
pub(super) const SHELLS: [&str; 6] = ["sh", "bash", "dash", "ash", "zsh", "ksh"];

/// The whole text of a RUN, heredoc bodies included.
pub(super) fn text(node: &Node) -> String {
    node.heredocs.iter().fold(node.args.clone(), |text, body| text + "\n" + &body.raw)
}

/// The text that is run: heredoc bodies belong to it where a shell reads them, and not where they are a file's content.
pub(super) fn script(node: &Node) -> String {
    let program = node.args.split_whitespace().next().unwrap_or_default();
    let read = program.contains("<<") || is_program(program, &SHELLS);
    if read { text(node) } else { node.args.clone() }
}

/// Is it this program, whatever its path?
pub(super) fn is_program(word: &str, names: &[&str]) -> bool {
    word.rsplit('/').next().is_some_and(|name| names.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::is_program;

    #[test]
    fn a_program_is_known_by_the_end_of_its_path() {
        assert!(is_program("/g/h", &["h"]) && is_program("h", &["x", "h"]) && !is_program("h/x", &["h"]));
    }
}
