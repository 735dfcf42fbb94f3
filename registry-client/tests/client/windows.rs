//! Large blobs, whose parts are asked for beside each other.
use crate::support::clock::Virtual;
use crate::support::script::{blobs, named};
use crate::support::{Access, Answer, DockerRegistry, Scripted, Seen, answer, quick, source};
use cooper_image::{Descriptor, MediaType, Reference};
use cooper_registry::{Client, ClientOptions, Clock as _, RegistryError};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

const MIB: usize = 1 << 20;

/// No two windows of it are alike.
static LARGE: LazyLock<Vec<u8>> = LazyLock::new(|| (0..18 * MIB as u32 + 5).map(|n| (n / 257) as u8).collect());

fn descriptor() -> Descriptor {
    Descriptor::of(MediaType::OciLayerGzip, &LARGE)
}

async fn pull(name: &Reference) -> Result<Vec<u8>, RegistryError> {
    pull_by(quick(), name).await
}

async fn pull_by(options: ClientOptions, name: &Reference) -> Result<Vec<u8>, RegistryError> {
    let mut got = Vec::new();
    let mut sink = |bytes: &[u8]| {
        got.extend_from_slice(bytes);
        Ok(())
    };
    Client::new(options).unwrap().blob(name, &descriptor(), &mut sink).await.map(|()| got)
}

/// First and last byte of a request's range.
fn range(seen: &Seen) -> Option<(usize, usize)> {
    let (first, last) = seen.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
    Some((first.parse().unwrap(), last.parse().unwrap_or(LARGE.len() - 1)))
}

fn part(first: usize, last: usize) -> Answer {
    let header = format!("Content-Range: bytes {first}-{last}/{}\r\n", LARGE.len());
    answer("206 Partial Content", &header, &LARGE[first..=last])
}

/// What a relay lets through that ends each connection after so many bytes.
fn cut(first: usize, last: usize, bytes: usize) -> Answer {
    let Answer::Bytes(mut whole) = part(first, last) else { unreachable!("it is whole") };
    whole.truncate(bytes);
    Answer::Bytes(whole)
}

fn whole() -> Answer {
    answer("200 OK", "Accept-Ranges: bytes\r\n", &LARGE)
}

/// A registry that takes ranges, but for what the script says of them.
fn ranged(script: impl Fn(usize, usize) -> Option<Answer> + Send + Sync + 'static) -> Scripted {
    blobs(move |seen, _| match range(seen) {
        None => whole(),
        Some((first, last)) => script(first, last).unwrap_or_else(|| part(first, last)),
    })
}

fn ranges(server: &Scripted) -> Vec<(usize, usize)> {
    let mut all: Vec<_> = server.requests().iter().filter_map(range).collect();
    all.sort_unstable();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn every_part_is_asked_for_once() {
    let server = ranged(|_, _| None);
    assert!(pull(&named(&server)).await.unwrap() == *LARGE);
    let window = |n: usize| (n * 4 * MIB, ((n + 1) * 4 * MIB).min(LARGE.len()) - 1);
    assert_eq!(ranges(&server), (1..5).map(window).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_registry_gives_parts() {
    let registry = DockerRegistry::start(Access::Open);
    let name: Reference = format!("{}/large/it:1", registry.host).parse().unwrap();
    let client = Client::new(quick()).unwrap();
    client.push_blob(&name, &descriptor(), source(&LARGE), None).await.unwrap();
    assert!(pull(&name).await.unwrap() == *LARGE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_of_ranges_is_asked_once() {
    let server = blobs(|_, _| answer("200 OK", "", &LARGE));
    assert!(pull(&named(&server)).await.unwrap() == *LARGE);
    assert_eq!(server.requests_for("/blobs/").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_parts_lead_to_the_ordinary_way() {
    type Script = fn(usize, usize) -> Option<Answer>;
    let wrong: [(&str, Script); 6] = [
        ("the whole instead of a part", |_, _| Some(whole())),
        ("another place", |first, last| (first == 8 * MIB).then(|| part(first + 1, last))),
        ("too few bytes", |first, last| {
            let header = format!("Content-Range: bytes {first}-{last}/{}\r\n", LARGE.len());
            (first == 12 * MIB && last < LARGE.len() - 1)
                .then(|| answer("206 Partial Content", &header, &LARGE[first..last]))
        }),
        ("a refusal", |_, _| Some(answer("403 Forbidden", "", b""))),
        ("too many", |_, last| (last < LARGE.len() - 1).then(|| answer("429 Too Many Requests", "", b""))),
        ("silence", |first, last| {
            if first == 8 * MIB && last < LARGE.len() - 1 {
                std::thread::sleep(std::time::Duration::from_secs(5));
            }
            None
        }),
    ];
    for (what, script) in wrong {
        let server = ranged(script);
        assert!(pull(&named(&server)).await.unwrap_or_else(|e| panic!("{what}: {e}")) == *LARGE, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_break_the_rest_comes_by_ranges() {
    type Script = fn(usize, usize) -> Option<Answer>;
    let breaks: [(&str, Script); 3] = [
        ("in the middle", |first, last| Some(cut(first, last, 3 * MIB / 2))),
        ("without an answer", |_, last| (last < LARGE.len() - 1).then(|| Answer::Bytes(Vec::new()))),
        ("of one that is not the first", |first, last| (first == 8 * MIB).then(|| cut(first, last, 3 * MIB))),
    ];
    for (what, script) in breaks {
        let server = ranged(script);
        assert!(pull(&named(&server)).await.unwrap_or_else(|e| panic!("{what}: {e}")) == *LARGE, "{what}");
        let whole = server.requests_for("/blobs/").iter().filter(|seen| range(seen).is_none()).count();
        assert_eq!(whole, 1, "{what}: what has come is asked for again");
    }
}

/// Of windows behind a break nothing is of use.
#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_breaks_before_a_window_is_through_carries_no_windows() {
    const CUT: usize = 3 * MIB / 2;
    let bytes = LARGE.repeat(2);
    let blob = Descriptor::of(MediaType::OciLayerGzip, &bytes);
    let (served, size) = (bytes.clone(), bytes.len());
    let server = blobs(move |seen, _| {
        let range = seen.header("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
        let (first, last) = range.unwrap_or(("0", ""));
        let (first, last) = (first.parse::<usize>().unwrap(), last.parse().unwrap_or(size - 1));
        let head = format!("Accept-Ranges: bytes\r\nContent-Range: bytes {first}-{last}/{size}\r\n");
        let status = if range.is_some() { "206 Partial Content" } else { "200 OK" };
        let Answer::Bytes(mut whole) = answer(status, &head, &served[first..=last]) else {
            unreachable!("it is whole")
        };
        whole.truncate(CUT);
        Answer::Bytes(whole)
    });
    let mut got = Vec::new();
    let mut sink = |piece: &[u8]| {
        got.extend_from_slice(piece);
        Ok(())
    };
    Client::new(quick()).unwrap().blob(&named(&server), &blob, &mut sink).await.unwrap();
    assert!(got == bytes);
    let asked = server.requests_for("/blobs/").len();
    assert!(asked <= size.div_ceil(CUT) + 5, "{asked} questions");
}

/// The windows that are under way are asked for once and not again; the rest is.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_part_is_told_holds_back_the_rest() {
    let clock = Arc::new(Virtual::default());
    let (told, of_server) = (AtomicBool::new(false), clock.clone());
    let server = ranged(move |first, last| {
        let is_window = last - first < 4 * MIB;
        if is_window && first == 8 * MIB && !told.swap(true, Ordering::Relaxed) {
            return Some(answer("429 Too Many Requests", "Retry-After: 50\r\n", b""));
        }
        assert!(is_window || of_server.now() >= Duration::from_secs(50), "{first}");
        None
    });
    let options = ClientOptions { clock: clock.clone(), ..quick() };
    assert!(pull_by(options, &named(&server)).await.unwrap() == *LARGE);
    assert!(clock.now() >= Duration::from_secs(50) && clock.now() < Duration::from_secs(55), "{clock:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_in_a_part_are_never_a_success() {
    let server = ranged(|first, last| {
        let header = format!("Content-Range: bytes {first}-{last}/{}\r\n", LARGE.len());
        (first == 8 * MIB).then(|| answer("206 Partial Content", &header, &vec![0; last - first + 1]))
    });
    let error = pull(&named(&server)).await.unwrap_err();
    assert!(matches!(error, RegistryError::Digest { .. }), "{error}");
}
