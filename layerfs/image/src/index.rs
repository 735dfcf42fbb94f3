//! Image indexes (image-spec, image-index.md), Docker's manifest lists, and telling the two
//! kinds of document apart without ambiguity.

use crate::config::null_is_default;
use crate::{Descriptor, Manifest, MediaType};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Marks an entry that says something about another entry (BuildKit's attestation manifests).
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";

/// A list of manifests, one for each platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// What the document says that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// Kind of artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The manifests; Go writes null for none.
    #[serde(deserialize_with = "null_is_default")]
    pub manifests: Vec<Descriptor>,
    /// Free-form annotations.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Index {
    /// An OCI index of these manifests, without annotations.
    pub fn of(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(MediaType::OciIndex),
            artifact_type: None,
            manifests,
            annotations: BTreeMap::new(),
        }
    }
    /// The entries that are images or indexes of some, attestations (platform `unknown/unknown`) left out.
    pub fn images(&self) -> impl Iterator<Item = &Descriptor> {
        let unknown = |d: &Descriptor| d.platform.as_ref().is_some_and(|p| p.os == "unknown");
        self.manifests.iter().filter(move |d| !unknown(d) && !d.annotations.contains_key(REFERENCE_TYPE))
    }
}

/// A manifest route's answer: one image or a list of them.
// Values live for one look-up: a box would only hide the size.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// One image for each platform.
    Index(Index),
}

/// Why bytes are neither a manifest nor an index.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Not JSON of either shape.
    #[error("the manifest is malformed: {0}")]
    Json(#[from] serde_json::Error),
    /// JSON that can be no document.
    #[error("the manifest is no JSON object")]
    NoObject,
    /// Both shapes at once, or none (CVE-2021-41190 class).
    #[error("the manifest is ambiguous: {0}")]
    Ambiguous(&'static str),
    /// The transport and the document disagree, or the type is unknown.
    #[error("the manifest's type is {0:?}, which is not supported")]
    Type(String),
    /// Indexes within indexes, too deep or too many.
    #[error("its indexes nest too much: {0}")]
    Nesting(String),
}

/// What a field of a document holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Field {
    /// It is not there.
    #[default]
    Absent,
    /// Go's word for an empty list.
    Null,
    /// Anything else.
    Value,
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let value = Option::<serde::de::IgnoredAny>::deserialize(d)?;
        Ok(if value.is_some() { Self::Value } else { Self::Null })
    }
}

impl Document {
    /// Parses bytes that were verified before. `content_type` is what the registry or descriptor said.
    ///
    /// # Errors
    /// When the shape is not exactly one of the two, or the types disagree.
    pub fn parse(bytes: &[u8], content_type: Option<&MediaType>) -> Result<Self, DocumentError> {
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct Shape {
            media_type: Option<MediaType>,
            manifests: Field,
            layers: Field,
            config: Field,
        }
        // A list would be taken for the fields in their order.
        if !bytes.trim_ascii_start().starts_with(b"{") {
            serde_json::from_slice::<serde::de::IgnoredAny>(bytes)?;
            return Err(DocumentError::NoObject);
        }
        let shape: Shape = serde_json::from_slice(bytes)?;
        let known = |m: &MediaType| m.is_index() || m.is_manifest();
        if let (Some(inner), Some(outer)) = (&shape.media_type, content_type)
            && known(outer)
            && inner != outer
        {
            return Err(DocumentError::Ambiguous("mediaType and Content-Type differ"));
        }
        let is_index = match (shape.manifests, shape.layers.max(shape.config)) {
            (Field::Value, Field::Value) => {
                return Err(DocumentError::Ambiguous("it has both manifests and layers"));
            }
            // An empty list of Go's; beside another null it says nothing.
            (Field::Value, _) | (Field::Null, Field::Absent) => true,
            (_, Field::Value) => false,
            _ => return Err(DocumentError::Ambiguous("it has neither manifests nor layers")),
        };
        if let Some(m) = shape.media_type.as_ref().or(content_type).filter(|m| known(m))
            && m.is_index() != is_index
        {
            return Err(DocumentError::Ambiguous("its shape is not that of its media type"));
        }
        if let Some(m) = shape.media_type.as_ref().filter(|m| !known(m)) {
            return Err(DocumentError::Type(m.to_string()));
        }
        Ok(if is_index {
            Self::Index(serde_json::from_slice(bytes)?)
        } else {
            Self::Manifest(serde_json::from_slice(bytes)?)
        })
    }
    /// The type that the bytes have, by declaration or by shape.
    pub fn media_type(&self) -> MediaType {
        match self {
            Self::Manifest(m) => m.media_type.clone().unwrap_or(MediaType::OciManifest),
            Self::Index(i) => i.media_type.clone().unwrap_or(MediaType::OciIndex),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attestations_are_no_images() {
        let entry = |platform: Option<&str>, text: &str| Descriptor {
            platform: platform.map(|p| p.parse().unwrap()),
            ..Descriptor::of(MediaType::OciManifest, text.as_bytes())
        };
        let mut marked = entry(Some("linux/amd64"), "marked");
        marked.annotations.insert(REFERENCE_TYPE.to_owned(), "attestation-manifest".to_owned());
        let (unknown, image) = (entry(Some("unknown/unknown"), "unknown"), entry(Some("linux/amd64"), "image"));
        let index = Index::of(vec![unknown, marked, image.clone()]);
        assert_eq!(index.images().collect::<Vec<_>>(), [&image]);
    }

    #[test]
    fn nulls_of_go_are_empty() {
        let config =
            format!(r#"{{"mediaType":"a/b","digest":"{}","size":1,"annotations":null}}"#, crate::Digest::sha256(""));
        let manifest = format!(r#"{{"schemaVersion":2,"config":{config},"layers":null,"annotations":null}}"#);
        assert!(matches!(Document::parse(manifest.as_bytes(), None), Ok(Document::Manifest(m)) if m.layers.is_empty()));
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{config}],"annotations":null}}"#);
        assert!(matches!(Document::parse(index.as_bytes(), None), Ok(Document::Index(_))));
        // As umoci begins a layout.
        let empty = br#"{"schemaVersion":2,"manifests":null}"#;
        assert!(matches!(Document::parse(empty, None), Ok(Document::Index(i)) if i.manifests.is_empty()));
        assert!(Document::parse(empty, Some(&MediaType::OciManifest)).is_err());
        // A null beside what the other kind has is not there.
        let manifest = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[],"manifests":null}}"#);
        assert!(matches!(Document::parse(manifest.as_bytes(), None), Ok(Document::Manifest(_))));
        assert!(Document::parse(manifest.as_bytes(), Some(&MediaType::OciIndex)).is_err());
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{config}],"layers":null,"config":null}}"#);
        assert!(matches!(Document::parse(index.as_bytes(), None), Ok(Document::Index(_))));
        for neither in ["\"layers\":null", "\"layers\":null,\"manifests\":null", "\"config\":null,\"manifests\":null"] {
            assert!(
                Document::parse(format!("{{\"schemaVersion\":2,{neither}}}").as_bytes(), None).is_err(),
                "{neither}"
            );
        }
        // Nothing at all is no list.
        let manifest = format!(r#"{{"schemaVersion":2,"config":{config}}}"#);
        assert!(Document::parse(manifest.as_bytes(), None).is_err());
    }

    #[test]
    fn ambiguity_is_refused() {
        let d = r#"{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0}"#;
        let manifest = format!(r#"{{"schemaVersion":2,"config":{d},"layers":[]}}"#);
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{d}]}}"#);
        let both = format!(r#"{{"schemaVersion":2,"config":{d},"layers":[],"manifests":[]}}"#);
        assert!(matches!(Document::parse(manifest.as_bytes(), None), Ok(Document::Manifest(_))));
        assert!(matches!(Document::parse(index.as_bytes(), None), Ok(Document::Index(_))));
        assert!(Document::parse(both.as_bytes(), None).is_err());
        assert!(Document::parse(br#"{"schemaVersion":2}"#, None).is_err());
        assert!(Document::parse(manifest.as_bytes(), Some(&MediaType::OciIndex)).is_err());
        assert!(Document::parse(b"<html>", None).is_err());
        for text in ["[]", " [1]", "5", "\"text\"", "null"] {
            let error = Document::parse(text.as_bytes(), None).unwrap_err().to_string();
            assert_eq!(error, "the manifest is no JSON object", "{text}");
        }
    }
}
