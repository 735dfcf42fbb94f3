//! Numbers as people read them: bytes and seconds.

use std::time::Duration;

/// Bytes with a decimal unit, as registries and disks count them: `999 B`, `1.2 kB`, `34.5 MB`.
pub fn bytes(n: u64) -> String {
    let mut unit = 1_u64;
    for (name, next) in [("B", 1_000), ("kB", 1_000_000), ("MB", 1_000_000_000), ("GB", 1_000_000_000_000)] {
        // Half a tenth below the next unit would be shown as 1000.0.
        if n < next - unit / 20 {
            return if unit == 1 { format!("{n} B") } else { tenths(n, unit, name) };
        }
        unit = next;
    }
    tenths(n, unit, "TB")
}

/// Rounded to one decimal, without leaving the integers.
fn tenths(n: u64, unit: u64, name: &str) -> String {
    let tenths = (n / (unit / 10)) + u64::from(n % (unit / 10) >= unit / 20);
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

/// Seconds with one decimal, `0.3s`; minutes from a hundred seconds on, `2m05s`.
pub fn took(d: Duration) -> String {
    if d.as_secs() < 100 {
        return format!("{:.1}s", d.as_secs_f64());
    }
    let (minutes, seconds) = (d.as_secs() / 60, d.as_secs() % 60);
    format!("{minutes}m{seconds:02}s")
}

/// Seconds since something, roughly: `5m ago`, `3d ago`.
pub fn ago(seconds: i64) -> String {
    for (unit, name) in [(24 * 60 * 60, "d"), (60 * 60, "h"), (60, "m")] {
        if seconds >= unit {
            return format!("{}{name} ago", seconds / unit);
        }
    }
    "now".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_counts() {
        for (n, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (1_249, "1.2 kB"),
            (1_250, "1.3 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (34_500_000, "34.5 MB"),
            (7_000_000_000, "7.0 GB"),
            (u64::MAX, "18446744.1 TB"),
        ] {
            assert_eq!(bytes(n), text);
        }
    }

    #[test]
    fn ages() {
        for (seconds, text) in [(-5, "now"), (59, "now"), (60, "1m ago"), (7_200, "2h ago"), (200_000, "2d ago")] {
            assert_eq!(ago(seconds), text);
        }
    }

    #[test]
    fn durations() {
        for (ms, text) in [(0, "0.0s"), (340, "0.3s"), (12_345, "12.3s"), (125_000, "2m05s")] {
            assert_eq!(took(Duration::from_millis(ms)), text);
        }
    }
}
