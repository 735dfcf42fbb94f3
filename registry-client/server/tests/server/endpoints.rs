//! Every endpoint of the distribution specification with every status that it names, from its table "Endpoints" and
//! the sections of each: status, code and body of errors, and the headers of answers.
use crate::support::{Answer, Server};
use cooper_image::Digest;
use serde_json::{Value, json};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCTETS: &str = "application/octet-stream";
/// The codes that the body of a 4XX may have, "Error Codes".
const CODES: [&str; 14] = [
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
];
const ABSENT: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// A registry with one image `team/app:v1`, a second tag on it, one artifact that refers to it, and an upload under way.
struct World {
    _dir: tempfile::TempDir,
    server: Server,
    blob: String,
    manifest: String,
    document: Value,
    upload: String,
}

fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path());
    let blob = server.push_blob("team/app", b"{}");
    let config = json!({"mediaType": CONFIG, "digest": blob, "size": 2});
    let document = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []});
    let manifest = server.push_manifest("team/app", "v1", &document);
    server.push_manifest("team/app", "v2", &document);
    let mut artifact = document.clone();
    artifact["artifactType"] = json!("application/vnd.example.signature");
    artifact["annotations"] = json!({"org.example.by": "me"});
    artifact["subject"] = json!({"mediaType": MANIFEST, "digest": manifest, "size": document.to_string().len()});
    let digest = Digest::sha256(artifact.to_string()).to_string();
    server.push_manifest("team/app", &digest, &artifact);
    let upload = server.begin("team/app");
    assert_eq!(server.send("PATCH", &upload, &[("Content-Range", "0-2")], b"abc").status, 202);
    World { _dir: dir, server, blob, manifest, document, upload }
}

/// A row: endpoint, method, path, headers, body; the status; the code of the error or the headers that must be there.
/// `*` is any value, `-` forbids the header.
struct Row<'a>(&'a str, &'a str, String, &'a [(&'a str, &'a str)], &'a [u8], u16, Want<'a>);

type Heads<'a> = &'a [(&'a str, &'a str)];

enum Want<'a> {
    Code(&'a str),
    Headers(&'a [(&'a str, &'a str)]),
}
use Want::{Code, Headers};

fn compare(id: &str, what: &str, answer: &Answer, status: u16, want: &Want<'_>, head: bool) {
    let at = format!("{id} {what}: {} {}", answer.status, answer.text());
    assert_eq!(answer.status, status, "{at}");
    match want {
        Code(code) => {
            assert_eq!(answer.headers["content-type"], "application/json", "{at}");
            if head {
                assert!(answer.body.is_empty(), "{at}");
                return;
            }
            let error = &answer.json()["errors"][0];
            assert_eq!(error["code"], *code, "{at}");
            assert!(error["message"].as_str().is_some_and(|m| !m.is_empty()), "{at}");
            assert!(CODES.contains(code), "{at}");
        }
        Headers(wanted) => {
            for (name, value) in *wanted {
                let found = answer.headers.get(*name).map(String::as_str);
                match *value {
                    "-" => assert_eq!(found, None, "{name} of {at}"),
                    "*" => assert!(found.is_some_and(|v| !v.is_empty()), "{name} of {at}"),
                    value => assert_eq!(found, Some(value), "{name} of {at}"),
                }
            }
        }
    }
}

fn check(world: &World, rows: Vec<Row<'_>>) {
    for Row(id, method, path, headers, body, status, want) in rows {
        let answer = world.server.send(method, &path, headers, body);
        compare(id, &format!("{method} {path}"), &answer, status, &want, method == "HEAD");
    }
}

#[test]
fn pulling() {
    let w = world();
    let (blob, manifest) = (w.blob.as_str(), w.manifest.as_str());
    let size = w.document.to_string().len().to_string();
    let (blob_tag, manifest_tag) = (format!("\"{blob}\""), format!("\"{manifest}\""));
    let of_blob: Heads<'_> = &[
        ("content-length", "2"),
        ("content-type", OCTETS),
        ("docker-content-digest", blob),
        ("accept-ranges", "bytes"),
        ("etag", &blob_tag),
    ];
    let of_manifest: Heads<'_> = &[
        ("content-length", &size),
        ("content-type", MANIFEST),
        ("docker-content-digest", manifest),
        ("etag", &manifest_tag),
    ];
    let blob_at = |name: &str, digest: &str| format!("/v2/{name}/blobs/{digest}");
    let manifest_at = |name: &str, reference: &str| format!("/v2/{name}/manifests/{reference}");
    let none: Heads<'_> = &[];
    let blob_unchanged = [("etag", blob_tag.as_str()), ("content-type", "-")];
    let manifest_unchanged = [("etag", manifest_tag.as_str()), ("content-type", "-")];
    let blob_here = [("If-None-Match", blob_tag.as_str())];
    let manifest_here = [("If-None-Match", manifest_tag.as_str())];
    let other_here = [("If-None-Match", "\"sha256:other\"")];
    let mut rows = vec![
        Row(
            "end-1",
            "GET",
            "/v2/".into(),
            none,
            b"",
            200,
            Headers(&[("docker-distribution-api-version", "registry/2.0")]),
        ),
        Row("end-1", "HEAD", "/v2/".into(), none, b"", 200, Headers(&[("content-length", "2")])),
        Row("end-1", "GET", "/v1/".into(), none, b"", 404, Code("NAME_UNKNOWN")),
        Row("end-1", "POST", "/v2/".into(), none, b"", 405, Code("UNSUPPORTED")),
        Row("end-1", "POST", "/v2/".into(), none, b"", 405, Headers(&[("allow", "GET, HEAD")])),
    ];
    for method in ["GET", "HEAD"] {
        rows.extend([
            Row("end-2", method, blob_at("team/app", blob), none, b"", 200, Headers(of_blob)),
            Row("end-2", method, blob_at("team/app", ABSENT), none, b"", 404, Code("BLOB_UNKNOWN")),
            Row("end-2", method, blob_at("team/other", blob), none, b"", 404, Code("BLOB_UNKNOWN")),
            Row("end-2", method, blob_at("team/app", "sha256:short"), none, b"", 400, Code("DIGEST_INVALID")),
            Row("end-2", method, blob_at("Team", blob), none, b"", 400, Code("NAME_INVALID")),
            Row("end-2", method, blob_at("team/app", blob), &blob_here, b"", 304, Headers(&blob_unchanged)),
            Row("end-2", method, blob_at("team/app", blob), &other_here, b"", 200, Headers(of_blob)),
            Row("end-3", method, manifest_at("team/app", "v1"), none, b"", 200, Headers(of_manifest)),
            Row("end-3", method, manifest_at("team/app", manifest), none, b"", 200, Headers(of_manifest)),
            Row("end-3", method, manifest_at("team/app", "absent"), none, b"", 404, Code("MANIFEST_UNKNOWN")),
            Row("end-3", method, manifest_at("team/app", ABSENT), none, b"", 404, Code("MANIFEST_UNKNOWN")),
            Row("end-3", method, manifest_at("team/app", ".bad"), none, b"", 404, Code("MANIFEST_UNKNOWN")),
            Row("end-3", method, manifest_at("team/other", manifest), none, b"", 404, Code("MANIFEST_UNKNOWN")),
            Row("end-3", method, manifest_at("te--am/_", "v1"), none, b"", 400, Code("NAME_INVALID")),
            Row("end-3", method, manifest_at("team/app", "v1"), &manifest_here, b"", 304, Headers(&manifest_unchanged)),
            Row("end-3", method, manifest_at("team/app", "v1"), &other_here, b"", 200, Headers(of_manifest)),
        ]);
    }
    check(&w, rows);
}

#[test]
fn parts_of_blobs() {
    let w = world();
    let at = format!("/v2/team/app/blobs/{}", w.server.push_blob("team/app", b"0123456789"));
    let tag = format!("\"{}\"", Digest::sha256("0123456789"));
    for (range, if_range, status, content_range, body) in [
        ("bytes=2-5", None, 206, Some("bytes 2-5/10"), "2345"),
        ("bytes=2-", None, 206, Some("bytes 2-9/10"), "23456789"),
        ("bytes=-3", None, 206, Some("bytes 7-9/10"), "789"),
        ("bytes=8-99", None, 206, Some("bytes 8-9/10"), "89"),
        ("bytes=10-", None, 416, Some("bytes */10"), ""),
        ("bytes=5-0", None, 416, Some("bytes */10"), ""),
        ("bytes=0-1,3-4", None, 200, None, "0123456789"),
        ("bytes=2-5", Some(tag.as_str()), 206, Some("bytes 2-5/10"), "2345"),
        ("bytes=2-5", Some("\"another\""), 200, None, "0123456789"),
    ] {
        let headers = [("Range", range), ("If-Range", if_range.unwrap_or_default())];
        let answer = w.server.send("GET", &at, &headers[..if if_range.is_some() { 2 } else { 1 }], b"");
        assert_eq!(
            (answer.status, answer.headers.get("content-range").map(String::as_str)),
            (status, content_range),
            "{range}"
        );
        assert_eq!(answer.text(), body, "{range}");
        assert_eq!(answer.headers["content-length"], body.len().to_string());
        assert_eq!(answer.headers["accept-ranges"], "bytes");
    }
}

#[test]
fn pushing_blobs() {
    let w = world();
    let digest = Digest::sha256("abcdef").to_string();
    let wrong = Digest::sha256("abcdeg").to_string();
    let uploads = |query: &str| format!("/v2/team/app/blobs/uploads/{query}");
    let place: Heads<'_> = &[("location", "*"), ("docker-upload-uuid", "*"), ("range", "0-0")];
    let done_at = format!("/v2/team/app/blobs/{digest}");
    let done: Heads<'_> = &[("location", done_at.as_str()), ("docker-content-digest", digest.as_str())];
    let none: Heads<'_> = &[];
    let unknown = "/v2/team/app/blobs/uploads/00000000000000000000000000000000".to_owned();
    let upload = w.upload.clone();
    let under_way: Heads<'_> = &[("location", upload.as_str()), ("range", "0-2")];
    let more: Heads<'_> = &[("location", upload.as_str()), ("range", "0-4")];
    let put = |digest: &str| format!("{upload}?digest={digest}");
    check(
        &w,
        vec![
            Row("end-4a", "POST", uploads(""), none, b"", 202, Headers(place)),
            Row("end-4a", "POST", "/v2/team/app/blobs/uploads".into(), none, b"", 202, Headers(place)),
            Row("end-4a", "POST", "/v2/Team/blobs/uploads/".into(), none, b"", 400, Code("NAME_INVALID")),
            Row("end-4a", "PUT", uploads(""), none, b"", 405, Code("UNSUPPORTED")),
            Row("end-4b", "POST", uploads(&format!("?digest={digest}")), none, b"abcdef", 201, Headers(done)),
            Row("end-4b", "POST", uploads(&format!("?digest={wrong}")), none, b"abcdef", 400, Code("DIGEST_INVALID")),
            Row("end-4b", "POST", uploads("?digest=sha256:x"), none, b"abcdef", 400, Code("DIGEST_INVALID")),
            Row("end-4c", "POST", uploads("?digest-algorithm=sha512"), none, b"", 202, Headers(place)),
            Row("end-4c", "POST", uploads("?digest-algorithm=sha256"), none, b"", 202, Headers(place)),
            Row("end-4c", "POST", uploads("?digest-algorithm=blake3"), none, b"", 400, Code("DIGEST_INVALID")),
            Row("end-4c", "POST", uploads("?digest-algorithm="), none, b"", 400, Code("DIGEST_INVALID")),
            Row("end-4b", "POST", uploads("?digest=md5:00&digest=md5:00"), none, b"", 400, Code("UNSUPPORTED")),
            Row(
                "end-11",
                "POST",
                uploads(&format!("?mount={}&from=team/app", w.blob)).replace("app/", "fork/"),
                none,
                b"",
                201,
                Headers(&[
                    ("docker-content-digest", &w.blob),
                    ("location", &format!("/v2/team/fork/blobs/{}", w.blob)),
                ]),
            ),
            Row(
                "end-11",
                "POST",
                uploads(&format!("?mount={}", w.blob)).replace("app/", "anonymous/"),
                none,
                b"",
                201,
                Headers(&[("location", &format!("/v2/team/anonymous/blobs/{}", w.blob))]),
            ),
            Row(
                "end-11",
                "POST",
                uploads(&format!("?mount={}&from=team/absent", w.blob)),
                none,
                b"",
                202,
                Headers(place),
            ),
            Row("end-11", "POST", uploads(&format!("?mount={ABSENT}&from=team/app")), none, b"", 202, Headers(place)),
            Row("end-11", "POST", uploads(&format!("?mount={ABSENT}")), none, b"", 202, Headers(place)),
            Row("end-11", "POST", uploads("?mount=x&from=team/app"), none, b"", 202, Headers(place)),
            Row("end-11", "POST", uploads("?mount=blake3:00&from=team/app"), none, b"", 202, Headers(place)),
            Row("end-13", "GET", upload.clone(), none, b"", 204, Headers(under_way)),
            Row("end-13", "GET", unknown.clone(), none, b"", 404, Code("BLOB_UPLOAD_UNKNOWN")),
            Row("end-13", "GET", upload.replace("team/app", "team/other"), none, b"", 404, Code("BLOB_UPLOAD_UNKNOWN")),
            Row("end-5", "PATCH", unknown.clone(), none, b"x", 404, Code("BLOB_UPLOAD_UNKNOWN")),
            Row("end-5", "PATCH", upload.clone(), &[("Content-Range", "0-2")], b"abc", 416, Headers(under_way)),
            Row("end-5", "PATCH", upload.clone(), &[("Content-Range", "4-5")], b"ef", 416, Code("BLOB_UPLOAD_INVALID")),
            Row("end-5", "PATCH", upload.clone(), &[("Content-Range", "b-a")], b"ef", 400, Code("BLOB_UPLOAD_INVALID")),
            Row("end-5", "PATCH", upload.clone(), &[("Content-Range", "3-9")], b"de", 400, Code("SIZE_INVALID")),
            Row("end-5", "PATCH", upload.clone(), &[("Content-Range", "3-4")], b"de", 202, Headers(more)),
            Row("end-6", "PUT", upload.clone(), none, b"f", 400, Code("DIGEST_INVALID")),
            Row("end-6", "PUT", put(&digest), &[("Content-Range", "9-9")], b"f", 416, Headers(more)),
            Row("end-6", "PUT", put(&digest), &[("Content-Range", "5-5")], b"f", 201, Headers(done)),
            Row("end-6", "PUT", put(&digest), none, b"", 404, Code("BLOB_UPLOAD_UNKNOWN")),
            Row("end-6", "PUT", format!("{unknown}?digest={digest}"), none, b"", 404, Code("BLOB_UPLOAD_UNKNOWN")),
            Row("end-2", "GET", done_at.clone(), none, b"", 200, Headers(&[("content-length", "6")])),
        ],
    );
    let begun = w.server.begin("team/app");
    let put = |digest: &str| format!("{begun}?digest={digest}");
    check(
        &w,
        vec![
            Row("end-6", "PUT", put(&wrong), none, b"abcdef", 400, Code("DIGEST_INVALID")),
            Row("end-6", "PUT", put(&digest), none, b"abcdef", 404, Code("BLOB_UPLOAD_UNKNOWN")),
        ],
    );
    let begun = w.server.begin("team/app");
    check(
        &w,
        vec![
            Row(
                "end-14",
                "DELETE",
                begun.replace("team/app", "team/other"),
                none,
                b"",
                404,
                Code("BLOB_UPLOAD_UNKNOWN"),
            ),
            Row("end-14", "DELETE", begun.clone(), none, b"", 204, Headers(&[("content-type", "-")])),
            Row("end-14", "DELETE", begun.clone(), none, b"", 404, Code("BLOB_UPLOAD_UNKNOWN")),
            Row("end-13", "POST", begun, none, b"", 405, Code("UNSUPPORTED")),
        ],
    );
}

#[test]
fn pushing_manifests() {
    let w = world();
    let typed: Heads<'_> = &[("Content-Type", MANIFEST)];
    let at = |reference: &str| format!("/v2/team/app/manifests/{reference}");
    let text = w.document.to_string();
    let body = text.as_bytes();
    let place = at(&w.manifest);
    let done: &[_] =
        &[("location", place.as_str()), ("docker-content-digest", &w.manifest), ("oci-subject", "-"), ("oci-tag", "-")];
    let with = |field: &str, value: Value| {
        let mut document = w.document.clone();
        document[field] = value;
        document.to_string()
    };
    let absent = json!({"mediaType": MANIFEST, "digest": ABSENT, "size": 7});
    let (subject, layer) = (with("subject", absent.clone()), with("layers", json!([absent])));
    let foreign = with(
        "layers",
        json!([{"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "digest": ABSENT, "size": 7, "urls": ["https://example.com/layer"]}]),
    );
    let unknown_field = with("x-extra", json!({"y": [1]}));
    let data = with("config", json!({"mediaType": CONFIG, "digest": w.blob, "size": 2, "data": "e30="}));
    let (big, too_big) = (vec![b' '; 4 << 20], vec![b' '; (4 << 20) + 1]);
    let long = with("annotations", json!({"note": "A".repeat(3_900_000)}));
    let many = (0..101).map(|n| format!("tag=t{n}")).collect::<Vec<_>>().join("&");
    let here = format!("\"{}\"", w.manifest);
    check(
        &w,
        vec![
            Row("end-7a", "PUT", at("v3"), typed, body, 201, Headers(done)),
            Row(
                "end-7a",
                "PUT",
                at("v3"),
                &[("Content-Type", "application/vnd.oci.image.manifest.v1+json; charset=utf-8")],
                body,
                201,
                Headers(done),
            ),
            Row("end-7a", "PUT", at(&w.manifest), typed, body, 201, Headers(done)),
            Row("end-7a", "PUT", at("v3"), typed, subject.as_bytes(), 201, Headers(&[("oci-subject", ABSENT)])),
            Row("end-7a", "PUT", at("v3"), typed, layer.as_bytes(), 404, Code("MANIFEST_BLOB_UNKNOWN")),
            Row("end-7a", "PUT", at("v3"), typed, foreign.as_bytes(), 201, Headers(&[("warning", "*")])),
            Row("end-7a", "PUT", at("v3"), typed, unknown_field.as_bytes(), 201, Headers(&[("warning", "-")])),
            Row("end-7a", "PUT", at("v3"), typed, data.as_bytes(), 201, Headers(&[("location", "*")])),
            Row("end-7a", "PUT", at("v3"), typed, long.as_bytes(), 201, Headers(&[("location", "*")])),
            Row("end-7a", "PUT", at("v3"), typed, &big, 400, Code("MANIFEST_INVALID")),
            Row("end-7a", "PUT", at("v3"), typed, &too_big, 413, Code("SIZE_INVALID")),
            Row("end-7a", "PUT", at("v3"), typed, b"blablabla", 400, Code("MANIFEST_INVALID")),
            Row("end-7a", "PUT", at("v3"), &[("Content-Type", INDEX)], body, 400, Code("MANIFEST_INVALID")),
            // Go's empty list.
            Row(
                "end-7a",
                "PUT",
                at("v3"),
                &[("Content-Type", INDEX)],
                br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":null}"#,
                201,
                Headers(&[("location", "*")]),
            ),
            Row("end-7a", "PUT", at(".v"), typed, body, 400, Code("MANIFEST_INVALID")),
            Row("end-7a", "PUT", at("sha256:baddigeststring"), typed, body, 400, Code("DIGEST_INVALID")),
            Row("end-7a", "PUT", at(ABSENT), typed, body, 400, Code("DIGEST_INVALID")),
            Row("end-7a", "PUT", "/v2/Team/manifests/v1".into(), typed, body, 400, Code("NAME_INVALID")),
            Row("end-7a", "POST", at("v3"), typed, body, 405, Code("UNSUPPORTED")),
            Row(
                "end-7a",
                "PUT",
                at("v3"),
                &[("Content-Type", MANIFEST), ("If-None-Match", "*")],
                body,
                412,
                Code("DENIED"),
            ),
            Row(
                "end-7a",
                "PUT",
                at("new"),
                &[("Content-Type", MANIFEST), ("If-Match", &here)],
                body,
                412,
                Code("DENIED"),
            ),
            Row(
                "end-7a",
                "PUT",
                at("new"),
                &[("Content-Type", MANIFEST), ("If-None-Match", "*")],
                body,
                201,
                Headers(done),
            ),
            Row(
                "end-7a",
                "PUT",
                at("new"),
                &[("Content-Type", MANIFEST), ("If-Match", &here)],
                body,
                201,
                Headers(done),
            ),
            Row(
                "end-7b",
                "PUT",
                at(&format!("{}?tag=1.2.3&tag=1.2&tag=latest&tag=1.2", w.manifest)),
                typed,
                body,
                201,
                Headers(&[("oci-tag", "1.2.3\n1.2\nlatest"), ("location", &place)]),
            ),
            Row("end-7b", "PUT", at(&format!("{}?tag=.v", w.manifest)), typed, body, 400, Code("MANIFEST_INVALID")),
            Row("end-7b", "PUT", at(&format!("{}?{many}", w.manifest)), typed, body, 414, Code("MANIFEST_INVALID")),
            Row("end-3", "HEAD", at("1.2"), &[], b"", 200, Headers(&[("docker-content-digest", &w.manifest)])),
            Row("end-3", "HEAD", at("t0"), &[], b"", 404, Code("")),
        ],
    );
}

#[test]
fn lists() {
    let w = world();
    let list = |name: &str, query: &str| format!("/v2/{name}/tags/list{query}");
    let none: Heads<'_> = &[];
    check(
        &w,
        vec![
            Row(
                "end-8a",
                "GET",
                list("team/app", ""),
                none,
                b"",
                200,
                Headers(&[("content-type", "application/json"), ("link", "-")]),
            ),
            Row("end-8a", "GET", list("team/absent", ""), none, b"", 404, Code("NAME_UNKNOWN")),
            Row("end-8a", "GET", list("Team", ""), none, b"", 400, Code("NAME_INVALID")),
            Row("end-8a", "POST", list("team/app", ""), none, b"", 405, Code("UNSUPPORTED")),
            Row(
                "end-8b",
                "GET",
                list("team/app", "?n=1"),
                none,
                b"",
                200,
                Headers(&[("link", "</v2/team/app/tags/list?n=1&last=v1>; rel=\"next\"")]),
            ),
            Row("end-8b", "GET", list("team/app", "?n=0"), none, b"", 200, Headers(&[("link", "-")])),
            Row("end-8b", "GET", list("team/app", "?n=-1"), none, b"", 400, Code("UNSUPPORTED")),
            Row("end-8b", "GET", list("team/app", "?n=x"), none, b"", 400, Code("UNSUPPORTED")),
        ],
    );
    for (query, tags) in [
        ("", json!(["v1", "v2"])),
        ("?n=1", json!(["v1"])),
        ("?n=0", json!([])),
        ("?n=5&last=v1", json!(["v2"])),
        ("?last=v1", json!(["v2"])),
        ("?last=v11", json!(["v2"])),
        ("?last=v2", json!([])),
    ] {
        let body = w.server.get(&list("team/app", query)).json();
        assert_eq!(body, json!({"name": "team/app", "tags": tags}), "{query}");
    }
    let referrers = |digest: &str, query: &str| format!("/v2/team/app/referrers/{digest}{query}");
    let filtered: Heads<'_> = &[("content-type", INDEX), ("oci-filters-applied", "artifactType")];
    check(
        &w,
        vec![
            Row(
                "end-12a",
                "GET",
                referrers(&w.manifest, ""),
                none,
                b"",
                200,
                Headers(&[("content-type", INDEX), ("oci-filters-applied", "-")]),
            ),
            Row("end-12a", "GET", referrers(ABSENT, ""), none, b"", 200, Headers(&[("content-type", INDEX)])),
            Row("end-12a", "GET", referrers("sha256:x", ""), none, b"", 400, Code("DIGEST_INVALID")),
            Row(
                "end-12a",
                "GET",
                format!("/v2/team/absent/referrers/{ABSENT}"),
                none,
                b"",
                200,
                Headers(&[("content-type", INDEX)]),
            ),
            Row("end-12a", "PUT", referrers(ABSENT, ""), none, b"", 405, Code("UNSUPPORTED")),
            Row(
                "end-12b",
                "GET",
                referrers(&w.manifest, "?artifactType=application/vnd.example.signature"),
                none,
                b"",
                200,
                Headers(filtered),
            ),
            Row("end-12b", "GET", referrers(&w.manifest, "?artifactType=other"), none, b"", 200, Headers(filtered)),
        ],
    );
    for (query, count) in [("", 1), ("?artifactType=application/vnd.example.signature", 1), ("?artifactType=other", 0)]
    {
        let index = w.server.get(&referrers(&w.manifest, query)).json();
        assert_eq!((&index["schemaVersion"], &index["mediaType"]), (&json!(2), &json!(INDEX)));
        let listed = index["manifests"].as_array().unwrap();
        assert_eq!(listed.len(), count, "{query}");
        if let Some(one) = listed.first() {
            assert_eq!(one["artifactType"], "application/vnd.example.signature");
            assert_eq!(one["annotations"], json!({"org.example.by": "me"}));
            assert_eq!(one["mediaType"], MANIFEST);
        }
    }
}

#[test]
fn deleting() {
    let w = world();
    let none: Heads<'_> = &[];
    let manifest = |reference: &str| format!("/v2/team/app/manifests/{reference}");
    let blob = |digest: &str| format!("/v2/team/app/blobs/{digest}");
    check(
        &w,
        vec![
            Row("end-9", "DELETE", manifest("v2"), none, b"", 202, Headers(&[("content-length", "0")])),
            Row("end-9", "DELETE", manifest("v2"), none, b"", 404, Code("MANIFEST_UNKNOWN")),
            Row("end-3", "HEAD", manifest("v2"), none, b"", 404, Code("")),
            Row("end-3", "HEAD", manifest("v1"), none, b"", 200, Headers(none)),
            Row("end-9", "DELETE", manifest(ABSENT), none, b"", 404, Code("MANIFEST_UNKNOWN")),
            Row(
                "end-9",
                "DELETE",
                manifest(&w.manifest).replace("app", "absent"),
                none,
                b"",
                404,
                Code("MANIFEST_UNKNOWN"),
            ),
            Row("end-9", "DELETE", manifest(&w.manifest), none, b"", 202, Headers(none)),
            Row("end-3", "GET", manifest(&w.manifest), none, b"", 404, Code("MANIFEST_UNKNOWN")),
            Row("end-3", "GET", manifest("v1"), none, b"", 404, Code("MANIFEST_UNKNOWN")),
            Row(
                "end-8a",
                "GET",
                "/v2/team/app/tags/list".into(),
                none,
                b"",
                200,
                Headers(&[("content-type", "application/json")]),
            ),
            Row("end-10", "DELETE", blob(ABSENT), none, b"", 404, Code("BLOB_UNKNOWN")),
            Row("end-10", "DELETE", blob("sha256:x"), none, b"", 400, Code("DIGEST_INVALID")),
            Row("end-10", "DELETE", blob(&w.blob).replace("app", "absent"), none, b"", 404, Code("BLOB_UNKNOWN")),
            Row("end-10", "DELETE", blob(&w.blob), none, b"", 202, Headers(none)),
            Row("end-10", "DELETE", blob(&w.blob), none, b"", 404, Code("BLOB_UNKNOWN")),
            Row("end-2", "GET", blob(&w.blob), none, b"", 404, Code("BLOB_UNKNOWN")),
            Row("end-10", "PUT", blob(&w.blob), none, b"", 405, Code("UNSUPPORTED")),
            Row("end-10", "PUT", blob(&w.blob), none, b"", 405, Headers(&[("allow", "GET, HEAD, DELETE")])),
        ],
    );
}

#[test]
fn partial_copies_are_taken_where_somebody_wants_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = cooper_registry_server::ServerOptions::new(cooper_store::Store::open(dir.path()).unwrap());
    options.sparse = true;
    let server = Server::with(options);
    let absent = json!({"mediaType": MANIFEST, "digest": ABSENT, "size": 7});
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [absent]});
    let image = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": absent, "layers": [absent]});
    for (tag, document) in [("index", &index), ("image", &image)] {
        server.push_manifest("a", tag, document);
        assert_eq!(server.get(&format!("/v2/a/manifests/{tag}")).body, document.to_string().as_bytes());
    }
    assert_eq!(server.get(&format!("/v2/a/manifests/{ABSENT}")).status, 404);
    assert!(cooper_store::Store::open(dir.path()).unwrap().fsck().unwrap().problems.is_empty());
    // What is there must still be what the manifest says.
    let blob = server.push_blob("a", b"{}");
    let config = json!({"mediaType": CONFIG, "digest": blob, "size": 3});
    let wrong = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []}).to_string();
    let answer = server.send("PUT", "/v2/a/manifests/wrong", &[("Content-Type", MANIFEST)], wrong.as_bytes());
    assert_eq!(answer.code(), "MANIFEST_INVALID");
}
