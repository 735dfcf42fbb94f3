//! What a client needs from the machine: certificates and credential helpers. Each case runs in a
//! process of its own with an environment made for it.
use crate::support::clock::Virtual;
use crate::support::told::Told;
use crate::support::wire::{From, Line, Wire};
use crate::support::{Access, DockerRegistry, Scripted, answer, quick, run};
use cooper_image::{Descriptor, MediaType, Platform, Reference};
use cooper_registry::credentials::DockerConfig;
use cooper_registry::{
    Authority, Client, ClientOptions, Clock as _, Fault, HostCertificates, ProxyOptions, RegistryError,
};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Names the inner case to the process that runs it.
const INNER: &str = "COOPER_TEST_INNER";

fn again(test: &str, place: &str, environment: &[(&str, &str)]) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let test = format!("surroundings::{test}");
    command.args(["--exact", &test, "--nocapture"]).env(INNER, place).envs(environment.iter().copied());
    let out = command.output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && said.contains("1 passed"), "{said}");
}

fn absent(host: &str) -> Reference {
    format!("{host}/a/b:absent").parse().unwrap()
}

#[tokio::test]
async fn no_certificate_authority_on_the_machine() {
    let Ok(host) = std::env::var(INNER) else {
        let registry = DockerRegistry::start(Access::Open);
        let nowhere = [("SSL_CERT_FILE", "/nonexistent"), ("SSL_CERT_DIR", "/nonexistent")];
        return again("no_certificate_authority_on_the_machine", &registry.host, &nowhere);
    };
    // Proof that this environment is the bad one.
    assert!(reqwest::Client::builder().build().is_err());
    let error = Client::new(quick()).unwrap().resolve(&absent(&host), &Platform::host()).await.unwrap_err();
    assert!(matches!(error, RegistryError::Status { status: 404, .. }), "{error}");
}

#[tokio::test]
async fn credential_helpers() {
    let Ok(host) = std::env::var(INNER) else {
        let registry = DockerRegistry::start(Access::Password);
        let bin = tempfile::tempdir().unwrap();
        let said = |name: &str, script: &str| {
            let file = bin.path().join(format!("docker-credential-{name}"));
            std::fs::write(&file, format!("#!/bin/sh\nread server\n{script}\n")).unwrap();
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
        };
        let good =
            r#"[ "$1" = get ] && echo "{\"ServerURL\":\"$server\",\"Username\":\"cooper\",\"Secret\":\"cask\"}""#;
        said("good", &format!("[ \"$server\" = {} ] || exit 9\n{good}", registry.host));
        said("none", "echo credentials not found in native keychain; exit 1");
        said("sad", "echo 'no\x1bdice'; exit 1");
        said("loud", "yes");
        said("slow", &format!("sleep 6\n{good}"));
        let path = format!("{}:{}", bin.path().display(), std::env::var("PATH").unwrap());
        return again("credential_helpers", &registry.host, &[("PATH", &path)]);
    };
    let told = Arc::new(Told::default());
    let _told_to = tracing::subscriber::set_default(told.clone());
    for (helper, words) in [
        ("good", "answered 404"),
        ("none", "none are known"),
        ("sad", "it failed: no\\u{1b}dice"),
        ("slow", "answered 404"),
        ("loud", "longer than 65536 bytes"),
        ("absent", "cannot run docker-credential-absent"),
    ] {
        let file = DockerConfig::parse(&format!(r#"{{"credHelpers":{{"{host}":"{helper}"}}}}"#)).unwrap();
        let client = Client::new(ClientOptions { credentials: vec![file], ..quick() }).unwrap();
        let error = client.resolve(&absent(&host), &Platform::host()).await.unwrap_err().to_string();
        assert!(error.contains(words), "{helper}: {error}");
    }
    // Of the one alone that people would wonder about.
    assert_eq!(*told.0.lock().unwrap(), ["waiting for docker-credential-slow, for 60 s at most"]);
}

fn authority(pem: Vec<u8>) -> Authority {
    Authority { file: "ca.crt".to_owned(), pem }
}

struct TlsServer(Child);
impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An https server of files that hold whole answers, and the authority that signed it.
fn tls_server(place: &Path, port: u16, more: &[&str]) -> TlsServer {
    let ca = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
    run("openssl", &[&ca[..], &["-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.pem"]].concat(), place);
    let leaf = ["-CA", "ca.pem", "-CAkey", "ca.key", "-subj", "/CN=leaf", "-keyout", "leaf.key", "-out", "leaf.pem"];
    let names = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"];
    run("openssl", &[&ca[..], &leaf, &names].concat(), place);
    serve(place, port, &[&["-cert", "leaf.pem", "-key", "leaf.key"], more].concat())
}

fn serve(place: &Path, port: u16, more: &[&str]) -> TlsServer {
    let child = Command::new("openssl")
        .args(["s_server", "-HTTP", "-accept", &format!("127.0.0.1:{port}")])
        .args(more)
        .current_dir(place)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let server = TlsServer(child);
    crate::support::await_listener(port);
    server
}

#[tokio::test]
async fn certificates_count_unless_somebody_says_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let port = crate::support::free_port();
    let place = folder.path();
    let host = format!("127.0.0.1:{port}");
    let d = Descriptor::of(MediaType::OciConfig, b"{}");
    let manifest = serde_json::json!({"schemaVersion": 2, "config": d, "layers": []});
    let file = |path: &str, content: String| {
        let file = place.join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, content).unwrap();
    };
    file("v2/a/b/manifests/1", format!("HTTP/1.0 200 OK\r\n\r\n{manifest}"));
    file("v2/down/b/manifests/1", "HTTP/1.0 302 Found\r\nLocation: http://127.0.0.1:1/x\r\n\r\n".to_owned());
    let _server = tls_server(place, port, &[]);
    let authority = std::fs::read(place.join("ca.pem")).unwrap();
    let pull = async |options: ClientOptions, repository: &str| {
        let name = format!("{host}/{repository}:1").parse().unwrap();
        Client::new(options).unwrap().resolve(&name, &Platform::host()).await
    };
    pull(ClientOptions { extra_authorities: vec![authority.clone()], ..quick() }, "a/b").await.unwrap();
    pull(ClientOptions { insecure: vec![host.clone()], ..quick() }, "a/b").await.unwrap();
    let clock = Arc::new(Virtual::default());
    let error = pull(ClientOptions { clock: clock.clone(), ..quick() }, "a/b").await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
    assert_eq!(clock.now(), Duration::ZERO, "it would not be trusted the next time either");
    assert!(error.hint().unwrap().contains("--insecure-registry"), "{:?}", error.hint());
    let error = pull(ClientOptions { extra_authorities: vec![authority], ..quick() }, "down/b").await.unwrap_err();
    assert!(error.to_string().contains("a redirect leads from https to http"), "{error}");
}

/// The server wants to know who we are, and takes what its authority has signed.
#[tokio::test]
async fn a_certificate_of_our_own_is_shown_to_its_host_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (place, port) = (folder.path(), crate::support::free_port());
    let host = format!("127.0.0.1:{port}");
    let _server = tls_server(place, port, &["-Verify", "1", "-verify_return_error", "-CAfile", "ca.pem"]);
    let d = Descriptor::of(MediaType::OciConfig, b"{}");
    let manifest = serde_json::json!({"schemaVersion": 2, "config": d, "layers": []});
    std::fs::create_dir_all(place.join("v2/a/b/manifests")).unwrap();
    std::fs::write(place.join("v2/a/b/manifests/1"), format!("HTTP/1.0 200 OK\r\n\r\n{manifest}")).unwrap();
    let read = |file: &str| std::fs::read(place.join(file)).unwrap();
    let mine = |host: &str| HostCertificates {
        host: host.to_owned(),
        authorities: vec![authority(read("ca.pem"))],
        identity: Some([read("leaf.pem"), read("leaf.key")].concat()),
        unusable: None,
    };
    let pull = async |certificates: Vec<HostCertificates>, insecure: &[&str]| {
        let insecure = insecure.iter().map(|&host| host.to_owned()).collect();
        let extra_authorities = vec![read("ca.pem")];
        let options = ClientOptions { certificates, insecure, extra_authorities, ..quick() };
        let name = format!("{host}/a/b:1").parse().unwrap();
        Client::new(options).unwrap().resolve(&name, &Platform::host()).await
    };
    pull(vec![mine(&host)], &[]).await.unwrap();
    pull(vec![mine(&host)], &[&host]).await.expect("who need not prove itself can want to know who we are");
    let anonymous = HostCertificates { identity: None, ..mine(&host) };
    for others in [vec![], vec![anonymous], vec![mine("127.0.0.1"), mine("127.0.0.1:1")]] {
        let error = pull(others, &[]).await.unwrap_err();
        assert_eq!(error.fault(), Fault::Network, "{error}");
        let hint = error.hint().unwrap();
        assert!(hint.contains(&format!("certs.d/{host}/NAME.cert")), "{error}: {hint}");
    }
    let cannot = "x.cert has no key".to_owned();
    let broken = HostCertificates { identity: Some(b"no PEM".to_vec()), ..mine(&host) };
    for (certificates, words) in [
        (HostCertificates { unusable: Some(cannot.clone()), ..mine(&host) }, cannot.as_str()),
        (broken, "the client certificate for"),
    ] {
        let error = pull(vec![certificates], &[]).await.unwrap_err();
        assert_eq!((error.fault(), error.hint()), (Fault::Caller, None), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    let other = HostCertificates { unusable: Some(cannot), ..mine("other.example") };
    pull(vec![other, mine(&host)], &[]).await.expect("it is of no matter here");
}

/// The other side says that it cannot read what came, which is no matter of certificates.
#[tokio::test]
async fn a_line_that_damages_bytes_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let (place, port) = (folder.path(), crate::support::free_port());
    let d = Descriptor::of(MediaType::OciConfig, b"{}");
    let manifest = serde_json::json!({"schemaVersion": 2, "config": d, "layers": []});
    std::fs::create_dir_all(place.join("v2/a/b/manifests")).unwrap();
    std::fs::write(place.join("v2/a/b/manifests/1"), format!("HTTP/1.0 200 OK\r\n\r\n{manifest}")).unwrap();
    let _server = tls_server(place, port, &[]);
    let authority = std::fs::read(place.join("ca.pem")).unwrap();
    // A first piece asks for a connection, a second one is encrypted.
    for (from, nth) in [(From::Client, 1), (From::Server, 1)] {
        let damaged = Arc::new(AtomicUsize::new(0));
        let counter = damaged.clone();
        let wire = Wire::through(&format!("127.0.0.1:{port}"), move |piece| {
            // Two connections to find the scheme, over http and https; then two that are damaged.
            let is_one = (2..4).contains(&piece.connection) && piece.from == from && piece.nth == nth;
            if is_one && let Some(last) = piece.bytes.last_mut() {
                counter.fetch_add(1, Ordering::Relaxed);
                *last ^= 1;
            }
            Line::Stands
        });
        let options = ClientOptions { extra_authorities: vec![authority.clone()], ..quick() };
        let name = format!("{}/a/b:1", wire.host()).parse().unwrap();
        let found = Client::new(options).unwrap().resolve(&name, &Platform::host()).await;
        found.unwrap_or_else(|e| panic!("{from:?} {nth}: {e}"));
        assert_eq!(damaged.load(Ordering::Relaxed), 2, "{from:?} {nth}");
    }
}

/// As Docker's guide to registries makes one, and as curl and skopeo take it when they are given it.
#[tokio::test]
async fn a_certificate_that_signs_itself_is_taken_where_it_is_configured() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    let make = |name: &str, subject: &str| {
        let files = [format!("{name}.key"), format!("{name}.pem")];
        let new = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-addext", subject];
        run("openssl", &[&new[..], &["-keyout", &files[0], "-out", &files[1]]].concat(), place);
    };
    let localhost = "subjectAltName=DNS:localhost";
    make("own", localhost);
    make("other-name", "subjectAltName=DNS:other.example");
    // Of the same name, and another one all the same.
    make("twin", localhost);
    let d = Descriptor::of(MediaType::OciConfig, b"{}");
    let manifest = serde_json::json!({"schemaVersion": 2, "config": d, "layers": []});
    std::fs::create_dir_all(place.join("v2/a/b/manifests")).unwrap();
    std::fs::write(place.join("v2/a/b/manifests/1"), format!("HTTP/1.0 200 OK\r\n\r\n{manifest}")).unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        for (shown, configured, refusal) in [
            ("own", "own", None),
            ("own", "twin", Some("CaUsedAsEndEntity")),
            ("other-name", "other-name", Some("not valid for name")),
        ] {
            let port = crate::support::free_port();
            let (cert, key) = (format!("{shown}.pem"), format!("{shown}.key"));
            let _server = serve(place, port, &["-cert", &cert, "-key", &key, version]);
            let host = format!("localhost:{port}");
            let authorities = vec![authority(std::fs::read(place.join(format!("{configured}.pem"))).unwrap())];
            let pull = async |trusted: String| {
                let certificates =
                    HostCertificates { host: trusted, authorities: authorities.clone(), ..HostCertificates::default() };
                let options = ClientOptions { certificates: vec![certificates], ..quick() };
                Client::new(options)
                    .unwrap()
                    .resolve(&format!("{host}/a/b:1").parse().unwrap(), &Platform::host())
                    .await
            };
            match (pull(host.clone()).await, refusal) {
                (Ok(_), None) => {}
                (Err(error), Some(words)) => assert!(error.to_string().contains(words), "{version} {shown}: {error}"),
                (got, _) => panic!("{version} {shown} {configured}: {got:?}"),
            }
            assert!(pull("localhost:1".to_owned()).await.is_err(), "{version} {shown}: it is of another port");
        }
    }
}

#[tokio::test]
async fn a_proxy_that_fails_is_named_without_its_password() {
    let proxy = Scripted::start(|_, _| answer("502 Bad Gateway", "", b""));
    let url = Some(format!("http://me:hunter2@{}", proxy.host()));
    let proxies = ProxyOptions { http: None, https: url, bypass: Some("direct.invalid".to_owned()) };
    let client = Client::new(ClientOptions { proxies, ..quick() }).unwrap();
    let ask = async |host: &str| client.resolve(&absent(host), &Platform::host()).await.unwrap_err();
    let error = ask("registry.invalid").await;
    let (said, hint) = (error.to_string(), error.hint().unwrap());
    assert!(said.contains(&format!("by way of the proxy http://{}: ", proxy.host())), "{said}");
    assert!(hint.contains("HTTPS_PROXY") && hint.contains("the proxy reaches registry.invalid"), "{hint}");
    assert!(!format!("{said}{hint}{error:?}").contains("hunter2"), "{error:?}");
    assert!(proxy.requests().iter().all(|seen| seen.method == "CONNECT"), "{:?}", proxy.requests());
    let direct = ask("direct.invalid").await;
    assert!(!direct.to_string().contains("by way of"), "{direct}");
}
