//! What is written into a control group for each limit. Pure but for the writing.

use super::places::{Controller, Version};
use crate::SandboxError;
use crate::spec::{Resources, Swap};
use std::io::ErrorKind;
use std::path::Path;

/// The time in which a share of the processors is given, in microseconds, as Docker.
const PERIOD: u64 = 100_000;
/// The bounds of `cpu.shares`, and of `cpu.weight`, which takes its place in version 2.
const SHARES: (u64, u64) = (2, 262_144);

/// May it be missing?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// It was asked for.
    Must,
    /// It follows from something else that was asked for; without it there is nothing to limit.
    May,
}

/// One file of a group and what it gets.
#[derive(Debug, PartialEq, Eq)]
pub struct Value {
    flag: &'static str,
    file: &'static str,
    text: String,
    need: Need,
}

impl Value {
    /// Writes it.
    pub fn write(&self, group: &Path) -> Result<(), SandboxError> {
        let file = group.join(self.file);
        match std::fs::OpenOptions::new().write(true).open(&file) {
            Err(e) if e.kind() == ErrorKind::NotFound && self.need == Need::May => return Ok(()),
            Ok(mut open) => std::io::Write::write_all(&mut open, self.text.as_bytes()),
            Err(e) => Err(e),
        }
        .map_err(|error| SandboxError::Unavailable {
            feature: self.flag,
            cause: format!("writing {} to {}: {error}", self.text, file.display()),
            hint: match self.file {
                "memory.memsw.limit_in_bytes" | "memory.swap.max" => {
                    "start the kernel with swapaccount=1, or leave --memory-swap away".to_owned()
                }
                _ => format!("choose another value, or leave {} away", self.flag),
            },
        })
    }
}

/// The controllers that the limits need.
pub fn controllers(wanted: &Resources) -> Vec<Controller> {
    let Resources { memory_bytes, swap, cpu_period_share, cpu_shares, processes } = wanted;
    let mut all = Vec::new();
    if memory_bytes.is_some() || *swap != Swap::Usual {
        all.push(Controller::Memory);
    }
    if cpu_period_share.is_some() || cpu_shares.is_some() {
        all.push(Controller::Cpu);
    }
    if processes.is_some() {
        all.push(Controller::Pids);
    }
    all
}

/// What one controller is told, in this order.
pub fn values(wanted: &Resources, controller: Controller, version: Version) -> Vec<Value> {
    let value = |flag, file, text: String, need| Value { flag, file, text, need };
    let mut all = Vec::new();
    match controller {
        Controller::Memory => all.extend(memory(wanted, version)),
        Controller::Cpu => {
            let quota = wanted.cpu_period_share.map(|millionths| (millionths * PERIOD).div_ceil(1_000_000));
            match (quota, version) {
                (Some(quota), Version::One) => {
                    all.push(value("--cpus", "cpu.cfs_period_us", PERIOD.to_string(), Need::Must));
                    all.push(value("--cpus", "cpu.cfs_quota_us", quota.to_string(), Need::Must));
                }
                (Some(quota), Version::Two) => {
                    all.push(value("--cpus", "cpu.max", format!("{quota} {PERIOD}"), Need::Must));
                }
                (None, _) => {}
            }
            if let Some(shares) = wanted.cpu_shares {
                let shares = shares.clamp(SHARES.0, SHARES.1);
                all.push(match version {
                    Version::One => value("--cpu-shares", "cpu.shares", shares.to_string(), Need::Must),
                    // As runc and crun.
                    Version::Two => {
                        let weight = 1 + (shares - SHARES.0) * 9_999 / (SHARES.1 - SHARES.0);
                        value("--cpu-shares", "cpu.weight", weight.to_string(), Need::Must)
                    }
                });
            }
        }
        Controller::Pids => {
            all.extend(wanted.processes.map(|most| value("--pids", "pids.max", most.to_string(), Need::Must)));
        }
    }
    all
}

/// Memory alone, and memory with swap, of which version 2 wants only the swap.
fn memory(wanted: &Resources, version: Version) -> Vec<Value> {
    let Some(memory) = wanted.memory_bytes else { return Vec::new() };
    let (file, swap_file) = match version {
        Version::One => ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
        Version::Two => ("memory.max", "memory.swap.max"),
    };
    let (swap, need) = match wanted.swap {
        // As Docker: as much again.
        Swap::Usual => (Some(memory), Need::May),
        Swap::None => (Some(0), Need::Must),
        Swap::Bytes(bytes) => (Some(bytes), Need::Must),
        Swap::Unlimited => (None, Need::Must),
    };
    let text = match (swap, version) {
        (None, Version::One) => "-1".to_owned(),
        (None, Version::Two) => "max".to_owned(),
        (Some(swap), Version::One) => memory.saturating_add(swap).to_string(),
        (Some(swap), Version::Two) => swap.to_string(),
    };
    vec![
        Value { flag: "--memory", file, text: memory.to_string(), need: Need::Must },
        Value { flag: "--memory-swap", file: swap_file, text, need },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(wanted: &Resources, version: Version) -> Vec<String> {
        let of = |c| values(wanted, c, version).into_iter().map(|v| format!("{}={}", v.file, v.text));
        controllers(wanted).into_iter().flat_map(of).collect()
    }

    #[test]
    fn limits_are_told_in_the_words_of_each_version() {
        let none = Resources::default();
        for (wanted, one, two) in [
            (none, vec![], vec![]),
            (
                Resources { memory_bytes: Some(100), ..none },
                vec!["memory.limit_in_bytes=100", "memory.memsw.limit_in_bytes=200"],
                vec!["memory.max=100", "memory.swap.max=100"],
            ),
            (
                Resources { memory_bytes: Some(100), swap: Swap::None, ..none },
                vec!["memory.limit_in_bytes=100", "memory.memsw.limit_in_bytes=100"],
                vec!["memory.max=100", "memory.swap.max=0"],
            ),
            (
                Resources { memory_bytes: Some(100), swap: Swap::Unlimited, ..none },
                vec!["memory.limit_in_bytes=100", "memory.memsw.limit_in_bytes=-1"],
                vec!["memory.max=100", "memory.swap.max=max"],
            ),
            (
                Resources { cpu_period_share: Some(1_500_000), ..none },
                vec!["cpu.cfs_period_us=100000", "cpu.cfs_quota_us=150000"],
                vec!["cpu.max=150000 100000"],
            ),
            (Resources { cpu_shares: Some(1024), ..none }, vec!["cpu.shares=1024"], vec!["cpu.weight=39"]),
            (Resources { cpu_shares: Some(1), ..none }, vec!["cpu.shares=2"], vec!["cpu.weight=1"]),
            (Resources { processes: Some(64), ..none }, vec!["pids.max=64"], vec!["pids.max=64"]),
        ] {
            assert_eq!(told(&wanted, Version::One), one, "{wanted:?}");
            assert_eq!(told(&wanted, Version::Two), two, "{wanted:?}");
        }
    }

    #[test]
    fn what_was_asked_for_must_be_there() {
        let dir = tempfile::tempdir().unwrap();
        let wanted = |swap| Resources { memory_bytes: Some(1), swap, ..Resources::default() };
        let write = |swap| {
            let values = values(&wanted(swap), Controller::Memory, Version::Two);
            values.iter().try_for_each(|v| v.write(dir.path()))
        };
        assert!(write(Swap::Usual).unwrap_err().to_string().starts_with("--memory not available"));
        std::fs::write(dir.path().join("memory.max"), "").unwrap();
        write(Swap::Usual).unwrap();
        assert!(write(Swap::None).unwrap_err().hint().unwrap().contains("swapaccount"));
    }
}
