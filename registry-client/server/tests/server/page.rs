//! The page at `/`: what it shows, and that nothing that was pushed becomes markup.
use crate::support::Server;
use cooper_image::Digest;
use cooper_registry_server::ServerOptions;
use cooper_store::Store;
use serde_json::{Value, json};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

#[test]
fn repositories_tags_platforms_layers_and_sizes() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    assert!(server.get("/").text().contains("There is nothing here yet."));
    let layer = server.push_blob("team/app", &vec![0; 1_500_000]);
    let mut images = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let config = json!({"architecture": architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}});
        let digest = server.push_blob("team/app", config.to_string().as_bytes());
        let document = json!({"schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": digest, "size": config.to_string().len()},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+<script>alert(1)</script>", "digest": layer, "size": 1_500_000}],
            "annotations": {"<b>": "\"><img src=x onerror=alert(1)>"}});
        let named = Digest::sha256(document.to_string()).to_string();
        server.push_manifest("team/app", &named, &document);
        images.push(json!({"mediaType": MANIFEST, "digest": named, "size": document.to_string().len(),
            "platform": {"os": "linux", "architecture": architecture}}));
    }
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": images});
    let digest = server.push_manifest("team/app", "v1", &index);
    let artifact = json!({"schemaVersion": 2, "mediaType": INDEX, "artifactType": "text/sbom<i>", "manifests": [],
        "subject": {"mediaType": INDEX, "digest": digest, "size": index.to_string().len()}});
    server.push_manifest("team/app", "sbom", &artifact);

    let of_image = format!("/?repository=team/app&digest={}", images[1]["digest"].as_str().unwrap());
    for (path, says) in [
        ("/", &["<a href=\"/?repository=team/app\">team/app</a>", "<td class=\"n\">2</td>"][..]),
        ("/?repository=team/app", &["/?repository=team/app&amp;tag=v1", "linux/amd64, linux/arm64", "1.5 MB", &digest]),
        ("/?repository=team/app&tag=v1", &["linux/arm64", "1.5 MB", "text/sbom&lt;i&gt;", &digest]),
        (&of_image, &["linux/arm64", "layer 1", &layer, "configuration", "&lt;script&gt;", "&lt;img src=x"]),
    ] {
        let answer = server.get(path);
        assert_eq!(
            (answer.status, answer.headers["content-type"].as_str()),
            (200, "text/html; charset=utf-8"),
            "{path}"
        );
        assert!(answer.headers["content-security-policy"].starts_with("default-src 'none'"));
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        let text = answer.text();
        for part in says {
            assert!(text.contains(part), "{part} in {text}");
        }
        for never in ["<script", "<img", "<b>", "<i>"] {
            assert!(!text.contains(never), "{never} in {text}");
        }
    }
    for (path, status) in [
        ("/?repository=absent", 404),
        ("/?repository=team/app&tag=absent", 404),
        ("/?repository=../x", 400),
        ("/?repository=team/app&tag=%3Cb%3E", 400),
        ("/?repository=team/app&digest=x", 400),
    ] {
        assert_eq!(server.get(path).status, status, "{path}");
    }
    assert_eq!(server.send("POST", "/", &[], b"").status, 405);
}

#[test]
fn an_index_has_the_platforms_of_those_within_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = ServerOptions::new(Store::open(dir.path()).unwrap());
    options.sparse = true;
    let server = Server::with(options);
    let push = |document: &Value, media_type: &str| {
        let digest = server.push_manifest("app", &Digest::sha256(document.to_string()).to_string(), document);
        json!({"mediaType": media_type, "digest": digest, "size": document.to_string().len()})
    };
    let index = |entries: &[&Value]| json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
    let image = |architecture: &str, bytes: usize| {
        let layer = server.push_blob("app", &architecture.bytes().cycle().take(bytes).collect::<Vec<_>>());
        let mut document = image(&server.push_blob("app", b"{}"), 2);
        document["layers"] =
            json!([{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": bytes}]);
        let mut entry = push(&document, MANIFEST);
        entry["platform"] = json!({"os": "linux", "architecture": architecture});
        entry
    };
    let [amd64, arm64, s390x] =
        [("amd64", 1_000_000), ("arm64", 2_000_000), ("s390x", 4_000_000)].map(|(a, n)| image(a, n));
    let mut absent = amd64.clone();
    absent["digest"] = json!(Digest::sha256("absent").to_string());
    absent["platform"]["architecture"] = json!("riscv64");
    let inner = push(&index(&[&arm64, &absent]), INDEX);
    let middle = push(&index(&[&inner, &s390x]), INDEX);
    let mut elsewhere = inner.clone();
    elsewhere["digest"] = json!(Digest::sha256("an index that is not here").to_string());
    elsewhere["platform"] = json!({"os": "linux", "architecture": "ppc64le"});
    let digest = server.push_manifest("app", "v1", &index(&[&amd64, &middle, &inner, &elsewhere]));

    // Each once, and what several share counted once.
    let tags = server.get("/?repository=app").text();
    let all = "<td>linux/amd64, linux/arm64, linux/riscv64, linux/s390x, linux/ppc64le</td><td class=\"n\">7.0 MB</td>";
    assert!(tags.contains(all) && tags.contains(&digest), "{tags}");
    let rows = server.get("/?repository=app&tag=v1").text();
    for row in [
        "<td>linux/amd64</td><td class=\"n\">1.0 MB</td>",
        "<td>linux/arm64, linux/riscv64, linux/s390x</td><td class=\"n\">6.0 MB</td>",
        "<td>linux/arm64, linux/riscv64</td><td class=\"n\">2.0 MB</td>",
        "<td>linux/ppc64le</td><td class=\"n\"></td>",
    ] {
        assert!(rows.contains(row), "{row} in {rows}");
    }
}

/// Else whoever may push would have each look at the page cost minutes.
#[test]
fn a_page_reads_so_many_bytes_of_documents_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let mut large = image(&server.push_blob("app", b"{}"), 2);
    large["annotations"] = json!({"long": "x".repeat(3 << 20)});
    let named = Digest::sha256(large.to_string()).to_string();
    server.push_manifest("app", &named, &large);
    let entry = json!({"mediaType": MANIFEST, "digest": named, "size": large.to_string().len()});
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": vec![entry; 40]});
    server.push_manifest("app", "v1", &index);
    let rows = server.get("/?repository=app&tag=v1").text();
    let count = |cell: &str| rows.matches(&format!("<td></td><td class=\"n\">{cell}</td>")).count();
    assert_eq!((count("2 B"), count("")), (21, 19), "{rows}");
}

/// An image whose parts may be of other repositories, as a partial copy.
fn image(config: &str, size: usize) -> Value {
    let config = json!({"mediaType": CONFIG, "digest": config, "size": size});
    json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []})
}

#[test]
fn what_other_repositories_hold_is_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = ServerOptions::new(Store::open(dir.path()).unwrap());
    options.sparse = true;
    let server = Server::with(options);
    let config = json!({"architecture": "riscv64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}});
    let (size, config) = (config.to_string().len(), server.push_blob("secret", config.to_string().as_bytes()));
    let layer = server.push_blob("secret", &vec![0; 7_654_321]);
    let mut secret = image(&config, size);
    secret["layers"] =
        json!([{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": 7_654_321}]);
    let digest = server.push_manifest("secret", "v1", &secret);
    // Whoever knows a digest names it in a repository of their own.
    server.push_manifest("open", "image", &image(&config, size));
    let entry = json!({"mediaType": MANIFEST, "digest": digest, "size": secret.to_string().len()});
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]});
    server.push_manifest("open", "index", &index);
    for place in ["", "&tag=image", "&tag=index"] {
        let text = server.get(&format!("/?repository=open{place}")).text();
        assert!(!text.contains("riscv64") && !text.contains("7.7 MB") && !text.contains(&layer), "{place}: {text}");
    }
    assert!(server.get("/?repository=secret").text().contains("riscv64"));
}

#[test]
fn what_the_disk_has_damaged_is_called_so() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let config = server.push_blob("app", b"{}");
    let whole = image(&config, 2);
    let digest = server.push_manifest("app", "image", &whole);
    let entry = json!({"mediaType": MANIFEST, "digest": digest, "size": whole.to_string().len()});
    server.push_manifest("app", "index", &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}));
    let damage = |digest: &str, size: usize| {
        let path = dir.path().join("blobs/sha256").join(digest.trim_start_matches("sha256:"));
        std::fs::remove_file(&path).unwrap();
        std::fs::write(path, vec![b' '; size]).unwrap();
    };
    let says = |place: &str| {
        let answer = server.get(&format!("/?repository=app{place}"));
        assert_eq!(answer.status, 200, "{place}: {}", answer.text());
        answer.text().contains("damaged")
    };
    assert!(!says("") && !says("&tag=image"));
    damage(&config, 2);
    assert!(says("") && says("&tag=image") && !says("&tag=index"));
    damage(&digest, whole.to_string().len());
    assert!(says("") && says("&tag=image") && says("&tag=index"));
}

#[test]
fn long_lists_come_in_pages() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let document = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []});
    let digest = Digest::sha256(document.to_string());
    for from in [0, 80] {
        let tags = (from..from + 80).map(|n| format!("tag=t{n:03}")).collect::<Vec<_>>().join("&");
        server.push_manifest("a", &format!("{digest}?{tags}"), &document);
    }
    let first = server.get("/?repository=a").text();
    assert!(first.contains(">t099</a>") && !first.contains(">t100</a>"));
    assert!(first.contains("<a href=\"/?repository=a&amp;last=t099\">More</a>"), "{first}");
    let second = server.get("/?repository=a&last=t099").text();
    assert!(second.contains(">t159</a>") && !second.contains(">t099</a>") && !second.contains("More"));
}
