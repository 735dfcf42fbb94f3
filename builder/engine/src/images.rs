//! Images by name: build, pull, push, list, inspect.

use crate::context::Named;
use crate::event::{Event, Sink};
use crate::history;
use crate::request::{BuildRequest, BuildResult, Push};
use crate::solve::Build;
use crate::{Engine, EngineError};
use cooper_image::assemble::{self, Format};
use cooper_image::edit::ConfigEdit;
use cooper_image::{Descriptor, Digest, ImageConfig, Manifest, MediaType, Platform, Reference};
use cooper_sandbox::Tier;
use cooper_store::TreeMarks;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One line of `cooper images`.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ImageSummary {
    /// Its name.
    pub reference: Reference,
    /// Its manifest, once there is one.
    pub manifest: Option<Descriptor>,
    /// Digest of its configuration.
    pub image_id: Digest,
    /// When it was made.
    pub created: Option<String>,
    /// Bytes of the layers as they are stored as blobs; layers that exist only as trees count nothing.
    pub size: u64,
}

/// Everything about one image.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ImageDetail {
    /// Its name.
    pub reference: Reference,
    /// What the name leads to.
    pub descriptor: Descriptor,
    /// Its configuration.
    pub config: ImageConfig,
    /// Its manifest; absent until layers were compressed for a push or an archive.
    pub manifest: Option<Manifest>,
}

impl Engine {
    /// Builds an image. `cancel` stops it; the build sets it too when a step fails, to stop the other steps.
    ///
    /// # Errors
    /// Everything that [`EngineError`] lists.
    pub fn build(
        &self,
        request: &BuildRequest,
        sink: Arc<dyn Sink>,
        cancel: Arc<AtomicBool>,
    ) -> Result<BuildResult, EngineError> {
        let sink = &*sink;
        check(request)?;
        self.store.use_marks(match self.tier {
            Tier::Root => TreeMarks::Trusted,
            Tier::Rootless => TreeMarks::User,
        })?;
        let read = crate::read::read(request, sink)?;
        let named = Named::new(&read.request);
        let plan = self.plan(&read, &named, sink)?;
        let request = &read.request;
        let build = Build::new(self, request, &named, plan.stages.len(), sink, &cancel)?;
        let target = self.solve(&plan, &build)?;
        let (steps_run, steps_cached) = (build.run.load(Ordering::Relaxed), build.cached.load(Ordering::Relaxed));
        let mut config = target.config.clone();
        for (name, value) in &request.labels {
            ConfigEdit::Label { name: name.clone(), value: value.clone() }.apply(&mut config);
        }
        config.created.get_or_insert_with(|| history::rfc3339(request.created));
        config.rootfs.diff_ids = crate::layers::diff_ids(&target.layers);
        let image_id = self.keep_config(&config)?;
        let mut manifest = None;
        if self.wants_manifest(request) {
            manifest = Some(self.manifest(&config, &target.layers)?.descriptor);
        }
        for layer in &target.layers {
            self.settle(layer)?;
        }
        let named = manifest.clone().unwrap_or_else(|| image_id.clone());
        for tag in &request.tags {
            let tag = tag.clone().or_latest();
            self.store.set_ref(&tag, &named)?;
            sink.event(Event::Tagged { reference: tag });
        }
        for output in &request.outputs {
            self.export(output, request, &config, &target.layers, sink)?;
        }
        if request.push == Push::Yes {
            for tag in &request.tags {
                self.push(&tag.clone().or_latest(), &NoMore(sink))?;
            }
        }
        Ok(BuildResult { image_id: image_id.digest, manifest, format: Format::Oci, steps_run, steps_cached })
    }

    /// Fetches an image with all its layers.
    ///
    /// # Errors
    /// Registry, storage and invalid input.
    pub fn pull(
        &self,
        reference: &Reference,
        platform: &Platform,
        sink: Arc<dyn Sink>,
    ) -> Result<Descriptor, EngineError> {
        let reference = reference.clone().or_latest();
        let image = self.fetch(&reference, platform, &*sink)?;
        let is = image.config.platform();
        if !is.satisfies(platform) {
            sink.event(Event::Warning { text: format!("{} is for {is}, not for {platform}", reference.familiar()) });
        }
        for layer in &image.layers {
            self.settle(layer)?;
        }
        Ok(image.manifest.map_or(image.config_descriptor, |(d, _)| d))
    }

    /// The images that have names.
    ///
    /// # Errors
    /// Storage.
    pub fn images(&self) -> Result<Vec<ImageSummary>, EngineError> {
        let mut all = Vec::new();
        for (reference, descriptor) in self.store.refs()? {
            let image = self.load(&reference, &descriptor)?;
            let mut size = 0;
            for layer in &image.layers {
                let forms = self.store.layer(&layer.diff)?;
                size += forms.blobs.first().or(layer.claimed.as_ref()).map(|b| b.size).or(forms.tar).unwrap_or(0);
            }
            all.push(ImageSummary {
                reference,
                manifest: image.manifest.map(|(d, _)| d),
                image_id: image.config_descriptor.digest,
                created: image.config.created,
                size,
            });
        }
        Ok(all)
    }

    /// Everything about an image of the store.
    ///
    /// # Errors
    /// [`EngineError::NoImage`], storage.
    pub fn inspect(&self, reference: &Reference) -> Result<ImageDetail, EngineError> {
        let reference = reference.clone().or_latest();
        let descriptor = self.store.get_ref(&reference)?.ok_or_else(|| EngineError::NoImage(reference.clone()))?;
        let image = self.load(&reference, &descriptor)?;
        Ok(ImageDetail { reference, descriptor, config: image.config, manifest: image.manifest.map(|(_, m)| m) })
    }

    fn keep_config(&self, config: &ImageConfig) -> Result<Descriptor, EngineError> {
        let bytes = assemble::config_bytes(config)
            .map_err(|source| EngineError::Json { what: "the new configuration".to_owned(), source })?;
        self.store.put_blob(&bytes)?;
        Ok(Descriptor::of(MediaType::OciConfig, &bytes))
    }
}

/// Does the request make sense?
fn check(request: &BuildRequest) -> Result<(), EngineError> {
    if request.push == Push::Yes && request.tags.is_empty() {
        return Err(EngineError::Request { message: "--push needs a name".to_owned(), hint: "add -t NAME".to_owned() });
    }
    if let Some(tag) = request.tags.iter().find(|t| t.digest().is_some()) {
        return Err(EngineError::Request {
            message: format!("{tag} names one image for ever; a new image cannot take that name"),
            hint: "give a tag, without the part from the @ on".to_owned(),
        });
    }
    if request.platform.os != "linux" {
        return Err(EngineError::Request {
            message: format!("images for {} cannot be built", request.platform),
            hint: "steps are Linux programs: give --platform linux/ARCH".to_owned(),
        });
    }
    Ok(())
}

/// Lends a borrowed sink to code that shares its own.
struct NoMore<'a>(&'a dyn Sink);
impl Sink for NoMore<'_> {
    fn event(&self, event: Event) {
        self.0.event(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Freshness;

    fn request(tag: &str, platform: &str, push: Push) -> BuildRequest {
        BuildRequest {
            context: crate::context::Files::nothing(),
            contexts: std::collections::BTreeMap::new(),
            dockerfile: String::new(),
            dockerfile_name: String::new(),
            target: None,
            build_args: std::collections::BTreeMap::new(),
            labels: std::collections::BTreeMap::new(),
            platform: platform.parse().unwrap(),
            tags: (!tag.is_empty()).then(|| tag.parse().unwrap()).into_iter().collect(),
            freshness: Freshness { no_cache: false, pull: false },
            no_cache_filter: Vec::new(),
            push,
            outputs: Vec::new(),
            jobs: 1,
            created: 0,
            clamp: false,
            run: Default::default(),
        }
    }

    #[test]
    fn requests_that_make_no_sense() {
        let digest = format!("app@{}", Digest::sha256(b"x"));
        for (tag, platform, push, says) in [
            ("", "linux/amd64", Push::Yes, Some("--push needs a name")),
            (digest.as_str(), "linux/amd64", Push::No, Some("names one image for ever")),
            ("app:1", "windows/amd64", Push::No, Some("cannot be built")),
            ("app:1", "linux/arm64", Push::Yes, None),
            ("", "linux/amd64", Push::No, None),
        ] {
            match (check(&request(tag, platform, push)), says) {
                (Ok(()), None) => {}
                (Err(e), Some(says)) => {
                    assert!(e.to_string().contains(says), "{e}");
                    assert!(e.hint().is_some());
                }
                (other, _) => panic!("{tag} {platform}: {other:?}"),
            }
        }
    }
}
