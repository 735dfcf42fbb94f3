//! What a COPY or ADD takes: patterns matched, the tree below them walked, contents hashed.
//!
//! Takes: a view of the source, patterns, and the ignore rules as closures. Gives: a [`Selection`] whose
//! digest covers everything that will be copied and nothing else, and from which `copy` packs.
//! Must never: read a file that is not selected, or follow a link that was found inside a directory.
//!
//! | part of a selected file | in the digest |
//! |---|---|
//! | name relative to what was named, kind, mode, uid, gid, size, link target, device number | yes |
//! | extended attributes that travel, content, which names are hard links of each other | yes |
//! | time, inode number, the path to what was named, the name of a directory that was named | no |

mod digest;
mod hash;
mod pattern;
mod single;
mod tree;

use crate::LayerfsError;
use crate::stat::Meta;
use crate::view::{Found, View};
use crate::walk::Xattrs;
use cooper_image::{Digest, RelPath};
use std::collections::BTreeMap;

pub(crate) use hash::{Reader, is_gone};
pub use single::{Presented, single_file};

/// Whose files the selected ones are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// Owner and group are 0, whoever owns the files: a build context.
    Zero,
    /// Owner and group are kept: a stage or an image.
    Keep,
}

/// What to select.
#[derive(Clone, Copy)]
pub struct SelectRequest<'a> {
    /// Where.
    pub view: &'a View,
    /// Paths and globs below the root of the view, in the order of the instruction.
    pub patterns: &'a [String],
    /// Is a path hidden by the ignore file?
    pub ignored: &'a (dyn Fn(&RelPath) -> bool + Sync),
    /// Can something below a hidden directory be re-included?
    pub may_hold_included: &'a (dyn Fn(&RelPath) -> bool + Sync),
    /// Does a glob match a name? Pattern first.
    pub glob: &'a (dyn Fn(&[u8], &[u8]) -> bool + Sync),
    /// Whose the files are.
    pub ownership: Ownership,
    /// What of the named directories does not go.
    pub rules: Rules<'a>,
}

/// Judges paths below a directory that was named, relative to it.
pub trait Rule: Sync {
    /// Does it match the path, or a directory above it?
    fn matches(&self, path: &RelPath) -> bool;
    /// Can it judge anything below a directory otherwise than the directory? May say yes in vain, never no in vain.
    fn differs_below(&self, dir: &RelPath) -> bool;
}

/// `--exclude` and `--parents`. A directory that does not go itself, but has something below it that does, is there
/// on the way to it.
#[derive(Clone, Copy, Default)]
pub struct Rules<'a> {
    /// What does not go. A file that is named directly, or matched, is judged by its name.
    pub excluded: Option<&'a dyn Rule>,
    /// One for each pattern: what is taken below the directories that it names. Empty when everything is.
    pub taken: &'a [Taken<'a>],
}

/// What is taken below the directories that one pattern names.
#[derive(Clone, Copy)]
pub struct Taken<'a> {
    /// `None` takes everything.
    pub rule: Option<&'a dyn Rule>,
    /// The rule's text: without wildcards, it has to be there.
    pub kept: &'a str,
}

/// What was selected.
#[derive(Debug, Clone)]
pub struct Selection {
    /// The identity of everything that was selected.
    pub digest: Digest,
    pub(crate) sources: Vec<Source>,
}

/// One file or directory that was named, or that a glob matched.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// Its last component as named; empty for the root.
    pub name: Vec<u8>,
    /// Where it really is.
    pub path: RelPath,
    /// File or directory?
    pub shape: Shape,
    /// The file, or everything below the directory without itself, sorted by path.
    pub items: Vec<Item>,
}

/// What was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Everything but a directory: goes by its name.
    Single,
    /// A directory: its contents go.
    Contents,
}

/// One selected file system object.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// Where it is in the view.
    pub path: RelPath,
    /// The layer that holds it.
    pub layer: usize,
    /// Its metadata; owner and group are 0 for a context.
    pub meta: Meta,
    /// Its attributes.
    pub xattrs: Xattrs,
    /// Its content.
    pub content: Content,
    /// Names of one source with the same number are one file.
    pub group: Option<u32>,
    /// Is it there because of something else?
    pub part: Part,
}

/// Why an object is among the selected ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// It was chosen.
    Chosen,
    /// A directory that the rules leave out, on the way to something that they do not.
    Way,
}

/// BLAKE3 of a file's content: no other tool has to agree with it, and it takes a third of the time of SHA-256.
pub(crate) type Sum = [u8; 32];

/// What an object holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// Nothing, or what the metadata says: a directory, a device, a pipe.
    Nothing,
    /// A file's bytes.
    Bytes(Sum),
    /// A symbolic link's target.
    Target(Vec<u8>),
}

impl Item {
    fn new(path: RelPath, found: Found) -> Self {
        let Found { meta, layer } = found;
        Self { path, layer, meta, xattrs: Xattrs::new(), content: Content::Nothing, group: None, part: Part::Chosen }
    }
}

impl Selection {
    /// Every selected path with a short digest, mode and owner of its own, so that a later change can be told by name.
    /// `None` when there are more than `most`.
    pub fn files(&self, most: usize) -> Option<BTreeMap<String, String>> {
        digest::files(&self.sources, most)
    }

    /// Everything in a view, as if its root had been named; owners are kept and nothing is ignored.
    ///
    /// # Errors
    /// As [`select`].
    pub fn whole_directory(view: &View) -> Result<Self, LayerfsError> {
        select(&SelectRequest {
            view,
            patterns: &["/".to_owned()],
            ignored: &|_| false,
            may_hold_included: &|_| true,
            glob: &|_, _| false,
            ownership: Ownership::Keep,
            rules: Rules::default(),
        })
    }
}

/// Selects and hashes. A pattern without wildcards has to exist; one with wildcards may match nothing.
/// What is named directly, or matched by a wildcard, is followed when it is a symbolic link.
///
/// # Errors
/// [`LayerfsError::MissingSource`] and [`LayerfsError::IgnoredSource`] name the pattern;
/// [`LayerfsError::UnsupportedKind`] for devices and pipes in a context; [`LayerfsError::Changed`] when a
/// file does not hold still; [`LayerfsError::Io`] with the path.
pub fn select(request: &SelectRequest<'_>) -> Result<Selection, LayerfsError> {
    let mut sources = Vec::new();
    for (at, pattern) in request.patterns.iter().enumerate() {
        pattern::expand(request, pattern, request.rules.taken.get(at), &mut sources)?;
    }
    hash::fill(request.view, &mut sources)?;
    for source in &mut sources {
        tree::settle(source, request.ownership);
    }
    let digest = digest::of(&sources);
    tracing::debug!(%digest, sources = sources.len(), "selected");
    Ok(Selection { digest, sources })
}
