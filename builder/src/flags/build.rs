//! `cooper build`: docker's flags, with docker's meaning.

use super::annotation::AnnotationFlag;
use super::attest::NoAttestation;
use super::call::AskFlags;
use super::context::ContextFlag;
use super::failing::FailingFlags;
use super::limits::LimitFlags;
use super::output::OutputFlag;
use super::pair::Pair;
use super::secret::SecretFlag;
use super::steps::{Bytes, CgroupParent, Entitlement, HostFlag, NetworkFlag, SshFlag, UlimitFlag};
use super::store::CapFlags;
use crate::ui::{Detail, Progress};
use clap::Args;
use cooper_image::{Platform, Reference};
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// `cooper build`.
#[derive(Debug, Default, Args)]
pub struct BuildFlags {
    /// The build context: the directory that COPY and ADD take files from, a git or http URL, or `-` for standard input
    ///
    /// A repository is named as for ADD: https://HOST/REPO.git#REF:DIR. A URL of a tar is unpacked; anything else
    /// behind a URL is the Dockerfile.
    /// What standard input holds is the context when it is a tar, plain or compressed by gzip, bzip2, xz or
    /// zstd; otherwise it is the Dockerfile, and there is no context.
    #[arg(value_name = "PATH")]
    pub context: PathBuf,
    /// What is built.
    #[command(flatten)]
    pub input: InputFlags,
    /// What may be reused.
    #[command(flatten)]
    pub reuse: ReuseFlags,
    /// What comes out.
    #[command(flatten)]
    pub result: ResultFlags,
    /// What steps are given.
    #[command(flatten)]
    pub steps: StepFlags,
    /// What each RUN may use.
    #[command(flatten)]
    pub limits: LimitFlags,
    /// What becomes of a RUN that fails.
    #[command(flatten)]
    pub failing: FailingFlags,
    /// How it runs.
    #[command(flatten)]
    pub run: RunFlags,
    /// How large the store may grow.
    #[command(flatten)]
    pub cap: CapFlags,
    /// What is asked in place of a build.
    #[command(flatten)]
    pub ask: AskFlags,
}

/// What is built.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "What is built")]
pub struct InputFlags {
    /// The Dockerfile, `-` for standard input, or a URL; default: Dockerfile in the context, else dockerfile
    ///
    /// Relative to the current directory when the context is a directory, else to the root of the context.
    /// A file of the same name with .dockerignore appended, beside it, takes the place of
    /// PATH/.dockerignore.
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,

    /// Build up to this stage and leave out what it does not need; default: the last stage
    #[arg(long, value_name = "STAGE")]
    pub target: Option<String>,

    /// Set an ARG of the Dockerfile; without a value it is taken from the environment
    ///
    /// A variable that the environment does not have is not set. Values end up in the image's history:
    /// they are no place for secrets.
    #[arg(long = "build-arg", value_name = "NAME[=VALUE]")]
    pub build_args: Vec<Pair>,

    /// Put this in the place of the stage or image NAME, in FROM and in --from; repeatable
    ///
    /// A directory, with a .dockerignore of its own. A git URL, or the URL of a tar. docker-image://IMAGE[:TAG][@DIGEST]: an image, found as
    /// that of a FROM. oci-layout://DIR[:NAME][@DIGEST]: an image in an OCI layout. NAME::OS/ARCH holds for one
    /// platform and comes before NAME.
    #[arg(long = "build-context", value_name = "NAME=PLACE")]
    pub contexts: Vec<ContextFlag>,

    /// The platform to build for, as linux/amd64; `local` and the default are this machine's
    ///
    /// Several, divided by commas, give an index with an image for each; a plan, keys and a check are for one.
    #[arg(long, value_name = "OS/ARCH", value_delimiter = ',', value_parser = super::platform)]
    pub platform: Vec<Platform>,
}

impl InputFlags {
    /// The stage that is asked for. Scripts that have none give an empty name, which means the last one.
    pub fn target(&self) -> Option<String> {
        self.target.clone().filter(|name| !name.is_empty())
    }
}

/// What may be reused.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "What is reused")]
pub struct ReuseFlags {
    /// Run every step, even when its result is known
    #[arg(long)]
    pub no_cache: bool,

    /// Run every step of this stage, even when its result is known; repeatable, or a list with commas
    ///
    /// Stages that use it run again only when its result came out differently.
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    pub no_cache_filter: Vec<String>,

    /// Ask the registry for each base image, even when the store has one of that name
    #[arg(long)]
    pub pull: bool,
}

/// What comes out.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "What comes out")]
pub struct ResultFlags {
    /// A name for the image, as registry.example/team/app:1.2; repeatable
    #[arg(short, long = "tag", value_name = "NAME[:TAG]")]
    pub tags: Vec<Reference>,

    /// Put a label on the image; wins over LABEL of the Dockerfile
    #[arg(long = "label", value_name = "NAME=VALUE")]
    pub labels: Vec<Pair>,

    /// Send the image to the registries in its names
    #[arg(long)]
    pub push: bool,

    /// Keep the image in the store, which every build does: there is no other engine to load it into
    #[arg(long)]
    pub load: bool,

    /// What to make of the result, beside the image in the store; repeatable
    ///
    /// type=image: names and form of the image (name=, push=, push-by-digest=, name-canonical=).
    /// type=registry: the same with push=true. type=oci,dest=FILE: an OCI layout in a tar.
    /// type=docker,dest=FILE: an archive for `docker load`. Both are directories with tar=false.
    /// These four take compression=gzip|zstd|uncompressed, compression-level=N,
    /// force-compression=true (layers of bases too), oci-mediatypes=true|false and
    /// annotation[-TARGET][[PLATFORM]].KEY=VALUE. type=tar,dest=FILE: the image's files as a tar.
    /// type=local,dest=DIR: the image's files; mode=delete deletes other files there. A bare path
    /// means type=local, `-` means a tar on standard output. type=cacheonly: no image, the steps are kept.
    ///
    /// Files of several platforms go to folders such as linux_amd64, unless platform-split=false;
    /// platform-split=true makes a folder for a single one too.
    /// rewrite-timestamp changes nothing: with SOURCE_DATE_EPOCH layers are always made with times
    /// that are not later.
    #[arg(short, long = "output", value_name = "SPEC")]
    pub outputs: Vec<OutputFlag>,

    /// Annotate the image, as KEY=VALUE or TARGET[PLATFORM]:KEY=VALUE; repeatable
    ///
    /// TARGET is manifest (the default), manifest-descriptor, index or index-descriptor; several are
    /// divided by commas. [PLATFORM] may be left away.
    #[arg(long = "annotation", value_name = "SPEC")]
    pub annotations: Vec<AnnotationFlag>,

    /// Write digests, names and warnings to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub metadata_file: Option<PathBuf>,

    /// Only --provenance=false: there are no attestations
    #[arg(long, value_name = "false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub provenance: Option<NoAttestation>,

    /// Only --sbom=false: there are no attestations
    #[arg(long, value_name = "false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub sbom: Option<NoAttestation>,

    /// Only type=…,disabled=true: there are no attestations
    #[arg(long, value_name = "SPEC")]
    pub attest: Vec<NoAttestation>,

    /// Write the image id to this file
    #[arg(long, value_name = "FILE")]
    pub iidfile: Option<PathBuf>,
}

/// What steps are given.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "What steps are given")]
pub struct StepFlags {
    /// A secret for steps that ask for it, as id=NAME,src=FILE or id=NAME,env=VARIABLE; repeatable
    ///
    /// RUN --mount=type=secret,id=NAME gets it as a file in memory. It is in no layer, no cache key and no
    /// history. With id=NAME alone it is the variable of that name, else the file.
    #[arg(long = "secret", value_name = "SPEC")]
    pub secrets: Vec<SecretFlag>,

    /// An ssh agent or keys for steps that ask for them: default, ID=SOCKET, or ID=KEY,KEY; repeatable
    ///
    /// RUN --mount=type=ssh gets a socket that lists keys and signs. Without a path it is the agent of
    /// SSH_AUTH_SOCK; files of private keys, without passphrase, are held in memory and never given to a step.
    #[arg(long, value_name = "ID[=PATH,...]")]
    pub ssh: Vec<SshFlag>,

    /// Allow steps what they may not do otherwise; repeatable
    ///
    /// security.insecure: RUN --security=insecure, with every right of root. network.host: RUN
    /// --network=host in a build with --network=none or isolated; else nothing more than steps have anyway.
    #[arg(long, value_name = "WHAT", value_enum)]
    pub allow: Vec<Entitlement>,

    /// The network of steps that do not say: the machine's (default or host), none, or isolated
    ///
    /// isolated: one of its own for each step, which reaches the outside but not what listens on this machine's loopback.
    /// It needs pasta (package passt) or slirp4netns.
    #[arg(long, value_name = "HOW", value_enum, default_value = "default")]
    pub network: NetworkFlag,

    /// A name for /etc/hosts of every step, as db:10.0.0.7; repeatable
    ///
    /// The name is in the cache key, the address is not.
    #[arg(long = "add-host", value_name = "NAME:IP")]
    pub hosts: Vec<HostFlag>,

    /// Size of /dev/shm in steps, as 128m; default: 64m
    #[arg(long, value_name = "BYTES")]
    pub shm_size: Option<Bytes>,

    /// A limit for steps, as nofile=1024:4096; repeatable
    ///
    /// Only root can raise a hard limit.
    #[arg(long = "ulimit", value_name = "NAME=SOFT[:HARD]")]
    pub ulimits: Vec<UlimitFlag>,

    /// Let no program in a step have more rights than who starts it: sudo and su do not work then
    #[arg(long)]
    pub no_new_privs: bool,

    /// Not supported: steps run in the control group of the build, with limits in one of their own below it
    #[arg(long, value_name = "GROUP", hide = true)]
    pub cgroup_parent: Option<CgroupParent>,
}

/// How it runs.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "How it runs")]
pub struct RunFlags {
    /// How progress is shown, on standard error
    #[arg(long, value_name = "HOW", value_enum, default_value = "auto")]
    pub progress: Progress,

    /// Say nothing; print the image id on standard output. The same as --progress=quiet
    #[arg(short, long)]
    pub quiet: bool,

    /// Of each step that is run, name all parts of its key that differ from the nearest earlier result, and all files
    ///
    /// Without it the first few files are named. `cooper explain` says the same afterwards.
    #[arg(long, conflicts_with = "quiet")]
    pub explain: bool,

    /// Most steps that run at once; default: twice the processors, at least 8
    ///
    /// Steps wait for networks and disks more than they compute, so that more of them than processors
    /// is faster. --jobs 1 runs one after another.
    #[arg(long, value_name = "N")]
    pub jobs: Option<NonZeroUsize>,
}

impl RunFlags {
    /// The view that `--progress` and `-q` give.
    pub fn view(&self) -> Progress {
        if self.quiet { Progress::Quiet } else { self.progress }
    }

    /// `--explain`.
    pub fn detail(&self) -> Detail {
        if self.explain { Detail::Full } else { Detail::Brief }
    }

    /// `--jobs`, or its default for so many processors.
    pub fn jobs(&self, processors: usize) -> usize {
        self.jobs.map_or_else(|| processors.saturating_mul(2).max(8), NonZeroUsize::get)
    }
}

#[cfg(test)]
mod tests {
    use crate::flags::{Cli, Command};
    use clap::Parser as _;

    #[test]
    fn a_docker_command_line() {
        let line = "cooper build -f d/Dockerfile -t a:1 --tag b --build-arg A=1 --build-arg B --label k=v --target t \
                    --platform linux/arm64 --no-cache --no-cache-filter a,b --no-cache-filter c --pull --push --iidfile id -o out --progress plain --jobs 3 .";
        let Command::Build(flags) = Cli::try_parse_from(line.split_whitespace()).unwrap().command else { panic!() };
        assert_eq!(flags.result.tags.len(), 2);
        assert_eq!(flags.input.build_args[1].value, None);
        assert_eq!(flags.input.platform[0].to_string(), "linux/arm64");
        assert_eq!(flags.run.jobs(64), 3);
        assert_eq!(flags.reuse.no_cache_filter, ["a", "b", "c"]);
        assert!(flags.reuse.no_cache && flags.reuse.pull && flags.result.push);
    }

    #[test]
    fn the_default_of_jobs() {
        let Command::Build(flags) = Cli::try_parse_from(["cooper", "build", "."]).unwrap().command else { panic!() };
        assert_eq!((flags.run.jobs(1), flags.run.jobs(4), flags.run.jobs(16)), (8, 8, 32));
    }
}
