//! Images by name: build, pull, push, list, inspect.

use crate::ahead::Ahead;
use crate::claims;
use crate::context::{Behalf, Named};
use crate::event::{Event, Sink, Unrepeated};
use crate::output::Output;
use crate::product::{Built, Product, Shape};
use crate::read::Read;
use crate::request::{BuildRequest, BuildResult};
use crate::resolve::{Earlier, Trees, invalid};
use crate::solve::{Build, StageState};
use crate::uplink::Uplink;
use crate::{Engine, EngineError};
use cooper_image::assemble;
use cooper_image::edit::ConfigEdit;
use cooper_image::{
    Descriptor, DiffId, Digest, Document, ImageConfig, Manifest, MediaType, Platform, Reference, limits,
};
use cooper_plan::op::Plan;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One line of `cooper images`.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ImageSummary {
    /// Its name.
    pub reference: Reference,
    /// Its manifest or index, once there is one.
    pub manifest: Option<Descriptor>,
    /// Digest of its configuration, or of its index.
    pub image_id: Digest,
    /// The platforms that it is for.
    pub platforms: Vec<Platform>,
    /// When it was made.
    pub created: Option<String>,
    /// Bytes of the layers as they are stored as blobs; layers that exist only as trees count nothing.
    pub size: u64,
}

/// By what an image was asked for.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(untagged)]
pub enum Asked {
    /// A name of the store or of a registry.
    Name(Reference),
    /// Another place, in words.
    Place(String),
}

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(&name.familiar()),
            Self::Place(place) => f.write_str(place),
        }
    }
}

/// Everything about one image.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ImageDetail {
    /// Its name or place.
    pub reference: Asked,
    /// What the name leads to.
    #[serde(serialize_with = "claims::serialize_without")]
    pub descriptor: Descriptor,
    /// The image that is told of: what the name leads to, or one of an index.
    #[serde(skip)]
    pub chosen: Descriptor,
    /// The platforms that it is for.
    pub platforms: Vec<Platform>,
    /// Of an index, what it has, attestations too.
    pub manifests: Vec<Descriptor>,
    /// Its configuration.
    #[serde(skip)]
    pub config: ImageConfig,
    /// Its manifest; absent until layers were compressed for a push or an archive.
    #[serde(skip)]
    pub manifest: Option<Manifest>,
    /// Both with all that they say.
    #[serde(flatten)]
    pub documents: Documents,
}

/// The documents of an image as they are, also what nobody here knows.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Documents {
    /// The configuration.
    pub config: Value,
    /// The manifest, if there is one.
    pub manifest: Option<Value>,
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
        let sink = &Unrepeated::new(&*sink);
        check(request)?;
        self.use_marks()?;
        let behalf = Behalf { request, cancel: &cancel };
        let mut dated = BTreeMap::new();
        let each = request.platforms.iter().map(|platform| self.read(behalf, platform, &mut dated, sink));
        let reads = each.collect::<Result<Vec<Read>, _>>()?;
        let mut work: Vec<(Plan, Build<'_>)> = Vec::with_capacity(reads.len());
        let named = Named::new(request);
        named.hold(dated, &self.store)?;
        for read in &reads {
            let plan = self.plan(read, &named, read.trees(), sink)?;
            let build = Build::new(self, read, &named, &plan, sink, &cancel)?;
            let build = build.beside(work.first().map(|(_, first)| first));
            work.push((plan, build));
        }
        self.check_foreign(work.iter().map(|(plan, _)| plan))?;
        work.iter().try_for_each(|(plan, build)| build.check_contained(plan))?;
        work.iter().try_for_each(|(plan, build)| build.check_rooting(plan))?;
        let uplink = Uplink::target(request).map(|name| Arc::new(self.uplink(name)));
        let asked = self.ask_targets(request, &cancel);
        let targets = asked.judge(self.solve_ahead(request, &mut work, uplink.clone(), &cancel));
        drop(asked);
        // Also after a failure: what was read need not be read again.
        work.iter().take(1).for_each(|(_, build)| build.main.remember(&self.store));
        named.remember(&self.store);
        let targets = targets?;
        let count = |of: fn(&Build<'_>) -> usize| work.first().map_or(0, |(_, build)| of(build));
        let steps_run = count(|b| b.run.load(Ordering::Relaxed));
        let steps_cached = count(|b| b.cached.load(Ordering::Relaxed));
        let request = reads.first().map_or(request, |read| &read.request);
        let images = targets.iter().zip(&request.platforms).map(|(t, p)| self.finish(request, p, t));
        let product = Product { images: images.collect::<Result<_, _>>()?, shape: request.shape() };
        let delivered = self.deliver(request, &product, uplink.as_deref(), sink)?;
        let (described, names) = (delivered.described, delivered.names);
        let index = described.as_ref().map(|d| &d.descriptor).filter(|_| product.shape == Shape::Index);
        let image_id = index.or(product.images.first().map(|b| &b.config_descriptor)).map(|d| d.digest.clone());
        let image_id = image_id.ok_or(EngineError::Interrupted)?;
        Ok(BuildResult { image_id, described, names, steps_run, steps_cached })
    }

    /// Does all steps; what will be compressed is, meanwhile.
    fn solve_ahead(
        &self,
        request: &BuildRequest,
        work: &mut [(Plan, Build<'_>)],
        uplink: Option<Arc<Uplink>>,
        cancel: &AtomicBool,
    ) -> Result<Vec<Arc<StageState>>, EngineError> {
        let Some((ahead, layers)) = Ahead::of(request, uplink) else { return self.solve(work) };
        let ahead = Arc::new(ahead);
        for (_, build) in &mut *work {
            build.ahead = Some(Arc::clone(&ahead));
        }
        std::thread::scope(|scope| {
            let ahead = &*ahead;
            scope.spawn(move || self.work_ahead(ahead, &layers, cancel));
            let solved = self.solve(work);
            ahead.close();
            solved
        })
    }

    /// The image of one platform, from what its target stage has come to.
    fn finish(&self, request: &BuildRequest, platform: &Platform, target: &StageState) -> Result<Built, EngineError> {
        let mut config = target.config.clone();
        for (name, value) in &request.labels {
            ConfigEdit::Label { name: name.clone(), value: value.clone() }.apply(&mut config);
        }
        config.created.get_or_insert_with(|| cooper_image::time::rfc3339(request.created));
        if request.platforms_asked {
            config.claim(platform);
        }
        config.normalise_platform();
        config.rootfs.diff_ids = crate::layers::diff_ids(&target.layers);
        let config_descriptor = self.keep_config(&config)?;
        for layer in &target.layers {
            self.settle(layer)?;
        }
        self.make_durable(&target.layers)?;
        Ok(Built { platform: platform.clone(), config, config_descriptor, layers: target.layers.clone() })
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
        let image = self.fetch(&reference, platform, Earlier::Replace, Trees::OnDemand, &*sink)?;
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
            let images = self.images_of(&reference, &descriptor)?;
            let images = images.iter().map(|d| self.load(&reference, d)).collect::<Result<Vec<_>, _>>()?;
            let mut sizes: BTreeMap<&DiffId, u64> = BTreeMap::new();
            for layer in images.iter().flat_map(|i| &i.layers) {
                let forms = self.store.layer(&layer.diff)?;
                let size = layer.claimed.as_ref().or(forms.blobs.first()).map(|b| b.size).or(forms.tar).unwrap_or(0);
                sizes.insert(&layer.diff, size);
            }
            let size = sizes.values().sum();
            let platforms = images.iter().map(|i| i.config.platform()).collect();
            let created = images.iter().filter_map(|i| i.config.created.clone()).max();
            let is_document = descriptor.media_type.is_index() || descriptor.media_type.is_manifest();
            let image_id = match images.first().filter(|_| !descriptor.media_type.is_index()) {
                Some(image) => image.config_descriptor.digest.clone(),
                None => descriptor.digest.clone(),
            };
            let manifest = is_document.then_some(descriptor);
            all.push(ImageSummary { reference, manifest, image_id, platforms, created, size });
        }
        Ok(all)
    }

    /// Everything about an image of the store. Of an index it is the image for the platform; without one, for this
    /// machine's, else the first.
    ///
    /// # Errors
    /// [`EngineError::NoImage`], [`EngineError::Request`] when it has no such platform, storage.
    pub fn inspect(&self, reference: &Reference, platform: Option<&Platform>) -> Result<ImageDetail, EngineError> {
        let reference = reference.clone().or_latest();
        let descriptor = self.store.get_ref(&reference)?.ok_or_else(|| EngineError::NoImage(reference.clone()))?;
        let images = self.images_of(&reference, &descriptor)?;
        // One that is for another platform need not be there.
        let is_for = |d: &Descriptor| match &d.platform {
            Some(said) => Ok(said.clone()),
            None => Ok::<_, EngineError>(self.load(&reference, d)?.config.platform()),
        };
        let platforms = images.iter().map(is_for).collect::<Result<Vec<Platform>, _>>()?;
        let of = |wanted: &Platform| platforms.iter().position(|p| p.satisfies(wanted));
        let chosen = match platform {
            None => Some(of(&Platform::host()).unwrap_or(0)),
            Some(wanted) => of(wanted),
        };
        let Some(chosen) = chosen.and_then(|i| images.into_iter().nth(i)) else {
            let list = platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let wanted = platform.map(ToString::to_string).unwrap_or_default();
            return Err(EngineError::Request {
                message: format!("{} has no image for {wanted}", reference.familiar()),
                hint: format!("it has {list}"),
            });
        };
        let image = self.load(&reference, &chosen)?;
        let document = |d: &Descriptor, most| {
            let bytes = self.store.read_blob(d, most)?;
            serde_json::from_slice(bytes.get()).map_err(|e| invalid(&reference, e.to_string()))
        };
        let manifest = image.manifest.as_ref().map(|(d, _)| document(d, limits::MANIFEST_BYTES)).transpose()?;
        let documents = Documents { config: document(&image.config_descriptor, limits::CONFIG_BYTES)?, manifest };
        let (config, manifest) = (image.config, image.manifest.map(|(_, m)| m));
        let manifests = self.entries(&reference, &descriptor)?;
        let reference = Asked::Name(reference);
        Ok(ImageDetail { reference, descriptor, chosen, platforms, manifests, config, manifest, documents })
    }

    /// What an index has; nothing of an image alone.
    fn entries(&self, reference: &Reference, d: &Descriptor) -> Result<Vec<Descriptor>, EngineError> {
        if !d.media_type.is_index() {
            return Ok(Vec::new());
        }
        let bytes = self.store.read_blob(d, limits::MANIFEST_BYTES)?;
        match Document::parse(bytes.get(), Some(&d.media_type)) {
            Ok(Document::Index(index)) => Ok(index.manifests),
            Ok(Document::Manifest(_)) => Ok(Vec::new()),
            Err(e) => Err(invalid(reference, e.to_string())),
        }
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
    crate::deliver::check(request)?;
    let windows = request.platforms.iter().find(|p| p.os == "windows");
    // The image that the store is given has no name then, and nobody gets it.
    let files = request.outputs.iter().any(|o| matches!(o, Output::Files(_)));
    let image = !request.tags.is_empty()
        || request.outputs.iter().any(|o| match o {
            Output::Image(image) => !files || !image.names.is_empty(),
            Output::Archive(_) => true,
            Output::Files(_) => false,
        });
    match windows.filter(|_| image) {
        Some(platform) => Err(EngineError::Request {
            message: format!("images for {platform} cannot be built: their layers have a form of their own"),
            hint: "only the files of their stages can be had: give -o DIR or -o type=tar, and no name".to_owned(),
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{ArchiveOutput, Compression, Container, Form, ImageOutput, Output, Push};
    use crate::request::Freshness;
    use cooper_image::annotations::Annotation;
    use cooper_image::assemble::Format;
    use cooper_store::archive::Kind;

    fn request(tag: &str, platforms: &str, outputs: Vec<Output>) -> BuildRequest {
        BuildRequest {
            context: crate::context::Files::nothing(),
            contexts: std::collections::BTreeMap::new(),
            aliases: cooper_image::Aliases::default(),
            dockerfile: String::new(),
            dockerfile_name: String::new(),
            target: None,
            build_args: std::collections::BTreeMap::new(),
            labels: std::collections::BTreeMap::new(),
            platforms: platforms.split(',').map(|p| p.parse().unwrap()).collect(),
            platforms_asked: true,
            shape: Shape::Image,
            tags: (!tag.is_empty()).then(|| tag.parse().unwrap()).into_iter().collect(),
            freshness: Freshness { no_cache: false, pull: false },
            no_cache_filter: Vec::new(),
            outputs,
            jobs: 1,
            created: 0,
            clamp: false,
            run: Default::default(),
        }
    }

    #[test]
    fn requests_that_make_no_sense() {
        let digest = format!("app@{}", Digest::sha256(b"x"));
        let image = |push| Output::Image(ImageOutput { push, ..ImageOutput::default() });
        let form = |form| Output::Image(ImageOutput { form, ..ImageOutput::default() });
        let noted = |text: &str, format| {
            form(Form { annotations: Annotation::parse_flag(text).unwrap(), format, ..Form::default() })
        };
        let zstd = Form { compression: Compression::Zstd(3), format: Some(Format::Docker), ..Form::default() };
        let docker = |dest: &str| {
            let (names, form) = (Vec::new(), Form::default());
            Output::Archive(ArchiveOutput {
                kind: Kind::Docker,
                dest: dest.into(),
                container: Container::Tar,
                names,
                form,
            })
        };
        let (amd, both) = ("linux/amd64", "linux/amd64,linux/arm64");
        for (tag, platforms, outputs, says) in [
            ("", amd, vec![image(Push::ByName)], "a push needs a name"),
            (&digest, amd, vec![image(Push::No)], "names one image for ever"),
            (
                "app:1",
                "windows/amd64",
                vec![],
                "images for windows/amd64 cannot be built: their layers have a form of their own",
            ),
            (
                "app:1",
                amd,
                vec![image(Push::ByDigest)],
                "docker.io/library/app:1 has a tag, which push-by-digest does not push",
            ),
            ("app:1", both, vec![docker("a")], "type=docker holds one image and cannot hold an index"),
            ("app:1", amd, vec![docker("a"), docker("a")], "two outputs go to a"),
            ("", amd, vec![form(zstd)], "Docker's media types have no zstd"),
            ("", amd, vec![noted("a=b", Some(Format::Docker))], "Docker's media types have no annotations"),
            ("", amd, vec![noted("index:a=b", None)], "the annotation a is for an index, and this build makes none"),
            (
                "",
                amd,
                vec![noted("manifest[linux/arm64]:a=b", None)],
                "the annotation a is for linux/arm64, which is not built",
            ),
        ] {
            let refused = check(&request(tag, platforms, outputs)).unwrap_err();
            assert!(refused.to_string().contains(says), "{refused}");
            assert!(refused.hint().is_some(), "{refused}");
        }
        for (tag, platforms, outputs) in [
            ("app:1", "linux/arm64", vec![image(Push::ByName)]),
            ("app", amd, vec![image(Push::ByDigest)]),
            ("", both, vec![noted("index,manifest[linux/arm64/v8]:a=b", None)]),
            ("", amd, vec![image(Push::No), docker("a"), docker("b")]),
        ] {
            check(&request(tag, platforms, outputs)).unwrap();
        }
    }
}
