//! `cooper sync`.

use super::Place;
use crate::failure::{Exit, Failure};
use crate::flags::archive::{SyncFlags, mirror};
use crate::open::Remote;
use crate::signals::{Manner, Signals};
use crate::ui::{Detail, Ui};
use crate::{report, settings, stdout};
use cooper_engine::EngineError;
use cooper_engine::toolkit::sync::{Mode, State, Synced, Syncing, all_meant};
use cooper_image::Reference;
use std::path::Path;

/// Copies what a place does not have yet. An image that cannot be copied does not keep the others.
pub fn run(place: &Place, flags: &SyncFlags) -> Result<Exit, Failure> {
    let (target, sources) = flags.names.split_last().ok_or_else(none)?;
    let target = mirror(target).map_err(|e| Failure::usage(e, "the last name is the target"))?;
    let mut given = sources.iter().map(|text| name(text)).collect::<Result<Vec<_>, _>>()?;
    if let Some(file) = &flags.file {
        let absent = || Failure::usage(format!("there is no file {}", file.display()), "check the path");
        let text = match file.as_os_str() == "-" {
            true => settings::read_stdin()?,
            false => settings::read(file)?.ok_or_else(absent)?,
        };
        given.extend(listed(file, &text)?);
    }
    let names = given.into_iter().map(|name| place.followed(name)).collect::<Result<Vec<_>, _>>()?;
    if names.is_empty() {
        return Err(none());
    }
    let ui = Ui::open(flags.view.progress(), place.env.term(), Detail::Brief)?;
    let remote = Remote::open(place)?;
    Signals::listen(remote.handle(), Manner::End)?;
    let reach = remote.reach();
    let mode = if flags.dry_run { Mode::Tell } else { Mode::Do };
    let (mut done, mut failed): (Vec<Synced>, Vec<EngineError>) = (Vec::new(), Vec::new());
    let syncing = Syncing::to(&reach, &target, mode)?;
    for image in syncing.images(all_meant(&reach, &names)?, &*ui.sink())? {
        match image {
            Ok(synced) => done.push(synced),
            Err(e) => failed.push(e),
        }
    }
    if let Err(e) = syncing.finish() {
        done.retain(|synced| synced.state != State::Copied || syncing.is_named(synced));
        failed.push(e);
    }
    ui.end(failed.last().map(|e| report::line(e)));
    if flags.json {
        stdout::json(&done)?;
    } else {
        stdout::names(&done.iter().map(line).collect::<Vec<_>>())?;
    }
    let Some(last) = failed.pop() else { return Ok(Exit::Done) };
    for error in &failed {
        ui.tell(&report::line(error));
    }
    Err(last.into())
}

fn line(synced: &Synced) -> String {
    let state = match synced.state {
        State::Same => "same",
        State::Copied => "copied",
        State::Missing => "missing",
    };
    format!("{state} {} {} {}", synced.source, synced.target, synced.digest)
}

fn none() -> Failure {
    Failure::usage("nothing to copy", "cooper sync SOURCE... TARGET, or --file LIST TARGET")
}

fn name(text: &str) -> Result<Reference, Failure> {
    text.parse::<Reference>().map_err(|e| Failure::usage(e.to_string(), "sources are images or repositories"))
}

/// The names of a list.
fn listed(file: &Path, text: &str) -> Result<Vec<Reference>, Failure> {
    let place = if file.as_os_str() == "-" { "standard input".into() } else { file.to_string_lossy() };
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let names = lines.zip(1..).filter(|(line, _)| !line.is_empty());
    let read = names.map(|(line, n)| {
        let wrong =
            |e| Failure::usage(format!("{place}, line {n}: {e}"), "each line has the name of an image or a repository");
        line.parse::<Reference>().map_err(wrong)
    });
    read.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_have_remarks() {
        let list = Path::new("images.list");
        let names = listed(list, "# all\n debian:12 # stable\n\nr.example/a\n").unwrap();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["docker.io/library/debian:12", "r.example/a"]);
        for (file, said) in [(list, "images.list, line 3: "), (Path::new("-"), "standard input, line 3: ")] {
            let wrong = listed(file, "debian:12\n\nNot A Name # at all\n").unwrap_err().to_string();
            assert!(wrong.starts_with(said) && wrong.contains("Not A Name"), "{wrong}");
        }
    }
}
