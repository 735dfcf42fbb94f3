//! Ports as EXPOSE takes them.
//!
//! Takes one word, `[[ip:]host:]port[-port][/protocol]`; gives `port/protocol` for each. The parts for the host have no
//! meaning in an image, but files that have them are built elsewhere: they are checked and left away.

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

/// Every port of one word.
pub(super) fn expand(word: &str) -> Result<Vec<String>, PortError> {
    let bad = |reason| PortError { word: crate::expand::clip(word), reason };
    let (host, container) = match word.rsplit_once(':') {
        Some((host, container)) => (Some(host), container),
        None => (None, word),
    };
    let (port, protocol) = container.split_once('/').unwrap_or((container, ""));
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "" | "tcp" => "tcp",
        "udp" => "udp",
        "sctp" => "sctp",
        _ => return Err(bad("there is no such protocol")),
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
    Ok((first..=last).map(|p| format!("{p}/{protocol}")).collect())
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
