//! The build: resolve, solve the graph, run steps, commit, export. Emits events, never prints.
#![forbid(unsafe_code)]
