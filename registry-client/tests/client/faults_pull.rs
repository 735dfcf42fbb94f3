//! A registry that misbehaves as scripted while something is pulled: what must be survived, and what
//! must be refused.
use crate::support::clock::Virtual;
use crate::support::script::{BLOB, blobs, descriptor, fetch, named};
use crate::support::told::Told;
use crate::support::{Answer, answer, free_port, quick, source};
use cooper_image::index::DocumentError;
use cooper_image::{Descriptor, Digest, DigestError, Hasher, MediaType, Platform};
use cooper_registry::retry::RetryPolicy;
use cooper_registry::{Begun, Client, ClientOptions, Clock, RegistryError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// One answer, made anew for each request.
type Script = Box<dyn Fn() -> Answer + Send + Sync>;

/// The head of an answer that announces all of the blob, with a part of it.
fn broken_off(part: usize) -> Answer {
    let mut bytes =
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", BLOB.len()).into_bytes();
    bytes.extend_from_slice(&BLOB[..part]);
    Answer::Bytes(bytes)
}

#[tokio::test]
async fn a_break_is_taken_up_where_it_was() {
    let server = blobs(|seen, n| match (n, seen.header("range")) {
        (0, None) => broken_off(7),
        (1, Some("bytes=7-")) => answer("206 Partial Content", "Content-Range: bytes 7-19/20\r\n", &BLOB[7..]),
        other => panic!("{other:?}"),
    });
    let (got, done) = fetch(&server, quick()).await;
    done.unwrap();
    assert_eq!(got, BLOB);
}

#[tokio::test]
async fn what_came_earlier_is_not_asked_for_and_counts_for_the_digest() {
    for (begin, whole) in [(&BLOB[..7], true), (b"7654321".as_slice(), false)] {
        let server = blobs(|seen, _| match seen.header("range") {
            Some("bytes=7-") => answer("206 Partial Content", "Content-Range: bytes 7-19/20\r\n", &BLOB[7..]),
            other => panic!("{other:?}"),
        });
        let mut hasher = Hasher::new();
        hasher.update(begin);
        let mut got = Vec::new();
        let mut sink = |bytes: &[u8]| {
            got.extend_from_slice(bytes);
            Ok(())
        };
        let begun = Begun { hasher, length: 7 };
        let client = Client::new(quick()).unwrap();
        let done = client.rest_of_blob(&named(&server), &descriptor(), begun, &mut sink).await;
        assert_eq!(done.is_ok(), whole);
        assert!(whole || matches!(done, Err(RegistryError::Digest { .. })));
        // The last bytes come only when all are right.
        assert_eq!(got, if whole { &BLOB[7..] } else { b"" });
    }
}

#[tokio::test]
async fn wrong_and_missing_ranges_lead_to_the_whole_blob() {
    for (status, headers, body) in [
        ("200 OK", "", BLOB),
        ("206 Partial Content", "Content-Range: bytes 5-19/20\r\n", &BLOB[5..]),
        ("206 Partial Content", "Content-Range: bytes 7-19/21\r\n", &BLOB[7..]),
        ("206 Partial Content", "", &BLOB[7..]),
        ("416 Range Not Satisfiable", "Content-Range: bytes */20\r\n", b"".as_slice()),
    ] {
        let server = blobs(move |seen, n| match (n, seen.header("range")) {
            (0, None) => broken_off(7),
            (_, Some(_)) => answer(status, headers, body),
            (_, None) => answer("200 OK", "", BLOB),
        });
        let (got, done) = fetch(&server, quick()).await;
        done.unwrap_or_else(|e| panic!("{status} {headers}: {e}"));
        assert_eq!(got, BLOB, "{status} {headers}");
        // An answer with everything is used as it is, the others are asked for again without a range.
        let requests = server.requests_for("/blobs/").len();
        assert_eq!(requests, if status.starts_with("200") { 2 } else { 3 }, "{status} {headers}");
    }
}

#[tokio::test]
async fn other_bytes_are_never_a_success() {
    let chunked = |size: usize| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{size:x}\r\n");
    let cases: Vec<(&str, Script)> = vec![
        ("digest", Box::new(|| answer("200 OK", "", b"0123456789abcdefghiX"))),
        ("short", Box::new(|| answer("200 OK", "", &BLOB[..10]))),
        ("long", Box::new(|| answer("200 OK", "", b"0123456789abcdefghijk"))),
        (
            "chunks that end early",
            Box::new(move || Answer::Bytes(format!("{}0123456789\r\n0\r\n\r\n", chunked(10)).into())),
        ),
        ("chunks without end", Box::new(move || Answer::Endless(chunked(1 << 30).into()))),
    ];
    for (what, script) in cases {
        let server =
            blobs(move |seen, _| if seen.header("range").is_some() { answer("416 No", "", b"") } else { script() });
        let start = Instant::now();
        let (got, done) = fetch(&server, quick()).await;
        let error = done.unwrap_err();
        assert!(error.is_input(), "{what}: {error}");
        assert!(got.len() <= BLOB.len(), "{what}: {}", got.len());
        assert!(start.elapsed() < Duration::from_secs(5), "{what}");
        let RegistryError::Digest { source, .. } = error else { panic!("{what}: {error}") };
        assert_eq!(matches!(source, DigestError::Mismatch { .. }), what == "digest", "{what}: {source}");
    }
}

#[tokio::test]
async fn a_full_disk_ends_it() {
    let server = blobs(|_, _| answer("200 OK", "", BLOB));
    let mut sink = |_: &[u8]| Err(std::io::Error::from(std::io::ErrorKind::StorageFull));
    let error = Client::new(quick()).unwrap().blob(&named(&server), &descriptor(), &mut sink).await.unwrap_err();
    assert!(matches!(error, RegistryError::Local { .. }), "{error}");
    assert_eq!(server.requests_for("/blobs/").len(), 1);
}

#[tokio::test]
async fn passing_faults_are_retried_and_lasting_ones_are_not() {
    for (status, tries) in [("429 Too Many Requests", 5), ("404 Not Found", 1), ("403 Forbidden", 1), ("418 Teapot", 1)]
    {
        let server = blobs(move |_, _| answer(status, "", b"{\"errors\":[{\"code\":\"C\",\"message\":\"m\x1b[2J\"}]}"));
        let (_, done) = fetch(&server, quick()).await;
        let error = done.unwrap_err().to_string();
        assert!(error.contains(&format!("answered {}", &status[..3])) && !error.contains('\x1b'), "{error}");
        assert_eq!(server.requests_for("/blobs/").len(), tries, "{status}");
    }
}

#[tokio::test]
async fn a_registry_that_is_away_for_a_while_is_waited_for() {
    type Script = fn() -> Answer;
    let away: [(&str, Script); 4] = [
        ("no answer", || Answer::Bytes(Vec::new())),
        ("500", || answer("500 Internal Server Error", "", b"")),
        ("502", || answer("502 Bad Gateway", "", b"")),
        ("503", || answer("503 Service Unavailable", "", b"")),
    ];
    for (what, script) in away {
        for (seconds, comes_back) in [(8, true), (25, true), (1000, false)] {
            let clock = Arc::new(Virtual::default());
            let (until, of_server) = (Duration::from_secs(seconds), clock.clone());
            let server = blobs(move |_, _| if of_server.now() < until { script() } else { answer("200 OK", "", BLOB) });
            let options = ClientOptions { clock: clock.clone(), retry: RetryPolicy::default(), ..quick() };
            let told = Arc::new(Told::default());
            let guard = tracing::subscriber::set_default(told.clone());
            let (_, done) = fetch(&server, options).await;
            drop(guard);
            assert_eq!(done.is_ok(), comes_back, "{what} for {seconds} s: {done:?}");
            assert!(clock.now() < until.min(Duration::from_secs(65)) + Duration::from_secs(10), "{what}: {clock:?}");
            assert!(told.0.lock().unwrap().iter().any(|line| line.contains("trying again in")), "{what}");
        }
    }
}

#[tokio::test]
async fn who_never_answered_is_not_waited_for() {
    let clock = Arc::new(Virtual::default());
    let options = ClientOptions { clock: clock.clone(), retry: RetryPolicy::default(), ..quick() };
    let name = format!("127.0.0.1:{}/a/b:1", free_port()).parse().unwrap();
    let error = Client::new(options).unwrap().small_blob(&name, &descriptor(), 1 << 20).await.unwrap_err();
    assert!(matches!(error, RegistryError::Network { .. }), "{error}");
    assert!(clock.now() < Duration::from_secs(5), "{clock:?}");
}

#[tokio::test]
async fn retry_after_is_obeyed() {
    let server = blobs(|_, n| match n {
        0 => answer("429 Too Many Requests", "Retry-After: 1\r\n", b""),
        _ => answer("200 OK", "", BLOB),
    });
    let start = Instant::now();
    let told = Arc::new(Told::default());
    let guard = tracing::subscriber::set_default(told.clone());
    fetch(&server, quick()).await.1.unwrap();
    drop(guard);
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
    let told = told.0.lock().unwrap();
    let digest = descriptor().digest;
    let expected = format!("{}/a/b: GET blob {digest}: the registry answered 429: trying again in 1 s", server.host());
    assert_eq!(*told, [expected]);
}

#[tokio::test]
async fn a_client_waits_five_minutes_in_all() {
    let server = blobs(|_, _| answer("429 Too Many Requests", "Retry-After: 50\r\n", b""));
    let clock = Arc::new(Virtual::default());
    let client = Client::new(ClientOptions { clock: clock.clone(), ..quick() }).unwrap();
    // Four waits are five tries; then there is time for one wait more, and none for anybody after that.
    for (tries, says) in [(5, "answered 429"), (6, "asked again in 50 s"), (6, "asked again in 50 s")] {
        let error = client.small_blob(&named(&server), &descriptor(), 1 << 20).await.unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(server.requests_for("/blobs/").len(), tries);
    }
    assert!(clock.now() >= Duration::from_secs(250) && clock.now() < Duration::from_secs(300), "{:?}", clock.now());
}

/// Whoever was told so has no try left, so that it is another one that waits.
#[tokio::test]
async fn what_one_transfer_is_told_holds_back_the_others() {
    for (method, part) in [("GET", 32 << 20), ("POST", 32 << 20), ("PUT", 32 << 20), ("PATCH", 8)] {
        let clock = Arc::new(Virtual::default());
        let (refused, of_server) = (AtomicBool::new(false), clock.clone());
        let server = blobs(move |seen, _| {
            if seen.method == method && !refused.swap(true, Ordering::Relaxed) {
                return answer("429 Too Many Requests", "Retry-After: 50\r\n", b"");
            }
            assert!(of_server.now() >= Duration::from_secs(50) || !refused.load(Ordering::Relaxed), "{seen:?}");
            match seen.method.as_str() {
                "POST" => answer("202 Accepted", "Location: /up/1\r\n", b""),
                "HEAD" => Answer::Bytes(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n".to_vec()),
                _ => answer("200 OK", "", BLOB),
            }
        });
        let mut options = ClientOptions { clock: clock.clone(), part, ..quick() };
        options.retry.tries = 1;
        let client = Client::new(options).unwrap();
        let (name, blob) = (named(&server), descriptor());
        let told = match method {
            "GET" => client.small_blob(&name, &blob, 1 << 20).await.map(drop),
            _ => client.push_blob(&name, &blob, source(BLOB), None).await.map(drop),
        };
        assert!(matches!(told, Err(RegistryError::Status { status: 429, .. })), "{method}: {told:?}");
        assert_eq!(clock.now(), Duration::ZERO, "{method}");
        client.small_blob(&name, &blob, 1 << 20).await.unwrap_or_else(|e| panic!("{method}: {e}"));
        let then = clock.now();
        assert!(then >= Duration::from_secs(50) && then < Duration::from_secs(52), "{method}: {then:?}");
        client.small_blob(&name, &blob, 1 << 20).await.unwrap();
        assert_eq!(clock.now(), then, "{method}: nobody has to wait any more");
    }
}

/// Nobody else has to be told once more.
#[tokio::test]
async fn what_is_told_for_longer_than_anybody_waits_ends_it_at_once() {
    for (what, status) in [("a limit", "429 Too Many Requests"), ("maintenance", "503 Service Unavailable")] {
        let server = blobs(move |_, _| answer(status, "Retry-After: 2700\r\n", b""));
        let clock = Arc::new(Virtual::default());
        let client = Client::new(ClientOptions { clock: clock.clone(), ..quick() }).unwrap();
        for _ in 0..3 {
            let error = client.small_blob(&named(&server), &descriptor(), 1 << 20).await.unwrap_err();
            let said = "the registry wants to be asked again in 45 min, not before";
            assert!(error.to_string().ends_with(said), "{what}: {error}");
            assert!(error.hint().unwrap().contains("try again in 45 min"), "{what}: {error}");
            let pushed = client.push_blob(&named(&server), &descriptor(), source(BLOB), None).await;
            assert!(matches!(pushed, Err(RegistryError::Later { .. })), "{what}: {pushed:?}");
        }
        assert_eq!((server.requests_for("/blobs/").len(), clock.now()), (1, Duration::ZERO), "{what}");
    }
}

#[tokio::test]
async fn silence_is_not_borne_for_ever() {
    let server = blobs(|_, _| {
        std::thread::sleep(Duration::from_secs(3));
        answer("200 OK", "", BLOB)
    });
    let mut options = quick();
    options.timeouts.idle = Duration::from_millis(100);
    options.timeouts.connect = Duration::from_millis(100);
    options.retry.tries = 2;
    let start = Instant::now();
    let error = fetch(&server, options).await.1.unwrap_err();
    assert!(matches!(&error, RegistryError::Network { cause, .. } if cause.contains("nothing came")), "{error}");
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn redirects_end() {
    for (to, words) in [
        ("/v2/a/b/blobs/again", "more than 10 redirects"),
        ("http://images.example/x", "plain http to http://images.example is not allowed"),
        ("ftp://images.example/x", "ftp URLs are not allowed"),
    ] {
        let server = blobs(move |_, _| answer("302 Found", &format!("Location: {to}\r\n"), b""));
        let error = fetch(&server, quick()).await.1.unwrap_err().to_string();
        assert!(error.contains(words), "{to}: {error}");
        assert!(server.requests_for("/blobs/").len() <= 11);
    }
}

fn manifest() -> Vec<u8> {
    let d = descriptor();
    serde_json::to_vec(&serde_json::json!({"schemaVersion": 2, "config": d, "layers": [d]})).unwrap()
}

#[tokio::test]
async fn manifests_that_cannot_be_trusted() {
    let other = Digest::sha256("other");
    let both = br#"{"schemaVersion":2,"manifests":[],"layers":[]}"#;
    let cases: Vec<(&str, Script, &str)> = vec![
        (
            "header",
            Box::new(move || answer("200 OK", &format!("Docker-Content-Digest: {other}\r\n"), &manifest())),
            "not what was promised",
        ),
        (
            "junk header",
            Box::new(|| answer("200 OK", "Docker-Content-Digest: sha256:../..\r\n", &manifest())),
            "not what was promised",
        ),
        ("both shapes", Box::new(move || answer("200 OK", "", both)), "cannot be used"),
        (
            "type",
            Box::new(|| answer("200 OK", "Content-Type: application/vnd.oci.image.index.v1+json\r\n", &manifest())),
            "cannot be used",
        ),
        (
            "old",
            Box::new(|| {
                answer("200 OK", "Content-Type: application/vnd.docker.distribution.manifest.v1+prettyjws\r\n", b"{}")
            }),
            "cannot be used",
        ),
        ("endless", Box::new(|| Answer::Endless(b"HTTP/1.1 200 OK\r\n\r\n".to_vec())), "limit of 4259840 bytes"),
        (
            "announced",
            Box::new(|| Answer::Endless(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n".to_vec())),
            "limit of 4259840 bytes",
        ),
        ("no JSON", Box::new(|| answer("200 OK", "", b"<html>")), "cannot be used"),
    ];
    for (what, script, words) in cases {
        let server = blobs(move |_, _| script());
        let error = Client::new(quick()).unwrap().resolve(&named(&server), &Platform::host()).await.unwrap_err();
        assert!(error.is_input() && error.to_string().contains(words), "{what}: {error}");
    }
    let server = blobs(|_, _| answer("200 OK", "Content-Type: application/json; charset=utf-8\r\n", &manifest()));
    let found = Client::new(quick()).unwrap().resolve(&named(&server), &Platform::host()).await.unwrap();
    assert_eq!(found.descriptor, Descriptor::of(MediaType::OciManifest, &manifest()));
    let wrong = named(&server).with_digest(Digest::sha256("x"));
    assert!(Client::new(quick()).unwrap().resolve(&wrong, &Platform::host()).await.unwrap_err().is_input());
}

#[tokio::test]
async fn an_index_that_is_not_there_keeps_nobody_from_the_other_images() {
    let of = |kind, bytes: &[u8], arch: Option<&str>| {
        let mut d = serde_json::to_value(Descriptor::of(kind, bytes)).unwrap();
        if let Some(arch) = arch {
            d["platform"] = serde_json::json!({"os": "linux", "architecture": arch});
        }
        d
    };
    let lost = of(MediaType::OciIndex, b"lost", None);
    let entries = [lost, of(MediaType::OciManifest, &manifest(), Some("amd64"))];
    let index = serde_json::json!({"schemaVersion": 2, "manifests": entries}).to_string();
    for (status, absent) in [("404 Not Found", true), ("403 Forbidden", false)] {
        let top = index.clone();
        let server = blobs(move |seen, _| match seen.target.rsplit('/').next().unwrap() {
            "1" => answer("200 OK", "", top.as_bytes()),
            tail if tail == Digest::sha256(manifest()).to_string() => answer("200 OK", "", &manifest()),
            _ => answer(status, "", b""),
        });
        let client = Client::new(quick()).unwrap();
        let found = client.resolve(&named(&server), &Platform::linux("amd64")).await;
        assert_eq!(found.is_ok(), absent, "{status}: {found:?}");
        // The other platform's image may have been in there.
        let error = client.resolve(&named(&server), &Platform::linux("arm64")).await.unwrap_err();
        assert_eq!(error.is_absence(), absent, "{status}: {error}");
    }
}

#[tokio::test]
async fn indexes_in_indexes_end() {
    let server = blobs(|seen, _| {
        // An index that holds itself cannot be made, so each one has a size that is right and a digest that is not.
        let d = Descriptor::of(MediaType::OciIndex, b"x");
        let index = serde_json::json!({"schemaVersion": 2, "manifests": [d]}).to_string();
        answer("200 OK", "", if seen.target.ends_with("/1") { index.as_bytes() } else { b"x" })
    });
    let error = Client::new(quick()).unwrap().resolve(&named(&server), &Platform::host()).await.unwrap_err();
    assert!(matches!(error, RegistryError::Document { .. }), "{error}");

    // A chain of nine, each naming the next by its digest.
    let mut chain = vec![manifest()];
    let mut kind = MediaType::OciManifest;
    for _ in 0..9 {
        let d = Descriptor::of(kind, chain.last().unwrap());
        let mut d = serde_json::to_value(d).unwrap();
        if chain.len() == 1 {
            d["platform"] = serde_json::json!({"os": "linux", "architecture": "amd64"});
        }
        chain.push(serde_json::json!({"schemaVersion": 2, "manifests": [d]}).to_string().into_bytes());
        kind = MediaType::OciIndex;
    }
    let top = chain.clone();
    let server = blobs(move |seen, _| {
        let tail = seen.target.rsplit('/').next().unwrap();
        let by_tag = tail.parse::<usize>().ok().map(|n| top[n].clone());
        let bytes = by_tag.or_else(|| top.iter().find(|b| Digest::sha256(b).to_string() == tail).cloned());
        answer("200 OK", "", &bytes.unwrap())
    });
    let client = Client::new(quick()).unwrap();
    let at = |n: usize| format!("{}/a/b:{n}", server.host()).parse().unwrap();
    client.resolve(&at(8), &Platform::linux("amd64")).await.unwrap();
    let error = client.resolve(&at(9), &Platform::linux("amd64")).await.unwrap_err();
    let too_deep = |source: &DocumentError| matches!(source, DocumentError::Nesting(_));
    assert!(matches!(&error, RegistryError::Document { source, .. } if too_deep(source)), "{error}");
}
