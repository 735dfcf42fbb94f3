//! House-keeping: `cooper du`, `cooper prune`, `cooper rm`, and the cap of `cooper build`.

use super::steps::Bytes;
use clap::Args;
use cooper_image::Reference;
use cooper_store::Kind;
use std::str::FromStr;
use std::time::Duration;

/// `cooper du`.
#[derive(Debug, Args)]
pub struct DuFlags {
    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
}

/// `cooper prune`.
#[derive(Debug, Args)]
pub struct PruneFlags {
    /// Also what was used recently
    #[arg(short, long, conflicts_with_all = ["keep_duration", "filter"])]
    pub all: bool,

    /// Spare what was used within this time, as 90m, 12h or 7d; default: 48h, and nothing with --max-size
    #[arg(long, value_name = "TIME")]
    pub keep_duration: Option<Span>,

    /// Delete what was not used for longest, until no more than this is left, as 20g for 20 GiB
    ///
    /// When what is left is more, because names or processes need it, the command fails with 5 and says what is in the
    /// way.
    #[arg(long, value_name = "BYTES", alias = "max-used-space")]
    pub max_size: Option<Bytes>,

    /// Choose: until=TIME (the same as --keep-duration), type=KIND, id=PREFIX; repeatable
    ///
    /// Kinds are those of `cooper du`: tar, blob, tree, record, build, mount, failed, url, upload, chunk, stat, inflight.
    #[arg(long, value_name = "KEY=VALUE")]
    pub filter: Vec<Filter>,

    /// Delete nothing; say of each thing whether it would go, and why
    #[arg(long)]
    pub dry_run: bool,

    /// Do not ask
    #[arg(short, long)]
    pub force: bool,

    /// Print JSON, for programs; asks nothing
    #[arg(long)]
    pub json: bool,
}

/// `cooper rm`.
#[derive(Debug, Args)]
pub struct RmFlags {
    /// Delete at the registry, not in the store
    #[arg(long)]
    pub remote: bool,
    /// The images' names
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<Reference>,
    /// Print JSON, for programs: the names that were taken away
    #[arg(long)]
    pub json: bool,
}

/// The cap of the store.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "House-keeping")]
pub struct CapFlags {
    /// After a successful build, delete what was not used for longest when the store holds more than this, as 50g for
    /// 50 GiB
    ///
    /// Default: $COOPER_GC_MAX_SIZE, else nothing is deleted. What names lead to and what is in use stays; `cooper
    /// prune` says the same of itself.
    #[arg(long, value_name = "BYTES")]
    pub gc_max_size: Option<Bytes>,
}

/// A time as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

/// One `--filter`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// What was used since stays.
    Until(Duration),
    /// One kind.
    Type(Kind),
    /// Beginning of a name.
    Id(String),
}

/// What is wrong with a flag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreFlagError {
    /// No time.
    #[error("{0:?} is no time: write a number with s, m, h or d, as 90m or 7d")]
    Span(String),
    /// No filter.
    #[error("{0:?} is no filter: there are until=TIME, type=KIND and id=PREFIX")]
    Filter(String),
    /// No kind.
    #[error(
        "{0:?} is no kind that can be deleted: there are tar, blob, tree, record, build, mount, failed, url, upload, chunk, stat, inflight"
    )]
    Kind(String),
}

impl FromStr for Span {
    type Err = StoreFlagError;
    /// As Go writes durations (`1h30m`), with `d` for days.
    fn from_str(text: &str) -> Result<Self, StoreFlagError> {
        let wrong = || StoreFlagError::Span(text.to_owned());
        if text == "0" {
            return Ok(Self(Duration::ZERO));
        }
        let (mut seconds, mut rest) = (0_u64, text);
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
            let (number, after) = rest.split_at(digits);
            let unit = match after.chars().next() {
                Some('s') => 1,
                Some('m') => 60,
                Some('h') => 60 * 60,
                Some('d') => 24 * 60 * 60,
                _ => return Err(wrong()),
            };
            let number: u64 = number.parse().map_err(|_| wrong())?;
            seconds = number.checked_mul(unit).and_then(|n| seconds.checked_add(n)).ok_or_else(wrong)?;
            rest = &after[1..];
        }
        if text.is_empty() { Err(wrong()) } else { Ok(Self(Duration::from_secs(seconds))) }
    }
}

impl FromStr for Filter {
    type Err = StoreFlagError;
    fn from_str(text: &str) -> Result<Self, StoreFlagError> {
        let wrong = || StoreFlagError::Filter(text.to_owned());
        match text.split_once('=').ok_or_else(wrong)? {
            ("until", time) => Ok(Self::Until(time.parse::<Span>()?.0)),
            ("type", kind) => Ok(Self::Type(kind_of(kind)?)),
            ("id", prefix) if !prefix.is_empty() => Ok(Self::Id(prefix.to_owned())),
            _ => Err(wrong()),
        }
    }
}

/// A kind by its name, or by the one that buildx has for it.
fn kind_of(name: &str) -> Result<Kind, StoreFlagError> {
    let found = Kind::ALL.into_iter().find(|k| k.name() == name);
    let fixed = [Kind::Image, Kind::Registry, Kind::Structure];
    match (name, found) {
        ("exec.cachemount", _) => Ok(Kind::Mount),
        (_, Some(kind)) if !fixed.contains(&kind) => Ok(kind),
        _ => Err(StoreFlagError::Kind(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let seconds = |text: &str| text.parse::<Span>().ok().map(|s| s.0.as_secs());
        for (text, expected) in [
            ("0", Some(0)),
            ("90s", Some(90)),
            ("1h30m", Some(5400)),
            ("7d", Some(604_800)),
            ("", None),
            ("7", None),
            ("7w", None),
            ("d", None),
            ("-1h", None),
            ("99999999999999999999d", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    #[test]
    fn filters() {
        let filter = |text: &str| text.parse::<Filter>();
        assert_eq!(filter("until=24h"), Ok(Filter::Until(Duration::from_secs(86_400))));
        assert_eq!(filter("type=exec.cachemount"), Ok(Filter::Type(Kind::Mount)));
        assert_eq!(filter("type=tree"), Ok(Filter::Type(Kind::Tree)));
        assert_eq!(filter("id=sha256:ab"), Ok(Filter::Id("sha256:ab".to_owned())));
        let said = filter("type=none").unwrap_err().to_string();
        for kind in Kind::ALL {
            let there = said.split([' ', ',']).any(|word| word == kind.name());
            assert_eq!(there, filter(&format!("type={kind}")).is_ok(), "{kind}: {said}");
        }
        for wrong in ["inuse=true", "until", "type=image", "type=regular", "id=", "until=soon", "=x"] {
            assert!(filter(wrong).is_err(), "{wrong}");
        }
    }
}
