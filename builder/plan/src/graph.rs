//! The graph of stages: what each one begins with and copies from.
//!
//! Takes nodes by their number in the file; gives them pruned and in an order in which each comes after what it uses.
//! A stage can only use earlier ones, so the file's order is such an order and no cycle can exist; the constructor
//! checks it.

use crate::context::ContextName;
use cooper_dockerfile::instruction::{Instruction, Located};
use cooper_image::{Platform, Reference};
use std::collections::BTreeMap;

/// Where files come from, with stages by their number in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nothing.
    Scratch,
    /// An earlier stage.
    Stage(usize),
    /// An image.
    Image(Reference),
    /// The image in a named context's OCI layout.
    Layout(ContextName),
    /// The files of a named context.
    Files(ContextName),
}

/// One instruction of a stage, its own or a trigger's.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// The instruction. A trigger has the place of the ONBUILD, or of the FROM when it comes from an image.
    pub instruction: Located<Instruction>,
    /// What escapes in its words.
    pub escape: char,
    /// `--from`, looked up.
    pub from: Option<Origin>,
    /// `from` of each `--mount`, looked up.
    pub mounts: Vec<Option<Origin>>,
}

/// One stage that takes part.
#[derive(Debug)]
pub(crate) struct Node {
    /// What it begins with.
    pub base: Origin,
    /// `FROM --platform`, if it was given.
    pub platform: Option<Platform>,
    /// Is something wrong with its FROM? Then it begins with nothing, and what its base brings is not known.
    pub lost: bool,
    /// How many of the items are triggers of the base.
    pub triggers: usize,
    /// Triggers of the base, then its own instructions.
    pub items: Vec<Item>,
}

impl Node {
    /// Stages that it needs.
    pub(crate) fn uses(&self) -> impl Iterator<Item = usize> {
        let copied = self.items.iter().flat_map(|i| i.from.iter().chain(i.mounts.iter().flatten()));
        std::iter::once(&self.base).chain(copied).filter_map(|o| match o {
            Origin::Stage(n) => Some(*n),
            Origin::Scratch | Origin::Image(_) | Origin::Layout(_) | Origin::Files(_) => None,
        })
    }
}

/// Only what the target needs, by number in the file; iterates in dependency order.
#[derive(Debug)]
pub(crate) struct Graph(BTreeMap<usize, Node>);

impl Graph {
    /// Keeps what `target` needs. `None` when a node is missing or uses itself or a later one.
    pub(crate) fn new(mut nodes: BTreeMap<usize, Node>, target: usize) -> Option<Self> {
        let mut kept = BTreeMap::new();
        let mut open = vec![target];
        while let Some(n) = open.pop() {
            if kept.contains_key(&n) {
                continue;
            }
            let node = nodes.remove(&n)?;
            for used in node.uses() {
                if used >= n {
                    return None;
                }
                open.push(used);
            }
            kept.insert(n, node);
        }
        Some(Self(kept))
    }
    /// The stages, each after those it uses; the target is the last.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = (usize, &Node)> {
        self.0.iter().map(|(n, node)| (*n, node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(base: Origin) -> Node {
        Node { base, platform: None, lost: false, triggers: 0, items: Vec::new() }
    }

    #[test]
    fn keeps_ancestors_in_order_and_refuses_cycles() {
        let file = |edges: &[(usize, Option<usize>)]| {
            let base = |b: Option<usize>| b.map_or(Origin::Scratch, Origin::Stage);
            edges.iter().map(|(n, b)| (*n, node(base(*b)))).collect::<BTreeMap<_, _>>()
        };
        let order = |g: Option<Graph>| g.map(|g| g.in_order().map(|(n, _)| n).collect::<Vec<_>>());
        let chain = [(0, None), (1, None), (2, Some(0)), (3, Some(2))];
        assert_eq!(order(Graph::new(file(&chain), 3)), Some(vec![0, 2, 3]));
        assert_eq!(order(Graph::new(file(&chain), 1)), Some(vec![1]));
        assert_eq!(order(Graph::new(file(&[(0, Some(1)), (1, Some(0))]), 1)), None);
        assert_eq!(order(Graph::new(file(&[(1, Some(1))]), 1)), None);
        assert_eq!(order(Graph::new(file(&[(1, Some(0))]), 1)), None);
    }
}
