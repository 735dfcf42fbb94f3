//! Short names and what they stand for: the `[aliases]` of containers-registries.conf(5).
//!
//! Takes the table, and names as people wrote them; gives names with a host. Must never be asked for a name that was
//! read from an archive, the store or a registry: that is Docker Hub's, on every machine.

use crate::Reference;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A table that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AliasError {
    /// Left of the equals sign stands what no name without a host can be.
    #[error("the alias {0:?} is no name without host, tag and digest")]
    Name(String),
    /// Right of it stands what could mean several things, or one image only.
    #[error("the alias {name:?} stands for {target:?}, which is no HOST/REPOSITORY without tag and digest")]
    Target {
        /// Left of the equals sign.
        name: String,
        /// Right of it.
        target: String,
    },
}

/// The table. A name that stands for nothing is one that an earlier file gave and a later one took away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>")]
pub struct Aliases(BTreeMap<String, Option<Reference>>);

impl Aliases {
    /// This table with a later one laid over it.
    pub fn overlaid(mut self, later: Self) -> Self {
        self.0.extend(later.0);
        self
    }

    /// What a name stands for; itself when it has a host, or when no alias is of that name. A target has a host, so
    /// that none leads to another.
    pub fn follow(&self, name: Reference) -> Reference {
        match name.short().and_then(|short| self.0.get(short)) {
            Some(Some(target)) => name.led_to(target),
            Some(None) | None => name,
        }
    }
}

impl TryFrom<BTreeMap<String, String>> for Aliases {
    type Error = AliasError;
    fn try_from(table: BTreeMap<String, String>) -> Result<Self, AliasError> {
        let checked = table.into_iter().map(|(name, target)| {
            if !name.parse::<Reference>().is_ok_and(|read| read.short() == Some(&name)) {
                return Err(AliasError::Name(name));
            }
            if target.is_empty() {
                return Ok((name, None));
            }
            let read = target.parse::<Reference>().ok();
            match read.filter(|r| r.short().is_none() && r.tag().is_none() && r.digest().is_none()) {
                Some(read) => Ok((name, Some(read))),
                None => Err(AliasError::Target { name, target }),
            }
        });
        checked.collect::<Result<_, _>>().map(Self)
    }
}
