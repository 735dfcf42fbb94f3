//! An index that has a name at a registry or in a layout is changed there, while others may change it too.

use super::index::IndexDraft;
use super::layout::{LayoutOrigin, bare};
use super::layout_target::LayoutTarget;
use super::origin::Origin;
use super::reach::Reach;
use super::registry::{RegistryOrigin, RegistryTarget};
use super::shipment::{Shipment, ship};
use crate::context::LayoutName;
use crate::event::Sink;
use crate::{EngineError, resolve};
use cooper_image::{Descriptor, Reference};
use serde_json::Value;
use std::sync::Arc;

/// Changes what a name leads to until there is nothing more to `change` in it, and gives what it leads to then. What
/// others write in between stays: `change` is applied to that as well, and has to find nothing to do where it was.
///
/// # Errors
/// What `change`, the registry and the places of what comes in say.
pub fn rewrite<E: From<EngineError>>(
    reach: &Reach,
    name: &Reference,
    sink: &dyn Sink,
    mut change: impl FnMut(&mut IndexDraft, &Descriptor) -> Result<(), E>,
) -> Result<(IndexDraft, Descriptor), E> {
    let mut rewriting = reach.client().rewriting(name);
    let (mut is_brought, mut is_written) = (false, false);
    loop {
        let there = reach.wait(rewriting.read())?;
        let before = serde_json::from_slice::<Value>(there.bytes.get());
        let origin: Arc<dyn Origin> = Arc::new(RegistryOrigin::having(reach.clone(), name.clone(), there));
        let top = origin.top()?;
        let mut draft = IndexDraft::of(&origin, &top)?;
        if is_written {
            draft.keep_descriptions();
        }
        change(&mut draft, &top)?;
        let (bytes, descriptor) = draft.finish()?;
        let invalid = |e: serde_json::Error| resolve::invalid(&name.familiar(), e.to_string());
        // Others may write the same in other words.
        if before.map_err(invalid)? == serde_json::from_slice::<Value>(&bytes).map_err(invalid)? {
            return Ok((draft, top));
        }
        // Once: what others enter is there already. It can take long, and the less passes between reading and writing,
        // the less others come in between.
        let is_new = |(from, _): &(&Arc<dyn Origin>, &Descriptor)| !Arc::ptr_eq(from, &origin);
        if !is_brought && draft.parts().any(|part| is_new(&part)) {
            let mut parts = Shipment::default();
            draft.parts().filter(is_new).try_for_each(|(from, d)| parts.add_part(from, d))?;
            ship(&parts, &RegistryTarget::new(reach.clone(), name), sink)?;
            is_brought = true;
            continue;
        }
        is_written |= reach.wait(rewriting.write(&bytes, &descriptor.media_type))?;
    }
}

/// Changes what a name of a layout leads to, and gives what it leads to then. Where somebody else changed it in between,
/// `change` is applied to that instead.
///
/// # Errors
/// What `change`, the disk and the places of what comes in say.
pub fn rewrite_in_layout<E: From<EngineError>>(
    name: &LayoutName,
    sink: &dyn Sink,
    mut change: impl FnMut(&mut IndexDraft, &Descriptor) -> Result<(), E>,
) -> Result<(IndexDraft, Descriptor), E> {
    loop {
        let entry = LayoutOrigin::new(name.clone()).entry_to_change()?;
        let top = bare(&entry);
        let pinned = LayoutName { digest: Some(top.digest.clone()), ..name.clone() };
        let origin: Arc<dyn Origin> = Arc::new(LayoutOrigin::new(pinned));
        let mut draft = IndexDraft::of(&origin, &top)?;
        change(&mut draft, &top)?;
        let (shipment, descriptor) = draft.shipment(Vec::new())?;
        let target = LayoutTarget::exchanging(&name.path, entry)?;
        ship(&shipment, &target, sink)?;
        if !target.has_moved() {
            return Ok((draft, descriptor));
        }
    }
}
