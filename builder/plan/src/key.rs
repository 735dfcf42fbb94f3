//! Cache keys: what the result of a step depends on, and nothing else.
//!
//! | input | in the key? | why |
//! |---|---|---|
//! | layers below (ChainId) | yes | a result, not a definition: a stage that was rebuilt with the same outcome still hits |
//! | program, arguments, script | yes | they are what is run |
//! | environment: ENV and every declared ARG | yes, used or not | nobody can tell what a command reads |
//! | working directory, user, network | yes | a command can see each of them |
//! | host name that a command sees | yes, when BUILDKIT_SANDBOX_HOSTNAME gives one | a command can see it |
//! | `--security`, host names of `--add-host`, `--shm-size`, `--ulimit`, `--no-new-privs` | yes | a command can see each of them |
//! | addresses of `--add-host` | no | they say where a service is, not what it is, as in BuildKit |
//! | mounts: target, access, kind, owner and mode | yes | a command can see each of them |
//! | files of a mount | yes, as the digest of what is shown and nothing else | a new byte must miss |
//! | which stage or image a mount comes from, its path there | no | its files are in the digest |
//! | what is in a cache, its id and sharing | **never** | a cache only makes a step faster |
//! | platform | yes | the same command makes other files elsewhere |
//! | source patterns | yes | they decide under which names files arrive |
//! | chosen files: names, modes, owners, bytes | yes, as the digest of the selection | a rename or a new byte must miss |
//! | is the source a context's files, or a root? | yes | files of a context belong to 0:0, those of a root keep their owner |
//! | which stage, image or context is the source | no | its files are in the selection: the same files from elsewhere are the same |
//! | destination, `--chown`, `--chmod`, unpacking | yes | they are in the layer |
//! | do made directories take `--chmod`? | yes, where it is octal | formerly they did not, and a store may hold such layers |
//! | do several files go onto one path in turn? | yes, when they may | the last one stays; formerly they made a directory |
//! | a file behind a URL: name, digest, `Last-Modified` | yes | they are in the layer; with `--checksum` nobody is asked for the date |
//! | a repository: commit, directory, submodules, which times | yes | they decide which files arrive |
//! | a repository's URL and branch or tag | with `.git` alone | the same commit from elsewhere has the same files |
//! | a file's URL | no | the same bytes under the same name are the same |
//! | `--exclude`, `--parents` | yes, when they are given | they decide which files arrive, and where |
//! | `--link` | yes, and then no layers below | its layer is made in an empty root, and holds upon any |
//! | files written in the Dockerfile | yes, as name and digest | they are in the layer |
//! | text of the instruction, its line, the stage's name | no | comments and layout make no files |
//! | latest time that files may have (SOURCE_DATE_EPOCH) | yes, when one was asked for (`KeyRecord::dated`) | it is in the layer |
//! | proxies from `--build-arg` | **never** | the same build must hit behind another proxy, and they may hold passwords |
//! | secrets | **never** | keys are kept on disk and shown to people |
//! | times of files, inode numbers, host paths, the name of the machine | **never** | a fresh clone on another machine must hit |
//! | time, user and environment of the build itself | **never** | they say nothing about the result |
//!
//! Takes a step as planned and digests of what it reads; gives a [`KeyRecord`]. An owner or user by name is looked up
//! in the root, which the layers below name already. Must never: read a file.

use crate::mount::{Access, Mount, Mounted, Ownership};
use crate::op::{AddSource, Base, Copy, Exec, Fetch, Network, Security, Workdir};
use cooper_dockerfile::remote::Mtime;
use cooper_image::{ChainId, Digest, Platform};

pub use crate::record::{KeyRecord, Parts};

/// What a RUN depends on beside its own words: what the command line says, and the files of its mounts.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// The network of a RUN that asks for none in particular.
    pub network: Network,
    /// Host names, sorted.
    pub hosts: Vec<String>,
    /// Bytes of shared memory, when they were given.
    pub shm_bytes: Option<u64>,
    /// Limits as text, sorted.
    pub limits: Vec<String>,
    /// May no program give more rights than its caller has?
    pub no_new_privs: bool,
    /// For each mount of the RUN, in order: the digest of the files that it shows.
    pub files: Vec<Option<Digest>>,
}

/// The key of a RUN upon the layers `parent` (`None` is an empty root).
pub fn exec_key(parent: Option<&ChainId>, exec: &Exec, given: &Given, platform: &Platform) -> KeyRecord {
    let network = match exec.network {
        Network::Default => given.network,
        asked => asked,
    };
    let network = match network {
        Network::Default => "default",
        Network::None => "none",
        Network::Host => "host",
        Network::Isolated => "isolated",
    };
    let mut record = begin("exec", parent, platform)
        .part("argv", json(&exec.argv))
        .part("cwd", exec.cwd.to_string())
        .part("user", &exec.user)
        .part("network", network)
        .optional("hostname", exec.hostname.as_ref());
    for (name, value) in &exec.env {
        record = record.part(&format!("env.{name}"), value);
    }
    if let Some((name, body)) = &exec.script {
        record = record.part("script.name", name).part("script.body", Digest::sha256(body).to_string());
    }
    let some = |list: &[String]| (!list.is_empty()).then(|| json(&list));
    record = record
        .optional("security", (exec.security == Security::Insecure).then_some("insecure"))
        .optional("hosts", some(&given.hosts))
        .optional("shm", given.shm_bytes.map(|n| n.to_string()))
        .optional("limits", some(&given.limits))
        .optional("no_new_privs", given.no_new_privs.then_some("on"))
        .optional("mounts", some(&exec.mounts.iter().map(mount).collect::<Vec<_>>()));
    for (number, (mount, files)) in exec.mounts.iter().zip(&given.files).enumerate() {
        record = record.optional(&files_part(number, mount), files.as_ref().map(ToString::to_string));
    }
    record
}

/// Name of the part with the digest of a mount's files.
pub(crate) fn files_part(number: usize, mount: &Mount) -> String {
    format!("mount.{number}.{}", mount.target.as_ref().map(ToString::to_string).unwrap_or_default())
}

/// A mount without its files, and without what only says where they come from.
fn mount(mount: &Mount) -> String {
    let owned = |o: &Ownership| (o.uid, o.gid, o.mode);
    let target = mount.target.as_ref().map(ToString::to_string);
    let access = match mount.access {
        Access::ReadOnly => "ro",
        Access::ReadWrite => "rw",
    };
    match &mount.what {
        Mounted::Bind(_) => json(&("bind", target, access)),
        Mounted::Cache(cache) => json(&("cache", target, access, owned(&cache.ownership))),
        Mounted::Tmpfs { bytes } => json(&("tmpfs", target, access, bytes)),
        Mounted::Secret(secret) => {
            let told = json(&("secret", target, access, &secret.id, &secret.variable, owned(&secret.ownership)));
            needed(told, secret.required)
        }
        Mounted::Ssh { id, ownership, required } => {
            needed(json(&("ssh", target, access, id, owned(ownership))), *required)
        }
    }
}

/// A command that must have a secret is another one than one that may do without: the step fails where it is missing,
/// and no earlier result stands for it.
fn needed(told: String, required: bool) -> String {
    if required { format!("{told} required") } else { told }
}

/// The key of a COPY or ADD; `selection` is the digest of the files that the patterns choose.
pub fn copy_key(parent: Option<&ChainId>, copy: &Copy, selection: &Digest, platform: &Platform) -> KeyRecord {
    let context = matches!(copy.from, None | Some(Base::Files(_)));
    let sources = copy.sources.iter().map(|s| Lands::of(s));
    arranged(begin("copy", parent.filter(|_| !copy.link), platform), copy)
        .optional("onto", in_turn(copy, sources))
        .part("from", if context { "context" } else { "root" })
        .part("sources", json(&copy.sources))
        .part("files", selection.to_string())
}

/// What a source of an ADD turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Files of the context: the digest of the selection.
    Files(Digest),
    /// A file behind a URL.
    Http {
        /// Its bytes; with a checksum, the checksum.
        digest: Digest,
        /// `Last-Modified`, which becomes the file's time; nothing with a checksum, for nobody was asked.
        modified: Option<String>,
    },
    /// A repository's files.
    Git {
        /// The commit.
        commit: String,
        /// The branch or tag, and where it is from: both are in `.git`.
        name: Option<String>,
    },
}

/// The key of an ADD that fetches; `found` has one entry for each of its sources.
pub fn fetch_key(parent: Option<&ChainId>, fetch: &Fetch, found: &[Found], platform: &Platform) -> KeyRecord {
    let sources = fetch.sources.iter().map(|source| match source {
        AddSource::Local(pattern) => Lands::of(pattern),
        AddSource::Http { .. } | AddSource::Git { .. } => Lands::Once,
    });
    let mut record = arranged(begin("fetch", parent.filter(|_| !fetch.copy.link), platform), &fetch.copy)
        .optional("onto", in_turn(&fetch.copy, sources))
        .part("unpack.fetched", yes_no(fetch.unpack));
    for (n, (source, found)) in fetch.sources.iter().zip(found).enumerate() {
        let of = |part: &str| format!("source.{}.{part}", n + 1);
        record = match (source, found) {
            (AddSource::Local(pattern), Found::Files(files)) => {
                record.part(&of("pattern"), pattern).part(&of("files"), files.to_string())
            }
            (AddSource::Http { source, .. }, Found::Http { digest, modified }) => record
                .part(&of("name"), &source.file_name)
                .part(&of("digest"), digest.to_string())
                .optional(&of("modified"), modified.as_ref()),
            (AddSource::Git { source, git_dir }, Found::Git { commit, name }) => record
                .part(&of("commit"), commit)
                .optional(&of("subdir"), source.subdir.as_ref())
                .part(&of("submodules"), yes_no(source.submodules))
                .part(&of("mtime"), if source.mtime == Mtime::Commit { "commit" } else { "checkout" })
                .optional(
                    &of("git"),
                    git_dir.then(|| format!("{} {}", source.shown(), name.as_deref().unwrap_or_default())),
                ),
            // Not what was asked for: a key of its own, which nothing else has.
            (_, other) => record.part(&of("unknown"), format!("{other:?}")),
        };
    }
    record
}

/// How often a source may go to the destination.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lands {
    Once,
    Often,
}

impl Lands {
    /// A pattern goes there once for each of its matches.
    fn of(pattern: &str) -> Self {
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            match c {
                '*' | '?' | '[' => return Self::Often,
                '\\' => drop(chars.next()),
                _ => {}
            }
        }
        Self::Once
    }
}

/// What tells a copy of which several files may go onto one path from one into a directory.
fn in_turn(copy: &Copy, sources: impl Iterator<Item = Lands>) -> Option<&'static str> {
    let mut landings = sources.chain(copy.inline.iter().map(|_| Lands::Once));
    let several = landings.next().is_some_and(|first| first == Lands::Often || landings.next().is_some());
    // With --parents every source goes below the destination.
    (several && !copy.dest_is_dir && !copy.parents).then_some("in turn")
}

/// Where and how files arrive.
fn arranged(record: KeyRecord, copy: &Copy) -> KeyRecord {
    let inline: Vec<(&String, String)> = copy.inline.iter().map(|(n, b)| (n, Digest::sha256(b).to_string())).collect();
    let exclude = (!copy.exclude.is_empty()).then(|| json(&copy.exclude));
    record
        .part("inline", json(&inline))
        .part("dest", copy.dest.to_string())
        .part("dest.directory", yes_no(copy.dest_is_dir))
        .part("unpack", yes_no(copy.unpack))
        .optional("exclude", exclude)
        .optional("parents", copy.parents.then_some("yes"))
        .optional("link", copy.link.then_some("yes"))
        .optional("chown", copy.chown.as_ref())
        .optional("chmod", copy.chmod.as_ref())
        .optional("made", copy.chmod.as_ref().filter(|mode| mode.starts_with(|c: char| c.is_ascii_digit())))
}

fn yes_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

/// The key of a WORKDIR.
pub fn workdir_key(parent: Option<&ChainId>, workdir: &Workdir, platform: &Platform) -> KeyRecord {
    begin("workdir", parent, platform).part("path", workdir.path.to_string()).part("user", &workdir.user)
}

fn begin(kind: &str, parent: Option<&ChainId>, platform: &Platform) -> KeyRecord {
    KeyRecord::new(kind)
        .optional("parent", parent.map(ToString::to_string))
        .part("platform", platform.to_string())
        .optional("platform.version", platform.os_version.as_ref())
}

/// A list as one text that no other list has.
fn json(list: &impl serde::Serialize) -> String {
    // Lists of strings always have a JSON form.
    serde_json::to_string(list).unwrap_or_default()
}
