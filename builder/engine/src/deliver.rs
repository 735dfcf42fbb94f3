//! From the product to all outputs: names in the store first, then files, then registries.
//!
//! An output that fails does not keep the others from being made; the build then ends with the first failure, and
//! the others are told.

use crate::claims;
use crate::event::{Event, Sink};
use crate::output::{ArchiveOutput, Canonical, Container, FilesOutput, Finish, Form, ImageOutput, Output, Push};
use crate::product::{Described, Product, Shape};
use crate::request::BuildRequest;
use crate::transfer::together;
use crate::uplink::Uplink;
use crate::{Engine, EngineError, ErrorClass};
use cooper_image::assemble::Format;
use cooper_image::{Descriptor, Reference};

/// What is known of the image after delivery.
#[derive(Debug, Clone, Default)]
pub(crate) struct Delivered {
    /// Its documents, once an image output needed them.
    pub described: Option<Described>,
    /// Every name that it has, each once.
    pub names: Vec<Reference>,
}

/// Failures so far.
struct Faults<'a> {
    sink: &'a dyn Sink,
    first: Option<EngineError>,
}

impl Faults<'_> {
    /// Keeps the first failure and tells the others. An interruption ends everything.
    fn note(&mut self, error: EngineError) -> Result<(), EngineError> {
        if error.class() == ErrorClass::Interrupted {
            return Err(error);
        }
        if self.first.is_some() {
            self.sink.event(Event::Warning { text: format!("another output failed too: {error}") });
        } else {
            self.first = Some(error);
        }
        Ok(())
    }
}

impl Engine {
    /// Makes every output.
    pub(crate) fn deliver(
        &self,
        request: &BuildRequest,
        product: &Product,
        uplink: Option<&Uplink>,
        sink: &dyn Sink,
    ) -> Result<Delivered, EngineError> {
        let mut faults = Faults { sink, first: None };
        let mut delivered = Delivered::default();
        let mut pushes: Vec<(Reference, Descriptor)> = Vec::new();
        for output in &request.outputs {
            let Output::Image(image) = output else { continue };
            match self.keep(request, image, product, uplink, sink) {
                Ok(kept) => {
                    let named = kept.names.iter().filter(|n| !delivered.names.contains(n)).cloned();
                    delivered.names.extend(named.collect::<Vec<_>>());
                    pushes.extend(kept.pushes);
                    delivered.described = delivered.described.or(kept.described);
                }
                Err(e) => faults.note(e)?,
            }
        }
        for output in &request.outputs {
            let done = match output {
                Output::Image(_) => Ok(()),
                Output::Archive(archive) => self.export_archive(archive, request, product, sink),
                Output::Files(files) => self.export_files(files, request, product, sink),
            };
            done.or_else(|e| faults.note(e))?;
        }
        if let Some(uplink) = uplink {
            for (names, descriptor) in together(pushes) {
                self.send(&names, &descriptor, uplink, sink).or_else(|e| faults.note(e))?;
            }
        }
        faults.first.map_or(Ok(delivered), Err)
    }

    /// Names an image in the store, and says where it is to be sent.
    fn keep(
        &self,
        request: &BuildRequest,
        image: &ImageOutput,
        product: &Product,
        uplink: Option<&Uplink>,
        sink: &dyn Sink,
    ) -> Result<Kept, EngineError> {
        let given = if image.names.is_empty() { &request.tags } else { &image.names };
        let lazily = *image == ImageOutput { names: image.names.clone(), ..ImageOutput::default() };
        let config = product.images.first().map(|b| claims::noted(&b.config_descriptor, &b.layers));
        let (descriptor, described) = match config.filter(|_| lazily && product.shape == Shape::Image) {
            Some(config) => (config, None),
            None => {
                let described = {
                    let uplink = uplink
                        .filter(|uplink| image.push != Push::No && given.iter().any(|name| uplink.leads_to(name)));
                    self.describe(product, &image.form, image.form.format_or(Format::Oci), uplink)?
                };
                (described.descriptor.clone(), Some(described))
            }
        };
        let mut kept = Kept { described, names: Vec::new(), pushes: Vec::new() };
        for name in given {
            let by_digest = name.with_digest(descriptor.digest.clone());
            if image.push != Push::ByDigest {
                kept.names.push(name.clone().or_latest());
            }
            if image.canonical == Canonical::Yes {
                kept.names.push(by_digest.clone());
            }
            match image.push {
                Push::No => {}
                Push::ByName => kept.pushes.push((name.clone().or_latest(), descriptor.clone())),
                Push::ByDigest => kept.pushes.push((by_digest, descriptor.clone())),
            }
        }
        for reference in &kept.names {
            self.store.set_ref(reference, &descriptor)?;
            sink.event(Event::Tagged { reference: reference.clone() });
        }
        Ok(kept)
    }
}

/// An image that is in the store under its names.
struct Kept {
    described: Option<Described>,
    names: Vec<Reference>,
    pushes: Vec<(Reference, Descriptor)>,
}

/// Do the outputs make sense?
pub(crate) fn check(request: &BuildRequest) -> Result<(), EngineError> {
    let refuse = |message: String, hint: &str| Err(EngineError::Request { message, hint: hint.to_owned() });
    let mut places: Vec<&std::path::Path> = Vec::new();
    for output in &request.outputs {
        if let Some(form) = output.form() {
            check_form(form, request)?;
        }
        if let Some(dest) = output.dest() {
            if places.contains(&dest) {
                return refuse(format!("two outputs go to {}", dest.display()), "give each a dest of its own");
            }
            places.push(dest);
        }
        if let Output::Archive(ArchiveOutput { container: Container::Directory, dest, .. })
        | Output::Files(FilesOutput { container: Container::Directory, dest, .. }) = output
            && dest.exists()
            && !dest.is_dir()
        {
            return refuse(format!("the output {} is no directory", dest.display()), "give dest= another name");
        }
        match output {
            Output::Image(image) => check_image(image, request)?,
            Output::Archive(a) if a.kind == cooper_store::archive::Kind::Docker && request.shape() == Shape::Index => {
                return refuse(
                    "type=docker holds one image and cannot hold an index".to_owned(),
                    "write type=oci, or build for one platform",
                );
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_image(image: &ImageOutput, request: &BuildRequest) -> Result<(), EngineError> {
    let refuse = |message: String, hint: &str| Err(EngineError::Request { message, hint: hint.to_owned() });
    let names = if image.names.is_empty() { &request.tags } else { &image.names };
    if image.push != Push::No && names.is_empty() {
        return refuse("a push needs a name".to_owned(), "add -t REGISTRY/NAME, or name= to the output");
    }
    if let Some(name) = names.iter().find(|n| n.digest().is_some()) {
        return refuse(
            format!("{name} names one image for ever; a new image cannot take that name"),
            "give a tag, without the part from the @ on",
        );
    }
    if image.push == Push::ByDigest
        && let Some(name) = names.iter().find(|n| n.tag().is_some())
    {
        return refuse(
            format!("{name} has a tag, which push-by-digest does not push"),
            "give the name without a tag, or leave push-by-digest away",
        );
    }
    Ok(())
}

fn check_form(form: &Form, request: &BuildRequest) -> Result<(), EngineError> {
    let refuse = |message: String, hint: &str| Err(EngineError::Request { message, hint: hint.to_owned() });
    if form.format == Some(Format::Docker) && form.needs_oci() {
        let what = if form.annotations.is_empty() { "zstd" } else { "annotations" };
        return refuse(format!("Docker's media types have no {what}"), "leave oci-mediatypes=false away");
    }
    for a in &form.annotations {
        if a.target.needs_index() && request.shape() == Shape::Image {
            return refuse(
                format!("the annotation {} is for an {}, and this build makes none", a.key, a.target),
                "build for several platforms, or give --build-arg BUILDKIT_MULTI_PLATFORM=1",
            );
        }
        if let Some(platform) = &a.platform
            && !request.platforms.iter().any(|p| platform.satisfies(p))
        {
            return refuse(
                format!("the annotation {} is for {platform}, which is not built", a.key),
                "name a platform of --platform",
            );
        }
    }
    Ok(())
}

impl ImageOutput {
    /// An output that needs to know its digest now.
    pub fn finished(self) -> Self {
        Self { finish: Finish::Now, ..self }
    }
}
