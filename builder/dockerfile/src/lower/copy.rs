//! COPY and ADD.

use super::Cx;
use super::flags::{self, Flags, Kind, Known};
use super::json::{self, Form};
use super::simple::list;
use crate::diagnostic::quoted;
use crate::instruction::Copy;

const COPY_FLAGS: [Known; 6] = [
    ("from", Kind::Text),
    ("chown", Kind::Text),
    ("chmod", Kind::Text),
    ("link", Kind::Switch),
    ("parents", Kind::Switch),
    ("exclude", Kind::Many),
];

const ADD_FLAGS: [Known; 7] = [
    ("chown", Kind::Text),
    ("chmod", Kind::Text),
    ("link", Kind::Switch),
    ("exclude", Kind::Many),
    ("checksum", Kind::Text),
    ("keep-git-dir", Kind::Switch),
    ("unpack", Kind::Switch),
];

/// COPY and ADD.
pub(super) fn copy(cx: &mut Cx<'_>) -> Option<Copy> {
    let add = cx.node.keyword == "ADD";
    let flags = flags::read(cx, if add { &ADD_FLAGS } else { &COPY_FLAGS });
    let flags = flags.and_then(|f| values(cx, f));
    let mut paths = paths(cx)?;
    let heredocs: Vec<_> = cx.node.heredocs.iter().map(|b| b.heredoc()).collect();
    let dest = paths.pop()?;
    for path in paths.iter().chain([&dest]) {
        cx.word(path)?;
    }
    for heredoc in &heredocs {
        if heredoc.name.contains('/') || matches!(heredoc.name.as_str(), "." | "..") {
            let message = format!("{} cannot be the name of a file", quoted(&heredoc.name));
            return cx.fail_hint("InvalidName", message, "the word behind << names the file");
        }
    }
    let flags = flags?;
    Some(Copy {
        add,
        sources: paths,
        heredocs,
        dest,
        from: flags.text("from"),
        chown: flags.text("chown"),
        chmod: flags.text("chmod"),
        link: flags.switch("link").unwrap_or(false),
        parents: flags.switch("parents").unwrap_or(false),
        exclude: flags.many("exclude"),
        checksum: flags.text("checksum"),
        keep_git_dir: flags.switch("keep-git-dir"),
        unpack: flags.switch("unpack"),
    })
}

/// Judges the values that can be judged before expansion.
fn values(cx: &mut Cx<'_>, flags: Flags) -> Option<Flags> {
    if let Some(from) = flags.text("from") {
        if from.contains('$') {
            let message = format!("--from={from} holds a variable, and variables are not expanded there");
            let hint = "declare a stage with FROM and the variable, give it a name with AS, and copy from that";
            return cx.fail_hint("VariableInFrom", message, hint);
        }
        if from.is_empty() {
            return cx.fail("InvalidFlagValue", "--from is empty");
        }
    }
    for name in ["chown", "chmod", "checksum"] {
        if let Some(value) = flags.text(name) {
            cx.word(&value)?;
        }
    }
    Some(flags)
}

/// Sources, then the destination; heredocs are taken out.
fn paths(cx: &mut Cx<'_>) -> Option<Vec<String>> {
    let keyword = cx.node.keyword.clone();
    let args = cx.required(&format!("{keyword} source /destination"))?;
    let heredocs = &cx.node.heredocs;
    if heredocs.is_empty()
        && let Form::Exec(paths) = json::read(cx, &args)?
    {
        return enough(cx, paths, 2);
    }
    if heredocs.last().is_some_and(|last| last.mark.range.end == args.len()) {
        let message = format!("{keyword} has a heredoc as its destination");
        return cx.fail_hint("HeredocDestination", message, "the destination is a path, and the last argument");
    }
    let (mut rest, mut at) = (String::new(), 0);
    for heredoc in heredocs {
        rest.push_str(args.get(at..heredoc.mark.range.start).unwrap_or_default());
        at = heredoc.mark.range.end;
    }
    rest.push_str(args.get(at..).unwrap_or_default());
    let paths = list(&rest).map(str::to_owned).collect();
    enough(cx, paths, if heredocs.is_empty() { 2 } else { 1 })
}

fn enough(cx: &mut Cx<'_>, paths: Vec<String>, least: usize) -> Option<Vec<String>> {
    if paths.len() >= least && paths.iter().all(|p| !p.is_empty()) {
        return Some(paths);
    }
    let keyword = &cx.node.keyword;
    let message = format!("{keyword} needs a source and a destination");
    let hint = format!("for example {keyword} source /destination");
    cx.fail_hint("MissingArgument", message, hint)
}
