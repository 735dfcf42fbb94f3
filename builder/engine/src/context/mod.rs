//! Contexts: files and images from outside that a build takes from. One is the main one, the others have names.
//!
//! Takes: where a context is. Gives: its files with the rules of its ignore file, or its image. A named context is
//! opened once, when a stage of the target first uses it. Must never: follow a link out of a context, or keep anything
//! of a foreign one after the build.

mod archive;
mod files;
pub(crate) mod layout;
mod remote;
mod source;

pub use archive::{Incoming, incoming};
pub use cooper_dockerfile::remote::{HttpSource, Remote, parse as parse_remote, parse_context as parse_remote_context};
pub use cooper_plan::context::{ContextName, ContextNameError};
pub use files::{Files, NotThere};
pub use layout::LayoutName;
pub use remote::Behalf;
pub use source::{ContextSource, ContextSourceError};

use crate::event::{Event, Sink};
use crate::layers::lock;
use crate::request::{BuildRequest, Freshness};
use crate::resolve::{Resolved, Trees};
use crate::{Engine, EngineError};
use cooper_dockerfile::ignore::Ignore;
use cooper_image::{Descriptor, Platform};
use cooper_layerfs::root::Root;
use cooper_layerfs::seen::Seen;
use cooper_layerfs::view::View;
use cooper_plan::build::{BaseImage, BaseKey};
use cooper_plan::context::Contexts;
use cooper_store::Store;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// The name of the file in a context that is a single one, as in BuildKit.
pub const SINGLE: &str = "context";

/// Files that are ready to be selected from.
pub struct Opened {
    files: Files,
    /// What is remembered of the files of a directory, whose path goes with it.
    seen: Option<(PathBuf, Arc<Seen>)>,
    /// What does not exist for the build.
    pub ignore: Ignore,
}

impl Opened {
    /// Reads the ignore rules.
    pub fn new(files: Files, store: &Store) -> Result<Self, EngineError> {
        let ignore = match files.ignore() {
            Some(bytes) => Ignore::parse(bytes).map_err(EngineError::ignore)?,
            None => Ignore::none(),
        };
        let seen = files.directory_path().and_then(|path| {
            let dev = Root::open(&path).ok().and_then(|root| Seen::trusted(&root))?;
            let seen = Seen::decode(&store.stat_cache(&path), dev, now());
            Some((path, Arc::new(seen)))
        });
        Ok(Self { files, seen, ignore })
    }
    /// A fresh look at the files.
    pub fn view(&self) -> Result<View, EngineError> {
        let view = self.files.view()?;
        Ok(match &self.seen {
            Some((_, seen)) => view.with_seen(Arc::clone(seen)),
            None => view,
        })
    }
    /// Remembers what was hashed. Without it, the next build only reads more.
    pub fn remember(&self, store: &Store) {
        if let Some((path, seen)) = &self.seen
            && let Some(bytes) = seen.encode()
            && let Err(error) = store.put_stat_cache(path, &bytes)
        {
            tracing::warn!(context = %path.display(), %error, "the stat cache cannot be written");
        }
    }
}

/// Seconds since 1970 by the clock that stamps files.
fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.ok().and_then(|n| i64::try_from(n.as_secs()).ok()).unwrap_or(0)
}

/// The named contexts of one build.
pub struct Named<'a>(BTreeMap<&'a ContextName, Slot<'a>>);

/// One named context and what is known of it so far.
struct Slot<'a> {
    source: &'a ContextSource,
    files: Mutex<Option<Arc<Opened>>>,
    /// What an OCI layout held for each platform when it was first asked: it is not asked twice.
    images: Mutex<BTreeMap<Platform, Descriptor>>,
}

impl<'a> Named<'a> {
    /// Nothing is opened yet.
    pub fn new(request: &'a BuildRequest) -> Self {
        let slot = |source| Slot { source, files: Mutex::default(), images: Mutex::default() };
        Self(request.contexts.iter().map(|(name, source)| (name, slot(source))).collect())
    }
    /// Takes files that were fetched before a stage asked for them.
    ///
    /// # Errors
    /// An ignore file that cannot be used.
    pub fn hold(&self, fetched: BTreeMap<ContextName, Files>, store: &Store) -> Result<(), EngineError> {
        for (name, files) in fetched {
            let slot = self.0.get(&name).ok_or_else(|| unknown(&name))?;
            let open = Opened::new(files, store).map_err(|e| e.of_context(&name))?;
            *lock(&slot.files) = Some(Arc::new(open));
        }
        Ok(())
    }

    /// The files of a context.
    pub fn files(&self, name: &ContextName, engine: &Engine, behalf: Behalf<'_>) -> Result<Arc<Opened>, EngineError> {
        let slot = self.0.get(name).ok_or_else(|| unknown(name))?;
        let mut held = lock(&slot.files);
        if let Some(open) = &*held {
            return Ok(Arc::clone(open));
        }
        let open = || Opened::new(slot.source.files(engine, behalf)?, &engine.store);
        let open = Arc::new(open().map_err(|e| e.of_context(name))?);
        *held = Some(Arc::clone(&open));
        Ok(open)
    }

    /// Remembers what was hashed of the files that were opened.
    pub fn remember(&self, store: &Store) {
        for slot in self.0.values() {
            if let Some(opened) = &*lock(&slot.files) {
                opened.remember(store);
            }
        }
    }
}

/// What the plan has to know of named contexts.
pub fn kinds(contexts: &BTreeMap<ContextName, ContextSource>) -> Contexts {
    contexts.iter().map(|(name, source)| (name.clone(), source.kind())).collect()
}

impl Engine {
    /// The image that a stage begins with or that is copied from.
    pub(crate) fn base_image(
        &self,
        key: &BaseKey,
        named: &Named<'_>,
        fresh: Freshness,
        trees: Trees,
        sink: &dyn Sink,
    ) -> Result<Resolved, EngineError> {
        match &key.image {
            BaseImage::Named(reference) => {
                if let Some(alias) = reference.alias() {
                    sink.event(Event::Followed { alias: alias.to_owned(), name: reference.clone() });
                }
                self.base(reference, &key.platform, fresh, trees, sink)
            }
            BaseImage::Layout(name) => self.layout_image(name, &key.platform, named).map_err(|e| e.of_context(name)),
        }
    }

    fn layout_image(
        &self,
        name: &ContextName,
        platform: &Platform,
        named: &Named<'_>,
    ) -> Result<Resolved, EngineError> {
        let slot = named.0.get(name).ok_or_else(|| unknown(name))?;
        let ContextSource::Layout(layout) = slot.source else { return Err(unknown(name)) };
        let mut images = lock(&slot.images);
        if let Some(known) = images.get(platform) {
            return self.load(layout, known);
        }
        let found = self.import_layout(layout, platform)?;
        images.insert(platform.clone(), found.clone());
        self.load(layout, &found)
    }
}

/// The plan names only what it was given.
fn unknown(name: &ContextName) -> EngineError {
    EngineError::Request {
        message: format!("there is no context {name}"),
        hint: format!("give --build-context {name}=…"),
    }
}
