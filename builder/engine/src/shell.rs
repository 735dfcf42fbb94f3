//! A program in the world of a RUN that failed: its root as it was left, its mounts, environment, user and directory.
//!
//! Takes the id of a kept step and what of the command line belongs to it (secrets, agents); gives how the program
//! ended. Whatever the program writes is thrown away afterwards, but for caches: the next one finds again what the RUN
//! left.

use crate::agent::AgentSource;
use crate::layers::{Layer, io, set_mode};
use crate::rooting::Rooting;
use crate::run_request::Secret;
use crate::step::{COPIED, Kept, KeptContent, KeptSharing, WRITTEN, await_cache, in_one_order, put, start_agent};
use crate::{Engine, EngineError};
use cooper_image::{ContainerPath, DiffId, Digest};
use cooper_layerfs::view::{Follow, View};
use cooper_layerfs::whole::{Fresh, copy_out, lay_out};
use cooper_sandbox::{Access, Bound, Content, Files, Mount, Outcome, Private, Stack, StepSpec, Tier, not_in_a_chroot};
use cooper_store::{CacheUse, FailedStep};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Where the environment of the image does not name a shell.
const SHELL: &str = "/bin/sh";

/// What is to be run, and with what.
#[derive(Debug, Clone, Default)]
pub struct ShellRequest {
    /// Program and arguments; the image's shell when there are none.
    pub argv: Vec<String>,
    /// Variables beside those of the step.
    pub env: Vec<(String, String)>,
    /// By id, for mounts of the step that ask for them.
    pub secrets: BTreeMap<String, Secret>,
    /// `--ssh`: agents, by id.
    pub agents: BTreeMap<String, AgentSource>,
}

impl Engine {
    /// Runs a program where a RUN failed, on this process's streams, and waits for its end.
    ///
    /// # Errors
    /// [`EngineError::Request`] when nothing is kept under the id; [`EngineError::LostLayer`]; storage, sandbox.
    pub fn enter(&self, id: &str, request: &ShellRequest, cancel: &AtomicBool) -> Result<Outcome, EngineError> {
        if self.tier == Tier::Container {
            return Err(not_in_a_chroot("cooper debug shell", "what failed is stacked by mounts").into());
        }
        let found = self.store.failed_step::<Kept>(id)?.filter(|(_, kept)| kept.is_known());
        let (place, kept) = found.ok_or_else(|| EngineError::Request {
            message: format!("no failed step is kept as {id}"),
            hint: "cooper build --on-failure keep keeps one; cooper -v du lists those that are kept".to_owned(),
        })?;
        self.use_marks()?;
        let bound = *self.rooting() == Rooting::Bound;
        let ingest = self.store.ingest()?;
        let make = |name: &str| make_dir(&ingest.path().join(name));
        let lowers = self.stack(&kept.layers, place.path().join(WRITTEN))?;
        let mut spec = StepSpec {
            files: if bound {
                let root = make("whole")?;
                let given_up = || cancel.load(Ordering::Relaxed);
                lay_out(&self.merged(&lowers)?, Fresh::All, &self.root(&root)?, self.scope(), &given_up)?;
                Files::Bound(Bound { root, mountpoint: make("root")? })
            } else {
                let (upper, work, mountpoint) = (make("upper")?, make("work")?, make("root")?);
                Files::Layers(Stack { lowers, upper, work, mountpoint })
            },
            argv: request.argv.clone(),
            env: kept.env.clone(),
            cwd: kept.cwd.clone(),
            user: kept.user.clone(),
            script: kept.script.clone(),
            mounts: Vec::new(),
            surroundings: kept.around.clone(),
        };
        let (mut agents, mut caches) = (Vec::new(), Vec::new());
        for (number, mount) in kept.mounts.iter().enumerate() {
            let own = ingest.path().join(format!("mount-{number}"));
            let content = match &mount.content {
                KeptContent::Files { layers, own: name, path } if bound => {
                    let view = self.merged(&self.stack(layers, below(&place, name))?)?;
                    let path = view.resolve(ContainerPath::from(path.as_str()).rel(), Follow::Final)?.path;
                    let given_up = || cancel.load(Ordering::Relaxed);
                    copy_out(&view, &path, (&self.root(&make_dir(&own)?)?, COPIED.as_bytes()), &given_up)?;
                    Some(Content::Host(own.join(COPIED)))
                }
                KeptContent::Files { layers, own: name, path } => {
                    make_dir(&own)?;
                    Some(Content::Layers {
                        lowers: self.stack(layers, below(&place, name))?,
                        upper: make_dir(&own.join("upper"))?,
                        work: make_dir(&own.join("work"))?,
                        path: path.clone(),
                    })
                }
                KeptContent::Cache { name, sharing } => {
                    let manner = match sharing {
                        KeptSharing::Shared => CacheUse::Shared,
                        KeptSharing::Private => CacheUse::Private,
                        KeptSharing::Locked => CacheUse::Locked,
                    };
                    caches.push((name.clone(), (spec.mounts.len(), manner)));
                    // Filled in below.
                    Some(Content::Tmpfs { bytes: None })
                }
                KeptContent::Tmpfs { bytes } => Some(Content::Tmpfs { bytes: *bytes }),
                KeptContent::Secret { id, variable, rights } => request.secrets.get(id).map(|secret| {
                    let text = std::str::from_utf8(secret.bytes()).ok().filter(|t| !t.contains('\0'));
                    if let (Some(name), Some(text)) = (variable, text) {
                        spec.env.push((name.clone(), text.to_owned()));
                    }
                    Content::File {
                        bytes: Private(secret.bytes().to_vec()),
                        uid: rights.uid.unwrap_or(0),
                        gid: rights.gid.unwrap_or(0),
                        mode: rights.mode.unwrap_or(0o400),
                    }
                }),
                KeptContent::Ssh { id, rights } => match request.agents.get(id) {
                    Some(source) => {
                        let agent = start_agent(id, source, &make_dir(&own)?, ((*rights).into(), self.owners()))?;
                        let path = agent.path().to_owned();
                        agents.push(agent);
                        Some(Content::Host(path))
                    }
                    None => None,
                },
            };
            if let (Some(content), Some(target)) = (content, &mount.target) {
                let access = if mount.writable { Access::ReadWrite } else { Access::ReadOnly };
                spec.mounts.push(Mount { target: target.clone(), access, content });
            }
        }
        let take = |name: &Digest, want: &(usize, CacheUse)| {
            let mut empty = |path: &Path| make_dir(path).map(drop);
            await_cache(&self.store, (name, want.1), &mut empty, cancel)
        };
        let caches = in_one_order(caches, take, |(at, _), cache| put(&mut spec, *at, cache))?;
        for (name, value) in &request.env {
            spec.env.retain(|(known, _)| known != name);
            spec.env.push((name.clone(), value.clone()));
        }
        if spec.argv.is_empty() {
            let named = spec.env.iter().find(|(name, value)| name == "SHELL" && !value.is_empty());
            spec.argv = vec![named.map_or_else(|| SHELL.to_owned(), |(_, shell)| shell.clone())];
        }
        let outcome = cooper_sandbox::enter(&spec, cancel);
        drop((agents, caches));
        Ok(outcome?)
    }

    /// What overlay would make of trees.
    fn merged(&self, trees: &[PathBuf]) -> Result<View, EngineError> {
        Ok(View::stack(trees.iter().map(|tree| self.root(tree)).collect::<Result<_, _>>()?))
    }

    /// Layers with a directory above them, as overlay takes them.
    fn stack(&self, layers: &[DiffId], above: PathBuf) -> Result<Vec<PathBuf>, EngineError> {
        let layers: Vec<Layer> = layers.iter().map(|diff| Layer { diff: diff.clone(), claimed: None }).collect();
        let mut trees = self.trees(&layers)?;
        trees.push(above);
        self.stacked(trees)
    }
}

/// A directory of a kept step.
fn below(place: &FailedStep, name: &Path) -> PathBuf {
    // The file that names it has a checksum, and only Cooper writes below the store; yet no name leads out of it.
    place.path().join(name.file_name().unwrap_or_default())
}

fn make_dir(dir: &Path) -> Result<PathBuf, EngineError> {
    std::fs::create_dir(dir).map_err(|e| io(format!("creating {}", dir.display()), e))?;
    set_mode(dir)?;
    Ok(dir.to_owned())
}
