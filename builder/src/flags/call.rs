//! `--call`, `--check` and `cooper check`: what is asked of a Dockerfile without building it.

use super::pair::Pair;
use clap::{Args, ValueEnum};
use cooper_image::Platform;
use std::path::PathBuf;
use std::str::FromStr;

/// What is asked in place of a build.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "What is asked in place of a build")]
pub struct AskFlags {
    /// Look for what could be better in the Dockerfile, and build nothing. The same as --call=check
    #[arg(long, conflicts_with = "call")]
    pub check: bool,

    /// Ask something of the Dockerfile, and build nothing
    ///
    /// check: what could be better; outline: build arguments, secrets and caches of the target; targets: the
    /// stages; subrequests.describe: what can be asked; build: nothing, a build is made. `,format=json` gives
    /// JSON; `,ignorestatus=true` lets check end with 0 whatever it finds.
    #[arg(long, value_name = "METHOD[,format=FORMAT]")]
    pub call: Option<Call>,
}

impl AskFlags {
    /// What is asked, if it is not a build.
    pub fn asked(&self) -> Option<Call> {
        let check = Call { method: Method::Check, format: Format::Text, ignore_status: false };
        self.call.or(self.check.then_some(check)).filter(|c| c.method != Method::Build)
    }
}

/// `--call`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// What is asked.
    pub method: Method,
    /// How the answer looks.
    pub format: Format,
    /// Do findings of the checks not count as a failure?
    pub ignore_status: bool,
}

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// To build.
    Build,
    /// The build checks.
    Check,
    /// What the target takes.
    Outline,
    /// The stages.
    Targets,
    /// What can be asked.
    Describe,
}

/// How an answer looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// A text that asks for nothing that there is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The method.
    #[error("{0:?} cannot be asked; there are check, outline, targets, subrequests.describe and build")]
    Method(String),
    /// A setting behind a method that has none.
    #[error("--call=build makes a build, which {0:?} says nothing of; leave it out")]
    Build(String),
    /// A setting behind it.
    #[error("{0:?} is not a setting; there are format=text, format=json and ignorestatus=true")]
    Setting(String),
}

impl FromStr for Call {
    type Err = CallError;
    fn from_str(text: &str) -> Result<Self, CallError> {
        let mut parts = text.split(',');
        let method = parts.next().unwrap_or_default();
        let method = match method {
            "build" => Method::Build,
            "check" | "lint" => Method::Check,
            "outline" => Method::Outline,
            "targets" => Method::Targets,
            "subrequests.describe" => Method::Describe,
            other => return Err(CallError::Method(other.to_owned())),
        };
        let mut call = Self { method, format: Format::Text, ignore_status: false };
        for part in parts {
            if method == Method::Build {
                return Err(CallError::Build(part.to_owned()));
            }
            match part {
                "format=text" => call.format = Format::Text,
                "format=json" => call.format = Format::Json,
                "ignorestatus=true" | "ignorestatus=1" | "ignorestatus" => call.ignore_status = true,
                "ignorestatus=false" | "ignorestatus=0" => call.ignore_status = false,
                other => return Err(CallError::Setting(other.to_owned())),
            }
        }
        Ok(call)
    }
}

/// `cooper check`.
#[derive(Debug, Args)]
pub struct CheckFlags {
    /// The build context, as for `cooper build`
    #[arg(value_name = "PATH", default_value = ".")]
    pub context: PathBuf,

    /// The Dockerfile, as for `cooper build`
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,

    /// Look only at this stage and those that it needs; default: all
    #[arg(long, value_name = "STAGE")]
    pub target: Option<String>,

    /// Set an ARG of the Dockerfile; without a value it is taken from the environment
    #[arg(long = "build-arg", value_name = "NAME[=VALUE]")]
    pub build_args: Vec<Pair>,

    /// The platform to check for, as linux/amd64; `local` and the default are this machine's
    #[arg(long, value_name = "OS/ARCH", value_parser = super::platform)]
    pub platform: Option<Platform>,

    /// How the findings are shown
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,

    /// Show what can be mended without a person as a diff, for `git apply` or `patch -p1`
    #[arg(long, conflicts_with = "format")]
    pub diff: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read() {
        for (text, method, format, ignore_status) in [
            ("check", Method::Check, Format::Text, false),
            ("lint,format=json", Method::Check, Format::Json, false),
            ("check,format=json,ignorestatus=true", Method::Check, Format::Json, true),
            ("outline,format=text", Method::Outline, Format::Text, false),
            ("targets", Method::Targets, Format::Text, false),
            ("subrequests.describe", Method::Describe, Format::Text, false),
            ("build", Method::Build, Format::Text, false),
        ] {
            assert_eq!(text.parse(), Ok(Call { method, format, ignore_status }), "{text}");
        }
        for (text, says) in [
            ("build,format=json", "makes a build"),
            ("convertllb", "cannot be asked"),
            ("check,format=xml", "not a setting"),
            ("", "cannot be asked"),
        ] {
            assert!(text.parse::<Call>().unwrap_err().to_string().contains(says), "{text}");
        }
    }
}
