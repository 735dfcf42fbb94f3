//! File-system layers: walk, select, diff, whiteouts, deterministic tar, apply, compression.
#![forbid(unsafe_code)]
