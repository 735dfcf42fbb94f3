//! What RUN mounts of secrets, agents and caches, as far as an outline tells it.
//!
//! Takes the value of `--mount` as written. Must never judge it: that is planning's work.

/// A mount that asks the builder for something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mount {
    Secret { id: String, required: bool },
    Ssh { id: String, required: bool },
    Cache { id: String },
}

/// Reads `type=secret,id=x,required`. Nothing is given for other types, and for a secret or cache without a name.
pub(super) fn read(text: &str) -> Option<Mount> {
    let parts: Vec<(&str, &str)> = text
        .split(',')
        .map(|part| part.split_once('=').map_or((part.trim(), ""), |(k, v)| (k.trim(), v.trim())))
        .collect();
    let value = |names: &[&str]| parts.iter().find(|(k, _)| names.contains(k)).map(|(_, v)| (*v).to_owned());
    let required = parts.iter().any(|(k, v)| *k == "required" && matches!(*v, "" | "true" | "1"));
    let target = || value(&["target", "dst", "destination"]);
    let file = |path: String| path.rsplit('/').next().unwrap_or_default().to_owned();
    match value(&["type"])?.as_str() {
        // As in BuildKit: without an id, a secret is called as the file that it appears as.
        "secret" => Some(Mount::Secret { id: value(&["id"]).or_else(|| target().map(file))?, required }),
        "ssh" => Some(Mount::Ssh { id: value(&["id"]).unwrap_or_else(|| "default".to_owned()), required }),
        "cache" => Some(Mount::Cache { id: value(&["id"]).or_else(target)? }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Mount, read};

    #[test]
    fn mounts_that_ask_for_something() {
        let secret = |id: &str, required| Some(Mount::Secret { id: id.to_owned(), required });
        for (text, mount) in [
            ("type=secret,id=a,required", secret("a", true)),
            ("type=secret,target=/run/b,required=false", secret("b", false)),
            ("type=ssh", Some(Mount::Ssh { id: "default".to_owned(), required: false })),
            ("type=cache,target=/c", Some(Mount::Cache { id: "/c".to_owned() })),
            ("type=cache,id=k,target=/c", Some(Mount::Cache { id: "k".to_owned() })),
            ("type=bind,target=/b", None),
            ("target=/b", None),
            ("type=secret", None),
        ] {
            assert_eq!(read(text), mount, "{text}");
        }
    }
}
