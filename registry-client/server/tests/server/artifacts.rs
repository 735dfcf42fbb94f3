//! A second client, which others wrote, over TLS and as a user: an image for two platforms, an artifact that refers to
//! it, mounts, parts, lists.
use crate::support::secured::secured;
use futures_util::TryStreamExt as _;
use oci_distribution::client::{BlobResponse, Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_distribution::client::{Config, ImageLayer};
use oci_distribution::manifest::{OciDescriptor, OciImageManifest};
use oci_distribution::secrets::RegistryAuth;
use oci_distribution::{Client, Reference, RegistryOperation};
use serde_json::json;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const SBOM: &str = "application/vnd.example.sbom.v1";

fn descriptor(digest: &str, media_type: &str, size: usize) -> OciDescriptor {
    let size = i64::try_from(size).unwrap();
    OciDescriptor { media_type: media_type.to_owned(), digest: digest.to_owned(), size, ..OciDescriptor::default() }
}

#[test]
fn images_artifacts_and_what_refers_to_them() {
    let dir = tempfile::tempdir().unwrap();
    // It has threads of its own, and must not be started from within others.
    let server = secured(dir.path());
    let certificate = std::fs::read(dir.path().join("certs/ca.crt")).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(walk(server.address.port(), &certificate));
}

async fn walk(port: u16, certificate: &[u8]) {
    let config = || ClientConfig {
        protocol: ClientProtocol::Https,
        extra_root_certificates: vec![Certificate { encoding: CertificateEncoding::Pem, data: certificate.to_vec() }],
        ..ClientConfig::default()
    };
    let name = |rest: &str| format!("localhost:{port}/{rest}").parse::<Reference>().unwrap();
    let writer = RegistryAuth::Basic("writer".to_owned(), "in:secret".to_owned());
    let client = Client::new(config());

    // One image for each platform, then the index of both, byte for byte.
    let layer: Vec<u8> = (0..600_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut entries = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let image = name(&format!("team/app:{architecture}"));
        let text = json!({"os": "linux", "architecture": architecture, "rootfs": {"type": "layers", "diff_ids": []}});
        let layers = [ImageLayer::oci_v1(layer.clone(), None)];
        client.push(&image, &layers, Config::oci_v1(text.to_string(), None), &writer, None).await.unwrap();
        let (bytes, digest) = client.pull_manifest_raw(&image, &writer, &[MANIFEST]).await.unwrap();
        entries.push(json!({"mediaType": MANIFEST, "digest": digest, "size": bytes.len(),
            "platform": {"os": "linux", "architecture": architecture}}));
    }
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).to_string();
    client.push_manifest_raw(&name("team/app:v1"), index.clone(), INDEX.parse().unwrap()).await.unwrap();
    let (bytes, digest) = client.pull_manifest_raw(&name("team/app:v1"), &writer, &[INDEX]).await.unwrap();
    assert_eq!(bytes, index.as_bytes());

    // An artifact about it, without a configuration, seen among its referrers.
    let subject = Some(descriptor(&digest, INDEX, index.len()));
    let empty = Config::new("{}", "application/vnd.oci.empty.v1+json".to_owned(), None);
    let part = [ImageLayer::new(r#"{"packages":[]}"#, SBOM.to_owned(), None)];
    let mut manifest = OciImageManifest::build(&part, &empty, None);
    (manifest.subject, manifest.artifact_type) = (subject, Some(SBOM.to_owned()));
    client.push(&name("team/app:sbom"), &part, empty, &writer, Some(manifest)).await.unwrap();
    let of_index = name(&format!("team/app@{digest}"));
    for (kind, count) in [(None, 1), (Some(SBOM), 1), (Some("text/none"), 0)] {
        let listed = client.pull_referrers(&of_index, kind).await.unwrap();
        assert_eq!(listed.manifests.len(), count, "{kind:?}");
    }

    // The layer mounted elsewhere, its middle, and the lists.
    let layer_digest = cooper_image::Digest::sha256(&layer).to_string();
    client.auth(&name("team/fork"), &writer, RegistryOperation::Push).await.unwrap();
    client.mount_blob(&name("team/fork"), &name("team/app"), &layer_digest).await.unwrap();
    let size = layer.len();
    let wanted = descriptor(&layer_digest, "application/octet-stream", size);
    let reader = Client::new(config());
    let looks = RegistryAuth::Basic("reader".to_owned(), "look".to_owned());
    reader.auth(&name("team/fork"), &looks, RegistryOperation::Pull).await.unwrap();
    let answer = reader.pull_blob_stream_partial(&name("team/fork"), &wanted, 1000, Some(500)).await.unwrap();
    let BlobResponse::Partial(stream) = answer else { panic!("the registry sends parts") };
    let pieces: Vec<_> = stream.stream.try_collect().await.unwrap();
    assert_eq!(pieces.concat(), layer[1000..1500]);
    let tags = reader.list_tags(&name("team/app"), &looks, Some(3), Some("amd64")).await.unwrap();
    assert_eq!(tags.tags, ["arm64", "sbom", "v1"]);
    assert!(reader.push_manifest_raw(&name("team/app:v2"), index, INDEX.parse().unwrap()).await.is_err());
}
