//! The system calls that a step may make: Docker's default profile as a table, denied by default.
//!
//! Denied calls fail with EPERM, as programs expect from Docker. `clone3` and calls newer than the
//! table fail with ENOSYS, so that a C library falls back to the older call instead of giving up.
//! Calls of another architecture's interface kill the process: they could bypass the table.
//!
//! Two filters: the first looks at the call's number, the second at the arguments of a few calls.
//! The first is written by hand, because the kernel tries it with every number when it is
//! installed: one comparison a call would cost most of a millisecond a step.

use crate::answers::Asks;
use crate::seccomp_table::{ALLOWED, ALLOWED_BY_NUMBER, ALLOWED_HERE};
use crate::sys;
use libc::{BPF_ABS, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition as Condition,
    SeccompFilter, SeccompRule,
};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;

/// Allowed, but not with all arguments.
const ARGUMENTS_MATTER: [i64; 4] = [libc::SYS_clone, libc::SYS_ioctl, libc::SYS_personality, libc::SYS_socket];
/// The newest call that the table was written with; later ones do not exist for a step.
const NEWEST_KNOWN: i64 = libc::SYS_mseal;
/// Every flag of `clone` that makes a namespace.
const NAMESPACE_FLAGS: u64 = 0x7e02_0000;
/// Socket families that reach kernel code no build needs (CVE-2026-31431), the hypervisor, or the
/// packets of everybody on the host's network.
const DENIED_FAMILIES: [i32; 4] = [libc::AF_ALG, libc::AF_VSOCK, libc::AF_PACKET, libc::AF_XDP];
const INTERNET_FAMILIES: [i32; 2] = [libc::AF_INET, libc::AF_INET6];
/// Internet sockets that read other people's packets too.
const DENIED_TYPES: [i32; 2] = [libc::SOCK_RAW, SOCK_PACKET];
/// Of these, the ones of `ping` may be made.
const PING: [i32; 2] = [libc::IPPROTO_ICMP, libc::IPPROTO_ICMPV6];
/// From `linux/net.h`: the old name of packet sockets, which the kernel still takes for one.
const SOCK_PACKET: i32 = 10;
/// Where the type of a socket stands among its flags.
const TYPE_BITS: u64 = 0xf;
/// `personality`: Linux, with or without 32-bit uname and fixed addresses, and the query.
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];
/// Control codes that put words into a terminal's mouth.
const DENIED_CONTROLS: [u64; 2] = [libc::TIOCSTI, libc::TIOCLINUX];

/// Where the arguments begin in what a filter sees, and where the lower half of one is in it.
const FIRST_ARGUMENT: u32 = 16;
const LOW_HALF: u32 = if cfg!(target_endian = "big") { 4 } else { 0 };
/// The calls that change how often a process runs, and where: each has the process as its first argument, zero for the
/// caller.
const SCHEDULING: [i64; 4] =
    [libc::SYS_sched_setaffinity, libc::SYS_sched_setattr, libc::SYS_sched_setparam, libc::SYS_sched_setscheduler];
/// The calls that change a priority, and which kind of target in the first argument is everything of a user; the second
/// one says whose, zero for the caller. From `linux/resource.h` and `linux/ioprio.h`.
const PRIORITIES: [(i64, u64); 2] = [(libc::SYS_setpriority, 2), (libc::SYS_ioprio_set, 3)];

/// What keeps a step where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Walls {
    /// Namespaces.
    Namespaces,
    /// A chroot: a second one would be the way out of it, and the limits and priorities of other processes are within
    /// reach.
    Chroot,
}

/// Installs both filters on this process. It must still be allowed to administer, or have no_new_privs on.
pub(crate) fn install(walls: Walls) -> io::Result<()> {
    sys::install_filter(&numbers(&ranges(&allowed(walls)))?)?;
    let arguments = arguments(walls).map_err(io::Error::other)?;
    let arguments = arguments.iter().map(|step| sock_filter { code: step.code, jt: step.jt, jf: step.jf, k: step.k });
    sys::install_filter(&arguments.collect::<Vec<_>>())
}

/// What a filter that asks does besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Besides {
    Nothing,
    /// Nobody changes the slack of their timers, as if it were done (`owners`).
    KeepsSlack,
}

/// Has this process and its children asked about what is answered elsewhere (`answers`); gives where the questions wait.
/// What the other filters deny stays denied, since of two answers the kernel takes the stricter.
pub(crate) fn install_asking(
    killable: bool,
    asked: impl Iterator<Item = (i64, Asks)>,
    besides: Besides,
) -> io::Result<OwnedFd> {
    sys::install_asking_filter(&questions(asked, besides), killable)
}

/// The third filter: questions.
fn questions(asked: impl Iterator<Item = (i64, Asks)>, besides: Besides) -> Vec<sock_filter> {
    let step = |code, jt, jf, k| sock_filter { code: code as u16, jt, jf, k };
    let load = |at| step(BPF_LD | BPF_W | BPF_ABS, 0, 0, at);
    let answer = |action| step(BPF_RET | BPF_K, 0, 0, action);
    let equal = |value, yes, no| step(BPF_JMP | BPF_JEQ | BPF_K, yes, no, value);
    let argument = |number: u8| load(FIRST_ARGUMENT + 8 * u32::from(number) + LOW_HALF);
    let mut program = vec![load(0)];
    // A call with this argument; what follows finds the call's number again.
    let with =
        |number: i64, which, test, action| [equal(number as u32, 0, 4), argument(which), test, answer(action), load(0)];
    for (number, asks) in asked {
        let question = libc::SECCOMP_RET_USER_NOTIF;
        match asks {
            Asks::Always => program.extend([equal(number as u32, 0, 1), answer(question)]),
            Asks::Bits(which, bits) => {
                let test = step(BPF_JMP | BPF_JSET | BPF_K, 0, 1, bits);
                program.extend(with(number, which, test, question));
            }
            Asks::NoBits(which, bits) => {
                let test = step(BPF_JMP | BPF_JSET | BPF_K, 1, 0, bits);
                program.extend(with(number, which, test, question));
            }
            Asks::Is(which, value) => program.extend(with(number, which, equal(value, 0, 1), question)),
        }
    }
    if besides == Besides::KeepsSlack {
        let slack = equal(libc::PR_SET_TIMERSLACK as u32, 0, 1);
        // As if it were done.
        program.extend(with(libc::SYS_prctl, 0, slack, libc::SECCOMP_RET_ERRNO));
    }
    program.push(answer(libc::SECCOMP_RET_ALLOW));
    program
}

/// The numbers of all calls that may be made at all, in order.
fn allowed(walls: Walls) -> Vec<u32> {
    let mut tables = [ALLOWED, ALLOWED_HERE, ALLOWED_BY_NUMBER, &ARGUMENTS_MATTER].concat();
    tables.retain(|number| walls == Walls::Namespaces || *number != libc::SYS_chroot);
    let mut numbers: Vec<u32> = tables.into_iter().filter_map(|number| u32::try_from(number).ok()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// First and last of each run of neighbours.
fn ranges(numbers: &[u32]) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    ranges
}

/// The first filter. It need not look at the architecture: the second kills what is foreign, and
/// of two answers the kernel takes the stricter.
fn numbers(ranges: &[(u32, u32)]) -> io::Result<Vec<sock_filter>> {
    let step = |code, jt, jf, k| sock_filter { code: code as u16, jt, jf, k };
    let answer = |action, error: i32| step(BPF_RET | BPF_K, 0, 0, action | error as u32);
    let equal = |number, yes, no| step(BPF_JMP | BPF_JEQ | BPF_K, yes, no, number);
    let at_least = |number, yes, no| step(BPF_JMP | BPF_JGE | BPF_K, yes, no, number);
    let above = |number, yes, no| step(BPF_JMP | BPF_JGT | BPF_K, yes, no, number);
    let mut program = vec![
        // The call's number is the first word of what a filter sees.
        step(BPF_LD | BPF_W | BPF_ABS, 0, 0, 0),
        equal(libc::SYS_clone3 as u32, 1, 0),
        // The numbers of x32 are among these, far above.
        at_least(NEWEST_KNOWN as u32 + 1, 0, 1),
        answer(libc::SECCOMP_RET_ERRNO, libc::ENOSYS),
    ];
    // Behind two steps for each range and the refusal stands the permission.
    let mut to_permission = ranges.len() * 2;
    for (first, last) in ranges {
        to_permission -= 1;
        program.push(at_least(*first, 0, 1));
        program.push(above(*last, 0, u8::try_from(to_permission).map_err(io::Error::other)?));
        to_permission = to_permission.saturating_sub(1);
    }
    program.push(answer(libc::SECCOMP_RET_ERRNO, libc::EPERM));
    program.push(answer(libc::SECCOMP_RET_ALLOW, 0));
    Ok(program)
}

type Compiled<T> = Result<T, seccompiler::BackendError>;

/// The second filter: each rule is one way to be refused.
fn arguments(walls: Walls) -> Compiled<BpfProgram> {
    let is_not = |argument, value| Condition::new(argument, Len::Dword, Op::Ne, value);
    let is = |argument, value| Condition::new(argument, Len::Dword, Op::Eq, value);
    let flags = (0..64).map(|bit| 1_u64 << bit).filter(|flag| NAMESPACE_FLAGS & flag != 0);
    let flag = |flag| SeccompRule::new(vec![Condition::new(0, Len::Qword, Op::MaskedEq(flag), flag)?]);
    let personality = PERSONALITIES.iter().map(|value| is_not(0, *value)).collect::<Compiled<_>>()?;
    let control = |code: &u64| SeccompRule::new(vec![is(1, *code)?]);
    let mut rules = BTreeMap::from([
        (libc::SYS_clone, flags.map(flag).collect::<Compiled<_>>()?),
        (libc::SYS_ioctl, DENIED_CONTROLS.iter().map(control).collect::<Compiled<_>>()?),
        (libc::SYS_personality, vec![SeccompRule::new(personality)?]),
        (libc::SYS_socket, sockets()?),
    ]);
    if walls == Walls::Chroot {
        // The kernel refuses none of these where both are root. What is of the step's process group is its own: it has a
        // session to itself.
        for call in SCHEDULING.into_iter().chain([libc::SYS_prlimit64]) {
            rules.insert(call, vec![SeccompRule::new(vec![is_not(0, 0)?])?]);
        }
        for (call, of_a_user) in PRIORITIES {
            let others = [is_not(1, 0)?, is(0, of_a_user)?];
            rules.insert(call, others.map(|other| SeccompRule::new(vec![other])).into_iter().collect::<Compiled<_>>()?);
        }
    }
    let denied = SeccompAction::Errno(libc::EPERM as u32);
    SeccompFilter::new(rules, SeccompAction::Allow, denied, std::env::consts::ARCH.try_into()?)?.try_into()
}

fn sockets() -> Compiled<Vec<SeccompRule>> {
    let family = |family: i32| Condition::new(0, Len::Dword, Op::Eq, family as u64);
    let mut rules =
        DENIED_FAMILIES.iter().map(|denied| SeccompRule::new(vec![family(*denied)?])).collect::<Compiled<Vec<_>>>()?;
    for internet in INTERNET_FAMILIES {
        for kind in DENIED_TYPES {
            let of_kind = Condition::new(1, Len::Dword, Op::MaskedEq(TYPE_BITS), kind as u64)?;
            let mut conditions = vec![family(internet)?, of_kind];
            for protocol in PING {
                conditions.push(Condition::new(2, Len::Dword, Op::Ne, protocol as u64)?);
            }
            rules.push(SeccompRule::new(conditions)?);
        }
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the first filter answers, found as the kernel finds it.
    fn answer(program: &[sock_filter], number: u32) -> u32 {
        let mut at = 1;
        loop {
            let step = program[at];
            let code = u32::from(step.code);
            if code == BPF_RET | BPF_K {
                return step.k;
            }
            let yes = match code & !(BPF_JMP | BPF_K) {
                BPF_JEQ => number == step.k,
                BPF_JGE => number >= step.k,
                BPF_JGT => number > step.k,
                other => panic!("{other:x}"),
            };
            at += 1 + usize::from(if yes { step.jt } else { step.jf });
        }
    }

    #[test]
    fn first_filter_is_the_table() {
        let allowed = allowed(Walls::Namespaces);
        let program = numbers(&ranges(&allowed)).expect("fits");
        assert!(allowed.len() > 250);
        for number in (0..2000).chain([0x4000_0000, 0x4000_0027, u32::MAX]) {
            let missing = number > NEWEST_KNOWN as u32 || number == libc::SYS_clone3 as u32;
            let expected = if missing {
                libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32
            } else if allowed.contains(&number) {
                libc::SECCOMP_RET_ALLOW
            } else {
                libc::SECCOMP_RET_ERRNO | libc::EPERM as u32
            };
            assert_eq!(answer(&program, number), expected, "{number}");
        }
        assert!(numbers(&vec![(0, 0); 200]).is_err(), "a table that jumps too far is an error");
    }

    #[test]
    fn refusals_are_the_right_ones() {
        use rustix::io::Errno;
        use rustix::net::{AddressFamily, SocketType, socket};
        let checks = std::thread::spawn(|| {
            rustix::thread::set_no_new_privs(true).expect("is always allowed");
            install(Walls::Namespaces).expect("installs");
            for (family, expected) in [
                (libc::AF_ALG, Some(Errno::PERM)),
                (libc::AF_VSOCK, Some(Errno::PERM)),
                (libc::AF_PACKET, Some(Errno::PERM)),
                (libc::AF_XDP, Some(Errno::PERM)),
                (libc::AF_UNIX, None),
                (libc::AF_INET, None),
            ] {
                let family = AddressFamily::from_raw(u16::try_from(family).expect("small"));
                assert_eq!(socket(family, SocketType::DGRAM, None).err(), expected);
            }
            for (call, expected) in [
                (libc::SYS_clone3, libc::ENOSYS),
                (NEWEST_KNOWN + 1, libc::ENOSYS),
                (NEWEST_KNOWN + 1000, libc::ENOSYS),
                // The x32 call of the same number.
                (0x4000_0000 + libc::SYS_getpid, libc::ENOSYS),
                (libc::SYS_keyctl, libc::EPERM),
                (libc::SYS_mount, libc::EPERM),
                (libc::SYS_io_uring_setup, libc::EPERM),
                (libc::SYS_openat2, libc::EINVAL),
            ] {
                assert_eq!(sys::answer(call, 0, 0).raw_os_error(), Some(expected), "{call}");
            }
            // Impossible together: EINVAL where the filter has nothing against it.
            let impossible = i64::from(libc::CLONE_SIGHAND);
            assert_eq!(sys::answer(libc::SYS_clone, impossible, 0).raw_os_error(), Some(libc::EINVAL));
            for bit in [17, 25, 26, 27, 28, 29, 30] {
                let flags = impossible | 1 << bit;
                assert_eq!(sys::answer(libc::SYS_clone, flags, 0).raw_os_error(), Some(libc::EPERM), "{flags:x}");
            }
            let read_implies_execute = 0x40_0000;
            assert_eq!(sys::answer(libc::SYS_personality, read_implies_execute, 0).raw_os_error(), Some(libc::EPERM));
            // No descriptor: EBADF where the filter has nothing against it.
            for (control, expected) in
                [(libc::TIOCSTI, libc::EPERM), (libc::TIOCLINUX, libc::EPERM), (libc::TIOCGWINSZ, libc::EBADF)]
            {
                assert_eq!(sys::answer(libc::SYS_ioctl, -1, control).raw_os_error(), Some(expected), "{control:x}");
            }
        });
        checks.join().expect("all as expected");
    }

    /// Where there are no namespaces: what else it refuses, and nothing more.
    #[test]
    fn a_chroot_is_not_left_and_others_are_not_changed() {
        let [here, there] = [Walls::Chroot, Walls::Namespaces].map(allowed);
        let missing: Vec<u32> = there.iter().copied().filter(|number| !here.contains(number)).collect();
        assert_eq!(missing, [libc::SYS_chroot as u32]);
        assert!(here.iter().all(|number| there.contains(number)));
        let answers = |walls| {
            let thread = std::thread::spawn(move || {
                rustix::thread::set_no_new_privs(true).expect("is always allowed");
                install(walls).expect("installs");
                let own = i64::from(std::process::id());
                // What the kernel would say itself: there is no name at address zero, and no such limit.
                let calls = [
                    (libc::SYS_chroot, 0, 0),
                    (libc::SYS_prlimit64, 0, 999),
                    (libc::SYS_prlimit64, own, 999),
                    (libc::SYS_prlimit64, 1, 999),
                    (libc::SYS_prlimit64, 1 << 32, 999),
                    (libc::SYS_mount, 0, 0),
                    (libc::SYS_setns, -1, 0),
                    (libc::SYS_unshare, i64::from(libc::CLONE_NEWUSER), 0),
                    (libc::SYS_clone, i64::from(libc::CLONE_NEWUSER | libc::CLONE_SIGHAND), 0),
                    (libc::SYS_socket, i64::from(libc::AF_PACKET), 0),
                    (libc::SYS_ioctl, -1, libc::TIOCSTI),
                ];
                calls.map(|(call, first, second)| sys::answer(call, first, second).raw_os_error().unwrap_or(0))
            });
            thread.join().expect("all are answered")
        };
        let [denied, fault, invalid] = [libc::EPERM, libc::EFAULT, libc::EINVAL];
        let in_a_chroot = answers(Walls::Chroot);
        // The kernel takes the lower half of a number of a process, and so does the filter.
        assert_eq!(in_a_chroot[..5], [denied, invalid, denied, denied, invalid]);
        assert_eq!(in_a_chroot[5..], [denied; 6]);
        let in_namespaces = answers(Walls::Namespaces);
        assert_eq!(in_namespaces[..5], [fault, invalid, invalid, invalid, invalid]);
        assert_eq!(in_namespaces[5..], [denied; 6]);
    }

    /// Each with arguments that the kernel itself refuses otherwise, before or after it looked for the process: no such
    /// kind of target, priority or policy, no parameters at address zero.
    #[test]
    fn in_a_chroot_nobody_schedules_others() {
        let (own, other) = (i64::from(std::process::id()), 1);
        let thread = std::thread::spawn(move || {
            rustix::thread::set_no_new_privs(true).expect("is always allowed");
            install(Walls::Chroot).expect("installs");
            let answer = |call, first, second| sys::answer(call, first, second).raw_os_error().unwrap_or(0);
            for call in SCHEDULING {
                // Three arguments at most, of which all but the first are zero.
                let of_oneself = answer(call, 0, 0);
                assert!([libc::EINVAL, libc::EFAULT].contains(&of_oneself), "{call}: {of_oneself}");
                for process in [own, other, -1] {
                    assert_eq!(answer(call, process, 0), libc::EPERM, "{call} of {process}");
                }
            }
            for (call, of_a_user) in PRIORITIES {
                let of_a_user = i64::try_from(of_a_user).expect("small");
                assert_eq!(answer(call, 99, 0), libc::EINVAL, "{call} is asked of the kernel");
                for kind in 0..=of_a_user {
                    assert_eq!(answer(call, kind, 1), libc::EPERM, "{call} of {kind} 1");
                }
                assert_eq!(answer(call, of_a_user, 0), libc::EPERM, "{call} of everything of this user");
            }
            let priority = rustix::process::getpriority_process(None).expect("is always told");
            rustix::process::setpriority_process(None, priority).expect("its own may be set, here to what it is");
        });
        thread.join().expect("all as expected");
    }

    #[test]
    fn dangerous_calls_are_not_in_the_table() {
        for call in [
            libc::SYS_mount,
            libc::SYS_umount2,
            libc::SYS_move_mount,
            libc::SYS_fsopen,
            libc::SYS_open_tree,
            libc::SYS_pivot_root,
            libc::SYS_setns,
            libc::SYS_unshare,
            libc::SYS_clone,
            libc::SYS_clone3,
            libc::SYS_socket,
            libc::SYS_ioctl,
            libc::SYS_keyctl,
            libc::SYS_add_key,
            libc::SYS_request_key,
            libc::SYS_bpf,
            libc::SYS_perf_event_open,
            libc::SYS_userfaultfd,
            libc::SYS_io_uring_setup,
            libc::SYS_kexec_load,
            libc::SYS_init_module,
            libc::SYS_open_by_handle_at,
            libc::SYS_swapon,
            libc::SYS_reboot,
            libc::SYS_syslog,
            libc::SYS_settimeofday,
            libc::SYS_pidfd_getfd,
        ] {
            assert!(!ALLOWED.contains(&call) && !ALLOWED_HERE.contains(&call), "{call}");
        }
    }
}
