//! resolv.conf and hosts of a step in a chroot: plain files in place of the image's, which wait aside and come back.

use super::OWN_NAMES;
use super::placing::{Home, Placing};
use crate::protocol::{At, Fault, Stage};
use crate::provided::files;
use crate::spec::Surroundings;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Write as _};

/// Puts the files into the root.
pub(super) fn put(placing: &mut Placing<'_>, around: &Surroundings) -> Result<(), Fault> {
    let own = rustix::system::uname();
    for (path, content) in files(around, &own.nodename().to_string_lossy())? {
        one(placing, path, &content).at(Stage::Files, path)?;
    }
    Ok(())
}

fn one(placing: &mut Placing<'_>, path: &str, content: &[u8]) -> io::Result<()> {
    let place = placing.place(path)?;
    // What leads into what the sandbox makes itself (`/dev/null`, say) stays as the image wants it.
    if OWN_NAMES.iter().any(|own| place.path.starts_with(own)) {
        return Ok(());
    }
    placing.put(place, Home::None, |parent, name| {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o644))?;
        File::from(file).write_all(content).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))
    })
}
