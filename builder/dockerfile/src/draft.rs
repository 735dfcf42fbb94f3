//! A file with errors as far as it can be read: what is looked at further, so that all its errors are told at once.
//!
//! Takes the tree; holds the instructions that are sound and what those that are not may have done. Must never be built:
//! it is for finding errors, and what rests on something unread is none.

use crate::ast::Node;
use crate::instruction::Dockerfile;
use crate::words;

/// What could be read of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Every sound instruction. A FROM that is not sound begins a stage upon nothing.
    pub file: Dockerfile,
    /// What was left out of it, in the order of the file.
    pub unread: Vec<Unread>,
    /// May there be stages whose names are not known?
    pub cut: bool,
}

/// An instruction that was left out, and told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// The stage that it stands in, from 0; before the first FROM there is none.
    pub stage: Option<usize>,
    /// How many of the stage's sound instructions stand before it.
    pub behind: usize,
    /// What it may have done.
    pub effect: Effect,
}

/// What an instruction may have done to those that follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Set these variables.
    Variables(Vec<String>),
    /// Set any variable.
    AnyVariable,
    /// Changed the working directory.
    Directory,
    /// Begun the stage.
    Base,
}

impl Draft {
    /// A file of which nothing is unread.
    pub fn whole(file: Dockerfile) -> Self {
        Self { file, unread: Vec::new(), cut: false }
    }
}

/// What an instruction may have done that cannot be read; `None` when others do not ask for it.
pub(crate) fn effect(node: &Node, known: bool, escape: char) -> Option<Effect> {
    match node.keyword.as_str() {
        "ENV" | "ARG" => Some(variables(&node.args, escape, true)),
        "WORKDIR" => Some(Effect::Directory),
        // A trigger may be any of them.
        "ONBUILD" => Some(Effect::AnyVariable),
        _ if known => None,
        // A mistyped ENV, or a line that belongs to the ENV before it.
        _ => Some(variables(&node.joined, escape, false)).filter(|e| *e != Effect::Variables(Vec::new())),
    }
}

/// The names in front of `=`; `alone` when a word without it is a name, too.
fn variables(text: &str, escape: char, alone: bool) -> Effect {
    let mut names = Vec::new();
    for word in words::split(text, escape) {
        let name = match word.equals {
            Some(at) => word.text.get(..at).unwrap_or_default(),
            None if alone => word.text,
            None => continue,
        };
        if name.chars().all(|c| c.is_alphanumeric() || c == '_') {
            names.push(name.to_owned());
        } else if name.contains('$') {
            return Effect::AnyVariable;
        }
    }
    Effect::Variables(names)
}
