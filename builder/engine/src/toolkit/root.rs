//! The files of an image as one tar: for people, and as the one layer of a flattened image.

use super::draft::ImageDraft;
use super::new_layer::NewLayer;
use super::origin::Origin;
use super::shipment::{Referrers, Shipment, Top, ship};
use super::store::StoreTarget;
use crate::event::Sink;
use crate::resolve::Resolved;
use crate::{Engine, EngineError};
use cooper_image::{Descriptor, RelPath};
use cooper_layerfs::export::{Part, export_tar};
use std::io::Write;
use std::sync::Arc;

impl Engine {
    /// Writes the root of an image as a tar. Its layers pass through the store, without a name.
    ///
    /// # Errors
    /// What the place says, invalid layers, and the disk.
    pub fn write_root(
        &self,
        origin: &Arc<dyn Origin>,
        d: &Descriptor,
        sink: &dyn Sink,
        out: &mut dyn Write,
    ) -> Result<(), EngineError> {
        let image = self.bring(origin, d, sink)?;
        self.use_marks()?;
        let part = Part { into: RelPath::root(), view: self.view(&image.layers)? };
        Ok(export_tar(&[part], None, out)?)
    }

    /// Makes one layer of all of an image's.
    ///
    /// # Errors
    /// As [`Engine::write_root`].
    pub fn flatten(
        &self,
        origin: &Arc<dyn Origin>,
        image: &mut ImageDraft,
        sink: &dyn Sink,
    ) -> Result<(), EngineError> {
        let layer = NewLayer::of(|out| self.write_root(origin, &image.from, sink, out))?;
        image.clear();
        image.push(layer, "cooper flatten");
        Ok(())
    }

    fn bring(&self, origin: &Arc<dyn Origin>, d: &Descriptor, sink: &dyn Sink) -> Result<Resolved, EngineError> {
        let mut shipment = Shipment::default();
        shipment.add(origin, Top { descriptor: d.clone(), names: Vec::new() }, Referrers::Stay)?;
        ship(&shipment, &StoreTarget::new(self), sink)?;
        self.load(&origin.place(), d)
    }
}
