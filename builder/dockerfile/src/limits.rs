//! The bounds of this room: how much foreign text is read before an error is the answer.
//!
//! Holds constants only. No bound may be raised by the text that it bounds.

/// Largest Dockerfile, in bytes.
pub const FILE_BYTES: usize = 16 * 1024 * 1024;
/// Longest line of a Dockerfile without its line end, in bytes.
pub const LINE_BYTES: usize = 65_535;
/// Largest body of one heredoc, in bytes.
pub const HEREDOC_BYTES: usize = 4 * 1024 * 1024;
/// Most instructions in one Dockerfile.
pub const INSTRUCTIONS: usize = 10_000;
/// Most stages in one Dockerfile.
pub const STAGES: usize = 1_000;
/// Most errors and most warnings that are told; the rest is summed up.
pub const DIAGNOSTICS: usize = 1_000;
/// Largest result of expanding one word, in bytes.
pub const WORD_BYTES: usize = 1024 * 1024;
/// Deepest nesting of `${…}` in one word.
pub const WORD_DEPTH: usize = 64;
/// Most work spent on one word: bytes copied plus characters compared.
pub const WORD_COST: usize = 64 * 1024 * 1024;
/// Largest ignore file, in bytes.
pub const IGNORE_BYTES: usize = 4 * 1024 * 1024;
/// Most patterns in one ignore file.
pub const IGNORE_PATTERNS: usize = 10_000;
