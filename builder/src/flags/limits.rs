//! What all processes of a RUN together may use: `--memory`, `--memory-swap`, `--cpus`, `--cpu-shares`, `--pids`.

use super::steps::Bytes;
use clap::Args;
use cooper_engine::run_request::{Resources, Swap};
use std::num::NonZeroU64;
use std::str::FromStr;

/// Less memory than this is no place to run anything, as Docker says.
const LEAST: u64 = 6 << 20;

/// Flags of `cooper build`.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "What each RUN may use")]
pub struct LimitFlags {
    /// Most memory of all processes of a RUN together, as 512m
    ///
    /// It needs control groups, as all of these: those of version 2 where that of this process is delegated, or root. Where
    /// a limit cannot be kept, the build does not begin. `cooper doctor` says what there is.
    #[arg(short, long, value_name = "BYTES")]
    pub memory: Option<Bytes>,

    /// Memory and swap together, as 1g; -1: as much swap as there is; default: twice the memory
    #[arg(long, value_name = "BYTES", requires = "memory", allow_hyphen_values = true)]
    pub memory_swap: Option<SwapFlag>,

    /// Time of processors, in processors, as 1.5
    #[arg(long, value_name = "N")]
    pub cpus: Option<CpusFlag>,

    /// Weight against others who want the processors at the same time; what is usual is 1024
    #[arg(long, value_name = "WEIGHT")]
    pub cpu_shares: Option<NonZeroU64>,

    /// Most processes and threads at once
    #[arg(long, value_name = "N", alias = "pids-limit")]
    pub pids: Option<NonZeroU64>,
}

/// `--memory-swap`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SwapFlag {
    /// Memory and swap.
    Both(u64),
    /// -1.
    Unlimited,
}

/// `--cpus`, in millionths of a processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpusFlag(pub u64);

impl FromStr for SwapFlag {
    type Err = super::steps::StepFlagError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "-1" { Ok(Self::Unlimited) } else { text.parse().map(|Bytes(n)| Self::Both(n)) }
    }
}

impl FromStr for CpusFlag {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "expected a number of processors, as 2 or 0.5; the least is 0.01";
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(part) || part.len() > 6 || whole.len() > 6 || (whole.is_empty() && part.is_empty())
        {
            return Err(wrong);
        }
        let millionths = format!("{whole}{part:0<6}").parse().map_err(|_| wrong)?;
        // The kernel gives no less than a millisecond of each tenth of a second.
        if millionths < 10_000 { Err(wrong) } else { Ok(Self(millionths)) }
    }
}

impl LimitFlags {
    /// The limits.
    ///
    /// # Errors
    /// What is wrong with two of them together.
    pub fn resources(&self) -> Result<Resources, String> {
        let memory = self.memory.map(|Bytes(n)| n);
        if memory.is_some_and(|bytes| bytes < LEAST) {
            return Err("--memory is less than 6m, in which nothing runs".to_owned());
        }
        let swap = match (self.memory_swap, memory) {
            (None, _) | (_, None) => Swap::Usual,
            (Some(SwapFlag::Unlimited), _) => Swap::Unlimited,
            (Some(SwapFlag::Both(both)), Some(memory)) if both < memory => {
                return Err("--memory-swap is memory and swap together, and less than --memory".to_owned());
            }
            (Some(SwapFlag::Both(both)), Some(memory)) if both == memory => Swap::None,
            (Some(SwapFlag::Both(both)), Some(memory)) => Swap::Bytes(both - memory),
        };
        Ok(Resources {
            memory_bytes: memory,
            swap,
            cpu_period_share: self.cpus.map(|CpusFlag(n)| n),
            cpu_shares: self.cpu_shares.map(NonZeroU64::get),
            processes: self.pids.map(NonZeroU64::get),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::flags::{Cli, Command};
    use clap::Parser as _;
    use cooper_engine::run_request::{Resources, Swap};

    fn of(flags: &str) -> Result<Resources, String> {
        let line = format!("cooper build {flags} .");
        let cli = Cli::try_parse_from(line.split_whitespace()).map_err(|e| e.to_string())?;
        let Command::Build(flags) = cli.command else { panic!() };
        flags.limits.resources()
    }

    #[test]
    fn docker_s_words() {
        let none = Resources::default();
        let memory = Resources { memory_bytes: Some(512 << 20), ..none };
        for (flags, expected) in [
            ("", none),
            ("--memory 512m", memory),
            ("-m 512m", memory),
            ("-m 512m --memory-swap 512m", Resources { swap: Swap::None, ..memory }),
            ("-m 512m --memory-swap 513m", Resources { swap: Swap::Bytes(1 << 20), ..memory }),
            ("-m 512m --memory-swap -1", Resources { swap: Swap::Unlimited, ..memory }),
            ("--cpus 1.5", Resources { cpu_period_share: Some(1_500_000), ..none }),
            ("--cpus .25", Resources { cpu_period_share: Some(250_000), ..none }),
            ("--cpus 2", Resources { cpu_period_share: Some(2_000_000), ..none }),
            ("--cpu-shares 512", Resources { cpu_shares: Some(512), ..none }),
            ("--pids 64", Resources { processes: Some(64), ..none }),
            ("--pids-limit 64", Resources { processes: Some(64), ..none }),
        ] {
            assert_eq!(of(flags), Ok(expected), "{flags}");
        }
        for wrong in [
            "-m 0",
            "-m x",
            "-m 5m",
            "--memory-swap 1g",
            "-m 512m --memory-swap 511m",
            "-m 512m --memory-swap -2",
            "--cpus 0",
            "--cpus -1",
            "--cpus 1e3",
            "--cpus .",
            "--cpus 0.001",
            "--cpus 1.0000001",
            "--pids 0",
            "--pids -1",
        ] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
