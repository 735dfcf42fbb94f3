//! Names and numbers of Linux signals, for STOPSIGNAL and whoever sets the same without a Dockerfile.
//!
//! Takes a text; says whether a container can be stopped with it.

/// Names without `SIG`.
const NAMES: [&str; 36] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE", "POLL",
    "PROF", "PWR", "QUIT", "RTMAX", "RTMIN", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU",
    "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ",
];

/// Is it a signal's number, or its name in any case, with or without `SIG`?
pub fn is_signal(text: &str) -> bool {
    if let Ok(number) = text.parse::<u32>() {
        return (1..=64).contains(&number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let offset = |prefix: &str, most: u32| {
        let digits = name.strip_prefix(prefix).filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
        digits.and_then(|d| d.parse::<u32>().ok()).is_some_and(|n| (1..=most).contains(&n))
    };
    NAMES.contains(&name) || offset("RTMIN+", 15) || offset("RTMAX-", 14)
}

#[cfg(test)]
mod tests {
    use super::is_signal;

    #[test]
    fn names_and_numbers() {
        for good in ["SIGTERM", "term", "sigusr1", "9", "64", "SIGRTMIN", "RTMIN+3", "SIGRTMAX-14"] {
            assert!(is_signal(good), "{good}");
        }
        for bad in
            ["", "0", "65", "-9", "SIG", "SIGFOO", "RTMIN+0", "RTMIN+16", "RTMAX-15", "RTMIN+", "RTMIN++3", "TERM "]
        {
            assert!(!is_signal(bad), "{bad}");
        }
    }
}
