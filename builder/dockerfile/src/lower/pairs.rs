//! ENV, LABEL and ARG: names and values.
//!
//! Values keep their quotes and escapes. A fault is told with the line of the word, which need not
//! be the line of the instruction.

use super::Cx;
use super::flags;
use crate::diagnostic::quoted;
use crate::instruction::ArgDecl;
use crate::split::is_blank;
use crate::words::{self, Word};
use std::collections::HashSet;

const FORM: &str = "the form is NAME=value: no blanks around =, quotes around a value that holds blanks";

/// ENV and LABEL. When the first word has no `=`, the rest of the line is one value.
pub(super) fn pairs(cx: &mut Cx<'_>) -> Option<Vec<(String, String)>> {
    flags::read(cx, &[])?;
    let args = cx.required(if cx.node.keyword == "ENV" { "ENV NAME=value" } else { "LABEL NAME=value" })?;
    let words = words::split(args, cx.escape);
    if words.first().is_none_or(|w| !w.text.contains('=')) {
        return one(cx, args).map(|pair| vec![pair]);
    }
    let mut pairs = Vec::with_capacity(words.len());
    for word in &words {
        pairs.extend(pair(cx, word));
    }
    duplicates(cx, words.iter().filter_map(|w| Some((w.text.get(..w.equals?)?, w.text))));
    (pairs.len() == words.len()).then_some(pairs)
}

/// The old form, `NAME value`.
fn one(cx: &mut Cx<'_>, args: &str) -> Option<(String, String)> {
    let keyword = cx.node.keyword.clone();
    let Some((name, value)) = args.split_once(is_blank) else {
        let message = format!("{keyword} {} has no value", quoted(args));
        let hint = format!("write {keyword} NAME=value");
        return cx.fail_on(args, "MissingValue", message, &hint);
    };
    let value = value.trim_start_matches(is_blank);
    cx.word(name)?;
    cx.word(value)?;
    Some((name.to_owned(), value.to_owned()))
}

fn pair(cx: &mut Cx<'_>, word: &Word<'_>) -> Option<(String, String)> {
    let keyword = &cx.node.keyword;
    let Some((name, value)) = halves(word) else {
        let message = format!("{keyword} has {}, which is not a pair", quoted(word.text));
        return cx.fail_on(word.text, "NotAPair", message, FORM);
    };
    if name.is_empty() {
        let message = format!("{keyword} has {}, which has no name", quoted(word.text));
        return cx.fail_on(word.text, "BlankName", message, FORM);
    }
    cx.word(name)?;
    cx.word(value)?;
    Some((name.to_owned(), value.to_owned()))
}

fn halves<'a>(word: &Word<'a>) -> Option<(&'a str, &'a str)> {
    let at = word.equals?;
    Some((word.text.get(..at)?, word.text.get(at + 1..)?))
}

/// Warns of names that are given twice: the last one counts, which is seldom meant.
fn duplicates<'w>(cx: &mut Cx<'_>, names: impl Iterator<Item = (&'w str, &'w str)>) {
    let mut seen = HashSet::new();
    for (name, word) in names {
        if !seen.insert(name) {
            let message = format!("{} sets {} twice; the last one counts", cx.node.keyword, quoted(name));
            cx.warn_on(word, "DuplicateName", message, "keep one of them");
        }
    }
}

/// ARG: names with or without a default. A default is not judged, because a build argument may replace it.
pub(super) fn arg(cx: &mut Cx<'_>) -> Option<Vec<ArgDecl>> {
    flags::read(cx, &[])?;
    let args = cx.required("ARG VERSION=1.0")?;
    let words = words::split(args, cx.escape);
    let mut declared = Vec::with_capacity(words.len());
    for word in &words {
        declared.extend(declaration(cx, word));
    }
    duplicates(cx, declared.iter().zip(&words).map(|(d, w): (&ArgDecl, _)| (d.name.as_str(), w.text)));
    (!words.is_empty() && declared.len() == words.len()).then_some(declared)
}

fn declaration(cx: &mut Cx<'_>, word: &Word<'_>) -> Option<ArgDecl> {
    let (name, default) = match halves(word) {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (word.text, None),
    };
    if name.contains('$') {
        let message = format!("the name of ARG {} holds a variable", quoted(name));
        return cx.fail_on(word.text, "InvalidName", message, "names of ARG are not expanded");
    }
    cx.word(name)?;
    // Quotes around a name mean nothing and are taken off here, because nobody expands it later.
    let name = words::expand(name, cx.escape, &|_| None).unwrap_or_default();
    if name.is_empty() {
        let message = format!("ARG has {}, which has no name", quoted(word.text));
        return cx.fail_on(word.text, "BlankName", message, FORM);
    }
    if name.contains(|c: char| c == '=' || c.is_whitespace()) {
        let message = format!("{} cannot be the name of an ARG", quoted(&name));
        return cx.fail_on(word.text, "InvalidName", message, FORM);
    }
    Some(ArgDecl { name, default })
}
