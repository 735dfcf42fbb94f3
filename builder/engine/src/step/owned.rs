//! Owners that a Dockerfile gives to what is mounted.

use crate::EngineError;
use crate::layers::io;
use cooper_dockerfile::mount::Ownership;
use cooper_image::ContainerPath;
use cooper_layerfs::LayerfsError;
use cooper_layerfs::owners::Owners;

/// Says so when the kernel has no such owner here, in words that its EINVAL lacks.
///
/// # Errors
/// [`LayerfsError::Unmapped`] with the place of the mount.
pub fn possible(owners: Owners, owned: Ownership, at: Option<&ContainerPath>) -> Result<(), EngineError> {
    let (Owners::Kernel, Some(at)) = (owners, at) else { return Ok(()) };
    let unmapped = cooper_sandbox::unmapped(owned.uid, owned.gid).map_err(|e| io("reading the map of ids", e))?;
    match unmapped {
        Some((id, number)) => Err(LayerfsError::Unmapped { path: at.to_string(), id, number }.into()),
        None => Ok(()),
    }
}
