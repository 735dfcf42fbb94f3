//! The client, against registries that are real and against ones that do what a script says.

#![allow(clippy::unwrap_used, reason = "a failed expectation of a test is a panic")]

mod copying;
mod elsewhere;
mod faults_credentials;
mod faults_matrix;
mod faults_pull;
mod faults_push;
mod lists;
mod logins;
mod mirrors;
mod names;
mod parts;
mod parts_from_elsewhere;
mod real_registry;
mod streams;
mod support;
mod surroundings;
mod warnings;
mod web;
mod windows;
