//! One pattern of COPY: which files and directories of the view it names.
//!
//! Takes: a pattern below the root of the view. Gives: sources with everything below them listed, not yet
//! hashed. The components before the first wildcard are looked up as a process would, links included; below
//! that only real directories are searched. Must never: match across `/`.

use super::{Item, SelectRequest, Shape, Source, Taken, tree};
use crate::LayerfsError;
use crate::stat::Kind;
use crate::view::{Follow, Found, Resolved};
use cooper_image::RelPath;

/// Appends what a pattern names, or what is taken below that.
pub(super) fn expand(
    request: &SelectRequest<'_>,
    pattern: &str,
    taken: Option<&Taken<'_>>,
    sources: &mut Vec<Source>,
) -> Result<(), LayerfsError> {
    let clean = RelPath::clean(pattern.as_bytes());
    let components: Vec<&[u8]> = clean.components().collect();
    let literal = components.iter().position(|c| has_wildcard(c)).unwrap_or(components.len());
    let (before, globs) = components.split_at(literal);
    let prefix = before.iter().fold(RelPath::root(), |path, c| path.join(&unescaped(c)));
    if globs.is_empty() {
        let literal = |t: &&Taken<'_>| !has_wildcard(t.kept.as_bytes());
        let required = taken.filter(literal).map(|t| RelPath::clean(&unescaped(t.kept.as_bytes())));
        let asked = Asked { shown: pattern, path: &prefix, taken, required: required.as_ref() };
        match named(request, asked)? {
            Named::Source(source) => sources.push(source),
            Named::Hidden => return Err(ignored(pattern)),
            Named::LeftOut if taken.is_some() => {
                return Err(missing(&prefix.join(required.unwrap_or_default().as_bytes()).display()));
            }
            Named::LeftOut => {}
        }
        return Ok(());
    }
    for path in matches(request, &prefix, globs)? {
        // A directory that is hidden, and in which nothing turned out to be re-included, is no match.
        if let Named::Source(source) =
            named(request, Asked { shown: &path.display(), path: &path, taken, required: None })?
        {
            sources.push(source);
        }
    }
    Ok(())
}

/// A path that was named, or that a wildcard matched.
#[derive(Clone, Copy)]
struct Asked<'a> {
    /// For messages.
    shown: &'a str,
    path: &'a RelPath,
    taken: Option<&'a Taken<'a>>,
    /// What has to be below it.
    required: Option<&'a RelPath>,
}

/// What is at a path that was named.
enum Named {
    Source(Source),
    /// A hidden directory in which nothing is re-included.
    Hidden,
    /// A file that is excluded, or where only a directory can hold what is taken.
    LeftOut,
}

fn named(request: &SelectRequest<'_>, asked: Asked<'_>) -> Result<Named, LayerfsError> {
    let Asked { shown, path, taken, required } = asked;
    let Resolved { path: real, meta } = request.view.resolve(path, Follow::Final)?;
    let found = match meta {
        Some(_) => request.view.find(&real)?,
        None => None,
    };
    let found = found.ok_or_else(|| missing(shown))?;
    let name = path.file_name().unwrap_or_default().to_vec();
    let hidden = |p: &RelPath| !p.is_root() && (request.ignored)(p);
    if found.meta.kind != Kind::Dir {
        if hidden(path) || hidden(&real) {
            return Err(ignored(shown));
        }
        if taken.is_some() || request.rules.excluded.is_some_and(|rule| rule.matches(&RelPath::clean(&name))) {
            return Ok(Named::LeftOut);
        }
        let items = tree::admit(request, real.clone(), found)?.into_iter().collect();
        return Ok(Named::Source(Source { name, path: real, shape: Shape::Single, items }));
    }
    // A hidden link does not exist, whatever it leads to.
    if *path != real && hidden(path) {
        return Err(ignored(shown));
    }
    if hidden(&real) && !(request.may_hold_included)(&real) {
        return Ok(Named::Hidden);
    }
    if let Some(tail) = required {
        require(request, &real, tail)?;
    }
    let items = tree::walk(request, &real, taken)?;
    if hidden(&real) && items.is_empty() {
        return Ok(Named::Hidden);
    }
    Ok(Named::Source(Source { name, path: real, shape: Shape::Contents, items }))
}

/// What `--parents` names without a wildcard has to be there. Links on the way to it are not followed: it is looked
/// for in a walk through directories.
fn require(request: &SelectRequest<'_>, base: &RelPath, tail: &RelPath) -> Result<(), LayerfsError> {
    let path = base.join(tail.as_bytes());
    let Some(meta) = request.view.lstat(&path)? else { return Err(missing(&path.display())) };
    let shown = !(request.ignored)(&path) || (meta.kind == Kind::Dir && (request.may_hold_included)(&path));
    if shown { Ok(()) } else { Err(ignored(&path.display())) }
}

/// Paths that match, sorted; hidden ones are left out.
fn matches(request: &SelectRequest<'_>, prefix: &RelPath, globs: &[&[u8]]) -> Result<Vec<RelPath>, LayerfsError> {
    let base = request.view.resolve(prefix, Follow::Final)?;
    if base.meta.is_none_or(|m| m.kind != Kind::Dir) {
        return Ok(Vec::new());
    }
    let mut reached = vec![base.path];
    for (at, glob) in globs.iter().enumerate() {
        let last = at + 1 == globs.len();
        let mut next = Vec::new();
        for dir in &reached {
            for (name, Found { meta, .. }) in request.view.children(dir)? {
                let path = dir.join(&name);
                let is_dir = meta.kind == Kind::Dir;
                let hidden = (request.ignored)(&path) && !(is_dir && (request.may_hold_included)(&path));
                let skipped = meta.kind == Kind::Socket || hidden || !(last || is_dir);
                if !skipped && (request.glob)(glob, &name) {
                    next.push(path);
                }
            }
        }
        reached = next;
    }
    reached.sort();
    Ok(reached)
}

fn missing(shown: &str) -> LayerfsError {
    LayerfsError::MissingSource { path: shown.to_owned() }
}

fn ignored(shown: &str) -> LayerfsError {
    LayerfsError::IgnoredSource { path: shown.to_owned() }
}

/// Is there a `*`, `?` or `[` that no backslash takes its meaning from?
fn has_wildcard(component: &[u8]) -> bool {
    let mut bytes = component.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'*' | b'?' | b'[' => return true,
            _ => {}
        }
    }
    false
}

/// What a component without wildcards means.
fn unescaped(component: &[u8]) -> Vec<u8> {
    let mut bytes = component.iter();
    let mut plain = Vec::with_capacity(component.len());
    while let Some(byte) = bytes.next() {
        let meant = if *byte == b'\\' { bytes.next().unwrap_or(byte) } else { byte };
        plain.push(*meant);
    }
    plain
}

impl Source {
    /// The path of an item below the directory that was named, or the file's name.
    pub(crate) fn tail(&self, item: &Item) -> RelPath {
        match self.shape {
            Shape::Single => RelPath::root().join(&self.name),
            Shape::Contents => item.path.strip_prefix(&self.path).unwrap_or_default(),
        }
    }
}
