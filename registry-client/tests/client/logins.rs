//! Asking a registry whether it takes a login: one that is open, ones that want a password or a token, and ones that
//! would like to have them for somebody else.
use crate::support::{Access, Answer, DockerRegistry, PASSWORD, Scripted, USER, answer, quick};
use cooper_registry::credentials::{Credential, DockerConfig, Login};
use cooper_registry::{Client, ClientOptions, Greeting, RegistryError, Secret};

fn client(host: &str, password: &str) -> Client {
    let login = Login { username: USER.to_owned(), password: Secret::new(password) };
    let credential = Credential { login: Some(login), ..Credential::default() };
    Client::new(ClientOptions { credentials: vec![DockerConfig::with(host, credential)], ..quick() }).unwrap()
}

#[tokio::test]
async fn a_real_registry_judges() {
    let guarded = DockerRegistry::start(Access::Password);
    assert_eq!(client(&guarded.host, PASSWORD).ping(&guarded.host).await.unwrap(), Greeting::Known);
    let wrong = client(&guarded.host, "sentinel-wrong").ping(&guarded.host).await.unwrap_err();
    assert!(matches!(wrong, RegistryError::Status { status: 401, .. }), "{wrong}");
    assert!(!format!("{wrong} {wrong:?}").contains("sentinel"), "{wrong:?}");
    assert!(wrong.to_string().starts_with(&format!("{}: GET /v2/: ", guarded.host)), "{wrong}");
    let open = DockerRegistry::start(Access::Open);
    assert_eq!(client(&open.host, PASSWORD).ping(&open.host).await.unwrap(), Greeting::Open);
}

#[tokio::test]
async fn a_token_is_asked_for_without_a_scope() {
    let server = Scripted::start(|seen, _| match (seen.target.as_str(), seen.header("authorization")) {
        (target, Some("Basic Y29vcGVyOmNhc2s=")) if target.starts_with("/token") => {
            answer("200 OK", "", b"{\"token\":\"good\"}")
        }
        (target, _) if target.starts_with("/token") => answer("401 Unauthorized", "", b"{}"),
        (_, Some("Bearer good")) => answer("200 OK", "", b"{}"),
        _ => {
            let host = seen.header("host").unwrap();
            let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{host}/token\",service=\"s\"\r\n");
            answer("401 Unauthorized", &challenge, b"")
        }
    });
    assert_eq!(client(&server.host(), PASSWORD).ping(&server.host()).await.unwrap(), Greeting::Known);
    assert_eq!(server.requests_for("/token")[0].target, "/token?service=s");
    let wrong = client(&server.host(), "sentinel-wrong").ping(&server.host()).await.unwrap_err();
    assert!(matches!(wrong, RegistryError::Auth { .. }) && !wrong.to_string().contains("sentinel"), "{wrong}");
}

/// A token server elsewhere gets no password, and its anonymous token is not taken for a login.
#[tokio::test]
async fn an_anonymous_token_is_no_login() {
    let server = Scripted::start(|seen, _| match seen.header("authorization") {
        Some("Bearer anonymous") => answer("200 OK", "", b"{}"),
        None if seen.target.contains("/token") => answer("200 OK", "", b"{\"token\":\"anonymous\"}"),
        _ => {
            // The same server under the name of another host.
            let port = seen.header("host").unwrap().rsplit_once(':').unwrap().1.to_owned();
            let challenge = format!("WWW-Authenticate: Bearer realm=\"http://elsewhere.example:{port}/token\"\r\n");
            answer("401 Unauthorized", &challenge, b"")
        }
    });
    let host = server.host();
    let login = Login { username: USER.to_owned(), password: Secret::new(PASSWORD) };
    let credential = Credential { login: Some(login), ..Credential::default() };
    let options = ClientOptions {
        credentials: vec![DockerConfig::with(&host, credential)],
        // Whatever the other host is called, it is reached through this one.
        insecure: vec![format!("elsewhere.example:{}", server.address.port())],
        proxies: cooper_registry::ProxyOptions { http: Some(format!("http://{host}")), ..Default::default() },
        ..quick()
    };
    let error = Client::new(options).unwrap().ping(&host).await.unwrap_err();
    let RegistryError::Auth { cause, advice, .. } = &error else { panic!("{error}") };
    assert!(cause.contains("were not sent") && advice.contains("give it a certificate"), "{error} {advice}");
    let tokens = server.requests_for("/token");
    assert!(!tokens.is_empty() && tokens.iter().all(|t| t.header("authorization").is_none()), "{tokens:?}");
}

#[tokio::test]
async fn what_answers_otherwise_is_no_registry() {
    let other = Scripted::start(|_, _| answer("200 OK", "", b"{}"));
    let away = other.host();
    for (status, headers, words) in [
        ("404 Not Found", String::new(), "answered 404"),
        ("307 Temporary Redirect", format!("Location: http://{away}/v2/\r\n"), ""),
    ] {
        let headers = headers.clone();
        let server = Scripted::start(move |seen, _| match seen.header("authorization") {
            None => answer("401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n", b""),
            Some(_) => answer(status, &headers, b""),
        });
        let said = client(&server.host(), PASSWORD).ping(&server.host()).await;
        match said {
            Err(error) => {
                assert!(!words.is_empty() && error.to_string().contains(words), "{error}");
                assert!(error.hint().unwrap().contains("no registry"), "{:?}", error.hint());
            }
            Ok(_) => assert!(words.is_empty(), "{status}"),
        }
    }
    let seen = other.requests();
    assert!(!seen.is_empty() && seen.iter().all(|s| s.header("authorization").is_none()), "{seen:?}");
    let endless = Scripted::start(|_, _| Answer::Endless(b"HTTP/1.1 500 No\r\n\r\n".to_vec()));
    assert!(client(&endless.host(), PASSWORD).ping(&endless.host()).await.is_err());
}
