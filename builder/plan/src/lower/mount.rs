//! `RUN --mount`: options to what is mounted where.
//!
//! Takes the flag's fields and what its `from` names; gives mounts in the order in which they are made, a directory
//! before what is mounted inside it. Must never: expand `from`, or let a target hide the kernel's own directories.

use super::{Lowering, base};
use crate::fault;
use crate::graph::{Item, Origin};
use crate::mount::{Access, Cache, Mount, Mounted, Secret, Source};
use crate::support;
use cooper_dockerfile::diagnostic::Diagnostic;
use cooper_dockerfile::instruction::{Run, Span};
use cooper_dockerfile::mount::{self as options, Field, MountOptions, MountType};
use cooper_image::ContainerPath;

/// The build argument that sets the caches of one build apart from those of others.
const NAMESPACE: &str = "BUILDKIT_CACHE_MOUNT_NS";
/// Where secrets are put when the Dockerfile does not say.
const SECRETS: &str = "/run/secrets";
/// Where agents' sockets are put when the Dockerfile does not say; their number follows.
const AGENTS: &str = "/run/buildkit/ssh_agent.";
/// Which agent is meant when the Dockerfile does not say.
const DEFAULT_AGENT: &str = "default";

impl Lowering<'_> {
    /// The mounts, and the place of the first agent's socket for SSH_AUTH_SOCK.
    pub(super) fn mounts(&self, run: &Run, item: &Item) -> Result<(Vec<Mount>, Option<String>), Diagnostic> {
        let span = item.instruction.span;
        let (mut mounts, mut agents) = (Vec::new(), 0);
        for (i, flag) in run.mounts.iter().enumerate() {
            let options = self.options(flag, item.escape, span)?;
            let from = item.mounts.get(i).and_then(Option::as_ref);
            if options.kind == MountType::Ssh {
                agents += 1;
            }
            mounts.push(self.mount(options, from, agents, span)?);
        }
        let agent = mounts.iter().find(|m| matches!(m.what, Mounted::Ssh { .. }));
        let agent = agent.and_then(|m| m.target.as_ref()).map(ToString::to_string);
        // A directory comes before what lies in it; of equals the later one is on top.
        mounts.sort_by_cached_key(|m| m.target.as_ref().map(ToString::to_string));
        Ok((mounts, agent))
    }

    fn options(&self, flag: &str, escape: char, span: Span) -> Result<MountOptions, Diagnostic> {
        let expanded = |field: Field| -> Result<Field, Diagnostic> {
            let value = match field.value {
                Some(value) if field.key != "from" => Some(self.expand(&value, escape, span)?),
                other => other,
            };
            Ok(Field { value, ..field })
        };
        let fields = options::split(flag).map_err(|f| support::mounted(f, span))?;
        let fields = fields.into_iter().map(expanded).collect::<Result<Vec<_>, _>>()?;
        // What can be judged before expansion was told already, all at once.
        options::read(&fields, &|text| Some(text.to_owned()))
            .map_err(|mut faults| support::mounted(faults.swap_remove(0), span))
    }

    fn mount(
        &self,
        given: MountOptions,
        from: Option<&Origin>,
        agents: usize,
        span: Span,
    ) -> Result<Mount, Diagnostic> {
        let source = || Source {
            from: from.map(|o| base(o, self.ids)),
            path: ContainerPath::root().resolve(given.source.as_deref().unwrap_or_default().as_bytes()),
        };
        // The working directory, else.
        let mut fallback = None;
        let what = match given.kind {
            MountType::Bind => Mounted::Bind(source()),
            MountType::Cache => Mounted::Cache(Cache {
                id: self.cache_id(&given),
                sharing: given.sharing.unwrap_or_default(),
                seed: from.map(|_| source()),
                ownership: given.ownership,
            }),
            MountType::Tmpfs => Mounted::Tmpfs { bytes: given.size },
            MountType::Secret => {
                let id = secret_id(&given, span)?;
                fallback = Some(format!("{SECRETS}/{}", last_name(&id, span)?));
                Mounted::Secret(Secret {
                    id,
                    variable: given.env.clone(),
                    required: given.required,
                    ownership: given.ownership,
                })
            }
            MountType::Ssh => {
                fallback = Some(format!("{AGENTS}{}", agents.saturating_sub(1)));
                let id = agent_id(&given);
                Mounted::Ssh { id, required: given.required, ownership: given.ownership }
            }
        };
        let only_variable = given.env.is_some() && given.target.is_none();
        let target = if only_variable { None } else { Some(self.target(&given, fallback.as_deref(), span)?) };
        Ok(Mount { target, access: access(&given), what })
    }

    fn target(&self, given: &MountOptions, fallback: Option<&str>, span: Span) -> Result<ContainerPath, Diagnostic> {
        let written = given.target.as_deref().or(fallback).unwrap_or_default();
        let cwd = if written.starts_with('/') { &self.around.cwd } else { self.around.ask_cwd() };
        let target = cwd.resolve(written.as_bytes());
        self.scopes.budget.spend(target.rel().as_bytes().len(), span)?;
        let first = target.rel().components().next();
        let kernels = match first {
            None => true,
            Some(b"proc" | b"sys") => true,
            Some(b"dev") => target.rel().components().count() == 1,
            Some(_) => false,
        };
        if kernels {
            let message = format!("--mount cannot have the target {target}");
            let hint = match first {
                None if given.target.is_none() => "add target=PATH: the working directory is the root here",
                None => "mount on a directory below the root",
                Some(_) => "proc, sys and dev are the kernel's; mount elsewhere, or below /dev",
            };
            let written = given.target.clone().unwrap_or_default();
            return Err(fault::value(span, message, hint).about(written));
        }
        Ok(target)
    }

    fn cache_id(&self, given: &MountOptions) -> String {
        let id = cache_name(given);
        let namespace = self.scopes.request.build_args.get(NAMESPACE);
        format!("{}/{id}", namespace.map_or("", String::as_str))
    }
}

fn access(given: &MountOptions) -> Access {
    match given.kind {
        MountType::Cache | MountType::Tmpfs => given.access.unwrap_or(Access::ReadWrite),
        // A socket is no use when it cannot be written to; its mode says who may.
        MountType::Ssh => Access::ReadWrite,
        MountType::Bind | MountType::Secret => given.access.unwrap_or(Access::ReadOnly),
    }
}

/// As BuildKit: the target as written when there is no id, so that the same Dockerfile finds the same cache.
pub(crate) fn cache_name(given: &MountOptions) -> String {
    given.id.clone().unwrap_or_else(|| clean(given.target.as_deref().unwrap_or_default()))
}

/// Which agent is asked for.
pub(crate) fn agent_id(given: &MountOptions) -> String {
    given.id.clone().unwrap_or_else(|| DEFAULT_AGENT.to_owned())
}

/// Which secret is asked for.
pub(crate) fn secret_id(given: &MountOptions, span: Span) -> Result<String, Diagnostic> {
    if let Some(id) = given.id.as_ref().or(given.source.as_ref()) {
        return Ok(id.clone());
    }
    last_name(given.target.as_deref().unwrap_or_default(), span)
}

/// The last component of a path, which becomes the name of a secret or of its file.
fn last_name(path: &str, span: Span) -> Result<String, Diagnostic> {
    match path.trim_end_matches('/').rsplit('/').next().unwrap_or_default() {
        "" | "." | ".." => {
            let message = format!("--mount=type=secret has no name in {path:?}");
            Err(fault::value(span, message, "add id=NAME; --secret id=NAME,… gives it").about(path))
        }
        name => Ok(name.to_owned()),
    }
}

/// A path without `.`, `..` and doubled slashes, relative when it was.
fn clean(path: &str) -> String {
    if path.starts_with('/') {
        return ContainerPath::from(path).to_string();
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').filter(|p| !matches!(*p, "" | ".")) {
        match parts.last() {
            Some(last) if part == ".." && *last != ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    if parts.is_empty() { ".".to_owned() } else { parts.join("/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_as_names_of_caches() {
        for (path, cleaned) in [
            ("", "."),
            ("/root/.cache/", "/root/.cache"),
            ("/a/../../b", "/b"),
            ("./node_modules", "node_modules"),
            ("a//b/../c", "a/c"),
            ("../../a", "../../a"),
            ("a/..", "."),
        ] {
            assert_eq!(clean(path), cleaned, "{path}");
        }
    }
}
