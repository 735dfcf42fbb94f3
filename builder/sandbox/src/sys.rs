//! The system calls that have no safe wrapper: the only file that may say `unsafe`.
//! Each function takes and gives owned or borrowed safe types and keeps no state.
#![allow(unsafe_code)]

use rustix::process::Pid;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// Which of the two processes this is.
pub(crate) enum Fork {
    /// The one that forked.
    Parent(Pid),
    /// The new one.
    Child,
}

/// Splits the process. Only for processes with one thread.
pub(crate) fn fork() -> io::Result<Fork> {
    // SAFETY: the only caller is the freshly executed set-up process, which has a single thread,
    // so no lock can be held by a thread that does not exist in the child.
    let pid = unsafe { libc::fork() };
    match pid {
        0 => Ok(Fork::Child),
        _ => forked(pid).map(Fork::Parent),
    }
}

/// What `fork` gave the parent.
fn forked(pid: libc::pid_t) -> io::Result<Pid> {
    let child = if pid > 0 { Pid::from_raw(pid) } else { None };
    child.ok_or_else(io::Error::last_os_error)
}

/// The standard library starts programs by `posix_spawn`, which copies nothing of this process, only if it can ask for the
/// version of glibc; a static program has that function if somebody refers to it. Else it forks, which takes the longer
/// the more memory this process has, and slows it down afterwards.
#[cfg(target_env = "gnu")]
#[used]
static GLIBC_VERSION: unsafe extern "C" fn() -> *const libc::c_char = libc::gnu_get_libc_version;

/// Leaves namespaces. The flags are those of `unshare`; never `CLONE_FILES`.
pub(crate) fn unshare(flags: rustix::thread::UnshareFlags) -> io::Result<()> {
    // SAFETY: only namespace flags are passed, so file descriptors stay shared between threads as
    // the rest of the program expects.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(io::Error::from)
}

/// `struct mount_attr` of the kernel's interface, version 0.
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

/// `struct landlock_ruleset_attr` of the kernel's interface, version 6.
#[repr(C)]
struct LandlockRuleset {
    handled_files: u64,
    handled_network: u64,
    scoped: u64,
}

/// From `linux/landlock.h`.
const LANDLOCK_ASK_VERSION: libc::c_uint = 1;
/// From `linux/landlock.h`: no connection to abstract sockets made outside.
pub(crate) const LANDLOCK_SCOPE_ABSTRACT_SOCKETS: u64 = 1;
/// From `linux/landlock.h`: no signal to processes outside.
pub(crate) const LANDLOCK_SCOPE_SIGNALS: u64 = 2;
/// From `linux/landlock.h`: a rule about what is below a directory.
const LANDLOCK_RULE_PATH_BENEATH: libc::c_int = 1;

/// `struct landlock_path_beneath_attr` of the kernel's interface.
#[repr(C, packed)]
struct LandlockBeneath {
    allowed: u64,
    parent: i32,
}

/// From `linux/keyctl.h`.
const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;

/// How far an attribute change reaches.
#[derive(Clone, Copy)]
pub(crate) enum Reach {
    /// Only this mount.
    Mount,
    /// This mount and all below it.
    Tree,
}

/// Adds attributes to a mount and takes it out of every peer group.
pub(crate) fn add_mount_attributes(mount: BorrowedFd<'_>, attributes: u64, reach: Reach) -> io::Result<()> {
    change_mount_attributes(mount, (attributes, 0), reach)
}

/// Adds attributes to a mount, takes others from it, and takes it out of every peer group.
pub(crate) fn change_mount_attributes(mount: BorrowedFd<'_>, (set, clear): (u64, u64), reach: Reach) -> io::Result<()> {
    let flags = match reach {
        Reach::Mount => libc::AT_EMPTY_PATH,
        Reach::Tree => libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
    };
    let attr = MountAttr { set, clear, propagation: libc::MS_PRIVATE, userns: 0 };
    // SAFETY: the path is a NUL-terminated constant, and the attribute block is a live local whose
    // exact size is passed.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    zero_or_errno(done)
}

/// Kills every process that this one may signal, but for itself and the first of its pid namespace. Only for processes
/// in a Landlock domain that keeps their signals among their own.
pub(crate) fn kill_everybody() -> io::Result<()> {
    // SAFETY: takes only numbers.
    let done = unsafe { libc::kill(-1, libc::SIGKILL) };
    zero_or_errno(libc::c_long::from(done))
}

/// May this process send signals to the one whose directory of `/proc` this is? Sends none.
pub(crate) fn test_signal(process: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes only numbers, and no information about the signal.
    let done = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), 0, std::ptr::null::<u8>(), 0) };
    zero_or_errno(done)
}

/// Marks every descriptor from `first` on to be closed by exec.
pub(crate) fn close_on_exec_from(first: libc::c_uint) -> io::Result<()> {
    // SAFETY: takes only numbers, and changes only the close-on-exec flag of descriptors.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    zero_or_errno(done)
}

/// Installs a filter on this thread, without turning on no_new_privs.
pub(crate) fn install_filter(program: &[libc::sock_filter]) -> io::Result<()> {
    let len = u16::try_from(program.len()).map_err(io::Error::other)?;
    let block = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: the block points to `len` live instructions; the kernel copies and never writes them.
    let done = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const block) };
    zero_or_errno(done)
}

/// Installs a filter as [`install_filter`] does, whose questions wait at the descriptor that this gives. With `killable`
/// (Linux 5.19) only a deadly signal ends a call from when somebody took its question; before that any signal interrupts it.
pub(crate) fn install_asking_filter(program: &[libc::sock_filter], killable: bool) -> io::Result<OwnedFd> {
    let len = u16::try_from(program.len()).map_err(io::Error::other)?;
    let block = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    let killable = if killable { libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV } else { 0 };
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | killable;
    // SAFETY: the block points to `len` live instructions; the kernel copies and never writes them.
    let fd = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const block) };
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call just made this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A call that waits for what this process says to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub id: u64,
    /// The thread that makes it.
    pub pid: u32,
    pub number: i64,
    pub arguments: [u64; 6],
}

/// What is said to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The kernel does it.
    Kernel,
    /// It is done, with this result.
    Done(i64),
    /// It failed.
    Failed(rustix::io::Errno),
}

/// Has the kernel pass the processor straight to whoever waits (Linux 6.6): only faster.
pub(crate) fn answer_at_once(listener: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes only numbers; the flag is SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP.
    let done = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS, 1_u64) };
    zero_or_errno(libc::c_long::from(done))
}

/// Waits for the next call.
pub(crate) fn next_call(listener: BorrowedFd<'_>) -> io::Result<Asked> {
    // SAFETY: all-zero bytes are what the kernel wants to find in it.
    let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the block is a live local of the type that this control code fills.
    let done = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut asked) };
    zero_or_errno(libc::c_long::from(done))?;
    let (number, arguments) = (i64::from(asked.data.nr), asked.data.args);
    Ok(Asked { id: asked.id, pid: asked.pid, number, arguments })
}

/// Does the call still wait? If so, what was opened of its process before is of its process.
pub(crate) fn still_waits(listener: BorrowedFd<'_>, asked: &Asked) -> bool {
    // SAFETY: the number is a live local of the type that this control code reads.
    let done = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const asked.id) };
    done == 0
}

/// Lets a call go on. One that does not wait any more needs no answer.
pub(crate) fn answer_call(listener: BorrowedFd<'_>, asked: &Asked, answer: Answer) -> io::Result<()> {
    let mut said = libc::seccomp_notif_resp { id: asked.id, val: 0, error: 0, flags: 0 };
    match answer {
        Answer::Kernel => said.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
        Answer::Done(value) => said.val = value,
        Answer::Failed(error) => said.error = -error.raw_os_error(),
    }
    // SAFETY: the block is a live local of the type that this control code reads.
    let done = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut said) };
    match zero_or_errno(libc::c_long::from(done)) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        other => other,
    }
}

/// Lets a call go on with a copy of a descriptor as its result (Linux 5.14).
pub(crate) fn answer_with_descriptor(
    listener: BorrowedFd<'_>,
    asked: &Asked,
    file: BorrowedFd<'_>,
    flags: u32,
) -> io::Result<()> {
    let given = libc::seccomp_notif_addfd {
        id: asked.id,
        flags: libc::SECCOMP_ADDFD_FLAG_SEND as u32,
        srcfd: file.as_raw_fd() as u32,
        newfd: 0,
        newfd_flags: flags,
    };
    // SAFETY: the block is a live local of the type that this control code reads.
    let done = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ADDFD, &raw const given) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Reads the memory of a process; gives how much could be read.
pub(crate) fn read_memory(pid: u32, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: buffer.len() };
    // SAFETY: the kernel writes into the live buffer, up to its length; the other address is never used here.
    let read = unsafe { libc::process_vm_readv(pid as libc::pid_t, &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(read).map_err(|_| io::Error::last_os_error())
}

/// Asks whether this process may read the memory of a child, which ends at once, in a way that does as [`read_memory`].
pub(crate) fn may_look_into_children(look: impl FnOnce(u32, u64, &mut [u8]) -> io::Result<usize>) -> io::Result<bool> {
    static LOOKED_AT: u8 = 1;
    // SAFETY: the child only sleeps and ends, should nobody end it before; it runs nothing of the parent's.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: as above.
        unsafe {
            libc::sleep(10);
            libc::_exit(0)
        }
    }
    let pid = forked(pid)?;
    let mut read = [0];
    let looked = look(pid.as_raw_pid() as u32, (&raw const LOOKED_AT) as u64, &mut read);
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
    rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty())?;
    Ok(looked.is_ok() && read == [LOOKED_AT])
}

/// What the kernel writes for `newfstatat`, with another owner.
pub(crate) fn stat_as(path: &CString, follow: bool, owner: (u32, u32)) -> io::Result<Vec<u8>> {
    let mut stat = vec![0; size_of::<libc::stat>()];
    let flags = if follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
    // SAFETY: the path is NUL-terminated, and the buffer is as long as what this call writes.
    let done = unsafe { libc::syscall(libc::SYS_newfstatat, libc::AT_FDCWD, path.as_ptr(), stat.as_mut_ptr(), flags) };
    zero_or_errno(done)?;
    let places = (std::mem::offset_of!(libc::stat, st_uid), std::mem::offset_of!(libc::stat, st_gid));
    put_owner(&mut stat, places, owner);
    Ok(stat)
}

/// What the kernel writes for `statx`, with another owner.
pub(crate) fn statx_as(path: &CString, flags: i32, mask: u32, owner: (u32, u32)) -> io::Result<Vec<u8>> {
    let mut stat = vec![0; size_of::<libc::statx>()];
    // SAFETY: the path is NUL-terminated, and the buffer is as long as what this call writes.
    let done = unsafe { libc::syscall(libc::SYS_statx, libc::AT_FDCWD, path.as_ptr(), flags, mask, stat.as_mut_ptr()) };
    zero_or_errno(done)?;
    let places = (std::mem::offset_of!(libc::statx, stx_uid), std::mem::offset_of!(libc::statx, stx_gid));
    put_owner(&mut stat, places, owner);
    Ok(stat)
}

fn put_owner(stat: &mut [u8], (uid, gid): (usize, usize), owner: (u32, u32)) {
    for (at, id) in [(uid, owner.0), (gid, owner.1)] {
        if let Some(place) = stat.get_mut(at..at + size_of::<u32>()) {
            place.copy_from_slice(&id.to_ne_bytes());
        }
    }
}

/// Closes every descriptor but the first three and these. Only for processes that never return to whoever has the others.
pub(crate) fn close_all_but<const N: usize>(kept: [BorrowedFd<'_>; N]) -> io::Result<()> {
    let mut kept = kept.map(|fd| fd.as_raw_fd() as libc::c_uint);
    kept.sort_unstable();
    let mut first = 3;
    for end in kept.into_iter().chain([libc::c_uint::MAX]) {
        if first < end {
            // SAFETY: takes only numbers; no caller uses any of these descriptors again.
            zero_or_errno(unsafe { libc::syscall(libc::SYS_close_range, first, end - 1, 0) })?;
        }
        first = first.max(end.saturating_add(1));
    }
    Ok(())
}

/// Has this thread the rights to files and processes that this user and this group have, in place of its own; what is
/// root's alone in the effective capabilities goes with root and comes back with it.
pub(crate) fn use_files_as(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: both take only numbers, and say who it was before; no id is the last one, so that it asks.
    let now = unsafe {
        libc::setfsgid(gid);
        libc::setfsuid(uid);
        (libc::setfsuid(u32::MAX), libc::setfsgid(u32::MAX))
    };
    if now == (uid as libc::c_int, gid as libc::c_int) { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

/// The version of Landlock that the kernel has switched on; zero where it has none, or it is off.
pub(crate) fn ask_landlock() -> io::Result<i64> {
    let nothing = std::ptr::null::<LandlockRuleset>();
    // SAFETY: with this flag the kernel wants a null block of size zero and only answers a number.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0, LANDLOCK_ASK_VERSION) };
    if version >= 0 {
        return Ok(version);
    }
    match io::Error::last_os_error() {
        error if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EOPNOTSUPP)) => Ok(0),
        error => Err(error),
    }
}

/// Where files may be used, by the rights of `linux/landlock.h`: with these rights below the directory, and with none of
/// them elsewhere.
pub(crate) struct Beneath<'a> {
    pub rights: u64,
    pub directory: BorrowedFd<'a>,
}

/// Enters a Landlock domain: this process and all its future children are cut off from what is outside as the scopes
/// say, and from files that are not beneath one of these. Without CAP_SYS_ADMIN no_new_privs has to be on.
pub(crate) fn enter_domain(scopes: u64, beneath: &[Beneath<'_>]) -> io::Result<()> {
    let handled_files = beneath.iter().fold(0, |all, files| all | files.rights);
    let rules = LandlockRuleset { handled_files, handled_network: 0, scoped: scopes };
    // Kernels that know no scopes take the shorter block of their time, and a longer one that ends in zeros.
    let size = size_of::<LandlockRuleset>();
    // SAFETY: the block is a live local whose exact size is passed.
    let fd = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const rules, size, 0) };
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call just made this descriptor, and nobody else knows it.
    let rules = unsafe { OwnedFd::from_raw_fd(fd) };
    for Beneath { rights, directory } in beneath {
        let rule = LandlockBeneath { allowed: *rights, parent: directory.as_raw_fd() };
        // SAFETY: the rule is a live local of the type that this kind of rule has; both descriptors live on.
        let done = unsafe {
            let (number, kind) = (libc::SYS_landlock_add_rule, LANDLOCK_RULE_PATH_BENEATH);
            libc::syscall(number, rules.as_raw_fd(), kind, &raw const rule, 0)
        };
        zero_or_errno(done)?;
    }
    // SAFETY: takes only a descriptor that lives until the end of this function.
    let done = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0) };
    zero_or_errno(done)
}

/// Asks in a child process, which ends at once, whether namespaces may be left, one after another.
pub(crate) fn may_unshare(in_turn: &[rustix::thread::UnshareFlags]) -> io::Result<bool> {
    // SAFETY: the child only makes system calls, allocates nothing and takes no lock, whatever other threads held.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let may = in_turn.iter().all(|flags| unshare(*flags).is_ok());
        // SAFETY: ends the child without running anything of the parent's.
        unsafe { libc::_exit(i32::from(!may)) };
    }
    let pid = forked(pid)?;
    let ended = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty())?;
    Ok(ended.is_some_and(|(_, status)| status.exit_status() == Some(0)))
}

/// Reads the first byte of a file through a shared mapping, and after this time writes one there; says whether that could
/// be done. A child process does it, since a disk that is full ends whoever writes so.
pub(crate) fn write_by_mapping(file: BorrowedFd<'_>, later: libc::timespec) -> io::Result<bool> {
    // SAFETY: the child makes four system calls, allocates nothing and takes no lock, whatever other threads held.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: the mapping is a new one at a place that the kernel chooses; only its first byte is touched, and only when
        // it was made. The rest ends the child without running anything of the parent's.
        unsafe {
            let both = libc::PROT_READ | libc::PROT_WRITE;
            let mapped = libc::mmap(std::ptr::null_mut(), 1, both, libc::MAP_SHARED, file.as_raw_fd(), 0);
            if mapped == libc::MAP_FAILED {
                libc::_exit(1);
            }
            // While it waits, no pipe and no lock of the parent's stays open by it. Where that is unknown, nothing is lost.
            libc::syscall(libc::SYS_close_range, 0, libc::c_uint::MAX, 0);
            let byte = mapped.cast::<u8>();
            let was = byte.read_volatile();
            libc::nanosleep(&raw const later, std::ptr::null_mut());
            byte.write_volatile(was.wrapping_add(1));
            libc::_exit(0)
        }
    }
    let pid = forked(pid)?;
    let ended = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty())?;
    Ok(ended.is_some_and(|(_, status)| status.exit_status() == Some(0)))
}

/// Switches on the loopback device of this network namespace.
pub(crate) fn raise_loopback() -> io::Result<()> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    // SAFETY: all-zero bytes are a valid request with an empty name.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: the request is a live local of the type that this control code reads.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) };
    zero_or_errno(libc::c_long::from(done))
}

/// Gives this process a session keyring of its own.
pub(crate) fn new_session_keyring() -> io::Result<()> {
    // SAFETY: a null name asks for an anonymous keyring; no memory is passed.
    let id = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>()) };
    if id < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The last signal that there is.
const LAST_SIGNAL: libc::c_int = 64;

/// `struct sigaction` of the kernel's interface: handler, flags, restorer and mask.
type KernelSigaction = [u64; 4];
static DEFAULT_ACTION: KernelSigaction = [0; 4];

/// Gives every signal its default action and empties the mask, as a new program expects.
pub(crate) fn reset_signals() -> io::Result<()> {
    let (action, none) = (&raw const DEFAULT_ACTION, std::ptr::null_mut::<KernelSigaction>());
    for signal in (1..=LAST_SIGNAL).filter(|signal| *signal != libc::SIGKILL && *signal != libc::SIGSTOP) {
        // The kernel's own call: the C library keeps two signals for itself, and a program that has threads leaves them
        // ignored to those that it starts.
        // SAFETY: the action is a live block of the size that the kernel reads, all zero: the default one.
        let done = unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, action, none, size_of::<u64>()) };
        zero_or_errno(done)?;
    }
    // SAFETY: the set is initialised by sigemptyset before it is read.
    let done = unsafe {
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut())
    };
    zero_or_errno(libc::c_long::from(done))
}

/// Replaces the process. Comes back only with an error.
pub(crate) fn execve(program: &CString, argv: &[CString], env: &[CString]) -> io::Error {
    let pointers =
        |strings: &[CString]| strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>();
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: all pointers are to live NUL-terminated strings, and both arrays end with a null.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Waits until something can be read (or has hung up), for each descriptor.
pub(crate) fn wait_readable<const N: usize>(
    fds: [Option<BorrowedFd<'_>>; N],
    limit: Option<Duration>,
) -> io::Result<[bool; N]> {
    Ok(poll(fds, limit)?.map(|events| events != 0))
}

/// The same, where the first one is a listener: only a call that waits there counts, and not that nobody is left who
/// would ask.
pub(crate) fn wait_for_call<const N: usize>(
    fds: [Option<BorrowedFd<'_>>; N],
    limit: Duration,
) -> io::Result<[bool; N]> {
    let mut is_listener = true;
    let counts = |events: libc::c_short| match std::mem::take(&mut is_listener) {
        true => events & libc::POLLIN != 0,
        false => events != 0,
    };
    Ok(poll(fds, Some(limit))?.map(counts))
}

/// What happened at each descriptor; nothing when a signal came.
fn poll<const N: usize>(fds: [Option<BorrowedFd<'_>>; N], limit: Option<Duration>) -> io::Result<[libc::c_short; N]> {
    let mut polled =
        fds.map(|fd| libc::pollfd { fd: fd.map_or(-1, |fd| fd.as_fd().as_raw_fd()), events: libc::POLLIN, revents: 0 });
    let limit = limit.map_or(-1, |limit| i32::try_from(limit.as_millis()).unwrap_or(i32::MAX));
    // SAFETY: the array is live and its true length is passed; negative descriptors are ignored.
    let ready = unsafe { libc::poll(polled.as_mut_ptr(), N as libc::nfds_t, limit) };
    if ready < 0 {
        let error = io::Error::last_os_error();
        if error.kind() == io::ErrorKind::Interrupted {
            return Ok([0; N]);
        }
        return Err(error);
    }
    Ok(polled.map(|entry| entry.revents))
}

fn zero_or_errno(code: libc::c_long) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What the kernel answers to a call with these first arguments and null for the others.
#[cfg(test)]
pub(crate) fn answer(number: i64, first: i64, second: u64) -> io::Error {
    // SAFETY: tests name only calls that refuse these arguments or do not exist.
    unsafe { libc::syscall(number, first, second, 0, 0, 0) };
    io::Error::last_os_error()
}
