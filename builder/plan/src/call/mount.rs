//! What RUN mounts of secrets, agents and caches, as far as an outline tells it.
//!
//! Takes the value of `--mount` and the variables that are known. Must never judge it: that is planning's work.

use crate::lower::mount::{agent_id, cache_name, secret_id};
use cooper_dockerfile::instruction::Span;
use cooper_dockerfile::mount::{self, MountType};

/// A mount that asks the builder for something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mount {
    Secret { id: String, required: bool },
    Ssh { id: String, required: bool },
    Cache { id: String },
}

/// Reads `type=secret,id=x,required`. Nothing is given for other types, and for what is malformed. A name whose
/// variables are not known is given as written.
pub(super) fn read(text: &str, escape: char, lookup: &dyn Fn(&str) -> Option<String>) -> Option<Mount> {
    let mut options = mount::known(text, escape, lookup)?;
    let fields = mount::split(text).ok()?;
    let written = |key: &str| fields.iter().rev().find(|f| f.key == key).and_then(|f| f.value.clone());
    options.id = options.id.or_else(|| written("id")).filter(|id| !id.is_empty());
    let required = options.required;
    match options.kind {
        MountType::Secret => Some(Mount::Secret { id: secret_id(&options, Span::default()).ok()?, required }),
        MountType::Ssh => Some(Mount::Ssh { id: agent_id(&options), required }),
        MountType::Cache => Some(Mount::Cache { id: cache_name(&options) }),
        MountType::Bind | MountType::Tmpfs => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Mount, read};

    #[test]
    fn mounts_that_ask_for_something() {
        let secret = |id: &str, required| Some(Mount::Secret { id: id.to_owned(), required });
        let ssh = |id: &str, required| Some(Mount::Ssh { id: id.to_owned(), required });
        let cache = |id: &str| Some(Mount::Cache { id: id.to_owned() });
        for (text, mount) in [
            ("type=secret,id=a,required", secret("a", true)),
            ("type=secret,target=/run/b,required=false", secret("b", false)),
            ("TYPE=Secret,ID=a,required=T", secret("a", true)),
            ("type=secret,src=a,dst=/run/b", secret("a", false)),
            ("\"type=secret\",\"id=a,b\"", secret("a,b", false)),
            ("type=secret,id=$KNOWN", secret("value", false)),
            ("type=secret,id=$OTHER", secret("$OTHER", false)),
            ("type=ssh", ssh("default", false)),
            ("type=ssh,id=k,required=1", ssh("k", true)),
            ("type=cache,target=/c/../d/", cache("/d")),
            ("type=cache,id=k,target=/c", cache("k")),
            ("type=bind,target=/b", None),
            ("target=/b", None),
            ("type=secret", None),
            ("type=secret,id=a,nonsense", None),
        ] {
            let lookup = |name: &str| (name == "KNOWN").then(|| "value".to_owned());
            assert_eq!(read(text, '\\', &lookup), mount, "{text}");
        }
    }
}
