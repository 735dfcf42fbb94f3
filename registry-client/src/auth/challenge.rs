//! `WWW-Authenticate` (RFC 9110, section 11.6.1): what a registry wants to see. Takes header values
//! of a stranger; gives the challenges that Cooper can answer. Must never panic or loop on them.

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// Most bytes of one header value that are looked at.
const HEADER_BYTES: usize = 8 * 1024;

/// One challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User name and password.
    Basic,
    /// A token from a token server.
    Bearer {
        /// URL of the token server.
        realm: String,
        /// Name of the registry at the token server.
        service: Option<String>,
    },
}

/// All challenges of an answer that Cooper understands; schemes that it does not are left away.
pub(crate) fn parse(headers: &HeaderMap) -> Vec<Challenge> {
    let values = headers.get_all(WWW_AUTHENTICATE).into_iter().filter_map(|v| v.to_str().ok());
    values.filter(|v| v.len() <= HEADER_BYTES).flat_map(parse_value).collect()
}

fn parse_value(value: &str) -> Vec<Challenge> {
    let mut found: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = value.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let (word, after) = split_token(rest);
        if word.is_empty() {
            // No grammar goes on here; what was understood so far stands.
            break;
        }
        if let Some(text) = after.trim_start().strip_prefix('=') {
            let (text, after) = split_text(text.trim_start());
            if let Some((_, parameters)) = found.last_mut() {
                parameters.push((word.to_ascii_lowercase(), text));
            }
            rest = after;
        } else {
            found.push((word.to_ascii_lowercase(), Vec::new()));
            rest = after;
        }
        rest = rest.trim_start_matches([' ', '\t', ',']);
    }
    found.into_iter().filter_map(|(scheme, parameters)| understand(&scheme, &parameters)).collect()
}

fn understand(scheme: &str, parameters: &[(String, String)]) -> Option<Challenge> {
    let get = |name: &str| parameters.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    match scheme {
        "basic" => Some(Challenge::Basic),
        "bearer" => Some(Challenge::Bearer { realm: get("realm")?, service: get("service").filter(|s| !s.is_empty()) }),
        _ => None,
    }
}

fn split_token(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))).unwrap_or(text.len());
    text.split_at(end)
}

/// A quoted string without its quotes, or a bare word up to the next comma or space.
fn split_text(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        return (word.to_owned(), rest);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, quoted.get(at + 1..).unwrap_or_default()),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            _ => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges() {
        let bearer = |realm: &str, service: Option<&str>| Challenge::Bearer {
            realm: realm.into(),
            service: service.map(Into::into),
        };
        for (value, wanted) in [
            (r#"Basic realm="x""#, vec![Challenge::Basic]),
            ("basic", vec![Challenge::Basic]),
            (
                r#"Bearer realm="https://auth.example/token",service="reg",scope="repository:a/b:pull,push""#,
                vec![bearer("https://auth.example/token", Some("reg"))],
            ),
            (r#"bearer Realm = "https://a/t" , error="invalid_token""#, vec![bearer("https://a/t", None)]),
            (r#"Bearer realm=https://a/t,service="s\"q""#, vec![bearer("https://a/t", Some("s\"q"))]),
            (r#"Negotiate, Bearer realm="r", Basic realm="x, y""#, vec![bearer("r", None), Challenge::Basic]),
            (r#"Bearer service="no realm""#, vec![]),
            (r#"Bearer realm="never closed"#, vec![bearer("never closed", None)]),
            ("Digest realm=\"x\"", vec![]),
            ("", vec![]),
            (",,, ,", vec![]),
            ("=\"x\"", vec![]),
            ("@@@ Basic", vec![]),
        ] {
            assert_eq!(parse_value(value), wanted, "{value}");
        }
        let mut headers = HeaderMap::new();
        headers.append(WWW_AUTHENTICATE, "Bearer realm=\"r\"".parse().unwrap());
        headers.append(WWW_AUTHENTICATE, "Basic".parse().unwrap());
        headers.append(WWW_AUTHENTICATE, format!("Basic {}", "x".repeat(9000)).parse().unwrap());
        assert_eq!(parse(&headers).len(), 2);
    }
}
