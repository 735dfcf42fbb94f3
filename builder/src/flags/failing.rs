//! What becomes of a RUN that fails: `--on-failure`, `--export-on-failure`, and `cooper debug shell`.

use super::pair::Pair;
use super::secret::SecretFlag;
use super::steps::SshFlag;
use clap::Args;
use cooper_engine::run_request::Rescue;
use cooper_image::ContainerPath;
use std::path::PathBuf;
use std::str::FromStr;

/// Flags of `cooper build`.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "When a RUN fails")]
pub struct FailingFlags {
    /// What becomes of a RUN that fails: nothing is kept (discard), keep, or shell
    ///
    /// keep: its root, mounts, environment, user and directory stay in the store, and `cooper debug shell` opens a
    /// shell in them. shell: the same, and a shell at once, which needs a terminal. The last eight are kept; `cooper
    /// prune` deletes them. No secret is kept.
    #[arg(long, value_name = "HOW", value_enum, default_value = "discard")]
    pub on_failure: OnFailureFlag,

    /// When a RUN fails, copy PATH of its root into the directory DIR, under its own name; repeatable
    ///
    /// As of an image: a directory with all that is in it, links as links. What is below a mount is not in the root.
    #[arg(long = "export-on-failure", value_name = "PATH=DIR")]
    pub rescues: Vec<RescueFlag>,
}

/// `--on-failure`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
#[allow(missing_docs)]
pub enum OnFailureFlag {
    #[default]
    Discard,
    Keep,
    Shell,
}

/// One `--export-on-failure PATH=DIR`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RescueFlag(pub Rescue);

impl FromStr for RescueFlag {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The directory is the shell's to complete; a path of the image may hold anything.
        let parts = text.rsplit_once('=').filter(|(path, dir)| path.starts_with('/') && !dir.is_empty());
        let (path, dir) = parts.ok_or("expected PATH=DIR with an absolute PATH, as /src/test.log=./failed")?;
        Ok(Self(Rescue { path: ContainerPath::from(path), dest: PathBuf::from(dir) }))
    }
}

/// `cooper debug shell`.
#[derive(Debug, Args)]
pub struct ShellFlags {
    /// The id that the failed build said; `cooper -v du` lists what is kept as `failed`
    #[arg(value_name = "ID")]
    pub id: String,
    /// A program and its arguments; default: $SHELL of the image, else /bin/sh
    #[arg(last = true, value_name = "PROGRAM")]
    pub argv: Vec<String>,
    /// Set a variable, beside those of the step; without a value it is taken from the environment
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    pub env: Vec<Pair>,
    /// A secret that the step had, as for `cooper build`: none is kept
    #[arg(long = "secret", value_name = "SPEC")]
    pub secrets: Vec<SecretFlag>,
    /// An ssh agent or keys that the step had, as for `cooper build`
    #[arg(long, value_name = "ID[=PATH,...]")]
    pub ssh: Vec<SshFlag>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_and_a_directory() {
        let flag = |text: &str| text.parse::<RescueFlag>().map(|RescueFlag(r)| (r.path.to_string(), r.dest));
        assert_eq!(flag("/a/b=out"), Ok(("/a/b".to_owned(), "out".into())));
        assert_eq!(flag("/a=b=out"), Ok(("/a=b".to_owned(), "out".into())));
        assert_eq!(flag("/../../x=."), Ok(("/x".to_owned(), ".".into())));
        assert_eq!(flag("/=."), Ok(("/".to_owned(), ".".into())));
        for wrong in ["", "/a", "a=out", "/a=", "=out"] {
            assert!(flag(wrong).is_err(), "{wrong}");
        }
    }
}
