//! Places that a registry names on another server: `urls` of layers, `Location` and `Link` of its answers.
use crate::support::script::{BLOB, blobs, named};
use crate::support::{Scripted, answer, free_port, quick};
use cooper_image::{Descriptor, Digest, MediaType, Platform};
use cooper_registry::credentials::{Credential, DockerConfig, Login};
use cooper_registry::{Client, ClientOptions, Fault, Secret};

fn logged_in(host: &str) -> Client {
    let login = Login { username: "u".to_owned(), password: Secret::new("pw") };
    let credential = Credential { login: Some(login), ..Credential::default() };
    Client::new(ClientOptions { credentials: vec![DockerConfig::with(host, credential)], ..quick() }).unwrap()
}

/// A server that has everything, and that nobody should ask.
fn other() -> Scripted {
    Scripted::start(|_, _| answer("200 OK", "", BLOB))
}

#[tokio::test]
async fn urls_of_layers_are_not_asked() {
    for media_type in [
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ] {
        let other = other();
        let layer = format!(
            r#"{{"mediaType":"{media_type}","digest":"{}","size":{},"urls":["http://{}/layer","http://169.254.169.254/x"]}}"#,
            Digest::sha256(BLOB),
            BLOB.len(),
            other.host()
        );
        let config = Descriptor::of(MediaType::OciConfig, b"{}");
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"{}","digest":"{}","size":2}},"layers":[{layer}]}}"#,
            MediaType::OciManifest,
            config.media_type,
            config.digest
        );
        let server = blobs(move |seen, _| match seen.target.contains("/manifests/") {
            true => answer("200 OK", &format!("Content-Type: {}\r\n", MediaType::OciManifest), manifest.as_bytes()),
            // The registry does not have it, so that there is every reason to look elsewhere.
            false => answer("404 Not Found", "", b""),
        });
        let client = logged_in(&server.host());
        let found = client.resolve(&named(&server), &Platform::host()).await.unwrap();
        let [layer] = &found.document.layers[..] else { panic!("{:?}", found.document) };
        assert_eq!((layer.digest.clone(), layer.media_type.as_str()), (Digest::sha256(BLOB), media_type));
        let error = client.blob(&named(&server), layer, &mut |_: &[u8]| Ok(())).await.unwrap_err();
        assert!(error.is_absence(), "{error}");
        assert_eq!(client.blob_size(&named(&server), &layer.digest).await.unwrap(), None);
        assert!(other.requests().is_empty(), "{:?}", other.requests());
    }
}

/// What is asked for, and where it leads to another server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Led {
    Manifest,
    Tags,
    Catalog,
    Referrers,
}

#[tokio::test]
async fn no_place_elsewhere_gets_credentials() {
    for led in [Led::Manifest, Led::Tags, Led::Catalog, Led::Referrers] {
        for header in ["Location", "Link"] {
            if (led, header) == (Led::Manifest, "Link") {
                // No manifest has a next page.
                continue;
            }
            let other = other();
            let away = other.host();
            let server = blobs(move |seen, _| match seen.header("authorization") {
                None => answer("401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n", b""),
                Some(_) if header == "Location" => {
                    answer("307 Temporary Redirect", &format!("Location: http://{away}{}\r\n", seen.target), b"")
                }
                Some(_) => {
                    let link = format!("Link: <http://{away}{}>; rel=\"next\"\r\n", seen.target);
                    let body = br#"{"schemaVersion":2,"manifests":[],"tags":["1"],"repositories":["a"]}"#;
                    answer("200 OK", &link, body)
                }
            });
            let (client, name) = (logged_in(&server.host()), named(&server));
            // Whether it is followed or refused: nobody there may learn who asks.
            let done = match led {
                Led::Manifest => client.top(&name).await.map(drop),
                Led::Tags => client.tags(&name).await.map(drop),
                Led::Catalog => client.catalog(&server.host()).await.map(drop),
                Led::Referrers => client.referrers(&name, &Digest::sha256("x"), None).await.map(drop),
            };
            assert!(done.is_err(), "{led:?} {header}");
            let asked = server.requests().into_iter().filter(|seen| seen.header("authorization").is_some());
            assert!(asked.count() > 0, "{led:?} {header}: the registry itself gets them");
            for seen in other.requests() {
                assert_eq!((header, seen.header("authorization")), ("Location", None), "{led:?}: {seen:?}");
                assert!(seen.header("cookie").is_none() && seen.body.is_empty(), "{led:?}: {seen:?}");
            }
        }
    }
}

#[tokio::test]
async fn whoever_answers_in_place_of_the_registry_is_named() {
    for status in ["401 Unauthorized", "403 Forbidden", "404 Not Found", "503 Service Unavailable"] {
        let other = Scripted::start(move |_, _| answer(status, "WWW-Authenticate: Basic realm=\"x\"\r\n", b"no"));
        let away = other.host();
        let server = blobs(move |seen, _| {
            answer("307 Temporary Redirect", &format!("Location: http://{away}{}\r\n", seen.target), b"")
        });
        let error = logged_in(&server.host()).top(&named(&server)).await.unwrap_err();
        let (said, hint) = (error.to_string(), error.hint().unwrap());
        let (code, registry, there) = (&status[..3], server.host(), other.host());
        let expected = format!("{registry}/a/b: GET manifest 1: {there}, which it led to, answered {code}");
        assert!(said.starts_with(&expected), "{said}");
        assert!(!hint.contains("cooper login"), "{status}: {hint}");
        assert_eq!(
            code.starts_with("40") && hint.contains(&format!("{there} is sent no credentials")),
            code < "404",
            "{hint}"
        );
    }
    // Nobody is there.
    let away = format!("127.0.0.1:{}", free_port());
    let location = format!("Location: http://{away}/x\r\n");
    let server = blobs(move |_, _| answer("307 Temporary Redirect", &location, b""));
    let error = Client::new(quick()).unwrap().top(&named(&server)).await.unwrap_err();
    assert!(error.to_string().contains(&format!("GET manifest 1: redirected to {away}: ")), "{error}");
    assert_eq!(
        (error.fault(), error.hint()),
        (Fault::Network, Some(format!("check that {away} can be reached from here, and the proxy settings")))
    );
}
