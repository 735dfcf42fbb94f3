//! A mirror before an upstream that counts what it is asked, is slow, lies, or is not there.
use crate::support::{Server, send};
use cooper_image::{Descriptor, Digest, MediaType};
use cooper_registry_server::{Coming, Manifest, MirrorOptions, ServerOptions, Sink, Upstream, UpstreamError};
use cooper_store::Store;
use serde_json::json;
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// An upstream in memory.
#[derive(Debug, Default)]
struct Fake {
    /// By `repository reference`.
    manifests: Mutex<HashMap<String, Vec<u8>>>,
    blobs: Mutex<HashMap<String, Vec<u8>>>,
    /// By subject.
    referrers: Mutex<HashMap<String, Vec<Descriptor>>>,
    refuses: AtomicBool,
    asked: Mutex<Vec<String>>,
    down: AtomicBool,
    hangs: AtomicBool,
    /// What begins so is never answered, if it is anything.
    never: Mutex<String>,
    slow: AtomicBool,
}

impl Fake {
    fn ask(&self, what: String) -> Result<(), UpstreamError> {
        self.asked.lock().unwrap().push(what);
        let down = self.down.load(Ordering::Relaxed);
        if down { Err(UpstreamError::Failed("down".to_owned())) } else { Ok(()) }
    }

    /// What it was asked since the last time.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// Publishes an image of one layer under a tag; gives the digests of manifest and layer.
    fn publish(&self, tag: &str, layer: &[u8]) -> (String, String) {
        let digest = |bytes: &[u8]| Digest::sha256(bytes).to_string();
        let part = |media_type: &str, bytes: &[u8]| {
            self.blobs.lock().unwrap().insert(digest(bytes), bytes.to_vec());
            json!({"mediaType": media_type, "digest": digest(bytes), "size": bytes.len()})
        };
        let document = json!({"schemaVersion": 2, "mediaType": MANIFEST,
            "config": part("application/vnd.oci.image.config.v1+json", b"{}"),
            "layers": [part("application/vnd.oci.image.layer.v1.tar", layer)]});
        let bytes = document.to_string().into_bytes();
        let named = digest(&bytes);
        let mut all = self.manifests.lock().unwrap();
        all.insert(format!("library/app {named}"), bytes.clone());
        all.insert(format!("library/app {tag}"), bytes);
        (named, digest(layer))
    }
}

impl Upstream for Fake {
    fn manifest<'a>(
        &'a self,
        repository: &'a str,
        reference: &'a str,
        known: Option<&'a Digest>,
    ) -> Coming<'a, Manifest> {
        Box::pin(async move {
            self.ask(format!("manifest {reference}"))?;
            let is_never = |never: &String| !never.is_empty() && reference.starts_with(never.as_str());
            if self.hangs.load(Ordering::Relaxed) || is_never(&self.never.lock().unwrap()) {
                std::future::pending::<()>().await;
            }
            let found = self.manifests.lock().unwrap().get(&format!("{repository} {reference}")).cloned();
            let bytes = found.ok_or(UpstreamError::Absent)?;
            if known == Some(&Digest::sha256(&bytes)) {
                return Ok(Manifest::Unchanged);
            }
            let digest = Digest::sha256(&bytes);
            Ok(Manifest::Changed { bytes, digest, media_type: MediaType::OciManifest })
        })
    }

    fn referrers<'a>(&'a self, _: &'a str, subject: &'a Digest) -> Coming<'a, Vec<Descriptor>> {
        Box::pin(async move {
            self.ask("referrers".to_owned())?;
            if self.hangs.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            if self.refuses.load(Ordering::Relaxed) {
                return Err(UpstreamError::Refused("no".to_owned()));
            }
            self.referrers.lock().unwrap().get(&subject.to_string()).cloned().ok_or(UpstreamError::Absent)
        })
    }

    fn blob<'a>(&'a self, _: &'a str, blob: &'a Descriptor, sink: Sink<'a>) -> Coming<'a, ()> {
        Box::pin(async move {
            self.ask(format!("blob {}", blob.digest))?;
            if self.hangs.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            let bytes =
                self.blobs.lock().unwrap().get(&blob.digest.to_string()).cloned().ok_or(UpstreamError::Absent)?;
            for piece in bytes.chunks(100_000) {
                sink(piece).map_err(|e| UpstreamError::Failed(e.to_string()))?;
                if self.slow.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            Ok(())
        })
    }
}

/// An artifact of a kind.
fn referrer(kind: &str, note: &str) -> Descriptor {
    let mut d = Descriptor::of(MediaType::OciManifest, note.as_bytes());
    d.artifact_type = Some(kind.to_owned());
    d.annotations.insert("note".to_owned(), note.to_owned());
    d
}

fn mirror(root: &Path, upstream: &Arc<Fake>, fresh: Duration) -> Server {
    patient(root, upstream, fresh, Duration::from_secs(60))
}

fn patient(root: &Path, upstream: &Arc<Fake>, fresh: Duration, patience: Duration) -> Server {
    let mut options = ServerOptions::new(Store::open(root).unwrap());
    let upstream = Arc::clone(upstream) as Arc<dyn Upstream>;
    options.mirror = Some(MirrorOptions { upstream, fresh, patience, agent: "mirror/itself".to_owned() });
    Server::with(options)
}

const LONG: Duration = Duration::from_secs(3600);

#[test]
fn what_is_asked_for_is_fetched_once_and_stays() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Arc::<Fake>::default());
    let layer: Vec<u8> = (0..400_000_u32).flat_map(u32::to_le_bytes).collect();
    let (manifest, digest) = upstream.publish("v1", &layer);
    let server = mirror(dir.path(), &upstream, LONG);
    let blob = format!("/v2/library/app/blobs/{digest}");
    // Nothing names it yet, so that nobody may have it fetched.
    assert_eq!(server.get(&blob).code(), "BLOB_UNKNOWN");
    assert!(upstream.asked().is_empty());
    for _ in 0..2 {
        let answer = server.send("HEAD", "/v2/library/app/manifests/v1", &[], b"");
        assert_eq!((answer.status, &answer.headers["docker-content-digest"]), (200, &manifest));
        assert_eq!(server.get(&format!("/v2/library/app/manifests/{manifest}")).status, 200);
    }
    assert_eq!(upstream.asked(), ["manifest v1"]);
    // The size is known before the blob is here, and nothing is lost.
    let head = server.send("HEAD", &blob, &[], b"");
    assert_eq!((head.status, head.headers["content-length"].as_str()), (200, "1600000"));
    assert!(upstream.asked().is_empty());
    assert!(Store::open(dir.path()).unwrap().fsck().unwrap().problems.is_empty());
    let part = server.send("GET", &blob, &[("Range", "bytes=1000-1999")], b"");
    assert_eq!((part.status, part.body == layer[1000..2000]), (206, true));
    for _ in 0..2 {
        let whole = server.get(&blob);
        assert_eq!((whole.status, whole.body == layer), (200, true));
    }
    assert_eq!(upstream.asked(), [format!("blob {digest}")]);
    drop(server);
    // Also for another process, and without the upstream.
    upstream.down.store(true, Ordering::Relaxed);
    let server = mirror(dir.path(), &upstream, LONG);
    assert!(server.get(&blob).body == layer);
    let text = server.get("/metrics").text();
    assert!(text.contains("cooper_registry_mirror_total{kind=\"blob\",result=\"hit\"} 1"), "{text}");
}

#[test]
fn many_who_want_one_blob_have_it_fetched_once() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Arc::<Fake>::default());
    let layer: Vec<u8> = (0..300_000_u32).flat_map(u32::to_be_bytes).collect();
    let (_, digest) = upstream.publish("v1", &layer);
    upstream.slow.store(true, Ordering::Relaxed);
    let server = mirror(dir.path(), &upstream, LONG);
    let (address, blob) = (server.address, format!("/v2/library/app/blobs/{digest}"));
    std::thread::scope(|scope| {
        let tags: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| send(address, "GET", "/v2/library/app/manifests/v1", &[], b"").status))
            .collect();
        assert!(tags.into_iter().all(|tag| tag.join().unwrap() == 200));
        let all: Vec<_> = (0..8).map(|_| scope.spawn(|| send(address, "GET", &blob, &[], b""))).collect();
        for one in all {
            let answer = one.join().unwrap();
            assert_eq!((answer.status, answer.body == layer), (200, true));
        }
    });
    assert_eq!(upstream.asked(), ["manifest v1".to_owned(), format!("blob {digest}")]);
}

#[test]
fn tags_follow_the_upstream_and_outlive_it() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Arc::<Fake>::default());
    let (first, layer) = upstream.publish("v1", b"first");
    let server = mirror(dir.path(), &upstream, Duration::ZERO);
    let tag = || server.get("/v2/library/app/manifests/v1");
    assert_eq!(tag().headers["docker-content-digest"], first);
    assert_eq!(server.get(&format!("/v2/library/app/blobs/{layer}")).body, b"first");
    let (second, _) = upstream.publish("v1", b"second");
    assert_eq!(tag().headers["docker-content-digest"], second);
    assert_eq!(server.get(&format!("/v2/library/app/manifests/{first}")).status, 200);

    upstream.down.store(true, Ordering::Relaxed);
    upstream.asked();
    // Also while the upstream is not asked again because it has just failed.
    for _ in 0..2 {
        let stale = tag();
        assert_eq!((stale.status, &stale.headers["docker-content-digest"]), (200, &second));
        assert!(stale.headers["warning"].starts_with("299 - "), "{stale:?}");
    }
    assert_eq!(upstream.asked(), ["manifest v1"]);
    let unknown = server.get("/v2/library/app/manifests/v2");
    assert_eq!((unknown.status, unknown.code().as_str()), (502, "UNKNOWN"));
    drop(server);

    upstream.down.store(false, Ordering::Relaxed);
    let server = mirror(dir.path(), &upstream, Duration::ZERO);
    upstream.manifests.lock().unwrap().remove("library/app v1");
    assert_eq!(server.get("/v2/library/app/manifests/v1").code(), "MANIFEST_UNKNOWN");
    assert_eq!(server.get("/v2/library/app/tags/list").json()["tags"], json!([]));
    assert_eq!(server.get("/v2/library/none/manifests/v1").code(), "MANIFEST_UNKNOWN");
}

#[test]
fn other_bytes_than_promised_are_not_kept_and_never_look_whole() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Arc::<Fake>::default());
    let (_, digest) = upstream.publish("v1", b"good bytes");
    let server = mirror(dir.path(), &upstream, LONG);
    let blob = format!("/v2/library/app/blobs/{digest}");
    assert_eq!(server.get("/v2/library/app/manifests/v1").status, 200);
    for wrong in [&b"evil bytes"[..], b"good", b"good bytes and more"] {
        upstream.blobs.lock().unwrap().insert(digest.clone(), wrong.to_vec());
        assert_eq!(server.get(&blob).status, 502);
    }
    upstream.blobs.lock().unwrap().insert(digest.clone(), b"good bytes".to_vec());
    assert_eq!(server.get(&blob).body, b"good bytes");
    // The answer to a large one has begun when it shows; then the last byte never comes.
    let large = vec![1; 400_000];
    let (_, digest) = upstream.publish("v2", &large);
    upstream.blobs.lock().unwrap().insert(digest.clone(), vec![2; 400_000]);
    upstream.slow.store(true, Ordering::Relaxed);
    assert_eq!(server.get("/v2/library/app/manifests/v2").status, 200);
    let broken = server.get(&format!("/v2/library/app/blobs/{digest}"));
    assert_eq!((broken.status, broken.headers["content-length"].as_str()), (200, "400000"));
    assert!(broken.body.len() < 400_000, "{}", broken.body.len());
    assert!(Store::open(dir.path()).unwrap().fsck().unwrap().problems.is_empty());
}

#[test]
fn only_the_upstream_brings_something() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Arc::<Fake>::default());
    upstream.publish("v1", b"layer");
    let server = mirror(dir.path(), &upstream, LONG);
    assert_eq!(server.get("/v2/library/app/manifests/v1").status, 200);
    for (method, path) in [("POST", "/v2/library/app/blobs/uploads/"), ("PUT", "/v2/library/app/manifests/v1")] {
        let answer = server.send(method, path, &[], b"{}");
        assert_eq!((answer.status, answer.code().as_str()), (405, "UNSUPPORTED"));
    }
    assert_eq!(server.get("/v2/_catalog").json()["repositories"], json!(["library/app"]));
}

#[test]
fn what_the_upstream_does_not_have_or_say_is_asked_for_once_in_a_moment() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Arc::<Fake>::default());
    let server = mirror(dir.path(), &upstream, LONG);
    for down in [false, true] {
        upstream.down.store(down, Ordering::Relaxed);
        for reference in [format!("v-{down}"), Digest::sha256(format!("{down}")).to_string()] {
            for _ in 0..3 {
                let answer = server.get(&format!("/v2/library/app/manifests/{reference}"));
                assert_eq!(answer.status, if down { 502 } else { 404 }, "{}", answer.text());
            }
            assert_eq!(upstream.asked(), [format!("manifest {reference}")]);
        }
    }
}

#[test]
fn an_upstream_that_hangs_keeps_nobody_for_long_and_is_asked_once() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Arc::<Fake>::default());
    let (first, layer) = upstream.publish("v1", b"layer");
    let server = patient(dir.path(), &upstream, Duration::ZERO, Duration::from_secs(1));
    assert_eq!(server.get("/v2/library/app/manifests/v1").status, 200);
    upstream.hangs.store(true, Ordering::Relaxed);
    upstream.asked();
    let address = server.address;
    for (path, status) in [
        ("/v2/library/app/manifests/v1".to_owned(), 200),
        ("/v2/library/app/manifests/v2".to_owned(), 502),
        (format!("/v2/library/app/blobs/{layer}"), 502),
    ] {
        let ask = || send(address, "GET", &path, &[], b"");
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            for answer in all.into_iter().map(|one| one.join().unwrap()) {
                assert_eq!(answer.status, status, "{}", answer.text());
                if status == 200 {
                    assert_eq!(answer.headers["docker-content-digest"], first);
                    assert!(answer.headers["warning"].starts_with("299 - "));
                }
            }
        });
        assert_eq!(upstream.asked().len(), 1, "{path}");
    }
}

#[test]
fn a_damaged_manifest_keeps_no_blob_of_another_and_comes_again() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Arc::<Fake>::default());
    let server = mirror(dir.path(), &upstream, LONG);
    let mut both = [upstream.publish("v1", b"one"), upstream.publish("v2", b"two")];
    for (manifest, _) in &both {
        assert_eq!(server.get(&format!("/v2/library/app/manifests/{manifest}")).status, 200);
    }
    // They are looked through in this order.
    both.sort();
    let path = dir.path().join("blobs/sha256").join(both[0].0.trim_start_matches("sha256:"));
    let size = std::fs::metadata(&path).unwrap().len();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, vec![b' '; usize::try_from(size).unwrap()]).unwrap();
    let blob = server.get(&format!("/v2/library/app/blobs/{}", both[1].1));
    assert_eq!((blob.status, blob.body.len()), (200, 3), "{}", blob.text());
    // It comes again when somebody asks for it.
    let again = server.get(&format!("/v2/library/app/manifests/{}", both[0].0));
    assert_eq!((again.status, Digest::sha256(&again.body).to_string()), (200, both[0].0.clone()));
    assert!(Store::open(dir.path()).unwrap().fsck().unwrap().problems.is_empty());
}

#[test]
fn a_blob_on_its_way_is_answered_as_one_that_is_here() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Arc::<Fake>::default());
    let (_, digest) = upstream.publish("v1", b"0123456789");
    let (path, mine, other) = (format!("/v2/library/app/blobs/{digest}"), format!("\"{digest}\""), "\"x\"");
    for fetched in [false, true] {
        let server = mirror(&dir.path().join(fetched.to_string()), &upstream, LONG);
        assert_eq!(server.get("/v2/library/app/manifests/v1").status, 200);
        if fetched {
            assert_eq!(server.get(&path).status, 200);
        }
        for (method, headers, status, body) in [
            ("HEAD", vec![("If-None-Match", mine.as_str())], 304, ""),
            ("GET", vec![("If-None-Match", mine.as_str())], 304, ""),
            ("GET", vec![("Range", "bytes=20-")], 416, ""),
            ("HEAD", vec![("If-None-Match", other)], 200, ""),
            ("GET", vec![("Range", "bytes=2-3"), ("If-Range", mine.as_str())], 206, "23"),
            ("GET", vec![("Range", "bytes=2-3"), ("If-Range", other)], 200, "0123456789"),
        ] {
            let answer = server.send(method, &path, &headers, b"");
            assert_eq!(answer.status, status, "{fetched} {method} {headers:?}");
            assert!(status == 416 || answer.headers["etag"] == mine);
            assert!(status == 416 || answer.text() == body, "{fetched} {method} {headers:?}");
        }
    }
}

#[test]
fn a_mirror_does_not_ask_itself() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Arc::<Fake>::default());
    upstream.publish("v1", b"layer");
    let server = mirror(dir.path(), &upstream, LONG);
    for (agent, status) in [("cooper/1 mirror/itself", 421), ("cooper/1 mirror/another", 200)] {
        let answer = server.send("GET", "/v2/library/app/manifests/v1", &[("User-Agent", agent)], b"");
        assert_eq!(answer.status, status, "{}", answer.text());
    }
}

#[test]
fn referrers_are_the_upstreams_and_asked_for_once_in_a_while() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Arc::<Fake>::default());
    let (subject, _) = upstream.publish("v1", b"layer");
    let (sbom, signature) = (referrer("text/sbom", "one"), referrer("text/signature", "two"));
    // A registry may say one twice, in two pieces of its list.
    let all = vec![sbom.clone(), signature.clone(), sbom.clone()];
    upstream.referrers.lock().unwrap().insert(subject.clone(), all);
    let server = mirror(dir.path(), &upstream, LONG);
    let path = format!("/v2/library/app/referrers/{subject}");
    let listed = |query: &str| {
        let answer = server.get(&format!("{path}{query}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let found = answer.json()["manifests"].as_array().unwrap().clone();
        (found, answer.headers.get("oci-filters-applied").cloned())
    };
    let (found, filters) = listed("");
    assert_eq!((found.len(), filters), (2, None));
    assert!(found.contains(&serde_json::to_value(&sbom).unwrap()), "{found:?}");
    let (found, filters) = listed("?artifactType=text/signature");
    assert_eq!(found, [serde_json::to_value(&signature).unwrap()]);
    assert_eq!(filters.as_deref(), Some("artifactType"));
    assert_eq!(upstream.asked(), ["referrers"]);
    // Nobody refers to what the upstream does not have.
    let absent = server.get(&format!("/v2/library/app/referrers/{}", Digest::sha256("absent")));
    assert_eq!((absent.status, &absent.json()["manifests"]), (200, &json!([])));
    let text = server.get("/metrics").text();
    assert!(text.contains("cooper_registry_mirror_total{kind=\"referrers\",result=\"hit\"} 1"), "{text}");
}

#[test]
fn who_looks_for_signatures_is_never_told_that_there_are_none_by_an_upstream_that_says_nothing() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Arc::<Fake>::default());
    let (subject, _) = upstream.publish("v1", b"layer");
    let server = mirror(dir.path(), &upstream, LONG);
    upstream.refuses.store(true, Ordering::Relaxed);
    for (down, subject, status) in [(true, subject, 502), (false, Digest::sha256("other").to_string(), 403)] {
        upstream.down.store(down, Ordering::Relaxed);
        upstream.asked();
        for _ in 0..2 {
            let answer = server.get(&format!("/v2/library/app/referrers/{subject}"));
            assert_eq!(answer.status, status, "{}", answer.text());
        }
        assert_eq!(upstream.asked(), ["referrers"]);
    }
}

#[test]
fn long_lists_of_the_upstreams_referrers_come_in_pieces() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Arc::<Fake>::default());
    let (subject, _) = upstream.publish("v1", b"layer");
    let all: Vec<Descriptor> = (0..3).map(|n| referrer("x/y", &n.to_string().repeat(1_500_000))).collect();
    upstream.referrers.lock().unwrap().insert(subject.clone(), all);
    let server = mirror(dir.path(), &upstream, LONG);
    let (mut path, mut sizes) = (Some(format!("/v2/library/app/referrers/{subject}")), Vec::new());
    while let Some(next) = path {
        let answer = server.get(&next);
        assert!(answer.body.len() < (4 << 20) + (64 << 10), "{} bytes", answer.body.len());
        sizes.push(answer.json()["manifests"].as_array().unwrap().len());
        let link = answer.headers.get("link").and_then(|link| link.strip_prefix('<'));
        path = link.and_then(|link| link.split_once('>')).map(|(next, _)| next.to_owned());
    }
    assert_eq!(sizes, [2, 1]);
    assert_eq!(upstream.asked(), ["referrers"]);
}

#[test]
fn names_that_the_upstream_does_not_answer_keep_no_others_waiting() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Arc::<Fake>::default());
    let server = patient(dir.path(), &upstream, Duration::ZERO, Duration::from_secs(8));
    let address = server.address;
    let ask = |tag: String| send(address, "GET", &format!("/v2/library/app/manifests/{tag}"), &[], b"");
    let quick: Vec<String> = (0..20).map(|n| format!("quick{n}")).collect();
    let (_, layer) = upstream.publish("here", b"layer");
    assert_eq!(ask("here".to_owned()).status, 200);
    let blob = || send(address, "GET", &format!("/v2/library/app/blobs/{layer}"), &[], b"").status;
    assert_eq!(blob(), 200);
    for tag in &quick {
        upstream.publish(tag, tag.as_bytes());
    }
    std::thread::scope(|scope| {
        *upstream.never.lock().unwrap() = "slow".to_owned();
        upstream.asked();
        let slow: Vec<_> = (0..60).map(|n| scope.spawn(move || ask(format!("slow{n}")).status)).collect();
        let end = Instant::now() + Duration::from_secs(20);
        while upstream.asked.lock().unwrap().len() < slow.len() {
            assert!(Instant::now() < end, "{} of {} were asked about", upstream.asked().len(), slow.len());
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(blob(), 200);
        for tag in quick.iter().chain(&quick) {
            let answer = ask(tag.clone());
            assert_eq!((answer.status, answer.headers.get("warning")), (200, None), "{tag}");
        }
        assert!(slow.into_iter().all(|one| one.join().unwrap() == 502));
    });
}

#[test]
fn a_turn_that_does_not_come_is_nothing_that_the_upstream_said() {
    let (dir, upstream) = (tempfile::tempdir().unwrap(), Arc::<Fake>::default());
    let server = patient(dir.path(), &upstream, LONG, Duration::from_secs(2));
    let address = server.address;
    let subject = |n: usize| Digest::sha256(n.to_string()).to_string();
    for n in 0..200 {
        upstream.publish(&format!("v{n}"), n.to_string().as_bytes());
        upstream.referrers.lock().unwrap().insert(subject(n), Vec::new());
    }
    let manifest = |n: usize| format!("/v2/library/app/manifests/v{n}");
    let referrers = |n: usize| format!("/v2/library/app/referrers/{}", subject(n));
    for path in [&manifest as &(dyn Fn(usize) -> String + Sync), &referrers] {
        let ask = |n: usize| send(address, "GET", &path(n), &[], b"").status;
        // There are fewer turns than names, so that most wait for the answer to another one.
        upstream.hangs.store(true, Ordering::Relaxed);
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..200).map(|n| scope.spawn(move || ask(n))).collect();
            assert!(all.into_iter().all(|one| one.join().unwrap() == 502));
        });
        // It answers again. Nobody may still believe the contrary of those names whose turn did not come.
        upstream.hangs.store(false, Ordering::Relaxed);
        let refused = (0..200).filter(|n| ask(*n) != 200).count();
        assert!((1..150).contains(&refused), "{}: {refused}", path(0));
    }
}
