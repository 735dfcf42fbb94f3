//! The identity of a selection. Its parts are the table at the head of this room's `mod.rs`.

use super::{Content, Item, Shape, Source};
use crate::stat::{Kind, Meta};
use cooper_image::Digest;
use cooper_image::stable_hash::StableHash;
use std::collections::BTreeMap;

/// Digits of a digest that only tells whether one file changed.
const SHORT: usize = 12;

/// The digest of sources in their order. Every part is named and has its length, so none runs into another.
pub(super) fn of(sources: &[Source]) -> Digest {
    let mut hash = StableHash::new("selection/2");
    for source in sources {
        match source.shape {
            Shape::Single => hash.part("file", &source.name),
            Shape::Contents => hash.part("contents", b""),
        };
        for item in &source.items {
            add(&mut hash, source, item, &item.meta);
        }
    }
    hash.finish()
}

/// The path of every item and what tells whether it changed: a short digest of all but mode and owner, the mode in
/// octal, the owner. `None` when there are more than `most`.
pub(super) fn files(sources: &[Source], most: usize) -> Option<BTreeMap<String, String>> {
    let items = || sources.iter().flat_map(|source| source.items.iter().map(move |item| (source, item)));
    if items().count() > most {
        return None;
    }
    let told = |source: &Source, item: &Item| {
        let mut hash = StableHash::new("selected file/3");
        let Meta { mode, uid, gid, .. } = item.meta;
        add(&mut hash, source, item, &Meta { mode: 0, uid: 0, gid: 0, ..item.meta });
        let short: String = hash.finish().hex().chars().take(SHORT).collect();
        format!("{short} {mode:o} {uid}:{gid}")
    };
    Some(items().map(|(source, item)| (item.path.display(), told(source, item))).collect())
}

fn add(hash: &mut StableHash, source: &Source, item: &Item, meta: &Meta) {
    hash.part("name", source.tail(item).as_bytes());
    hash.part("kind", kind(meta.kind));
    hash.part("mode", meta.mode.to_le_bytes());
    hash.part("uid", meta.uid.to_le_bytes());
    hash.part("gid", meta.gid.to_le_bytes());
    match meta.kind {
        Kind::File => hash.part("size", meta.size.to_le_bytes()),
        Kind::Char | Kind::Block => {
            hash.part("major", meta.rdev.major.to_le_bytes()).part("minor", meta.rdev.minor.to_le_bytes())
        }
        _ => hash,
    };
    for (name, value) in &item.xattrs {
        hash.part("xattr", name).part("value", value);
    }
    if let Some(group) = item.group {
        hash.part("link", group.to_le_bytes());
    }
    match &item.content {
        Content::Nothing => {}
        Content::Bytes(sum) => {
            hash.part("content", sum);
        }
        Content::Target(target) => {
            hash.part("target", target);
        }
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Dir => "dir",
        Kind::File => "file",
        Kind::Symlink => "symlink",
        Kind::Char => "char",
        Kind::Block => "block",
        Kind::Fifo => "fifo",
        Kind::Socket => "socket",
    }
}
