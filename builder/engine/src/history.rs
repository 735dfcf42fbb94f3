//! Lines of an image's history, and times as the configuration writes them.

use cooper_image::time::rfc3339;
use cooper_image::{History, ImageConfig};

/// Appends one line.
pub fn push(config: &mut ImageConfig, created: i64, created_by: &str, layer: Layer) {
    config.history.push(History {
        created: Some(rfc3339(created)),
        created_by: Some(created_by.to_owned()),
        comment: Some("cooper".to_owned()),
        empty_layer: layer == Layer::None,
        ..History::default()
    });
    config.created = Some(rfc3339(created));
}

/// Did the instruction make a layer?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// It did.
    One,
    /// It only changed the configuration.
    None,
}
