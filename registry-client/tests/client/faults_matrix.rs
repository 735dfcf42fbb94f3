//! Every request of a pull and of a push, with everything that can go wrong with its answer: once, and always.
//!
//! What holds for each: it ends; what it calls a success is one, byte for byte; what passes is survived when it happens
//! once; and a failure says which registry was asked for what. The table is `FAULTS` × `REQUESTS`; that of copies is
//! among the tests of the engine.
use crate::support::matrix::{FAULTS, config, full, judge, layer, manifest, options, registry, whole};
use crate::support::script::{BLOB, named};
use crate::support::source;
use cooper_image::{Descriptor, MediaType, Platform, Reference};
use cooper_registry::{Client, RegistryError};
use std::sync::Arc;
use std::time::Duration;

/// The requests of a pull and of a push: a method, and a part of the target.
const REQUESTS: &[(&str, &str, &str)] = &[
    ("pull", "GET", "/manifests/1"),
    ("pull", "GET", "/blobs/sha256"),
    ("push", "HEAD", "/blobs/sha256"),
    ("push", "POST", "/blobs/uploads/"),
    ("push", "PATCH", "/up/"),
    ("push", "PUT", "/up/"),
    ("push", "PUT", "/manifests/1"),
];

async fn pull(name: &Reference) -> Result<(), RegistryError> {
    let client = Client::new(options()).unwrap();
    let found = client.resolve(name, &Platform::host()).await?;
    assert_eq!(found.document.layers, [layer()], "a manifest that is none was taken for one");
    let bytes = client.small_blob(name, &layer(), 1 << 20).await?;
    assert_eq!(bytes, BLOB, "wrong bytes were called a success");
    Ok(())
}

async fn push(name: &Reference) -> Result<(), RegistryError> {
    let client = Client::new(options()).unwrap();
    for (blob, bytes) in [(layer(), BLOB), (Descriptor::of(MediaType::OciConfig, config()), config())] {
        client.push_blob(name, &blob, source(bytes), None).await?;
    }
    let bytes = manifest();
    client.push_manifest(name, &bytes, &MediaType::OciManifest).await.map(drop)
}

#[tokio::test]
async fn every_answer_goes_wrong_in_every_way() {
    for (work, method, target) in REQUESTS {
        for fault in FAULTS {
            for always in [false, true] {
                let what =
                    format!("{work}: {} for {method} {target}, {}", fault.name, if always { "always" } else { "once" });
                let held = if *work == "pull" { full() } else { Arc::default() };
                let (server, strikes) = registry(&held, fault, (method, target), always);
                let name = named(&server);
                let run = async { if *work == "pull" { pull(&name).await } else { push(&name).await } };
                let done = tokio::time::timeout(Duration::from_secs(20), run).await;
                let done = done.unwrap_or_else(|_| panic!("{what}: it does not end"));
                judge(&what, &server, done.as_ref().map(drop).map_err(ToString::to_string), fault.passes && !always);
                assert!(*strikes.lock().unwrap() > 0, "{what}: it was not struck");
                // That it has a blob of this size, a registry can say of any.
                let believed = *method == "HEAD" && ["other bytes", "no end"].contains(&fault.name);
                if *work == "push" && done.is_ok() && !believed {
                    whole(&what, &held.lock().unwrap());
                }
            }
        }
    }
}
