//! An image as people read it, field by field; what is not set is not shown.
//!
//! Takes everything about an image, gives text in which nothing of the image steers the terminal.

use crate::ui::{amount, escape, table};
use cooper_engine::images::ImageDetail;
use cooper_image::{Descriptor, ImageConfig, Manifest, RuntimeConfig};
use std::fmt::Display;

/// Where a base is named in a manifest (image-spec, "Pre-Defined Annotation Keys").
const BASE: [&str; 2] = ["org.opencontainers.image.base.name", "org.opencontainers.image.base.digest"];

/// The whole text, without a line feed at its end.
pub fn text(detail: &ImageDetail) -> String {
    let mut rows = Rows::default();
    rows.one("Name", &detail.reference);
    rows.one("Digest", &detail.descriptor.digest);
    rows.one("Media type", detail.descriptor.media_type.as_str());
    // What is within them is not in the list of the manifests.
    if detail.manifests.iter().any(|d| d.media_type.is_index()) {
        let platforms: Vec<String> = detail.platforms.iter().map(ToString::to_string).collect();
        rows.one("Platforms", platforms.join(", "));
    }
    let mut parts = vec![rows.text()];
    if !detail.manifests.is_empty() {
        parts.push(format!("Manifests:\n{}", indented(&entries(&detail.manifests))));
    }
    parts.push(image(&detail.config, detail.manifest.as_ref()));
    parts.push(format!("Layers:\n{}", indented(&layers(&detail.config, detail.manifest.as_ref()))));
    parts.join("\n\n")
}

/// What an index has, each with what it is for.
fn entries(manifests: &[Descriptor]) -> String {
    let row = |d: &Descriptor| {
        let what = match (&d.platform, d.annotations.get("vnd.docker.reference.type"), &d.artifact_type) {
            (_, Some(kind), _) => kind.clone(),
            (Some(platform), None, _) => platform.to_string(),
            (None, None, Some(kind)) => kind.clone(),
            (None, None, None) => "-".to_owned(),
        };
        [escape::line(&what), d.digest.to_string(), amount::bytes(d.size)]
    };
    table::columns(&manifests.iter().map(row).collect::<Vec<_>>())
}

fn image(config: &ImageConfig, manifest: Option<&Manifest>) -> String {
    let mut rows = Rows::default();
    // What is no image is for no platform.
    let is_image = !config.architecture.is_empty();
    rows.some("Platform", is_image.then(|| config.platform()));
    let kind = manifest.map(|m| m.artifact_type.clone().unwrap_or_else(|| m.config.media_type.to_string()));
    rows.some("Artifact type", kind.filter(|_| !is_image));
    rows.some("Image ID", manifest.map(|m| &m.config.digest).filter(|_| is_image));
    rows.some("Created", config.created.as_ref());
    rows.some("Author", config.author.as_ref());
    let annotations = manifest.map(|m| m.annotations.clone()).unwrap_or_default();
    rows.some("Base", annotations.get(BASE[0]));
    rows.some("Base digest", annotations.get(BASE[1]));
    runs_with(&mut rows, &config.config);
    rows.pairs("Labels", config.config.labels.iter());
    rows.pairs("Annotations", annotations.iter().filter(|(key, _)| !BASE.contains(&key.as_str())));
    rows.text()
}

/// What a container of the image runs with.
fn runs_with(rows: &mut Rows, config: &RuntimeConfig) {
    let set = |text: &&String| !text.is_empty();
    rows.some("User", config.user.as_ref().filter(set));
    rows.some("Directory", config.working_dir.as_ref().filter(set));
    rows.some("Entrypoint", config.entrypoint.as_deref().map(argv));
    rows.some("Command", config.cmd.as_deref().map(argv));
    rows.many("Environment", config.env.iter());
    rows.many("Ports", config.exposed_ports.iter().flat_map(|ports| ports.keys()));
    rows.many("Volumes", config.volumes.iter().flat_map(|volumes| volumes.keys()));
    rows.some("Stop signal", config.stop_signal.as_ref().filter(set));
    rows.some("Health check", config.healthcheck.as_ref().map(|check| argv(&check.test)));
    rows.some("Shell", config.shell.as_deref().map(argv));
    rows.many("On build", config.on_build.iter());
}

/// Program and arguments, in the form in which a Dockerfile has them.
fn argv(words: &[String]) -> String {
    serde_json::json!(words).to_string()
}

/// As registries have them; of layers that were never compressed what they unpack to.
fn layers(config: &ImageConfig, manifest: Option<&Manifest>) -> String {
    let row = |d: &Descriptor| [d.digest.to_string(), amount::bytes(d.size), escape::line(d.media_type.as_str())];
    let unpacked =
        config.rootfs.diff_ids.iter().map(|diff| [diff.0.to_string(), "-".to_owned(), "unpacked".to_owned()]);
    let rows: Vec<_> = match manifest {
        Some(manifest) => manifest.layers.iter().map(row).collect(),
        None => unpacked.collect(),
    };
    if rows.is_empty() { "none".to_owned() } else { table::columns(&rows) }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

/// Names and values.
#[derive(Default)]
struct Rows(Vec<[String; 2]>);

impl Rows {
    fn one(&mut self, name: &str, value: impl Display) {
        self.0.push([format!("{name}:"), escape::line(&value.to_string())]);
    }

    fn some(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.one(name, value);
        }
    }

    /// Each on a line of its own, the first one beside the name.
    fn many(&mut self, name: &str, values: impl Iterator<Item = impl Display>) {
        for (n, value) in values.enumerate() {
            let name = if n == 0 { format!("{name}:") } else { String::new() };
            self.0.push([name, escape::line(&value.to_string())]);
        }
    }

    fn pairs<'a>(&mut self, name: &str, pairs: impl Iterator<Item = (&'a String, &'a String)>) {
        self.many(name, pairs.map(|(key, value)| format!("{key}={value}")));
    }

    fn text(&self) -> String {
        table::columns(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cooper_engine::images::{Asked, Documents};
    use cooper_image::{Digest, MediaType, Platform};

    fn detail() -> ImageDetail {
        let config = serde_json::json!({
            "created": "2024-01-01T00:00:00Z", "architecture": "arm64", "variant": "v8", "os": "linux",
            "config": {
                "User": "", "WorkingDir": "/w", "Entrypoint": ["/bin/sh", "-c"], "Cmd": ["echo \u{1b}[2J"],
                "Env": ["A=1", "B=2 3"], "ExposedPorts": {"80/tcp": {}}, "Labels": {"k": "v\nw"},
            },
            "rootfs": {"type": "layers", "diff_ids": [Digest::sha256("diff")]},
        });
        ImageDetail {
            reference: Asked::Name("docker.io/library/app:1".parse().unwrap()),
            descriptor: Descriptor::of(MediaType::OciConfig, b"x"),
            chosen: Descriptor::of(MediaType::OciConfig, b"x"),
            platforms: Vec::new(),
            manifests: Vec::new(),
            config: serde_json::from_value(config.clone()).unwrap(),
            documents: Documents { config, manifest: None },
            manifest: None,
        }
    }

    #[test]
    fn what_is_set_is_shown_and_nothing_steers_the_terminal() {
        let (digest, diff) = (Digest::sha256("x"), Digest::sha256("diff"));
        let expected = format!(
            "\
Name:        app:1
Digest:      {digest}
Media type:  application/vnd.oci.image.config.v1+json

Platform:     linux/arm64
Created:      2024-01-01T00:00:00Z
Directory:    /w
Entrypoint:   [\"/bin/sh\",\"-c\"]
Command:      [\"echo \\u001b[2J\"]
Environment:  A=1
              B=2 3
Ports:        80/tcp
Labels:       k=v\\x0aw

Layers:
  {diff}  -  unpacked"
        );
        assert_eq!(text(&detail()), expected);
    }

    #[test]
    fn an_index_is_listed_with_what_its_entries_are_for() {
        let mut detail = detail();
        let of = |bytes: &[u8]| Descriptor::of(MediaType::OciManifest, bytes);
        let arm = Descriptor { platform: Some(Platform::linux("arm64")), ..of(b"arm") };
        let mut attestation = of(b"attestation");
        attestation.annotations.insert("vnd.docker.reference.type".to_owned(), "attestation-manifest".to_owned());
        detail.manifests = vec![arm.clone(), attestation.clone(), of(b"unknown")];
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": MediaType::OciManifest,
            "config": Descriptor::of(MediaType::OciConfig, b"config"),
            "layers": [Descriptor::of(MediaType::OciLayer, b"layer")],
            "annotations": {BASE[0]: "debian:12", "org.example": "x"},
        });
        detail.manifest = Some(serde_json::from_value(manifest).unwrap());
        detail.platforms = ["arm64", "s390x"].map(Platform::linux).to_vec();
        let shown = text(&detail);
        assert!(!shown.contains("Platforms:"), "the list says it: {shown}");
        detail.manifests.push(Descriptor::of(MediaType::OciIndex, b"index"));
        let shown = text(&detail);
        assert!(shown.contains("\nPlatforms:   linux/arm64, linux/s390x\n"), "{shown}");
        for part in [
            format!("Manifests:\n  linux/arm64           {}  3 B\n", arm.digest),
            format!("\n  attestation-manifest  {}  11 B\n", attestation.digest),
            format!("\n  -                     {}  7 B\n", Digest::sha256("unknown")),
            format!("\nImage ID:     {}\n", Digest::sha256("config")),
            "\nBase:         debian:12\n".to_owned(),
            "\nAnnotations:  org.example=x\n".to_owned(),
            format!("\nLayers:\n  {}  5 B  {}", Digest::sha256("layer"), MediaType::OciLayer),
        ] {
            assert!(shown.contains(&part), "{part:?} is not in\n{shown}");
        }
    }
}
