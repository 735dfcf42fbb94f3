//! Which stages use which: by FROM, by `--from`, by mounts.

use super::View;
use super::from::Base;
use crate::stage;
use cooper_dockerfile::ast::Node;
use cooper_dockerfile::instruction::Span;
use std::collections::BTreeSet;

/// The stages that each stage uses, all of them earlier ones.
pub(super) fn edges(view: View<'_>, bases: &[Base]) -> Vec<BTreeSet<usize>> {
    let mut edges: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); bases.len()];
    for (index, base) in bases.iter().enumerate() {
        let mut used: BTreeSet<usize> = BTreeSet::new();
        if let Base::Stage(n) = base {
            used.insert(*n);
            // What the base's triggers copy from, this stage needs.
            for node in view.nodes.get(*n).into_iter().flatten().filter(|n| n.keyword == "ONBUILD") {
                used.extend(words(&node.args).filter_map(|name| found(view, name, index)));
            }
        }
        for node in view.nodes.get(index).into_iter().flatten() {
            used.extend(named(node).filter_map(|name| found(view, name, index)));
        }
        if let Some(edge) = edges.get_mut(index) {
            *edge = used;
        }
    }
    edges
}

fn found(view: View<'_>, name: &str, asking: usize) -> Option<usize> {
    stage::copied_from(view.file, ("--from=", name), asking, Span::default()).ok().flatten()
}

/// What an instruction's flags name as a source.
fn named(node: &Node) -> impl Iterator<Item = &str> {
    node.flags.iter().flat_map(|flag| {
        let value = flag.value.as_deref().unwrap_or_default();
        match flag.name.as_str() {
            "from" => vec![value],
            "mount" => value.split(',').filter_map(|part| part.trim().strip_prefix("from=")).collect(),
            _ => Vec::new(),
        }
    })
}

/// The same in a trigger's text.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || c == ',').filter_map(|w| w.trim_start_matches("--").strip_prefix("from="))
}

/// Everything that some stages need, themselves included.
pub(super) fn needed(edges: &[BTreeSet<usize>], roots: impl IntoIterator<Item = usize>) -> BTreeSet<usize> {
    let mut open: Vec<usize> = roots.into_iter().collect();
    let mut seen = BTreeSet::new();
    while let Some(stage) = open.pop() {
        if seen.insert(stage) {
            open.extend(edges.get(stage).into_iter().flatten());
        }
    }
    seen
}
