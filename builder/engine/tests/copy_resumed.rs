//! Copies to a registry whose connections break: whatever the source is, the upload goes on where it was, also in a
//! later process.
#![allow(clippy::unwrap_used, reason = "a failed expectation of a test is a panic")]

#[path = "../../../registry-client/tests/client/support/mod.rs"]
mod support;

use cooper_engine::EngineError;
use cooper_engine::event::{Event, Sink};
use cooper_engine::kept::InStoreLater;
use cooper_engine::toolkit::{
    ArchiveTarget, Kind, LayoutTarget, Name, Origin, Place, Reach, Referrers, RegistryTarget, Shipment, Target, Top,
    pick, ship,
};
use cooper_registry::{Client, ClientOptions};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use support::matrix::{full, layer, options, right, whole};
use support::script::{BLOB, named};
use support::{Answer, Scripted, answer};
use tokio::runtime::Runtime;

struct Silent;

impl Sink for Silent {
    fn event(&self, _: Event) {}
}

fn copy(origin: &Arc<dyn Origin>, target: &dyn Target, name: Name) -> Result<(), EngineError> {
    let mut shipment = Shipment::default();
    let top = Top { descriptor: pick(&**origin, None)?, names: vec![name] };
    shipment.add(origin, top, Referrers::Stay)?;
    ship(&shipment, target, &Silent).map(drop)
}

/// A process: its own client, and the store in this directory.
fn reach(runtime: &Runtime, store: &Path) -> Reach {
    let uploads = Arc::new(InStoreLater::at(store.to_owned()));
    let client = Client::new(ClientOptions { uploads: Some(uploads), ..options() }).unwrap();
    Reach::without_store(client, runtime.handle().clone())
}

/// A registry that has the image and gives the layer's bytes from anywhere.
fn with_ranges() -> Scripted {
    let held = full();
    Scripted::start(move |seen, _| {
        let from = seen
            .header("range")
            .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
        match from {
            Some(from) if seen.target.contains(&layer().digest.to_string()) => {
                let range = format!("Content-Range: bytes {from}-{}/{}\r\n", BLOB.len() - 1, BLOB.len());
                answer("206 Partial Content", &range, BLOB.get(from..).unwrap())
            }
            _ => right(&mut held.lock().unwrap(), seen),
        }
    })
}

#[test]
fn a_copy_goes_on_where_it_was_in_this_process_and_in_a_later_one() {
    let runtime = Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (source, store) = (with_ranges(), dir.path().join("store"));
    let places = {
        let reach = reach(&runtime, &store);
        let origin = reach.origin(&Place::Registry(named(&source))).unwrap();
        let (layout, archive) = (dir.path().join("layout"), dir.path().join("archive.tar"));
        copy(&origin, &LayoutTarget::new(&layout).unwrap(), Name::Tag("t".to_owned())).unwrap();
        let name = Name::Full("app:1".parse().unwrap());
        copy(&origin, &ArchiveTarget::new(Kind::Oci, &archive).unwrap(), name).unwrap();
        let registry = named(&source).to_string();
        [format!("oci-layout://{}:t", layout.display()), format!("oci-archive://{}", archive.display()), registry]
    };
    assert!(!store.exists(), "who sends nothing large opens no store");
    for place in places {
        let place: Place = place.parse().unwrap();
        for later in [false, true] {
            let what = format!("{place}, {}", if later { "a later process" } else { "the same" });
            let held = Arc::<std::sync::Mutex<support::matrix::Held>>::default();
            let (broken, keeps) = (Arc::new(AtomicBool::new(true)), Arc::clone(&held));
            let cut = Arc::clone(&broken);
            // Connections break in the second part of the layer: once, or until the process has given up.
            let target = Scripted::start(move |seen, _| {
                let is_second = seen.body == BLOB.get(8..16).unwrap();
                match is_second && cut.fetch_and(later, Ordering::Relaxed) {
                    true => Answer::Bytes(Vec::new()),
                    false => right(&mut keeps.lock().unwrap(), seen),
                }
            });
            let run = || {
                let reach = reach(&runtime, &store);
                let origin = reach.origin(&place).unwrap();
                let to = named(&target);
                copy(&origin, &RegistryTarget::new(reach, &to), Name::Full(to.clone()))
            };
            if later {
                run().unwrap_err();
                broken.store(false, Ordering::Relaxed);
            }
            run().unwrap_or_else(|error| panic!("{what}: {error}"));
            whole(&what, &held.lock().unwrap());
            let firsts = target.requests().iter().filter(|seen| seen.body == BLOB.get(..8).unwrap()).count();
            assert_eq!(firsts, 1, "{what}: the first part was there");
            assert_eq!(
                std::fs::read_dir(store.join("uploads")).unwrap().count(),
                0,
                "{what}: what is done is forgotten"
            );
        }
    }
    let asked = source.requests();
    let from = asked.iter().filter(|seen| seen.header("range") == Some("bytes=8-")).count();
    assert!(from >= 2, "the rest is asked for: {from}");
}
