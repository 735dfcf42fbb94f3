//! Everything below a directory that was named, with the ignore file and the rules applied.
//!
//! Takes: a real directory of the view. Gives: items with metadata, attributes of directories and link
//! targets; contents come later. Must never: enter a hidden directory that can hold nothing re-included.

use super::{Content, Item, Ownership, Part, SelectRequest, Source, Taken};
use crate::LayerfsError;
use crate::stat::Kind;
use crate::view::Found;
use cooper_image::RelPath;
use std::collections::{HashMap, HashSet};

/// The items below `root`, sorted by path.
pub(super) fn walk(
    request: &SelectRequest<'_>,
    root: &RelPath,
    taken: Option<&Taken<'_>>,
) -> Result<Vec<Item>, LayerfsError> {
    let mut items = Vec::new();
    // Directories which stay only when something below them does.
    let mut open: HashSet<RelPath> = HashSet::new();
    let mut pending = vec![root.clone()];
    while let Some(dir) = pending.pop() {
        for (name, found) in request.view.children(&dir)? {
            let path = dir.join(&name);
            let is_dir = found.meta.kind == Kind::Dir;
            let verdict = judge(request, root, taken, &path);
            match verdict {
                Verdict::Goes => {}
                Verdict::Hidden | Verdict::LeftOut if is_dir => {
                    open.insert(path.clone());
                }
                _ => continue,
            }
            if is_dir {
                pending.push(path.clone());
            }
            let part = if verdict == Verdict::LeftOut { Part::Way } else { Part::Chosen };
            items.extend(admit(request, path, found)?.map(|item| Item { part, ..item }));
        }
    }
    if !open.is_empty() {
        drop_empty(&mut items, &open);
    }
    items.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(items)
}

/// What the ignore file and the rules say of a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Goes,
    /// The ignore file hides it, but perhaps not all below it.
    Hidden,
    /// The rules leave it out, but perhaps not all below it.
    LeftOut,
    /// Neither it goes nor anything below it.
    Never,
}

fn judge(request: &SelectRequest<'_>, root: &RelPath, taken: Option<&Taken<'_>>, path: &RelPath) -> Verdict {
    let mut verdict = Verdict::Goes;
    if (request.ignored)(path) {
        if !(request.may_hold_included)(path) {
            return Verdict::Never;
        }
        verdict = Verdict::Hidden;
    }
    let out = request.rules.excluded.map(|rule| (rule, true));
    let into = taken.and_then(|t| t.rule).map(|rule| (rule, false));
    for (rule, leaves_out) in out.into_iter().chain(into) {
        let tail = path.strip_prefix(root).unwrap_or_default();
        if rule.matches(&tail) == leaves_out {
            if !rule.differs_below(&tail) {
                return Verdict::Never;
            }
            verdict = Verdict::LeftOut;
        }
    }
    verdict
}

/// An item with everything but a file's content; `None` for a socket, which nothing can copy.
pub(super) fn admit(request: &SelectRequest<'_>, path: RelPath, found: Found) -> Result<Option<Item>, LayerfsError> {
    let mut item = Item::new(path, found);
    let from_context = request.ownership == Ownership::Zero;
    let refused = |item: &Item, kind| Err(LayerfsError::UnsupportedKind { path: item.path.display(), kind });
    match found.meta.kind {
        Kind::File => {}
        Kind::Dir => item.xattrs = request.view.xattrs(&item.path)?,
        Kind::Symlink => item.content = Content::Target(request.view.read_link(&item.path)?),
        Kind::Socket => {
            tracing::warn!(path = %item.path.display(), "a socket is not copied");
            return Ok(None);
        }
        Kind::Char | Kind::Block if from_context => return refused(&item, "a device"),
        Kind::Fifo if from_context => return refused(&item, "a named pipe"),
        Kind::Char | Kind::Block | Kind::Fifo => {}
    }
    Ok(Some(item))
}

/// Drops directories that do not go themselves and below which nothing is left.
fn drop_empty(items: &mut Vec<Item>, hidden: &HashSet<RelPath>) {
    let mut needed: HashSet<RelPath> = HashSet::new();
    for item in items.iter().filter(|i| !hidden.contains(&i.path)) {
        let mut above = item.path.parent();
        while let Some(dir) = above {
            above = dir.parent();
            if !needed.insert(dir) {
                break;
            }
        }
    }
    items.retain(|item| !hidden.contains(&item.path) || needed.contains(&item.path));
}

/// After hashing: numbers the hard links and forgets owners that do not count.
pub(super) fn settle(source: &mut Source, ownership: Ownership) {
    let mut names: HashMap<(usize, u64, u64), u32> = HashMap::new();
    let linked = |item: &Item| item.meta.kind == Kind::File && item.meta.nlink > 1;
    let key = |item: &Item| (item.layer, item.meta.dev, item.meta.ino);
    for item in source.items.iter().filter(|i| linked(i)) {
        *names.entry(key(item)).or_default() += 1;
    }
    let mut groups: HashMap<(usize, u64, u64), u32> = HashMap::new();
    for item in &mut source.items {
        if linked(item) && names.get(&key(item)).is_some_and(|count| *count > 1) {
            let next = u32::try_from(groups.len()).unwrap_or(u32::MAX);
            item.group = Some(*groups.entry(key(item)).or_insert(next));
        }
        if ownership == Ownership::Zero {
            (item.meta.uid, item.meta.gid) = (0, 0);
        }
    }
}
