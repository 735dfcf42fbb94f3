//! Places of images, opened: the store only where one of them is in it.

use crate::cmd::Place as Here;
use crate::failure::Failure;
use crate::open::{self, Remote, Session};
use crate::signals::{Manner, Signals};
use crate::stdout;
use cooper_engine::toolkit::{
    ArchiveTarget, Kind, LayoutTarget, Name, Origin, Place, Reach, RegistryTarget, StoreTarget, Target,
};
use cooper_engine::{Engine, EngineError};
use cooper_image::Platform;
use std::sync::Arc;

/// What the places of a command are reached through.
pub struct Places {
    reach: Reach,
    ground: Ground,
}

/// What carries it. Both hold threads, which end with it.
enum Ground {
    Store(Box<Session>),
    Remote { _remote: Box<Remote> },
}

impl Places {
    /// For these places. Where the store is among them, the process enters a user namespace: layers that were built
    /// belong to the ids there.
    ///
    /// # Errors
    /// When the store cannot be opened, or a file about registries is malformed.
    pub fn open(here: &Here, places: &[&Place]) -> Result<Self, Failure> {
        if places.iter().any(|place| matches!(place, Place::Store(_))) {
            return Self::with_store(here);
        }
        let remote = Remote::open(here)?;
        Signals::listen(remote.handle(), Manner::End)?;
        Ok(Self { reach: remote.reach(), ground: Ground::Remote { _remote: Box::new(remote) } })
    }

    /// With the store in any case.
    ///
    /// # Errors
    /// As [`Places::open`].
    pub fn with_store(here: &Here) -> Result<Self, Failure> {
        let root = here.root()?;
        // Where there is no namespace, nothing was built: images that were pulled need none.
        let tier = match cooper_sandbox::probe().tier {
            Ok(_) => cooper_sandbox::enter_user_namespace().map_err(EngineError::from)?,
            Err(_) => open::tier_without_namespace(),
        };
        let session = Session::open(here, &root, tier)?;
        Signals::listen(session.runtime.handle(), Manner::End)?;
        Ok(Self { reach: session.engine.reach(), ground: Ground::Store(Box::new(session)) })
    }

    /// The engine over the store.
    ///
    /// # Errors
    /// Where it was not asked for.
    pub fn engine(&self) -> Result<&Engine, EngineError> {
        match &self.ground {
            Ground::Store(session) => Ok(&session.engine),
            Ground::Remote { .. } => Err(EngineError::Interrupted),
        }
    }

    /// The way to all of them.
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// A place to read from.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn origin(&self, place: &Place) -> Result<Arc<dyn Origin>, Failure> {
        if let (Place::Store(name), Ground::Store(session)) = (place, &self.ground) {
            session.engine.make_readable(name)?;
        }
        Ok(self.reach.origin(place)?)
    }

    /// A place to write to.
    ///
    /// # Errors
    /// When it cannot be begun.
    pub fn target<'a>(&'a self, place: &Place) -> Result<Box<dyn Target + 'a>, Failure> {
        Ok(match (place, &self.ground) {
            (Place::Registry(name), _) => Box::new(RegistryTarget::new(self.reach.clone(), name)),
            (Place::Layout(layout), _) => {
                if let Some(digest) = &layout.digest {
                    return Err(Failure::usage(
                        format!("{layout} is one image, {digest}, and a place for one is wanted"),
                        "leave the part from the @ on away",
                    ));
                }
                Box::new(LayoutTarget::new(&layout.path)?)
            }
            (Place::Archive { kind, path, .. }, _) => {
                if is_stdout(place) {
                    stdout::not_a_terminal("the archive", "name a file instead of -, or a pipe")?;
                }
                Box::new(ArchiveTarget::new(*kind, path)?)
            }
            (Place::Store(_), Ground::Store(session)) => Box::new(StoreTarget::new(&session.engine)),
            (Place::Store(name), Ground::Remote { .. }) => return Err(EngineError::NoImage(name.clone()).into()),
        })
    }
}

/// The names that something gets at a place.
///
/// # Errors
/// When tags are given for what has none.
pub fn names(place: &Place, tags: &[String]) -> Result<Vec<Name>, Failure> {
    let further = tags.iter().cloned().map(Name::Tag);
    Ok(match place {
        Place::Registry(name) => std::iter::once(Name::Full(name.clone())).chain(further).collect(),
        Place::Store(name) => {
            let further = tags.iter().map(|tag| Name::Full(name.with_tag(tag)));
            std::iter::once(Name::Full(name.clone())).chain(further).collect()
        }
        Place::Layout(layout) => layout.tag.iter().map(|name| in_a_layout(name)).chain(further).collect(),
        Place::Archive { name, kind, .. } => match name {
            None if *kind == Kind::Docker && !tags.is_empty() => {
                let message = format!("{place} says no name that the tags could be of");
                return Err(Failure::usage(message, "write docker-archive://FILE:NAME"));
            }
            None => further.collect(),
            Some(text) => {
                let name = text.parse::<cooper_image::Reference>();
                let name = name.map_err(|e| Failure::usage(e.to_string(), "write FILE:NAME"))?.or_latest();
                let further = tags.iter().map(|tag| Name::Full(name.with_tag(tag)));
                std::iter::once(Name::Full(name.clone())).chain(further).collect()
            }
        },
    })
}

/// A tag, or a full name.
fn in_a_layout(name: &str) -> Name {
    match name.parse() {
        Ok(full) if name.contains('/') => Name::Full(full),
        _ => Name::Tag(name.to_owned()),
    }
}

/// Is it written to standard output?
pub fn is_stdout(target: &Place) -> bool {
    matches!(target, Place::Archive { path, .. } if path.as_os_str() == "-")
}

/// The platform that is meant. What `docker load` reads holds one image: of an index, without a word, that for this
/// machine. An image alone is what it is; only who asks for a platform is told that it is another one's.
///
/// # Errors
/// What the place says.
pub fn chosen(target: &Place, asked: Option<&Platform>, origin: &dyn Origin) -> Result<Option<Platform>, EngineError> {
    let one = matches!(target, Place::Archive { kind: Kind::Docker, .. });
    if asked.is_none() && one && origin.top()?.media_type.is_index() {
        return Ok(Some(Platform::host()));
    }
    Ok(asked.cloned())
}
