//! From typed instructions to a build graph, to cache keys, to the reasons of a miss.
//!
//! Takes: a [`cooper_dockerfile::instruction::Dockerfile`], a [`request::PlanRequest`] and the configurations of base
//! images. Gives: an [`op::Plan`] in which nothing is left to expand, a [`key::KeyRecord`] for each step, and
//! [`reason::Reason`]s. Must never: do I/O, or read a clock, the environment or randomness; the same input gives the
//! same plan and the same keys on every machine.
//!
//! In reading order: `request` and `op` (what goes in, what comes out), `stage` and `scope` (names and variables),
//! `context`, `needs` and `graph` (which stages, images and named contexts take part), `lower` (instructions to steps),
//! `build` (all of it together), `epoch` and `notice` (what the caller has to know before), `key`, `record`, `reason`
//! and `difference` (the cache), `dump`, `outlook` and `dot` (plan and keys as text).
#![forbid(unsafe_code)]

pub mod build;
pub mod build_args;
pub mod call;
pub mod context;
pub mod difference;
pub mod dot;
pub mod dump;
pub mod epoch;
mod expand;
mod fault;
mod graph;
mod history;
pub mod key;
pub mod lint;
mod lower;
pub mod mount;
pub mod needs;
pub mod notice;
pub mod op;
pub mod outlook;
pub mod reason;
pub mod record;
pub mod request;
mod scope;
pub mod signal;
mod stage;
mod support;
