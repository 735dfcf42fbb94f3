//! Limits of resources that the caller asks for.
//!
//! Takes one limit; sets it for this process and what it becomes. Must never set another limit than the one asked for:
//! what the kernel refuses is an error.

use crate::spec::{Limit, Resource};
use rustix::process::Rlimit;
use std::io;

/// Sets one limit.
pub(crate) fn set(limit: &Limit) -> io::Result<()> {
    use rustix::process::Resource as Kernel;
    let resource = match limit.resource {
        Resource::Core => Kernel::Core,
        Resource::Cpu => Kernel::Cpu,
        Resource::Data => Kernel::Data,
        Resource::Fsize => Kernel::Fsize,
        Resource::Locks => Kernel::Locks,
        Resource::Memlock => Kernel::Memlock,
        Resource::Msgqueue => Kernel::Msgqueue,
        Resource::Nice => Kernel::Nice,
        Resource::Nofile => Kernel::Nofile,
        Resource::Nproc => Kernel::Nproc,
        Resource::Rss => Kernel::Rss,
        Resource::Rtprio => Kernel::Rtprio,
        Resource::Rttime => Kernel::Rttime,
        Resource::Sigpending => Kernel::Sigpending,
        Resource::Stack => Kernel::Stack,
    };
    Ok(rustix::process::setrlimit(resource, Rlimit { current: limit.soft, maximum: limit.hard })?)
}
