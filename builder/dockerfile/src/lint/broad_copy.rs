//! BroadCopyBeforeInstall: the whole context is copied before dependencies are installed.

use super::own::BROAD_COPY_BEFORE_INSTALL;
use super::{File, Finding, Findings, run, shell, tokens};
use crate::ast::Node;

/// A command that installs what a lock file lists.
struct Install {
    /// Names of the program.
    programs: &'static [&'static str],
    /// What it is told to do, words that follow each other; nothing where the program's name alone installs.
    order: &'static [&'static str],
    /// Which of its other words matter.
    given: Given,
    /// The files that list what is installed.
    lists: &'static str,
}

/// What a command has to be given to install from a list, beside flags that say nothing of it.
#[derive(PartialEq, Eq)]
enum Given {
    /// Anything.
    Anything,
    /// No name: with one, that package is what is wanted.
    NoName,
    /// The list itself, `-r FILE`.
    List,
}

const fn install(
    programs: &'static [&'static str],
    order: &'static [&'static str],
    given: Given,
    lists: &'static str,
) -> Install {
    Install { programs, order, given, lists }
}

const NPM: &str = "package.json and package-lock.json";
const YARN: &str = "package.json and yarn.lock";
const PNPM: &str = "package.json and pnpm-lock.yaml";

const INSTALLS: &[Install] = &[
    install(&["npm"], &["ci"], Given::Anything, NPM),
    install(&["npm"], &["install"], Given::NoName, NPM),
    install(&["npm"], &["i"], Given::NoName, NPM),
    install(&["yarn"], &[], Given::NoName, YARN),
    install(&["yarn"], &["install"], Given::Anything, YARN),
    install(&["pnpm"], &["install"], Given::NoName, PNPM),
    install(&["pnpm"], &["i"], Given::NoName, PNPM),
    install(&["bun"], &["install"], Given::NoName, "package.json and bun.lock"),
    install(&["pip", "pip3"], &["install"], Given::List, "the requirements file"),
    install(&["poetry"], &["install"], Given::Anything, "pyproject.toml and poetry.lock"),
    install(&["uv"], &["sync"], Given::Anything, "pyproject.toml and uv.lock"),
    install(&["pipenv"], &["install"], Given::NoName, "Pipfile and Pipfile.lock"),
    install(&["bundle"], &["install"], Given::Anything, "Gemfile and Gemfile.lock"),
    install(&["composer"], &["install"], Given::Anything, "composer.json and composer.lock"),
    install(&["go"], &["mod", "download"], Given::Anything, "go.mod and go.sum"),
    install(&["cargo"], &["fetch"], Given::Anything, "Cargo.toml and Cargo.lock"),
    install(&["dotnet"], &["restore"], Given::Anything, "the project files"),
    install(&["mvn"], &["dependency:go-offline"], Given::Anything, "pom.xml"),
    install(&["mix"], &["deps.get"], Given::Anything, "mix.exs and mix.lock"),
];

/// Flags with a value behind them that is no name of a package.
const VALUED: &[&str] =
    &["--prefix", "-C", "--dir", "--cwd", "--registry", "--loglevel", "--omit", "--include", "--only", "--cache"];

pub(super) fn find(file: File<'_>, out: &mut Findings) {
    // The last broad COPY of the stage that no installation stands before.
    let mut broad: Option<&Node> = None;
    let mut installed = false;
    for (stage, node) in file.nodes() {
        match node.keyword.as_str() {
            "FROM" => (broad, installed) = (None, false),
            "COPY" | "ADD" if copies_everything(node) => broad = broad.or(Some(node)),
            "RUN" => {
                let Some(lists) = installs(&shell::text(node)) else { continue };
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

/// What lists the dependencies that a text's commands install.
fn installs(text: &str) -> Option<&'static str> {
    let found = |words: &Vec<String>| {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        INSTALLS.iter().find(|install| is(&words, install)).map(|install| install.lists)
    };
    run::commands(text).iter().find_map(found)
}

/// Does a command install from a list?
fn is(words: &[&str], install: &Install) -> bool {
    let Some(at) = words.iter().position(|w| shell::is_program(w, install.programs)) else { return false };
    // What is said is not done. A name alone says little where it is a word of another command, as in `corepack enable
    // yarn`.
    let said = words.first().is_some_and(|w| shell::is_program(w, &["echo", "printf", "command"]));
    if said || install.order.is_empty() && at > 0 {
        return false;
    }
    let rest = words.get(at + 1..).unwrap_or_default();
    let (flags, names) = parted(rest);
    let Some(names) = names.strip_prefix(install.order) else { return false };
    match install.given {
        Given::Anything => true,
        Given::NoName => {
            names.is_empty() && !flags.iter().any(|f| matches!(*f, "-g" | "--global" | "--location=global"))
        }
        Given::List => flags.iter().any(|f| f.starts_with("-r") || f.starts_with("--requirement")),
    }
}

/// Flags, and the other words that are no values of known flags.
fn parted<'a>(words: &[&'a str]) -> (Vec<&'a str>, Vec<&'a str>) {
    let (mut flags, mut names, mut words) = (Vec::new(), Vec::new(), words.iter());
    while let Some(word) = words.next() {
        match word.starts_with('-') {
            true => flags.push(*word),
            false => names.push(*word),
        }
        if VALUED.contains(word) {
            words.next();
        }
    }
    (flags, names)
}

#[cfg(test)]
mod tests {
    use super::installs;

    #[test]
    fn installations_are_known() {
        for (text, found) in [
            ("npm ci --omit=dev", true),
            ("cd app && npm install", true),
            ("npm --prefix app ci", true),
            ("npm install --registry http://r --silent", true),
            ("npm install -g pnpm", false),
            ("npm install --global", false),
            ("npm i express@4", false),
            ("npm run ci", false),
            ("npm install -g npm && npm ci", true),
            ("yarn", true),
            ("yarn --frozen-lockfile", true),
            ("yarn install --production", true),
            ("CI=1 sudo yarn", true),
            ("corepack enable yarn", false),
            ("command -v yarn || true", false),
            ("command -V npm ci", false),
            ("command npm ci", true),
            ("echo npm ci", false),
            ("echo 'then npm ci'; echo \"x; npm ci\"", false),
            ("sh -c 'npm ci'", true),
            ("true # npm ci", false),
            ("if [ -f yarn.lock ]; then yarn; fi", true),
            ("yarn build", false),
            ("yarn global add serve", false),
            ("pip install --no-cache-dir flask", false),
            ("pip install -r requirements.txt", true),
            ("pip install --no-cache-dir --upgrade -r requirements.txt", true),
            ("python3 -m pip install -U --requirement=r.txt", true),
            ("/venv/bin/pip install -rr.txt", true),
            ("pip install flask; grep -r x", false),
            ("go build ./...", false),
            ("go mod download", true),
            ("go mod tidy", false),
            ("[\"npm\", \"ci\"]", true),
        ] {
            assert_eq!(installs(text).is_some(), found, "{text}");
        }
    }
}
