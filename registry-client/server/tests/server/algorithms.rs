//! The same content by either algorithm, through every way of pushing it: as the conformance suite of the distribution
//! specification walks.
use crate::support::{Server, sha512};
use cooper_image::Digest;
use serde_json::{Value, json};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

type Algorithm = fn(&[u8]) -> String;
const ALGORITHMS: [Algorithm; 2] = [|bytes| Digest::sha256(bytes).to_string(), sha512];

fn server() -> (tempfile::TempDir, Server) {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    (dir, server)
}

/// A blob of some length that nothing else has.
fn blob(seed: &str, len: usize) -> Vec<u8> {
    seed.bytes().cycle().enumerate().map(|(n, b)| b ^ (n % 251) as u8).take(len).collect()
}

/// Where a push of `bytes` ended, when it was accepted.
fn push(server: &Server, way: &str, digest: &str, bytes: &[u8]) -> (u16, Option<String>) {
    let with_digest = |place: &str| format!("{place}?digest={digest}");
    let answer = match way {
        "one POST" => server.send("POST", &with_digest("/v2/a/blobs/uploads/"), &[], bytes),
        "POST and PUT" => server.send("PUT", &with_digest(&server.begin("a")), &[], bytes),
        "stream" => {
            let place = server.begin("a");
            let patched = server.send("PATCH", &place, &[("Content-Type", "application/octet-stream")], bytes);
            assert_eq!((patched.status, &patched.headers["location"]), (202, &place));
            server.send("PUT", &with_digest(&place), &[], b"")
        }
        _ => {
            let mut place = server.begin("a");
            let size = bytes.len() / 3 + 1;
            let last = bytes.len() - 1;
            for (n, piece) in bytes.chunks(size).enumerate() {
                let (first, end) = (n * size, n * size + piece.len() - 1);
                let range = format!("{first}-{end}");
                // Out of order first, by PATCH or PUT: nothing is lost by it.
                let astray = if first == 0 { "1-1" } else { "0-0" };
                let method = if n == 1 { "PUT" } else { "PATCH" };
                let refused = server.send(method, &with_digest(&place), &[("Content-Range", astray)], b"x");
                assert_eq!(refused.status, 416, "{way}");
                let status = server.get(&place);
                let kept = format!("0-{}", first.saturating_sub(1));
                assert_eq!((status.status, &status.headers["range"]), (204, &kept), "{way}");
                if end == last && way == "chunks, the last with PUT" {
                    let answer = server.send("PUT", &with_digest(&place), &[("Content-Range", &range)], piece);
                    return (answer.status, answer.headers.get("location").cloned());
                }
                let answer = server.send("PATCH", &place, &[("Content-Range", &range)], piece);
                assert_eq!((answer.status, &answer.headers["range"]), (202, &format!("0-{end}")), "{way}");
                place = answer.headers["location"].clone();
            }
            server.send("PUT", &with_digest(&place), &[], b"")
        }
    };
    (answer.status, answer.headers.get("location").cloned())
}

#[test]
fn blobs_by_every_way_and_algorithm() {
    let (_dir, server) = server();
    for digest_of in ALGORITHMS {
        for way in ["one POST", "POST and PUT", "stream", "chunks", "chunks, the last with PUT"] {
            let bytes = blob(way, 3067);
            let digest = digest_of(&bytes);
            let at = format!("/v2/a/blobs/{digest}");
            assert_eq!(server.get(&at).status, 404);
            // Other bytes than were promised leave nothing.
            let longer = [&bytes[..], b"oh no"].concat();
            assert_eq!(push(&server, way, &digest, &longer), (400, None), "{way}");
            assert_eq!(server.get(&at).status, 404);

            assert_eq!(push(&server, way, &digest, &bytes), (201, Some(at.clone())), "{way}");
            let (get, head) = (server.get(&at), server.send("HEAD", &at, &[], b""));
            assert_eq!((get.status, get.body == bytes, head.status), (200, true, 200), "{way}");
            assert_eq!(
                (&get.headers["docker-content-digest"], &head.headers["docker-content-digest"]),
                (&digest, &digest)
            );
            let plain = |mut headers: std::collections::BTreeMap<String, String>| {
                headers.remove("date");
                headers
            };
            assert_eq!(plain(get.headers), plain(head.headers));
            let mount = |query: String| {
                let answer = server.send("POST", &format!("/v2/b/blobs/uploads/?mount={digest}{query}"), &[], b"");
                (answer.status, answer.headers["location"].clone())
            };
            let mounted = (201, format!("/v2/b/blobs/{digest}"));
            assert_eq!(mount("&from=a".to_owned()), mounted);
            assert_eq!(server.send("DELETE", &mounted.1, &[], b"").status, 202);
            assert_eq!(mount(String::new()), mounted);
            for at in [&mounted.1, &at] {
                assert_eq!(server.send("DELETE", at, &[], b"").status, 202);
                assert_eq!(server.send("HEAD", at, &[], b"").status, 404);
            }
            // Nobody shows it any more, though the store still has it.
            assert_eq!(mount(String::new()).0, 202);
        }
        for bytes in [&b""[..], b"{}"] {
            let (digest, at) = (digest_of(bytes), format!("/v2/a/blobs/{}", digest_of(bytes)));
            assert_eq!(push(&server, "POST and PUT", &digest, bytes), (201, Some(at.clone())));
            assert_eq!((server.get(&at).body, server.send("HEAD", &at, &[], b"").status), (bytes.to_vec(), 200));
        }
    }
}

#[test]
fn an_index_with_everything_below_it_by_either_algorithm() {
    let (_dir, server) = server();
    for digest_of in ALGORITHMS {
        let (config, layer) = (blob("config", 100), blob("layer", 2000));
        for bytes in [&config, &layer] {
            assert_eq!(push(&server, "POST and PUT", &digest_of(bytes), bytes).0, 201);
        }
        let descriptor = |media_type: &str, bytes: &[u8]| json!({"mediaType": media_type, "digest": digest_of(bytes), "size": bytes.len()});
        let image = json!({"schemaVersion": 2, "mediaType": MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &layer)]});
        let inner = json!({"schemaVersion": 2, "mediaType": INDEX,
            "manifests": [descriptor(MANIFEST, image.to_string().as_bytes())]});
        let outer = json!({"schemaVersion": 2, "mediaType": INDEX, "artifactType": "application/vnd.example.set",
            "annotations": {"a": "b"}, "subject": descriptor(MANIFEST, image.to_string().as_bytes()),
            "manifests": [descriptor(INDEX, inner.to_string().as_bytes())]});
        let empty = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []});
        let named = |document: &Value| digest_of(document.to_string().as_bytes());
        // Not before what it names is there.
        let early = server.send(
            "PUT",
            &format!("/v2/a/manifests/{}", named(&inner)),
            &[("Content-Type", INDEX)],
            inner.to_string().as_bytes(),
        );
        assert_eq!((early.status, early.code().as_str()), (404, "MANIFEST_BLOB_UNKNOWN"));
        for document in [&image, &inner, &outer, &empty] {
            assert_eq!(server.push_manifest("a", &named(document), document), named(document));
        }
        let tagged = format!("{}?tag=one&tag=two", named(&outer));
        server.push_manifest("a", &tagged, &outer);
        for reference in ["one", "two", &named(&outer)] {
            for method in ["GET", "HEAD"] {
                let answer = server.send(method, &format!("/v2/a/manifests/{reference}"), &[], b"");
                assert_eq!((answer.status, &answer.headers["docker-content-digest"]), (200, &named(&outer)));
                assert_eq!(answer.headers["content-length"], outer.to_string().len().to_string());
            }
        }
        let listed = server.get(&format!("/v2/a/referrers/{}", named(&image))).json()["manifests"].clone();
        assert_eq!(
            listed,
            json!([{"mediaType": INDEX, "digest": named(&outer), "size": outer.to_string().len(),
            "artifactType": "application/vnd.example.set", "annotations": {"a": "b"}}])
        );
        for document in [&empty, &outer, &inner, &image] {
            let at = format!("/v2/a/manifests/{}", named(document));
            assert_eq!(server.send("DELETE", &at, &[], b"").status, 202);
            assert_eq!(server.send("HEAD", &at, &[], b"").status, 404);
        }
        assert_eq!(server.get("/v2/a/tags/list").json()["tags"], json!([]));
        // More bytes than were named.
        let spaced = format!("{image}  ");
        let answer = server.send(
            "PUT",
            &format!("/v2/a/manifests/{}", named(&image)),
            &[("Content-Type", MANIFEST)],
            spaced.as_bytes(),
        );
        assert_eq!((answer.status, answer.code().as_str()), (400, "DIGEST_INVALID"));
    }
}
