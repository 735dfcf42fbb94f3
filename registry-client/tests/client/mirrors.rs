//! Mirrors that give other bytes than promised: another place serves, and nothing of theirs counts.
use crate::support::script::{BLOB, blobs, descriptor, named};
use crate::support::told::Told;
use crate::support::{Answer, Scripted, answer, mirrored, quick};
use cooper_image::Hasher;
use cooper_registry::{Begun, Client, Pushed, RegistryError, StreamSource};
use std::io::{Error, ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const WRONG: &[u8] = b"0123456789abcdefghiX";

/// The right bytes, or a part of them.
fn primary() -> Scripted {
    blobs(|seen, _| match seen.header("range") {
        Some(range) => {
            let from: usize = range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap();
            answer("206 Partial Content", &format!("Content-Range: bytes {from}-19/20\r\n"), &BLOB[from..])
        }
        None => answer("200 OK", "", BLOB),
    })
}

/// Gives all of them, and one is wrong; or some of them, of which the first is, and breaks off.
fn mirror(gives: usize) -> Scripted {
    blobs(move |_, _| match gives {
        20 => answer("200 OK", "", WRONG),
        _ => {
            let mut bytes = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 20\r\n\r\nX".to_vec();
            bytes.extend_from_slice(&BLOB[1..gives]);
            Answer::Bytes(bytes)
        }
    })
}

async fn fetch(client: &Client, primary: &Scripted, begun: Option<&[u8]>) -> (Vec<u8>, Result<(), RegistryError>) {
    let mut got = Vec::new();
    let mut sink = |bytes: &[u8]| {
        got.extend_from_slice(bytes);
        Ok(())
    };
    let mut hasher = Hasher::new();
    hasher.update(begun.unwrap_or_default());
    let begun = Begun { hasher, length: begun.unwrap_or_default().len() as u64 };
    let done = client.rest_of_blob(&named(primary), &descriptor(), begun, &mut sink).await;
    (got, done)
}

#[tokio::test]
async fn what_a_mirror_gives_wrong_another_place_gives() {
    for gives in [20, 7] {
        let (primary, mirror) = (primary(), mirror(gives));
        let client = mirrored(&primary, &mirror);
        let told = Arc::new(Told::default());
        let guard = tracing::subscriber::set_default(told.clone());
        let (_, done) = fetch(&client, &primary, None).await;
        let error = done.unwrap_err();
        assert!(matches!(error, RegistryError::Mirror(_)) && error.is_input(), "{gives}: {error}");
        let asked = mirror.requests_for("/blobs/").len();
        let (got, done) = fetch(&client, &primary, None).await;
        done.unwrap();
        drop(guard);
        assert_eq!(got, BLOB, "{gives}");
        assert_eq!(mirror.requests_for("/blobs/").len(), asked, "{gives}: it was asked again");
        let told = told.0.lock().unwrap().join("\n");
        let words = format!("what {}/a/b gave is not used, and is not asked for there again", mirror.host());
        assert!(told.contains(&words) && told.contains("digest mismatch"), "{gives}: {told}");
    }
    // A blob that is held in memory needs no second call.
    let (primary, mirror) = (primary(), mirror(20));
    let bytes = mirrored(&primary, &mirror).small_blob(&named(&primary), &descriptor(), 1 << 20).await;
    assert_eq!(bytes.unwrap(), BLOB);
}

/// What cannot be had of it as a mirror is asked of it as the registry.
#[tokio::test]
async fn the_registry_is_asked_also_where_a_mirror_is_the_same_place() {
    let both = blobs(|_, n| answer("200 OK", "", if n == 0 { WRONG } else { BLOB }));
    let client = mirrored(&both, &both);
    let bytes = client.small_blob(&named(&both), &descriptor(), 1 << 20).await;
    assert_eq!(bytes.unwrap(), BLOB);
    assert_eq!(both.requests_for("/blobs/").len(), 2);
}

#[tokio::test]
async fn nobody_is_blamed_for_what_came_earlier_nor_the_last_one() {
    let primary = primary();
    let right = blobs(|_, _| answer("206 Partial Content", "Content-Range: bytes 7-19/20\r\n", &BLOB[7..]));
    let client = mirrored(&primary, &right);
    let (_, done) = fetch(&client, &primary, Some(b"7654321")).await;
    assert!(matches!(done, Err(RegistryError::Digest { .. })), "{done:?}");
    let (got, done) = fetch(&client, &primary, Some(&BLOB[..7])).await;
    done.unwrap();
    assert_eq!((got.as_slice(), right.requests_for("/blobs/").len()), (&BLOB[7..], 2));

    let (wrong, absent) = (mirror(20), blobs(|_, _| answer("404 Not Found", "", b"")));
    let (_, done) = fetch(&mirrored(&wrong, &absent), &wrong, None).await;
    assert!(matches!(done, Err(RegistryError::Digest { .. })), "{done:?}");
}

/// Fails as a blob does that comes from a mirror which was wrong.
struct Torn;

impl Read for Torn {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(Error::new(ErrorKind::ConnectionReset, "a mirror was wrong"))
    }
}

#[tokio::test]
async fn a_source_that_another_place_can_serve_is_read_again() {
    let server = blobs(|seen, _| match seen.method.as_str() {
        "HEAD" => Answer::Bytes(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec()),
        "POST" => answer("202 Accepted", "Location: /up/1\r\n", b""),
        _ => answer("201 Created", "", b""),
    });
    let opened = AtomicUsize::new(0);
    let source: StreamSource = Arc::new(move |_| {
        Ok(match opened.fetch_add(1, Ordering::Relaxed) {
            0 => Box::new(Torn) as Box<dyn Read + Send>,
            _ => Box::new(BLOB),
        })
    });
    let pushed = Client::new(quick()).unwrap().push_stream(&named(&server), &descriptor(), source, None).await;
    assert_eq!(pushed.unwrap(), Pushed::Uploaded);
    assert_eq!(server.requests().pop().unwrap().body, BLOB);
}
