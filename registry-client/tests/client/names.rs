//! What a name leads to: described without being fetched, and fetched as it is.
use crate::support::script::{blobs, named};
use crate::support::{Answer, Scripted, answer, mirrored, quick};
use cooper_image::{Descriptor, Digest, Document, Index, MediaType, Reference};
use cooper_registry::{Client, RegistryError};

/// An index of nothing, which no platform could be chosen from.
fn index() -> Vec<u8> {
    serde_json::to_vec(&Index::of(Vec::new())).unwrap()
}

fn headers(extra: &str) -> String {
    format!("Content-Type: application/vnd.oci.image.index.v1+json\r\n{extra}")
}

/// The head of an answer to HEAD.
fn head(status: &str, extra: &str) -> Answer {
    Answer::Bytes(format!("HTTP/1.1 {status}\r\nConnection: close\r\n{extra}\r\n").into_bytes())
}

fn with_digest(digest: &Digest, size: usize) -> String {
    headers(&format!("Docker-Content-Digest: {digest}\r\nContent-Length: {size}\r\n"))
}

async fn describe(server: &Scripted, name: &Reference) -> Result<Descriptor, RegistryError> {
    let described = Client::new(quick()).unwrap().describe(name).await;
    for seen in server.requests_for("/manifests/") {
        let accept = seen.header("accept").unwrap();
        assert!(accept.contains("image.index.v1") && accept.contains("manifest.list.v2"), "{accept}");
    }
    described
}

#[tokio::test]
async fn a_head_says_it_all() {
    let digest = Digest::sha256(index());
    let said = digest.clone();
    let server = blobs(move |seen, _| match seen.method.as_str() {
        "HEAD" => head("200 OK", &with_digest(&said, 77)),
        other => panic!("{other}"),
    });
    let found = describe(&server, &named(&server)).await.unwrap();
    assert_eq!(found, Descriptor::new(MediaType::OciIndex, digest, 77));
}

#[tokio::test]
async fn what_a_head_does_not_say_is_fetched() {
    let digest = Digest::sha256(index());
    for answer_to_head in [
        headers("Content-Length: 5\r\n"),
        format!("Docker-Content-Digest: {digest}\r\nContent-Length: 5\r\n"),
        headers(&format!("Docker-Content-Digest: {digest}\r\n")),
    ] {
        let server = blobs(move |seen, _| match seen.method.as_str() {
            "HEAD" => head("200 OK", &answer_to_head),
            _ => answer("200 OK", &headers(""), &index()),
        });
        let found = describe(&server, &named(&server)).await.unwrap();
        assert_eq!(found, Descriptor::of(MediaType::OciIndex, &index()));
    }
    for status in ["405 Method Not Allowed", "400 Bad Request", "501 Not Implemented"] {
        let server = blobs(move |seen, _| match seen.method.as_str() {
            "HEAD" => head(status, "Content-Length: 0\r\n"),
            _ => answer("200 OK", &headers(""), &index()),
        });
        assert_eq!(describe(&server, &named(&server)).await.unwrap().digest, digest, "{status}");
    }
}

#[tokio::test]
async fn who_is_away_is_not_tried_twice_as_long() {
    let server = blobs(move |seen, _| match seen.method.as_str() {
        "HEAD" => head("502 Bad Gateway", "Content-Length: 0\r\n"),
        _ => answer("502 Bad Gateway", "", b""),
    });
    let error = describe(&server, &named(&server)).await.unwrap_err();
    assert!(error.to_string().contains("502"), "{error}");
    let asked = server.requests_for("/manifests/");
    let fetched = asked.iter().filter(|seen| seen.method == "GET").count();
    assert_eq!(fetched, 1, "after {} of HEAD", asked.len() - 1);
    assert!(asked.len() > quick().retry.tries as usize);
}

#[tokio::test]
async fn absence_is_told_from_everything_else() {
    for (status, absent) in [("404 Not Found", true), ("401 Unauthorized", false), ("403 Forbidden", false)] {
        let server = blobs(move |_, _| head(status, "Content-Length: 0\r\n"));
        let error = describe(&server, &named(&server)).await.unwrap_err();
        assert_eq!(error.is_absence(), absent, "{error}");
        assert!(error.to_string().contains("HEAD manifest 1"), "{error}");
        assert_eq!(server.requests_for("/manifests/").len(), 1, "{status}");
    }
    let gone = "127.0.0.1:1/a/b:1".parse().unwrap();
    assert!(!Client::new(quick()).unwrap().describe(&gone).await.unwrap_err().is_absence());
}

/// Only the registry itself can say that there is nothing.
#[tokio::test]
async fn a_mirror_cannot_deny_an_image() {
    for (of_mirror, of_registry, absent) in
        [("404 Not Found", "403 Forbidden", false), ("403 Forbidden", "404 Not Found", true)]
    {
        let mirror = blobs(move |_, _| head(of_mirror, "Content-Length: 0\r\n"));
        let server = blobs(move |_, _| head(of_registry, "Content-Length: 0\r\n"));
        let client = mirrored(&server, &mirror);
        let error = client.describe(&named(&server)).await.unwrap_err();
        assert_eq!(error.is_absence(), absent, "{error}");
    }
}

#[tokio::test]
async fn another_digest_than_was_asked_for_is_refused() {
    let (wanted, other) = (Digest::sha256(b"wanted"), Digest::sha256(b"other"));
    for (says, fine) in [(wanted.clone(), true), (other, false)] {
        let server = blobs(move |_, _| head("200 OK", &with_digest(&says, 6)));
        let found = describe(&server, &named(&server).with_digest(wanted.clone())).await;
        assert_eq!(found.is_ok(), fine);
        assert!(fine || matches!(found, Err(RegistryError::Digest { .. })), "{found:?}");
    }
    let server = blobs(|_, _| head("200 OK", &headers("Docker-Content-Digest: sha256:../..\r\nContent-Length: 3\r\n")));
    assert!(matches!(describe(&server, &named(&server)).await, Err(RegistryError::Digest { .. })));
}

#[tokio::test]
async fn an_index_is_fetched_as_it_is() {
    let server = blobs(|_, _| answer("200 OK", &headers(""), &index()));
    let client = Client::new(quick()).unwrap();
    let top = client.top(&named(&server)).await.unwrap();
    assert_eq!(top.bytes.get(), &index());
    assert_eq!(top.descriptor(), Descriptor::of(MediaType::OciIndex, &index()));
    assert!(matches!(top.document, Document::Index(_)));
    let wrong = named(&server).with_digest(Digest::sha256(b"other"));
    assert!(matches!(client.top(&wrong).await, Err(RegistryError::Digest { .. })));
}

#[tokio::test]
async fn small_blobs_are_small() {
    let server = blobs(|_, _| answer("200 OK", "", b"{}"));
    let client = Client::new(quick()).unwrap();
    let config = Descriptor::of(MediaType::OciConfig, b"{}");
    assert_eq!(client.small_blob(&named(&server), &config, 2).await.unwrap(), b"{}");
    let before = server.requests().len();
    let large = client.small_blob(&named(&server), &config, 1).await.unwrap_err();
    assert!(large.is_input() && large.to_string().contains("limit of 1 bytes"), "{large}");
    assert_eq!(server.requests().len(), before, "nothing was asked");
}
