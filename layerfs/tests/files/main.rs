//! What is done with the files of trees, on real ones.

#![allow(missing_docs, clippy::unwrap_used, reason = "a failed expectation of a test is a panic")]

mod add;
mod copy;
mod export;
mod rules;
mod select;
mod trees;
mod view;
