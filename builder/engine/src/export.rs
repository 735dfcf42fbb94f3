//! Archives and plain files, out of the store.

use crate::event::{Event, Sink};
use crate::layers::io;
use crate::output::{ArchiveOutput, Container, FilesOutput, Others, Split};
use crate::output_file::write_whole;
use crate::product::{Product, Shape};
use crate::request::BuildRequest;
use crate::{Engine, EngineError};
use cooper_image::assemble::Format;
use cooper_image::{Platform, RelPath};
use cooper_layerfs::export::{LeftOut, Part, collision, export_dir, export_tar};
use cooper_store::archive::{self, Kind, Place};
use std::io::{BufWriter, Write};
use std::path::Path;

impl Engine {
    /// Writes an archive.
    pub(crate) fn export_archive(
        &self,
        output: &ArchiveOutput,
        request: &BuildRequest,
        product: &Product,
        sink: &dyn Sink,
    ) -> Result<(), EngineError> {
        let usual = match output.kind {
            Kind::Oci => Format::Oci,
            Kind::Docker => Format::Docker,
        };
        let image = self.describe(product, &output.form, output.form.format_or(usual), None)?.descriptor;
        let names = if output.names.is_empty() { &request.tags } else { &output.names };
        let write = |place: Place<'_>| Ok(archive::write(&self.store, output.kind, &image, names, place)?);
        match output.container {
            Container::Tar => write_to(&output.dest, |out| write(Place::Tar(out)))?,
            Container::Directory => write(Place::Dir(&output.dest))?,
        }
        told(&output.dest, sink);
        Ok(())
    }

    /// Writes the image's files.
    pub(crate) fn export_files(
        &self,
        output: &FilesOutput,
        request: &BuildRequest,
        product: &Product,
        sink: &dyn Sink,
    ) -> Result<(), EngineError> {
        let folders = match output.split {
            Split::Several => product.shape == Shape::Index,
            Split::Folders => true,
            Split::Merged => false,
        };
        let mut parts = Vec::with_capacity(product.images.len());
        for built in &product.images {
            let into = if folders { RelPath::from(folder(&built.platform).as_str()) } else { RelPath::root() };
            parts.push(Part { into, view: self.view(&built.layers)? });
        }
        if !folders && parts.len() > 1 {
            let views: Vec<_> = parts.iter().map(|p| &p.view).collect();
            if let Some(path) = collision(&views)? {
                return Err(EngineError::Request {
                    message: format!("{} is in the images of several platforms", path.display()),
                    hint: "leave platform-split=false away".to_owned(),
                });
            }
        }
        let time = request.clamp.then_some(request.created);
        match output.container {
            Container::Tar => write_to(&output.dest, |out| Ok(export_tar(&parts, time, out)?))?,
            Container::Directory => {
                if folders && output.others == Others::Delete {
                    keep_only(&output.dest, &parts)?;
                }
                for part in &parts {
                    told_of(&export_dir(part, &output.dest, output.others, time)?, sink);
                }
            }
        }
        told(&output.dest, sink);
        Ok(())
    }
}

/// The folder of a platform, as BuildKit names it.
fn folder(platform: &Platform) -> String {
    platform.to_string().replace('/', "_")
}

/// Empties the destination but for the folders of the platforms.
fn keep_only(dest: &Path, parts: &[Part]) -> Result<(), EngineError> {
    let failed = |e| io(format!("deleting in {}", dest.display()), e);
    let names = match std::fs::read_dir(dest) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        names => names.map_err(failed)?,
    };
    for entry in names {
        let entry = entry.map_err(failed)?;
        let wanted = parts.iter().any(|p| p.into.as_bytes() == entry.file_name().as_encoded_bytes());
        let is_dir = entry.file_type().map_err(failed)?.is_dir();
        match (wanted, is_dir) {
            (true, true) => {}
            (_, true) => std::fs::remove_dir_all(entry.path()).map_err(failed)?,
            (_, false) => std::fs::remove_file(entry.path()).map_err(failed)?,
        }
    }
    Ok(())
}

fn told_of(left_out: &LeftOut, sink: &dyn Sink) {
    let Some(first) = &left_out.first else { return };
    let more = if left_out.count > 1 { format!(" and {} more", left_out.count - 1) } else { String::new() };
    let text =
        format!("/{}{more}: devices and sockets are left out of a directory (type=tar keeps devices)", first.display());
    sink.event(Event::Warning { text });
}

fn told(dest: &Path, sink: &dyn Sink) {
    let dest = if dest == Path::new("-") { "standard output".into() } else { dest.to_string_lossy() };
    sink.event(Event::Exported { dest: dest.into_owned() });
}

/// Writes a file; `-` is standard output.
fn write_to(dest: &Path, write: impl FnOnce(&mut dyn Write) -> Result<(), EngineError>) -> Result<(), EngineError> {
    if dest == Path::new("-") {
        let mut out = BufWriter::new(std::io::stdout().lock());
        write(&mut out)?;
        return out.flush().map_err(|e| io("writing to standard output", e));
    }
    write_whole(dest, |e| EngineError::named(format!("writing {}", dest.display()), e), write)
}
