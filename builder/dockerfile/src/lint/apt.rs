//! AptListsLeftBehind: `apt-get update` without the lists' removal in the same RUN.

use super::own::APT_LISTS_LEFT_BEHIND;
use super::{Edit, File, Finding, Findings};
use crate::ast::Node;

/// Where the lists are.
const LISTS: &str = "/var/lib/apt/lists";

pub(super) fn find(file: File<'_>, out: &mut Findings) {
    for (stage, node) in file.nodes().filter(|(_, n)| n.keyword == "RUN") {
        let text = command(node);
        if !updates(&text) || removes(&text) || mounted(node) {
            continue;
        }
        let detail = "the RUN fetches package lists and leaves them in its layer";
        out.push(
            Finding::new(&APT_LISTS_LEFT_BEHIND, node.span, detail).in_stage(stage).mended_by(removal(file, node)),
        );
    }
}

/// The whole text of a RUN, heredoc bodies included.
pub(super) fn command(node: &Node) -> String {
    node.heredocs.iter().fold(node.args.clone(), |text, body| text + "\n" + &body.raw)
}

/// Words of a command, operators and quotes cut off.
pub(super) fn words(text: &str) -> Vec<&str> {
    text.split(|c: char| c.is_whitespace() || matches!(c, ';' | '&' | '|' | '(' | ')' | '"' | '\'' | ',' | '[' | ']'))
        .filter(|w| !w.is_empty())
        .collect()
}

fn updates(text: &str) -> bool {
    let apt = |w: &str| matches!(w.rsplit('/').next(), Some("apt" | "apt-get" | "aptitude"));
    text.split([';', '&', '|', '\n']).any(|command| {
        let mut words = words(command).into_iter();
        words.any(apt) && words.any(|w| w == "update")
    })
}

fn removes(text: &str) -> bool {
    text.contains(LISTS) && words(text).iter().any(|w| matches!(*w, "rm" | "find"))
}

/// Is something mounted there that does not stay in the layer?
fn mounted(node: &Node) -> bool {
    let mounts = node.flags.iter().filter(|f| f.name == "mount").filter_map(|f| f.value.as_deref());
    mounts.into_iter().any(|m| {
        let stays = m.split(',').any(|part| part.trim() == "type=cache" || part.trim() == "type=tmpfs");
        let target = |part: &str| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let place = value.trim_end_matches('/');
            matches!(key.trim(), "target" | "dst" | "destination") && (place == LISTS || place == "/var/lib/apt")
        };
        stays && m.split(',').any(target)
    })
}

/// The removal behind the last command, where the text is one for the shell and ends as written.
fn removal(file: File<'_>, node: &Node) -> Option<Edit> {
    let simple = node.heredocs.is_empty() && !node.args.starts_with('[') && !node.args.contains([';', '#', '|']);
    let line = file.source.line(node.span.end);
    let end = file.source.range(node.span.end).start + line.trim_end().len();
    let ends = node.args.ends_with(line.split_whitespace().next_back()?);
    (simple && ends).then(|| Edit { range: end..end, text: format!(" && rm -rf {LISTS}/*") })
}

#[cfg(test)]
mod tests {
    use super::{removes, updates};

    #[test]
    fn commands_are_understood_as_far_as_needed() {
        for (text, update) in [
            ("apt-get update && apt-get install -y curl", true),
            ("apt update", true),
            ("/usr/bin/apt-get -qq -y update;true", true),
            ("[\"apt-get\", \"update\"]", true),
            ("apt-get install -y update-notifier", false),
            ("apt-get install -y curl", false),
            ("npm update", false),
            ("echo apt; npm update", false),
        ] {
            assert_eq!(updates(text), update, "{text}");
        }
        assert!(removes("apt-get update && rm -rf /var/lib/apt/lists/*"));
        assert!(!removes("apt-get update && ls /var/lib/apt/lists"));
    }
}
