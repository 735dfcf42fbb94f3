//! Edits of an image configuration as data: what ENV, USER, CMD and the like do.

use crate::ImageConfig;
use crate::config::Healthcheck;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One change of a configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum ConfigEdit {
    Env {
        name: String,
        value: String,
    },
    Label {
        name: String,
        value: String,
    },
    User(String),
    WorkingDir(String),
    Cmd(Vec<String>),
    /// Also clears a command that came from the base (`clear_cmd`).
    Entrypoint {
        argv: Vec<String>,
        clear_cmd: bool,
    },
    Expose(Vec<String>),
    Volume(Vec<String>),
    StopSignal(String),
    Shell(Vec<String>),
    Healthcheck(Healthcheck),
    OnBuild(String),
    /// Triggers were run by the child stage and are not passed on.
    ClearOnBuild,
    Author(String),
}

impl ConfigEdit {
    /// Applies the change.
    pub fn apply(&self, image: &mut ImageConfig) {
        let c = &mut image.config;
        let keys = |into: &mut Option<BTreeMap<String, serde_json::Value>>, names: &[String]| {
            let map = into.get_or_insert_with(BTreeMap::new);
            map.extend(names.iter().map(|n| (n.clone(), serde_json::json!({}))));
        };
        match self {
            Self::Env { name, value } => {
                let entry = format!("{name}={value}");
                match c.env.iter_mut().find(|e| e.split('=').next() == Some(name)) {
                    Some(old) => *old = entry,
                    None => c.env.push(entry),
                }
            }
            Self::Label { name, value } => {
                c.labels.insert(name.clone(), value.clone());
            }
            Self::User(u) => c.user = (!u.is_empty()).then(|| u.clone()),
            Self::WorkingDir(d) => c.working_dir = Some(d.clone()),
            Self::Cmd(argv) => {
                c.cmd = (!argv.is_empty()).then(|| argv.clone());
                // Docker's builders say so of every command that they store.
                c.other.insert("ArgsEscaped".to_owned(), serde_json::Value::Bool(true));
            }
            Self::Entrypoint { argv, clear_cmd } => {
                c.entrypoint = (!argv.is_empty()).then(|| argv.clone());
                if *clear_cmd {
                    c.cmd = None;
                }
            }
            Self::Expose(ports) => keys(&mut c.exposed_ports, ports),
            Self::Volume(paths) => keys(&mut c.volumes, paths),
            Self::StopSignal(s) => c.stop_signal = Some(s.clone()),
            Self::Shell(argv) => c.shell = Some(argv.clone()),
            Self::Healthcheck(h) => c.healthcheck = Some(h.clone()),
            Self::OnBuild(t) => c.on_build.push(t.clone()),
            Self::ClearOnBuild => c.on_build.clear(),
            Self::Author(a) => image.author = Some(a.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn env_replaces_in_place_and_entrypoint_clears_an_inherited_command() {
        let mut i = ImageConfig::default();
        for (n, v) in [("A", "1"), ("B", "2"), ("A", "3")] {
            ConfigEdit::Env { name: n.into(), value: v.into() }.apply(&mut i);
        }
        assert_eq!(i.config.env, ["A=3", "B=2"]);
        ConfigEdit::Cmd(vec!["x".into()]).apply(&mut i);
        ConfigEdit::Entrypoint { argv: vec!["e".into()], clear_cmd: true }.apply(&mut i);
        assert_eq!((&i.config.cmd, &i.config.entrypoint), (&None, &Some(vec!["e".to_owned()])));
        assert_eq!(i.config.other["ArgsEscaped"], true);
        for edit in [
            ConfigEdit::Cmd(Vec::new()),
            ConfigEdit::Entrypoint { argv: Vec::new(), clear_cmd: false },
            ConfigEdit::User(String::new()),
        ] {
            edit.apply(&mut i);
        }
        assert_eq!((i.config.cmd, i.config.entrypoint, i.config.user), (None, None, None), "nothing is left out");
    }
}
