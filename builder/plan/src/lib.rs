//! Typed instructions to build graph to cache keys and miss reasons. No I/O.
#![forbid(unsafe_code)]
