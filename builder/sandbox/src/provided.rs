//! Files that a step is given from outside its layers: resolv.conf, hosts and a script; and the
//! empty mount points (stubs) that had to be made for them, which must not stay in the layer.

use crate::StepSpec;
use crate::isolated;
use crate::mount_api::{attach, inside, inside_layers, new_memory, on_host, plainly_inside, read_only_copy_of};
use crate::protocol::{At, Control, Fault, Stage, Status, StubKind};
use crate::spec::{Network, Surroundings};
use crate::sys::Reach;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

const HERE: Stage = Stage::Files;
/// Files that a step is given in place of the image's.
pub const PROVIDED: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];
/// Largest resolv.conf taken over from the host.
const RESOLV_BYTES: u64 = 64 * 1024;
/// Most directories that are made for one mount point.
pub(crate) const DEPTH: usize = 128;
/// Longest chain of links followed when a mount point has to be made.
pub(crate) const LINKS: usize = 16;

/// Makes mount points inside the root and says so.
pub(crate) struct Stubs<'a> {
    /// The top of the mounted root.
    pub root: BorrowedFd<'a>,
    /// Who has to know.
    pub control: &'a Control,
}

impl Stubs<'_> {
    /// Refers to a real entry at the top of the root, making it when it is missing. A link there
    /// is an error: what a step finds at `/proc` must be what the kernel mounted.
    pub(crate) fn plain(&self, name: &str, kind: StubKind, stage: Stage) -> Result<OwnedFd, Fault> {
        let object = format!("/{name} of the image");
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        match plainly_inside(self.root, name, flags) {
            Err(Errno::NOENT) => {
                self.make(self.root, name, kind).at(stage, &object)?;
                plainly_inside(self.root, name, flags).at(stage, &object)
            }
            Err(Errno::LOOP | Errno::NOTDIR) => Err("must be a directory, not a link or a file").at(stage, &object),
            other => other.at(stage, &object),
        }
    }

    /// Refers to the file at an absolute path as a process inside would find it, making it and
    /// the directories above it when missing. Nothing, when the image has it as a link to what is
    /// mounted already (`/dev/null`, say): that stays as the image wants it.
    fn file(&self, path: &str) -> io::Result<Option<OwnedFd>> {
        let mut path = path.to_owned();
        for _ in 0..LINKS {
            match inside_layers(self.root, &path, OFlags::PATH) {
                Err(Errno::NOENT) => {}
                Err(Errno::XDEV) => return Ok(None),
                other => return Ok(Some(other?)),
            }
            let (above, name) = path.rsplit_once('/').unwrap_or(("", &path));
            let above = if above.is_empty() { "/" } else { above };
            let parent = self.directory(above, LINKS)?;
            match end_of_link(&parent, above, name)? {
                Some(end) => path = end,
                None => self.make(parent.as_fd(), name, StubKind::File)?,
            }
        }
        Err(Errno::LOOP.into())
    }

    /// Refers to what is at an absolute path as a process inside would find it, whatever is mounted there already;
    /// makes it, and the directories above it, when it is missing.
    pub(crate) fn place(&self, path: &str, kind: StubKind) -> io::Result<OwnedFd> {
        if let StubKind::Directory = kind {
            return self.directory(path, DEPTH);
        }
        let mut path = path.to_owned();
        for _ in 0..LINKS {
            let (above, name) = path.rsplit_once('/').unwrap_or(("", &path));
            let parent = self.directory(if above.is_empty() { "/" } else { above }, DEPTH)?;
            match inside(self.root, &path, OFlags::PATH) {
                Err(Errno::NOENT) => {}
                other => return Ok(other?),
            }
            match end_of_link(&parent, above, name)? {
                Some(end) => path = end,
                None => self.make(parent.as_fd(), name, StubKind::File)?,
            }
        }
        Err(Errno::LOOP.into())
    }

    fn directory(&self, path: &str, depth: usize) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        match inside(self.root, path, flags) {
            Err(Errno::NOENT) if depth > 0 => {}
            other => return Ok(other?),
        }
        let (above, name) = path.trim_end_matches('/').rsplit_once('/').unwrap_or(("", path));
        let parent = self.directory(if above.is_empty() { "/" } else { above }, depth - 1)?;
        match end_of_link(&parent, above, name)? {
            Some(end) => return self.directory(&end, depth - 1),
            None => self.make(parent.as_fd(), name, StubKind::Directory)?,
        }
        Ok(inside(self.root, path, flags)?)
    }

    /// Makes one empty entry, leaving the directory's time as it was.
    fn make(&self, parent: BorrowedFd<'_>, name: &str, kind: StubKind) -> io::Result<()> {
        let parent =
            rustix::fs::openat(parent, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let top = path_of(self.root)?;
        let above = path_of(parent.as_fd())?;
        let relative = above.strip_prefix(&top).map_err(io::Error::other)?.join(name);
        keeping_time(&parent, || match kind {
            StubKind::File => {
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
                rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o644)).map(drop)
            }
            StubKind::Directory => rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)),
        })?;
        self.control.say(&Status::Stub { path: relative, kind })
    }
}

/// Where a link that leads to nothing leads; `None` when nothing has the name.
fn end_of_link(parent: &OwnedFd, above: &str, name: &str) -> io::Result<Option<String>> {
    match rustix::fs::readlinkat(parent, name, Vec::new()) {
        Ok(link) => {
            let link = link.into_string().map_err(|_| Errno::ILSEQ)?;
            Ok(Some(if link.starts_with('/') { link } else { format!("{above}/{link}") }))
        }
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

pub(crate) fn path_of(fd: BorrowedFd<'_>) -> io::Result<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// Makes a change in a directory and leaves its time as it was.
pub(crate) fn keeping_time(
    directory: &OwnedFd,
    change: impl FnOnce() -> rustix::io::Result<()>,
) -> rustix::io::Result<()> {
    let before = rustix::fs::fstat(directory)?;
    change()?;
    let times = Timestamps {
        last_access: Timespec { tv_sec: before.st_atime, tv_nsec: before.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: before.st_mtime, tv_nsec: before.st_mtime_nsec as _ },
    };
    rustix::fs::futimens(directory, &times)
}

/// Mounts resolv.conf, hosts and the script. The host's root must still be visible, and nothing
/// be mounted on the specification's mount point yet but the root.
pub(crate) fn mount_files(stubs: &Stubs<'_>, private: &OwnedFd, dev: &OwnedFd, spec: &StepSpec) -> Result<(), Fault> {
    let quiet = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    for (path, content) in files(&spec.surroundings, &spec.surroundings.hostname)? {
        let name = path.rsplit('/').next().unwrap_or(path);
        let file = write_private(private, name, &content, 0o644).at(HERE, path)?;
        let Some(target) = stubs.file(path).at(HERE, path)? else {
            continue;
        };
        let copy = read_only_copy_of(&file, quiet, Reach::Mount).at(HERE, path)?;
        attach(copy, target).at(HERE, path)?;
    }
    let Some((name, content)) = script(spec)? else {
        return Ok(());
    };
    provide_script(private, dev, name, content, quiet).at(HERE, format_args!("/dev/pipes/{name}"))
}

/// The script and its name.
pub(crate) fn script(spec: &StepSpec) -> Result<Option<(&str, &str)>, Fault> {
    let Some((name, content)) = &spec.script else {
        return Ok(None);
    };
    if name.is_empty() || name.contains(['/', '\0']) || name == "." || name == ".." {
        return Err("not a file name").at(HERE, format_args!("script {name:?}"));
    }
    Ok(Some((name, content)))
}

/// The files that every step is given, with what they hold, where the machine has this name.
pub(crate) fn files(around: &Surroundings, hostname: &str) -> Result<[(&'static str, Vec<u8>); 2], Fault> {
    let mut resolv = host_resolv_conf().at(HERE, "/etc/resolv.conf of the host")?;
    if around.network == Network::Isolated {
        resolv = isolated::resolv_conf(&resolv);
    }
    let mut hosts = format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback {hostname}\n");
    for (name, address) in &around.hosts {
        hosts.push_str(&format!("{address}\t{name}\n"));
    }
    let [resolv_conf, hosts_file] = PROVIDED;
    Ok([(resolv_conf, resolv), (hosts_file, hosts.into_bytes())])
}

fn provide_script(
    private: &OwnedFd,
    dev: &OwnedFd,
    name: &str,
    content: &str,
    attributes: MountAttrFlags,
) -> io::Result<()> {
    let file = write_private(private, "script", content.as_bytes(), 0o755)?;
    rustix::fs::mkdirat(dev, "pipes", Mode::from_raw_mode(0o755))?;
    let directory = plainly_inside(dev.as_fd(), "pipes", OFlags::PATH)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(&directory, name, flags, Mode::from_raw_mode(0o755))?;
    let target = plainly_inside(directory.as_fd(), name, OFlags::PATH)?;
    attach(read_only_copy_of(&file, attributes, Reach::Mount)?, target)
}

/// A tmpfs that only the set-up can reach: mounted under the place where the root goes.
pub(crate) fn private_tmpfs(mountpoint: &Path) -> io::Result<OwnedFd> {
    let target = on_host(mountpoint)?;
    let private = new_memory(&[("mode", "0700")], MountAttrFlags::MOUNT_ATTR_NOSUID)?;
    attach(&private, target)?;
    Ok(private)
}

/// Writes a file and refers to it without any right to write.
pub(crate) fn write_private(private: &OwnedFd, name: &str, content: &[u8], mode: u32) -> io::Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(private, name, flags, Mode::from_raw_mode(mode))?;
    File::from(file).write_all(content)?;
    Ok(plainly_inside(private.as_fd(), name, OFlags::PATH)?)
}

fn host_resolv_conf() -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    match File::open("/etc/resolv.conf") {
        Ok(file) => {
            file.take(RESOLV_BYTES).read_to_end(&mut content)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(content)
}

/// Takes a stub out of the upper layer again, when it is still the empty thing that was made.
/// Follows no link: by now the step has had its way with the layer.
pub(crate) fn remove_stub(upper: &Path, stub: &Path, kind: StubKind) -> io::Result<()> {
    let top = on_host(upper)?;
    let name = stub.file_name().ok_or(Errno::INVAL)?;
    let above = match stub.parent().and_then(Path::to_str) {
        None | Some("") => ".",
        Some(above) => above,
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let parent = match plainly_inside(top.as_fd(), above, flags) {
        Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => return Ok(()),
        other => other?,
    };
    let stat = match rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    let (flags, untouched) = match (FileType::from_raw_mode(stat.st_mode), kind) {
        (FileType::RegularFile, StubKind::File) => (AtFlags::empty(), stat.st_size == 0),
        (FileType::Directory, StubKind::Directory) => (AtFlags::REMOVEDIR, true),
        _ => (AtFlags::empty(), false),
    };
    if !untouched {
        return Ok(());
    }
    let removed = keeping_time(&parent, || match rustix::fs::unlinkat(&parent, name, flags) {
        // The step put something into the directory: it is the step's now.
        Err(Errno::NOTEMPTY) => Ok(()),
        other => other,
    });
    Ok(removed?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_untouched_stubs_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        let upper = dir.path().join("upper");
        std::fs::create_dir_all(&outside).unwrap();
        std::fs::create_dir_all(upper.join("kept")).unwrap();
        std::fs::create_dir(upper.join("empty")).unwrap();
        std::fs::write(upper.join("kept/file"), "x").unwrap();
        std::fs::write(upper.join("stub"), "").unwrap();
        std::fs::write(outside.join("canary"), "").unwrap();
        std::os::unix::fs::symlink(&outside, upper.join("etc")).unwrap();
        for (path, kind, left) in [
            ("stub", StubKind::File, false),
            ("kept/file", StubKind::File, true),
            ("kept", StubKind::Directory, true),
            ("empty", StubKind::Directory, false),
            ("etc/canary", StubKind::File, true),
            ("absent/file", StubKind::File, false),
        ] {
            remove_stub(&upper, Path::new(path), kind).unwrap();
            assert_eq!(upper.join(path).exists(), left, "{path}");
        }
    }
}
