//! `-o`: archives and the plain root.

use crate::event::{Event, Sink};
use crate::layers::{Layer, io};
use crate::output_file::write_whole;
use crate::request::{BuildRequest, Output, OutputKind, Push};
use crate::{Engine, EngineError};
use cooper_image::ImageConfig;
use cooper_image::assemble::{self, Format};
use std::io::{BufWriter, Write};
use std::path::Path;

impl Engine {
    /// Does the build need compressed layers?
    pub(crate) fn wants_manifest(&self, request: &BuildRequest) -> bool {
        request.push == Push::Yes || request.outputs.iter().any(|o| o.kind == OutputKind::Oci)
    }

    /// Writes one output.
    pub(crate) fn export(
        &self,
        output: &Output,
        request: &BuildRequest,
        config: &ImageConfig,
        layers: &[Layer],
        sink: &dyn Sink,
    ) -> Result<(), EngineError> {
        match output.kind {
            OutputKind::Local => cooper_layerfs::export::export_dir(&self.view(layers)?, &output.dest)?,
            OutputKind::Tar => {
                let view = self.view(layers)?;
                write_to(&output.dest, |w| Ok(cooper_layerfs::export::export_tar(&view, w)?))?;
            }
            OutputKind::Oci => {
                let image = self.manifest(config, layers)?;
                write_to(&output.dest, |w| {
                    Ok(cooper_store::archive::write_oci_archive(&self.store, &image.descriptor, &request.tags, w)?)
                })?;
            }
            OutputKind::Docker => {
                let blobs = layers.iter().map(|l| self.ensure_blob(l)).collect::<Result<Vec<_>, _>>()?;
                let image = assemble::assemble(config, blobs.clone(), Format::Docker)
                    .map_err(|source| EngineError::Json { what: "the new manifest".to_owned(), source })?;
                self.store.put_blob(&image.config)?;
                write_to(&output.dest, |w| {
                    let (config, tags) = (&image.config_descriptor, &request.tags);
                    Ok(cooper_store::archive::write_docker_archive(&self.store, config, &blobs, tags, w)?)
                })?;
            }
        }
        let dest = if output.dest == Path::new("-") { "standard output".into() } else { output.dest.to_string_lossy() };
        sink.event(Event::Exported { dest: dest.into_owned() });
        Ok(())
    }
}

/// Writes a file; `-` is standard output.
fn write_to(dest: &Path, write: impl FnOnce(&mut dyn Write) -> Result<(), EngineError>) -> Result<(), EngineError> {
    if dest == Path::new("-") {
        let mut out = BufWriter::new(std::io::stdout().lock());
        write(&mut out)?;
        return out.flush().map_err(|e| io("writing to standard output", e));
    }
    write_whole(dest, |e| io(format!("writing {}", dest.display()), e), write)
}
