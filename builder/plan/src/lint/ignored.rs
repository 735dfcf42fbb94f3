//! CopyIgnoredFile: COPY and ADD of what the ignore file takes out of the context.

use super::View;
use super::from::Base;
use crate::scope::Scopes;
use cooper_dockerfile::ignore::Ignore;
use cooper_dockerfile::instruction::{Copy, Instruction};
use cooper_dockerfile::lint::table::COPY_IGNORED_FILE;
use cooper_dockerfile::lint::{Finding, Findings, go_quoted};

pub(super) fn find(view: View<'_>, _: Scopes<'_>, _: &[Base], out: &mut Findings) {
    let Some(bytes) = view.subject.ignore else { return };
    // Where patterns take paths back, whether a directory is empty cannot be told without looking.
    let takes_back = bytes.split(|b| *b == b'\n').any(|line| line.trim_ascii().starts_with(b"!"));
    let (false, Ok(ignore)) = (takes_back, Ignore::parse(bytes)) else { return };
    for (index, source) in view.file.stages.iter().enumerate() {
        for located in &source.instructions {
            let Instruction::Copy(copy) = &located.value else { continue };
            for path in from_context(copy) {
                let clean = cleaned(path);
                if clean.is_empty() || !ignore.ignored(clean.as_bytes()) {
                    continue;
                }
                let verb = if copy.add { "Add" } else { "Copy" };
                let quoted = go_quoted(&clean);
                let detail = format!("Attempting to {verb} file {quoted} that is excluded by .dockerignore");
                out.push(Finding::new(&COPY_IGNORED_FILE, located.span, detail).in_stage(Some(index)).about(path));
            }
        }
    }
}

/// The sources that are paths of the context, as written.
fn from_context(copy: &Copy) -> impl Iterator<Item = &str> {
    let local = |path: &&str| !path.contains('$') && !path.contains("://") && !path.starts_with("git@");
    copy.sources.iter().filter(|_| copy.from.is_none()).map(String::as_str).filter(local)
}

/// The path without `.`, `..` and slashes that mean nothing; empty for the context itself.
fn cleaned(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::cleaned;

    #[test]
    fn paths_are_cleaned() {
        for (path, clean) in [("./a//b/", "a/b"), ("/a", "a"), (".", ""), ("../..", ""), ("a/../b", "b")] {
            assert_eq!(cleaned(path), clean, "{path}");
        }
    }
}
