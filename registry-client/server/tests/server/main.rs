//! A registry on loopback, from outside: with bytes that are written down here, and with clients of others.

#![allow(clippy::unwrap_used, reason = "a failed expectation of a test is a panic")]

mod algorithms;
mod artifacts;
mod bounds;
mod clients;
mod endpoints;
mod load;
mod mirror;
mod page;
mod protocol;
mod secured;
mod support;
mod users;
mod watching;
