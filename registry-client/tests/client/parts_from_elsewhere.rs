//! Large blobs that are no files, sent in parts: they are opened once, and where an upload goes on, there.
use crate::support::keeping::{Memory, keeping};
use crate::support::script::{BLOB, blobs, descriptor, fetch, named};
use crate::support::{Answer, Scripted, answer, quick};
use cooper_registry::{Client, ClientOptions, Fault, Pushed, RegistryError, StreamSource};
use std::io::{Error, ErrorKind, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Where a source was opened, one after the other.
type Opened = Arc<Mutex<Vec<u64>>>;

/// Gives these bytes, and then fails in this way.
struct Failing(&'static [u8], ErrorKind);

impl Read for Failing {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        if self.0.is_empty() { Err(Error::new(self.1, "it fails")) } else { self.0.read(buf) }
    }
}

/// Gives the blob; the first time that it is opened, these bytes and a failure.
fn failing_once(first: &'static [u8], kind: ErrorKind) -> (Opened, StreamSource) {
    let opened = Opened::default();
    let notes = opened.clone();
    let source = move |from: u64| {
        let mut notes = notes.lock().unwrap();
        notes.push(from);
        Ok(if notes.len() == 1 && !first.is_empty() {
            Box::new(Failing(first, kind)) as Box<dyn Read + Send>
        } else {
            Box::new(&BLOB[usize::try_from(from).unwrap()..])
        })
    };
    (opened, Arc::new(source))
}

fn sound() -> (Opened, StreamSource) {
    failing_once(b"", ErrorKind::Other)
}

fn in_parts(kept: &Arc<Memory>) -> ClientOptions {
    ClientOptions { part: 8, uploads: Some(kept.clone()), ..quick() }
}

async fn push(server: &Scripted, kept: &Arc<Memory>, source: StreamSource) -> Result<Pushed, RegistryError> {
    Client::new(in_parts(kept)).unwrap().push_stream(&named(server), &descriptor(), source, None).await
}

fn ranges(server: &Scripted) -> Vec<String> {
    server.requests().iter().filter_map(|seen| seen.header("content-range").map(str::to_owned)).collect()
}

fn is_empty(kept: &Memory) -> bool {
    kept.0.lock().unwrap().is_empty()
}

#[tokio::test]
async fn it_is_opened_once_for_all_parts() {
    let server = keeping(|seen, _| Some(seen.body.len()));
    let (opened, source) = sound();
    assert_eq!(push(&server, &Arc::default(), source).await.unwrap(), Pushed::Uploaded);
    assert_eq!(ranges(&server), ["0-7", "8-15", "16-19"]);
    assert_eq!(*opened.lock().unwrap(), [0]);
}

#[tokio::test]
async fn after_a_break_it_is_opened_where_the_upload_goes_on() {
    let server = keeping(|seen, _| match seen.header("content-range") {
        Some("8-15") => Some(3),
        _ => Some(seen.body.len()),
    });
    let (opened, source) = sound();
    push(&server, &Arc::default(), source).await.unwrap();
    assert_eq!(ranges(&server), ["0-7", "8-15", "11-18", "19-19"]);
    assert_eq!(*opened.lock().unwrap(), [0, 11]);
}

#[tokio::test]
async fn another_process_opens_it_where_the_upload_goes_on() {
    let broken = Arc::new(Mutex::new(true));
    let cut = broken.clone();
    let server = keeping(move |seen, _| match seen.header("content-range") {
        Some(range) if range != "0-7" && *cut.lock().unwrap() => Some(0),
        _ => Some(seen.body.len()),
    });
    let kept = Arc::default();
    push(&server, &kept, sound().1).await.unwrap_err();
    assert!(!is_empty(&kept));
    *broken.lock().unwrap() = false;
    let (opened, source) = sound();
    push(&server, &kept, source).await.unwrap();
    assert_eq!(*opened.lock().unwrap(), [8]);
    assert_eq!(ranges(&server).iter().filter(|range| *range == "0-7").count(), 1, "the first part was there");
    assert!(is_empty(&kept), "what is done is forgotten");
}

/// The kind of a source's failure says what becomes of the upload.
#[tokio::test]
async fn a_source_that_fails_leaves_what_is_of_use() {
    for (kind, goes_on, done) in [
        (ErrorKind::Other, true, false),
        (ErrorKind::InvalidData, false, false),
        (ErrorKind::ConnectionReset, false, true),
    ] {
        let server = keeping(|seen, _| Some(seen.body.len()));
        let kept = Arc::default();
        let (_, source) = failing_once(b"another blob", kind);
        let pushed = push(&server, &kept, source).await;
        assert_eq!(pushed.is_ok(), done, "{kind}");
        assert_eq!(!is_empty(&kept), goes_on, "{kind}");
        assert!(pushed.err().is_none_or(|e| e.fault() == Fault::Local), "{kind}");
        assert_eq!(ranges(&server).iter().filter(|range| *range == "0-7").count(), 1 + usize::from(done), "{kind}");
    }
}

/// Only who reads it from its beginning compares it: what went on in the middle can be wrong, and is begun anew.
#[tokio::test]
async fn what_turns_out_to_be_wrong_is_sent_anew() {
    let breaks = AtomicBool::new(true);
    let server = keeping(move |seen, _| match seen.header("content-range") {
        Some("8-15") if breaks.swap(false, Ordering::Relaxed) => Some(0),
        _ => Some(seen.body.len()),
    });
    let (opened, source) = failing_once(b"ANOTHER BLOB THAN THIS", ErrorKind::Other);
    assert_eq!(push(&server, &Arc::default(), source).await.unwrap(), Pushed::Uploaded);
    assert_eq!(*opened.lock().unwrap(), [0, 8, 0]);
}

/// A registry that does not mount begins an upload, also where there is one that goes on.
#[tokio::test]
async fn an_upload_that_goes_on_is_preferred_to_one_that_a_mount_began() {
    let server = keeping(|seen, _| match seen.header("content-range") {
        Some(range) if range != "0-7" => Some(0),
        _ => Some(seen.body.len()),
    });
    let kept = Arc::default();
    push(&server, &kept, sound().1).await.unwrap_err();
    let near = format!("{}/near/by:1", server.host()).parse().unwrap();
    let client = Client::new(in_parts(&kept)).unwrap();
    let before = ranges(&server).len();
    client.push_stream(&named(&server), &descriptor(), sound().1, Some(&near)).await.unwrap_err();
    assert_eq!(ranges(&server)[before], "8-15");
    assert_eq!(server.requests().iter().filter(|seen| seen.method == "DELETE").count(), 1);
}

/// The end of a blob is asked for as such; where a registry knows no ranges, the beginning is left out.
#[tokio::test]
async fn the_end_of_a_blob_comes_without_its_beginning() {
    for takes_ranges in [true, false] {
        let server = blobs(move |seen, _| match seen.header("range") {
            Some("bytes=13-") if takes_ranges => {
                answer("206 Partial Content", "Content-Range: bytes 13-19/20\r\n", &BLOB[13..])
            }
            Some("bytes=13-") => answer("200 OK", "", BLOB),
            _ => Answer::Bytes(Vec::new()),
        });
        let mut got = Vec::new();
        let mut sink = |bytes: &[u8]| {
            got.extend_from_slice(bytes);
            Ok(())
        };
        let client = Client::new(quick()).unwrap();
        client.end_of_blob(&named(&server), &descriptor(), 13, &mut sink).await.unwrap();
        assert_eq!(got, &BLOB[13..], "{takes_ranges}");
        assert!(fetch(&server, quick()).await.1.is_err(), "the whole was not asked for");
    }
}
