//! A plan as a graph in the language of Graphviz: `cooper plan --dot . | dot -Tsvg`.
//!
//! Takes a plan; gives text. One box for each stage's FROM and for each step that makes a layer; what only edits the
//! configuration is left out. Whole lines lead from layers to what is made upon them, dashed ones from where files
//! are copied. Must never: let text of a Dockerfile leave its quotes.

use crate::op::{AddSource, Base, Op, Plan, Stage};
use std::collections::BTreeSet;

/// Longest text in a box, in characters.
const LABEL: usize = 60;

/// The text.
pub fn dot(plan: &Plan) -> String {
    let tops: Vec<String> = plan.stages.iter().enumerate().map(|(n, s)| node(n, steps(s).count())).collect();
    let mut out = "digraph plan {\n  rankdir=LR;\n  node [shape=box];\n".to_owned();
    let (mut edges, mut sources) = (Vec::new(), BTreeSet::new());
    for (number, stage) in plan.stages.iter().enumerate() {
        let name = quoted(&format!("{} {}", stage.label, stage.platform));
        out.push_str(&format!("  subgraph cluster_{number} {{\n    label={name};\n"));
        out.push_str(&format!("    {} [label={}];\n", node(number, 0), quoted(&stage.text)));
        if let Some(from) = source(Some(&stage.base), &tops, &mut sources) {
            edges.push(format!("  {from} -> {};\n", node(number, 0)));
        }
        for (i, step) in steps(stage).enumerate() {
            let to = node(number, i + 1);
            out.push_str(&format!("    {to} [label={}];\n", quoted(&step.text)));
            edges.push(format!("  {} -> {to};\n", node(number, i)));
            for from in copied_from(&step.op, &tops, &mut sources) {
                edges.push(format!("  {from} -> {to} [style=dashed];\n"));
            }
        }
        out.push_str("  }\n");
    }
    sources.iter().for_each(|s| out.push_str(&format!("  {s} [shape=ellipse];\n")));
    edges.iter().for_each(|e| out.push_str(e));
    out + "}\n"
}

/// The nodes that a step copies from.
fn copied_from(op: &Op, tops: &[String], sources: &mut BTreeSet<String>) -> Vec<String> {
    match op {
        Op::Copy(copy) if !copy.sources.is_empty() => source(copy.from.as_ref(), tops, sources).into_iter().collect(),
        Op::Fetch(fetch) => {
            let nodes: BTreeSet<String> = fetch
                .sources
                .iter()
                .filter_map(|s| match s {
                    AddSource::Local(_) => source(None, tops, sources),
                    AddSource::Http { source, .. } => Some(quoted(&source.shown())),
                    AddSource::Git { source, .. } => Some(quoted(&source.shown())),
                })
                .collect();
            sources.extend(nodes.iter().cloned());
            nodes.into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// The steps that make layers.
fn steps(stage: &Stage) -> impl Iterator<Item = &crate::op::Step> {
    stage.steps.iter().filter(|s| !matches!(s.op, Op::Edit(_)))
}

fn node(stage: usize, step: usize) -> String {
    format!("s{stage}_{step}")
}

/// The node that files come from; nothing for an empty root.
fn source(from: Option<&Base>, tops: &[String], sources: &mut BTreeSet<String>) -> Option<String> {
    let name = match from {
        Some(Base::Scratch) => return None,
        Some(Base::Stage(id)) => return tops.get(id.0).cloned(),
        Some(Base::Image(reference)) => quoted(&reference.familiar()),
        Some(Base::Layout(name) | Base::Files(name)) => quoted(&format!("context {name}")),
        None => quoted("build context"),
    };
    sources.insert(name.clone());
    Some(name)
}

fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(LABEL).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(LABEL).is_some() {
        shown.push('…');
    }
    format!("\"{}\"", shown.replace('\\', "\\\\").replace('"', "\\\""))
}
