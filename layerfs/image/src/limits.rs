//! Sizes accepted from strangers. Every bounded read in Cooper takes its bound from here.

/// Largest manifest or index accepted, in bytes (the registry convention is 4 MiB).
pub const MANIFEST_BYTES: u64 = 4 * 1024 * 1024 + 64 * 1024;
/// Largest `index.json` of a layout that is read or written, in bytes: it lists every image that is there.
pub const LAYOUT_INDEX_BYTES: u64 = 32 * 1024 * 1024;
/// Largest image configuration accepted, in bytes.
pub const CONFIG_BYTES: u64 = 8 * 1024 * 1024;
/// Largest token or error body read from a registry, in bytes.
pub const TOKEN_BYTES: u64 = 64 * 1024;
/// Most layers in one image.
pub const LAYERS: usize = 1000;
/// Deepest nesting of indexes that is followed.
pub const INDEX_DEPTH: usize = 8;
/// Most indexes within one that are looked into for an image.
pub const INDEXES: usize = 1000;
/// Most bytes that one compressed layer may expand to.
pub const LAYER_BYTES: u64 = 512 * 1024 * 1024 * 1024;
/// Most entries in one layer.
pub const LAYER_ENTRIES: u64 = 20_000_000;
/// Most bytes that the archive of a build context may expand to.
pub const CONTEXT_BYTES: u64 = 64 * 1024 * 1024 * 1024;
/// Most entries in the archive of a build context.
pub const CONTEXT_ENTRIES: u64 = 4_000_000;
/// Largest passwd or group file that is read, in bytes.
pub const PASSWD_BYTES: u64 = 10 * 1024 * 1024;
/// Largest Dockerfile or ignore file, in bytes.
pub const DOCKERFILE_BYTES: u64 = 16 * 1024 * 1024;
