//! `cooper export`.

use super::Place;
use crate::failure::{Exit, Failure};
use crate::flags::rework::ExportFlags;
use crate::places::Places;
use crate::ui::{Detail, Ui};
use crate::{report, stdout};
use cooper_engine::output_file::write_whole;
use cooper_engine::toolkit::pick;
use cooper_engine::{EngineError, toolkit};
use cooper_image::{Descriptor, Platform};
use serde::Serialize;
use std::io::{BufWriter, Write};
use std::path::Path;

/// The answer as JSON.
#[derive(Debug, Serialize)]
struct Exported {
    source: String,
    target: String,
    #[serde(flatten)]
    descriptor: Descriptor,
}

/// Writes the files of an image as one tar.
pub fn run(place: &Place, flags: &ExportFlags) -> Result<Exit, Failure> {
    let to_stdout = flags.output == Path::new("-");
    if flags.json && to_stdout {
        return Err(Failure::usage("the tar and the JSON both go to standard output", "give -o FILE"));
    }
    if to_stdout {
        stdout::not_a_terminal("the tar", "give -o FILE, or a pipe")?;
    }
    let ui = Ui::open(flags.view.progress(), place.env.term(), Detail::Brief)?;
    let places = Places::with_store(place)?;
    let done = (|| {
        let origin = places.origin(&flags.image)?;
        let d = pick(&*origin, wanted(&*origin, flags)?.as_ref())?;
        let engine = places.engine()?;
        let write = |out: &mut dyn Write| engine.write_root(&origin, &d, &*ui.sink(), out);
        let failed = |e| EngineError::named(format!("writing {}", flags.output.display()), e);
        if to_stdout {
            let mut out = BufWriter::with_capacity(1 << 18, std::io::stdout().lock());
            write(&mut out)?;
            out.flush().map_err(failed)?;
        } else {
            write_whole(&flags.output, failed, write)?;
        }
        Ok::<_, Failure>(d)
    })();
    ui.end(done.as_ref().err().map(|e| report::line(e)));
    let descriptor = done?;
    if flags.json {
        let (source, target) = (flags.image.to_string(), flags.output.display().to_string());
        stdout::json(&Exported { source, target, descriptor })?;
    }
    Ok(Exit::Done)
}

/// Of an index this machine's image, unless another one is asked for.
fn wanted(origin: &dyn toolkit::Origin, flags: &ExportFlags) -> Result<Option<Platform>, EngineError> {
    let is_index = origin.top()?.media_type.is_index();
    Ok(flags.platform.clone().or_else(|| is_index.then(Platform::host)))
}
