//! `cooper validate`.

use super::Place;
use crate::failure::{Exit, Failure};
use crate::flags::copy::ValidateFlags;
use crate::places::Places;
use crate::stdout;
use crate::ui::{amount, escape};
use cooper_engine::toolkit::pick;
use cooper_engine::toolkit::validate::{Depth, Image, Report, validate};
use cooper_image::Descriptor;

/// Looks at an image wherever it is, and tells everything that is wrong with it.
pub fn run(place: &Place, flags: &ValidateFlags) -> Result<Exit, Failure> {
    let places = Places::open(place, &[&flags.image])?;
    let origin = places.origin(&flags.image)?;
    let top = pick(&*origin, flags.platform.as_ref())?;
    let depth = if flags.fast { Depth::Documents } else { Depth::Everything };
    let report = validate(&*origin, &top, depth)?;
    if flags.json {
        stdout::json(&report)?;
    } else {
        stdout::line(&text(&report))?;
    }
    Ok(if report.findings.is_empty() { Exit::Done } else { Exit::Input })
}

fn text(report: &Report) -> String {
    let image = |i: &Image| {
        let platform = i.platform.as_ref().map_or_else(|| "artifact".to_owned(), ToString::to_string);
        let layers = format!("{} layers, {}", i.layers, amount::bytes(i.bytes));
        format!("{} {}: {layers}", i.manifest.digest, escape::line(&platform))
    };
    let mut lines: Vec<String> = report.images.iter().map(image).collect();
    let elsewhere = |d: &Descriptor| format!("not looked at: {}: {}, which need not be there", d.digest, d.media_type);
    lines.extend(report.elsewhere.iter().map(|d| escape::line(&elsewhere(d))));
    lines.extend(report.findings.iter().map(|f| escape::line(&format!("wrong: {}: {}", f.of, f.problem))));
    lines.push(match report.findings.len() {
        0 => "valid".to_owned(),
        n => format!("not valid: {n} found"),
    });
    lines.join("\n")
}
