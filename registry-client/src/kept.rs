//! Uploads that outlive a process, as this room sees them: who keeps them is told by [`crate::ClientOptions`].
//!
//! Takes the name of an upload; gives the place where the registry goes on with it. Must never do I/O itself.

use std::fmt;

/// Keeps where large uploads stand, so that a later process goes on with them.
pub trait Uploads: fmt::Debug + Send + Sync {
    /// Takes an upload for this process alone, by a text that names registry, repository and blob. `None` when another
    /// process has it, or nothing can be kept: it is then sent as if it had never been begun.
    fn take(&self, name: &str) -> Option<Box<dyn KeptUpload>>;
}

/// One upload, nobody else's while this lives.
pub trait KeptUpload: Send {
    /// The URL that an earlier process was given for it.
    fn place(&self) -> Option<String>;
    /// From now on it is at this URL. The URL can be a secret: whoever has it can go on with the upload.
    fn keep(&mut self, place: &str);
    /// It is done, or the registry does not know it any more.
    fn forget(&mut self);
}
