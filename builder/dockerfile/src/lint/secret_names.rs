//! SecretsUsedInArgOrEnv: names of variables that sound like secrets. BuildKit's words and exceptions.

use super::table::SECRETS_USED_IN_ARG_OR_ENV;
use super::{File, Finding, Findings, go_quoted};
use crate::ast::Node;
use crate::words;

/// A name with one of these between its underscores sounds like a secret,
const SECRET: [&str; 10] =
    ["apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token"];
/// unless it has one of these too.
const NO_SECRET: [&str; 3] = ["public", "file", "version"];

pub(super) fn find(file: File<'_>, out: &mut Findings) {
    for (stage, node) in file.nodes().filter(|(stage, _)| stage.is_some()) {
        if !matches!(node.keyword.as_str(), "ARG" | "ENV") {
            continue;
        }
        for name in keys(file.ast.directives.escape, node).into_iter().filter(|n| is_secret(n)) {
            let quoted = go_quoted(&name);
            let detail = format!("Do not use ARG or ENV instructions for sensitive data ({} {quoted})", node.keyword);
            out.push(Finding::new(&SECRETS_USED_IN_ARG_OR_ENV, node.span, detail).in_stage(stage).about(name));
        }
    }
}

/// Does a variable's name sound as if its value were secret? By BuildKit's words.
pub fn is_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let has = |words: &[&str]| lower.split('_').any(|part| words.contains(&part));
    has(&SECRET) && !has(&NO_SECRET)
}

/// The names that ARG, ENV or LABEL sets, quotes removed.
pub(super) fn keys(escape: char, node: &Node) -> Vec<String> {
    let words = words::split(&node.args, escape);
    let pairs = node.keyword == "ARG" || words.first().is_some_and(|w| w.equals.is_some());
    let name = |w: &words::Word<'_>| {
        let written = w.equals.and_then(|at| w.text.get(..at)).unwrap_or(w.text);
        words::expand(written, escape, &|_| None).unwrap_or_default()
    };
    words.iter().take(if pairs { usize::MAX } else { 1 }).map(name).filter(|n| !n.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::is_secret;

    #[test]
    fn names_are_judged_by_their_words() {
        for (name, secret) in [
            ("SECRET_PASSPHRASE", true),
            ("SUPER_Secret", true),
            ("apikey", true),
            ("git_key", true),
            ("DB_PASSWORD_1", true),
            ("AUTH", true),
            ("sunflower", false),
            ("monkey", false),
            ("PASSWORDS", false),
            ("PUBLIC_KEY", false),
            ("SECRET_FILE", false),
            ("AUTH_MODULE_VERSION", false),
            ("api-key", false),
        ] {
            assert_eq!(is_secret(name), secret, "{name}");
        }
    }
}
