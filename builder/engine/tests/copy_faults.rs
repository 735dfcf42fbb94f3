//! Every request of a copy from one registry to another, with everything that can go wrong with its answer: once, and
//! always. What holds for each is what holds for a pull and a push.
#![allow(clippy::unwrap_used, reason = "a failed expectation of a test is a panic")]

#[path = "../../../registry-client/tests/client/support/mod.rs"]
mod support;

use cooper_engine::EngineError;
use cooper_engine::event::{Event, Sink};
use cooper_engine::toolkit::{Name, Place, Reach, Referrers, RegistryTarget, Shipment, Top, pick, ship};
use cooper_image::Reference;
use cooper_registry::Client;
use std::error::Error;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;
use support::Scripted;
use support::matrix::{FAULTS, full, judge, options, registry, sound, whole};
use support::script::named;
use tokio::runtime::Handle;

/// Which of the two registries is wrong.
#[derive(Clone, Copy, PartialEq)]
enum At {
    Source,
    Target,
}

/// The requests of a copy: a method, and a part of the target.
const REQUESTS: &[(At, &str, &str)] = &[
    (At::Source, "GET", "/manifests/1"),
    (At::Source, "GET", "/blobs/sha256"),
    (At::Target, "HEAD", "/blobs/sha256"),
    (At::Target, "POST", "/blobs/uploads/"),
    (At::Target, "PATCH", "/up/"),
    (At::Target, "PUT", "/up/"),
    (At::Target, "PUT", "/manifests/1"),
];

struct Silent;

impl Sink for Silent {
    fn event(&self, _: Event) {}
}

fn copy(runtime: &Handle, from: Reference, to: Reference) -> Result<(), EngineError> {
    let reach = Reach::without_store(Client::new(options()).unwrap(), runtime.clone());
    let origin = reach.origin(&Place::Registry(from))?;
    let mut shipment = Shipment::default();
    let top = Top { descriptor: pick(&*origin, None)?, names: vec![Name::Full(to.clone())] };
    shipment.add(&origin, top, Referrers::Stay)?;
    ship(&shipment, &RegistryTarget::new(reach, &to), &Silent).map(drop)
}

/// In time, or it does not end.
fn ends(what: &str, runtime: &Handle, from: &Scripted, to: &Scripted) -> Result<(), String> {
    let (runtime, from, to) = (runtime.clone(), named(from), named(to));
    let (send, receive) = channel();
    std::thread::spawn(move || send.send(copy(&runtime, from, to)));
    let done = receive.recv_timeout(Duration::from_secs(20)).unwrap_or_else(|_| panic!("{what}: it does not end"));
    done.map_err(|error| {
        let causes = std::iter::successors(Some(&error as &dyn Error), |error| (*error).source());
        causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
    })
}

#[test]
fn every_answer_goes_wrong_in_every_way() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (at, method, target) in REQUESTS {
        for fault in FAULTS {
            for always in [false, true] {
                let what = format!("{} for {method} {target}, {}", fault.name, if always { "always" } else { "once" });
                let (holding, held) = (full(), Arc::default());
                let place = if *at == At::Source { &holding } else { &held };
                let (wrong, strikes) = registry(place, fault, (method, target), always);
                let right = sound(if *at == At::Source { &held } else { &holding });
                let (from, to) = if *at == At::Source { (&wrong, &right) } else { (&right, &wrong) };
                let done = ends(&what, runtime.handle(), from, to);
                assert!(*strikes.lock().unwrap() > 0, "{what}: it was not struck");
                // That it has a blob of this size, a registry can say of any.
                let believed = *method == "HEAD" && ["other bytes", "no end"].contains(&fault.name);
                if done.is_ok() && !believed {
                    whole(&what, &held.lock().unwrap());
                }
                judge(&what, &wrong, done, fault.passes && !always);
            }
        }
    }
}
