//! A RUN that failed, kept in the store with everything that somebody needs to look around in it.
//!
//! Takes what the RUN was and what it left; gives an id, and later ([`crate::shell`]) the same world again. Must never
//! keep a secret: of a secret it is known by which name it was asked for, and variables that no key has, such as proxies
//! with a password, are left out.

use super::mounts::{Files, Ground};
use crate::event::Event;
use crate::layers::{Layer, diff_ids, io};
use crate::run_request::OnFailure;
use crate::solve::{Build, StageState};
use crate::{EngineError, ErrorClass};
use cooper_dockerfile::mount::Ownership;
use cooper_image::{DiffId, Digest};
use cooper_plan::mount::{Access, Mounted, Sharing};
use cooper_plan::op::Exec;
use cooper_sandbox::{SandboxError, Surroundings};
use cooper_store::Ingest;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The version that is understood.
const VERSION: u32 = 1;
/// What the step wrote, below the kept directory.
pub const WRITTEN: &str = "upper";

/// A kept step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kept {
    /// Version of this form; 1.
    pub version: u32,
    /// The instruction, as written.
    pub text: String,
    /// How it ended.
    pub ended: String,
    /// The layers that it ran on, lowest first.
    pub layers: Vec<DiffId>,
    /// Its environment, but for proxies and secrets.
    pub env: Vec<(String, String)>,
    /// Its working directory.
    pub cwd: String,
    /// `user[:group]`.
    pub user: String,
    /// The script that it was given.
    pub script: Option<(String, String)>,
    /// What it had mounted.
    pub mounts: Vec<KeptMount>,
    /// What else it found around it.
    pub around: Surroundings,
}

/// One mount of a kept step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeptMount {
    /// Where; `None` for a secret that is a variable alone.
    pub target: Option<String>,
    /// Could the step write?
    pub writable: bool,
    /// What.
    pub content: KeptContent,
}

/// What was mounted.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeptContent {
    /// Files: of layers, and above them those in a directory of the kept step.
    Files {
        /// Lowest first.
        layers: Vec<DiffId>,
        /// Its name.
        own: PathBuf,
        /// Looked up in all of them.
        path: String,
    },
    /// A cache, which the store may have still.
    Cache {
        /// Its identity.
        name: Digest,
        /// How it is used together with others.
        sharing: KeptSharing,
    },
    /// An empty directory in memory.
    Tmpfs {
        /// Most bytes in it.
        bytes: Option<u64>,
    },
    /// A secret, by its name.
    Secret {
        /// Which.
        id: String,
        /// The variable that holds it.
        variable: Option<String>,
        /// Owner and mode of the file.
        rights: Rights,
    },
    /// An ssh agent, by its name.
    Ssh {
        /// Which.
        id: String,
        /// Owner and mode of the socket.
        rights: Rights,
    },
}

/// [`Sharing`], as it is kept.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum KeptSharing {
    Shared,
    Private,
    Locked,
}

/// [`Ownership`], as it is kept.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Rights {
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub mode: Option<u32>,
}

impl From<Ownership> for Rights {
    fn from(Ownership { uid, gid, mode }: Ownership) -> Self {
        Self { uid, gid, mode }
    }
}

impl From<Rights> for Ownership {
    fn from(Rights { uid, gid, mode }: Rights) -> Self {
        Self { uid, gid, mode }
    }
}

impl From<Sharing> for KeptSharing {
    fn from(sharing: Sharing) -> Self {
        match sharing {
            Sharing::Shared => Self::Shared,
            Sharing::Private => Self::Private,
            Sharing::Locked => Self::Locked,
        }
    }
}

impl Kept {
    /// Can it be understood here?
    pub fn is_known(&self) -> bool {
        self.version == VERSION
    }
}

/// A RUN that failed: what it was, and where its files are.
pub struct Failed<'f> {
    /// The layers below, and how the stage came to them.
    pub state: &'f StageState,
    /// What was run.
    pub exec: &'f Exec,
    /// The instruction, as written.
    pub text: &'f str,
    /// The files of its mounts.
    pub files: &'f [Option<Files>],
    /// What it wrote.
    pub upper: &'f Path,
    /// Where everything of it is.
    pub ingest: &'f Ingest,
}

impl Build<'_> {
    /// Does with a RUN that failed what was asked for. Gives its error, with the id when it is kept. That something of
    /// this fails is told, and takes nothing from the error.
    pub fn after_failure(&self, error: EngineError, failed: &Failed<'_>) -> EngineError {
        if !is_of_the_step(&error) {
            return error;
        }
        for rescue in &self.request.run.rescues {
            if let Err(e) = self.rescue(rescue, failed) {
                self.warn(format!("{} could not be copied to {}: {e}", rescue.path, rescue.dest.display()));
            }
        }
        if self.request.run.on_failure == OnFailure::Forget {
            return error;
        }
        match self.keep_step(&error, failed) {
            Ok(id) => EngineError::Kept { id, error: Box::new(error) },
            Err(e) => {
                self.warn(format!("the failed step could not be kept: {e}"));
                error
            }
        }
    }

    /// Tells a person something.
    pub fn warn(&self, text: String) {
        self.sink.event(Event::Warning { text });
    }

    fn keep_step(&self, error: &EngineError, failed: &Failed<'_>) -> Result<String, EngineError> {
        let made = failed.ingest.path().join("kept");
        std::fs::create_dir(&made).map_err(|e| io("keeping a failed step", e))?;
        take_over(failed.upper, &made.join(WRITTEN))?;
        let mounts = failed.exec.mounts.iter().zip(failed.files).enumerate();
        let mounts = mounts.map(|(number, (mount, files))| {
            let content = match (&mount.what, files) {
                (Mounted::Bind(_), Some(files)) => self.keep_files(number, files, failed.ingest.path(), &made)?,
                (Mounted::Bind(_), None) => return Ok(None),
                (Mounted::Cache(cache), files) => KeptContent::Cache {
                    name: super::mounts::cache_name(cache, files.as_ref()),
                    sharing: cache.sharing.into(),
                },
                (Mounted::Tmpfs { bytes }, _) => KeptContent::Tmpfs { bytes: *bytes },
                (Mounted::Secret(secret), _) => KeptContent::Secret {
                    id: secret.id.clone(),
                    variable: secret.variable.clone(),
                    rights: secret.ownership.into(),
                },
                (Mounted::Ssh { id, ownership, .. }, _) => {
                    KeptContent::Ssh { id: id.clone(), rights: (*ownership).into() }
                }
            };
            let target = mount.target.as_ref().map(ToString::to_string);
            Ok(Some(KeptMount { target, writable: mount.access == Access::ReadWrite, content }))
        });
        let mounts = mounts.filter_map(Result::transpose).collect::<Result<_, EngineError>>()?;
        let kept = Kept {
            version: VERSION,
            text: failed.text.to_owned(),
            ended: error.to_string(),
            layers: diff_ids(&failed.state.layers),
            env: failed.exec.env.clone(),
            cwd: failed.exec.cwd.to_string(),
            user: failed.exec.user.clone(),
            script: failed.exec.script.clone(),
            mounts,
            around: self.surroundings(failed.exec),
        };
        Ok(self.engine.store.keep_failed(&made, &kept)?)
    }

    /// The files of a bind: what the step had of them is kept, layers are named.
    fn keep_files(&self, number: usize, files: &Files, dir: &Path, made: &Path) -> Result<KeptContent, EngineError> {
        let own = super::mounts::own_name(number);
        let (layers, from, path): (&[Layer], _, _) = match files.ground() {
            Ground::Layers(layers) if self.engine.is_stacked() => {
                (layers, dir.join(&own).join("upper"), files.path().to_string())
            }
            // A copy, with all that the step did to it.
            Ground::Context(_) | Ground::Layers(_) => (&[], dir.join(&own), format!("/{}", super::mounts::COPIED)),
        };
        take_over(&from, &made.join(&own))?;
        Ok(KeptContent::Files { layers: diff_ids(layers), own: own.into(), path })
    }
}

fn take_over(from: &Path, to: &Path) -> Result<(), EngineError> {
    std::fs::rename(from, to).map_err(|e| io(format!("keeping {}", from.display()), e))
}

/// Did the command itself fail, or could it not be started?
fn is_of_the_step(error: &EngineError) -> bool {
    error.class() == ErrorClass::Step
        && matches!(error, EngineError::Step { .. } | EngineError::Sandbox(SandboxError::Exec { .. }))
}
