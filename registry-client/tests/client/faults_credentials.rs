//! Who gets to see a credential: token servers, redirects and upload places as a script says.
use crate::support::clock::Virtual;
use crate::support::script::{BLOB, blobs, descriptor, fetch, named};
use crate::support::{Answer, Scripted, answer, quick, source};
use cooper_registry::credentials::{Credential, DockerConfig, Login};
use cooper_registry::{Client, ClientOptions, Clock as _, Secret};
use std::sync::Arc;
use std::time::Duration;

/// One answer, made anew for each request.
type Script = Box<dyn Fn() -> Answer + Send + Sync>;

fn with_login(host: &str, credential: Credential) -> ClientOptions {
    ClientOptions { credentials: vec![DockerConfig::with(host, credential)], ..quick() }
}

fn login(password: &str) -> Credential {
    let login = Login { username: "u".to_owned(), password: Secret::new(password) };
    Credential { login: Some(login), ..Credential::default() }
}

/// Bearer tokens, numbered; only the one that `good` names is accepted for blobs.
fn token_server(good: &'static str) -> Scripted {
    blobs(move |seen, n| {
        if seen.target.starts_with("/token") {
            let body = format!("{{\"token\":\"t{n}\",\"expires_in\":300}}");
            return answer("200 OK", "", body.as_bytes());
        }
        if seen.header("authorization") == Some(good) {
            return answer("200 OK", "", BLOB);
        }
        let host = seen.header("host").unwrap();
        let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{host}/token?a=b\",service=\"s 1\"\r\n");
        answer("401 Unauthorized", &challenge, b"")
    })
}

#[tokio::test]
async fn tokens_are_fetched_kept_and_renewed() {
    let server = token_server("Bearer t0");
    let client = Client::new(with_login(&server.host(), login("pw"))).unwrap();
    let mut sink = |_: &[u8]| Ok(());
    for _ in 0..2 {
        client.blob(&named(&server), &descriptor(), &mut sink).await.unwrap();
    }
    let tokens = server.requests_for("/token");
    assert_eq!(tokens.len(), 1, "the second pull has the token");
    assert_eq!(tokens[0].target, "/token?a=b&scope=repository%3Aa%2Fb%3Apull&service=s+1");
    assert_eq!(tokens[0].header("authorization"), Some("Basic dTpwdw=="));

    // The first token is not accepted; one more is fetched, and no third one.
    let server = token_server("Bearer t1");
    let client = Client::new(quick()).unwrap();
    assert!(client.blob(&named(&server), &descriptor(), &mut sink).await.is_err());
    client.blob(&named(&server), &descriptor(), &mut sink).await.unwrap();
    let tokens = server.requests_for("/token");
    assert_eq!(tokens.len(), 2);
    assert_eq!(tokens[0].header("authorization"), None, "anonymous");
}

#[tokio::test]
async fn identity_tokens_are_exchanged() {
    let server = blobs(|seen, _| match (seen.method.as_str(), seen.target.as_str()) {
        ("POST", "/token") => answer("200 OK", "", b"{\"access_token\":\"fresh\"}"),
        _ if seen.header("authorization") == Some("Bearer fresh") => answer("200 OK", "", BLOB),
        _ => {
            let host = seen.header("host").unwrap();
            answer("401 Unauthorized", &format!("WWW-Authenticate: Bearer realm=\"http://{host}/token\"\r\n"), b"")
        }
    });
    let identity = Credential { identity_token: Some(Secret::new("id&1")), ..Credential::default() };
    fetch(&server, with_login(&server.host(), identity)).await.1.unwrap();
    let body = String::from_utf8(server.requests_for("/token")[0].body.clone()).unwrap();
    assert_eq!(body, "grant_type=refresh_token&client_id=cooper&refresh_token=id%261&scope=repository%3Aa%2Fb%3Apull");
}

#[tokio::test]
async fn bad_token_servers() {
    let endless = || Answer::Endless(b"HTTP/1.1 200 OK\r\n\r\n".to_vec());
    let cases: Vec<(&str, Script, &str)> = vec![
        ("http://127.0.0.2:1/token", Box::new(endless), "inside this network"),
        ("ftp://x/token", Box::new(endless), "ftp URL"),
        ("HOST", Box::new(endless), "limit of 65536 bytes"),
        ("HOST", Box::new(|| answer("200 OK", "", b"<html>")), "gave no token"),
        ("HOST", Box::new(|| answer("200 OK", "", b"{\"token\":\"a\\nb\"}")), "no header may hold"),
        (
            "HOST",
            Box::new(|| answer("403 Forbidden", "", b"{\"errors\":[{\"code\":\"DENIED\"}]}")),
            "answered 403: DENIED",
        ),
    ];
    for (realm, script, words) in cases {
        let server = blobs(move |seen, _| {
            if seen.target.starts_with("/token") {
                return script();
            }
            let realm = realm.replace("HOST", &format!("http://{}/token", seen.header("host").unwrap()));
            answer("401 Unauthorized", &format!("WWW-Authenticate: Bearer realm=\"{realm}\"\r\n"), b"")
        });
        let error = fetch(&server, with_login(&server.host(), login("pw"))).await.1.unwrap_err().to_string();
        assert!(error.contains(words), "{realm}: {error}");
    }
}

/// Its waits are its own, and so are its failures; the registry is asked meanwhile.
#[tokio::test]
async fn a_token_server_is_a_host_of_its_own() {
    let clock = Arc::new(Virtual::default());
    let tokens = Scripted::start(|_, n| match n {
        0 => answer("429 Too Many Requests", "Retry-After: 50\r\n", b"{\"errors\":[{\"code\":\"TOOMANYREQUESTS\"}]}"),
        _ => answer("200 OK", "", b"{\"token\":\"good\"}"),
    });
    let realm = tokens.host();
    let server = blobs(move |seen, _| match (seen.target.starts_with("/v2/open/"), seen.header("authorization")) {
        (false, None) => {
            let header = format!("WWW-Authenticate: Bearer realm=\"http://{realm}/token\"\r\n");
            answer("401 Unauthorized", &header, b"")
        }
        _ => answer("200 OK", "", BLOB),
    });
    let mut options = ClientOptions { clock: clock.clone(), ..quick() };
    options.retry.tries = 1;
    let client = Client::new(options.clone()).unwrap();
    let pull = async |client: &Client, repository: &str| {
        let name = format!("{}/{repository}:1", server.host()).parse().unwrap();
        client.small_blob(&name, &descriptor(), 1 << 20).await
    };
    let error = pull(&client, "a/b").await.unwrap_err();
    let asked = format!("{}: GET token for {}/a/b", tokens.host(), server.host());
    assert_eq!(error.to_string(), format!("{asked}: the token server answered 429: TOOMANYREQUESTS"));
    assert!(error.hint().unwrap().contains("the token server limits requests"), "{error}");
    pull(&client, "open/b").await.unwrap();
    assert_eq!(clock.now(), Duration::ZERO, "the registry has said nothing of waiting");
    pull(&client, "a/b").await.unwrap();
    assert!(clock.now() >= Duration::from_secs(50) && clock.now() < Duration::from_secs(52), "{clock:?}");

    let gone = tokens.host();
    drop(tokens);
    let error = pull(&Client::new(options).unwrap(), "a/b").await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("{asked}: ")), "{error}");
    assert!(error.hint().unwrap().contains(&format!("check that {gone} can be reached")), "{error}");
}

/// A token that is needed in the middle of an upload is not worth less than the upload.
#[tokio::test]
async fn a_token_server_that_is_not_well_for_a_moment_ends_no_push() {
    let server = blobs(|seen, n| {
        let host = seen.header("host").unwrap();
        match (seen.method.as_str(), seen.target.starts_with("/token"), seen.header("authorization")) {
            // The token of the first two requests does for the third one no more.
            (_, true, _) if n == 1 => answer("503 Service Unavailable", "", b""),
            (_, true, _) => answer("200 OK", "", format!("{{\"token\":\"t{n}\"}}").as_bytes()),
            ("HEAD", ..) => {
                Answer::Bytes(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec())
            }
            ("POST", _, Some(_)) => answer("202 Accepted", "Location: /up/1\r\n", b""),
            ("PUT", _, Some("Bearer t2")) => answer("201 Created", "", b""),
            _ => {
                let header = format!("WWW-Authenticate: Bearer realm=\"http://{host}/token\"\r\n");
                answer("401 Unauthorized", &header, b"")
            }
        }
    });
    let client = Client::new(quick()).unwrap();
    client.push_blob(&named(&server), &descriptor(), source(BLOB), None).await.unwrap();
    assert_eq!(server.requests_for("/token").len(), 3);
}

/// Who is logged in is not told to log in.
#[tokio::test]
async fn a_user_who_may_not_do_something_is_told_so() {
    for (challenge, named, hint) in [
        ("Basic", true, "the user that is logged in to "),
        ("Bearer realm=\"http://HOST/token\"", true, "the user that is logged in to "),
        ("Bearer realm=\"http://HOST/token\"", false, "log in with: cooper login "),
    ] {
        let server = blobs(move |seen, _| {
            let host = seen.header("host").unwrap();
            match (seen.target.starts_with("/token"), seen.header("authorization")) {
                (true, _) => answer("200 OK", "", b"{\"token\":\"good\"}"),
                (_, None) => {
                    let header = format!("WWW-Authenticate: {}\r\n", challenge.replace("HOST", host));
                    answer("401 Unauthorized", &header, b"")
                }
                _ => answer("403 Forbidden", "", b"{\"errors\":[{\"code\":\"DENIED\"}]}"),
            }
        });
        let options = if named { with_login(&server.host(), login("pw")) } else { quick() };
        let error = fetch(&server, options).await.1.unwrap_err();
        assert!(error.to_string().contains("the registry answered 403: DENIED"), "{error}");
        assert!(error.hint().unwrap().starts_with(hint), "{challenge} {named}: {:?}", error.hint());
    }
}

#[tokio::test]
async fn a_redirect_to_another_host_carries_no_authorization() {
    let other = Scripted::start(|_, _| answer("200 OK", "", BLOB));
    let away = other.host();
    let server = blobs(move |seen, _| match seen.header("authorization") {
        None => answer("401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n", b""),
        Some(_) => answer("307 Temporary Redirect", &format!("Location: http://u:p@{away}/data?sig=1\r\n"), b""),
    });
    let (got, done) = fetch(&server, with_login(&server.host(), login("pw"))).await;
    done.unwrap();
    assert_eq!(got, BLOB);
    let seen = other.requests();
    assert_eq!((seen.len(), seen[0].target.as_str()), (1, "/data?sig=1"));
    assert_eq!(seen[0].header("authorization"), None);
    assert_eq!(server.requests_for("/blobs/").last().unwrap().header("authorization"), Some("Basic dTpwdw=="));
}

#[tokio::test]
async fn an_upload_on_another_host_gets_no_authorization() {
    let other = Scripted::start(|_, _| answer("201 Created", "", b""));
    let away = other.host();
    let server = blobs(move |seen, _| match (seen.header("authorization"), seen.method.as_str()) {
        (None, _) => answer("401 Unauthorized", "WWW-Authenticate: Basic\r\n", b""),
        (_, "HEAD") => {
            Answer::Bytes(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec())
        }
        _ => answer("202 Accepted", &format!("Location: http://{away}/up\r\n"), b""),
    });
    let client = Client::new(with_login(&server.host(), login("pw"))).unwrap();
    client.push_blob(&named(&server), &descriptor(), source(BLOB), None).await.unwrap();
    assert_eq!(other.requests()[0].header("authorization"), None);
    assert_eq!(other.requests()[0].body, BLOB);
}

#[tokio::test]
async fn parallel_transfers_share_one_token() {
    let server = Arc::new(token_server("Bearer t0"));
    let client = Client::new(quick()).unwrap();
    let work = (0..4).map(|_| {
        let (client, server) = (client.clone(), server.clone());
        tokio::spawn(async move { client.blob(&named(&server), &descriptor(), &mut |_: &[u8]| Ok(())).await })
    });
    for task in work.collect::<Vec<_>>() {
        task.await.unwrap().unwrap();
    }
    assert_eq!(server.requests_for("/token").len(), 1);
}
