//! Sources of ADD that are fetched, and the flags that are for them.
//!
//! Takes an ADD as a copy, and what its sources turned out to name. Gives the operation: a copy when all are paths.

use crate::fault;
use crate::op::{AddSource, Copy, Fetch, Op};
use cooper_dockerfile::diagnostic::Diagnostic;
use cooper_dockerfile::instruction::{self, Span};
use cooper_dockerfile::remote::{GitSource, Remote, UNNAMED};
use cooper_image::Digest;

/// The operation of a COPY or ADD. `given` has its words expanded; `remotes` has one entry for each source.
pub(super) fn add(
    mut copy: Copy,
    given: &instruction::Copy,
    remotes: Vec<Option<Remote>>,
    span: Span,
) -> Result<Op, Diagnostic> {
    if given.checksum.is_some() && (remotes.len() != 1 || remotes.iter().all(Option::is_none)) {
        let message = "ADD --checksum is for one URL or one git repository";
        let hint = "give each such source an ADD of its own, and others none";
        return Err(fault::value(span, message, hint).about("--checksum"));
    }
    if remotes.iter().all(Option::is_none) {
        return Ok(Op::Copy(copy));
    }
    let patterns = std::mem::take(&mut copy.sources);
    let sources = patterns.into_iter().zip(remotes).map(|(pattern, remote)| match remote {
        None => Ok(AddSource::Local(pattern)),
        Some(Remote::Http(source)) if source.file_name == UNNAMED && copy.dest_is_dir => {
            let message = format!("ADD {}: the URL does not end in the name of a file", source.shown());
            Err(fault::value(span, message, "let the destination name it: ADD URL /directory/name"))
        }
        Some(Remote::Http(source)) => Ok(AddSource::Http { source, checksum: digest(given, span)? }),
        Some(Remote::Git(source)) => git(source, given, span),
    });
    let sources = sources.collect::<Result<_, _>>()?;
    Ok(Op::Fetch(Fetch { sources, unpack: given.unpack.unwrap_or(false), copy }))
}

fn digest(given: &instruction::Copy, span: Span) -> Result<Option<Digest>, Diagnostic> {
    let parse = |text: &String| {
        let wrong = |e| {
            fault::value(span, format!("ADD --checksum: {e}"), "give sha256: and 64 hexadecimal digits")
                .about("--checksum")
        };
        text.parse().map_err(wrong)
    };
    given.checksum.as_ref().map(parse).transpose()
}

fn git(mut source: GitSource, given: &instruction::Copy, span: Span) -> Result<AddSource, Diagnostic> {
    if let Some(checksum) = &given.checksum {
        source
            .set_checksum(checksum)
            .map_err(|e| fault::value(span, format!("ADD --checksum: {e}"), &e.hint).about("--checksum"))?;
    }
    match (given.keep_git_dir, source.keep_git_dir) {
        (Some(flag), Some(url)) if flag != url => {
            let message = format!("{}: --keep-git-dir={flag} conflicts with the URL", source.shown());
            Err(fault::value(span, message, "say it once").about("--keep-git-dir"))
        }
        (flag, url) => Ok(AddSource::Git { git_dir: flag.or(url).unwrap_or(false), source }),
    }
}
