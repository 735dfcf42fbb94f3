//! The protocol byte by byte: uploads, ranges, mounts, referrers, lists, and every kind of refusal.
use crate::support::{Answer, Server};
use cooper_image::Digest;
use cooper_registry_server::ServerOptions;
use cooper_store::{Doing, Policy, Store};
use serde_json::{Value, json};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

fn server() -> (tempfile::TempDir, Server) {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    (dir, server)
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::sha256(bytes).to_string(), "size": bytes.len()})
}

fn manifest(config: &[u8]) -> Value {
    json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(CONFIG, config), "layers": []})
}

fn put(server: &Server, path: &str, media_type: &str, document: &Value) -> Answer {
    server.send("PUT", path, &[("Content-Type", media_type)], document.to_string().as_bytes())
}

#[test]
fn a_blob_comes_in_chunks_and_goes_in_ranges() {
    let (_dir, server) = server();
    let bytes: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let digest = Digest::sha256(&bytes).to_string();
    let place = server.begin("team/app");
    let (first, rest) = bytes.split_at(700_000);
    let patch = |range: &str, body: &[u8]| server.send("PATCH", &place, &[("Content-Range", range)], body);

    let answer = patch("5-6", &bytes[5..7]);
    assert_eq!((answer.status, answer.headers["range"].as_str()), (416, "0-0"));
    assert_eq!(patch("0-699999", first).status, 202);
    // Sent again, it is out of order; where to go on is in the answer and in the status.
    let answer = patch("0-699999", first);
    assert_eq!((answer.status, answer.headers["range"].as_str()), (416, "0-699999"));
    let status = server.get(&place);
    assert_eq!((status.status, status.headers["range"].as_str()), (204, "0-699999"));
    assert_eq!(patch("700000-700009", &rest[..9]).status, 400);
    assert_eq!(patch("x", b"").status, 400);

    let path = format!("{place}?digest={digest}");
    let range = format!("700000-{}", bytes.len() - 1);
    let answer = server.send("PUT", &path, &[("Content-Range", &range)], rest);
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.headers["docker-content-digest"], digest);
    let blob = answer.headers["location"].clone();
    assert_eq!(server.get(&place).code(), "BLOB_UPLOAD_UNKNOWN");

    let whole = server.get(&blob);
    assert_eq!((whole.status, whole.body == bytes), (200, true));
    let head = server.send("HEAD", &blob, &[], b"");
    assert_eq!((head.status, head.headers["content-length"].as_str(), head.body.len()), (200, "1200000", 0));
    for (header, status, part) in [
        ("bytes=10-19", 206, &bytes[10..20]),
        ("bytes=1199999-", 206, &bytes[1_199_999..]),
        ("bytes=-2", 206, &bytes[1_199_998..]),
        ("bytes=0-1,4-5", 200, &bytes[..]),
    ] {
        let answer = server.send("GET", &blob, &[("Range", header)], b"");
        assert_eq!((answer.status, answer.body == part), (status, true), "{header}");
    }
    let answer = server.send("GET", &blob, &[("Range", "bytes=1200000-")], b"");
    assert_eq!((answer.status, answer.headers["content-range"].as_str()), (416, "bytes */1200000"));
}

#[test]
fn streamed_whole_and_cancelled_uploads() {
    let (_dir, server) = server();
    let digest = Digest::sha256("abcdef").to_string();
    let place = server.begin("a");
    assert_eq!(server.send("PATCH", &place, &[], b"abc").status, 202);
    assert_eq!(server.send("PATCH", &place, &[("Content-Range", "bytes 3-5/6")], b"def").status, 202);
    // In another repository the identifier is worth nothing.
    let foreign = place.replace("/v2/a/", "/v2/b/");
    for method in ["GET", "PATCH", "DELETE"] {
        let answer = server.send(method, &foreign, &[], b"");
        assert_eq!((answer.status, answer.code().as_str()), (404, "BLOB_UPLOAD_UNKNOWN"), "{method}");
    }
    assert_eq!(server.send("PUT", &format!("{place}?digest={digest}"), &[], b"").status, 201);
    assert_eq!(server.get(&format!("/v2/a/blobs/{digest}")).body, b"abcdef");

    let place = server.begin("a");
    assert_eq!(server.send("PUT", &format!("{place}?digest={digest}"), &[], b"abcdef").status, 201);
    let place = server.begin("a");
    assert_eq!(server.send("DELETE", &place, &[], b"").status, 204);
    assert_eq!(server.get(&place).status, 404);
    // The empty blob, and one that is named by SHA-512.
    server.push_blob("a", b"");
    let sha512 = "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e";
    assert_eq!(server.send("POST", &format!("/v2/a/blobs/uploads/?digest={sha512}"), &[], b"").status, 201);
    assert_eq!(server.get(&format!("/v2/a/blobs/{sha512}")).status, 200);
}

#[test]
fn a_blob_is_seen_only_where_it_was_pushed_or_mounted() {
    let (_dir, server) = server();
    let digest = server.push_blob("source", b"shared");
    let at = |repository: &str| format!("/v2/{repository}/blobs/{digest}");
    assert_eq!(server.get(&at("other")).code(), "BLOB_UNKNOWN");
    let mount = |to: &str, from: &str| {
        server.send("POST", &format!("/v2/{to}/blobs/uploads/?mount={digest}&from={from}"), &[], b"").status
    };
    assert_eq!(mount("other", "nowhere"), 202);
    assert_eq!(mount("other", ".."), 202);
    assert_eq!(server.get(&at("other")).status, 404);
    assert_eq!(mount("other", "source"), 201);
    assert_eq!(server.get(&at("other")).body, b"shared");
    assert_eq!(server.send("DELETE", &at("source"), &[], b"").status, 202);
    assert_eq!(server.get(&at("source")).status, 404);
    assert_eq!(server.get(&at("other")).status, 200);
    assert_eq!(mount("third", "source"), 202);
}

#[test]
fn a_manifest_is_kept_as_it_came_and_lists_its_tags() {
    let (_dir, server) = server();
    server.push_blob("team/app", b"{}");
    let document = manifest(b"{}");
    let digest = Digest::sha256(document.to_string()).to_string();
    for tag in ["v2", "latest", "v1"] {
        let answer = put(&server, &format!("/v2/team/app/manifests/{tag}"), MANIFEST, &document);
        assert_eq!((answer.status, answer.headers["docker-content-digest"].as_str()), (201, digest.as_str()));
    }
    assert_eq!(put(&server, &format!("/v2/team/app/manifests/{digest}"), MANIFEST, &document).status, 201);
    for selector in ["v1", &digest, &digest.replace(':', "%3A")] {
        let answer = server.get(&format!("/v2/team/app/manifests/{selector}"));
        assert_eq!(answer.body, document.to_string().as_bytes());
        assert_eq!(answer.headers["content-type"], MANIFEST);
        let head = server.send("HEAD", &format!("/v2/team/app/manifests/{selector}"), &[], b"");
        assert_eq!((head.status, &head.headers["docker-content-digest"]), (200, &digest));
        assert_eq!(head.headers["content-length"], document.to_string().len().to_string());
    }
    assert_eq!(server.get("/v2/team/app/tags/list").json()["tags"], json!(["latest", "v1", "v2"]));
    let page = server.get("/v2/team/app/tags/list?n=2");
    assert_eq!(page.json(), json!({"name": "team/app", "tags": ["latest", "v1"]}));
    let next = page.headers["link"].split(['<', '>']).nth(1).unwrap().to_owned();
    let page = server.get(&next);
    assert_eq!(page.json()["tags"], json!(["v2"]));
    assert!(!page.headers.contains_key("link"));
    assert_eq!(server.get("/v2/_catalog").json(), json!({"repositories": ["team/app"]}));

    assert_eq!(server.send("DELETE", "/v2/team/app/manifests/v2", &[], b"").status, 202);
    assert_eq!(server.get("/v2/team/app/manifests/v2").code(), "MANIFEST_UNKNOWN");
    assert_eq!(server.get("/v2/team/app/manifests/v1").status, 200);
    assert_eq!(server.send("DELETE", &format!("/v2/team/app/manifests/{digest}"), &[], b"").status, 202);
    assert_eq!(server.get("/v2/team/app/manifests/v1").status, 404);
    assert_eq!(server.get("/v2/team/app/tags/list").json()["tags"], json!([]));
}

#[test]
fn referrers_with_long_annotations_come_in_several_answers() {
    let (_dir, server) = server();
    server.push_blob("a", b"{}");
    let subject = manifest(b"{}");
    for n in 0..3 {
        let mut document = manifest(b"{}");
        document["subject"] = descriptor(MANIFEST, subject.to_string().as_bytes());
        document["artifactType"] = json!("a/b+c&d");
        document["annotations"] =
            json!({"note": format!("{n}{}", "x".repeat(if n < 2 { 2_000_000 } else { 3_900_000 }))});
        let own = Digest::sha256(document.to_string());
        assert_eq!(put(&server, &format!("/v2/a/manifests/{own}"), MANIFEST, &document).status, 201);
    }
    let digest = Digest::sha256(subject.to_string());
    // The plus as a person writes it, and in the link as a program does.
    let mut place = Some(format!("/v2/a/referrers/{digest}?artifactType=a/b+c%26d"));
    let mut sizes = Vec::new();
    while let Some(path) = place {
        let answer = server.get(&path);
        assert_eq!(answer.status, 200);
        assert!(answer.body.len() < (4 << 20) + (64 << 10), "{} bytes", answer.body.len());
        sizes.push(answer.json()["manifests"].as_array().unwrap().len());
        let link = answer.headers.get("link").map(String::as_str);
        place = link.map(|l| l.strip_prefix('<').unwrap().split_once('>').unwrap().0.to_owned());
    }
    // No answer is larger than a manifest may be, wherever the large one stands: clients take no more.
    assert!(sizes.iter().sum::<usize>() == 3 && (2..=3).contains(&sizes.len()), "{sizes:?}");
}

#[test]
fn referrers_are_listed_with_their_kind_and_annotations() {
    let (_dir, server) = server();
    server.push_blob("a", b"{}");
    let subject = manifest(b"{}");
    let digest = Digest::sha256(subject.to_string()).to_string();
    let path = format!("/v2/a/referrers/{digest}");
    assert_eq!(server.get(&path).json()["manifests"], json!([]));
    let refer = |more: Value| {
        let mut document = manifest(b"{}");
        document["subject"] = descriptor(MANIFEST, subject.to_string().as_bytes());
        document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let own = Digest::sha256(document.to_string()).to_string();
        let answer = put(&server, &format!("/v2/a/manifests/{own}"), MANIFEST, &document);
        assert_eq!((answer.status, &answer.headers["oci-subject"]), (201, &digest));
        own
    };
    // The subject may come later than what refers to it.
    let signature = refer(json!({"artifactType": "text/signature", "annotations": {"by": "me"}}));
    let plain = refer(json!({}));
    assert_eq!(put(&server, "/v2/a/manifests/v1", MANIFEST, &subject).status, 201);

    let answer = server.get(&path);
    assert_eq!(answer.headers["content-type"], INDEX);
    let listed = answer.json()["manifests"].as_array().unwrap().clone();
    let of = |digest: &str| listed.iter().find(|d| d["digest"] == digest).unwrap().clone();
    assert_eq!(listed.len(), 2);
    assert_eq!(
        (&of(&signature)["artifactType"], &of(&signature)["annotations"]["by"]),
        (&json!("text/signature"), &json!("me"))
    );
    assert_eq!(of(&plain)["artifactType"], CONFIG);
    let filtered = server.get(&format!("{path}?artifactType=text/signature"));
    assert_eq!(filtered.headers["oci-filters-applied"], "artifactType");
    assert_eq!(filtered.json()["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(server.send("DELETE", &format!("/v2/a/manifests/{plain}"), &[], b"").status, 202);
    assert_eq!(server.get(&path).json()["manifests"].as_array().unwrap().len(), 1);
}

#[test]
fn a_manifest_that_is_not_whole_or_not_clear_is_refused() {
    let (_dir, server) = server();
    server.push_blob("a", b"{}");
    server.push_blob("other", b"elsewhere");
    let good = manifest(b"{}");
    assert_eq!(put(&server, "/v2/a/manifests/good", MANIFEST, &good).status, 201);
    let with = |field: &str, value: Value| {
        let mut document = good.clone();
        document[field] = value;
        document
    };
    let layer = |bytes: &[u8]| json!([descriptor("application/vnd.oci.image.layer.v1.tar", bytes)]);
    let index = |manifests: Value| json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
    let mut wrong_size = good.clone();
    wrong_size["config"]["size"] = json!(3);
    let foreign = json!([{"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": Digest::sha256("far away").to_string(), "size": 8}]);
    for (name, media_type, document, status, code) in [
        ("absent config", MANIFEST, manifest(b"absent"), 404, "MANIFEST_BLOB_UNKNOWN"),
        ("absent layer", MANIFEST, with("layers", layer(b"absent")), 404, "MANIFEST_BLOB_UNKNOWN"),
        ("another repository's layer", MANIFEST, with("layers", layer(b"elsewhere")), 404, "MANIFEST_BLOB_UNKNOWN"),
        ("wrong size", MANIFEST, wrong_size, 400, "MANIFEST_INVALID"),
        ("absent child", INDEX, index(json!([descriptor(MANIFEST, b"{}")])), 404, "MANIFEST_BLOB_UNKNOWN"),
        ("two kinds at once", MANIFEST, with("manifests", json!([])), 400, "MANIFEST_INVALID"),
        ("another type than said", INDEX, good.clone(), 400, "MANIFEST_INVALID"),
        ("schema 1", MANIFEST, with("schemaVersion", json!(1)), 400, "MANIFEST_INVALID"),
        ("unknown type", "text/html", good.clone(), 400, "MANIFEST_INVALID"),
        ("no document", MANIFEST, json!("x"), 400, "MANIFEST_INVALID"),
    ] {
        let answer = put(&server, "/v2/a/manifests/bad", media_type, &document);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{name}");
        assert_eq!(server.get("/v2/a/manifests/bad").status, 404, "{name}");
    }
    assert_eq!(put(&server, "/v2/a/manifests/null", MANIFEST, &with("annotations", Value::Null)).status, 201);
    assert_eq!(put(&server, "/v2/a/manifests/null", MANIFEST, &with("layers", Value::Null)).status, 201);
    let own = descriptor(MANIFEST, good.to_string().as_bytes());
    assert_eq!(put(&server, "/v2/a/manifests/index", INDEX, &index(json!([own]))).status, 201);
    assert_eq!(put(&server, "/v2/a/manifests/far", MANIFEST, &with("layers", foreign)).status, 201);
    let other = Digest::sha256("other").to_string();
    assert_eq!(put(&server, &format!("/v2/a/manifests/{other}"), MANIFEST, &good).code(), "DIGEST_INVALID");
    let limit = 4 << 20;
    for (size, status) in [(limit, 400), (limit + 1, 413)] {
        let answer = server.send("PUT", "/v2/a/manifests/big", &[("Content-Type", MANIFEST)], &vec![b' '; size]);
        assert_eq!(answer.status, status);
    }
}

#[test]
fn refusals_have_the_codes_of_the_specification() {
    let (_dir, server) = server();
    let digest = server.push_blob("a", b"x");
    let wrong = Digest::sha256("wrong").to_string();
    let unknown = "/v2/a/blobs/uploads/00000000000000000000000000000000";
    for (method, path, status, code) in [
        ("GET", "/x", 404, "NAME_UNKNOWN"),
        ("GET", "/v2/../../etc/passwd", 404, "NAME_UNKNOWN"),
        ("GET", "/v2/UPPER/manifests/x", 400, "NAME_INVALID"),
        ("GET", "/v2/a/../b/manifests/x", 400, "NAME_INVALID"),
        ("GET", "/v2/a/manifests/.INVALID", 404, "MANIFEST_UNKNOWN"),
        ("PUT", "/v2/a/manifests/.INVALID", 400, "MANIFEST_INVALID"),
        ("GET", "/v2/a/manifests/absent", 404, "MANIFEST_UNKNOWN"),
        ("DELETE", "/v2/a/manifests/absent", 404, "MANIFEST_UNKNOWN"),
        ("GET", "/v2/a/blobs/sha256:12", 400, "DIGEST_INVALID"),
        ("GET", "/v2/a/blobs/md5:d41d8cd98f00b204e9800998ecf8427e", 400, "DIGEST_INVALID"),
        ("GET", &format!("/v2/a/blobs/{wrong}"), 404, "BLOB_UNKNOWN"),
        ("DELETE", &format!("/v2/a/blobs/{wrong}"), 404, "BLOB_UNKNOWN"),
        ("PUT", &format!("/v2/a/blobs/{digest}"), 405, "UNSUPPORTED"),
        ("POST", &format!("/v2/a/blobs/uploads/?digest={wrong}"), 400, "DIGEST_INVALID"),
        ("POST", "/v2/a/blobs/uploads/?digest=x", 400, "DIGEST_INVALID"),
        ("PATCH", unknown, 404, "BLOB_UPLOAD_UNKNOWN"),
        ("PUT", &format!("{unknown}?digest={digest}"), 404, "BLOB_UPLOAD_UNKNOWN"),
        ("PUT", unknown, 400, "DIGEST_INVALID"),
        ("GET", "/v2/absent/tags/list", 404, "NAME_UNKNOWN"),
        ("GET", "/v2/_catalog?n=-1", 400, "UNSUPPORTED"),
        ("GET", "/v2/_catalog?n=1&n=2", 400, "UNSUPPORTED"),
        ("DELETE", "/v2/", 405, "UNSUPPORTED"),
    ] {
        let answer = server.send(method, path, &[], b"");
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{method} {path}");
    }
    let answer = server.get("/v2/");
    assert_eq!((answer.status, answer.headers["docker-distribution-api-version"].as_str()), (200, "registry/2.0"));
}

/// The server reads the body before it closes: a client that writes all of it first has its answer.
#[test]
fn a_refusal_arrives_whatever_was_sent_with_it() {
    use std::io::{Read as _, Write as _};
    let dir = tempfile::tempdir().unwrap();
    let mut options = ServerOptions::new(Store::open(dir.path()).unwrap());
    options.limits.blob_bytes = 1 << 20;
    let server = Server::with(options);
    let body = vec![b'x'; 8 << 20];
    let digest = Digest::sha256(&body).to_string();
    let (place, start) = (server.begin("a"), "/v2/a/blobs/uploads/");
    let length = format!("Content-Length: {}", body.len());
    // Of a body in chunks nobody knows the length before; this is the last one of its length.
    let chunked = [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
    for (request, framing, sent, status) in [
        (format!("PUT {place}"), length.as_str(), &body, 400),
        (format!("PUT {place}?digest=x"), &length, &body, 400),
        (format!("POST {start}?digest=x"), &length, &body, 400),
        (format!("POST {start}?mount=x"), &length, &body, 202),
        (format!("POST {start}"), &length, &body, 202),
        (format!("POST {start}?digest={digest}"), &length, &body, 413),
        (format!("POST {start}?digest={digest}"), "Transfer-Encoding: chunked", &chunked, 413),
        ("PUT /v2/a/manifests/x".to_owned(), &length, &body, 413),
    ] {
        for _ in 0..3 {
            let mut client = std::net::TcpStream::connect(server.address).unwrap();
            write!(client, "{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{framing}\r\n\r\n").unwrap();
            client.write_all(sent).unwrap_or_else(|e| panic!("{request}, {framing}: {e}"));
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap_or_else(|e| panic!("{request}, {framing}: {e}"));
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}, {framing}: {answer}");
        }
    }
    // What is announced to be too long is refused before it is sent.
    let answer = server.send("PATCH", &place, &[("Content-Length", "1048577"), ("Expect", "100-continue")], b"");
    assert_eq!(answer.status, 413);
}

/// More than the server reads before it answers: it reads the rest after it has.
#[test]
fn a_refusal_arrives_also_before_the_end_of_a_large_blob() {
    use std::io::{Read as _, Write as _};
    let (_dir, server) = server();
    let body = vec![b'x'; 48 << 20];
    for _ in 0..3 {
        let mut client = std::net::TcpStream::connect(server.address).unwrap();
        let head = format!("Host: x\r\nContent-Length: {}\r\n\r\n", body.len());
        write!(client, "POST /v2/a/blobs/uploads/?digest=x HTTP/1.1\r\n{head}").unwrap();
        client.write_all(&body).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
}

/// RFC 9112, section 3.2.
#[test]
fn a_request_says_once_which_host_it_is_for() {
    use std::io::{Read as _, Write as _};
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    for (head, status) in [
        ("GET /v2/ HTTP/1.1\r\nHost: localhost:5000\r\n", 200),
        ("GET /v2/ HTTP/1.1\r\nHost: [::1]:5000\r\n", 200),
        ("GET /v2/ HTTP/1.1\r\nHost:\r\n", 200),
        ("GET /v2/ HTTP/1.0\r\n", 200),
        ("GET /v2/ HTTP/1.1\r\n", 400),
        ("POST /v2/a/blobs/uploads/ HTTP/1.1\r\nContent-Length: 0\r\n", 400),
        ("GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n", 400),
        ("GET /v2/ HTTP/1.1\r\nHost: a b\r\n", 400),
        ("GET /v2/ HTTP/1.1\r\nHost: user@a\r\n", 400),
        ("GET /v2/ HTTP/1.0\r\nHost: a\r\nHost: b\r\n", 400),
    ] {
        let mut client = std::net::TcpStream::connect(server.address).unwrap();
        client.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
        write!(client, "{head}Connection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(status.to_string().as_str()), "{head}: {answer}");
        assert!(status == 200 || answer.contains("\"code\":\"UNSUPPORTED\""), "{head}: {answer}");
    }
}

/// Later than anything that a test makes.
const LATER: i64 = 4_000_000_000;

fn everything() -> Policy {
    Policy { keep: None, max_bytes: None, kinds: Vec::new(), names: Vec::new(), doing: Doing::Delete }
}

fn image(config: &str, layer: &str) -> serde_json::Value {
    json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": 5}]})
}

#[test]
fn what_was_let_go_is_absent_until_it_is_pushed_again() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let (config, layer, loose) =
        (server.push_blob("a", b"{}"), server.push_blob("a", b"layer"), server.push_blob("a", b"loose"));
    server.push_manifest("a", "v1", &image(&config, &layer));
    Store::open(dir.path()).unwrap().collect(&everything(), LATER).unwrap();
    let head = |digest: &str| server.send("HEAD", &format!("/v2/a/blobs/{digest}"), &[], b"").status;
    assert_eq!((head(&config), head(&layer), head(&loose)), (200, 200, 404));
    let mount = format!("/v2/b/blobs/uploads/?mount={loose}&from=a");
    assert_eq!(server.send("POST", &mount, &[], b"").status, 202);
    server.push_blob("a", b"loose");
    assert_eq!(server.get(&format!("/v2/a/blobs/{loose}")).body, b"loose");
}

/// As if nothing were ever young: a push can be told that a blob is not there any more, and never that all is well when
/// it is not.
#[test]
fn pushes_beside_collections_are_whole_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let over = std::sync::atomic::AtomicBool::new(false);
    let relaxed = std::sync::atomic::Ordering::Relaxed;
    let pushed: Vec<(String, String)> = std::thread::scope(|scope| {
        let collecting = scope.spawn(|| {
            let store = Store::open(dir.path()).unwrap();
            let mut rounds = 0;
            while !over.load(relaxed) {
                store.collect(&everything(), LATER).unwrap();
                rounds += 1;
                // So that a push finds a moment between two.
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            rounds
        });
        let push = |n: usize| loop {
            let (config, layer) =
                (server.push_blob("a", b"{}"), server.push_blob("a", format!("lay{n:02}").as_bytes()));
            let (path, media) = (format!("/v2/a/manifests/v{n}"), "application/vnd.oci.image.manifest.v1+json");
            let answer =
                server.send("PUT", &path, &[("Content-Type", media)], image(&config, &layer).to_string().as_bytes());
            if answer.status == 201 {
                return (path, format!("/v2/a/blobs/{layer}"));
            }
            assert_eq!(answer.code(), "MANIFEST_BLOB_UNKNOWN");
        };
        let pushed = (0..20).map(push).collect();
        over.store(true, relaxed);
        assert!(collecting.join().unwrap() > 1);
        pushed
    });
    for (manifest, layer) in pushed {
        assert_eq!((server.get(&manifest).status, server.get(&layer).status), (200, 200), "{manifest}");
    }
    assert!(Store::open(dir.path()).unwrap().fsck().unwrap().problems.is_empty());
}
