//! Words about blobs: what is done with them, what came of it, and how fast.

use super::{amount, escape};
use cooper_engine::event::{Direction, How};
use std::time::Duration;

/// A blob that was sooner there tells nothing of a rate.
const MEASURABLE: Duration = Duration::from_millis(100);

/// Of fewer bytes it was not they that took the time.
const TELLING: u64 = 100_000;

/// What is being done.
pub fn doing(direction: Direction) -> &'static str {
    match direction {
        Direction::Pull => "pulling",
        Direction::Push => "pushing",
        Direction::Store => "storing",
    }
}

/// What was done. Nothing was pushed that was there already.
pub fn did(direction: Direction, how: &How) -> &'static str {
    match (how, direction) {
        (How::Existed, _) => "there already",
        (How::Mounted { .. }, _) => "mounted",
        (How::Moved, Direction::Pull) => "pulled",
        (How::Moved, Direction::Push) => "pushed",
        (How::Moved, Direction::Store) => "stored",
    }
}

/// Size and origin of a blob that is there, and how fast it came when bytes moved long enough to tell.
pub fn amount(size: u64, how: &How, moved: Option<(u64, Duration)>) -> String {
    let size = amount::bytes(size);
    match (how, moved.filter(|(bytes, _)| *bytes >= TELLING).and_then(|(bytes, took)| rate(bytes, took))) {
        (How::Mounted { from }, _) => format!("{size} from {}", escape::line(from)),
        (How::Moved, Some(rate)) => format!("{size}, {rate}"),
        (How::Moved | How::Existed, _) => size,
    }
}

/// `1.2 MB/s`.
pub fn rate(bytes: u64, took: Duration) -> Option<String> {
    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let per_second = bytes.saturating_mul(1000).checked_div(millis)?;
    (took >= MEASURABLE).then(|| format!("{}/s", amount::bytes(per_second)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_said_as_it_was() {
        let mounted = How::Mounted { from: "r.example/team/\u{1b}base".to_owned() };
        for (direction, how, moved, text) in [
            (Direction::Pull, &How::Moved, None, "pulled 2.0 MB"),
            (Direction::Push, &How::Moved, Some((1_000_000, Duration::from_secs(2))), "pushed 2.0 MB, 500.0 kB/s"),
            (Direction::Store, &How::Moved, Some((1_000_000, Duration::from_millis(99))), "stored 2.0 MB"),
            (Direction::Push, &How::Moved, Some((99_999, Duration::from_secs(2))), "pushed 2.0 MB"),
            (Direction::Push, &How::Existed, None, "there already 2.0 MB"),
            (Direction::Pull, &How::Existed, None, "there already 2.0 MB"),
            (Direction::Push, &mounted, None, "mounted 2.0 MB from r.example/team/\\x1bbase"),
        ] {
            assert_eq!(format!("{} {}", did(direction, how), amount(2_000_000, how, moved)), text);
        }
    }

    #[test]
    fn rates() {
        for (bytes, millis, text) in [
            (5, 0, None),
            (1_000, 99, None),
            (1_000, 100, Some("10.0 kB/s")),
            (0, 1_000, Some("0 B/s")),
            (u64::MAX, 1_000, Some("18446.7 TB/s")),
        ] {
            assert_eq!(rate(bytes, Duration::from_millis(millis)).as_deref(), text);
        }
    }
}
