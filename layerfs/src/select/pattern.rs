//! One pattern of COPY: which files and directories of the view it names.
//!
//! Takes: a pattern below the root of the view. Gives: sources with everything below them listed, not yet
//! hashed. The components before the first wildcard are looked up as a process would, links included; below
//! that only real directories are searched. Must never: match across `/`.

use super::{Item, SelectRequest, Shape, Source, tree};
use crate::LayerfsError;
use crate::stat::Kind;
use crate::view::{Follow, Found, Resolved};
use cooper_image::RelPath;

/// Appends what a pattern names.
pub(super) fn expand(
    request: &SelectRequest<'_>,
    pattern: &str,
    sources: &mut Vec<Source>,
) -> Result<(), LayerfsError> {
    let clean = RelPath::clean(pattern.as_bytes());
    let components: Vec<&[u8]> = clean.components().collect();
    let literal = components.iter().position(|c| has_wildcard(c)).unwrap_or(components.len());
    let (before, globs) = components.split_at(literal);
    let prefix = before.iter().fold(RelPath::root(), |path, c| path.join(&unescaped(c)));
    if globs.is_empty() {
        sources.push(named(request, pattern, &prefix)?.ok_or_else(|| ignored(pattern))?);
        return Ok(());
    }
    for path in matches(request, &prefix, globs)? {
        // A directory that is hidden, and in which nothing turned out to be re-included, is no match.
        if let Some(source) = named(request, &path.display(), &path)? {
            sources.push(source);
        }
    }
    Ok(())
}

/// The source at a path; `None` for a hidden directory in which nothing is re-included.
fn named(request: &SelectRequest<'_>, shown: &str, path: &RelPath) -> Result<Option<Source>, LayerfsError> {
    let Resolved { path: real, meta } = request.view.resolve(path, Follow::Final)?;
    let found = match meta {
        Some(_) => request.view.find(&real)?,
        None => None,
    };
    let found = found.ok_or_else(|| LayerfsError::MissingSource { path: shown.to_owned() })?;
    let name = path.file_name().unwrap_or_default().to_vec();
    let hidden = |p: &RelPath| !p.is_root() && (request.ignored)(p);
    if found.meta.kind != Kind::Dir {
        if hidden(path) || hidden(&real) {
            return Err(ignored(shown));
        }
        let items = tree::admit(request, real.clone(), found)?.into_iter().collect();
        return Ok(Some(Source { name, path: real, shape: Shape::Single, items }));
    }
    // A hidden link does not exist, whatever it leads to.
    if *path != real && hidden(path) {
        return Err(ignored(shown));
    }
    if hidden(&real) && !(request.may_hold_included)(&real) {
        return Ok(None);
    }
    let items = tree::walk(request, &real)?;
    if hidden(&real) && items.is_empty() {
        return Ok(None);
    }
    Ok(Some(Source { name, path: real, shape: Shape::Contents, items }))
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
