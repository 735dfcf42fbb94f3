//! SecretInValue: values of ARG and ENV that have the form of a secret, whatever their names are.
//!
//! Must never repeat the value.

use super::own::SECRET_IN_VALUE;
use super::{File, Finding, Findings};
use crate::words;

/// What secrets of one kind look like: how they begin, and how many letters and digits follow at least.
const FORMS: &[(&str, &str, usize)] = &[
    ("AKIA", "an AWS access key", 16),
    ("ASIA", "an AWS access key", 16),
    ("AIza", "a Google API key", 35),
    ("ghp_", "a GitHub token", 36),
    ("gho_", "a GitHub token", 36),
    ("ghs_", "a GitHub token", 36),
    ("github_pat_", "a GitHub token", 40),
    ("glpat-", "a GitLab token", 20),
    ("npm_", "an npm token", 36),
    ("pypi-", "a PyPI token", 40),
    ("sk_live_", "a Stripe key", 20),
    ("xoxb-", "a Slack token", 20),
    ("xoxp-", "a Slack token", 20),
    ("dckr_pat_", "a Docker token", 20),
    ("hf_", "a Hugging Face token", 30),
];

pub(super) fn find(file: File<'_>, out: &mut Findings) {
    for (stage, node) in file.nodes() {
        if !matches!(node.keyword.as_str(), "ARG" | "ENV") {
            continue;
        }
        // The old form has the name and the value as words, so that every word is looked at.
        for word in words::split(&node.args, file.ast.directives.escape) {
            let (name, value) = match word.equals {
                Some(at) => (word.text.get(..at).unwrap_or_default(), word.text.get(at + 1..).unwrap_or_default()),
                None => ("", word.text),
            };
            let Some(kind) = kind(value) else { continue };
            let of = if name.is_empty() { "a value" } else { name };
            let detail = format!("{} looks like {kind} ({of})", node.keyword);
            out.push(Finding::new(&SECRET_IN_VALUE, node.span, detail).in_stage(stage));
        }
    }
}

/// What kind of secret a value looks like.
pub fn kind(value: &str) -> Option<&'static str> {
    let value = value.trim_matches(['"', '\'']);
    if value.contains("PRIVATE KEY-----") {
        return Some("a private key");
    }
    if has_password(value) {
        return Some("a URL with a password");
    }
    let form = |(begin, kind, least): &(&str, &'static str, usize)| {
        let rest = value.strip_prefix(begin)?;
        let letters = rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')).count();
        (letters == rest.len() && letters >= *least).then_some(*kind)
    };
    FORMS.iter().find_map(form)
}

/// `scheme://user:password@host`, the password no variable.
fn has_password(value: &str) -> bool {
    let Some((_, rest)) = value.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let Some((user, _)) = authority.rsplit_once('@') else { return false };
    user.split_once(':').is_some_and(|(_, password)| !password.is_empty() && !password.contains('$'))
}

#[cfg(test)]
mod tests {
    use super::kind;

    #[test]
    fn secrets_are_known_by_their_form() {
        // Put together here, so that nobody takes them for real ones.
        let long = |begin: &str, n: usize| format!("{begin}{}", "0aB".repeat(n).chars().take(n).collect::<String>());
        for (value, found) in [
            (long("AKIA", 16), Some("an AWS access key")),
            (long("AKIA", 15), None),
            (format!("\"{}\"", long("ghp_", 36)), Some("a GitHub token")),
            (long("xghp_", 36), None),
            (format!("{} b", long("ghp_", 36)), None),
            ("https://me:pass@host/x".to_owned(), Some("a URL with a password")),
            ("https://me:$PASS@host/x".to_owned(), None),
            ("https://me@host/x".to_owned(), None),
            ("https://host/a:b@c".to_owned(), None),
            (format!("-----BEGIN RSA {}", "PRIVATE KEY-----"), Some("a private key")),
            (String::new(), None),
        ] {
            assert_eq!(kind(&value), found, "{value}");
        }
    }
}
