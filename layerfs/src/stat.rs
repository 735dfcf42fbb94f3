//! What a file is: kind, permissions, owner, time, identity. Plain data, read from the kernel once.
//!
//! Takes: a `statx` answer. Gives: [`Meta`]. Must never: follow a link to find out.

use rustix::fs::Statx;

/// Seconds since the epoch and the nanoseconds after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time {
    /// Whole seconds; negative before 1970.
    pub secs: i64,
    /// Nanoseconds, below 1 000 000 000, counted forward from `secs`.
    pub nanos: u32,
}

/// A device number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Rdev {
    /// Which driver.
    pub major: u32,
    /// Which of its devices.
    pub minor: u32,
}

impl Rdev {
    /// Is it 0:0, the number that overlayfs reads as "deleted below"?
    pub fn is_whiteout(self) -> bool {
        self == Self::default()
    }
}

/// The kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A directory.
    Dir,
    /// A regular file.
    File,
    /// A symbolic link.
    Symlink,
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
}

impl Kind {
    pub(crate) fn of(kind: rustix::fs::FileType) -> Option<Self> {
        use rustix::fs::FileType as T;
        Some(match kind {
            T::Directory => Self::Dir,
            T::RegularFile => Self::File,
            T::Symlink => Self::Symlink,
            T::CharacterDevice => Self::Char,
            T::BlockDevice => Self::Block,
            T::Fifo => Self::Fifo,
            T::Socket => Self::Socket,
            T::Unknown => return None,
        })
    }
}

/// Everything that `lstat` says and a layer or a cache needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// What it is.
    pub kind: Kind,
    /// Permission, setuid, setgid and sticky bits: a part of `0o7777`.
    pub mode: u32,
    /// Owner, as this process's user namespace sees it.
    pub uid: u32,
    /// Group, as this process's user namespace sees it.
    pub gid: u32,
    /// Length in bytes of a regular file or of a symbolic link's target.
    pub size: u64,
    /// Last change of the content.
    pub mtime: Time,
    /// Last change of anything, as the kernel's clock said; no program can set it.
    pub ctime: Time,
    /// When it was made, where the file system tells; what got the number of a deleted file has another one.
    pub btime: Time,
    /// The file system.
    pub dev: u64,
    /// The number within the file system.
    pub ino: u64,
    /// How many names it has.
    pub nlink: u64,
    /// Which device it is, for [`Kind::Char`] and [`Kind::Block`].
    pub rdev: Rdev,
}

impl Meta {
    /// `None` for a kind of file that Linux does not have today.
    pub(crate) fn of(stat: &Statx) -> Option<Self> {
        let raw = u32::from(stat.stx_mode);
        Some(Self {
            kind: Kind::of(rustix::fs::FileType::from_raw_mode(raw))?,
            mode: raw & 0o7777,
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            size: stat.stx_size,
            mtime: Time { secs: stat.stx_mtime.tv_sec, nanos: stat.stx_mtime.tv_nsec },
            ctime: Time { secs: stat.stx_ctime.tv_sec, nanos: stat.stx_ctime.tv_nsec },
            btime: Time { secs: stat.stx_btime.tv_sec, nanos: stat.stx_btime.tv_nsec },
            dev: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
            ino: stat.stx_ino,
            nlink: u64::from(stat.stx_nlink),
            rdev: Rdev { major: stat.stx_rdev_major, minor: stat.stx_rdev_minor },
        })
    }

    /// Do both describe the same, unchanged file? Two looks around a read are compared with it.
    pub fn same_content(&self, other: &Self) -> bool {
        (self.dev, self.ino, self.size, self.mtime) == (other.dev, other.ino, other.size, other.mtime)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_device_zero_is_a_whiteout() {
        assert!(Rdev { major: 0, minor: 0 }.is_whiteout());
        assert!(!Rdev { major: 0, minor: 1 }.is_whiteout());
        assert!(!Rdev { major: 1, minor: 0 }.is_whiteout());
    }

    #[test]
    fn unknown_kinds_are_not_guessed() {
        assert_eq!(Kind::of(rustix::fs::FileType::Unknown), None);
        assert_eq!(Kind::of(rustix::fs::FileType::Fifo), Some(Kind::Fifo));
    }
}
