//! What copying needs of the client: blobs that come from elsewhere, referrers and their tag, deletes.
use crate::support::clock::Virtual;
use crate::support::script::{BLOB, blobs, descriptor, named};
use crate::support::{Answer, Scripted, Seen, answer, quick};
use cooper_image::{Descriptor, Digest, MediaType, Reference};
use cooper_registry::credentials::{Credential, DockerConfig, Login};
use cooper_registry::{Client, ClientOptions, Clock as _, Fault, Pushed, RegistryError, Secret, StreamSource};
use serde_json::{Value, json};
use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A source that counts how often it is opened.
fn counted() -> (Arc<AtomicUsize>, StreamSource) {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let source = move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(BLOB) as Box<dyn Read + Send>)
    };
    (count, Arc::new(source))
}

#[tokio::test]
async fn a_blob_from_elsewhere_is_asked_for_only_when_its_bytes_are_wanted() {
    let server = blobs(|seen, n| match (seen.method.as_str(), n) {
        ("HEAD", _) => {
            Answer::Bytes(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec())
        }
        ("POST", _) => answer("202 Accepted", "Location: /up/1\r\n", b""),
        ("PUT", 0) => answer("503 Service Unavailable", "", b""),
        ("PUT", 1) => Answer::Bytes(Vec::new()),
        _ => answer("201 Created", "", b""),
    });
    let (count, source) = counted();
    let client = Client::new(quick()).unwrap();
    let pushed = client.push_stream(&named(&server), &descriptor(), source, None).await.unwrap();
    assert_eq!((pushed, count.load(Ordering::Relaxed)), (Pushed::Uploaded, 3));
    assert_eq!(server.requests().pop().unwrap().body, BLOB);

    let server =
        blobs(|_, _| Answer::Bytes(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 20\r\n\r\n".to_vec()));
    let (count, source) = counted();
    let client = Client::new(quick()).unwrap();
    let pushed = client.push_stream(&named(&server), &descriptor(), source, None).await.unwrap();
    assert_eq!((pushed, count.load(Ordering::Relaxed)), (Pushed::Existed, 0));

    // A source that ends early is at fault itself: nothing is tried again.
    let server = blobs(|seen, _| match seen.method.as_str() {
        "HEAD" => Answer::Bytes(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec()),
        "POST" => answer("202 Accepted", "Location: /up/1\r\n", b""),
        _ => answer("201 Created", "", b""),
    });
    let short: StreamSource = Arc::new(|_| Ok(Box::new(&BLOB[..7])));
    let client = Client::new(quick()).unwrap();
    let error = client.push_stream(&named(&server), &descriptor(), short, None).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Local, "{error}");
    assert_eq!(server.requests().iter().filter(|s| s.method == "POST").count(), 1);
}

/// A registry of manifests alone, which notes subjects itself or does not.
fn manifests(header: &'static str, forgets: usize) -> (Scripted, Arc<Mutex<Option<Vec<u8>>>>) {
    let tag: Arc<Mutex<Option<Vec<u8>>>> = Arc::default();
    let (kept, puts) = (Arc::clone(&tag), AtomicUsize::new(0));
    let server = blobs(move |seen: &Seen, _| {
        let is_tag = seen.target.contains("/manifests/sha256-");
        let mut kept = kept.lock().unwrap();
        match seen.method.as_str() {
            "PUT" if is_tag => {
                // Somebody else writes at the same time, and that is what stays.
                let lost = puts.fetch_add(1, Ordering::Relaxed) < forgets;
                *kept = if lost { Some(index(&["theirs"])) } else { Some(seen.body.clone()) };
                answer("201 Created", "", b"")
            }
            "PUT" => answer("201 Created", header, b""),
            "GET" if is_tag => match &*kept {
                Some(bytes) => answer("200 OK", "", bytes),
                None => answer("404 Not Found", "", b""),
            },
            _ => answer("404 Not Found", "", b""),
        }
    });
    (server, tag)
}

fn index(entries: &[&str]) -> Vec<u8> {
    let entries: Vec<Descriptor> =
        entries.iter().map(|text| Descriptor::of(MediaType::OciManifest, text.as_bytes())).collect();
    serde_json::to_vec(&json!({"schemaVersion": 2, "mediaType": MediaType::OciIndex, "manifests": entries})).unwrap()
}

fn signature() -> Vec<u8> {
    let subject = Descriptor::of(MediaType::OciManifest, b"image");
    let config = Descriptor::of(MediaType::Other("application/vnd.test.config".to_owned()), b"{}");
    serde_json::to_vec(&json!({"schemaVersion": 2, "mediaType": MediaType::OciManifest, "config": config,
        "layers": [], "subject": subject, "annotations": {"a": "b"}}))
    .unwrap()
}

/// How often the list was written.
fn puts(server: &Scripted) -> usize {
    server.requests_for("/manifests/sha256-").iter().filter(|seen| seen.method == "PUT").count()
}

async fn push(server: &Scripted, bytes: &[u8]) -> Result<Digest, RegistryError> {
    let name = named(server).with_digest(Digest::sha256(bytes));
    Client::new(quick()).unwrap().push_manifest(&name, bytes, &MediaType::OciManifest).await
}

#[tokio::test]
async fn a_subject_that_the_registry_does_not_note_is_noted_in_the_tag() {
    let digests = |bytes: &[u8]| -> Vec<String> {
        let index: Value = serde_json::from_slice(bytes).unwrap();
        let entries = index["manifests"].as_array().unwrap().iter();
        entries.map(|e| e["digest"].as_str().unwrap().to_owned()).collect()
    };
    let signature = signature();
    let ours = Digest::sha256(&signature).to_string();
    let theirs = Digest::sha256(b"theirs").to_string();

    let (server, tag) = manifests("OCI-Subject: sha256:00\r\n", 0);
    push(&server, &signature).await.unwrap();
    assert!(tag.lock().unwrap().is_none(), "the registry did it");

    let both = vec![theirs, ours.clone()];
    // Of twenty-four writes the last one counts as well.
    for (forgets, wanted) in [(0, vec![ours]), (2, both.clone()), (23, both)] {
        let (server, tag) = manifests("", forgets);
        push(&server, &signature).await.unwrap();
        let kept = tag.lock().unwrap().clone().unwrap();
        assert_eq!(digests(&kept), wanted);
        assert_eq!(puts(&server), forgets + 1, "once more than others have written");
        let entry = &serde_json::from_slice::<Value>(&kept).unwrap()["manifests"][wanted.len() - 1];
        assert_eq!(entry["artifactType"], "application/vnd.test.config");
        assert_eq!(entry["annotations"]["a"], "b");
        // Once more, and it is there once.
        push(&server, &signature).await.unwrap();
        assert_eq!(digests(&tag.lock().unwrap().clone().unwrap()), wanted);
        assert_eq!(puts(&server), forgets + 1, "what is there is not written again");
    }

    let (server, _) = manifests("", 1000);
    let error = push(&server, &signature).await.unwrap_err().to_string();
    assert!(error.contains("others write"), "{error}");
    assert_eq!(puts(&server), 24);
    let (server, tag) = manifests("", 0);
    push(&server, &index(&["x"])).await.unwrap();
    push(&server, br#"{"schemaVersion":2,"layers":[]}"#).await.unwrap();
    assert!(tag.lock().unwrap().is_none(), "nothing refers to anything");
}

/// A registry that looks at conditions, and where others write `theirs` just before our first `busy` writes.
fn conditional(busy: usize, first: Option<Vec<u8>>) -> (Scripted, Arc<Mutex<Option<Vec<u8>>>>) {
    let tag = Arc::new(Mutex::new(first));
    let (kept, puts) = (Arc::clone(&tag), AtomicUsize::new(0));
    let etag = |bytes: &[u8]| format!("\"{}\"", Digest::sha256(bytes));
    let server = blobs(move |seen: &Seen, _| {
        let mut kept = kept.lock().unwrap();
        match (seen.method.as_str(), seen.target.contains("/manifests/sha256-")) {
            ("PUT", true) => {
                let n = puts.fetch_add(1, Ordering::Relaxed);
                if n < busy {
                    let theirs = kept.take().map(|bytes| serde_json::from_slice::<Value>(&bytes).unwrap());
                    let mut theirs = theirs.unwrap_or_else(|| serde_json::from_slice(&index(&[])).unwrap());
                    let other = Descriptor::of(MediaType::OciManifest, format!("theirs {n}").as_bytes());
                    theirs["manifests"].as_array_mut().unwrap().push(serde_json::to_value(other).unwrap());
                    *kept = Some(serde_json::to_vec(&theirs).unwrap());
                }
                let holds = match (&*kept, seen.header("if-match"), seen.header("if-none-match")) {
                    (None, None, Some("*")) => true,
                    (Some(bytes), Some(wanted), None) => etag(bytes) == wanted,
                    (_, None, None) => panic!("a write without a condition"),
                    _ => false,
                };
                if !holds {
                    return answer("412 Precondition Failed", "", b"");
                }
                *kept = Some(seen.body.clone());
                answer("201 Created", "", b"")
            }
            ("GET", true) => match &*kept {
                Some(bytes) => answer("200 OK", &format!("ETag: {}\r\n", etag(bytes)), bytes),
                None => answer("404 Not Found", "", b""),
            },
            ("PUT", _) => answer("201 Created", "", b""),
            _ => answer("404 Not Found", "", b""),
        }
    });
    (server, tag)
}

#[tokio::test]
async fn what_others_enter_at_the_same_time_stays() {
    let signature = signature();
    for (busy, first) in [(0, None), (1, None), (3, None), (3, Some(index(&["old"])))] {
        let before = usize::from(first.is_some());
        let (server, tag) = conditional(busy, first);
        push(&server, &signature).await.unwrap();
        let list: Value = serde_json::from_slice(tag.lock().unwrap().as_ref().unwrap()).unwrap();
        assert_eq!(list["manifests"].as_array().unwrap().len(), before + busy + 1, "{busy}: {list}");
        assert_eq!(puts(&server), busy + 1);
    }
    let (server, _) = conditional(usize::MAX, None);
    let error = push(&server, &signature).await.unwrap_err().to_string();
    assert!(error.contains("others write"), "{error}");
    assert_eq!(puts(&server), 24);
}

/// Between two writes it is waited as long as one takes, by the clock of all waits.
#[tokio::test]
async fn others_get_time_to_write() {
    let clock = Arc::new(Virtual::default());
    let of_server = clock.clone();
    let server = blobs(move |seen, _| match (seen.method.as_str(), seen.target.contains("/manifests/sha256-")) {
        ("PUT", true) => {
            drop(of_server.sleep(Duration::from_millis(700)));
            answer("412 Precondition Failed", "", b"")
        }
        ("PUT", false) => answer("201 Created", "", b""),
        _ => answer("404 Not Found", "", b""),
    });
    let bytes = signature();
    let name = named(&server).with_digest(Digest::sha256(&bytes));
    let client = Client::new(ClientOptions { clock: clock.clone(), ..quick() }).unwrap();
    client.push_manifest(&name, &bytes, &MediaType::OciManifest).await.unwrap_err();
    let waited = clock.now() - 24 * Duration::from_millis(700);
    // The second write follows at once; a third one comes within 700 ms, a fourth one within a second, and all others
    // after a second.
    let most = Duration::from_millis(700 + 1000 + 21 * 1000);
    assert!(waited >= Duration::from_millis(350 + 700 + 21 * 1000) && waited <= most, "{waited:?}");
}

/// Those of one process do not even meet.
#[tokio::test]
async fn many_that_one_process_enters_are_all_there() {
    let (server, tag) = manifests("", 0);
    let client = Client::new(quick()).unwrap();
    let pushes = (0..12).map(|n| {
        let mut document: Value = serde_json::from_slice(&signature()).unwrap();
        document["annotations"]["n"] = n.to_string().into();
        let bytes = serde_json::to_vec(&document).unwrap();
        let name = named(&server).with_digest(Digest::sha256(&bytes));
        let client = client.clone();
        async move { client.push_manifest(&name, &bytes, &MediaType::OciManifest).await }
    });
    for pushed in futures_util::future::join_all(pushes).await {
        pushed.unwrap();
    }
    let list: Value = serde_json::from_slice(tag.lock().unwrap().as_ref().unwrap()).unwrap();
    assert_eq!(list["manifests"].as_array().unwrap().len(), 12);
}

#[tokio::test]
async fn lists_of_referrers_come_in_pages_and_end() {
    let subject = Digest::sha256(b"image");
    let ask = async |server: &Scripted| {
        let client = Client::new(quick()).unwrap();
        client.referrers(&named(server), &subject, None).await
    };
    let server = blobs(|seen, _| match seen.target.contains("page=2") {
        false => answer("200 OK", "Link: <?page=2>; rel=\"next\"\r\n", &index(&["a"])),
        true => answer("200 OK", "", &index(&["b", "c"])),
    });
    assert_eq!(ask(&server).await.unwrap().len(), 3);
    for (link, says) in [("?page=1", "does not end"), ("http://127.0.0.1:1/x", "another place")] {
        let header = format!("Link: <{link}>; rel=next\r\n");
        let server = blobs(move |_, _| answer("200 OK", &header, &index(&["a"])));
        let error = ask(&server).await.unwrap_err().to_string();
        assert!(error.contains(says), "{link}: {error}");
    }
    // Every page leads to another one, and each is as long as it may be.
    let mut entry = Descriptor::of(MediaType::OciManifest, b"long");
    entry.annotations.insert("note".to_owned(), "x".repeat(4_000_000));
    let long = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
    let pages = AtomicUsize::new(0);
    let server = blobs(move |_, _| {
        let next = pages.fetch_add(1, Ordering::Relaxed);
        answer("200 OK", &format!("Link: <?page={next}>; rel=next\r\n"), long.as_bytes())
    });
    assert!(ask(&server).await.unwrap_err().to_string().contains("does not end"));
    assert!(server.requests().len() < 20, "{}", server.requests().len());
    let server = blobs(|_, _| answer("200 OK", "", b"{\"schemaVersion\":2,\"config\":{},\"layers\":[]}"));
    assert!(ask(&server).await.is_err());
    let server = blobs(|_, _| answer("403 Forbidden", "", b""));
    assert_eq!(ask(&server).await.unwrap_err().fault(), Fault::Auth);
}

#[tokio::test]
async fn deletes_say_what_a_registry_that_does_not_delete_may_want() {
    for (status, done) in [("202 Accepted", true), ("204 No Content", true), ("405 Method Not Allowed", false)] {
        let server = blobs(move |_, _| answer(status, "", b""));
        let name: Reference = named(&server);
        let deleted = Client::new(quick()).unwrap().delete(&name).await;
        assert_eq!(deleted.is_ok(), done, "{status}");
        if let Err(error) = deleted {
            assert!(error.hint().unwrap().contains("NAME@DIGEST"), "{error}");
        }
        let seen = server.requests().pop().unwrap();
        assert_eq!((seen.method.as_str(), seen.target.as_str()), ("DELETE", "/v2/a/b/manifests/1"));
    }
}

/// Who may delete and not read what is deleted may delete it; who may do neither is told so of the delete.
#[tokio::test]
async fn what_may_not_be_read_may_still_be_deleted() {
    for (status, done) in [("202 Accepted", true), ("403 Forbidden", false)] {
        let server = blobs(move |seen, _| match (seen.header("authorization"), seen.method.as_str()) {
            (None, _) => answer("401 Unauthorized", "WWW-Authenticate: Basic realm=\"r\"\r\n", b""),
            (_, "DELETE") => answer(status, "", b""),
            _ => answer("403 Forbidden", "", b""),
        });
        let login = Login { username: "u".to_owned(), password: Secret::new("pw") };
        let login = Credential { login: Some(login), ..Credential::default() };
        let options = ClientOptions { credentials: vec![DockerConfig::with(&server.host(), login)], ..quick() };
        let name = named(&server).with_digest(Digest::sha256(signature()));
        let deleted = Client::new(options).unwrap().delete(&name).await;
        assert_eq!(deleted.is_ok(), done, "{status}: {deleted:?}");
        assert_eq!(server.requests().pop().unwrap().method, "DELETE");
        if let Err(error) = deleted {
            assert!(error.to_string().contains(": DELETE manifest "), "{error}");
        }
    }
}

/// A registry that deletes, looks at conditions, and has no list of referrers of its own unless `own_list` says so. Others
/// write `theirs` just before our first `busy` writes.
fn deleting(busy: usize, status: &'static str, own_list: bool) -> (Scripted, Arc<Mutex<Vec<u8>>>) {
    let (gone, held) = (Digest::sha256(signature()), Descriptor::of(MediaType::OciManifest, &signature()));
    let kept = Descriptor::of(MediaType::OciManifest, b"theirs");
    let list = json!({"schemaVersion": 2, "mediaType": MediaType::OciIndex, "manifests": [kept, held]});
    let tag = Arc::new(Mutex::new(serde_json::to_vec(&list).unwrap()));
    let (kept, puts) = (Arc::clone(&tag), AtomicUsize::new(0));
    let server = blobs(move |seen: &Seen, _| {
        let mut kept = kept.lock().unwrap();
        let etag = |bytes: &[u8]| format!("\"{}\"", Digest::sha256(bytes));
        match (seen.method.as_str(), seen.target.contains("/manifests/sha256-")) {
            ("DELETE", false) if seen.target.ends_with(&gone.to_string()) => answer(status, "", b""),
            ("GET", true) => answer("200 OK", &format!("ETag: {}\r\n", etag(&kept)), &kept),
            ("PUT", true) => {
                let n = puts.fetch_add(1, Ordering::Relaxed);
                if n < busy {
                    let mut theirs: Value = serde_json::from_slice(&kept).unwrap();
                    let other = Descriptor::of(MediaType::OciManifest, format!("theirs {n}").as_bytes());
                    theirs["manifests"].as_array_mut().unwrap().push(serde_json::to_value(other).unwrap());
                    *kept = serde_json::to_vec(&theirs).unwrap();
                }
                if seen.header("if-match") != Some(&etag(&kept)) {
                    return answer("412 Precondition Failed", "", b"");
                }
                kept.clone_from(&seen.body);
                answer("201 Created", "", b"")
            }
            ("GET", _) if seen.target.contains("/referrers/") && own_list => answer("200 OK", "", &index(&[])),
            ("GET", _) if seen.target.ends_with(&gone.to_string()) => answer("200 OK", "", &signature()),
            _ => answer("404 Not Found", "", b""),
        }
    });
    (server, tag)
}

#[tokio::test]
async fn what_is_deleted_is_taken_out_of_the_referrers_tag() {
    let done = "202 Accepted";
    for (busy, status, own_list, listed, left) in [
        (0, done, false, false, 1),
        (2, done, false, false, 3),
        (0, done, true, true, 2),
        (0, "405 Method Not Allowed", false, true, 2),
    ] {
        let (server, tag) = deleting(busy, status, own_list);
        let name = named(&server).with_digest(Digest::sha256(signature()));
        let deleted = Client::new(quick()).unwrap().delete(&name).await;
        assert_eq!(deleted.is_ok(), status == done, "{deleted:?}");
        let list: Value = serde_json::from_slice(&tag.lock().unwrap()).unwrap();
        let entries = list["manifests"].as_array().unwrap();
        let is_listed = entries.iter().any(|e| e["digest"] == Digest::sha256(signature()).to_string());
        assert_eq!((is_listed, entries.len()), (listed, left), "{busy} {status} {own_list}: {list}");
    }
}
