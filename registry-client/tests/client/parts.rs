//! Large blobs, sent in parts to registries that break off, forget, or take no parts.
use crate::support::keeping::{Memory, Take, keeping, keeping_with};
use crate::support::script::{BLOB, blobs, descriptor, named};
use crate::support::told::Told;
use crate::support::wire::{From, Line, Wire};
use crate::support::{Access, Answer, DockerRegistry, Scripted, Seen, answer, quick, source};
use cooper_registry::credentials::{Credential, DockerConfig, Login};
use cooper_registry::retry::RetryPolicy;
use cooper_registry::{Client, ClientOptions, Pushed, RegistryError, Secret, Timeouts};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn in_parts(part: u64) -> ClientOptions {
    ClientOptions { part, ..quick() }
}

async fn push(server: &Scripted, options: ClientOptions) -> Result<Pushed, RegistryError> {
    Client::new(options).unwrap().push_blob(&named(server), &descriptor(), source(BLOB), None).await
}

/// Bytes of blobs that were sent.
fn sent(server: &Scripted) -> usize {
    server.requests().iter().map(|seen| seen.body.len()).sum()
}

fn count(server: &Scripted, method: &str) -> usize {
    server.requests().iter().filter(|seen| seen.method == method).count()
}

#[tokio::test]
async fn a_large_blob_is_sent_in_parts() {
    let server = keeping(|seen, _| Some(seen.body.len()));
    assert_eq!(push(&server, in_parts(8)).await.unwrap(), Pushed::Uploaded);
    let ranges: Vec<String> =
        server.requests().iter().filter_map(|seen| seen.header("content-range").map(str::to_owned)).collect();
    assert_eq!(ranges, ["0-7", "8-15", "16-19"]);
    assert_eq!(sent(&server), BLOB.len());
    // One that is no larger than a part goes whole.
    let server = keeping(|seen, _| Some(seen.body.len()));
    push(&server, in_parts(20)).await.unwrap();
    assert_eq!((count(&server, "PATCH"), count(&server, "PUT"), sent(&server)), (0, 1, 20));
}

#[tokio::test]
async fn a_registry_says_how_small_a_part_may_be() {
    let take: Box<Take> = Box::new(|seen: &Seen, _| Some(seen.body.len()));
    let server = keeping_with("OCI-Chunk-Min-Length: 12\r\n", take);
    push(&server, in_parts(8)).await.unwrap();
    assert_eq!(count(&server, "PATCH"), 2);
}

#[tokio::test]
async fn after_a_break_the_rest_is_sent() {
    // The connection breaks in the second part, of which three bytes came.
    let server = keeping(|seen, _| match seen.header("content-range") {
        Some("8-15") => Some(3),
        _ => Some(seen.body.len()),
    });
    push(&server, in_parts(8)).await.unwrap();
    assert_eq!((count(&server, "POST"), count(&server, "GET")), (1, 2), "the one session, asked once, and /v2/");
    assert_eq!(sent(&server), 8 + 8 + 8 + 1, "what the break took is sent again and nothing else");
}

#[tokio::test]
async fn bytes_that_come_late_are_not_sent_again() {
    // Two bytes of the broken part come after the registry was asked how many it has.
    let server = blobs(|seen, n| {
        let stand = |last: u8| format!("Location: /up/1\r\nRange: 0-{last}\r\n");
        let no_content = |last| {
            Answer::Bytes(format!("HTTP/1.1 204 No Content\r\nConnection: close\r\n{}\r\n", stand(last)).into_bytes())
        };
        match (seen.method.as_str(), seen.header("content-range")) {
            ("HEAD", _) => {
                Answer::Bytes(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec())
            }
            ("POST", _) => answer("202 Accepted", "Location: /up/1\r\n", b""),
            ("GET", _) => no_content(if n == 0 { 10 } else { 12 }),
            (_, Some("0-7")) => answer("202 Accepted", &stand(7), b""),
            (_, Some("8-15")) => Answer::Bytes(Vec::new()),
            (_, Some("11-18")) => answer("416 Range Not Satisfiable", &stand(12), b""),
            (_, Some("13-19")) => answer("202 Accepted", &stand(19), b""),
            ("PUT", None) => answer("201 Created", "", b""),
            other => panic!("{other:?}"),
        }
    });
    push(&server, in_parts(8)).await.unwrap();
    assert_eq!(count(&server, "POST"), 1);
}

#[tokio::test]
async fn a_blob_whose_last_answer_was_lost_is_not_sent_again() {
    for (part, length, posts) in [(8, BLOB.len(), 1), (20, BLOB.len(), 1), (8, 7, 2), (20, 7, 2)] {
        let taken = AtomicBool::new(false);
        let server = blobs(move |seen, n| {
            let stand = "Location: /up/1\r\nRange: 0-19\r\n";
            match (seen.method.as_str(), seen.header("content-range")) {
                ("HEAD", _) if taken.load(Ordering::SeqCst) => {
                    let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
                    Answer::Bytes(head.into_bytes())
                }
                ("HEAD", _) => {
                    Answer::Bytes(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec())
                }
                ("POST", _) => answer("202 Accepted", "Location: /up/1\r\n", b""),
                // The upload is gone once it was taken.
                ("GET", _) => answer("404 Not Found", "", b""),
                ("PATCH", Some(range)) => {
                    let last = range.split_once('-').unwrap().1;
                    answer("202 Accepted", &format!("Location: /up/1\r\nRange: 0-{last}\r\n"), b"")
                }
                ("PUT", None) if n == 0 => {
                    taken.store(true, Ordering::SeqCst);
                    Answer::Bytes(Vec::new())
                }
                ("PUT", None) => answer("201 Created", stand, b""),
                other => panic!("{other:?}"),
            }
        });
        assert_eq!(push(&server, in_parts(part)).await.unwrap(), Pushed::Uploaded);
        assert_eq!((count(&server, "POST"), sent(&server)), (posts, posts * BLOB.len()), "{part} {length}");
    }
}

/// A registry that says of an upload for the first `times` that another request has it, as while it does not know yet
/// that a connection broke: to who asks, and to who sends the second part, which does not come through at first. It has
/// so many bytes when it is started.
fn busy(times: usize, begun: usize) -> Scripted {
    let taken = Mutex::new(begun);
    blobs(move |seen, n| {
        let mut taken = taken.lock().unwrap();
        let stand = |status: &str, taken: usize| {
            answer(status, &format!("Location: /up/1\r\nRange: 0-{}\r\n", taken.max(1) - 1), b"")
        };
        let conflict = || answer("409 Conflict", "", b"");
        match (seen.method.as_str(), seen.header("content-range")) {
            ("HEAD", _) => {
                Answer::Bytes(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec())
            }
            ("POST", _) => {
                *taken = 0;
                stand("202 Accepted", 0)
            }
            ("GET", _) if n < times => conflict(),
            ("GET", _) => Answer::Bytes(
                format!("HTTP/1.1 204 No Content\r\nConnection: close\r\nRange: 0-{}\r\n\r\n", *taken - 1).into_bytes(),
            ),
            // Before the first question it breaks; to the first try after an answer the other request is still there.
            ("PATCH", Some("8-15")) if n == 1 => Answer::Bytes(Vec::new()),
            ("PATCH", Some("8-15")) if n == 2 => conflict(),
            ("PATCH", Some(range)) => {
                let (first, last) = range.split_once('-').unwrap();
                assert_eq!(first.parse::<usize>().unwrap(), *taken, "{range}");
                *taken = last.parse::<usize>().unwrap() + 1;
                stand("202 Accepted", *taken)
            }
            ("PUT", None) => answer("201 Created", "", b""),
            other => panic!("{other:?}"),
        }
    })
}

#[tokio::test]
async fn an_upload_that_another_request_has_is_waited_for() {
    let server = busy(3, 0);
    let patient = || RetryPolicy { outage: Duration::from_secs(20), ..quick().retry };
    push(&server, ClientOptions { retry: patient(), ..in_parts(8) }).await.unwrap();
    assert_eq!(count(&server, "POST"), 1);
    let refused = 8;
    assert_eq!(sent(&server), BLOB.len() + 8 + refused, "the part that broke, and the try that was refused");
    // So does a later process with what the one before began.
    let (server, kept) = (busy(3, 8), Memory::default());
    let name = format!("http://{}/ a/b {}", server.host(), descriptor().digest);
    kept.0.lock().unwrap().insert(name, format!("http://{}/up/1", server.host()));
    let options = ClientOptions { retry: patient(), uploads: Some(Arc::new(kept)), ..in_parts(8) };
    push(&server, options).await.unwrap();
    assert_eq!((count(&server, "POST"), sent(&server)), (0, BLOB.len() - 8));
}

#[tokio::test]
async fn who_begins_anew_since_another_request_keeps_the_upload_says_so() {
    let server = busy(usize::MAX, 0);
    let told = Arc::new(Told::default());
    let guard = tracing::subscriber::set_default(told.clone());
    push(&server, in_parts(8)).await.unwrap();
    drop(guard);
    assert!(count(&server, "GET") > 3 && count(&server, "POST") == 2, "{:?}", server.requests());
    let told = told.0.lock().unwrap();
    let anew: Vec<_> = told.iter().filter(|line| line.ends_with("the blob is sent anew from its first byte")).collect();
    assert!(matches!(anew[..], [line] if line.contains("409")), "{told:?}");
}

#[tokio::test]
async fn another_process_goes_on() {
    let kept = Arc::new(Memory::default());
    let options = || ClientOptions { uploads: Some(kept.clone()), ..in_parts(8) };
    let broken = Arc::new(Mutex::new(true));
    let cut = broken.clone();
    let server = keeping(move |seen, _| match seen.header("content-range") {
        Some("8-15" | "9-16" | "10-17" | "11-18" | "12-19") if *cut.lock().unwrap() => Some(0),
        _ => Some(seen.body.len()),
    });
    push(&server, options()).await.unwrap_err();
    assert_eq!(kept.0.lock().unwrap().len(), 1);
    let before = sent(&server);
    *broken.lock().unwrap() = false;
    push(&server, options()).await.unwrap();
    assert_eq!(sent(&server) - before, BLOB.len() - 8, "the first part was there");
    assert_eq!(count(&server, "POST"), 1);
    assert!(kept.0.lock().unwrap().is_empty(), "what is done is forgotten");
}

#[tokio::test]
async fn what_an_earlier_process_left_is_of_no_harm() {
    for place in ["/up/7", "not a url", "/up/0"] {
        let server = keeping(|seen, _| Some(seen.body.len()));
        // Session 0 holds bytes of something else.
        let other = Client::new(in_parts(2)).unwrap();
        let wrong = cooper_image::Descriptor::of(cooper_image::MediaType::OciLayerGzip, b"other bytes");
        other.push_blob(&named(&server), &wrong, source(b"other bytes"), None).await.unwrap_err();
        let kept = Memory::default();
        let place = place.strip_prefix('/').map_or(place.to_owned(), |path| format!("http://{}/{path}", server.host()));
        let entries = kept.0.clone();
        let name = format!("http://{}/ a/b {}", server.host(), descriptor().digest);
        entries.lock().unwrap().insert(name, place.clone());
        let options = ClientOptions { uploads: Some(Arc::new(kept)), ..in_parts(8) };
        assert_eq!(push(&server, options).await.unwrap(), Pushed::Uploaded, "{place}");
        assert!(entries.lock().unwrap().is_empty(), "{place}");
    }
}

/// It can be at a host that does not answer any more: nobody listens there, or nothing comes.
#[tokio::test]
async fn a_kept_place_that_does_not_answer_leaves_all_tries_to_a_new_one() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for gone in [crate::support::free_port(), silent.local_addr().unwrap().port()] {
        let server = taking();
        let kept = Memory::default();
        let place = format!("http://127.0.0.1:{gone}/up/0");
        kept.0.lock().unwrap().insert(format!("http://{}/ a/b {}", server.host(), descriptor().digest), place);
        let mut options = ClientOptions { uploads: Some(Arc::new(kept)), ..in_parts(8) };
        options.retry.tries = 2;
        options.timeouts =
            Timeouts { connect: Duration::from_secs(1), idle: Duration::from_secs(60), ..options.timeouts };
        let pushed = tokio::time::timeout(Duration::from_secs(20), push(&server, options)).await;
        assert_eq!(pushed.expect("it is waited for too long").unwrap(), Pushed::Uploaded);
    }
}

/// Takes all parts, and is not well when it is asked for an upload the first time.
fn taking() -> Scripted {
    blobs(|seen, n| match (seen.method.as_str(), seen.header("content-range")) {
        ("HEAD", _) => {
            Answer::Bytes(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec())
        }
        ("POST", _) if n == 0 => answer("503 Service Unavailable", "", b""),
        ("PUT", _) => answer("201 Created", "", b""),
        (_, range) => {
            let last = range.map_or("0", |range| range.split('-').next_back().unwrap());
            answer("202 Accepted", &format!("Location: /up/1\r\nRange: 0-{last}\r\n"), b"")
        }
    })
}

/// An upload at another host, which is gone after a part; the registry has to be asked twice for a new one.
#[tokio::test]
async fn an_upload_that_is_gone_leaves_its_tries_to_a_new_one() {
    let first = Arc::new(AtomicBool::new(true));
    let other = Scripted::start(|_, _| Answer::Bytes(Vec::new()));
    let (away, is_first) = (other.host(), first.clone());
    let server = blobs(move |seen, n| match (seen.method.as_str(), seen.header("content-range")) {
        ("HEAD", _) => {
            Answer::Bytes(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec())
        }
        ("POST", _) if n == 0 => answer("202 Accepted", &format!("Location: http://{away}/up/0\r\n"), b""),
        ("POST", _) if is_first.swap(false, Ordering::Relaxed) => answer("503 Service Unavailable", "", b""),
        ("POST", _) => answer("202 Accepted", "Location: /up/1\r\n", b""),
        ("PUT", _) => answer("201 Created", "", b""),
        (_, range) => {
            let last = range.map_or("0", |range| range.split('-').next_back().unwrap());
            answer("202 Accepted", &format!("Location: /up/1\r\nRange: 0-{last}\r\n"), b"")
        }
    });
    let mut options = in_parts(8);
    options.retry = RetryPolicy { tries: 3, outage: Duration::ZERO, ..options.retry };
    assert_eq!(push(&server, options).await.unwrap(), Pushed::Uploaded);
    assert_eq!(count(&server, "POST"), 3);
}

/// Who comes while the registry is not well leaves what is kept to the next one.
#[tokio::test]
async fn an_upload_is_kept_while_the_registry_is_not_well() {
    let server = blobs(|seen, _| match seen.method.as_str() {
        "HEAD" => Answer::Bytes(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec()),
        _ => answer("503 Service Unavailable", "", b""),
    });
    let (kept, place) = (Memory::default(), format!("http://{}/up/0", server.host()));
    let entries = kept.0.clone();
    let name = format!("http://{}/ a/b {}", server.host(), descriptor().digest);
    entries.lock().unwrap().insert(name.clone(), place.clone());
    push(&server, ClientOptions { uploads: Some(Arc::new(kept)), ..in_parts(8) }).await.unwrap_err();
    assert_eq!(entries.lock().unwrap().get(&name), Some(&place));
}

/// One that takes nothing at the moment has what an earlier process sent all the same.
#[tokio::test]
async fn an_upload_goes_on_where_a_registry_was_not_well_for_a_moment() {
    for refusal in ["503 Service Unavailable", "429 Too Many Requests"] {
        let well = AtomicBool::new(false);
        let server = blobs(move |seen, _| match (seen.method.as_str(), seen.header("content-range")) {
            ("HEAD", _) => {
                Answer::Bytes(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec())
            }
            ("GET", _) => answer("204 No Content", "Location: /up/0\r\nRange: 0-7\r\n", b""),
            ("PATCH", Some(range)) if well.swap(true, Ordering::Relaxed) => {
                let last = range.split('-').next_back().unwrap();
                answer("202 Accepted", &format!("Location: /up/0\r\nRange: 0-{last}\r\n"), b"")
            }
            ("PATCH", _) => answer(refusal, "", b""),
            ("PUT", _) => answer("201 Created", "", b""),
            _ => answer("500 Internal Server Error", "", b""),
        });
        let (kept, place) = (Memory::default(), format!("http://{}/up/0", server.host()));
        let name = format!("http://{}/ a/b {}", server.host(), descriptor().digest);
        kept.0.lock().unwrap().insert(name, place);
        push(&server, ClientOptions { uploads: Some(Arc::new(kept)), ..in_parts(8) }).await.unwrap();
        assert_eq!(count(&server, "POST"), 0, "{refusal}");
        let requests = server.requests();
        let ranges: Vec<&str> = requests.iter().filter_map(|seen| seen.header("content-range")).collect();
        assert_eq!(ranges, ["8-15", "8-15", "16-19"], "{refusal}");
    }
}

/// Where an earlier process was told to go on is a place that the registry chose.
#[tokio::test]
async fn a_kept_place_at_another_host_is_shown_no_credentials() {
    let login = Login { username: "u".to_owned(), password: Secret::new("pw") };
    let login = Credential { login: Some(login), ..Credential::default() };
    let other = keeping(|seen, _| Some(seen.body.len()));
    let server = blobs(|seen, _| match (seen.header("authorization"), seen.method.as_str()) {
        (None, _) => answer("401 Unauthorized", "WWW-Authenticate: Basic realm=\"r\"\r\n", b""),
        (_, "HEAD") => {
            Answer::Bytes(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec())
        }
        _ => panic!("{seen:?}"),
    });
    push(&other, in_parts(8)).await.unwrap();
    let place = format!("http://{}/up/0", other.host());
    let kept = Memory::default();
    kept.0.lock().unwrap().insert(format!("http://{}/ a/b {}", server.host(), descriptor().digest), place);
    let options = ClientOptions {
        uploads: Some(Arc::new(kept)),
        credentials: vec![DockerConfig::with(&server.host(), login)],
        ..in_parts(8)
    };
    let before = other.requests().len();
    push(&server, options).await.unwrap();
    let seen = other.requests();
    assert!(seen.len() > before, "the upload went on there");
    assert!(seen.iter().all(|seen| seen.header("authorization").is_none()), "{seen:?}");
}

#[tokio::test]
async fn a_registry_without_parts_gets_the_whole() {
    let server = keeping(|_, _| None);
    push(&server, in_parts(8)).await.unwrap();
    assert_eq!((count(&server, "PATCH"), count(&server, "PUT")), (1, 1));
    assert_eq!(server.requests().last().unwrap().body, BLOB);
}

/// Some registries take one part of a blob and no other, each in its own way.
#[tokio::test]
async fn a_registry_that_takes_one_part_alone_gets_the_whole() {
    for status in ["416 Range Not Satisfiable", "404 Not Found", "405 Method Not Allowed", "400 Bad Request", ""] {
        for asked in ["404 Not Found", "204 No Content\r\nRange: 0-7"] {
            let server = blobs(move |seen, _| match (seen.method.as_str(), seen.header("content-range")) {
                ("HEAD", _) => {
                    Answer::Bytes(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec())
                }
                ("POST", _) => answer("202 Accepted", "Location: /up/1\r\n", b""),
                ("PATCH", Some("0-7")) => answer("202 Accepted", "Location: /up/1\r\nRange: 0-7\r\n", b""),
                ("GET", _) => Answer::Bytes(
                    format!("HTTP/1.1 {asked}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").into_bytes(),
                ),
                ("PUT", None) if seen.body == BLOB => answer("201 Created", "", b""),
                _ if status.is_empty() => Answer::Bytes(Vec::new()),
                _ => answer(status, "", b""),
            });
            let pushed = push(&server, in_parts(8));
            let pushed = tokio::time::timeout(std::time::Duration::from_secs(20), pushed).await;
            let pushed = pushed.unwrap_or_else(|_| panic!("{status}, {asked}: {} requests", server.requests().len()));
            // A connection that always breaks where the registry says that it stands is the network's failure.
            match (status, &asked[..3]) {
                ("" | "404 Not Found", "204") => drop(pushed.unwrap_err()),
                _ => assert_eq!(pushed.unwrap(), Pushed::Uploaded, "{status}, {asked}"),
            }
        }
    }
}

#[tokio::test]
async fn a_registry_that_claims_too_much_is_not_believed() {
    for range in ["0-30", "0-3"] {
        let server = blobs(move |seen, _| match seen.method.as_str() {
            "HEAD" => {
                Answer::Bytes(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec())
            }
            "PUT" => answer("201 Created", "", b""),
            "POST" => answer("202 Accepted", "Location: /up/1\r\n", b""),
            // The second part moves nothing on.
            _ => answer("202 Accepted", &format!("Location: /up/1\r\nRange: {range}\r\n"), b""),
        });
        let error = push(&server, in_parts(8)).await.unwrap_err();
        assert!(matches!(error, RegistryError::Protocol { .. }), "{error}");
        assert_eq!(count(&server, "PUT"), 0);
    }
}

/// It keeps nothing of an upload in whose part the line broke, and a line can end each connection after so many bytes.
#[tokio::test]
async fn docker_registry_gets_a_blob_over_a_line_that_breaks() {
    const LIMIT: u64 = 150_000;
    let registry = DockerRegistry::start(Access::Open);
    let bytes: &'static [u8] = (0..300_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>().leak();
    let blob = cooper_image::Descriptor::of(cooper_image::MediaType::OciLayerGzip, bytes);
    let wire = Wire::through(&registry.host, |piece| {
        let left = usize::try_from(LIMIT.saturating_sub(piece.at)).unwrap();
        if piece.from == From::Server || piece.bytes.len() < left {
            return Line::Stands;
        }
        piece.bytes.truncate(left);
        Line::Breaks
    });
    // A part that never comes through; parts of which one does and the next does not, on one connection; the whole.
    for part in [400_000, 100_000, 4_000_000] {
        // A repository has not what is in another one.
        let name = format!("{}/of/{part}:1", wire.host()).parse().unwrap();
        let client = Client::new(in_parts(part)).unwrap();
        let before = wire.weight();
        assert_eq!(client.push_blob(&name, &blob, source(bytes), None).await.unwrap(), Pushed::Uploaded, "{part}");
        let sent = wire.weight() - before;
        assert!(
            sent > bytes.len() && sent < bytes.len() + 400_000,
            "{part}: {sent} bytes were sent for {}",
            bytes.len()
        );
    }
}

#[tokio::test]
async fn docker_registry_takes_parts() {
    let registry = DockerRegistry::start(Access::Open);
    let wire = Wire::to(&registry.host);
    let bytes: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let blob = cooper_image::Descriptor::of(cooper_image::MediaType::OciLayerGzip, &bytes);
    let name = format!("{}/a/b:1", wire.host()).parse().unwrap();
    let kept = Arc::new(Memory::default());
    let client = Client::new(ClientOptions { uploads: Some(kept.clone()), ..in_parts(100_000) }).unwrap();
    let leaked: &'static [u8] = Box::leak(bytes.clone().into_boxed_slice());
    assert_eq!(client.push_blob(&name, &blob, source(leaked), None).await.unwrap(), Pushed::Uploaded);
    assert_eq!(client.small_blob(&name, &blob, 1 << 21).await.unwrap(), bytes);
    let sent = wire.sent();
    let count = |words: &str| sent.matches(words).count();
    assert_eq!((count("PATCH /v2/a/b/blobs/uploads/"), count("PUT /v2/a/b/blobs/uploads/")), (12, 1));
    let (first, last) = (count("\r\ncontent-range: 0-99999\r\n"), count("\r\ncontent-range: 1100000-1199999\r\n"));
    assert_eq!((first, last), (1, 1), "each is a part of its own");
    assert!(kept.0.lock().unwrap().is_empty());
}
