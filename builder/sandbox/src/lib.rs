//! Runs one process isolated, from a plain specification.
#![forbid(unsafe_code)]
