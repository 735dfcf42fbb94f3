//! Trees with one of everything, and the programs that judge what is made of them.

use crate::forge::owner;
use crate::scene::options;
use cooper_layerfs::apply::apply;
use cooper_layerfs::layer::pack_upper;
use cooper_layerfs::root::Root;
use rustix::fs::{AtFlags, CWD, FileType, Mode, XattrFlags};
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

/// The tar of a directory.
pub fn pack(dir: &Path) -> Vec<u8> {
    let mut out = Vec::new();
    pack_upper(&Root::open(dir).unwrap(), &mut out).unwrap();
    out
}

/// A directory made of a tar.
pub fn unpack(bytes: &[u8]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    apply(&mut &*bytes, &Root::open(dir.path()).unwrap(), &options(), &|_| Ok(None)).unwrap();
    dir
}

/// Sets an attribute, or fails the test.
pub fn setxattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::setxattr(path, name, value, XattrFlags::empty()).unwrap();
}

/// A tree with one of everything that the user who runs the test can make.
pub fn rich() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("bin/deep/er")).unwrap();
    fs::write(at("bin/su"), vec![b'x'; 100_000]).unwrap();
    fs::set_permissions(at("bin/su"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::hard_link(at("bin/su"), at("a-link")).unwrap();
    fs::hard_link(at("bin/su"), at("z-link")).unwrap();
    fs::write(at("empty"), b"").unwrap();
    fs::write(at("block"), vec![0; 512]).unwrap();
    fs::write(at("attributes"), b"a").unwrap();
    setxattr(&at("attributes"), "user.one", b"1\n2=\0\xff");
    setxattr(&at("attributes"), "user.empty", b"");
    setxattr(&at("attributes"), "user.overlay.origin", b"machine");
    setxattr(&at("bin"), "user.dir", b"d");
    symlink("../../../etc/passwd", at("bin/escape")).unwrap();
    symlink("/absolute/target", at("absolute")).unwrap();
    symlink("l".repeat(300), at("long-target")).unwrap();
    symlink(OsStr::from_bytes(b"\xff\xfe"), at("raw-target")).unwrap();
    for name in [b"caf\xc3\xa9".as_slice(), b"\xff\xfe", b"new\nline", b"\x1b[31m", b"-rf", b"trailing ", b"a:b"] {
        fs::write(dir.path().join(OsStr::from_bytes(name)), name).unwrap();
    }
    for length in [99, 100, 101, 155, 156, 250, 255] {
        fs::write(at(&"n".repeat(length)), b"n").unwrap();
        fs::create_dir(at(&"d".repeat(length))).unwrap();
    }
    fs::create_dir_all(at(&format!("{}/{}", "p".repeat(120), "q".repeat(90)))).unwrap();
    fs::write(at(&format!("{}/{}/file", "p".repeat(120), "q".repeat(90))), b"").unwrap();
    rustix::fs::mknodat(CWD, at("fifo"), FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
    std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    fs::set_permissions(at("bin/deep"), fs::Permissions::from_mode(0o1777)).unwrap();
    rustix::fs::mknodat(CWD, at("bin/gone"), FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    setxattr(&at("bin/deep/er"), "user.overlay.opaque", b"y");
    if owns_all_ids() {
        rustix::fs::chownat(CWD, at("empty"), uid(70_000), gid(3_000_000), AtFlags::empty()).unwrap();
        rustix::fs::chownat(CWD, at("absolute"), uid(1), gid(2), AtFlags::SYMLINK_NOFOLLOW).unwrap();
        setxattr(&at("bin/su"), "security.capability", CAPABILITY);
    }
    for (name, secs, nanos) in [("empty", 1_600_000_000, 999_999_999), ("block", 0, 0), ("attributes", -5, 1)] {
        let time = rustix::fs::Timespec { tv_sec: secs, tv_nsec: nanos };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, at(name), &times, AtFlags::empty()).unwrap();
    }
    dir
}

/// May the test give files to anybody? Root of a user namespace with one id may not.
pub fn owns_all_ids() -> bool {
    let file = tempfile::NamedTempFile::new().unwrap();
    owner().0 == 0 && rustix::fs::chownat(CWD, file.path(), uid(70_000), gid(3_000_000), AtFlags::empty()).is_ok()
}

/// `cap_net_raw=ep`, revision 2 (linux/capability.h, `struct vfs_cap_data`).
pub const CAPABILITY: &[u8] = &[1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn uid(id: u32) -> Option<rustix::fs::Uid> {
    Some(rustix::fs::Uid::from_raw(id))
}
fn gid(id: u32) -> Option<rustix::fs::Gid> {
    Some(rustix::fs::Gid::from_raw(id))
}

/// What Python's reader says about every entry, one per line.
const LISTING: &str = r"
import sys, tarfile
for t in tarfile.open(fileobj=sys.stdin.buffer, mode='r|'):
    body = t.size if t.isreg() else 0
    name = t.name.encode('utf-8', 'surrogateescape').hex()
    link = t.linkname.encode('utf-8', 'surrogateescape').hex()
    attrs = ' '.join(sorted(k for k in t.pax_headers if k.startswith('SCHILY')))
    print(name, t.type.decode(), oct(t.mode), t.uid, t.gid, body, int(t.mtime), link, attrs)
";

/// Runs a program with bytes on its standard input.
pub fn feed(program: &mut Command, input: &[u8]) -> String {
    use std::process::Stdio;
    let mut child = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    writer.join().unwrap().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What Python's reader says about an archive.
pub fn listing(bytes: &[u8]) -> Vec<String> {
    let text = feed(Command::new("python3").args(["-c", LISTING]), bytes);
    text.lines().map(str::to_owned).collect()
}

/// Hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
