//! The golden folders: every Dockerfile in them gives exactly the tree, the instructions and the
//! errors that are written beside it. `COOPER_GOLDEN=write` writes them anew, for a reader to judge.

use cooper_dockerfile::diagnostic::{self, Severity};
use cooper_dockerfile::{ast, instruction, parse, tree};
use std::fs;
use std::path::{Path, PathBuf};

/// The cases of one kind.
fn folders(kind: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/golden").join(kind);
    let mut all: Vec<PathBuf> =
        fs::read_dir(&root).expect("the folder is there").map(|e| e.expect("an entry").path()).collect();
    all.retain(|p| p.is_dir());
    all.sort();
    all
}

/// Compares a file with what it should be; gives what is wrong. Writes it instead when that was asked for.
fn judge(path: &Path, found: &str) -> Option<String> {
    if std::env::var_os("COOPER_GOLDEN").is_some_and(|v| v == "write") {
        fs::write(path, found).expect("the folder can be written");
        return None;
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    (expected != found).then(|| format!("{}\n--- expected\n{expected}--- found\n{found}", path.display()))
}

#[test]
fn good_files_mean_what_is_written_beside_them() {
    let folders = folders("good");
    assert!(folders.len() >= 150, "only {} cases", folders.len());
    let mut wrong = Vec::new();
    for folder in &folders {
        let text = fs::read_to_string(folder.join("Dockerfile")).expect("the case has a Dockerfile");
        let parsed = parse(&text);
        let Some(file) = &parsed.dockerfile else {
            wrong.push(format!("{}\n{}", folder.display(), diagnostic::dump(&parsed.diagnostics)));
            continue;
        };
        let meaning = format!("{}{}", instruction::dump(file), diagnostic::dump(&parsed.diagnostics));
        wrong.extend(judge(&folder.join("ast"), &ast::dump(&tree(&text))));
        wrong.extend(judge(&folder.join("instructions"), &meaning));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn bad_files_have_the_errors_that_are_written_beside_them() {
    let folders = folders("bad");
    assert!(folders.len() >= 80, "only {} cases", folders.len());
    let mut wrong = Vec::new();
    for folder in &folders {
        let text = fs::read_to_string(folder.join("Dockerfile")).expect("the case has a Dockerfile");
        let mut found = parse(&text).diagnostics;
        found.retain(|d| d.severity == Severity::Error);
        if found.is_empty() {
            wrong.push(format!("{} is accepted", folder.display()));
        }
        if found.iter().any(|d| d.hint.is_none()) {
            wrong.push(format!("{} has an error without a hint", folder.display()));
        }
        wrong.extend(judge(&folder.join("errors"), &diagnostic::dump(&found)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
