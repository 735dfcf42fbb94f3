//! Files behind URLs, from a server that behaves as scripted: what is asked, what is believed, what is refused.
use crate::support::{Answer, Scripted, answer, quick};
use cooper_registry::web::{Validators, WebAnswer, WebError, WebRequest};
use cooper_registry::{Client, Fault, Secret};

/// One answer, made anew for each request.
type Script = Box<dyn Fn() -> Answer + Send + Sync>;

const BODY: &[u8] = b"0123456789";

fn ask(url: String) -> WebRequest {
    WebRequest { url, known: None, authorization: None, limit: 1000 }
}

/// Fetches into memory; counts how many places were opened.
async fn get(request: &WebRequest) -> (Result<WebAnswer<Vec<u8>>, WebError>, usize) {
    let mut opened = 0;
    let mut open = || {
        opened += 1;
        Ok(Vec::new())
    };
    let answer = Client::new(quick()).unwrap().get(request, &mut open).await;
    (answer, opened)
}

fn bytes(answer: Result<WebAnswer<Vec<u8>>, WebError>) -> (Vec<u8>, Validators) {
    match answer.unwrap() {
        WebAnswer::File { to, validators } => (to, validators),
        WebAnswer::Unchanged => panic!("unchanged"),
    }
}

#[tokio::test]
async fn what_breaks_is_fetched_anew_and_whole() {
    let server = Scripted::start(|_, n| match n {
        0 => answer("503 Busy", "", b"later"),
        1 => Answer::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123".to_vec()),
        _ => answer("200 OK", "ETag: \"e\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n", BODY),
    });
    let (came, opened) = get(&ask(format!("http://{}/f", server.host()))).await;
    let (came, validators) = bytes(came);
    assert_eq!((came.as_slice(), opened), (BODY, 2));
    assert_eq!((validators.etag.as_deref(), validators.modified()), (Some("\"e\""), Some(784_111_777)));
    assert_eq!(server.requests()[0].header("accept-encoding"), Some("identity"));
}

#[tokio::test]
async fn what_is_known_is_not_fetched_again() {
    let known = Validators { etag: Some("\"e\"".into()), last_modified: None, date: None };
    for (status, headers) in [("304 Not Modified", ""), ("200 OK", "ETag: W/\"e\"\r\n")] {
        let server =
            Scripted::start(move |_, _| answer(status, headers, if status.starts_with('3') { b"" } else { BODY }));
        let request = WebRequest { known: Some(known.clone()), ..ask(format!("http://{}/f", server.host())) };
        let (came, opened) = get(&request).await;
        assert!(matches!(came, Ok(WebAnswer::Unchanged)), "{status}");
        assert_eq!(opened, 0);
        assert_eq!(server.requests()[0].header("if-none-match"), Some("\"e\""));
    }
    let server = Scripted::start(|_, _| answer("200 OK", "ETag: \"f\"\r\n", BODY));
    let request = WebRequest { known: Some(known), ..ask(format!("http://{}/f", server.host())) };
    assert_eq!(bytes(get(&request).await.0).0, BODY);
}

#[tokio::test]
async fn redirects_lead_to_web_servers_alone_and_leave_authorizations_behind() {
    let other = Scripted::start(|_, _| answer("200 OK", "", BODY));
    let there = other.host();
    let server = Scripted::start(move |seen, _| match seen.target.as_str() {
        "/away" => answer("302 Found", &format!("Location: http://{there}/f\r\n"), b""),
        "/here" => answer("307 Go", "Location: /f\r\n", b""),
        "/file" => answer("302 Found", "Location: file:///etc/passwd\r\n", b""),
        "/ftp" => answer("302 Found", "Location: ftp://h/f\r\n", b""),
        "/loop" => answer("302 Found", "Location: /loop\r\n", b""),
        "/nowhere" => answer("302 Found", "", b""),
        _ => answer("200 OK", "", BODY),
    });
    let url = |path: &str| format!("http://{}{path}", server.host());
    for path in ["/away", "/here"] {
        let request = WebRequest { authorization: Some(Secret::new("Bearer x")), ..ask(url(path)) };
        assert_eq!(bytes(get(&request).await.0).0, BODY, "{path}");
    }
    assert_eq!(other.requests()[0].header("authorization"), None);
    assert!(server.requests().iter().all(|r| r.header("authorization") == Some("Bearer x")));
    for (path, says) in [
        ("/file", "names no host"),
        ("/ftp", "ftp URLs are not allowed"),
        ("/loop", "more than 10 redirects"),
        ("/nowhere", "has no Location"),
    ] {
        let (came, opened) = get(&ask(url(path))).await;
        let error = came.unwrap_err();
        assert!(error.to_string().contains(says), "{path}: {error}");
        assert_eq!((error.fault(), opened), (Fault::Input, 0), "{path}");
    }
}

#[tokio::test]
async fn faults_have_their_owner() {
    let cases: Vec<(&str, Script, Fault, &str)> = vec![
        ("absent", Box::new(|| answer("404 Not Found", "", b"no")), Fault::Registry, "the server answered 404"),
        ("locked", Box::new(|| answer("401 Who", "", b"")), Fault::Auth, "the server answered 401"),
        ("broken", Box::new(|| answer("500 Oops", "", b"")), Fault::Registry, "the server answered 500"),
        ("a part", Box::new(|| answer("206 Partial Content", "", b"0")), Fault::Registry, "the server answered 206"),
        (
            "announced too large",
            Box::new(|| Answer::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 1125899906842624\r\n\r\n".to_vec())),
            Fault::Input,
            "more than 1000 bytes",
        ),
        (
            "endless",
            Box::new(|| Answer::Endless(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec())),
            Fault::Input,
            "more than 1000 bytes",
        ),
        (
            "torn",
            Box::new(|| Answer::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n0123".to_vec())),
            Fault::Network,
            "/f: ",
        ),
    ];
    for (what, script, fault, says) in cases {
        let server = Scripted::start(move |_, _| script());
        let error = get(&ask(format!("http://me:hunter2@{}/f", server.host()))).await.0.unwrap_err();
        assert_eq!(error.fault(), fault, "{what}: {error}");
        assert!(error.to_string().contains(says) && !error.to_string().contains("hunter2"), "{what}: {error}");
    }
    let nobody = format!("http://127.0.0.1:{}/f", crate::support::free_port());
    assert_eq!(get(&ask(nobody)).await.0.unwrap_err().fault(), Fault::Network);
}
