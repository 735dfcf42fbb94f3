//! Archives, read by skopeo and compared with themselves.
#![allow(clippy::unwrap_used)]

use cooper_image::assemble::{Assembled, Format, Notes, assemble, index};
use cooper_image::{Descriptor, DiffId, Digest, ImageConfig, MediaType, Platform, Reference};
use cooper_store::archive::{Kind, Place, write};
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
    let assembled = assemble(&config, layers.clone(), format, Notes::new()).unwrap();
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
    write(&store, Kind::Oci, &oci.assembled.descriptor, &tags, Place::Tar(&mut bytes)).unwrap();
    let file = dir.path().join("oci.tar");
    std::fs::write(&file, &bytes).unwrap();
    check("oci-archive", &file, &dir.path().join("from-oci"), 2);
    let mut again = Vec::new();
    write(&store, Kind::Oci, &oci.assembled.descriptor, &tags, Place::Tar(&mut again)).unwrap();
    assert!(bytes == again, "the same image gives the same bytes");

    let docker = image(&store, Format::Docker);
    let mut bytes = Vec::new();
    write(&store, Kind::Docker, &docker.assembled.descriptor, &tags, Place::Tar(&mut bytes)).unwrap();
    let file = dir.path().join("docker.tar");
    std::fs::write(&file, &bytes).unwrap();
    check("docker-archive", &file, &dir.path().join("from-docker"), 2);
    check("oci-archive", &file, &dir.path().join("from-docker-as-oci"), 2);
    let listed = skopeo(&["list-tags", &format!("docker-archive:{}", file.display())]);
    assert!(listed.contains("team/app:1"), "{listed}");
}

#[test]
fn a_layout_keeps_its_other_images() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    let oci = image(&store, Format::Oci);
    let layout = dir.path().join("made/for/it");
    for tag in ["team/app:1", "team/app:2", "team/app:1"] {
        let tags: Vec<Reference> = vec![tag.parse().unwrap()];
        write(&store, Kind::Oci, &oci.assembled.descriptor, &tags, Place::Dir(&layout)).unwrap();
    }
    let index: serde_json::Value = serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
    let names: Vec<&str> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["2", "1"]);
    for tag in ["1", "2"] {
        let into = dir.path().join(tag);
        skopeo(&["copy", "-q", &format!("oci:{}:{tag}", layout.display()), &format!("oci:{}", into.display())]);
    }
    let docker = dir.path().join("docker");
    write(&store, Kind::Docker, &oci.assembled.descriptor, &[], Place::Dir(&docker)).unwrap();
    assert!(docker.join("manifest.json").is_file());
}

#[test]
fn a_directory_with_something_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    let oci = image(&store, Format::Oci);
    let other = dir.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("precious"), "kept").unwrap();
    let to = |place: &Path| write(&store, Kind::Oci, &oci.assembled.descriptor, &[], Place::Dir(place));
    let refused = to(&other).unwrap_err();
    assert!(matches!(refused, StoreError::NotALayout { .. }), "{refused}");
    assert_eq!(std::fs::read_dir(&other).unwrap().count(), 1);

    let layer = dir.path().join("store/blobs/sha256").join(oci.layers[1].digest.hex());
    let mut damaged = std::fs::read(&layer).unwrap();
    damaged[20] ^= 1;
    std::fs::remove_file(&layer).unwrap();
    std::fs::write(&layer, damaged).unwrap();
    let fresh = dir.path().join("fresh");
    assert!(matches!(to(&fresh), Err(StoreError::DamagedBlob { .. })));
    assert!(!fresh.exists(), "what fails leaves nothing behind");
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
    let write = |kind| write(&store, kind, &oci.assembled.descriptor, &[], Place::Tar(&mut Vec::new()));
    for damaged in [&flipped[..], &whole[..9], b""] {
        std::fs::remove_file(&layer).unwrap();
        std::fs::write(&layer, damaged).unwrap();
        assert!(matches!(write(Kind::Oci), Err(StoreError::DamagedBlob { .. })));
    }
    std::fs::remove_file(&layer).unwrap();
    assert!(matches!(write(Kind::Oci), Err(StoreError::MissingBlob(_))));
    assert!(matches!(write(Kind::Docker), Err(StoreError::MissingBlob(_))));
}

#[test]
fn docker_reads_no_index() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let oci = image(&store, Format::Oci);
    let (bytes, descriptor) = index(vec![oci.assembled.descriptor], Format::Oci, Notes::new()).unwrap();
    store.put_blob(&bytes).unwrap();
    let to = |kind| write(&store, kind, &descriptor, &[], Place::Tar(&mut Vec::new()));
    assert!(matches!(to(Kind::Docker), Err(StoreError::NotOneImage(_))));
    to(Kind::Oci).unwrap();
}
