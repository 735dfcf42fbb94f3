//! Dockerfile text to AST to typed instructions and diagnostics. No I/O.
#![forbid(unsafe_code)]
