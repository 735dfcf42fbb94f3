//! Random archives of the writer, read by Python's tarfile, GNU tar and bsdtar: what was written is what they see.
//! `COOPER_TEST_ARCHIVES=1000000` looks at more of them.

use crate::random::{Random, cases};
use crate::trees::hex;
use cooper_image::RelPath;
use cooper_layerfs::stat::{Rdev, Time};
use cooper_layerfs::tar::write::{Entry, EntryKind, TarWriter};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// One entry as it was asked for.
struct Wanted {
    path: Vec<u8>,
    kind: What,
    mode: u32,
    owner: (u32, u32),
    mtime: Time,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

enum What {
    Dir,
    File(Vec<u8>),
    Symlink(Vec<u8>),
    Hardlink(Vec<u8>),
    Char(u32, u32),
    Block(u32, u32),
    Fifo,
}

/// A component of a path: of letters, of any bytes that a name may have, or of words that look like something else.
fn component(random: &mut Random) -> Vec<u8> {
    let len = match random.below(20) {
        0 => 90 + random.below(20),
        1 => 250 + random.below(6),
        2 => 140 + random.below(30),
        _ => 1 + random.below(12),
    };
    let name: Vec<u8> = match random.below(6) {
        0 => random.bytes(len).into_iter().map(|b| if matches!(b, 0 | b'/') { b'_' } else { b }).collect(),
        1 => random
            .pick(&["café", " ", "-rf", "a -> b", "new\nline", "\\", "12 path=x", "\u{7f}", "PaxHeaders"])
            .as_bytes()
            .to_vec(),
        _ => (0..len).map(|_| *random.pick(b"abcXYZ019._- ")).collect(),
    };
    if matches!(name.as_slice(), b"." | b"..") { b"dots".to_vec() } else { name }
}

fn path(random: &mut Random) -> Vec<u8> {
    let depth = if random.once_in(30) { 30 } else { 1 + random.below(4) };
    (0..depth).map(|_| component(random)).collect::<Vec<_>>().join(&b'/')
}

fn target(random: &mut Random) -> Vec<u8> {
    match random.below(4) {
        0 => [b"/".as_slice(), &path(random)].concat(),
        1 => [b"../../".as_slice(), &path(random), b"/"].concat(),
        _ => path(random),
    }
}

fn entry(random: &mut Random) -> Wanted {
    let number = |random: &mut Random| match random.below(4) {
        0 => *random.pick(&[2_097_151, 2_097_152, u32::MAX - 1, 65_534, 0]),
        1 => u32::try_from(random.below(0xffff_fffe)).unwrap(),
        _ => u32::try_from(random.below(2000)).unwrap(),
    };
    let secs = match random.below(8) {
        0 => *random.pick(&[-1, 0, 8_589_934_591, 8_589_934_592, -2_000_000_000, 60_000_000_000]),
        1 => i64::try_from(random.below(1 << 34)).unwrap() - (1 << 33),
        _ => 1_500_000_000 + i64::try_from(random.below(200_000_000)).unwrap(),
    };
    let kind = match random.below(12) {
        0 | 1 => What::Dir,
        2 => What::Symlink(target(random)),
        3 => What::Hardlink(path(random)),
        4 => What::Char(u32::try_from(random.below(4096)).unwrap(), u32::try_from(random.below(1 << 20)).unwrap()),
        5 => What::Block(u32::try_from(random.below(4096)).unwrap(), u32::try_from(random.below(1 << 20)).unwrap()),
        6 => What::Fifo,
        _ => {
            let len = *random.pick(&[0, 1, 511, 512, 513, 1024, 40]);
            let hole = random.once_in(3);
            What::File(if hole { vec![0; len] } else { random.bytes(len) })
        }
    };
    let mut xattrs = BTreeMap::new();
    if random.once_in(4) {
        for _ in 0..=random.below(3) {
            let name = random.pick(&["user.a", "security.capability", "user.caf\u{e9}", "user.long-name.with.dots"]);
            let len = *random.pick(&[0, 1, 20, 300]);
            let value = match *name {
                // Any other one is refused.
                "security.capability" => [&[1, 0, 0, 2][..], &random.bytes(16)].concat(),
                _ => random.bytes(len),
            };
            xattrs.insert(name.as_bytes().to_vec(), value);
        }
    }
    let nanos = u32::try_from(random.below(1_000_000_000)).unwrap();
    Wanted {
        path: path(random),
        kind,
        mode: u32::try_from(random.below(0o10000)).unwrap(),
        owner: (number(random), number(random)),
        mtime: Time { secs, nanos },
        xattrs,
    }
}

fn write(entries: &[Wanted]) -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    for wanted in entries {
        let path = RelPath::clean(&wanted.path);
        let linked = match &wanted.kind {
            What::Hardlink(to) => RelPath::clean(to),
            _ => RelPath::root(),
        };
        let kind = match &wanted.kind {
            What::Dir => EntryKind::Dir,
            What::File(body) => EntryKind::File { size: body.len() as u64 },
            What::Symlink(to) => EntryKind::Symlink(to),
            What::Hardlink(_) => EntryKind::Hardlink(&linked),
            What::Char(major, minor) => EntryKind::Char(Rdev { major: *major, minor: *minor }),
            What::Block(major, minor) => EntryKind::Block(Rdev { major: *major, minor: *minor }),
            What::Fifo => EntryKind::Fifo,
        };
        let Wanted { mode, owner: (uid, gid), mtime, ref xattrs, .. } = *wanted;
        tar.entry(&Entry { path: &path, kind, mode, uid, gid, mtime, xattrs }).unwrap();
        if let What::File(body) = &wanted.kind {
            tar.data(&mut body.as_slice(), body.len() as u64).unwrap();
        }
    }
    tar.finish().unwrap()
}

/// The line that Python is to say.
fn line_of_python(wanted: &Wanted) -> String {
    let (kind, rest) = match &wanted.kind {
        What::Dir => ('5', String::new()),
        What::File(body) => ('0', hex(body)),
        What::Symlink(to) => ('2', hex(to)),
        What::Hardlink(to) => ('1', hex(to)),
        What::Char(major, minor) => ('3', format!("{major}:{minor}")),
        What::Block(major, minor) => ('4', format!("{major}:{minor}")),
        What::Fifo => ('6', String::new()),
    };
    let xattrs: Vec<String> = wanted.xattrs.iter().map(|(n, v)| format!(" {}={}", hex(n), hex(v))).collect();
    let Wanted { path, mode, owner, mtime, .. } = wanted;
    format!("{} {kind} {mode:o} {}:{} {} {rest}{}", hex(path), owner.0, owner.1, mtime.secs, xattrs.concat())
}

/// Reads archives, each after its length, and says everything about every entry; after an archive `--`.
pub const PYTHON: &str = r"
import io, struct, sys, tarfile
raw = lambda text: text.encode('utf-8', 'surrogateescape')
X = 'SCHILY.xattr.'
while head := sys.stdin.buffer.read(8):
    archive = tarfile.open(fileobj=io.BytesIO(sys.stdin.buffer.read(*struct.unpack('<Q', head))))
    for t in archive:
        rest = ''
        if t.isreg(): rest = archive.extractfile(t).read().hex()
        if t.issym() or t.islnk(): rest = raw(t.linkname).hex()
        if t.isblk() or t.ischr(): rest = '%d:%d' % (t.devmajor, t.devminor)
        attrs = sorted((raw(k[len(X):]).hex(), raw(v).hex()) for k, v in t.pax_headers.items() if k.startswith(X))
        print(raw(t.name).hex(), t.type.decode(), '%o' % t.mode, '%d:%d' % (t.uid, t.gid), int(t.mtime), rest,
              sep=' ', end='')
        print(''.join(' %s=%s' % a for a in attrs))
    print('--')
";

fn archives() -> (Vec<Vec<Wanted>>, Vec<Vec<u8>>) {
    let mut random = Random::new(20_261_126);
    let all: Vec<Vec<Wanted>> = (0..cases("COOPER_TEST_ARCHIVES", 10_000))
        .map(|_| (0..=random.below(8)).map(|_| entry(&mut random)).collect())
        .collect();
    let bytes = all.iter().map(|entries| write(entries)).collect();
    (all, bytes)
}

/// Runs a reader with archives on its standard input, and gives what it says.
pub fn read_by(program: &mut Command, input: Vec<u8>) -> Vec<u8> {
    let program = program.env("LC_ALL", "C").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = program.spawn().expect("fixtures/setup installs it");
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{program:?} failed");
    output.stdout
}

/// Archives, each after its length.
pub fn framed<'a>(archives: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    archives.flat_map(|bytes| [&(bytes.len() as u64).to_le_bytes(), bytes].concat()).collect()
}

#[track_caller]
fn compare(said: &[u8], wanted: impl Iterator<Item = Vec<u8>>) {
    let mut lines = said.split(|b| *b == b'\n');
    for (at, wanted) in wanted.enumerate() {
        let line = lines.next().unwrap_or_default();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(text(line), text(&wanted), "entry {at} of all");
    }
    assert_eq!(lines.collect::<Vec<_>>(), [b""], "there are more entries than were written");
}

#[test]
fn python_reads_what_was_written() {
    let (all, bytes) = archives();
    let said = read_by(Command::new("python3").args(["-c", PYTHON]), framed(bytes.iter().map(Vec::as_slice)));
    let lines = |entries: &Vec<Wanted>| {
        let end = std::iter::once("--".to_owned());
        entries.iter().map(line_of_python).chain(end).map(String::into_bytes).collect::<Vec<_>>()
    };
    compare(&said, all.iter().flat_map(lines));
}

/// As GNU tar and vis(3) write a name: with octal numbers for what is not printable.
fn escaped(name: &[u8], plain: impl Fn(u8) -> bool) -> Vec<u8> {
    let short = |byte| b"\x07\x08\x0c\n\r\t\x0b\\".iter().position(|b| *b == byte).map(|at| b"abfnrtv\\"[at]);
    name.iter()
        .flat_map(|byte| match short(*byte) {
            _ if plain(*byte) => vec![*byte],
            Some(letter) => vec![b'\\', letter],
            None => format!("\\{byte:03o}").into_bytes(),
        })
        .collect()
}

/// Seconds since 1970 as date and time of day (Hinnant, "chrono-compatible low-level date algorithms").
fn date(secs: i64) -> String {
    let (days, time) = (secs.div_euclid(86_400) + 719_468, secs.rem_euclid(86_400));
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let years = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * years + years / 4 - years / 100);
    let month = (5 * of_year + 2) / 153;
    let (day, month) = (of_year - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = years + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", time / 3600, time / 60 % 60, time % 60)
}

fn permissions(kind: char, mode: u32) -> String {
    let mut text = kind.to_string();
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 == 0 { '-' } else { 'r' });
        text.push(if bits & 2 == 0 { '-' } else { 'w' });
        text.push(match (bits & 1 != 0, mode & special != 0) {
            (true, false) => 'x',
            (false, false) => '-',
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
        });
    }
    text
}

/// The line that GNU tar is to say, without the blanks that make columns.
fn line_of_gnu_tar(wanted: &Wanted) -> Vec<u8> {
    let quoted = |name: &[u8]| escaped(name, |b| matches!(b, b' '..=b'~') && b != b'\\');
    let (kind, size, rest) = match &wanted.kind {
        What::Dir => ('d', "0".to_owned(), b"/".to_vec()),
        What::File(body) => ('-', body.len().to_string(), Vec::new()),
        What::Symlink(to) => ('l', "0".to_owned(), [b" -> ".to_vec(), quoted(to)].concat()),
        What::Hardlink(to) => ('h', "0".to_owned(), [b" link to ".to_vec(), quoted(to)].concat()),
        What::Char(major, minor) => ('c', format!("{major},{minor}"), Vec::new()),
        What::Block(major, minor) => ('b', format!("{major},{minor}"), Vec::new()),
        What::Fifo => ('p', "0".to_owned(), Vec::new()),
    };
    let (uid, gid) = wanted.owner;
    let head = format!("{} {uid}/{gid} {size} {} ", permissions(kind, wanted.mode), date(wanted.mtime.secs));
    [head.into_bytes(), quoted(&wanted.path), rest].concat()
}

/// GNU tar fills up between owner and size, and nowhere else.
fn without_columns(said: &[u8]) -> Vec<u8> {
    let lines = said.split_inclusive(|b| *b == b'\n').map(|line| {
        let owner = line.iter().position(|b| *b == b' ').unwrap_or(0) + 1;
        let blank = owner + line[owner..].iter().position(|b| *b == b' ').unwrap_or(0);
        let size = blank + line[blank..].iter().position(|b| *b != b' ').unwrap_or(0);
        [&line[..blank], b" ", &line[size..]].concat()
    });
    lines.collect::<Vec<_>>().concat()
}

#[test]
fn gnu_tar_reads_what_was_written() {
    let (all, bytes) = archives();
    // The archives one after another: that it finds every end shows that every size is right.
    let stream = bytes.concat();
    let mut list = Command::new("tar");
    list.args(["-i", "-t", "-v", "--numeric-owner", "--utc", "--full-time", "--quoting-style=escape", "-f", "-"]);
    let said = without_columns(&read_by(&mut list, stream.clone()));
    compare(&said, all.iter().flatten().map(line_of_gnu_tar));
    let bodies: Vec<u8> = all
        .iter()
        .flatten()
        .flat_map(|wanted| if let What::File(body) = &wanted.kind { body.as_slice() } else { &[] })
        .copied()
        .collect();
    let said = read_by(Command::new("tar").args(["-i", "-x", "-O", "--warning=none", "-f", "-"]), stream);
    assert!(said == bodies, "the contents are others");
}

/// Can bsdtar turn its names into text? For others it warns, and gives up copying; names of attributes it writes in a
/// code of its own.
fn is_text(wanted: &Wanted) -> bool {
    let linked = match &wanted.kind {
        What::Symlink(to) | What::Hardlink(to) => to.as_slice(),
        _ => &[],
    };
    [&wanted.path, linked].iter().all(|name| std::str::from_utf8(name).is_ok())
        && wanted.xattrs.keys().all(|name| name.is_ascii())
}

#[test]
fn bsdtar_reads_what_was_written() {
    let (mut all, _) = archives();
    all.retain(|entries| entries.iter().all(is_text));
    assert!(all.len() > 100);
    // It writes what it read in its own way, and Python says what that is.
    let one: Vec<Wanted> = all.into_iter().flatten().collect();
    let mut copy = Command::new("sh");
    copy.args(["-c", "LC_ALL=C.UTF-8 exec bsdtar --format=pax -c -f - @-"]);
    let copied = read_by(&mut copy, write(&one));
    let said = read_by(Command::new("python3").args(["-c", PYTHON]), framed(std::iter::once(copied.as_slice())));
    let end = std::iter::once("--".to_owned());
    compare(&said, one.iter().map(line_of_python).chain(end).map(String::into_bytes));
}
