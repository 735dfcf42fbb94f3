//! What `docker history` shows, in the forms that BuildKit writes.
//!
//! Takes what an instruction came to; gives one line. Go prints lists and durations in ways of its own, and tools
//! that read histories expect them; so they are imitated here. Must never: hold a value that the key does not, as a
//! proxy from `--build-arg`.

use crate::scope::Surroundings;
use cooper_dockerfile::instruction::Copy;
use cooper_image::config::Healthcheck;
use std::fmt::Write;

/// `RUN |2 A=1 B=2 /bin/sh -c make # buildkit`: declared ARGs with the values that the command saw, then the command.
pub(crate) fn run(around: &Surroundings, argv: &[String]) -> String {
    let args = around.shown_args();
    let mut line = "RUN".to_owned();
    if args.len() > 0 {
        line.push_str(&format!(" |{}", args.len()));
        args.for_each(|(n, v)| line.push_str(&format!(" {n}={v}")));
    }
    argv.iter().for_each(|a| line.push_str(&format!(" {a}")));
    line + " # buildkit"
}

/// `COPY --chown=1 a b /c/ # buildkit`. `expanded` has its words expanded.
pub(crate) fn copy(name: &str, expanded: &Copy) -> String {
    let flag = |name: &str, v: &Option<String>| v.as_ref().map(|v| format!("--{name}={v}"));
    let words = [flag("chown", &expanded.chown), flag("chmod", &expanded.chmod)].into_iter().flatten();
    let words = words.chain(expanded.sources.iter().cloned());
    let words = words.chain(expanded.heredocs.iter().map(|h| format!("<<{}", h.name)));
    let mut line = name.to_owned();
    words.chain([expanded.dest.clone(), "# buildkit".to_owned()]).for_each(|w| line.push_str(&format!(" {w}")));
    line
}

/// `ENV A=1 B=2`, and the same for LABEL.
pub(crate) fn pairs(name: &str, pairs: &[(String, String)]) -> String {
    pairs.iter().fold(name.to_owned(), |line, (n, v)| line + &format!(" {n}={v}"))
}

/// `ARG A=1 B`.
pub(crate) fn args(args: &[(String, Option<String>)]) -> String {
    let one = |(n, v): &(String, Option<String>)| v.as_ref().map_or_else(|| format!(" {n}"), |v| format!(" {n}={v}"));
    args.iter().fold("ARG".to_owned(), |line, a| line + &one(a))
}

/// `EXPOSE [80/tcp 81/tcp]`: Go's way to print a list.
pub(crate) fn list(name: &str, items: &[String]) -> String {
    format!("{name} [{}]", items.join(" "))
}

/// `CMD ["a" "b"]`: Go's way to print a list of quoted texts.
pub(crate) fn quoted(name: &str, argv: &[String]) -> String {
    list(name, &argv.iter().map(|a| go_quote(a)).collect::<Vec<_>>())
}

/// `HEALTHCHECK &{["CMD-SHELL" "true"] "30s" "0s" "0s" "0s" '\x03'}`: Go's way to print a record whose parts are to be
/// quoted, in which a number is quoted as the character that it stands for.
pub(crate) fn healthcheck(h: &Healthcheck) -> String {
    let test: Vec<_> = h.test.iter().map(|t| go_quote(t)).collect();
    format!(
        "HEALTHCHECK &{{[{}] \"{}\" \"{}\" \"{}\" \"{}\" {}}}",
        test.join(" "),
        go_duration(h.interval),
        go_duration(h.timeout),
        go_duration(h.start_period),
        go_duration(h.start_interval),
        go_quote_number(h.retries.unwrap_or(0)),
    )
}

/// A number as the quoted character of that number; one that is no character becomes U+FFFD, as in Go.
fn go_quote_number(number: u64) -> String {
    let c = u32::try_from(number).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
    let mut out = "'".to_owned();
    match c {
        '\'' => out.push_str("\\'"),
        '"' => out.push(c),
        c => push_escaped(&mut out, c),
    }
    out.push('\'');
    out
}

fn go_quote(text: &str) -> String {
    let mut out = "\"".to_owned();
    text.chars().for_each(|c| push_escaped(&mut out, c));
    out.push('"');
    out
}

/// One character as it stands between double quotes.
fn push_escaped(out: &mut String, c: char) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\t' => out.push_str("\\t"),
        '\r' => out.push_str("\\r"),
        '\u{7}' => out.push_str("\\a"),
        '\u{8}' => out.push_str("\\b"),
        '\u{b}' => out.push_str("\\v"),
        '\u{c}' => out.push_str("\\f"),
        c if c.is_ascii_control() => push(out, format_args!("\\x{:02x}", u32::from(c))),
        c if c.is_control() => push(out, format_args!("\\u{:04x}", u32::from(c))),
        c => out.push(c),
    }
}

fn push(out: &mut String, args: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(args);
}

/// Nanoseconds as Go prints a Duration: `1h2m3.5s`, `1.5ms`, `0s`.
fn go_duration(nanos: Option<u64>) -> String {
    const MICRO: u64 = 1_000;
    const MILLI: u64 = 1_000_000;
    const SECOND: u64 = 1_000_000_000;
    let n = nanos.unwrap_or(0);
    match n {
        0 => "0s".to_owned(),
        n if n < MICRO => format!("{n}ns"),
        n if n < MILLI => decimal(n, MICRO) + "µs",
        n if n < SECOND => decimal(n, MILLI) + "ms",
        n => {
            let (hours, minutes) = (n / (3600 * SECOND), n / (60 * SECOND) % 60);
            let seconds = decimal(n % (60 * SECOND), SECOND) + "s";
            match (hours, minutes) {
                (0, 0) => seconds,
                (0, m) => format!("{m}m{seconds}"),
                (h, m) => format!("{h}h{m}m{seconds}"),
            }
        }
    }
}

/// `n / unit` as a decimal number without trailing zeros.
fn decimal(n: u64, unit: u64) -> String {
    let (whole, rest) = (n / unit, n % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let digits = unit.to_string().len() - 1;
    format!("{whole}.{}", format!("{rest:0digits$}").trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_quotes_as_go_prints_them() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (1_500_000, "1.5ms"),
            (100_000_000, "100ms"),
            (30_000_000_000, "30s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (3_723_500_000_000, "1h2m3.5s"),
        ] {
            assert_eq!(go_duration(Some(nanos)), text);
        }
        assert_eq!(quoted("CMD", &["a \"b\"".into(), "\n\u{1}é".into()]), r#"CMD ["a \"b\"" "\n\x01é"]"#);
        assert_eq!(quoted("CMD", &[]), "CMD []");
        for (number, text) in [(0, r"'\x00'"), (3, r"'\x03'"), (10, r"'\n'"), (34, "'\"'"), (39, r"'\''"), (65, "'A'")]
        {
            assert_eq!(go_quote_number(number), text);
        }
    }
}
