//! Instructions of one text or a list of words.

use super::Cx;
use super::flags;
use super::json::{self, Form};
use crate::split::is_blank;

/// The words between blanks. Quotes do not hold words together here; the JSON form does.
pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_blank).filter(|w| !w.is_empty())
}

/// USER, WORKDIR, STOPSIGNAL: the whole rest is one text.
pub(super) fn word(cx: &mut Cx<'_>, example: &str) -> Option<String> {
    flags::read(cx, &[])?;
    let args = cx.required(example)?;
    cx.word(args)?;
    Some(args.to_owned())
}

/// MAINTAINER.
pub(super) fn maintainer(cx: &mut Cx<'_>) -> Option<String> {
    flags::read(cx, &[])?;
    cx.required("LABEL org.opencontainers.image.authors=\"the project\"").map(str::to_owned)
}

/// EXPOSE.
pub(super) fn expose(cx: &mut Cx<'_>) -> Option<Vec<String>> {
    flags::read(cx, &[])?;
    let args = cx.required("EXPOSE 8080/tcp")?;
    list(args).map(|port| cx.word(port).map(|()| port.to_owned())).collect()
}

/// VOLUME: a JSON array or words.
pub(super) fn volume(cx: &mut Cx<'_>) -> Option<Vec<String>> {
    flags::read(cx, &[])?;
    let args = cx.required("VOLUME /data")?;
    let volumes: Vec<String> = match json::read(cx, args)? {
        Form::Exec(volumes) => volumes.iter().map(|v| v.trim().to_owned()).collect(),
        Form::Shell => list(args).map(str::to_owned).collect(),
    };
    if volumes.is_empty() {
        return cx.fail_hint("MissingArgument", "VOLUME has an empty array", "for example VOLUME /data");
    }
    if volumes.iter().any(String::is_empty) {
        return cx.fail_hint("MissingArgument", "VOLUME names an empty path", "for example VOLUME /data");
    }
    for volume in &volumes {
        cx.word(volume)?;
    }
    Some(volumes)
}
