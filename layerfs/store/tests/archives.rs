//! Archives, read by skopeo and compared with themselves.
#![allow(clippy::unwrap_used)]

use cooper_image::assemble::{Assembled, Format, assemble};
use cooper_image::{Descriptor, DiffId, Digest, ImageConfig, MediaType, Platform, Reference};
use cooper_store::archive::{write_docker_archive, write_oci_archive};
use cooper_store::{Store, StoreError};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

struct Image {
    assembled: Assembled,
    layers: Vec<Descriptor>,
}

/// An image of two layers with a file each.
fn image(store: &Store, format: Format) -> Image {
    let mut config = ImageConfig::scratch(&Platform::linux("amd64"));
    config.config.env = vec!["PATH=/bin".to_owned()];
    let mut layers = Vec::new();
    for name in ["first", "second"] {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(name.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, name.as_bytes()).unwrap();
        let tar = tar.into_inner().unwrap();
        config.rootfs.diff_ids.push(DiffId(Digest::sha256(&tar)));
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&tar).unwrap();
        let gzip = gzip.finish().unwrap();
        store.put_blob(&gzip).unwrap();
        layers.push(Descriptor::of(MediaType::OciLayerGzip, &gzip));
    }
    let assembled = assemble(&config, layers.clone(), format).unwrap();
    store.put_blob(&assembled.config).unwrap();
    store.put_blob(&assembled.manifest).unwrap();
    Image { assembled, layers }
}

fn skopeo(args: &[&str]) -> String {
    let out = Command::new("skopeo").arg("--insecure-policy").args(args).output().expect("skopeo is installed");
    assert!(out.status.success(), "skopeo {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn check(transport: &str, file: &Path, into: &Path, layers: usize) {
    let source = format!("{transport}:{}", file.display());
    let seen = skopeo(&["inspect", &source]);
    let seen: serde_json::Value = serde_json::from_str(&seen).unwrap();
    assert_eq!(seen["Architecture"], "amd64");
    assert_eq!(seen["Env"][0], "PATH=/bin");
    assert_eq!(seen["Layers"].as_array().map(Vec::len), Some(layers), "{seen}");
    // Copying reads each layer and compares it with the configuration's DiffIds.
    skopeo(&["copy", "-q", &source, &format!("oci:{}", into.display())]);
}

#[test]
fn skopeo_reads_both_kinds() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    let tags: Vec<Reference> = vec!["team/app:1".parse().unwrap()];

    let oci = image(&store, Format::Oci);
    let mut bytes = Vec::new();
    write_oci_archive(&store, &oci.assembled.descriptor, &tags, &mut bytes).unwrap();
    let file = dir.path().join("oci.tar");
    std::fs::write(&file, &bytes).unwrap();
    check("oci-archive", &file, &dir.path().join("from-oci"), 2);
    let mut again = Vec::new();
    write_oci_archive(&store, &oci.assembled.descriptor, &tags, &mut again).unwrap();
    assert!(bytes == again, "the same image gives the same bytes");

    let docker = image(&store, Format::Docker);
    let mut bytes = Vec::new();
    write_docker_archive(&store, &docker.assembled.config_descriptor, &docker.layers, &tags, &mut bytes).unwrap();
    let file = dir.path().join("docker.tar");
    std::fs::write(&file, &bytes).unwrap();
    check("docker-archive", &file, &dir.path().join("from-docker"), 2);
    check("oci-archive", &file, &dir.path().join("from-docker-as-oci"), 2);
    let listed = skopeo(&["list-tags", &format!("docker-archive:{}", file.display())]);
    assert!(listed.contains("team/app:1"), "{listed}");
}

#[test]
fn an_image_that_is_not_whole_gives_no_archive() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let oci = image(&store, Format::Oci);
    let layer = dir.path().join("blobs/sha256").join(oci.layers[1].digest.hex());
    let whole = std::fs::read(&layer).unwrap();
    let mut flipped = whole.clone();
    flipped[20] ^= 1;
    let write = || write_oci_archive(&store, &oci.assembled.descriptor, &[], &mut Vec::new());
    for damaged in [&flipped[..], &whole[..9], b""] {
        std::fs::remove_file(&layer).unwrap();
        std::fs::write(&layer, damaged).unwrap();
        assert!(matches!(write(), Err(StoreError::DamagedBlob { .. })));
    }
    std::fs::remove_file(&layer).unwrap();
    assert!(matches!(write(), Err(StoreError::MissingBlob(_))));
    let docker = write_docker_archive(&store, &oci.assembled.config_descriptor, &oci.layers, &[], &mut Vec::new());
    assert!(matches!(docker, Err(StoreError::MissingBlob(_))));
}
