//! Blobs that are sent while they are made.
use crate::support::script::{blobs, named};
use crate::support::{Access, Answer, DEAF, DockerRegistry, Scripted, TORN, answer, quick};
use cooper_image::{Descriptor, MediaType, Reference};
use cooper_registry::{Client, Growing, Pushed, RegistryError};
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// A file that is written to, and the same as it is sent.
struct Made {
    file: tempfile::NamedTempFile,
    growing: Arc<Growing>,
    bytes: Vec<u8>,
}

impl Made {
    fn new() -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        let growing = Arc::new(Growing::new(file.reopen().unwrap()));
        Self { file, growing, bytes: Vec::new() }
    }
    fn grow(&mut self, by: usize) {
        let more: Vec<u8> = (self.bytes.len()..self.bytes.len() + by).map(|n| (n / 7) as u8).collect();
        self.file.write_all(&more).unwrap();
        self.bytes.extend(more);
        self.growing.grow(self.bytes.len() as u64);
    }
    fn descriptor(&self) -> Descriptor {
        Descriptor::of(MediaType::OciLayerGzip, &self.bytes)
    }
    fn finish(&self) -> Descriptor {
        self.growing.finish(self.descriptor());
        self.descriptor()
    }
}

type Task = tokio::task::JoinHandle<Result<Pushed, RegistryError>>;

fn begin(name: &Reference, made: &Made) -> Task {
    let (client, name, growing) = (Client::new(quick()).unwrap(), name.clone(), made.growing.clone());
    tokio::spawn(async move { client.stream_blob(&name, &growing).await })
}

async fn ended(task: Task) -> Result<Pushed, RegistryError> {
    tokio::time::timeout(Duration::from_secs(20), task).await.expect("it ends").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_registry_takes_what_grows() {
    let registry = DockerRegistry::start(Access::Open);
    let name: Reference = format!("{}/grown/it:1", registry.host).parse().unwrap();
    for steps in [vec![], vec![1], vec![300_000, 1, 700_000, 0, 5_000_000]] {
        let mut made = Made::new();
        let task = begin(&name, &made);
        for by in steps {
            made.grow(by);
            // Longer than a reader waits before it looks around.
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        let blob = made.finish();
        assert_eq!(ended(task).await.unwrap(), Pushed::Uploaded);
        let mut got = Vec::new();
        let mut sink = |bytes: &[u8]| {
            got.extend_from_slice(bytes);
            Ok(())
        };
        Client::new(quick()).unwrap().blob(&name, &blob, &mut sink).await.unwrap();
        assert!(got == made.bytes, "{}", blob.size);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_pauses_longer_than_silence_is_borne_is_waited_for() {
    let registry = DockerRegistry::start(Access::Open);
    let name: Reference = format!("{}/grown/slow:1", registry.host).parse().unwrap();
    let mut made = Made::new();
    let task = begin(&name, &made);
    made.grow(10);
    tokio::time::sleep(Duration::from_secs(9)).await;
    made.grow(10);
    made.finish();
    assert_eq!(ended(task).await.unwrap(), Pushed::Uploaded);
}

/// A registry that takes an upload as the test says.
fn uploads(patch: &'static str, put: &'static str) -> Scripted {
    blobs(move |seen, _| match seen.method.as_str() {
        "HEAD" => answer("404 Not Found", "", b""),
        "POST" => answer("202 Accepted", "Location: /up/1?state=a\r\n", b""),
        "PATCH" => answer(patch, "Location: /up/1?state=b\r\n", b""),
        _ => answer(put, "", b""),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_digest_follows_in_an_empty_put_to_the_place_that_the_patch_gave() {
    let server = uploads("202 Accepted", "201 Created");
    let mut made = Made::new();
    made.grow(100_000);
    let blob = made.finish();
    assert_eq!(ended(begin(&named(&server), &made)).await.unwrap(), Pushed::Uploaded);
    let [.., patch, put] = &server.requests()[..] else { panic!("{:?}", server.requests()) };
    assert_eq!((patch.method.as_str(), patch.target.as_str()), ("PATCH", "/up/1?state=a"));
    assert!(patch.body == made.bytes && patch.header("content-length").is_none());
    let target = format!("/up/1?state=b&digest=sha256%3A{}", blob.digest.hex());
    assert_eq!((put.method.as_str(), put.target.as_str(), put.body.len()), ("PUT", target.as_str(), 0));
    assert_eq!(put.header("content-length"), Some("0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_errors_and_are_not_repeated() {
    for (patch, put, status) in [
        ("405 Method Not Allowed", "201 Created", 405),
        ("500 Internal Server Error", "201 Created", 500),
        ("202 Accepted", "400 Bad Request", 400),
    ] {
        let server = uploads(patch, put);
        let mut made = Made::new();
        made.grow(1000);
        made.finish();
        let error = ended(begin(&named(&server), &made)).await.unwrap_err();
        assert!(matches!(error, RegistryError::Status { status: s, .. } if s == status), "{error}");
        assert_eq!(server.requests().iter().filter(|s| s.method == "PATCH").count(), 1, "{patch}");
    }
}

/// A registry at which the first sending breaks off, and that says then what `stands` says.
fn torn(stands: &'static str) -> Scripted {
    blobs(move |seen, _| match (seen.method.as_str(), seen.target.as_str()) {
        ("POST", _) => answer("202 Accepted", &format!("Location: {TORN}70000/1\r\n"), b""),
        ("GET", place) if place.starts_with(TORN) => Answer::Bytes(
            format!("HTTP/1.1 {stands}\r\nConnection: close\r\nLocation: /up/2\r\nContent-Length: 0\r\n\r\n")
                .into_bytes(),
        ),
        ("PATCH", _) => answer("202 Accepted", "Location: /up/3\r\n", b""),
        _ => answer("201 Created", "", b""),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_break_the_rest_is_sent() {
    // It breaks while the blob grows, and when it is whole already.
    for later in [30_000, 0] {
        let server = torn("204 No Content\r\nRange: 0-59999");
        let mut made = Made::new();
        made.grow(100_000);
        if later == 0 {
            made.finish();
        }
        let task = begin(&named(&server), &made);
        tokio::time::sleep(Duration::from_millis(300)).await;
        made.grow(later);
        let blob = made.finish();
        assert_eq!(ended(task).await.unwrap(), Pushed::Uploaded, "{later}");
        let seen = server.requests();
        let [.., first, asked, second, put] = &seen[..] else { panic!("{seen:?}") };
        assert_eq!((first.method.as_str(), asked.method.as_str()), ("PATCH", "GET"), "{later}");
        assert_eq!((second.method.as_str(), second.target.as_str()), ("PATCH", "/up/2"), "{later}");
        assert!(second.body == made.bytes[60_000..], "{later}: {} bytes were sent", second.body.len());
        assert_eq!(put.target, format!("/up/3?digest=sha256%3A{}", blob.digest.hex()), "{later}");
    }
    // All of it had come, and the answer was lost.
    let server = torn("204 No Content\r\nRange: 0-99999");
    let mut made = Made::new();
    made.grow(100_000);
    made.finish();
    assert_eq!(ended(begin(&named(&server), &made)).await.unwrap(), Pushed::Uploaded);
    assert_eq!(server.requests().iter().filter(|s| s.method == "PATCH").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_break_a_registry_that_cannot_say_what_it_has_is_left() {
    for stands in ["404 Not Found", "204 No Content", "204 No Content\r\nRange: 0-100000", "500 Internal Server Error"]
    {
        let server = torn(stands);
        let mut made = Made::new();
        made.grow(100_000);
        made.finish();
        let error = ended(begin(&named(&server), &made)).await.unwrap_err();
        assert!(matches!(error, RegistryError::Network { .. }), "{stands}: {error}");
        assert_eq!(server.requests().iter().filter(|s| s.method == "PATCH").count(), 1, "{stands}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_is_never_committed() {
    let server = uploads("202 Accepted", "201 Created");
    let mut made = Made::new();
    made.grow(1000);
    let task = begin(&named(&server), &made);
    tokio::time::sleep(Duration::from_millis(100)).await;
    made.growing.give_up();
    assert!(ended(task).await.is_err());
    assert!(server.requests().iter().all(|s| s.method != "PUT"), "{:?}", server.requests());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rest_of_what_the_registry_turns_out_to_have_is_not_sent() {
    let server = blobs(|seen, _| match seen.method.as_str() {
        "HEAD" => answer("200 OK", "", b""),
        "POST" => answer("202 Accepted", &format!("Location: {DEAF}1\r\n"), b""),
        _ => answer("204 No Content", "", b""),
    });
    let mut made = Made::new();
    let task = begin(&named(&server), &made);
    made.grow(64 << 20);
    let blob = made.finish();
    assert_eq!(ended(task).await.unwrap(), Pushed::Existed);
    let cancelled = Some(("DELETE".to_owned(), format!("{DEAF}1")));
    let heads = server.requests_for(&blob.digest.to_string());
    assert_eq!(heads.iter().map(|s| s.method.as_str()).collect::<Vec<_>>(), ["HEAD"]);
    assert_eq!(server.requests().last().map(|s| (s.method.clone(), s.target.clone())), cancelled);
}
