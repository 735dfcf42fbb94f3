//! Ports as EXPOSE takes them.
//!
//! Takes words, `[[ip:]host:]port[-port][/protocol]`; gives `port/protocol` for each, once. The parts for the host have
//! no meaning in an image, but files that have them are built elsewhere: they are checked and left away.

/// What to write, for messages.
pub(super) const HINT: &str = "write a port from 0 to 65535 or a range, and tcp, udp or sctp: 8080, 8000-8003/udp";

/// Why a word is no port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("EXPOSE {word}: {reason}")]
pub(super) struct PortError {
    /// What was given.
    word: String,
    /// The rule that it breaks.
    reason: &'static str,
}

/// What a port takes of the memory: a text, and what it takes to have one.
pub(super) const BYTES: usize = 64;
/// How many ports each protocol has.
const EACH: usize = 1 << 16;
const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];

/// The ports of one instruction. A short file may name all of them very often: a port that was named is passed over,
/// and so is a run of them at once.
#[derive(Debug, Default)]
pub(super) struct Ports {
    named: Vec<String>,
    /// For each protocol and port: itself while it is not named, else a later one, on the way to the next that is not.
    next: [Vec<usize>; PROTOCOLS.len()],
}

impl Ports {
    /// Adds every port of one word; gives how many of them are new.
    pub(super) fn add(&mut self, word: &str) -> Result<usize, PortError> {
        let Range { first, last, protocol } = parse(word)?;
        let next = &mut self.next[protocol];
        if next.is_empty() {
            next.extend(0..=EACH);
        }
        let before = self.named.len();
        let mut at = free(next, first.into());
        while at <= last.into() {
            self.named.push(format!("{at}/{}", PROTOCOLS[protocol]));
            next[at] = at + 1;
            at = free(next, at);
        }
        Ok(self.named.len() - before)
    }
    /// Each port once, in the order in which they were named.
    pub(super) fn into_names(self) -> Vec<String> {
        self.named
    }
}

/// The first port from `at` that is not named. Shortens the way for those who ask later.
fn free(next: &mut [usize], mut at: usize) -> usize {
    while next[at] != at {
        next[at] = next[next[at]];
        at = next[at];
    }
    at
}

/// The ports of one word.
#[derive(Debug)]
struct Range {
    first: u16,
    last: u16,
    /// A place in [`PROTOCOLS`].
    protocol: usize,
}

fn parse(word: &str) -> Result<Range, PortError> {
    let bad = |reason| PortError { word: crate::expand::clip(word), reason };
    let (host, container) = match word.rsplit_once(':') {
        Some((host, container)) => (Some(host), container),
        None => (None, word),
    };
    let (port, protocol) = container.split_once('/').unwrap_or((container, ""));
    let protocol = match protocol {
        "" => 0,
        name => {
            let known = PROTOCOLS.iter().position(|p| name.eq_ignore_ascii_case(p));
            known.ok_or_else(|| bad("there is no such protocol"))?
        }
    };
    let (first, last) = range(port).ok_or_else(|| bad("it is no port and no range of ports"))?;
    if let Some(host) = host {
        let (ip, port) = host.rsplit_once(':').map_or((None, host), |(ip, port)| (Some(ip), port));
        let address = |ip: &str| {
            let bare = ip.strip_prefix('[').and_then(|i| i.strip_suffix(']')).unwrap_or(ip);
            ip.is_empty() || bare.parse::<std::net::IpAddr>().is_ok()
        };
        if !ip.is_none_or(address) {
            return Err(bad("the address of the host is malformed"));
        }
        let fits = |(a, b): (u16, u16)| first == last || b - a == last - first;
        if !port.is_empty() && !range(port).is_some_and(fits) {
            return Err(bad("the ports of the host do not fit"));
        }
    }
    Ok(Range { first, last, protocol })
}

fn range(text: &str) -> Option<(u16, u16)> {
    let number = |t: &str| t.bytes().all(|b| b.is_ascii_digit()).then(|| t.parse::<u16>().ok()).flatten();
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(word: &str) -> Result<Vec<String>, PortError> {
        let mut ports = Ports::default();
        let new = ports.add(word)?;
        assert_eq!(new, ports.named.len());
        Ok(ports.into_names())
    }

    #[test]
    fn each_port_is_named_once() {
        let mut ports = Ports::default();
        for (word, new) in [("3-5", 3), ("4", 0), ("4/udp", 1), ("1-9", 6), ("0-65535", 65536 - 9), ("1-65535", 0)] {
            assert_eq!(ports.add(word).unwrap(), new, "{word}");
        }
        assert!(ports.add("70000").is_err());
        let names = ports.into_names();
        assert_eq!(names[..7], ["3/tcp", "4/tcp", "5/tcp", "4/udp", "1/tcp", "2/tcp", "6/tcp"]);
        assert_eq!(names.len(), 65537);
    }

    #[test]
    fn words_and_their_ports() {
        for (word, ports) in [
            ("80", &["80/tcp"][..]),
            ("80/UDP", &["80/udp"]),
            ("8000-8002/TCP", &["8000/tcp", "8001/tcp", "8002/tcp"]),
            ("5/", &["5/tcp"]),
            ("8080:80", &["80/tcp"]),
            ("127.0.0.1:8080:80/sctp", &["80/sctp"]),
            ("[::1]:8080:80", &["80/tcp"]),
            ("::80", &["80/tcp"]),
            ("8000-8010:80", &["80/tcp"]),
        ] {
            assert_eq!(expand(word).unwrap(), ports, "{word}");
        }
        for bad in ["", "/tcp", "x", "80/http", "90-80", "70000", "1-2-3", "-1", "+1", "x:80", "1-3:1-2", "h:1:2"] {
            assert!(expand(bad).is_err(), "{bad}");
        }
        assert_eq!(expand("0-65535").unwrap().len(), 65536);
    }
}
