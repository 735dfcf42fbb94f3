//! What a RUN has mounted: files found and hashed for its key, then made ready for its process.
//!
//! Takes mounts as planned; gives mounts for the sandbox and what has to be held while it runs. Must never: put a
//! secret into a file, or show a step files that are not in its key.

use super::Place;
use super::copy::NAMED_FILES;
use super::owned;
use crate::EngineError;
use crate::agent::{Agent, AgentSource};
use crate::context::Opened;
use crate::layers::{Layer, diff_ids, give, io, set_mode};
use crate::rooting::Rooting;
use crate::solve::Build;
use cooper_dockerfile::mount::Ownership;
use cooper_image::stable_hash::StableHash;
use cooper_image::{ChainId, ContainerPath, Digest, RelPath};
use cooper_layerfs::apply;
use cooper_layerfs::copy::{CopyPart, CopyRequest, Owner, Unpack, pack_copy};
use cooper_layerfs::owners::Owners;
use cooper_layerfs::root::Root;
use cooper_layerfs::select::{self, Ownership as Whose, SelectRequest, Selection};
use cooper_layerfs::view::{Follow, View};
use cooper_plan::difference::mounted_file;
use cooper_plan::key::Parts;
use cooper_plan::mount::{Access, Cache, Mount, Mounted, Secret, Sharing, Source};
use cooper_plan::op::{Base, Exec};
use cooper_sandbox::{Content, Private, StepSpec, Tier};
use cooper_store::{CacheMount, CacheUse, Store};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often a cache that somebody else has is asked for.
const AGAIN: Duration = Duration::from_millis(50);
/// Name of the copied files below a directory of their own.
pub const COPIED: &str = "files";

/// Where the files of a mount are.
pub struct Origin {
    ground: Ground,
    path: ContainerPath,
}

/// What a path of a mount is below.
pub enum Ground {
    /// The files of a context.
    Context(Arc<Opened>),
    /// A stage or an image.
    Layers(Vec<Layer>),
}

/// The files of a mount.
pub struct Files {
    /// Their identity.
    pub digest: Digest,
    origin: Origin,
    view: View,
    /// What is shown; everything in the layers when it was not looked at.
    selection: Option<Selection>,
}

impl Files {
    /// What their path is below.
    pub fn ground(&self) -> &Ground {
        &self.origin.ground
    }

    /// Their path.
    pub fn path(&self) -> &ContainerPath {
        &self.origin.path
    }

    /// Where they are looked up.
    pub fn view(&self) -> &View {
        &self.view
    }
}

/// What has to be there until the process has ended.
#[derive(Default)]
pub struct Held {
    caches: Vec<CacheMount>,
    agents: Vec<Agent>,
}

impl Held {
    /// The caches, each once.
    pub fn caches_mut(&mut self) -> impl Iterator<Item = &mut CacheMount> {
        self.caches.iter_mut()
    }
}

impl Build<'_> {
    /// Where the files of each mount are; waits for stages.
    pub fn places(&self, exec: &Exec, place: &Place<'_>) -> Result<Vec<Option<Origin>>, EngineError> {
        let origin = |source: &Source| {
            let ground = self.ground(source.from.as_ref(), place)?;
            Ok(Origin { ground, path: source.path.clone() })
        };
        exec.mounts.iter().map(|m| m.source().map(origin).transpose()).collect()
    }

    fn ground(&self, from: Option<&Base>, place: &Place<'_>) -> Result<Ground, EngineError> {
        Ok(Ground::Layers(match from {
            None => return Ok(Ground::Context(Arc::clone(&self.main))),
            Some(Base::Files(name)) => return self.files_of(name).map(Ground::Context),
            Some(Base::Scratch) => Vec::new(),
            Some(Base::Stage(id)) => self.stage(*id)?.layers.clone(),
            Some(base @ (Base::Image(_) | Base::Layout(_))) => {
                self.image(base, place.stage, self.request.freshness)?.layers
            }
        }))
    }

    /// Hashes the files of each mount.
    pub fn files(&self, origins: Vec<Option<Origin>>) -> Result<Vec<Option<Files>>, EngineError> {
        origins.into_iter().map(|o| o.map(|o| self.look(o)).transpose()).collect()
    }

    fn look(&self, origin: Origin) -> Result<Files, EngineError> {
        let view = match &origin.ground {
            Ground::Context(files) => files.view()?,
            Ground::Layers(layers) => self.engine.view(layers)?,
        };
        // The layers' own names are the identity of all that is in them; nobody needs to read gigabytes for it.
        if let (Ground::Layers(layers), true) = (&origin.ground, origin.path.rel().is_root()) {
            let mut hash = StableHash::new("mount-layers/1");
            if let Some(chain) = ChainId::of(&diff_ids(layers)) {
                hash.part("chain", chain.to_string());
            }
            return Ok(Files { digest: hash.finish(), origin, view, selection: None });
        }
        let selection = self.shown(&origin, &view)?;
        let mut hash = StableHash::new("mount-files/1");
        hash.part("files", selection.digest.to_string());
        // The process sees the mounted directory or file itself as well. That of a context is always made anew.
        if let Ground::Layers(_) = &origin.ground
            && let Some(meta) = view.resolve(origin.path.rel(), Follow::Final)?.meta
        {
            hash.part("mode", meta.mode.to_le_bytes());
            hash.part("uid", meta.uid.to_le_bytes()).part("gid", meta.gid.to_le_bytes());
        }
        Ok(Files { digest: hash.finish(), origin, view, selection: Some(selection) })
    }

    /// Everything at the path, but for what an ignore file hides in a context.
    fn shown(&self, origin: &Origin, view: &View) -> Result<Selection, EngineError> {
        let rules = match &origin.ground {
            Ground::Context(files) => Some(&files.ignore),
            Ground::Layers(_) => None,
        };
        Ok(select::select(&SelectRequest {
            view,
            patterns: &[literal(&origin.path)],
            ignored: &|p: &RelPath| rules.is_some_and(|r| r.ignored(p.as_bytes())),
            may_hold_included: &|p: &RelPath| rules.is_none_or(|r| r.may_hold_included(p.as_bytes())),
            glob: &|_, _| false,
            ownership: if rules.is_some() { Whose::Zero } else { Whose::Keep },
            rules: select::Rules::default(),
        })?)
    }

    /// Makes the mounts ready and puts them into the specification.
    pub fn mount(
        &self,
        exec: &Exec,
        files: &[Option<Files>],
        dir: &Path,
        spec: &mut StepSpec,
    ) -> Result<Held, EngineError> {
        let mut held = Held::default();
        let mut caches = Vec::new();
        for (number, (mount, files)) in exec.mounts.iter().zip(files).enumerate() {
            let own = dir.join(own_name(number));
            let content = match (&mount.what, files) {
                (Mounted::Bind(_), Some(files)) => Some(self.bind(files, &own)?),
                (Mounted::Cache(cache), files) => {
                    self.may_own(cache.ownership, mount)?;
                    caches.push((cache_name(cache, files.as_ref()), (spec.mounts.len(), cache, files.as_ref())));
                    // Filled in below.
                    Some(Content::Tmpfs { bytes: None })
                }
                (Mounted::Tmpfs { bytes }, _) => Some(Content::Tmpfs { bytes: *bytes }),
                (Mounted::Secret(secret), _) => self.secret(secret, mount, spec)?,
                (Mounted::Ssh { id, required, ownership }, _) => {
                    let agent = self.agent((id, mount), *required, *ownership, &own)?;
                    let content = agent.as_ref().map(|a| Content::Host(a.path().to_owned()));
                    held.agents.extend(agent);
                    content
                }
                (Mounted::Bind(_), None) => None,
            };
            if let (Some(content), Some(target)) = (content, &mount.target) {
                let access = access(mount.access);
                spec.mounts.push(cooper_sandbox::Mount { target: target.to_string(), access, content });
            }
        }
        let take = |name: &Digest, want: &(usize, &Cache, Option<&Files>)| self.cache(name, want.1, want.2);
        held.caches.extend(in_one_order(caches, take, |(at, ..), cache| put(spec, *at, cache))?);
        Ok(held)
    }

    fn bind(&self, files: &Files, own: &Path) -> Result<Content, EngineError> {
        if matches!(self.engine.rooting(), Rooting::Bound | Rooting::Chroot) {
            return Ok(Content::Host(self.copied_bind(files, own)?));
        }
        let Ground::Layers(layers) = &files.origin.ground else {
            return Ok(Content::Host(self.copied(files, own)?));
        };
        make(own)?;
        let mut lowers = self.engine.stacked(self.engine.trees(layers)?)?;
        if lowers.is_empty() {
            lowers.push(make(&own.join("lower"))?);
        }
        let (upper, work) = (make(&own.join("upper"))?, make(&own.join("work"))?);
        Ok(Content::Layers { lowers, upper, work, path: files.origin.path.to_string() })
    }

    /// A copy of the files: what is ignored is not there, and what the step writes stays here.
    pub(super) fn copied(&self, files: &Files, own: &Path) -> Result<PathBuf, EngineError> {
        make(own)?;
        let selection = match &files.selection {
            Some(selection) => selection,
            None => &self.shown(&files.origin, &files.view)?,
        };
        self.copy_files(&files.view, selection, own, &ContainerPath::from(COPIED))?;
        Ok(own.join(COPIED))
    }

    /// Copies what was selected to a path below a directory.
    fn copy_files(
        &self,
        view: &View,
        selection: &Selection,
        own: &Path,
        dest: &ContainerPath,
    ) -> Result<(), EngineError> {
        let root = Root::open(own)?;
        let (mut reader, mut writer) = std::io::pipe().map_err(|e| io("making a pipe", e))?;
        let request = CopyRequest {
            parts: &[CopyPart { view, selection, unpack: Unpack::No }],
            target: &View::stack(Vec::new()),
            dest,
            dest_is_dir: false,
            owner: Owner::Keep,
            chmod: None,
            clamp: None,
            now: self.request.created,
            inline: &[],
        };
        std::thread::scope(|scope| {
            let packer = scope.spawn(move || pack_copy(&request, &mut writer));
            let applied = apply::apply(&mut reader, &root, &self.engine.apply_options(), &|_| Ok(None));
            let drained = std::io::copy(&mut reader, &mut std::io::sink());
            // What the packer says is the cause of what the other side says.
            packer.join().map_err(|_| EngineError::Interrupted)??;
            applied?;
            drained.map_err(|e| io("copying files", e))
        })?;
        Ok(())
    }

    fn may_own(&self, owned: Ownership, mount: &Mount) -> Result<(), EngineError> {
        owned::possible(self.engine.owners(), owned, mount.target.as_ref())
    }

    fn secret(&self, secret: &Secret, mount: &Mount, spec: &mut StepSpec) -> Result<Option<Content>, EngineError> {
        let Secret { id, variable, required, ownership } = secret;
        let Some(given) = self.request.run.secrets.get(id) else {
            if !required {
                return Ok(None);
            }
            return Err(EngineError::Request {
                message: format!("secret {id} is required, and was not given"),
                hint: format!("add --secret id={id},src=FILE or --secret id={id},env=VARIABLE"),
            });
        };
        self.may_own(*ownership, mount)?;
        if let Some(name) = variable {
            let text = std::str::from_utf8(given.bytes()).ok().filter(|t| !t.contains('\0'));
            let text = text.ok_or_else(|| EngineError::Request {
                message: format!("secret {id} cannot be the variable {name}: it is not text"),
                hint: "mount it as a file: drop env=".to_owned(),
            })?;
            spec.env.retain(|(n, _)| n != name);
            spec.env.push((name.clone(), text.to_owned()));
        }
        Ok(mount.target.as_ref().map(|_| Content::File {
            bytes: Private(given.bytes().to_vec()),
            uid: ownership.uid.unwrap_or(0),
            gid: ownership.gid.unwrap_or(0),
            mode: ownership.mode.unwrap_or(0o400),
        }))
    }

    fn agent(
        &self,
        (id, mount): (&str, &Mount),
        required: bool,
        owned: Ownership,
        own: &Path,
    ) -> Result<Option<Agent>, EngineError> {
        let Some(source) = self.request.run.agents.get(id) else {
            if !required {
                return Ok(None);
            }
            return Err(EngineError::Request {
                message: format!("the ssh agent {id} is required, and was not given"),
                hint: format!("add --ssh {id}, or --ssh {id}=PATH with the socket of an agent or the file of a key"),
            });
        };
        self.may_own(owned, mount)?;
        make(own)?;
        start_agent(id, source, own, (owned, self.engine.owners())).map(Some)
    }

    fn cache(&self, name: &Digest, cache: &Cache, files: Option<&Files>) -> Result<CacheMount, EngineError> {
        let manner = match cache.sharing {
            // One directory cannot be in two roots.
            Sharing::Shared if self.engine.tier == Tier::Container => CacheUse::Locked,
            Sharing::Shared => CacheUse::Shared,
            Sharing::Private => CacheUse::Private,
            Sharing::Locked => CacheUse::Locked,
        };
        let mut fill = |path: &Path| self.fill(path, cache, files);
        await_cache(&self.engine.store, (name, manner), &mut fill, self.cancel)
    }

    /// The first content of a cache.
    fn fill(&self, path: &Path, cache: &Cache, files: Option<&Files>) -> Result<(), EngineError> {
        match files {
            None => drop(make(path)?),
            Some(files) => {
                let copied = self.copied(files, &path.with_extension("seed"))?;
                if !copied.is_dir() {
                    let message =
                        format!("the cache {} cannot begin with {}, which is a file", cache.id, files.origin.path);
                    return Err(EngineError::Request { message, hint: "give source= a directory".to_owned() });
                }
                std::fs::rename(&copied, path).map_err(|e| io("making a cache", e))?;
            }
        }
        let Ownership { uid, gid, mode } = cache.ownership;
        give(self.engine.owners(), path, uid, gid).map_err(|e| io("setting the owner of a cache", e))?;
        if let Some(mode) = mode {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(path, mode).map_err(|e| io("setting the mode of a cache", e))?;
        }
        Ok(())
    }
}

/// Takes caches in one order for everybody, so that two processes never wait for each other, and each of them once, as
/// what is locked is locked for its owner too. Gives them to all that want them.
pub fn in_one_order<Want, Cache>(
    mut wanted: Vec<(Digest, Want)>,
    mut take: impl FnMut(&Digest, &Want) -> Result<Cache, EngineError>,
    mut give: impl FnMut(&Want, &Cache),
) -> Result<Vec<Cache>, EngineError> {
    wanted.sort_by_key(|(name, _)| name.to_string());
    let (mut held, mut last) = (Vec::new(), None);
    for (name, want) in &wanted {
        if last != Some(name) {
            held.push(take(name, want)?);
            last = Some(name);
        }
        if let Some(cache) = held.last() {
            give(want, cache);
        }
    }
    Ok(held)
}

/// Puts a cache where the specification has a place for one.
pub fn put(spec: &mut StepSpec, at: usize, cache: &CacheMount) {
    if let Some(mount) = spec.mounts.get_mut(at) {
        mount.content = Content::Host(cache.path().to_owned());
    }
}

/// A cache, as soon as nobody has it who does not share it.
pub fn await_cache(
    store: &Store,
    (name, manner): (&Digest, CacheUse),
    fill: &mut dyn FnMut(&Path) -> Result<(), EngineError>,
    cancel: &AtomicBool,
) -> Result<CacheMount, EngineError> {
    loop {
        if let Some(mine) = store.cache_mount(name, manner, fill)? {
            return Ok(mine);
        }
        if cancel.load(Ordering::SeqCst) {
            return Err(EngineError::Interrupted);
        }
        std::thread::sleep(AGAIN);
    }
}

/// Serves an agent's socket in a directory.
pub fn start_agent(
    id: &str,
    source: &AgentSource,
    own: &Path,
    owned: (Ownership, Owners),
) -> Result<Agent, EngineError> {
    Agent::start(source, own, owned).map_err(|e| io(format!("forwarding the ssh agent {id}"), e))
}

/// The files of all mounts by name, when they are few.
pub fn named(files: &[Option<Files>]) -> Parts {
    let mut named = Parts::new();
    for (number, files) in files.iter().enumerate() {
        let Some(selection) = files.as_ref().and_then(|f| f.selection.as_ref()) else { continue };
        match selection.files(NAMED_FILES.saturating_sub(named.len())) {
            Some(more) => named.extend(more.into_iter().map(|(path, sum)| (mounted_file(number, &path), sum))),
            None => return Parts::new(),
        }
    }
    named
}

/// As in BuildKit, caches of one id with another first content, owner or mode are other caches.
pub fn cache_name(cache: &Cache, files: Option<&Files>) -> Digest {
    let mut hash = StableHash::new("cache-mount/1");
    hash.part("id", &cache.id);
    if let Some(files) = files {
        hash.part("seed", files.digest.to_string());
    }
    let Ownership { uid, gid, mode } = cache.ownership;
    for (name, number) in [("uid", uid), ("gid", gid), ("mode", mode)] {
        if let Some(number) = number {
            hash.part(name, number.to_string());
        }
    }
    hash.finish()
}

fn access(access: Access) -> cooper_sandbox::Access {
    match access {
        Access::ReadOnly => cooper_sandbox::Access::ReadOnly,
        Access::ReadWrite => cooper_sandbox::Access::ReadWrite,
    }
}

/// The directory of a mount, below that of the step.
pub fn own_name(number: usize) -> String {
    format!("mount-{number}")
}

/// A path as a pattern in which nothing is a wildcard.
pub fn literal(path: &ContainerPath) -> String {
    let mut pattern = String::new();
    for c in path.to_string().chars() {
        if matches!(c, '*' | '?' | '[' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

fn make(dir: &Path) -> Result<PathBuf, EngineError> {
    std::fs::create_dir(dir).map_err(|e| io(format!("creating {}", dir.display()), e))?;
    set_mode(dir)?;
    Ok(dir.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_are_taken_in_one_order_and_each_once() {
        let name = |text: &str| Digest::sha256(text);
        let texts = ["a", "b", "c", "a", "d", "b"];
        let taken = |texts: &[&str]| {
            let wanted = texts.iter().enumerate().map(|(at, text)| (name(text), at)).collect();
            let (mut order, mut given) = (Vec::new(), vec![None; texts.len()]);
            let take = |name: &Digest, _: &usize| {
                order.push(name.to_string());
                Ok(name.clone())
            };
            let held = in_one_order(wanted, take, |at, cache: &Digest| given[*at] = Some(cache.clone())).unwrap();
            assert_eq!(held.len(), order.len());
            assert_eq!(given, texts.iter().map(|text| Some(name(text))).collect::<Vec<_>>());
            order
        };
        let order = taken(&texts);
        assert_eq!(order.len(), 4);
        assert!(order.is_sorted(), "{order:?}");
        assert_eq!(taken(&["d", "c", "b", "a"]), order);
    }
}
