//! Which stages use which: by FROM, by `--from`, by mounts. A stage that a named context takes the place of uses none.

use super::View;
use super::from::Base;
use crate::stage;
use cooper_dockerfile::ast::Node;
use cooper_dockerfile::instruction::Span;
use cooper_dockerfile::mount;
use std::collections::{BTreeSet, HashMap};

/// The stages that each stage uses, all of them earlier ones.
pub(super) fn edges(view: View<'_>, bases: &[Base], replaced: &BTreeSet<usize>) -> Vec<BTreeSet<usize>> {
    let mut edges: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); bases.len()];
    // What the triggers of a stage name. Many stages may begin with one.
    let mut triggered: HashMap<usize, BTreeSet<String>> = HashMap::new();
    for (index, base) in bases.iter().enumerate().filter(|(index, _)| !replaced.contains(index)) {
        let mut used: BTreeSet<usize> = BTreeSet::new();
        if let Base::Stage(n) = base {
            used.insert(*n);
            // What the base's triggers copy from, this stage needs.
            let names = triggered.entry(*n).or_insert_with(|| {
                let triggers = view.nodes.get(*n).into_iter().flatten().filter(|node| node.keyword == "ONBUILD");
                triggers.flat_map(|node| words(&node.args)).collect()
            });
            used.extend(names.iter().filter_map(|name| found(view, name, index)));
        }
        for node in view.nodes.get(index).into_iter().flatten() {
            used.extend(named(node).filter_map(|name| found(view, &name, index)));
        }
        if let Some(edge) = edges.get_mut(index) {
            *edge = used;
        }
    }
    edges
}

fn found(view: View<'_>, name: &str, asking: usize) -> Option<usize> {
    let request = view.subject.request;
    if request.contexts.find(name, &request.platform).is_some() {
        return None;
    }
    stage::copied_from(view.file, ("--from=", name), asking, Span::default()).ok().flatten()
}

/// What an instruction's flags name as a source.
fn named(node: &Node) -> impl Iterator<Item = String> {
    node.flags.iter().filter_map(|flag| {
        let value = flag.value.as_deref().unwrap_or_default();
        match flag.name.as_str() {
            "from" => Some(value.to_owned()),
            "mount" => mount::from(&mount::split(value).ok()?).map(str::to_owned),
            _ => None,
        }
    })
}

/// The same in a trigger's text.
fn words(text: &str) -> Vec<String> {
    cooper_dockerfile::tree(text).nodes.iter().flat_map(named).collect()
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
