//! Bounds on the parts of a layer tar. The bounds on whole layers are in `cooper_image::limits`.
//!
//! Gives: constants only. Must never: be read from configuration; a stranger's layer is not a
//! reason to change them.

/// Largest body of one extended header (PAX `x` or `g`), in bytes.
pub const EXTENDED_HEADER_BYTES: u64 = 1024 * 1024;
/// Longest name or link target of an entry, in bytes.
pub const NAME_BYTES: u64 = 64 * 1024;
/// Most components in the name of an entry. Programs that use whole paths cannot go deeper than half of it.
pub const DEPTH: usize = 4096;
/// Largest window that a zstd frame may ask for, as a power of two (128 MiB).
pub const ZSTD_WINDOW_LOG: u32 = 27;
/// Most memory that an xz decoder may take, in bytes.
pub const XZ_MEMORY_BYTES: u64 = 256 * 1024 * 1024;
/// Largest extended attribute value that is read from a file, in bytes (the kernel's own bound).
pub const XATTR_BYTES: usize = 64 * 1024;
/// Longest name of an extended attribute, in bytes (the kernel's own bound).
pub const XATTR_NAME_BYTES: usize = 255;
/// Most directory handles that are kept open while a layer is unpacked.
pub const OPEN_DIRECTORIES: usize = 64;
