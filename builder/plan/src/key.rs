//! Cache keys: what the result of a step depends on, and nothing else.
//!
//! | input | in the key? | why |
//! |---|---|---|
//! | layers below (ChainId) | yes | a result, not a definition: a stage that was rebuilt with the same outcome still hits |
//! | program, arguments, script | yes | they are what is run |
//! | environment: ENV and every declared ARG | yes, used or not | nobody can tell what a command reads |
//! | working directory, user, network | yes | a command can see each of them |
//! | host name that a command sees | yes, when BUILDKIT_SANDBOX_HOSTNAME gives one | a command can see it |
//! | platform | yes | the same command makes other files elsewhere |
//! | source patterns | yes | they decide under which names files arrive |
//! | chosen files: names, modes, owners, bytes | yes, as the digest of the selection | a rename or a new byte must miss |
//! | is the source the context, or a root? | yes | files of the context belong to 0:0, those of a root keep their owner |
//! | which stage or image is the source | no | its files are in the selection: the same files from elsewhere are the same |
//! | destination, `--chown`, `--chmod`, unpacking | yes | they are in the layer |
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

use crate::op::{Copy, Exec, Network, Workdir};
use cooper_image::{ChainId, Digest, Platform};

pub use crate::record::{KeyRecord, Parts};

/// The key of a RUN upon the layers `parent` (`None` is an empty root).
pub fn exec_key(parent: Option<&ChainId>, exec: &Exec, platform: &Platform) -> KeyRecord {
    let network = match exec.network {
        Network::Default => "default",
        Network::None => "none",
        Network::Host => "host",
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
    record
}

/// The key of a COPY or ADD; `selection` is the digest of the files that the patterns choose.
pub fn copy_key(parent: Option<&ChainId>, copy: &Copy, selection: &Digest, platform: &Platform) -> KeyRecord {
    let yes_no = |b: bool| if b { "yes" } else { "no" };
    let inline: Vec<(&String, String)> = copy.inline.iter().map(|(n, b)| (n, Digest::sha256(b).to_string())).collect();
    begin("copy", parent, platform)
        .part("from", if copy.from.is_some() { "root" } else { "context" })
        .part("sources", json(&copy.sources))
        .part("files", selection.to_string())
        .part("inline", json(&inline))
        .part("dest", copy.dest.to_string())
        .part("dest.directory", yes_no(copy.dest_is_dir))
        .part("unpack", yes_no(copy.unpack))
        .optional("chown", copy.chown.as_ref())
        .optional("chmod", copy.chmod.as_ref())
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
