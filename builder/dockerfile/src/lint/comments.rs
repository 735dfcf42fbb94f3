//! What the comments directly above an instruction say: a description, or rules to skip for it.

use super::options;
use super::source::Source;
use std::collections::HashMap;

/// The comment lines directly above a line, the lowest first, without `#` and the blanks around. An empty line or an
/// empty comment ends them.
fn above<'a>(source: &Source<'a>, line: u32) -> impl Iterator<Item = &'a str> {
    let comment =
        |line: u32| Some(source.line(line).trim_start_matches('\u{feff}').trim_start().strip_prefix('#')?.trim());
    let lines: Vec<&str> =
        (source.directives + 1..line).rev().map_while(comment).take_while(|c| !c.is_empty()).collect();
    lines.into_iter()
}

/// `key=value`, when the comment is a directive of that name.
fn directive<'a>(comment: &'a str, name: &str) -> Option<&'a str> {
    let (key, value) = comment.split_once('=')?;
    key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
}

fn is_directive(comment: &str) -> bool {
    ["syntax", "escape", "check"].iter().any(|name| directive(comment, name).is_some())
}

/// The comment directly above a line that may describe what stands there: the lowest one that is no directive.
pub(super) fn candidate<'a>(source: &Source<'a>, line: u32) -> Option<&'a str> {
    above(source, line).find(|c| !is_directive(c))
}

/// What the comments directly above a line say of names: `# name what it is for`. Of two that speak of one name the
/// lower one counts.
pub fn descriptions<'a>(source: &Source<'a>, line: u32) -> HashMap<&'a str, &'a str> {
    let mut found = HashMap::new();
    for (name, text) in above(source, line).filter_map(|comment| comment.split_once(' ')) {
        if !text.trim().is_empty() {
            found.entry(name).or_insert(text.trim());
        }
    }
    found
}

/// What a comment directly above a line says of one name.
pub fn description<'a>(source: &Source<'a>, line: u32, name: &str) -> Option<&'a str> {
    descriptions(source, line).remove(name)
}

/// The names in every `# check=skip=…` directly above a line.
pub fn skipped(source: &Source<'_>, line: u32) -> Vec<String> {
    let settings = above(source, line).filter_map(|c| directive(c, "check")).flat_map(|s| s.split(';'));
    let skip = settings.filter_map(|part| part.trim().strip_prefix("skip")?.trim().strip_prefix('='));
    skip.flat_map(options::list).collect()
}

/// Is the rule among names that are skipped? `all` is every rule.
pub fn skips(skipped: &[String], rule: &str) -> bool {
    skipped.iter().any(|name| name == "all" || name == rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_describe_what_follows_directly() {
        for (text, name, expected) in [
            ("# a the thing\nARG a\n", "a", Some("the thing")),
            ("# A the thing\nARG a\n", "a", None),
            ("# a the thing\n# check=skip=X\nARG a\n", "a", Some("the thing")),
            ("# a the thing\n\nARG a\n", "a", None),
            ("# a the thing\n#\nARG a\n", "a", None),
            ("# a the thing\n# b other\nARG a\n", "a", Some("the thing")),
            ("# a\nARG a\n", "a", None),
            ("ARG a\n", "a", None),
        ] {
            let source = Source::new(text);
            let line = u32::try_from(text.lines().count()).unwrap();
            assert_eq!(description(&source, line, name), expected, "{text:?}");
        }
    }

    #[test]
    fn rules_are_skipped_for_one_instruction() {
        for (text, skipped) in [
            ("\n# check=skip=X\nRUN a\n", true),
            // The directive of the whole file.
            ("# check=skip=X\nRUN a\n", false),
            ("\n#check = skip = Y , X // because\nRUN a\n", true),
            ("\n# check=skip=all\nRUN a\n", true),
            ("\n# check=error=true;skip=X\nRUN a\n", true),
            ("\n# check=skip=X\n# a remark\nRUN a\n", true),
            ("\n# check=skip=X\n\nRUN a\n", false),
            ("\n# check=skip=Y\nRUN a\n", false),
            ("\n# check=experimental=X\nRUN a\n", false),
            ("# skip=X\nRUN a\n", false),
        ] {
            let line = u32::try_from(text.lines().count()).unwrap();
            assert_eq!(skips(&super::skipped(&Source::new(text), line), "X"), skipped, "{text:?}");
        }
    }
}
