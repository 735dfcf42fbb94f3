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
use std::sync::{Condvar, Mutex, PoisonError};

/// Directories that are walked before other threads are called: most contexts have fewer.
const ALONE: usize = 64;
/// Most threads.
const THREADS: usize = 8;

/// The items below `root`, sorted by path.
pub(super) fn walk(
    request: &SelectRequest<'_>,
    root: &RelPath,
    taken: Option<&Taken<'_>>,
) -> Result<Vec<Item>, LayerfsError> {
    let walker = Walker { request, root, taken };
    let mut found = Walked { pending: vec![root.clone()], ..Walked::default() };
    for _ in 0..ALONE {
        let Some(dir) = found.pending.pop() else { break };
        walker.enter(&dir, &mut found)?;
    }
    if !found.pending.is_empty() {
        walker.spread(&mut found)?;
    }
    if !found.open.is_empty() {
        drop_empty(&mut found.items, &found.open);
    }
    found.items.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found.items)
}

/// What a walk has come to.
#[derive(Default)]
struct Walked {
    items: Vec<Item>,
    /// Directories which stay only when something below them does.
    open: HashSet<RelPath>,
    /// Directories that are still to be entered.
    pending: Vec<RelPath>,
}

/// Directories that wait, and how many threads may find more.
struct Waiting {
    dirs: Vec<RelPath>,
    busy: usize,
    failed: bool,
}

/// When a thread dies, the others stop waiting for what it might have found.
struct EndsWaiting<'a>(&'a Mutex<Waiting>, &'a Condvar);

impl Drop for EndsWaiting<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).failed = true;
            self.1.notify_all();
        }
    }
}

struct Walker<'a> {
    request: &'a SelectRequest<'a>,
    root: &'a RelPath,
    taken: Option<&'a Taken<'a>>,
}

impl Walker<'_> {
    /// Judges everything that is directly in a directory.
    fn enter(&self, dir: &RelPath, found: &mut Walked) -> Result<(), LayerfsError> {
        for (name, child) in self.request.view.children(dir)? {
            let path = dir.join(&name);
            let is_dir = child.meta.kind == Kind::Dir;
            let verdict = judge(self.request, self.root, self.taken, &path);
            match verdict {
                Verdict::Goes => {}
                Verdict::Hidden | Verdict::LeftOut if is_dir => {
                    found.open.insert(path.clone());
                }
                _ => continue,
            }
            if is_dir {
                found.pending.push(path.clone());
            }
            let part = if verdict == Verdict::LeftOut { Part::Way } else { Part::Chosen };
            found.items.extend(admit(self.request, path, child)?.map(|item| Item { part, ..item }));
        }
        Ok(())
    }

    /// Enters what is pending, and all below it, with several threads. The first failure ends them all.
    fn spread(&self, found: &mut Walked) -> Result<(), LayerfsError> {
        let waiting = Waiting { dirs: std::mem::take(&mut found.pending), busy: 0, failed: false };
        let (waiting, changed) = (Mutex::new(waiting), Condvar::new());
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS);
        let mut outcome = Ok(());
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(|| self.work(&waiting, &changed))).collect();
            for thread in threads {
                let done = thread.join();
                let died = |_| Err(LayerfsError::io("walking the files")(std::io::ErrorKind::Other.into()));
                match done.unwrap_or_else(died) {
                    Ok(part) => {
                        found.items.extend(part.items);
                        found.open.extend(part.open);
                    }
                    Err(e) => outcome = Err(e),
                }
            }
        });
        outcome
    }

    fn work(&self, waiting: &Mutex<Waiting>, changed: &Condvar) -> Result<Walked, LayerfsError> {
        let mut found = Walked::default();
        let mut state = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if state.failed || (state.dirs.is_empty() && state.busy == 0) {
                changed.notify_all();
                return Ok(found);
            }
            let Some(dir) = state.dirs.pop() else {
                state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.busy += 1;
            drop(state);
            let entered = {
                let _ends = EndsWaiting(waiting, changed);
                self.enter(&dir, &mut found)
            };
            state = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            state.busy -= 1;
            state.failed |= entered.is_err();
            state.dirs.append(&mut found.pending);
            changed.notify_all();
            entered?;
        }
    }
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
