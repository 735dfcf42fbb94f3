//! Against Debian's `docker-registry`, with images that `skopeo` pushed, and with the `oci-client`
//! crate as an independent judge of what this client pushed.
use crate::support::{Access, DockerRegistry, PASSWORD, USER, quick, run, source};
use cooper_image::{Descriptor, Digest, MediaType, Platform, Reference};
use cooper_registry::credentials::{Credential, DockerConfig, Login};
use cooper_registry::{Client, ClientOptions, Pushed, RegistryError, Secret};
use std::path::Path;

fn name(host: &str, rest: &str) -> Reference {
    format!("{host}/{rest}").parse().unwrap()
}

fn credentials(host: &str, password: &str) -> ClientOptions {
    let login = Some(Login { username: USER.to_owned(), password: Secret::new(password) });
    let file = DockerConfig::with(host, Credential { login, ..Credential::default() });
    ClientOptions { credentials: vec![file], ..quick() }
}

/// Writes a blob into an OCI layout and describes it.
fn blob(layout: &Path, media_type: MediaType, bytes: &[u8]) -> Descriptor {
    let d = Descriptor::of(media_type, bytes);
    let folder = layout.join("blobs/sha256");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(d.digest.hex()), bytes).unwrap();
    d
}

fn manifest(config: &Descriptor, layers: &[Descriptor]) -> Vec<u8> {
    let document = serde_json::json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": layers});
    serde_json::to_vec(&document).unwrap()
}

/// An OCI layout with an index of two platforms and an attestation, tagged `two`.
fn layout(place: &Path) {
    let mut entries = Vec::new();
    for (os, arch) in [("linux", "amd64"), ("linux", "arm64"), ("unknown", "unknown")] {
        let layer = blob(place, MediaType::OciLayerGzip, format!("layer for {arch}").as_bytes());
        let config = serde_json::json!({"os": os, "architecture": arch, "rootfs": {"type": "layers", "diff_ids": [layer.digest]}});
        let config = blob(place, MediaType::OciConfig, &serde_json::to_vec(&config).unwrap());
        let mut entry = blob(place, MediaType::OciManifest, &manifest(&config, &[layer]));
        entry.platform = Some(Platform { os: os.into(), ..Platform::linux(arch) });
        entries.push(entry);
    }
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries});
    let mut index = blob(place, MediaType::OciIndex, &serde_json::to_vec(&index).unwrap());
    index.annotations.insert("org.opencontainers.image.ref.name".into(), "two".into());
    let top = serde_json::json!({"schemaVersion": 2, "manifests": [index]});
    std::fs::write(place.join("index.json"), serde_json::to_vec(&top).unwrap()).unwrap();
    std::fs::write(place.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

fn skopeo_push(host: &str, rest: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    layout(folder.path());
    let to = format!("docker://{host}/{rest}");
    let arguments =
        ["--insecure-policy", "copy", "--all", "--preserve-digests", "--dest-tls-verify=false", "oci:.:two", &to];
    run("skopeo", &arguments, folder.path());
    folder
}

async fn pull(client: &Client, name: &Reference, d: &Descriptor) -> Vec<u8> {
    let mut got = Vec::new();
    let mut sink = |bytes: &[u8]| {
        got.extend_from_slice(bytes);
        Ok(())
    };
    client.blob(name, d, &mut sink).await.unwrap();
    got
}

#[tokio::test]
async fn an_index_that_skopeo_pushed_resolves_by_platform() {
    let registry = DockerRegistry::start(Access::Open);
    let _layout = skopeo_push(&registry.host, "team/app:two");
    let client = Client::new(quick()).unwrap();
    let tagged = name(&registry.host, "team/app:two");
    for arch in ["amd64", "arm64"] {
        let found = client.resolve(&tagged, &Platform::linux(arch)).await.unwrap();
        assert_eq!(found.descriptor, Descriptor::of(MediaType::OciManifest, found.manifest.get()));
        let index = found.index.expect("the tag leads to an index");
        let layer = pull(&client, &tagged, &found.document.layers[0]).await;
        assert_eq!(layer, format!("layer for {arch}").into_bytes());
        // The same image by the digests on the way, one of which beats a tag that does not exist.
        let direct = tagged.with_digest(found.descriptor.digest.clone());
        let again = client.resolve(&direct, &Platform::linux(arch)).await.unwrap();
        assert_eq!(again.manifest.get(), found.manifest.get());
        assert!(again.index.is_none());
        let both = name(&registry.host, &format!("team/app:absent@{}", index.digest()));
        assert_eq!(client.resolve(&both, &Platform::linux(arch)).await.unwrap().descriptor, found.descriptor);
    }
    let error = client.resolve(&tagged, &Platform::linux("riscv64")).await.unwrap_err();
    let text = error.to_string();
    assert!(text.ends_with("no image for linux/riscv64; there are images for linux/amd64, linux/arm64"), "{text}");
    assert!(!error.is_input());
    let error = client.resolve(&name(&registry.host, "team/app:absent"), &Platform::host()).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("team/app: GET manifest absent: the registry answered 404: ")
            && text.contains("MANIFEST_UNKNOWN"),
        "{text}"
    );
}

/// Pushes an image of one large and one small layer; gives its manifest's digest.
async fn push_image(client: &Client, to: &Reference) -> Digest {
    let large: Vec<u8> = (0..3_000_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let layers = [large.as_slice(), b"small", b""].map(|l| (Descriptor::of(MediaType::OciLayerGzip, l), l.to_vec()));
    let config = br#"{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}"#.to_vec();
    let config = (Descriptor::of(MediaType::OciConfig, &config), config);
    for (d, bytes) in layers.iter().chain([&config]) {
        assert_eq!(client.push_blob(to, d, source(bytes), None).await.unwrap(), Pushed::Uploaded);
        assert_eq!(client.push_blob(to, d, source(bytes), None).await.unwrap(), Pushed::Existed);
    }
    let bytes = manifest(&config.0, &layers.map(|(d, _)| d));
    let digest = client.push_manifest(to, &bytes, &MediaType::OciManifest).await.unwrap();
    assert_eq!(digest, Digest::sha256(&bytes));
    let found = client.resolve(to, &Platform::host()).await.unwrap();
    assert_eq!(found.manifest.get(), &bytes);
    assert_eq!(pull(client, to, &found.document.layers[0]).await, large);
    assert!(pull(client, to, &found.document.layers[2]).await.is_empty());
    digest
}

#[tokio::test]
async fn others_can_pull_what_was_pushed() {
    let registry = DockerRegistry::start(Access::Open);
    let client = Client::new(quick()).unwrap();
    let to = name(&registry.host, "pushed/app:1");
    let digest = push_image(&client, &to).await;

    let config = oci_distribution::client::ClientConfig {
        protocol: oci_distribution::client::ClientProtocol::Http,
        ..Default::default()
    };
    let judge = oci_distribution::Client::new(config);
    let image = judge
        .pull(
            &to.to_string().parse().unwrap(),
            &oci_distribution::secrets::RegistryAuth::Anonymous,
            vec!["application/vnd.oci.image.layer.v1.tar+gzip"],
        )
        .await
        .unwrap();
    assert_eq!(image.digest.as_deref(), Some(digest.to_string().as_str()));
    // The judge gives the layers in the order in which they arrive.
    let mut layers: Vec<&[u8]> = image.layers.iter().map(|l| l.data.as_ref()).collect();
    layers.sort_by_key(|l| l.len());
    assert_eq!(layers[..2], [b"".as_slice(), b"small"]);
    assert_eq!(layers[2].len(), 3_000_000);

    let raw = run("skopeo", &["inspect", "--raw", "--tls-verify=false", &format!("docker://{to}")], Path::new("/"));
    assert_eq!(Digest::sha256(raw), digest);
}

#[tokio::test]
async fn mounting_takes_a_neighbours_blob() {
    let registry = DockerRegistry::start(Access::Open);
    let client = Client::new(quick()).unwrap();
    let d = Descriptor::of(MediaType::OciLayerGzip, b"shared");
    let (first, second) = (name(&registry.host, "one/a"), name(&registry.host, "two/b"));
    client.push_blob(&first, &d, source(b"shared"), None).await.unwrap();
    // The source must not be needed.
    let none: cooper_registry::BlobSource = std::sync::Arc::new(|| Err(std::io::Error::other("not to be opened")));
    assert_eq!(client.push_blob(&second, &d, none, Some(&first)).await.unwrap(), Pushed::Mounted);
    assert_eq!(pull(&client, &second, &d).await, b"shared");
    // A neighbour that does not have it: the session of the answer is used.
    let d = Descriptor::of(MediaType::OciLayerGzip, b"only here");
    assert_eq!(client.push_blob(&second, &d, source(b"only here"), Some(&first)).await.unwrap(), Pushed::Uploaded);
}

#[tokio::test]
async fn passwords() {
    let registry = DockerRegistry::start(Access::Password);
    let to = name(&registry.host, "private/app:1");
    push_image(&Client::new(credentials(&registry.host, PASSWORD)).unwrap(), &to).await;

    let anonymous = Client::new(quick()).unwrap();
    let error = anonymous.resolve(&to, &Platform::host()).await.unwrap_err();
    assert!(matches!(&error, RegistryError::Auth { .. }), "{error}");
    assert!(error.hint().unwrap().starts_with(&format!("log in with: cooper login {}", registry.host)));

    let wrong = Client::new(credentials(&registry.host, "wrong-secret")).unwrap();
    let error = wrong.resolve(&to, &Platform::host()).await.unwrap_err();
    assert!(matches!(&error, RegistryError::Status { status: 401, .. }), "{error}");
    assert!(!format!("{error:?} {wrong:?}").contains("wrong-secret"));
    let d = Descriptor::of(MediaType::OciLayerGzip, b"x");
    assert!(wrong.push_blob(&to, &d, source(b"x"), None).await.is_err());
}

#[tokio::test]
async fn wrong_content_and_lost_files_are_errors() {
    let registry = DockerRegistry::start(Access::Open);
    let client = Client::new(quick()).unwrap();
    let to = name(&registry.host, "a/b:1");
    let d = Descriptor::of(MediaType::OciLayerGzip, b"right");
    // The registry computes the digest itself.
    let error = client.push_blob(&to, &d, source(b"wrong"), None).await.unwrap_err();
    assert!(matches!(&error, RegistryError::Status { status: 400, .. }), "{error}");
    let error = client.push_blob(&to, &d, source(b"rig"), None).await.unwrap_err();
    let RegistryError::Local { source: cause, .. } = &error else { panic!("{error}") };
    assert_eq!(cause.to_string(), "the file ends 2 bytes early");
    let gone: cooper_registry::BlobSource = std::sync::Arc::new(|| std::fs::File::open("/nonexistent/blob"));
    assert!(matches!(client.push_blob(&to, &d, gone, None).await, Err(RegistryError::Local { .. })));
    let named = name(&registry.host, &format!("a/b@{}", d.digest));
    assert!(client.push_manifest(&named, b"{}", &MediaType::OciManifest).await.unwrap_err().is_input());
}

#[tokio::test]
async fn mirrors_fall_through_to_the_location() {
    let registry = DockerRegistry::start(Access::Open);
    let _layout = skopeo_push(&registry.host, "hub/team/app:two");
    let dead = crate::support::free_port();
    let conf = format!(
        "[[registry]]\nprefix='images.example/team'\nlocation='{0}/hub/team'\n[[registry.mirror]]\nlocation='127.0.0.1:{dead}/cache'\n[[registry.mirror]]\nlocation='{0}/empty'\n",
        registry.host
    );
    let registries = cooper_registry::registries_conf::RegistriesConf::parse(&conf).unwrap();
    let client = Client::new(ClientOptions { registries, ..quick() }).unwrap();
    let tagged = name("images.example", "team/app:two");
    let found = client.resolve(&tagged, &Platform::linux("amd64")).await.unwrap();
    assert_eq!(pull(&client, &tagged, &found.document.layers[0]).await, b"layer for amd64");
    let error = client.resolve(&name("images.example", "team/app:none"), &Platform::host()).await.unwrap_err();
    let RegistryError::Endpoints { failures, .. } = &error else { panic!("{error}") };
    assert!(matches!(
        failures.as_slice(),
        [RegistryError::Network { .. }, RegistryError::Status { .. }, RegistryError::Status { .. }]
    ));
    assert!(error.to_string().contains(&format!("127.0.0.1:{dead}/cache/app")), "{error}");
}
