//! What the tests with a scripted registry share: one blob, its name, and a pull of it.

use super::{Answer, Scripted, Seen, answer};
use cooper_image::{Descriptor, MediaType, Reference};
use cooper_registry::{Client, ClientOptions, RegistryError};

pub const BLOB: &[u8] = b"0123456789abcdefghij";

pub fn descriptor() -> Descriptor {
    Descriptor::of(MediaType::OciLayerGzip, BLOB)
}

pub fn named(server: &Scripted) -> Reference {
    format!("{}/a/b:1", server.host()).parse().unwrap()
}

pub async fn fetch(server: &Scripted, options: ClientOptions) -> (Vec<u8>, Result<(), RegistryError>) {
    let mut got = Vec::new();
    let mut sink = |bytes: &[u8]| {
        got.extend_from_slice(bytes);
        Ok(())
    };
    let done = Client::new(options).unwrap().blob(&named(server), &descriptor(), &mut sink).await;
    (got, done)
}

/// A registry whose `/v2/` is fine and that answers blob requests by script.
pub fn blobs(script: impl Fn(&Seen, usize) -> Answer + Send + Sync + 'static) -> Scripted {
    Scripted::start(move |seen, n| if seen.target == "/v2/" { answer("200 OK", "", b"") } else { script(seen, n) })
}
