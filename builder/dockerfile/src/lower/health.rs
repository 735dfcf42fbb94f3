//! HEALTHCHECK and Go's way to write durations.

use super::Cx;
use super::flags::{self, Flags, Kind, Known};
use super::run;
use crate::diagnostic::{Diagnostic, quoted};
use crate::instruction::{Command, Health};
use crate::split::is_blank;
use crate::suggest;

const FLAGS: [Known; 5] = [
    ("interval", Kind::Text),
    ("timeout", Kind::Text),
    ("start-period", Kind::Text),
    ("start-interval", Kind::Text),
    ("retries", Kind::Text),
];

/// The least duration that is not 0, in nanoseconds.
const LEAST: u64 = 1_000_000;

/// HEALTHCHECK.
pub(super) fn health(cx: &mut Cx<'_>) -> Option<Health> {
    let flags = flags::read(cx, &FLAGS);
    let args = cx.required("HEALTHCHECK CMD curl -f http://localhost/")?;
    let (kind, rest) = args.split_once(is_blank).unwrap_or((args, ""));
    let rest = rest.trim_start_matches(is_blank);
    match kind.to_ascii_uppercase().as_str() {
        "NONE" if rest.is_empty() => {
            if !cx.node.flags.is_empty() {
                let message = "HEALTHCHECK NONE turns the check off, so its flags mean nothing";
                cx.warn("HealthcheckFlags", message, "remove the flags");
            }
            flags.map(|_| Health::default())
        }
        "NONE" => {
            let message = "HEALTHCHECK NONE takes no arguments".to_owned();
            cx.fail_on(rest, "TooManyArguments", message, "remove them, or write HEALTHCHECK CMD")
        }
        "CMD" if rest.is_empty() => {
            let message = "HEALTHCHECK CMD needs a command";
            cx.fail_hint("MissingArgument", message, "for example HEALTHCHECK CMD curl -f http://localhost/")
        }
        "CMD" => {
            let command = run::text(cx, rest);
            if command == Some(Command::Exec(Vec::new())) {
                let message = "HEALTHCHECK CMD has an empty array".to_owned();
                return cx.fail_on(rest, "MissingArgument", message, "write HEALTHCHECK NONE to have no check");
            }
            let flags = flags?;
            let times = [
                duration(cx, &flags, "interval"),
                duration(cx, &flags, "timeout"),
                duration(cx, &flags, "start-period"),
                duration(cx, &flags, "start-interval"),
                retries(cx, &flags),
            ];
            let [interval, timeout, start_period, start_interval, retries] = times;
            Some(Health {
                command: Some(command?),
                interval: interval?,
                timeout: timeout?,
                start_period: start_period?,
                start_interval: start_interval?,
                retries: retries?,
            })
        }
        _ => {
            let message = format!("HEALTHCHECK is followed by NONE or CMD, not {}", quoted(kind));
            let hint = match suggest::nearest(kind, ["CMD", "NONE"]) {
                Some(near) => format!("did you mean {near}?"),
                None => "for example HEALTHCHECK CMD curl -f http://localhost/".to_owned(),
            };
            cx.fail_on(kind, "InvalidHealthcheck", message, &hint)
        }
    }
}

/// A duration; 0 is as if it were not given. The outer nothing is an error that was told.
fn duration(cx: &mut Cx<'_>, flags: &Flags, name: &str) -> Option<Option<u64>> {
    let Some(text) = flags.text(name) else { return Some(None) };
    // As in BuildKit, no value is as no flag.
    match nanoseconds(if text.is_empty() { "0" } else { &text }) {
        Some(0) => Some(None),
        Some(n) if n >= LEAST => Some(Some(n)),
        Some(_) => {
            let message = format!("--{name}={text} is less than 1ms");
            invalid(cx, flags, name, "InvalidDuration", message, "write 0 for the default, or at least 1ms")
        }
        None => {
            let message = format!("--{name} is not a duration: {}", quoted(&text));
            invalid(cx, flags, name, "InvalidDuration", message, "durations are written like 1m30s, 500ms or 1.5h")
        }
    }
}

fn retries(cx: &mut Cx<'_>, flags: &Flags) -> Option<Option<u64>> {
    let Some(text) = flags.text("retries") else { return Some(None) };
    // BuildKit's bounds: a signed number of 32 bits that is not negative; no value is as no flag.
    let number = if text.is_empty() { Ok(0) } else { text.parse::<i32>() };
    match number.map(u64::try_from) {
        Ok(Ok(0)) => Some(None),
        Ok(Ok(n)) => Some(Some(n)),
        Ok(Err(_)) | Err(_) => {
            let message = format!("--retries is a whole number from 0, not {}", quoted(&text));
            invalid(cx, flags, "retries", "InvalidFlagValue", message, "write for example --retries=3")
        }
    }
}

fn invalid<T>(
    cx: &mut Cx<'_>,
    flags: &Flags,
    name: &str,
    code: &'static str,
    message: String,
    hint: &str,
) -> Option<T> {
    let finding = Diagnostic::error(code, cx.node.span, message).with_hint(hint);
    cx.fail_at(flags.range(name), finding)
}

/// Go's `time.ParseDuration`, without negative durations. Nothing for text that is none.
fn nanoseconds(text: &str) -> Option<u64> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" || text == "-0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (whole, behind) = digits(rest);
        let (fraction, behind) = match behind.strip_prefix('.') {
            Some(b) => digits(b),
            None => ("", behind),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let end = behind.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(behind.len());
        let scale = unit(behind.get(..end)?)?;
        rest = behind.get(end..)?;
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        total = total.checked_add(whole.checked_mul(scale)?)?.checked_add(part(fraction, scale))?;
    }
    (total <= i64::MAX as u64).then_some(total)
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

fn unit(name: &str) -> Option<u64> {
    Some(match name {
        "ns" => 1,
        // Both the micro sign and the Greek letter.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// A decimal fraction of a unit. Digits behind the eighteenth are worth less than a nanosecond of an hour.
fn part(digits: &str, scale: u64) -> u64 {
    let (mut value, mut power) = (0u128, 1u128);
    for digit in digits.bytes().take(18) {
        value = value * 10 + u128::from(digit - b'0');
        power *= 10;
    }
    u64::try_from(value * u128::from(scale) / power).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        let cases = [
            ("0", Some(0)),
            ("+0", Some(0)),
            ("-0", Some(0)),
            ("0s", Some(0)),
            ("1ns", Some(1)),
            ("1us", Some(1_000)),
            ("1µs", Some(1_000)),
            ("1μs", Some(1_000)),
            ("1.5s", Some(1_500_000_000)),
            (".5s", Some(500_000_000)),
            ("1.s", Some(1_000_000_000)),
            ("1h2m3s4ms", Some(3_723_004_000_000)),
            ("0.333333333333333333333h", Some(1_199_999_999_999)),
            ("9223372036854775807ns", Some(i64::MAX as u64)),
            ("9223372036854775808ns", None),
            ("99999999999999999999h", None),
            ("-1s", None),
            ("30", None),
            ("1 s", None),
            ("1d", None),
            (".s", None),
            ("s", None),
            ("1s2", None),
            ("", None),
            ("+", None),
        ];
        for (text, expected) in cases {
            assert_eq!(nanoseconds(text), expected, "{text:?}");
        }
    }
}
