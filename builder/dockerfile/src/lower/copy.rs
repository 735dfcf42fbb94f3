//! COPY and ADD.

use super::Cx;
use super::flags::{self, Flags, Kind, Known};
use super::json::{self, Form};
use super::simple::list;
use crate::diagnostic::{Diagnostic, quoted};
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
    for body in &cx.node.heredocs {
        let name = &body.mark.name;
        if name.contains('/') || matches!(name.as_str(), "." | "..") {
            let message = format!("{} cannot be the name of a file", quoted(name));
            let finding = Diagnostic::error("InvalidName", cx.node.span, message);
            let at = body.mark.range.start + cx.node.args_at..body.mark.range.end + cx.node.args_at;
            return cx.fail_at(at, finding.with_hint("the word behind << names the file"));
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
            let finding = Diagnostic::error("VariableInFrom", cx.node.span, message).with_hint(hint);
            return cx.fail_at(flags.range("from"), finding);
        }
        if from.is_empty() {
            let message = "--from is empty".to_owned();
            return flags::invalid(cx, flags.range("from"), message, "name a stage, an image or a context");
        }
    }
    for name in ["chown", "chmod", "checksum"] {
        if let Some(value) = flags.text(name) {
            cx.word_at(&value, flags.range(name))?;
        }
    }
    Some(flags)
}

/// Sources, then the destination; heredocs are taken out.
fn paths(cx: &mut Cx<'_>) -> Option<Vec<String>> {
    let keyword = &cx.node.keyword;
    let args = cx.required(if keyword == "ADD" { "ADD source /destination" } else { "COPY source /destination" })?;
    let heredocs = &cx.node.heredocs;
    if heredocs.is_empty()
        && let Form::Exec(paths) = json::read(cx, args)?
    {
        return enough(cx, paths, 2);
    }
    if let Some(last) = heredocs.last().filter(|last| last.mark.range.end == args.len()) {
        let message = format!("{keyword} has a heredoc as its destination");
        let piece = args.get(last.mark.range.clone()).unwrap_or(args);
        return cx.fail_on(piece, "HeredocDestination", message, "the destination is a path, and the last argument");
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
    if paths.len() >= least {
        return Some(paths);
    }
    let keyword = &cx.node.keyword;
    let message = format!("{keyword} needs a source and a destination");
    let hint = format!("for example {keyword} source /destination");
    cx.fail_hint("MissingArgument", message, hint)
}
