//! Which programs a RUN starts, as far as quotes and the words before a program tell.
//!
//! Takes the text for a shell, or an array; gives the words of each command, its program first. What stands in quotes or
//! behind another program is no command. Must never be taken for a shell: variables mean nothing here, and what stands
//! between double quotes is not looked into.

use super::shell::{SHELLS, is_program};
use std::iter::Peekable;
use std::str::Chars;

/// How deep `sh -c` is followed into itself.
const DEPTH: usize = 4;
/// Words of the shell that a command may stand behind.
const BEFORE: [&str; 10] = ["if", "then", "else", "elif", "do", "while", "until", "!", "{", "time"];
/// Programs that start another one.
const STARTERS: [&str; 9] = ["sudo", "env", "exec", "nice", "ionice", "timeout", "eatmydata", "command", "nohup"];

/// The commands of a text, those of `sh -c` in their place.
pub(super) fn commands(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    gather(text, DEPTH, &mut found);
    found
}

fn gather(text: &str, depth: usize, found: &mut Vec<Vec<String>>) {
    let parted = serde_json::from_str::<Vec<String>>(text).map_or_else(|_| parted(text), |words| vec![words]);
    for words in parted {
        let words = started(&words);
        match inner(words).filter(|_| depth > 0) {
            Some(script) => gather(script, depth - 1, found),
            None => found.push(words.to_vec()),
        }
    }
}

/// The words from the program on.
fn started(mut words: &[String]) -> &[String] {
    let mut starter = false;
    while let Some((word, rest)) = words.split_first() {
        let is_starter = is_program(word, &STARTERS) && !asks(words);
        let is_option = starter && word.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        if !(is_starter || is_option || is_assignment(word) || BEFORE.contains(&word.as_str())) {
            break;
        }
        starter |= is_starter;
        words = rest;
    }
    words
}

/// `command -v PROGRAM` starts nothing: it says where the program is.
fn asks(words: &[String]) -> bool {
    let is_question = |word: &String| word.starts_with('-') && word.ends_with(['v', 'V']);
    matches!(words, [command, option, ..] if command == "command" && is_question(option))
}

fn is_assignment(word: &str) -> bool {
    let named = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    word.split_once('=').is_some_and(|(name, _)| named(name))
}

/// What `sh -c` runs, or the shell itself at its end.
fn inner(words: &[String]) -> Option<&str> {
    let (program, rest) = words.split_first()?;
    if program == "trap" {
        return rest.first().map(String::as_str);
    }
    let is_order = |w: &String| w.starts_with('-') && !w.starts_with("--") && w.ends_with('c');
    let at = rest.iter().position(is_order).filter(|_| is_program(program, &SHELLS))?;
    rest.get(at + 1).map(String::as_str)
}

/// The words of each command, without their quotes.
fn parted(text: &str) -> Vec<Vec<String>> {
    let (mut commands, mut words, mut word) = (Vec::new(), Vec::new(), None::<String>);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\'' | '"' => quoted(&mut chars, c, word.get_or_insert_default()),
            '\\' => word.get_or_insert_default().extend(chars.next()),
            '#' if word.is_none() => while chars.next_if(|c| *c != '\n').is_some() {},
            ';' | '&' | '|' | '\n' | '(' | ')' | '`' => {
                words.extend(word.take());
                commands.push(std::mem::take(&mut words));
            }
            c if c.is_whitespace() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    commands.push(words);
    commands.retain(|words| !words.is_empty());
    commands
}

/// Takes everything up to the closing quote.
fn quoted(chars: &mut Peekable<Chars<'_>>, quote: char, word: &mut String) {
    while let Some(c) = chars.next().filter(|c| *c != quote) {
        match c {
            '\\' if quote == '"' => word.extend(chars.next()),
            c => word.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::commands;

    #[test]
    fn programs_come_first() {
        for (text, expected) in [
            ("a  b&&c \"d e\"; (f || /g/h)", &["a|b", "c|d e", "f", "/g/h"][..]),
            ("[\"i\", \"j k\"]", &["i|j k"]),
            ("if A=1 sudo -E a 'b;c'; then d\\ e; fi # f", &["a|b;c", "d e", "fi"]),
            ("bash -ec 'a && sh -c \"b c\"' d", &["a", "b|c"]),
            ("bash -s -- a", &["bash|-s|--|a"]),
            ("trap 'a b; c' EXIT; d", &["a|b", "c", "d"]),
            ("command a b; command -p a", &["a|b", "a"]),
            ("command -v a || command -V b; env command -pv c", &["command|-v|a", "command|-V|b", "command|-pv|c"]),
            ("echo \"a", &["echo|a"]),
            ("", &[]),
        ] {
            let found: Vec<String> = commands(text).iter().map(|words| words.join("|")).collect();
            assert_eq!(found, expected, "{text}");
        }
        // However deep it is nested, it ends.
        assert_eq!(commands(&"sh -c ".repeat(100)).len(), 1);
    }
}
