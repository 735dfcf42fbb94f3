//! BroadCopyBeforeInstall: the whole context is copied before dependencies are installed.

use super::own::BROAD_COPY_BEFORE_INSTALL;
use super::{File, Finding, Findings, apt, tokens};
use crate::ast::Node;

/// Commands that install what a lock file lists: words that follow each other, and the files that list it.
const INSTALLS: &[(&[&str], &str)] = &[
    (&["npm", "ci"], "package.json and package-lock.json"),
    (&["npm", "install"], "package.json and package-lock.json"),
    (&["npm", "i"], "package.json and package-lock.json"),
    (&["yarn"], "package.json and yarn.lock"),
    (&["pnpm", "install"], "package.json and pnpm-lock.yaml"),
    (&["pnpm", "i"], "package.json and pnpm-lock.yaml"),
    (&["bun", "install"], "package.json and bun.lock"),
    (&["pip", "install", "-r"], "the requirements file"),
    (&["pip3", "install", "-r"], "the requirements file"),
    (&["poetry", "install"], "pyproject.toml and poetry.lock"),
    (&["uv", "sync"], "pyproject.toml and uv.lock"),
    (&["pipenv", "install"], "Pipfile and Pipfile.lock"),
    (&["bundle", "install"], "Gemfile and Gemfile.lock"),
    (&["composer", "install"], "composer.json and composer.lock"),
    (&["go", "mod", "download"], "go.mod and go.sum"),
    (&["cargo", "fetch"], "Cargo.toml and Cargo.lock"),
    (&["dotnet", "restore"], "the project files"),
    (&["mvn", "dependency:go-offline"], "pom.xml"),
    (&["mix", "deps.get"], "mix.exs and mix.lock"),
];

pub(super) fn find(file: File<'_>, out: &mut Findings) {
    // The last broad COPY of the stage that no installation stands before.
    let mut broad: Option<&Node> = None;
    let mut installed = false;
    for (stage, node) in file.nodes() {
        match node.keyword.as_str() {
            "FROM" => (broad, installed) = (None, false),
            "COPY" | "ADD" if copies_everything(node) => broad = broad.or(Some(node)),
            "RUN" => {
                let Some(lists) = installs(&apt::command(node)) else { continue };
                if let Some(copy) = broad.take().filter(|_| !installed) {
                    let line = node.span.start;
                    let detail = format!("everything is copied before the dependencies are installed on line {line}");
                    let finding =
                        Finding::new(&BROAD_COPY_BEFORE_INSTALL, copy.span, detail + ": copy " + lists + " first");
                    out.push(finding.in_stage(stage));
                }
                installed = true;
            }
            _ => {}
        }
    }
}

/// The whole context, from the context.
fn copies_everything(node: &Node) -> bool {
    let words = tokens(&node.args, 0);
    let sources = words.split_last().map_or(&[][..], |(_, sources)| sources);
    let everything =
        |t: &super::Token<'_>| matches!(t.text.trim_matches(['"', ',', '[']), "." | "./" | "/" | "*" | "./*");
    node.heredocs.is_empty() && node.flags.iter().all(|f| f.name != "from") && sources.iter().any(everything)
}

/// What lists the dependencies that a command installs.
fn installs(text: &str) -> Option<&'static str> {
    let words = apt::words(text);
    let found = |(at, _): (usize, &&str)| {
        let here = words.get(at..)?;
        let same = |(install, _): &&(&[&str], &str)| match install {
            // `yarn` alone installs; `yarn build` does not.
            ["yarn"] => {
                here.first() == Some(&"yarn") && here.get(1).is_none_or(|w| *w == "install" || w.starts_with('-'))
            }
            _ => here.starts_with(install),
        };
        INSTALLS.iter().find(same).map(|(_, lists)| *lists)
    };
    words.iter().enumerate().find_map(found)
}

#[cfg(test)]
mod tests {
    use super::installs;

    #[test]
    fn installations_are_known() {
        for (text, found) in [
            ("npm ci --omit=dev", true),
            ("cd app && npm install", true),
            ("yarn", true),
            ("yarn --frozen-lockfile", true),
            ("yarn build", false),
            ("pip install --no-cache-dir flask", false),
            ("pip install -r requirements.txt", true),
            ("go build ./...", false),
            ("go mod download", true),
            ("[\"npm\", \"ci\"]", true),
        ] {
            assert_eq!(installs(text).is_some(), found, "{text}");
        }
    }
}
