//! Image configuration (image-spec, config.md) with Docker's additional fields.
//!
//! Fields that Cooper does not know are kept and written back.

use crate::{DiffId, Platform};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The document that an image's manifest points at.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ImageConfig {
    /// RFC 3339 time of creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who is responsible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Processor, in Go's names.
    #[serde(default, deserialize_with = "null_is_default")]
    pub architecture: String,
    /// Operating system.
    #[serde(default, deserialize_with = "null_is_default")]
    pub os: String,
    /// Variant of the processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// What a container of this image runs with.
    #[serde(default, deserialize_with = "null_is_default")]
    pub config: RuntimeConfig,
    /// The layers, lowest first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub rootfs: RootFs,
    /// How each layer came to be.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
    /// Everything else, verbatim.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// The layers of an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Digests of the uncompressed tars, lowest first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub diff_ids: Vec<DiffId>,
}
impl Default for RootFs {
    fn default() -> Self {
        Self { kind: "layers".to_owned(), diff_ids: Vec::new() }
    }
}

/// One line of `docker history`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct History {
    /// RFC 3339 time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The instruction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// A remark, as the name of the builder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Set when the instruction made no layer.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
    /// Everything else, verbatim.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// Defaults for containers (image-spec, config.md, "config").
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct RuntimeConfig {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(default, skip_serializing_if = "is_empty_map")]
    pub exposed_ports: Option<BTreeMap<String, serde_json::Value>>,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "is_empty_map")]
    pub volumes: Option<BTreeMap<String, serde_json::Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// Docker's health check. Durations are nanoseconds; absent means inherited.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct Healthcheck {
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_period: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_interval: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u64>,
}

impl ImageConfig {
    /// An empty configuration, as `FROM scratch` begins with.
    pub fn scratch(platform: &Platform) -> Self {
        Self {
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            variant: platform.variant.clone(),
            ..Self::default()
        }
    }
    /// The platform that it claims, in its one form.
    pub fn platform(&self) -> Platform {
        let claimed = Platform {
            architecture: self.architecture.clone(),
            os: self.os.clone(),
            variant: self.variant.clone(),
            os_version: None,
        };
        claimed.normal()
    }
    /// Takes a platform that was asked for in the place of the one that it claims. A variant or a version of the system
    /// that was not asked for stays when the rest is the same.
    pub fn claim(&mut self, asked: &Platform) {
        let (now, asked) = (self.platform(), asked.clone().normal());
        let same = now.os == asked.os && now.architecture == asked.architecture;
        if asked.variant.is_some() || !same {
            self.variant = asked.variant;
        }
        if !same {
            self.other.retain(|key, _| key != "os.version" && key != "os.features");
        }
        (self.os, self.architecture) = (asked.os, asked.architecture);
    }
    /// Spells the platform in its one form, as the configuration of an image that is made anew has it.
    pub fn normalise_platform(&mut self) {
        let Platform { architecture, os, variant, .. } = self.platform();
        (self.architecture, self.os, self.variant) = (architecture, os, variant);
    }
    /// Value of an environment variable; an entry without `=` is never a value.
    pub fn env(&self, name: &str) -> Option<&str> {
        self.config.env.iter().filter_map(|e| e.split_once('=')).find(|(n, _)| *n == name).map(|(_, v)| v)
    }
}

fn is_empty_map(m: &Option<BTreeMap<String, serde_json::Value>>) -> bool {
    m.as_ref().is_none_or(BTreeMap::is_empty)
}
/// Go writes lists and maps without anything in them as `null`, and reads `null` as nothing in any place.
pub(crate) fn null_is_default<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(
    d: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_that_is_asked_for_takes_the_place_of_the_other() {
        let claims = |text: &str, asked: &str| {
            let mut c: ImageConfig = serde_json::from_str(text).unwrap();
            c.claim(&asked.parse().unwrap());
            (c.platform().to_string(), c.other.contains_key("os.version"))
        };
        let base = r#"{"architecture":"amd64","os":"linux","variant":"v3","os.version":"6","config":{}}"#;
        assert_eq!(claims(base, "linux/arm64"), ("linux/arm64".to_owned(), false));
        assert_eq!(claims(base, "linux/amd64"), ("linux/amd64/v3".to_owned(), true), "what was not asked for stays");
        assert_eq!(claims(base, "linux/amd64/v2"), ("linux/amd64/v2".to_owned(), true));
        assert_eq!(claims(base, "darwin/amd64"), ("darwin/amd64".to_owned(), false));
    }

    #[test]
    fn unknown_fields_survive_and_nulls_are_empty() {
        let text = r#"{"architecture":"amd64","os":"linux","moby.x":1,"config":{"Env":null,"Labels":null,"ArgsEscaped":true},"rootfs":{"type":"layers","diff_ids":null}}"#;
        let c: ImageConfig = serde_json::from_str(text).unwrap();
        let again: serde_json::Value = serde_json::from_str(&serde_json::to_string(&c).unwrap()).unwrap();
        assert_eq!(again["moby.x"], 1);
        assert_eq!(again["config"]["ArgsEscaped"], true);
        assert!(c.rootfs.diff_ids.is_empty());
        let all = r#"{"architecture":null,"os":null,"config":null,"rootfs":null,"history":null}"#;
        assert_eq!(serde_json::from_str::<ImageConfig>(all).unwrap(), ImageConfig::default());
        let within = r#"{"history":[{"empty_layer":null}],"config":{"Healthcheck":{"Test":null}}}"#;
        let within: ImageConfig = serde_json::from_str(within).unwrap();
        assert_eq!(within.history, [History::default()]);
        assert_eq!(within.config.healthcheck, Some(Healthcheck::default()));
    }
}
