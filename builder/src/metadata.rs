//! `--metadata-file`: what programs want to know of a build, as buildx writes it.
//!
//! | key | value |
//! |---|---|
//! | `containerimage.digest` | digest of the manifest or index |
//! | `containerimage.descriptor` | media type, digest, size and annotations of it |
//! | `containerimage.config.digest` | digest of the configuration; absent for an index |
//! | `image.name` | the names, divided by commas; absent without one |
//! | `cooper.warnings` | the texts of all warnings and findings of checks; absent without one |
//!
//! There is no `buildx.build.ref`: no builder remembers builds by a reference. Must never print.

use cooper_engine::event::{Event, Sink};
use cooper_engine::request::BuildResult;
use serde_json::{Map, Value};
use std::sync::{Arc, Mutex, PoisonError};

/// Passes events on and remembers the warnings.
pub struct Listener {
    inner: Arc<dyn Sink>,
    warnings: Mutex<Vec<String>>,
}

impl Listener {
    /// Listens before another sink.
    pub fn new(inner: Arc<dyn Sink>) -> Self {
        Self { inner, warnings: Mutex::default() }
    }
    /// The warnings so far.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Sink for Listener {
    fn event(&self, event: Event) {
        let mut told = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        let texts = match &event {
            Event::Warning { text } => vec![text.clone()],
            Event::Checked { findings } => {
                findings.iter().map(|f| format!("{}: {} (line {})", f.rule.id, f.detail, f.span.start)).collect()
            }
            _ => Vec::new(),
        };
        for text in texts {
            // Each platform is checked, and mostly comes to the same.
            if !told.contains(&text) {
                told.push(text);
            }
        }
        drop(told);
        self.inner.event(event);
    }
}

/// The text of the file.
///
/// # Errors
/// Only when a value cannot be written as JSON.
pub fn text(result: &BuildResult, warnings: &[String]) -> Result<String, serde_json::Error> {
    let mut all = Map::new();
    if let Some(described) = &result.described {
        if let Some(config) = &described.config {
            all.insert("containerimage.config.digest".to_owned(), config.digest.to_string().into());
        }
        all.insert("containerimage.descriptor".to_owned(), serde_json::to_value(&described.descriptor)?);
        all.insert("containerimage.digest".to_owned(), described.descriptor.digest.to_string().into());
    }
    let names: Vec<String> = result.names.iter().map(ToString::to_string).collect();
    if !names.is_empty() {
        all.insert("image.name".to_owned(), names.join(",").into());
    }
    if !warnings.is_empty() {
        all.insert("cooper.warnings".to_owned(), warnings.into());
    }
    serde_json::to_string_pretty(&Value::Object(all))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cooper_engine::Described;
    use cooper_image::{Descriptor, Digest, MediaType};

    #[test]
    fn what_is_known_is_told() {
        let descriptor = Descriptor::of(MediaType::OciManifest, b"{}");
        let config = Descriptor::of(MediaType::OciConfig, b"c");
        let mut result = BuildResult {
            image_id: Digest::sha256(b"c"),
            described: Some(Described { descriptor: descriptor.clone(), config: Some(config.clone()) }),
            names: ["a:1", "b"].map(|n| n.parse().unwrap()).to_vec(),
            steps_run: 1,
            steps_cached: 0,
        };
        let read = |r: &BuildResult, w: &[String]| serde_json::from_str::<Value>(&text(r, w).unwrap()).unwrap();
        let expected = serde_json::json!({
            "containerimage.config.digest": config.digest.to_string(),
            "containerimage.descriptor": {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": descriptor.digest.to_string(),
                "size": 2,
            },
            "containerimage.digest": descriptor.digest.to_string(),
            "image.name": "docker.io/library/a:1,docker.io/library/b",
            "cooper.warnings": ["w"],
        });
        assert_eq!(read(&result, &["w".to_owned()]), expected);
        result.described = None;
        result.names.clear();
        assert_eq!(read(&result, &[]), serde_json::json!({}));
    }
}
