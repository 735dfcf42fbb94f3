//! `cooper diff`.

use super::Place;
use crate::failure::{Exit, Failure};
use crate::flags::diff::DiffFlags;
use crate::places::Places;
use crate::stdout;
use crate::ui::{amount, escape};
use cooper_engine::EngineError;
use cooper_engine::toolkit::diff::{Change, Differences, FileChange, LayerOf, Reading, Setting, Side, diff};
use cooper_engine::toolkit::{Origin, pick};
use cooper_image::{Descriptor, Platform};
use serde_json::Value;

/// Compares two images, wherever they are.
pub fn run(place: &Place, flags: &DiffFlags) -> Result<Exit, Failure> {
    let places = Places::open(place, &[&flags.old, &flags.new])?;
    let (old, new) = (places.origin(&flags.old)?, places.origin(&flags.new)?);
    let reading = match (flags.no_files, flags.own_layers) {
        (true, _) => Reading::Documents,
        (false, true) => Reading::OwnLayers,
        (false, false) => Reading::AllLayers,
    };
    let (a, b) = (chosen(&*old, flags)?, chosen(&*new, flags)?);
    let found = diff(Side { origin: &*old, descriptor: &a }, Side { origin: &*new, descriptor: &b }, reading)?;
    if flags.json {
        stdout::json(&found)?;
    } else if !found.is_none() {
        stdout::line(&text(&found))?;
    }
    Ok(if flags.exit_code && !found.is_none() { Exit::Step } else { Exit::Done })
}

fn chosen(origin: &dyn Origin, flags: &DiffFlags) -> Result<Descriptor, EngineError> {
    let is_index = origin.top()?.media_type.is_index();
    let platform = flags.platform.clone().or_else(|| is_index.then(Platform::host));
    pick(origin, platform.as_ref())
}

fn text(found: &Differences) -> String {
    let mut lines: Vec<String> = found.config.iter().map(setting).collect();
    if !found.old_layers.is_empty() || !found.new_layers.is_empty() {
        lines.push(format!("layers: {} in common", found.common_layers));
        let layer = |sign: char| move |l: &LayerOf| format!("{sign} {} {}", l.digest, amount::bytes(l.size));
        lines.extend(found.old_layers.iter().map(layer('-')));
        lines.extend(found.new_layers.iter().map(layer('+')));
    }
    lines.extend(found.files.iter().flatten().map(file));
    lines.join("\n")
}

fn setting(s: &Setting) -> String {
    let shown = |v: &Option<Value>| v.as_ref().map_or_else(|| "nothing".to_owned(), Value::to_string);
    escape::line(&format!("{}: {} → {}", s.path, shown(&s.old), shown(&s.new)))
}

fn file(f: &FileChange) -> String {
    let sign = match f.change {
        Change::Added => 'A',
        Change::Removed => 'D',
        Change::Changed => 'C',
        Change::Written => 'W',
        Change::Unwritten => 'U',
    };
    let size = |s: &Option<cooper_engine::toolkit::files::FileState>| {
        s.as_ref().filter(|s| s.kind == "file").map(|s| amount::bytes(s.size))
    };
    let sizes = match (size(&f.old), size(&f.new)) {
        (Some(old), Some(new)) if old != new => format!(" {old} → {new}"),
        (old, new) => old.or(new).map(|s| format!(" {s}")).unwrap_or_default(),
    };
    let what = if f.what.is_empty() { String::new() } else { format!(" ({})", f.what.join(", ")) };
    escape::line(&format!("{sign} {}{sizes}{what}", f.path))
}
