//! Tar streams as layers use them: POSIX ustar headers with PAX records (POSIX.1-2017, pax).
//!
//! [`mod@write`] makes bytes that depend only on the entries; [`mod@read`] takes bytes from anybody.

pub(crate) mod header;
pub(crate) mod pax;
pub mod read;
pub mod write;
