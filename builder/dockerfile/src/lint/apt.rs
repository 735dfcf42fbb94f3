//! AptListsLeftBehind: `apt-get update` without the lists' removal in the same RUN.

use super::own::APT_LISTS_LEFT_BEHIND;
use super::{Edit, File, Finding, Findings, run, shell};
use crate::ast::Node;
use crate::mount::{self, MountType};

/// Where the lists are.
const LISTS: &str = "/var/lib/apt/lists";

pub(super) fn find(file: File<'_>, out: &mut Findings) {
    for (stage, node) in file.nodes().filter(|(_, n)| n.keyword == "RUN") {
        if !updates(&shell::script(node)) || removes(&shell::text(node)) || mounted(file, node) {
            continue;
        }
        let detail = "the RUN fetches package lists and leaves them in its layer";
        out.push(
            Finding::new(&APT_LISTS_LEFT_BEHIND, node.span, detail).in_stage(stage).mended_by(removal(file, node)),
        );
    }
}

/// Does a command give one of these orders to apt?
fn orders(text: &str, orders: &[&str]) -> bool {
    run::commands(text).iter().filter_map(|words| words.split_first()).any(|(program, words)| {
        shell::is_program(program, &["apt", "apt-get", "aptitude"])
            && words.iter().any(|w| orders.contains(&w.as_str()))
    })
}

fn updates(text: &str) -> bool {
    orders(text, &["update"])
}

fn removes(text: &str) -> bool {
    let named = |word: &String| {
        let is_there = |path: &String| path.starts_with(LISTS) || path.trim_end_matches(['*', '/']) == "/var/lib/apt";
        alternatives(word).iter().any(is_there)
    };
    let commands = run::commands(text);
    let mut words = commands.iter().flatten();
    let removes = words.any(|w| shell::is_program(w, &["rm", "find"]));
    removes && commands.iter().flatten().any(named) || orders(text, &["dist-clean", "distclean"])
}

/// The paths that `a{b,c}d` stands for.
fn alternatives(word: &str) -> Vec<String> {
    let parts = word.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)));
    match parts {
        Some((before, (inside, behind))) => inside.split(',').map(|one| format!("{before}{one}{behind}")).collect(),
        None => vec![word.to_owned()],
    }
}

/// Is something mounted there that does not stay in the layer?
fn mounted(file: File<'_>, node: &Node) -> bool {
    let escape = file.ast.directives.escape;
    let values = node.flags.iter().filter(|f| f.name == "mount").filter_map(|f| f.value.as_deref());
    let mut mounts = values.filter_map(|value| mount::known(value, escape, &|_| None));
    mounts.any(|options| {
        let stays_out = matches!(options.kind, MountType::Cache | MountType::Tmpfs);
        let target = options.target.as_deref().unwrap_or_default().trim_end_matches('/');
        stays_out
            && LISTS
                .strip_prefix(target)
                .is_some_and(|rest| !target.is_empty() && (rest.is_empty() || rest.starts_with('/')))
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
            ("echo \"run apt-get update first\" > /etc/motd", false),
            ("echo 'apt-get update is slow; apt-get update'", false),
            ("echo apt-get update", false),
            ("[\"echo\", \"apt-get update\"]", false),
            ("curl -s x | bash -s -- apt-get update", false),
            ("true # apt-get update", false),
            ("set -eux; if true; then sudo -E apt-get -qq update; fi", true),
            ("DEBIAN_FRONTEND=noninteractive apt-get \"update\"", true),
            ("env A=b timeout 60 apt-get update", true),
            ("bash -euxo pipefail -c 'apt-get update'", true),
            ("[\"/bin/sh\", \"-ec\", \"cd / && apt-get update\"]", true),
            ("(apt-get update)", true),
            ("x=$(apt-get update)", true),
            ("command -v apt-get update", false),
        ] {
            assert_eq!(updates(text), update, "{text}");
        }
        for (end, removed) in [
            ("rm -rf /var/lib/apt/lists/*", true),
            ("rm -rf /var/lib/apt", true),
            ("rm -rf /var/lib/apt/", true),
            ("/bin/rm -rf \"/var/lib/apt/\"*", true),
            ("rm -rf /var/lib/{apt,dpkg,cache,log}/", true),
            ("rm -rf /var/{log,lib/apt/lists}/*", true),
            ("rm -rf /var/lib/{dpkg,cache}/", false),
            ("rm -rf /tmp/x # and /var/lib/apt/lists", false),
            ("echo 'rm -rf /var/lib/apt/lists/*'", false),
            ("bash -c \"rm -rf /var/lib/apt/lists/*\"", true),
            ("find /var/lib/apt/lists -type f -delete", true),
            ("(cd / && rm -r /var/lib/apt/lists/*)", true),
            ("apt-get dist-clean", true),
            ("apt-get -y distclean", true),
            ("ls /var/lib/apt/lists", false),
            ("rm -rf /var/lib/apt/periodic", false),
            ("rm -rf /var/cache/apt", false),
            ("apt-get clean", false),
            ("make dist-clean", false),
        ] {
            assert_eq!(removes(&format!("apt-get update && {end}")), removed, "{end}");
        }
    }
}
