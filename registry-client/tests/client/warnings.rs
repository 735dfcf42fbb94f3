//! What registries warn of beside their answers.
use crate::support::script::{BLOB, blobs, descriptor, named};
use crate::support::told::Told;
use crate::support::{Answer, Scripted, answer, quick, source};
use cooper_registry::{Client, Pushed};
use std::sync::Arc;

fn warning(text: &str) -> String {
    format!("Warning: 299 - \"{text}\"\r\n")
}

#[tokio::test]
async fn a_client_tells_each_thing_once_of_each_registry() {
    let told = Arc::new(Told::default());
    let _guard = tracing::subscriber::set_default(told.clone());
    let storage = Scripted::start(|_, _| answer("200 OK", &warning("I am old"), BLOB));
    let away = format!("http://{}/blob", storage.host());
    let server = blobs(move |seen, n| match (seen.method.as_str(), seen.target.as_str()) {
        ("GET", target) if target.contains("/tags/") => answer(
            "200 OK",
            &(warning("a \\\"token\\\" ends\u{202e}") + "Warning: 110 - \"stale\"\r\n"),
            b"{\"tags\":[]}",
        ),
        ("GET", _) => answer("307 Temporary Redirect", &format!("Location: {away}\r\n"), b""),
        ("HEAD", _) => {
            let head = format!("HTTP/1.1 404 Not Found\r\n{}Connection: close\r\n\r\n", warning("failures can warn"));
            Answer::Bytes(head.into_bytes())
        }
        ("POST", _) => answer("202 Accepted", "Location: /up/1\r\n", b""),
        // A try that is repeated warns as well, and not twice.
        _ if n == 0 => answer("503 Service Unavailable", &warning("the disk is nearly full"), b""),
        _ => answer("201 Created", &warning("the disk is nearly full"), b""),
    });
    let (client, name) = (Client::new(quick()).unwrap(), named(&server));
    for _ in 0..2 {
        client.tags(&name).await.unwrap();
    }
    client.small_blob(&name, &descriptor(), 1 << 20).await.unwrap();
    let pushed = client.push_blob(&name, &descriptor(), source(BLOB), None).await;
    assert_eq!(pushed.unwrap(), Pushed::Uploaded);
    let (registry, storage) = (server.host(), storage.host());
    let expected = [
        format!("registry {registry} says: a \"token\" ends\\u{{202e}}"),
        format!("registry {storage} says: I am old"),
        format!("registry {registry} says: failures can warn"),
        format!("registry {registry} says: the disk is nearly full"),
    ];
    assert_eq!(*told.0.lock().unwrap(), expected);
    Client::new(quick()).unwrap().tags(&name).await.unwrap();
    assert_eq!(told.0.lock().unwrap().len(), 5, "another client tells it again");
}
