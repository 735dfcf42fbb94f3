//! Where the paths of a call lead.
//!
//! A path is looked up as its process would: with the top of the step's root as this process's root, and from the
//! process's own directories by way of `/proc/PID`. Must never: use a path of a step before its process's root is in
//! place.

use super::record::{From, Place};
use super::server::Server;
use crate::answers::Call;
use rustix::fs::AtFlags;
use rustix::io::Errno;
use std::ffi::CString;

impl Call<'_> {
    /// Where a path leads that begins at a directory of the process (`AT_FDCWD`, or a descriptor).
    pub(super) fn place(&self, directory: u32, path: Vec<u8>, follow: bool) -> Result<Place, Errno> {
        let (from, path) = match path.as_slice() {
            [] => return Err(Errno::NOENT),
            [b'/', ..] => own_file(&path, follow).unwrap_or((From::Root, path)),
            _ => (From::Below(base(directory)), path),
        };
        Ok(Place { from, path: CString::new(path).map_err(|_| Errno::INVAL)?, follow })
    }

    /// The same of a path in its memory; with AT_EMPTY_PATH an empty one is the descriptor itself.
    pub(super) fn place_at(&self, directory: u32, address: u64, flags: AtFlags) -> Result<Place, Errno> {
        // Newer kernels take no path at all for an empty one.
        let none = address == 0 && flags.contains(AtFlags::EMPTY_PATH);
        let path = if none { Vec::new() } else { self.string(address)? };
        if path.is_empty() && flags.contains(AtFlags::EMPTY_PATH) {
            return descriptor(directory);
        }
        self.place(directory, path, !flags.contains(AtFlags::SYMLINK_NOFOLLOW))
    }

    /// Goes where the path of a place begins: it is good for this process from now until the next one is stood by.
    pub(super) fn stand_by(&self, server: &Server, place: &Place) -> Result<(), Errno> {
        if place.from == From::Root && !server.has_other_roots() {
            return Ok(());
        }
        self.in_own(|own| {
            rustix::process::fchdir(own)?;
            server.take_root_of_caller()?;
            match &place.from {
                From::Below(base) => rustix::process::chdir(base.as_str()),
                From::Descriptors => rustix::process::chdir("fd"),
                From::Root => Ok(()),
            }
        })
    }
}

/// A descriptor of the process, whatever it is of.
pub(super) fn descriptor(number: u32) -> Result<Place, Errno> {
    let (from, path) = match number as i32 {
        libc::AT_FDCWD => (From::Below(base(number)), ".".to_owned()),
        number => (From::Descriptors, number.to_string()),
    };
    Ok(Place { from, path: CString::new(path).map_err(|_| Errno::INVAL)?, follow: true })
}

fn base(directory: u32) -> String {
    match directory as i32 {
        libc::AT_FDCWD => "cwd".to_owned(),
        number => format!("fd/{number}"),
    }
}

/// What a path means by `/proc/self` and its like: descriptors of the process, and its directories. Only names behind
/// which the kernel leaves `/proc/PID` at once: nothing may climb in it. Without `follow` such a name alone is a link, and
/// not what it leads to.
fn own_file(path: &[u8], follow: bool) -> Option<(From, Vec<u8>)> {
    let own: [&[u8]; 3] = [b"/proc/self/", b"/proc/thread-self/", b"/dev/"];
    let below = own.iter().find_map(|prefix| path.strip_prefix(*prefix))?;
    let name = below.iter().position(|byte| *byte == b'/').map_or(below, |end| below.get(..end).unwrap_or_default());
    let (number, rest) = match name {
        b"fd" => {
            let below = below.strip_prefix(b"fd/")?;
            let digits = below.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let (number, rest) = below.split_at_checked(digits)?;
            (Some(std::str::from_utf8(number).ok()?.parse::<i32>().ok()?), rest)
        }
        b"cwd" | b"root" if !path.starts_with(b"/dev/") => (None, below.strip_prefix(name)?),
        _ => return None,
    };
    let base = number.map_or_else(|| String::from_utf8_lossy(name).into_owned(), |number| format!("fd/{number}"));
    match (rest, number) {
        ([], _) if !follow => None,
        ([], Some(number)) => Some((From::Descriptors, number.to_string().into_bytes())),
        // A slash behind a name says that it is a directory, which is found out by going there.
        ([] | [b'/'], _) => Some((From::Below(base), b".".to_vec())),
        ([b'/', rest @ ..], _) => Some((From::Below(base), rest.iter().copied().skip_while(|b| *b == b'/').collect())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_descriptors_are_the_process_own() {
        let below = |base: &str, path: &str| Some((From::Below(base.to_owned()), path.as_bytes().to_vec()));
        for (path, own) in [
            ("/dev/fd/12", Some((From::Descriptors, b"12".to_vec()))),
            ("/proc/thread-self/fd/0", Some((From::Descriptors, b"0".to_vec()))),
            ("/proc/self/fd/3/../x", below("fd/3", "../x")),
            ("/proc/self/fd/3/", below("fd/3", ".")),
            ("/proc/self/fd/3//etc", below("fd/3", "etc")),
            ("/proc/self/cwd", below("cwd", ".")),
            ("/proc/self/root/etc/x", below("root", "etc/x")),
            ("/proc/self/fd/", None),
            ("/proc/self/fd/..", None),
            ("/proc/self/fd/1x", None),
            ("/proc/self/fd/99999999999", None),
            ("/proc/self/../1/root", None),
            ("/proc/self/fd/../../1/root", None),
            ("/proc/self/task/../../1/root", None),
            ("/proc/self/cwdx", None),
            ("/dev/cwd", None),
            ("/dev/stdout", None),
            ("/etc/passwd", None),
        ] {
            assert_eq!(own_file(path.as_bytes(), true), own, "{path}");
        }
        assert_eq!(own_file(b"/dev/fd/12", false), None);
        assert_eq!(own_file(b"/dev/fd/12/x", false), below("fd/12", "x"));
    }
}
