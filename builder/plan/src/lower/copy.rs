//! COPY and ADD.
//!
//! Takes paths as written; gives patterns below the root of the source and an absolute destination. Sources,
//! destination, `--chown` and `--chmod` are expanded; `--from` and `--exclude` never. Must never: let a pattern begin
//! with `/` or hold `..`.

use super::run::file_name;
use super::{Done, Lowering, base, fetch};
use crate::expand::clip;
use crate::graph::Item;
use crate::op::{self, PIVOT};
use crate::{fault, history, support};
use cooper_dockerfile::diagnostic::Diagnostic;
use cooper_dockerfile::ignore::{Ignore, IgnoreError};
use cooper_dockerfile::instruction::{Copy, Heredoc, Span};
use cooper_dockerfile::remote;
use cooper_image::RelPath;
use cooper_image::chmod::{self, Chmod};

impl Lowering<'_> {
    pub(super) fn copy(&self, copy: &Copy, item: &Item) -> Result<Done, Diagnostic> {
        let (span, escape) = (item.instruction.span, item.escape);
        // A flag whose variable has no value is as if it were not there, as in BuildKit.
        let optional = |text: &Option<String>| {
            let expanded = text.as_ref().map(|t| self.expand(t, escape, span)).transpose();
            expanded.map(|text| text.filter(|t| !t.is_empty()))
        };
        let given = Copy {
            sources: self.expand_all(&copy.sources, escape, span)?,
            dest: self.expand(&copy.dest, escape, span)?,
            chown: optional(&copy.chown)?,
            chmod: optional(&copy.chmod)?,
            checksum: optional(&copy.checksum)?,
            ..copy.clone()
        };
        let mut remotes = Vec::with_capacity(given.sources.len());
        for source in &given.sources {
            let written = copy.sources.get(remotes.len()).map_or("", String::as_str);
            remotes.push(support::remote(copy, source, span).map_err(|fault| fault.about(written))?);
        }
        let of_mode = |fault: Diagnostic| fault.about(format!("--chmod={}", copy.chmod.as_deref().unwrap_or_default()));
        check_mode(given.chmod.as_deref(), span).map_err(of_mode)?;
        check_patterns("--exclude", &copy.exclude, span)?;
        let sources: Vec<String> =
            given.sources.iter().map(|s| if copy.parents { below_pivot(s) } else { pattern(s) }).collect();
        if copy.parents {
            let kept: Vec<String> = sources.iter().map(|s| op::pivot(s).1.to_owned()).collect();
            check_patterns("--parents", &kept, span)?;
        }
        let inline = given.heredocs.iter().map(|h| self.inline(h, span)).collect::<Result<_, _>>()?;
        let dest = self.around.cwd.resolve(given.dest.as_bytes());
        self.scopes.budget.spend(dest.rel().as_bytes().len(), span)?;
        let op = op::Copy {
            from: item.from.as_ref().map(|o| base(o, self.ids)),
            sources,
            parents: copy.parents,
            exclude: copy.exclude.clone(),
            inline,
            dest,
            dest_is_dir: is_directory(&given.dest),
            chown: given.chown.clone(),
            chmod: given.chmod.clone(),
            unpack: copy.add && copy.unpack.unwrap_or(true),
            // As in BuildKit, a mode is set upon the layers below: alone it would be set for the directories on the way.
            link: copy.link && given.chmod.is_none(),
        };
        let op = fetch::add(op, &given, remotes, span)?;
        // An image keeps its history for everybody to read.
        let shown = Copy { sources: given.sources.iter().map(|s| remote::redacted(s)).collect(), ..given };
        Ok(Done { op, history: history::copy(support::name(copy), &shown) })
    }

    /// A file written in the Dockerfile. Its escapes are always backslashes, as in BuildKit.
    fn inline(&self, heredoc: &Heredoc, span: Span) -> Result<(String, String), Diagnostic> {
        let plain = !heredoc.expand || !heredoc.body.contains(['$', '\\']);
        let body = match plain {
            true => heredoc.body.clone(),
            false => self.scopes.budget.expand_body(&heredoc.body, span, &|name| self.around.get(name))?,
        };
        Ok((file_name(&heredoc.name, span)?, body))
    }
}

/// Is the destination a directory, as it is written? Whether one is there already, only the target can tell.
fn is_directory(dest: &str) -> bool {
    matches!(dest, "" | "." | "..") || ["/", "/.", "/.."].iter().any(|end| dest.ends_with(end))
}

/// A source below the root: `..` stops there, and `.` is the root itself, as is what is empty after expansion.
fn pattern(source: &str) -> String {
    match String::from_utf8_lossy(RelPath::from(source).as_bytes()).into_owned() {
        root if root.is_empty() => ".".to_owned(),
        path => path,
    }
}

/// A source of `--parents`: what stands before the first `/./` is left away, and nothing is when there is none.
fn below_pivot(source: &str) -> String {
    let (left_away, kept) = source.split_once(PIVOT).unwrap_or(("", source));
    let kept = String::from_utf8_lossy(RelPath::from(kept).as_bytes()).into_owned();
    pattern(left_away) + PIVOT + &kept
}

/// Patterns of `--exclude`, and sources with `--parents`, are written as in an ignore file.
fn check_patterns(flag: &str, patterns: &[String], span: Span) -> Result<(), Diagnostic> {
    for pattern in patterns {
        let Err(e) = Ignore::of([pattern.as_str()]) else { continue };
        let what = match &e {
            IgnoreError::Malformed { source, .. } => source.to_string(),
            IgnoreError::EmptyException { .. } => "! is not followed by a pattern".to_owned(),
            IgnoreError::TooLong { .. } => "the pattern is longer than any path".to_owned(),
            other => other.to_string(),
        };
        return Err(fault::value(span, format!("{flag}: {what}"), e.hint()).about(pattern));
    }
    // All of them together may be too many.
    let all = Ignore::of(patterns.iter().map(String::as_str)).map(drop);
    all.map_err(|e| fault::value(span, format!("{flag}: {e}"), e.hint()))
}

/// A mode is digits, octal and within 07777, or symbols.
fn check_mode(mode: Option<&str>, span: Span) -> Result<(), Diagnostic> {
    let parsed = mode.map(Chmod::parse).transpose();
    parsed
        .map(drop)
        .map_err(|e| fault::value(span, format!("--chmod={} is not a mode: {}", clip(&e.text), e.reason), chmod::HINT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stay_below_the_root() {
        for (source, wanted) in [
            ("a", "a"),
            ("/a/", "a"),
            ("./a/./b", "a/b"),
            ("../../a", "a"),
            (".", "."),
            ("", "."),
            ("/", "."),
            ("a/*.[ch]", "a/*.[ch]"),
        ] {
            assert_eq!(pattern(source), wanted, "{source}");
        }
    }

    #[test]
    fn parents_are_kept_behind_the_first_pivot() {
        for (source, wanted) in [
            ("a/b", "././a/b"),
            ("./a/*.c", "././a/*.c"),
            ("a/./b/./c/.", "a/./b/c"),
            ("/a/b*/./c/**/d", "a/b*/./c/**/d"),
            ("./a/./../../x", "a/./x"),
            ("a/./.", "a/./"),
            (".", "././"),
        ] {
            assert_eq!(below_pivot(source), wanted, "{source}");
        }
        assert_eq!(op::pivot("a/./b/c"), ("a", "b/c"));
        assert_eq!(op::pivot("././b"), (".", "b"));
    }

    #[test]
    fn modes() {
        for (mode, good) in [
            ("755", true),
            ("0644", true),
            ("07777", true),
            ("10000", false),
            ("8", false),
            ("u=rwX", true),
            ("u=zz", false),
            ("u+x,", false),
        ] {
            assert_eq!(check_mode(Some(mode), Span::default()).is_ok(), good, "{mode}");
        }
    }
}
