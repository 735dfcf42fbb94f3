//! Commands that make an image of another one without building it.

use super::copy::tag;
use super::pair::Pair;
use super::view::ViewFlags;
use clap::Args;
use cooper_engine::toolkit::Place;
use cooper_image::Platform;
use cooper_plan::signal::is_signal;
use std::path::PathBuf;

/// From where to where.
#[derive(Debug, Args)]
pub struct Ways {
    /// The image to begin with: NAME, store://NAME or another place that `cooper copy` takes
    #[arg(value_name = "SOURCE")]
    pub source: Place,
    /// Where the new image goes, written in the same way
    #[arg(value_name = "TARGET")]
    pub target: Place,
    /// A further tag at the target; repeatable
    #[arg(long = "tag", value_name = "TAG", value_parser = tag)]
    pub tags: Vec<String>,
    /// Only the image for this platform, as linux/arm64; default: all of them
    #[arg(long, value_name = "OS/ARCH", value_parser = super::platform)]
    pub platform: Option<Platform>,
    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
    /// How it is shown.
    #[command(flatten)]
    pub view: ViewFlags,
}

/// `cooper mutate`.
#[derive(Debug, Args)]
pub struct MutateFlags {
    /// From where to where.
    #[command(flatten)]
    pub ways: Ways,
    /// Set a variable; repeatable
    #[arg(short, long = "env", value_name = "NAME=VALUE", value_parser = both)]
    pub env: Vec<(String, String)>,
    /// Set a label; repeatable
    #[arg(short, long = "label", value_name = "NAME=VALUE", value_parser = both)]
    pub labels: Vec<(String, String)>,
    /// Set an annotation of the manifest; repeatable
    #[arg(long = "annotation", value_name = "NAME=VALUE", value_parser = both)]
    pub annotations: Vec<(String, String)>,
    /// Set the command, as CMD: `["a", "b"]` is run as it is, any other text by the shell
    #[arg(long, value_name = "COMMAND", value_parser = argv)]
    pub cmd: Option<Argv>,
    /// Set the entry point, as ENTRYPOINT: `["a", "b"]` is run as it is, any other text by the shell
    #[arg(long, value_name = "COMMAND", value_parser = argv)]
    pub entrypoint: Option<Argv>,
    /// Set the user, as USER; an empty text is root
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// Set the working directory; absolute
    #[arg(short, long, value_name = "DIR", value_parser = absolute)]
    pub workdir: Option<String>,
    /// Note a port, as EXPOSE; repeatable
    #[arg(long = "expose", value_name = "PORT[/PROTOCOL]", value_parser = port)]
    pub ports: Vec<String>,
    /// Set the signal that ends a container
    #[arg(long, value_name = "SIGNAL", value_parser = signal)]
    pub stop_signal: Option<String>,
}

/// `cooper append`.
#[derive(Debug, Args)]
pub struct AppendFlags {
    /// From where to where.
    #[command(flatten)]
    pub ways: Ways,
    /// A tar of the new layer, plain or compressed, - for standard input; repeatable, lowest first
    #[arg(short = 'f', long = "layer", value_name = "FILE", required = true)]
    pub layers: Vec<PathBuf>,
}

/// `cooper flatten`.
#[derive(Debug, Args)]
pub struct FlattenFlags {
    /// From where to where.
    #[command(flatten)]
    pub ways: Ways,
}

/// `cooper rebase`.
#[derive(Debug, Args)]
pub struct RebaseFlags {
    /// From where to where.
    #[command(flatten)]
    pub ways: Ways,
    /// The base that the image was built on; default: what its annotations say
    #[arg(long, value_name = "BASE")]
    pub old_base: Option<Place>,
    /// The base that it is to have; default: what the name in its annotations leads to now
    #[arg(long, value_name = "BASE")]
    pub new_base: Option<Place>,
}

/// `cooper export`.
#[derive(Debug, Args)]
pub struct ExportFlags {
    /// The image: NAME, store://NAME or another place that `cooper copy` takes
    #[arg(value_name = "IMAGE")]
    pub image: Place,
    /// The tar; - is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub output: PathBuf,
    /// The image for this platform, as linux/arm64; default: this machine's
    #[arg(long, value_name = "OS/ARCH", value_parser = super::platform)]
    pub platform: Option<Platform>,
    /// Print JSON, for programs, beside a tar that goes to a file: which image it is
    #[arg(long)]
    pub json: bool,
    /// How it is shown.
    #[command(flatten)]
    pub view: ViewFlags,
}

/// A program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argv(pub Vec<String>);

/// `NAME=VALUE`, both of them.
pub fn both(text: &str) -> Result<(String, String), String> {
    let pair: Pair = text.parse().map_err(|e: super::pair::PairError| e.to_string())?;
    pair.value.map(|value| (pair.name, value)).ok_or_else(|| "expected NAME=VALUE".to_owned())
}

fn argv(text: &str) -> Result<Argv, String> {
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(text).map(Argv).map_err(|e| format!("no list of texts as JSON: {e}"));
    }
    Ok(Argv(["/bin/sh", "-c", text].map(str::to_owned).to_vec()))
}

/// What STOPSIGNAL takes.
fn signal(text: &str) -> Result<String, String> {
    match is_signal(text) {
        true => Ok(text.to_owned()),
        false => Err("it is no signal; give a name as SIGTERM, or a number from 1 to 64".to_owned()),
    }
}

fn absolute(text: &str) -> Result<String, String> {
    if text.starts_with('/') { Ok(text.to_owned()) } else { Err("it has to begin with /".to_owned()) }
}

fn port(text: &str) -> Result<String, String> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let known = matches!(protocol, "tcp" | "udp" | "sctp");
    match number.parse::<u16>() {
        Ok(number) if known => Ok(format!("{number}/{protocol}")),
        _ => Err("expected a port, as 80, 80/tcp or 53/udp".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_dockerfiles_are() {
        assert_eq!(argv(r#"["a","b c"]"#), Ok(Argv(vec!["a".into(), "b c".into()])));
        assert_eq!(argv("a b"), Ok(Argv(vec!["/bin/sh".into(), "-c".into(), "a b".into()])));
        assert!(argv("[1]").is_err() && argv("[").is_err());
        assert_eq!(port("80").as_deref(), Ok("80/tcp"));
        assert_eq!(port("53/udp").as_deref(), Ok("53/udp"));
        assert!(port("x").is_err() && port("80/x").is_err() && port("70000").is_err());
        assert_eq!(both("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(both("a").is_err() && both("=b").is_err());
        assert!(absolute("x").is_err() && absolute("/x").is_ok());
    }
}
