//! Layers from outside: hostile archives, round trips, and the agreement with other tars.
// A part of the scenery that cannot be set up ends the test, as it should.
#![allow(clippy::unwrap_used)]

mod changes;
mod forge;
mod hostile_bytes;
mod hostile_paths;
mod marks;
mod random;
mod readers;
mod recorded;
mod round_trip;
mod scene;
mod stacks;
mod trees;
mod unpackers;
mod wholes;
