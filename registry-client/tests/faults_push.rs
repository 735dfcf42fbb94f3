//! A registry that misbehaves as scripted while a blob is pushed.
#![allow(clippy::unwrap_used, reason = "a failed expectation of a test is a panic")]

mod support;

use cooper_image::Digest;
use cooper_registry::{Client, ClientOptions, Pushed, RegistryError};
use support::script::{BLOB, blobs, descriptor, named};
use support::{Answer, Scripted, Seen, answer, quick, source};

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
