//! Can programs for another processor be started here?
//!
//! Asks the kernel and not a list: a program of a few instructions for that processor is started. Where binfmt_misc
//! has an emulator, or the processor runs the other instruction set by itself, it starts; whatever becomes of it
//! then is of no interest. Takes a platform and a directory to work in. Must never: take a program from elsewhere.

use crate::SandboxError;
use cooper_image::Platform;
use rustix::io::Errno;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

/// A processor, as ELF files name it.
struct Machine {
    architecture: &'static str,
    wide: Width,
    order: Order,
    /// `e_machine`.
    number: u16,
    /// `e_flags`.
    flags: u32,
    /// Instructions that exit with [`EXIT`].
    code: &'static [u8],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Width {
    Bits32,
    Bits64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Little,
    Big,
}

/// What the program exits with.
const EXIT: i32 = 42;

#[rustfmt::skip]
const MACHINES: &[Machine] = &[
    Machine { architecture: "amd64", wide: Width::Bits64, order: Order::Little, number: 62, flags: 0,
        code: &[0xb8, 60, 0, 0, 0, 0xbf, 42, 0, 0, 0, 0x0f, 0x05] },
    Machine { architecture: "386", wide: Width::Bits32, order: Order::Little, number: 3, flags: 0,
        code: &[0xbb, 42, 0, 0, 0, 0xb8, 1, 0, 0, 0, 0xcd, 0x80] },
    Machine { architecture: "arm64", wide: Width::Bits64, order: Order::Little, number: 183, flags: 0,
        code: &[0xa8, 0x0b, 0x80, 0xd2, 0x40, 0x05, 0x80, 0xd2, 1, 0, 0, 0xd4] },
    Machine { architecture: "arm", wide: Width::Bits32, order: Order::Little, number: 40, flags: 0x0500_0000,
        code: &[1, 0x70, 0xa0, 0xe3, 42, 0, 0xa0, 0xe3, 0, 0, 0, 0xef] },
    Machine { architecture: "riscv64", wide: Width::Bits64, order: Order::Little, number: 243, flags: 5,
        code: &[0x93, 0x08, 0xd0, 0x05, 0x13, 5, 0xa0, 2, 0x73, 0, 0, 0] },
    Machine { architecture: "ppc64le", wide: Width::Bits64, order: Order::Little, number: 21, flags: 2,
        code: &[1, 0, 0, 0x38, 42, 0, 0x60, 0x38, 2, 0, 0, 0x44] },
    Machine { architecture: "s390x", wide: Width::Bits64, order: Order::Big, number: 22, flags: 0,
        code: &[0xa7, 0x29, 0, 42, 0x0a, 1] },
    Machine { architecture: "mips64le", wide: Width::Bits64, order: Order::Little, number: 8, flags: 0x8000_0000,
        code: &[0xc2, 0x13, 2, 0x24, 42, 0, 4, 0x24, 0x0c, 0, 0, 0] },
    Machine { architecture: "loong64", wide: Width::Bits64, order: Order::Little, number: 258, flags: 0x43,
        code: &[0x0b, 0x74, 0x81, 2, 4, 0xa8, 0x80, 2, 0, 0, 0x2b, 0] },
];

/// Where the program is in memory: a multiple of the largest page.
const BASE: u64 = 0x10000;
/// Why the kernel starts nothing.
const NO_EMULATOR: &str = "binfmt_misc has no emulator for it";
/// How often a program is started that a new process of another thread still holds open.
const ATTEMPTS: u32 = 20;

/// Processors, those of 32 bits whose programs they run themselves, and what the names of emulators for these end with.
const NARROW: [(&str, &str, &str); 2] = [("amd64", "386", "-i386"), ("arm64", "arm", "-arm")];
/// Where the kernel lists the emulators that it has, one file each.
const EMULATORS: &str = "/proc/sys/fs/binfmt_misc";

/// Is there an emulator whose name ends so, and is it switched on? Unlike the processor it makes no calls of 32 bits.
fn has_emulator(emulators: &Path, end: &str) -> bool {
    let is_on = |file: &Path| std::fs::read_to_string(file).is_ok_and(|text| text.lines().next() == Some("enabled"));
    let entries = std::fs::read_dir(emulators).into_iter().flatten().flatten();
    let mut named = entries.filter(|entry| entry.file_name().as_encoded_bytes().ends_with(end.as_bytes()));
    is_on(&emulators.join("status")) && named.any(|entry| is_on(&entry.path()))
}

/// Are this processor's programs those of one here, but of 32 bits?
pub(crate) fn is_narrow(architecture: &str) -> bool {
    NARROW.iter().any(|(own, narrow, _)| *own == Platform::host().architecture && *narrow == architecture)
}

/// The processors that are known.
pub(crate) fn architectures() -> impl Iterator<Item = &'static str> {
    MACHINES.iter().map(|machine| machine.architecture)
}

/// Says whether steps for this platform can run, before the first of them begins.
///
/// # Errors
/// [`SandboxError::Foreign`] and [`SandboxError::ForeignSystem`] when they cannot, [`SandboxError::Io`] when that could
/// not be found out.
pub fn check_foreign(platform: &Platform, work: &Path) -> Result<(), SandboxError> {
    let host = Platform::host();
    if platform.os == host.os && platform.architecture == host.architecture {
        return Ok(());
    }
    let refused = |cause: &str| {
        Err(SandboxError::Foreign {
            platform: platform.to_string(),
            host: host.to_string(),
            architecture: platform.architecture.clone(),
            cause: cause.to_owned(),
        })
    };
    if platform.os != host.os {
        return Err(SandboxError::ForeignSystem { platform: platform.to_string(), host: host.to_string() });
    }
    let Some(machine) = MACHINES.iter().find(|m| m.architecture == platform.architecture) else {
        return refused("the processor is not known");
    };
    let runs_itself =
        |(own, narrow, _): &&(&str, &str, &str)| *own == host.architecture && *narrow == machine.architecture;
    if let Some((.., emulator)) = NARROW.iter().find(runs_itself)
        && !has_emulator(Path::new(EMULATORS), emulator)
    {
        return refused("the processor runs its programs itself, through calls of 32 bits, which no step may make");
    }
    match start(&program(machine), work) {
        // A signal means that it ran into something, and so that it ran.
        Ok(status) if status.code() == Some(EXIT) || status.code().is_none() => Ok(()),
        // The C library hands to a shell what the kernel does not start.
        Ok(_) => refused(NO_EMULATOR),
        Err(e) => match Errno::from_io_error(&e) {
            Some(Errno::NOEXEC) => refused(NO_EMULATOR),
            Some(Errno::NOENT) => refused("the emulator that binfmt_misc names is not here"),
            Some(Errno::ACCESS) if !is_noexec(work) => refused("what binfmt_misc names may not be executed"),
            Some(Errno::ACCESS) => Err(SandboxError::Unavailable {
                feature: "a try of programs for another processor",
                cause: "nothing in the store may be executed: its file system is mounted noexec".to_owned(),
                hint: "have the store on another file system: --root DIR".to_owned(),
            }),
            _ => Err(SandboxError::io("trying a program for another processor")(e)),
        },
    }
}

fn is_noexec(place: &Path) -> bool {
    rustix::fs::statvfs(place).is_ok_and(|fs| fs.f_flag.contains(rustix::fs::StatVfsMountFlags::NOEXEC))
}

/// Starts the program and waits for its end.
fn start(program: &[u8], work: &Path) -> io::Result<ExitStatus> {
    // It is started in that directory.
    let work = &std::path::absolute(work)?;
    let path = work.join("foreign");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o755).open(&path)?;
    io::Write::write_all(&mut file, program)?;
    drop(file);
    let mut attempts = 0..ATTEMPTS;
    loop {
        let mut command = Command::new(&path);
        command.env_clear().current_dir(work).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        match command.status() {
            Err(e) if Errno::from_io_error(&e) == Some(Errno::TXTBSY) && attempts.next().is_some() => {
                std::thread::sleep(Duration::from_millis(10));
            }
            ended => return ended,
        }
    }
}

/// A static ELF program (System V ABI, "Object Files") with one segment.
fn program(machine: &Machine) -> Vec<u8> {
    let mut elf = Elf { machine, bytes: Vec::new() };
    let wide = machine.wide == Width::Bits64;
    let (class, header, segment) = if wide { (2, 64, 56) } else { (1, 52, 32) };
    let order = if machine.order == Order::Little { 1 } else { 2 };
    let start = header + segment;
    let size = start + 64;
    elf.bytes.extend([0x7f, b'E', b'L', b'F', class, order, 1]);
    elf.bytes.resize(16, 0);
    elf.half(2); // ET_EXEC
    elf.half(machine.number);
    elf.word(1);
    elf.address(BASE + start);
    elf.address(header);
    elf.address(0);
    elf.word(machine.flags);
    for value in [header, segment, 1, 0, 0, 0] {
        elf.half(u16::try_from(value).unwrap_or_default());
    }
    elf.word(1); // PT_LOAD
    if wide {
        elf.word(5); // readable and executable
    }
    for value in [0, BASE, BASE, size, size] {
        elf.address(value);
    }
    if !wide {
        elf.word(5);
    }
    elf.address(BASE);
    elf.bytes.extend(machine.code);
    elf.bytes.resize(usize::try_from(size).unwrap_or_default(), 0);
    elf.bytes
}

struct Elf<'a> {
    machine: &'a Machine,
    bytes: Vec<u8>,
}

impl Elf<'_> {
    fn put(&mut self, value: u64, size: usize) {
        let bytes = value.to_le_bytes();
        let bytes = bytes.iter().take(size).copied();
        match self.machine.order {
            Order::Little => self.bytes.extend(bytes),
            Order::Big => self.bytes.extend(bytes.rev()),
        }
    }
    fn half(&mut self, value: u16) {
        self.put(value.into(), 2);
    }
    fn word(&mut self, value: u32) {
        self.put(value.into(), 4);
    }
    fn address(&mut self, value: u64) {
        self.put(value, if self.machine.wide == Width::Bits64 { 8 } else { 4 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_runs_its_own_program_and_no_unknown_one() {
        let dir = tempfile::tempdir().unwrap();
        let host = Platform::host();
        check_foreign(&host, dir.path()).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing has to be tried");
        let machine = MACHINES.iter().find(|m| m.architecture == host.architecture).unwrap();
        assert_eq!(start(&program(machine), dir.path()).unwrap().code(), Some(EXIT));
    }

    #[test]
    fn what_cannot_run_is_told_with_the_way_to_get_it() {
        let dir = tempfile::tempdir().unwrap();
        let refused = check_foreign(&"linux/pdp11".parse().unwrap(), dir.path()).unwrap_err();
        let says = "programs for linux/pdp11 cannot run on linux/";
        assert!(refused.to_string().starts_with(says), "{refused}");
        assert!(refused.hint().is_some_and(|h| h.contains("qemu-user-static") && h.contains("pdp11")));
        // What this processor runs, and the filter of a step kills.
        let host = Platform::host();
        for (_, narrow, emulator) in NARROW.iter().filter(|(own, ..)| *own == host.architecture) {
            let tried = check_foreign(&format!("linux/{narrow}").parse().unwrap(), dir.path());
            match has_emulator(Path::new(EMULATORS), emulator) {
                true => assert!(tried.is_ok(), "{tried:?}"),
                false => assert!(tried.unwrap_err().to_string().contains("calls of 32 bits"), "{narrow}"),
            }
        }
        // A processor that nobody has: the kernel itself says no.
        let host = MACHINES.iter().find(|m| m.architecture == Platform::host().architecture).unwrap();
        let nobody = Machine { architecture: "nobody", number: 0xfffe, ..*host };
        match start(&program(&nobody), dir.path()) {
            Ok(status) => assert!(status.code().is_some_and(|code| code != EXIT), "{status}"),
            Err(error) => assert_eq!(Errno::from_io_error(&error), Some(Errno::NOEXEC)),
        }
    }

    #[test]
    fn what_is_switched_off_is_no_emulator() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        assert!(!has_emulator(dir.path(), "-i386"));
        for (status, emulator, is_there) in
            [("enabled", "enabled", true), ("enabled", "disabled", false), ("disabled", "enabled", false)]
        {
            write("status", &format!("{status}\n"));
            write("qemu-i386", &format!("{emulator}\ninterpreter /usr/bin/qemu-i386\n"));
            assert_eq!(has_emulator(dir.path(), "-i386"), is_there, "{status} {emulator}");
        }
        assert!(!has_emulator(dir.path(), "-arm"));
    }

    #[test]
    fn programs_name_their_processor() {
        for machine in MACHINES {
            let bytes = program(machine);
            let number = [bytes[18], bytes[19]];
            let number =
                if machine.order == Order::Little { u16::from_le_bytes(number) } else { u16::from_be_bytes(number) };
            assert_eq!(number, machine.number, "{}", machine.architecture);
            assert!(bytes.len() < 256);
        }
    }
}
