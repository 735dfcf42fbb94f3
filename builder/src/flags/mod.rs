//! What a person can type, and what each flag means. Parsing only: nothing here looks at files,
//! the environment or the clock.

pub mod annotation;
pub mod archive;
pub mod attest;
pub mod build;
pub mod call;
pub mod context;
pub mod copy;
pub mod debug;
pub mod diff;
mod examples;
pub mod explain;
pub mod failing;
pub mod index;
pub mod limits;
pub mod login;
mod names;
pub mod output;
pub mod output_form;
pub mod pair;
pub mod rework;
pub mod secret;
pub mod serve;
pub mod steps;
pub mod store;
pub mod toolkit;
pub mod view;

use clap::{Args, Parser, Subcommand};
use cooper_image::platform::PlatformError;
use cooper_image::{Platform, Reference};
use std::path::PathBuf;

/// Builds container images from Dockerfiles and talks to registries, without a daemon and without root.
#[derive(Debug, Parser)]
#[command(name = "cooper", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    /// Flags that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The end of the help text: exit codes.
const AFTER_HELP: &str = "\
Results go to standard output, everything else to standard error.

Exit codes:
  0 done            1 a step failed, checks      2 wrong use or a wrong Dockerfile
                      found something, or
                      exists found nothing
  3 invalid input   4 registry or network        5 storage
  6 no sandbox      7 a lock was not free        130, 143 interrupted";

/// Flags that every command takes.
#[derive(Debug, Args)]
pub struct Global {
    /// Where images, layers and the cache are kept
    ///
    /// Default: $COOPER_ROOT, else /var/lib/cooper for the root user, else
    /// $XDG_DATA_HOME/cooper, else ~/.local/share/cooper. Copying the directory moves the cache.
    #[arg(long, global = true, value_name = "DIR")]
    pub root: Option<PathBuf>,

    /// The registries.conf to follow, instead of the user's and the machine's
    ///
    /// The format is that of containers-registries.conf(5), version 2: mirrors, prefixes, blocked and
    /// insecure registries, aliases of short names. Default: $CONTAINERS_REGISTRIES_CONF, else
    /// ~/.config/containers/registries.conf, else /etc/containers/registries.conf and
    /// /etc/containers/registries.conf.d/*.conf.
    #[arg(long, global = true, value_name = "FILE")]
    pub registries_conf: Option<PathBuf>,

    /// Allow plain HTTP and unverified certificates for this registry (host or host:port); repeatable
    ///
    /// Registries on the loopback interface are tried without TLS anyway.
    #[arg(long = "insecure-registry", global = true, value_name = "HOST")]
    pub insecure_registries: Vec<String>,

    /// Trust a certificate authority for one registry, as registry.example:5000=ca.pem; repeatable
    ///
    /// Authorities and client certificates are also read where docker and podman have them: in HOST[:PORT] below
    /// ~/.config/containers/certs.d, /etc/containers/certs.d and /etc/docker/certs.d, of which the first that is there
    /// counts. *.crt are authorities, NAME.cert and NAME.key a client certificate with its key.
    #[arg(long = "registry-ca", global = true, value_name = "HOST=FILE", value_parser = registry_ca)]
    pub registry_authorities: Vec<(String, PathBuf)>,

    /// Let a token server on another host see the credentials for a registry, as
    /// registry.example=auth.example; repeatable
    ///
    /// A registry names its token server itself. Credentials go to one on another host only when somebody
    /// says that it belongs to the registry, and only over https. Docker Hub's is known.
    #[arg(long = "trusted-token-server", global = true, value_name = "REGISTRY=HOST")]
    pub token_servers: Vec<login::TokenServer>,

    /// Say which store, files and settings are used
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build an image from a Dockerfile and a directory
    #[command(after_long_help = examples::BUILD)]
    Build(Box<build::BuildFlags>),
    /// Look for what could be better in a Dockerfile; nothing is built and no registry is asked
    ///
    /// Tells what BuildKit's build checks tell, and more. docs/checks explains each rule. A comment
    /// `# check=skip=RULE` above an instruction leaves a rule out for it, in the first lines for the whole
    /// file. Ends with 1 when something was found.
    #[command(after_long_help = examples::CHECK)]
    Check(Box<call::CheckFlags>),
    /// Say of each step of a build whether its result was known, and if not, what exactly was not as before
    ///
    /// The last hundred builds are remembered in the store, those that failed as well. Of two builds it says which
    /// steps had other inputs, and which. Values of variables that sound or look like secrets are not shown.
    #[command(after_long_help = examples::EXPLAIN)]
    Explain(explain::ExplainFlags),
    /// Send images of the store to the registries in their names
    #[command(after_long_help = examples::PUSH)]
    Push(PushFlags),
    /// Fetch an image from its registry into the store
    #[command(after_long_help = examples::PULL)]
    Pull(PullFlags),
    /// Copy an image from one place to another: registries, OCI layouts, archives, the store
    ///
    /// `cooper copy debian:12 registry.example/mirror/debian:12` sends all platforms with their digests as they are. A
    /// blob that is at the target already is not sent, one that is in another repository of the same registry is taken
    /// from there, and the others go straight from the one registry to the other, never by the disk.
    ///
    /// Places are NAME for a registry, store://NAME, oci-layout://DIR[:NAME], oci-archive://FILE[:NAME] and
    /// docker-archive://FILE[:NAME], FILE being - for standard input or output. docker-archive, which `docker load`
    /// reads, holds one platform: this machine's, or that of --platform.
    #[command(after_long_help = examples::COPY)]
    Copy(copy::CopyFlags),
    /// Put images for several platforms under one name, and change what such an index says
    #[command(subcommand, visible_alias = "manifest")]
    Index(index::IndexCommand),
    /// Change settings of an image without building it: variables, labels, command, user
    ///
    /// `cooper mutate app:1 registry.example/app:2 --env MODE=fast --label stage=test`. Layers stay as they are and are
    /// not read; a registry takes them from its own repository. Of an index every image is changed, and what was said
    /// of the old ones (attestations) is left away.
    #[command(after_long_help = examples::MUTATE)]
    Mutate(rework::MutateFlags),
    /// Put a tar on an image as a further layer
    ///
    /// `tar c app | cooper append debian:12 registry.example/app:1 --layer -`. A tar that is compressed with gzip or zstd
    /// stays as it is, any other becomes gzip. The layers below are not read.
    #[command(after_long_help = examples::APPEND)]
    Append(rework::AppendFlags),
    /// Make one layer of all layers of an image; settings stay
    #[command(after_long_help = examples::FLATTEN)]
    Flatten(rework::FlattenFlags),
    /// Put an image on another base without building it
    ///
    /// `cooper rebase app:1 app:1-mended --old-base debian:12@sha256:… --new-base debian:12`. The layers of the old base
    /// have to be the first ones of the image, exactly. Settings stay those of the image. It is right only where the
    /// image's own layers go with the new base: nothing is run again.
    #[command(after_long_help = examples::REBASE)]
    Rebase(rework::RebaseFlags),
    /// Write the files of an image as one tar
    #[command(after_long_help = examples::EXPORT)]
    Export(rework::ExportFlags),
    /// Write images of the store into one archive, for `docker load` and others
    #[command(after_long_help = examples::SAVE)]
    Save(archive::SaveFlags),
    /// Take the images of an archive into the store: what `docker save` writes, or an OCI layout
    #[command(after_long_help = examples::LOAD)]
    Load(archive::LoadFlags),
    /// Copy images or whole repositories to another registry or layout, and of them only what is missing there
    ///
    /// `cooper sync debian:12 team.example/app mirror.example/hub` copies one image and all tags of a repository; the
    /// path of each repository is kept below the target. What leads to the same digest there is not touched. An image
    /// that cannot be copied does not keep the others; the command fails in the end.
    #[command(after_long_help = examples::SYNC)]
    Sync(archive::SyncFlags),
    /// Say in what two images differ, wherever they are: settings, layers, files with their sizes
    ///
    /// Files are A added, D removed, C changed, with what of them: content, mode, owner, type, attributes; times do not
    /// count. Layers that both have are read only when a file of the others may be in them; --own-layers never reads
    /// them, --no-files reads no layer.
    #[command(after_long_help = examples::DIFF)]
    Diff(diff::DiffFlags),
    /// Say whether an image is what it says that it is, wherever it is: registry, store, layout or archive
    ///
    /// It compares digests and sizes, what layers unpack to with the DiffIds, the configuration with the layers and with
    /// the index, media types and the form of the documents, and tells everything that is wrong. Ends with 3 when
    /// something is. --fast reads no layer.
    #[command(after_long_help = examples::VALIDATE)]
    Validate(copy::ValidateFlags),
    /// List what refers to an image at its registry: signatures, bills of materials, attestations
    ///
    /// Of registries that keep no such list themselves it is the one that clients keep under a tag.
    #[command(after_long_help = examples::REFERRERS)]
    Referrers(copy::ReferrersFlags),
    /// Keep a user name and a password, or an access token in its place, for a registry
    ///
    /// They are tried at the registry first, and kept only when it takes them. They go into the file that docker and
    /// podman read as well: $REGISTRY_AUTH_FILE, else config.json in $DOCKER_CONFIG, else ~/.docker/config.json; or to
    /// the credential helper that this file names for the registry.
    ///
    /// The password is asked for on a terminal, or comes on standard input:
    /// `echo "$TOKEN" | cooper login --username me --password-stdin registry.example`. It is never an argument, since
    /// every user of the machine can read those.
    #[command(after_long_help = examples::LOGIN)]
    Login(login::LoginFlags),
    /// Forget the user name and the password for a registry
    ///
    /// It takes them out of the file that `cooper login` writes, and out of the credential helper that this file names.
    /// What another file still holds is said, and stays.
    #[command(after_long_help = examples::LOGOUT)]
    Logout(login::LogoutFlags),
    /// List the images that have names in the store
    #[command(after_long_help = examples::IMAGES)]
    Images(ListFlags),
    /// Show what an image of the store is, or of another place: platforms, settings, layers
    ///
    /// NAME alone is the store's, and with --remote its registry's; oci-layout://DIR:TAG, oci-archive://FILE and
    /// docker-archive://FILE are read where they are. --json gives all of it to programs. With --raw, --manifest and
    /// --config it is the very bytes of one document, so that their digest can be computed:
    /// `cooper inspect --remote --manifest debian:bookworm | sha256sum`. Documents alone are fetched, never a layer; only
    /// images of the store need a store.
    #[command(after_long_help = examples::INSPECT)]
    Inspect(toolkit::InspectFlags),
    /// List the tags of a repository of a registry, one on each line
    ///
    /// Long lists come in pages, which are all read unless --limit is given. Mirrors are not asked, since they may know
    /// only some.
    #[command(after_long_help = examples::LS_TAGS)]
    LsTags(toolkit::LsTagsFlags),
    /// List the repositories of a registry, one on each line
    ///
    /// Only those that the registry wants to show us; many, Docker Hub among them, do not list any.
    #[command(after_long_help = examples::CATALOG)]
    Catalog(toolkit::CatalogFlags),
    /// Print the digest that an image has at its registry, without fetching it
    ///
    /// It is that of what the name itself leads to, which of an image for several platforms is their index; with
    /// --platform that of the one image. `NAME@DIGEST` then means the same for ever. Of a layout or an archive it is
    /// what that leads to.
    #[command(after_long_help = examples::DIGEST)]
    Digest(toolkit::DigestFlags),
    /// Ask a registry whether it has an image: ends with 0 when it has, with 1 when it has not
    ///
    /// No layer is fetched, and nothing printed without --json. 4 means that the registry could not be asked or would not say; a private
    /// repository that this user may not see can look like one that is not there.
    #[command(after_long_help = examples::EXISTS)]
    Exists(toolkit::ExistsFlags),
    /// Give an image of the store further names
    ///
    /// `cooper tag app:1 registry.example/team/app:1` and then `cooper push registry.example/team/app:1` sends it there.
    /// A name that another image had is taken from it.
    #[command(after_long_help = examples::TAG)]
    Tag(toolkit::TagFlags),
    /// Show how an image of the store came about, step by step, the last one first
    ///
    /// Sizes are those of the compressed layers, as a registry counts them; of a layer that was never compressed it is
    /// that of its files, marked as unpacked. A step without a layer has no size.
    #[command(after_long_help = examples::HISTORY)]
    History(toolkit::HistoryFlags),
    /// Take names of images away; `cooper prune` frees what only they led to
    ///
    /// With --remote it is at the registry: NAME:TAG takes the tag away, NAME@DIGEST deletes the image with all its tags.
    #[command(alias = "rmi")]
    #[command(after_long_help = examples::RM)]
    Rm(store::RmFlags),
    /// Say how much the store holds, kind by kind, and how much of it could go
    ///
    /// Sizes are what the disk gave, a file with several names counted once; with -v also every single thing.
    #[command(after_long_help = examples::DU)]
    Du(store::DuFlags),
    /// Delete what no image, no repository and no running process needs
    ///
    /// What was not used for longest goes first. Without flags, what was used within 48 hours stays. It may run beside
    /// builds, pulls, pushes and the registry.
    #[command(after_long_help = examples::PRUNE)]
    Prune(store::PruneFlags),
    /// Commands for the built-in registry
    #[command(subcommand)]
    Registry(serve::RegistryCommand),
    /// Run a program in the user namespace that builds use
    ///
    /// Files of a rootless store may belong to subordinate ids, which only this namespace can delete:
    /// `cooper unshare rm -rf ~/.local/share/cooper`. For root it just runs the program.
    #[command(after_long_help = examples::UNSHARE)]
    Unshare(UnshareFlags),
    /// Show the stages and steps that a build would do, and do none of them
    #[command(after_long_help = examples::PLAN)]
    Plan(Box<debug::PlanFlags>),
    /// Show what Cooper makes of a Dockerfile, stage by stage of its own work
    #[command(subcommand)]
    Debug(Box<debug::DebugCommand>),
    /// Say whether builds can run here, how, and what is missing
    #[command(after_long_help = examples::DOCTOR)]
    Doctor(ListFlags),
}

/// `cooper push`.
#[derive(Debug, Args)]
pub struct PushFlags {
    /// Names of images, as given to -t; the part before the first slash is the registry. What several tags of one
    /// repository lead to is sent once
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<Reference>,
    /// Compress all layers so, also those of bases: gzip, zstd or uncompressed. In the store the image stays what it is.
    /// When nothing is said, what is compressed is sent as it is, and the rest as gzip
    #[arg(long, value_name = "METHOD")]
    pub compression_format: Option<String>,
    /// How much to compress: gzip (also when no method is said) 0 to 9, zstd 1 to 22, 0 is its usual one; lower is
    /// faster. Layers that are compressed by the method already stay what they are, whatever their level
    #[arg(long, value_name = "LEVEL")]
    pub compression_level: Option<String>,
    /// Print JSON, for programs: name and digest; of several names a list
    #[arg(long)]
    pub json: bool,
    /// How it is shown.
    #[command(flatten)]
    pub view: view::ViewFlags,
}

/// `cooper pull`.
#[derive(Debug, Args)]
pub struct PullFlags {
    /// The image's name; without a registry an alias or Docker Hub is meant, without a tag `latest`
    #[arg(value_name = "NAME")]
    pub name: Reference,
    /// Which of the image's platforms to fetch, as linux/arm64; default: this machine's
    #[arg(long, value_name = "OS/ARCH", value_parser = platform)]
    pub platform: Option<Platform>,
    /// Print JSON, for programs: name, media type, digest and size
    #[arg(long)]
    pub json: bool,
    /// How it is shown.
    #[command(flatten)]
    pub view: view::ViewFlags,
}

/// Commands that print a table.
#[derive(Debug, Args)]
pub struct ListFlags {
    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
}

/// `cooper unshare`.
#[derive(Debug, Args)]
pub struct UnshareFlags {
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "PROGRAM")]
    pub argv: Vec<std::ffi::OsString>,
}

/// A registry and the file of its certificate authority.
fn registry_ca(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((host, file)) if !host.is_empty() && !host.contains('/') && !file.is_empty() => {
            Ok((host.to_owned(), PathBuf::from(file)))
        }
        _ => Err("expected HOST=FILE, as registry.example:5000=ca.pem".to_owned()),
    }
}

/// A platform; `local` is this machine's, as in buildx.
fn platform(text: &str) -> Result<Platform, PlatformError> {
    if text == "local" { Ok(Platform::host()) } else { text.parse() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_grammar_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_and_command_has_a_help_text() {
        fn check(command: &clap::Command) {
            for arg in command.get_arguments() {
                assert!(arg.get_help().is_some(), "{} {}", command.get_name(), arg.get_id());
            }
            for sub in command.get_subcommands() {
                assert!(sub.get_about().is_some(), "{}", sub.get_name());
                check(sub);
            }
        }
        check(&Cli::command());
    }
}
