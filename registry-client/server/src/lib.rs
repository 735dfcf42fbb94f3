//! The embedded registry: the OCI distribution specification over Cooper's store.
#![forbid(unsafe_code)]
