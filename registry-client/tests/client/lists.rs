//! Lists in pages from registries that mean well and from ones that do not.
use crate::support::script::{blobs, named};
use crate::support::{Answer, Scripted, Seen, answer, mirrored, quick};
use cooper_registry::{Client, RegistryError};
use std::sync::atomic::{AtomicUsize, Ordering};

fn page(link: &str, body: &str) -> Answer {
    let headers = if link.is_empty() { String::new() } else { format!("Link: {link}\r\n") };
    answer("200 OK", &headers, body.as_bytes())
}

async fn tags(server: &Scripted) -> Result<Vec<String>, RegistryError> {
    Client::new(quick()).unwrap().tags(&named(server)).await
}

async fn refused(script: impl Fn(&Seen, usize) -> Answer + Send + Sync + 'static, words: &str) -> usize {
    let server = blobs(script);
    let error = tags(&server).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains(words) && text.contains("GET list of tags"), "{words}: {text}");
    assert!(text.len() < 700, "{text}");
    server.requests_for("/tags/list").len()
}

#[tokio::test]
async fn pages_are_followed_to_the_end() {
    let server = blobs(|seen, _| match seen.target.as_str() {
        "/v2/a/b/tags/list" => {
            page("</v2/a/b/tags/list?last=2&n=2>; rel=\"next\"", r#"{"name":"a/b","tags":["1","2"]}"#)
        }
        // Relative to the page, and without quotes; a name that comes twice counts once; a page may be empty.
        "/v2/a/b/tags/list?last=2&n=2" => page("<?last=3>; rel=next", r#"{"tags":["2","3"]}"#),
        "/v2/a/b/tags/list?last=3" => page("</v2/a/b/tags/list?last=4>; rel=\"next\"", r#"{"tags":null}"#),
        "/v2/a/b/tags/list?last=4" => page("</v2/a/b/tags/list?last=1>; rel=\"prev\"", r#"{"tags":["0"]}"#),
        other => panic!("{other}"),
    });
    assert_eq!(tags(&server).await.unwrap(), ["1", "2", "3", "0"]);
    // Of what is not wanted no page is asked for.
    let client = Client::new(quick()).unwrap();
    for (most, pages) in [(1, 1), (2, 1), (3, 2), (4, 4), (9, 4)] {
        let before = server.requests_for("/tags/list").len();
        let some = client.first_tags(&named(&server), most).await.unwrap();
        assert_eq!(some, ["1", "2", "3", "0"][..most.min(4)]);
        assert_eq!(server.requests_for("/tags/list").len() - before, pages, "{most}");
    }
}

#[tokio::test]
async fn a_page_that_fails_is_asked_for_again_and_each_page_has_its_own_tries() {
    let server = blobs(|seen, before| {
        let n: usize = seen.target.rsplit_once('=').map_or(0, |(_, n)| n.parse().unwrap());
        match before {
            0..2 => answer("503 Service Unavailable", "", b""),
            // It breaks off.
            2 => Answer::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"tags\":".to_vec()),
            _ if n < 3 => page(&format!("<?n={}>; rel=next", n + 1), &format!("{{\"tags\":[\"t{n}\"]}}")),
            _ => page("", "{\"tags\":[\"end\"]}"),
        }
    });
    assert_eq!(tags(&server).await.unwrap(), ["t0", "t1", "t2", "end"]);
    assert_eq!(server.requests_for("/tags/list").len(), 16);
}

#[tokio::test]
async fn links_stay_with_the_registry() {
    let other = Scripted::start(|_, _| page("", "{\"tags\":[\"stolen\"]}"));
    for link in [
        format!("<http://{}/v2/a/b/tags/list>; rel=next", other.host()),
        format!("<//{}/v2/a/b/tags/list>; rel=next", other.host()),
        "<https://HOST/v2/a/b/tags/list?last=1>; rel=next".to_owned(),
        "<http://u:p@HOST/v2/a/b/tags/list?last=1>; rel=next".to_owned(),
        "<file:///etc/passwd>; rel=next".to_owned(),
    ] {
        let script = move |seen: &Seen, _: usize| {
            page(&link.replace("HOST", seen.header("host").unwrap()), "{\"tags\":[\"1\"]}")
        };
        assert_eq!(refused(script, "at another place").await, 1);
    }
    let port = other.address.port();
    let next_door =
        move |_: &Seen, _: usize| page(&format!("<http://127.0.0.1:{port}/x>; rel=next"), "{\"tags\":[\"1\"]}");
    refused(next_door, &format!("at another place: http://127.0.0.1:{port}")).await;
    let malformed = |_: &Seen, _: usize| page("<http://[>; rel=next", "{\"tags\":[\"1\"]}");
    assert_eq!(refused(malformed, "Link is malformed").await, 1);
    assert_eq!(other.requests().len(), 0);
}

#[tokio::test]
async fn lists_end() {
    // Around in a circle, of one page and of two.
    assert_eq!(refused(|_, _| page("<?a>; rel=next", "{\"tags\":[\"1\"]}"), "read before").await, 2);
    let two = |seen: &Seen, _: usize| {
        page(if seen.target.ends_with("?a") { "<?b>; rel=next" } else { "<?a>; rel=next" }, "{\"tags\":[\"1\"]}")
    };
    assert_eq!(refused(two, "read before").await, 3);
    // Always another page, with nothing new in it.
    let next = AtomicUsize::new(0);
    let barren = move |_: &Seen, _: usize| {
        let n = next.fetch_add(1, Ordering::SeqCst);
        page(&format!("<?last={n}>; rel=next"), "{\"tags\":[\"1\"]}")
    };
    assert_eq!(refused(barren, "limit of 100 pages without a new name").await, 101);
    // Always new names.
    let next = AtomicUsize::new(0);
    let fertile = move |_: &Seen, _: usize| {
        let n = next.fetch_add(1, Ordering::SeqCst);
        let names: Vec<String> = (0..200_000).map(|i| format!("\"{n}-{i}\"")).collect();
        page(&format!("<?last={n}>; rel=next"), &format!("{{\"tags\":[{}]}}", names.join(",")))
    };
    assert_eq!(refused(fertile, "limit of 1000000 names").await, 6);
    // One page without end.
    let endless = |_: &Seen, _: usize| Answer::Endless(b"HTTP/1.1 200 OK\r\n\r\n{\"tags\":[".to_vec());
    assert_eq!(refused(endless, "exceeds the limit of").await, 1);
    let announced =
        |_: &Seen, _: usize| Answer::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n".to_vec());
    assert_eq!(refused(announced, "exceeds the limit of").await, 1);
}

#[tokio::test]
async fn what_is_no_list_is_refused() {
    for (body, words) in [
        ("", "no such list"),
        ("[]", "no such list"),
        ("{}", "no such list"),
        ("{\"errors\":[]}", "no such list"),
        ("{\"repositories\":[]}", "no such list"),
        ("<html>", "no such list"),
        ("{\"tags\":\"1\"}", "no such list"),
        ("{\"tags\":[1]}", "no such list"),
        ("{\"tags\":[\"a\\u001b[2J\"]}", "\"a\\u{1b}[2J\""),
        ("{\"tags\":[\"../../x\"]}", "no registry may have"),
        ("{\"tags\":[\"\"]}", "no registry may have"),
    ] {
        refused(move |_, _| page("", body), words).await;
    }
    let long = format!("{{\"tags\":[\"{}\"]}}", "x".repeat(100_000));
    refused(move |_, _| page("", &long), "no registry may have").await;
    assert_eq!(tags(&blobs(|_, _| page("", "{\"tags\":null}"))).await.unwrap(), Vec::<String>::new());
    let absent = tags(&blobs(|_, _| answer("404 Not Found", "", b"{}"))).await.unwrap_err();
    assert!(absent.is_absence(), "{absent}");
}

#[tokio::test]
async fn the_catalog_has_a_scope_of_its_own() {
    let server = Scripted::start(|seen, _| match (seen.target.as_str(), seen.header("authorization")) {
        (target, _) if target.starts_with("/token") => answer("200 OK", "", b"{\"token\":\"good\"}"),
        ("/v2/", _) => answer("200 OK", "", b""),
        ("/v2/_catalog", Some("Bearer good")) => {
            page("</v2/_catalog?last=a%2Fb>; rel=\"next\"", r#"{"repositories":["a","a/b"]}"#)
        }
        ("/v2/_catalog?last=a%2Fb", Some("Bearer good")) => page("", r#"{"repositories":["c"]}"#),
        _ => {
            let host = seen.header("host").unwrap();
            let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{host}/token\"\r\n");
            answer("401 Unauthorized", &challenge, b"")
        }
    });
    let client = Client::new(quick()).unwrap();
    assert_eq!(client.catalog(&server.host()).await.unwrap(), ["a", "a/b", "c"]);
    assert_eq!(client.first_repositories(&server.host(), 2).await.unwrap(), ["a", "a/b"]);
    let scopes: Vec<String> = server.requests_for("/token").into_iter().map(|s| s.target).collect();
    assert_eq!(scopes, ["/token?scope=registry%3Acatalog%3A*"]);
    let wrong = blobs(|_, _| page("", r#"{"repositories":["UPPER"]}"#));
    let error = client.catalog(&wrong.host()).await.unwrap_err().to_string();
    assert!(error.contains("GET list of repositories") && error.contains("UPPER"), "{error}");
}

/// A mirror may know only some of the tags: it is not asked.
#[tokio::test]
async fn mirrors_are_not_asked_for_lists() {
    let mirror = Scripted::start(|_, _| page("", "{\"tags\":[\"old\"]}"));
    let server = blobs(|_, _| page("", "{\"tags\":[\"new\"]}"));
    let client = mirrored(&server, &mirror);
    assert_eq!(client.tags(&named(&server)).await.unwrap(), ["new"]);
    assert_eq!(mirror.requests().len(), 0);
}
