//! Users, rules, certificates: who gets in, what they may do, and what others learn.
use crate::support::{Answer, Server};
use cooper_image::Digest;
use cooper_registry_server::{Access, Rules, ServerOptions, Users};
use cooper_store::Store;
use serde_json::{Value, json};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const RULES: &str = "
anonymous read public/*
reader    read team/**
creator   create team/**
writer    write team/**
deleter   delete team/**
owner     all team/**
owner     metrics
";

/// `Basic` credentials of a user whose password is the name backwards.
fn basic(name: &str) -> String {
    use base64::Engine as _;
    let password: String = name.chars().rev().collect();
    format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(format!("{name}:{password}")))
}

fn options(root: &std::path::Path, rules: Option<&str>) -> ServerOptions {
    let names = ["reader", "creator", "writer", "deleter", "owner"];
    let line = |name: &&str| {
        let password: String = name.chars().rev().collect();
        format!("{name}:{}\n", bcrypt::hash(password, 4).unwrap())
    };
    let users = Users::parse(&names.iter().map(line).collect::<String>()).unwrap();
    let rules = rules.map_or_else(Rules::default, |text| Rules::parse(text, &users).unwrap());
    let mut options = ServerOptions::new(Store::open(root).unwrap());
    options.access = Some(Access { users, rules }.into());
    options
}

fn send(server: &Server, who: Option<&str>, method: &str, path: &str, body: &[u8]) -> Answer {
    let credentials = who.map(basic).unwrap_or_default();
    let headers = [("Content-Type", MANIFEST), ("Authorization", credentials.as_str())];
    server.send(method, path, &headers[..if who.is_some() { 2 } else { 1 }], body)
}

fn manifest(config: &str, note: &str) -> String {
    let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2});
    json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [], "annotations": {"n": note}})
        .to_string()
}

/// Every way of changing something, with what is there and what is not, by everybody.
#[test]
fn everybody_may_do_what_the_rules_give_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::with(options(dir.path(), Some(RULES)));
    let config = Digest::sha256("{}").to_string();
    let blob = format!("/v2/team/app/blobs/{config}");
    let uploads = format!("/v2/team/app/blobs/uploads/?digest={config}");
    let (first, second) = (manifest(&config, "1"), manifest(&config, "2"));
    let tag = "/v2/team/app/manifests/v1";
    for (who, read, create, replace, delete) in [
        (None, 401, 401, 401, 401),
        (Some("reader"), 200, 403, 403, 403),
        (Some("creator"), 200, 201, 403, 403),
        (Some("writer"), 200, 201, 201, 403),
        (Some("deleter"), 200, 403, 403, 202),
        (Some("owner"), 200, 201, 201, 202),
    ] {
        // The owner prepares: the first image has the tag.
        assert_eq!(send(&server, Some("owner"), "POST", &uploads, b"{}").status, 201);
        assert_eq!(send(&server, Some("owner"), "PUT", tag, first.as_bytes()).status, 201);
        let digest = Digest::sha256(&second).to_string();
        let of_second = format!("/v2/team/app/manifests/{digest}");
        let fresh = format!("/v2/team/app/manifests/fresh-{}", who.unwrap_or("nobody"));
        for (what, method, path, body, expected) in [
            ("reads a tag", "GET", tag, "", read),
            ("reads a blob", "HEAD", &blob, "", read),
            ("lists tags", "GET", "/v2/team/app/tags/list", "", read),
            ("lists referrers", "GET", &format!("/v2/team/app/referrers/{config}"), "", read),
            ("pushes a blob", "POST", &uploads, "{}", create),
            ("pushes by digest", "PUT", &of_second, &second, create),
            ("writes the tag that is there already", "PUT", tag, &first, create),
            ("writes a tag that is not there", "PUT", &fresh, &first, create),
            ("moves a tag", "PUT", tag, &second, replace),
            ("moves a tag by the query", "PUT", &format!("{of_second}?tag=v1"), &second, replace),
            ("deletes a tag", "DELETE", tag, "", delete),
            ("deletes a blob", "DELETE", &blob, "", delete),
        ] {
            let answer = send(&server, who, method, path, body.as_bytes());
            assert_eq!(answer.status, expected, "{who:?} {what}: {}", answer.text());
            if expected == 403 {
                assert_eq!(answer.code(), "DENIED");
            }
            if answer.status == 401 {
                assert_eq!(answer.headers["www-authenticate"], "Basic realm=\"Cooper registry\", charset=\"UTF-8\"");
            }
        }
        let there = send(&server, Some("owner"), "HEAD", tag, b"");
        let kept = (delete != 202).then(|| Digest::sha256(if replace == 201 { &second } else { &first }).to_string());
        assert_eq!(there.headers.get("docker-content-digest"), kept.as_ref(), "{who:?}");
    }
    // Elsewhere the rules of team give nothing, whether something is there or not.
    for (who, path, status) in [
        (Some("owner"), "/v2/public/base/manifests/v1", 404),
        (Some("owner"), "/v2/secret/app/manifests/v1", 403),
        (None, "/v2/public/base/manifests/v1", 404),
        (None, "/v2/public/deep/base/manifests/v1", 401),
    ] {
        assert_eq!(send(&server, who, "GET", path, b"").status, status, "{who:?} {path}");
    }
    assert_eq!(send(&server, None, "GET", "/v2/_catalog", b"").json()["repositories"], json!([]));
    assert_eq!(send(&server, Some("reader"), "GET", "/v2/_catalog", b"").json()["repositories"], json!(["team/app"]));
    // The page shows the same, and asks those to whom it has nothing to show.
    for (who, path, status) in [
        (None, "/", 401),
        (None, "/?repository=team/app", 401),
        (None, "/?repository=team/app&tag=v1", 401),
        (None, "/?login=", 401),
        (Some("reader"), "/?login=", 200),
        (Some("reader"), "/?repository=team/app", 200),
        (Some("reader"), "/?repository=secret/app", 403),
    ] {
        assert_eq!(send(&server, who, "GET", path, b"").status, status, "{who:?} {path}");
    }
    assert!(send(&server, Some("reader"), "GET", "/", b"").text().contains(">team/app</a>"));
    for (who, status) in [(None, 401), (Some("reader"), 403), (Some("owner"), 200)] {
        assert_eq!(send(&server, who, "GET", "/metrics", b"").status, status);
    }
    assert_eq!(send(&server, None, "GET", "/healthz", b"").status, 200);
}

#[test]
fn a_mount_takes_nothing_from_where_one_may_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let rules = "writer write own/*\nowner all **\n";
    let server = Server::with(options(dir.path(), Some(rules)));
    let digest = Digest::sha256("{}").to_string();
    let push = |to: &str, query: String, who: &str, body: &[u8]| {
        send(&server, Some(who), "POST", &format!("/v2/{to}/blobs/uploads/?{query}"), body).status
    };
    assert_eq!(push("secret/app", format!("digest={digest}"), "owner", b"{}"), 201);
    for query in [format!("mount={digest}&from=secret/app"), format!("mount={digest}")] {
        assert_eq!(push("own/app", query.clone(), "writer", b""), 202, "{query}");
        assert_eq!(push("other/app", query.clone(), "owner", b""), 201, "{query}");
    }
}

#[test]
fn users_and_rules_are_replaced_while_it_serves() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(dir.path(), Some("reader read team/**\n"));
    let access = options.access.clone().unwrap();
    let server = Server::with(options);
    let tags = |who: &str| send(&server, Some(who), "GET", "/v2/team/app/tags/list", b"").status;
    assert_eq!((tags("reader"), tags("owner"), tags("new")), (404, 403, 401));
    let users = Users::parse(&format!("new:{}\n", bcrypt::hash("wen", 4).unwrap())).unwrap();
    let rules = Rules::parse("new read team/**\n", &users).unwrap();
    access.replace(Access { users, rules });
    // Also one whose password was remembered.
    assert_eq!((tags("reader"), tags("owner"), tags("new")), (401, 401, 404));
}

#[test]
fn wrong_credentials_are_not_none() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::with(options(dir.path(), Some("anonymous read **\n")));
    for (header, version, list) in [
        ("", 401, 404),
        // So ask clients that were challenged and have nothing to say.
        ("Basic Og==", 401, 404),
        (&basic("reader"), 200, 404),
        ("Basic cmVhZGVyOndyb25n", 401, 401),
        ("Basic !", 401, 401),
        ("Bearer x", 401, 401),
        (&format!("Basic {}", "QUJD".repeat(2000)), 401, 401),
    ] {
        let headers = [("Authorization", header)];
        let headers = if header.is_empty() { &headers[..0] } else { &headers[..] };
        assert_eq!(server.send("GET", "/v2/", headers, b"").status, version, "{header}");
        assert_eq!(server.send("GET", "/v2/a/tags/list", headers, b"").status, list, "{header}");
    }
    let text = send(&server, Some("reader"), "GET", "/v2/", b"").text();
    assert_eq!(text, "{}");
}

#[test]
fn without_rules_users_may_everything_and_others_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::with(options(dir.path(), None));
    let digest = Digest::sha256("{}").to_string();
    let path = format!("/v2/a/blobs/uploads/?digest={digest}");
    for (who, status) in [(None, 401), (Some("reader"), 201), (Some("owner"), 201)] {
        assert_eq!(send(&server, who, "POST", &path, b"{}").status, status);
    }
    assert_eq!(send(&server, Some("reader"), "GET", "/metrics", b"").status, 200);
}

#[test]
fn what_is_only_read_takes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let digest = {
        let server = Server::start(dir.path());
        let digest = server.push_blob("a", b"{}");
        let document: Value = serde_json::from_str(&manifest(&digest, "x")).unwrap();
        server.push_manifest("a", "v1", &document);
        digest
    };
    let mut options = ServerOptions::new(Store::open(dir.path()).unwrap());
    options.read_only = true;
    let server = Server::with(options);
    let manifest = manifest(&digest, "y");
    for (method, path, body) in [
        ("POST", "/v2/a/blobs/uploads/", ""),
        ("PUT", "/v2/a/manifests/v2", manifest.as_str()),
        ("DELETE", "/v2/a/manifests/v1", ""),
        ("DELETE", &format!("/v2/a/blobs/{digest}"), ""),
    ] {
        let answer = server.send(method, path, &[("Content-Type", MANIFEST)], body.as_bytes());
        assert_eq!((answer.status, answer.code().as_str()), (405, "UNSUPPORTED"), "{method} {path}");
        assert_eq!(answer.headers["allow"], "GET, HEAD");
    }
    assert_eq!(server.get("/v2/a/manifests/v1").status, 200);
    assert_eq!(server.get("/v2/a/tags/list").json()["tags"], json!(["v1"]));
}

#[test]
fn who_asks_before_sending_is_refused_at_once() {
    use std::io::{Read as _, Write as _};
    let dir = tempfile::tempdir().unwrap();
    let server = Server::with(options(dir.path(), None));
    let mut client = std::net::TcpStream::connect(server.address).unwrap();
    let digest = Digest::sha256("{}");
    let head = "Host: x\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n";
    write!(client, "POST /v2/a/blobs/uploads/?digest={digest} HTTP/1.1\r\n{head}").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}
