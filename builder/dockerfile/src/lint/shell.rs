//! What a RUN runs, as far as rules have to understand it: commands and their words.
//!
//! Takes the text for a shell, or an array; gives pieces of it. Must never be taken for a shell's parser: quotes,
//! substitutions and variables mean nothing here.

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

/// The words of each command.
pub(super) fn commands(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.split([';', '&', '|', '\n', '(', ')']).map(words).filter(|words| !words.is_empty())
}

/// The words of a text, operators, quotes and the brackets of arrays cut off.
fn words(text: &str) -> Vec<&str> {
    text.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | '[' | ']'))
        .filter(|w| !w.is_empty())
        .collect()
}

/// Is it this program, whatever its path?
pub(super) fn is_program(word: &str, names: &[&str]) -> bool {
    word.rsplit('/').next().is_some_and(|name| names.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::{commands, is_program};

    #[test]
    fn commands_are_parted() {
        let text = "a  b&&c \"d e\"; (f || /g/h)\n[\"i\", \"j\"]";
        let parted: Vec<Vec<&str>> = commands(text).collect();
        assert_eq!(parted, [vec!["a", "b"], vec!["c", "d", "e"], vec!["f"], vec!["/g/h"], vec!["i", "j"]]);
        assert!(is_program("/g/h", &["h"]) && is_program("h", &["x", "h"]) && !is_program("h/x", &["h"]));
    }
}
