//! A registry that misbehaves as scripted while a blob is pushed.
use crate::support::script::{BLOB, blobs, descriptor, named};
use crate::support::{Answer, Scripted, Seen, answer, quick, source};
use cooper_image::{Digest, MediaType};
use cooper_registry::{Client, ClientOptions, Pushed, RegistryError};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// A registry that gives the upload URL that a test wants.
fn uploads(location: &'static str, put: impl Fn(&Seen, usize) -> Answer + Send + Sync + 'static) -> Scripted {
    blobs(move |seen, n| match seen.method.as_str() {
        "HEAD" => Answer::Bytes(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec()),
        "POST" => {
            let header = location.replace("HOST", seen.header("host").unwrap());
            answer("202 Accepted", &format!("{header}\r\n"), b"")
        }
        _ => put(seen, n),
    })
}

async fn upload(server: &Scripted, options: ClientOptions) -> Result<Pushed, RegistryError> {
    Client::new(options).unwrap().push_blob(&named(server), &descriptor(), source(BLOB), None).await
}

#[tokio::test]
async fn upload_places_of_every_form() {
    let digest = format!("digest=sha256%3A{}", descriptor().digest.hex());
    for (location, target) in [
        ("Location: /up/1", "/up/1?"),
        ("Location: http://HOST/up/1", "/up/1?"),
        ("Location: 1?_state=a%2Fb=", "/v2/a/b/blobs/uploads/1?_state=a%2Fb=&"),
        ("Location: /up/1?a=b&c", "/up/1?a=b&c&"),
    ] {
        let server = uploads(location, |_, _| answer("201 Created", "", b""));
        assert_eq!(upload(&server, quick()).await.unwrap(), Pushed::Uploaded, "{location}");
        let put = server.requests().pop().unwrap();
        assert_eq!(put.target, format!("{target}{digest}"), "{location}");
        assert_eq!((put.method.as_str(), put.body.as_slice()), ("PUT", BLOB));
        assert_eq!(put.header("content-length"), Some("20"));
        assert_eq!(put.header("transfer-encoding"), None);
    }
    let server = uploads("X-Nothing: 1", |_, _| answer("201 Created", "", b""));
    let error = upload(&server, quick()).await.unwrap_err().to_string();
    assert!(error.contains("no Location"), "{error}");
}

#[tokio::test]
async fn a_failed_upload_starts_anew() {
    for status in ["503 Service Unavailable", "404 Not Found"] {
        let server = uploads("Location: /up/1", move |_, n| match n {
            0 => answer(status, "", b""),
            1 => Answer::Bytes(Vec::new()),
            _ => answer("201 Created", "", b""),
        });
        upload(&server, quick()).await.unwrap();
        let posts = server.requests().iter().filter(|s| s.method == "POST").count();
        assert_eq!(posts, 3, "{status}: a new session for each try");
    }
    let server = uploads("Location: /up/1", |_, _| answer("400 Bad Request", "", b""));
    assert!(matches!(upload(&server, quick()).await, Err(RegistryError::Status { status: 400, .. })));
    assert_eq!(server.requests().iter().filter(|s| s.method == "PUT").count(), 1);
    let server = uploads("Location: /up/1", |_, _| {
        let header = format!("Docker-Content-Digest: {}\r\n", Digest::sha256("other"));
        answer("201 Created", &header, b"")
    });
    assert!(upload(&server, quick()).await.unwrap_err().is_input());
}

/// What a registry says to a manifest with tags in the query: its answer, and for how many of them it stands.
type Taking = fn(&[String]) -> (Answer, usize);

#[tokio::test]
async fn several_tags_in_one_request_where_the_registry_takes_that() {
    let cases: [(&str, usize, Taking, usize); 7] = [
        ("a header for each", 3, |tags| (headers_of(tags), tags.len()), 1),
        (
            "a list in one header",
            3,
            |tags| (answer("201 Created", &format!("OCI-Tag: {}\r\n", tags.join(", ")), b""), 3),
            1,
        ),
        ("more than ten", 13, |tags| (headers_of(tags), tags.len()), 2),
        ("some only", 3, |tags| (headers_of(&tags[..1]), 1), 3),
        ("none, since it does not know of that", 3, |_| (answer("201 Created", "", b""), 0), 4),
        ("none, since the address is too long", 3, |_| (answer("414 URI Too Long", "", b""), 0), 4),
        ("one alone goes as ever", 1, |_| (answer("500 Internal Server Error", "", b""), 0), 1),
    ];
    let bytes = br#"{"schemaVersion": 2, "layers": []}"#;
    for (case, count, takes, puts) in cases {
        let set = Arc::new(Mutex::new(BTreeSet::new()));
        let known = Arc::clone(&set);
        let server = blobs(move |seen, _| {
            let (place, query) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
            let tags: Vec<String> =
                query.split('&').filter_map(|p| p.strip_prefix("tag=")).map(str::to_owned).collect();
            let mut known = known.lock().unwrap();
            if tags.is_empty() {
                known.insert(place.rsplit('/').next().unwrap().to_owned());
                return answer("201 Created", "", b"");
            }
            assert!(place.ends_with(&Digest::sha256(seen.body.as_slice()).to_string()), "{place}");
            let (said, of) = takes(&tags);
            known.extend(tags.into_iter().take(of));
            said
        });
        let tags: Vec<String> = (0..count).map(|n| format!("t{n}")).collect();
        // The same tag twice is one.
        let wanted: Vec<&str> = tags.iter().chain(&tags).map(String::as_str).collect();
        let client = Client::new(quick()).unwrap();
        let name = named(&server);
        let digest = Digest::sha256(bytes);
        client.push_manifest_tagged(&name, &wanted, bytes, (&MediaType::OciManifest, &digest)).await.unwrap();
        assert_eq!(*set.lock().unwrap(), tags.into_iter().collect(), "{case}");
        assert_eq!(server.requests().iter().filter(|seen| seen.method == "PUT").count(), puts, "{case}");
    }
    // What would be said to each tag is said at once.
    let server = blobs(|_, _| answer("403 Forbidden", "", b""));
    let client = Client::new(quick()).unwrap();
    let digest = Digest::sha256(bytes);
    let sent = (&MediaType::OciManifest, &digest);
    let refused = client.push_manifest_tagged(&named(&server), &["1", "2"], bytes, sent).await;
    assert!(refused.is_err());
    assert_eq!(server.requests().iter().filter(|seen| seen.method == "PUT").count(), 1);
}

fn headers_of(tags: &[String]) -> Answer {
    let headers: String = tags.iter().map(|tag| format!("OCI-Tag: {tag}\r\n")).collect();
    answer("201 Created", &headers, b"")
}
