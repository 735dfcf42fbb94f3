//! `-o`: a list of `key=value` fields (RFC 4180 quoting), a bare path, or `-`.
//!
//! Gives an output as the engine takes it. Every key that BuildKit has is known here: one that has no effect in
//! Cooper is refused by its name.

use super::output_form::{self, FormError};
use cooper_dockerfile::csv;
use cooper_engine::output::{
    ArchiveOutput, Canonical, Container, FilesOutput, Form, ImageOutput, Others, Output, Push, Split,
};
use cooper_image::Reference;
use cooper_store::archive::Kind;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// One `-o`; nothing for `type=cacheonly`, which keeps steps alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputFlag(pub Option<Output>);

impl OutputFlag {
    /// May the build make this directory, because files go into it or above it?
    pub fn makes(&self, dir: &Path) -> bool {
        matches!(&self.0, Some(Output::Files(files)) if dir.starts_with(&files.dest))
    }
}

/// Why it is no output.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutputError {
    /// Quotes that do not close, or stand in the middle of a field.
    #[error(transparent)]
    Quotes(#[from] csv::QuoteError),
    /// A field that is no `key=value`.
    #[error("{0:?} is not key=value")]
    NoPair(String),
    /// A key that this type does not have.
    #[error("type={kind} has no key {key:?}; its keys are {}", known.join(", "))]
    Key {
        /// The type.
        kind: String,
        /// The key, as written.
        key: String,
        /// What it could have been.
        known: Vec<&'static str>,
    },
    /// A key that BuildKit has.
    #[error("{0}= is not supported: {1}")]
    Unsupported(String, &'static str),
    /// A key that is given twice.
    #[error("{0} is given twice")]
    Twice(String),
    /// No `type=`.
    #[error("type= is missing: image, registry, oci, docker, tar, local or cacheonly")]
    NoType,
    /// A type that does not exist.
    #[error("there is no type {0:?}; the types are image, registry, oci, docker, tar, local and cacheonly")]
    Type(String),
    /// No `dest=` where one is needed.
    #[error("type={0} needs dest=PATH")]
    NoDest(&'static str),
    /// A directory on standard output.
    #[error("{0} writes a directory, which cannot go to standard output")]
    DirToStdout(&'static str),
    /// A value that is not one of two.
    #[error("{key}={value:?} is neither true nor false")]
    Bool {
        /// The key.
        key: String,
        /// Its value.
        value: String,
    },
    /// A value that is not one of a few.
    #[error("{key}={value:?} is not one of {known}")]
    Choice {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What it could have been.
        known: &'static str,
    },
    /// Keys that do not go together.
    #[error("{0}")]
    Conflict(&'static str),
    /// A name that is none.
    #[error("name={0}")]
    Name(#[from] cooper_image::reference::ReferenceError),
    /// Compression, media types, annotations.
    #[error(transparent)]
    Form(#[from] FormError),
}

/// Keys that BuildKit's exporters have and Cooper does not, and what to do instead.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("attestation-prefix", "there are no attestations"),
    ("buildinfo", "BuildKit has removed it too"),
    ("compatibility-version", "there is one version"),
    ("dangling-name-prefix", "an image without a name has none"),
    ("force-inline-attestations", "there are no attestations"),
    ("prefer-nondist-layers", "layers of a base are kept as they are"),
    ("registry.insecure", "give --insecure-registry HOST"),
    ("store", "a built image is always kept in the store"),
    ("unpack", "layers are unpacked when a step needs them"),
];

impl FromStr for OutputFlag {
    type Err = OutputError;
    fn from_str(text: &str) -> Result<Self, OutputError> {
        if text == "-" {
            return Ok(Self(Some(files(Container::Tar, "-"))));
        }
        let fields = csv::fields(text)?;
        if let [path] = fields.as_slice()
            && !path.contains('=')
        {
            return match path.as_str() {
                "" => Err(OutputError::NoType),
                path => Ok(Self(Some(local(path, Others::Keep, Split::Several)?))),
            };
        }
        let mut keys = Keys::read(&fields)?;
        let kind = keys.take("type").ok_or(OutputError::NoType)?;
        keys.kind.clone_from(&kind);
        let output = match kind.as_str() {
            "image" => Some(keys.image(Push::No)?),
            "registry" => Some(keys.image(Push::ByName)?),
            "oci" => Some(keys.archive(Kind::Oci, "oci")?),
            "docker" => Some(keys.archive(Kind::Docker, "docker")?),
            "tar" => Some(keys.tar()?),
            "local" => Some(keys.local()?),
            "cacheonly" => None,
            _ => return Err(OutputError::Type(kind)),
        };
        keys.finish()?;
        Ok(Self(output))
    }
}

fn files(container: Container, dest: &str) -> Output {
    Output::Files(FilesOutput { container, dest: PathBuf::from(dest), others: Others::Keep, split: Split::Several })
}

fn local(path: &str, others: Others, split: Split) -> Result<Output, OutputError> {
    if path == "-" {
        return Err(OutputError::DirToStdout("type=local"));
    }
    let dest = PathBuf::from(path);
    Ok(Output::Files(FilesOutput { container: Container::Directory, dest, others, split }))
}

/// The fields that are not read yet, and the keys that were looked for.
struct Keys {
    kind: String,
    fields: BTreeMap<String, String>,
    known: Vec<&'static str>,
    form: Form,
}

impl Keys {
    fn read(fields: &[String]) -> Result<Self, OutputError> {
        let (mut read, mut form) = (BTreeMap::new(), Form::default());
        for field in fields {
            let (key, value) = field.split_once('=').ok_or_else(|| OutputError::NoPair(field.clone()))?;
            if let Some(annotation) = output_form::annotation(key.trim(), value) {
                form.annotations.push(annotation?);
                continue;
            }
            let key = key.trim().to_ascii_lowercase();
            if read.insert(key.clone(), value.to_owned()).is_some() {
                return Err(OutputError::Twice(key));
            }
        }
        Ok(Self { kind: String::new(), fields: read, known: Vec::new(), form })
    }

    /// A value; an empty one is as good as none.
    fn take(&mut self, key: &'static str) -> Option<String> {
        self.known.push(key);
        self.fields.remove(key).filter(|v| !v.is_empty())
    }

    fn switch(&mut self, key: &'static str) -> Result<Option<Switch>, OutputError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        match Switch::parse(&value) {
            Some(switch) => Ok(Some(switch)),
            None => Err(OutputError::Bool { key: key.to_owned(), value }),
        }
    }

    fn names(&mut self) -> Result<Vec<Reference>, OutputError> {
        let names = self.take("name").unwrap_or_default();
        let names = names.split(',').map(str::trim).filter(|n| !n.is_empty());
        names.map(|n| n.parse().map_err(OutputError::Name)).collect()
    }

    /// The keys about the form of an image.
    fn form(&mut self) -> Result<Form, OutputError> {
        let mut form = std::mem::take(&mut self.form);
        let (method, level) = (self.take("compression"), self.take("compression-level"));
        form.compression = output_form::compression(method.as_deref(), level.as_deref())?;
        form.recompress = match self.switch("force-compression")? {
            Some(Switch::On) => cooper_engine::output::Recompress::All,
            _ => cooper_engine::output::Recompress::New,
        };
        form.format = self.switch("oci-mediatypes")?.map(|on| match on {
            Switch::On => cooper_image::assemble::Format::Oci,
            Switch::Off => cooper_image::assemble::Format::Docker,
        });
        // Layers are clamped as they are made, whenever SOURCE_DATE_EPOCH is given; neither value changes that.
        self.switch("rewrite-timestamp")?;
        Ok(form)
    }

    fn image(&mut self, push: Push) -> Result<Output, OutputError> {
        let names = self.names()?;
        let (asked, by_digest) = (self.switch("push")?, self.switch("push-by-digest")? == Some(Switch::On));
        let push = match (push, asked) {
            (Push::ByName, Some(Switch::Off)) => {
                return Err(OutputError::Conflict("type=registry sends the image; with push=false it is type=image"));
            }
            (Push::No, None | Some(Switch::Off)) if by_digest => {
                return Err(OutputError::Conflict("push-by-digest=true sends nothing without push=true"));
            }
            (Push::No, None | Some(Switch::Off)) => Push::No,
            _ if by_digest => Push::ByDigest,
            _ => Push::ByName,
        };
        let canonical = match self.switch("name-canonical")? {
            Some(Switch::On) => Canonical::Yes,
            _ => Canonical::No,
        };
        let form = self.form()?;
        Ok(Output::Image(ImageOutput { names, push, canonical, form, ..ImageOutput::default() }.finished()))
    }

    fn archive(&mut self, kind: Kind, name: &'static str) -> Result<Output, OutputError> {
        let (names, dest) = (self.names()?, self.take("dest"));
        let container = match self.switch("tar")? {
            Some(Switch::Off) => Container::Directory,
            _ => Container::Tar,
        };
        let dest = match (dest, kind) {
            (Some(dest), _) => dest,
            // Elsewhere no dest means the daemon's own store, which does not exist here.
            (None, Kind::Docker) => return Err(OutputError::NoDest("docker")),
            (None, Kind::Oci) if container == Container::Directory => return Err(OutputError::NoDest(name)),
            (None, Kind::Oci) => "-".to_owned(),
        };
        if container == Container::Directory && dest == "-" {
            return Err(OutputError::DirToStdout("tar=false"));
        }
        let form = self.form()?;
        Ok(Output::Archive(ArchiveOutput { kind, dest: PathBuf::from(dest), container, names, form }))
    }

    fn tar(&mut self) -> Result<Output, OutputError> {
        let dest = self.take("dest").unwrap_or_else(|| "-".to_owned());
        Ok(files(Container::Tar, &dest))
    }

    fn local(&mut self) -> Result<Output, OutputError> {
        let dest = self.take("dest").ok_or(OutputError::NoDest("local"))?;
        let others = match self.take("mode").as_deref() {
            None | Some("copy") => Others::Keep,
            Some("delete") => Others::Delete,
            Some(other) => {
                return Err(OutputError::Choice { key: "mode", value: other.to_owned(), known: "copy and delete" });
            }
        };
        let split = match self.switch("platform-split")? {
            Some(Switch::Off) => Split::Merged,
            Some(Switch::On) => Split::Folders,
            None => Split::Several,
        };
        if others == Others::Delete && split == Split::Merged {
            return Err(OutputError::Conflict("mode=delete does not go with platform-split=false"));
        }
        local(&dest, others, split)
    }

    /// Every key has to have been looked at.
    fn finish(mut self) -> Result<(), OutputError> {
        if !self.form.annotations.is_empty() {
            return Err(OutputError::Conflict("files have no annotations; archives and images have"));
        }
        let Some((key, _)) = self.fields.pop_first() else { return Ok(()) };
        if let Some((_, instead)) = UNSUPPORTED.iter().find(|(name, _)| *name == key) {
            return Err(OutputError::Unsupported(key, instead));
        }
        Err(OutputError::Key { kind: self.kind, key, known: self.known })
    }
}

/// A value that is true or false.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// True.
    On,
    /// False.
    Off,
}

impl Switch {
    /// Reads the texts that Go's `strconv.ParseBool` reads.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(Self::On),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(Self::Off),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cooper_engine::output::{Compression, Recompress};
    use cooper_image::assemble::Format;

    fn read(text: &str) -> Output {
        text.parse::<OutputFlag>().unwrap_or_else(|e| panic!("{text}: {e}")).0.unwrap()
    }

    fn archive(kind: Kind, dest: &str) -> ArchiveOutput {
        let (names, form) = (Vec::new(), Form::default());
        ArchiveOutput { kind, dest: PathBuf::from(dest), container: Container::Tar, names, form }
    }

    #[test]
    fn files_and_archives() {
        let directory = |dest: &str, others, split| {
            let dest = PathBuf::from(dest);
            Output::Files(FilesOutput { container: Container::Directory, dest, others, split })
        };
        let oci = |dest: &str| Output::Archive(archive(Kind::Oci, dest));
        let docker = |dest: &str| Output::Archive(archive(Kind::Docker, dest));
        let layout = |kind| Output::Archive(ArchiveOutput { container: Container::Directory, ..archive(kind, "d") });
        for (text, expected) in [
            ("-", files(Container::Tar, "-")),
            ("out", directory("out", Others::Keep, Split::Several)),
            ("type=local,dest=out", directory("out", Others::Keep, Split::Several)),
            ("type=local,dest=out,mode=copy,platform-split=true", directory("out", Others::Keep, Split::Folders)),
            ("type=local,dest=out,mode=delete", directory("out", Others::Delete, Split::Several)),
            ("type=local,dest=out,platform-split=false", directory("out", Others::Keep, Split::Merged)),
            ("type=oci,dest=a.tar", oci("a.tar")),
            ("type=oci,tar=true,dest=", oci("-")),
            ("dest=a.tar,type=docker", docker("a.tar")),
            ("type=docker,dest=-", docker("-")),
            ("type=oci,tar=false,dest=d", layout(Kind::Oci)),
            ("type=docker,tar=0,dest=d", layout(Kind::Docker)),
            ("type=tar", files(Container::Tar, "-")),
            ("type=tar,\"dest=a,\"\"b\"\".tar\"", files(Container::Tar, "a,\"b\".tar")),
            ("type=oci,rewrite-timestamp=true", oci("-")),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn images() {
        let image = |text: &str| match read(text) {
            Output::Image(image) => image,
            other => panic!("{text}: {other:?}"),
        };
        for (text, push) in [
            ("type=image", Push::No),
            ("type=image,push=false", Push::No),
            ("type=image,push=true", Push::ByName),
            ("type=registry", Push::ByName),
            ("type=registry,push=true,push-by-digest=false", Push::ByName),
            ("type=image,push=true,push-by-digest=true", Push::ByDigest),
            ("type=registry,push-by-digest=true", Push::ByDigest),
        ] {
            assert_eq!(image(text).push, push, "{text}");
        }
        let names = image("type=image,\"name=a,localhost:5000/b:1\",name-canonical=true");
        let of: Vec<String> = names.names.iter().map(ToString::to_string).collect();
        assert_eq!(of, ["docker.io/library/a", "localhost:5000/b:1"]);
        assert_eq!(names.canonical, Canonical::Yes);
    }

    #[test]
    fn forms() {
        for (fields, compression, recompress, format) in [
            ("", Compression::default(), Recompress::New, None),
            ("compression=gzip,compression-level=9", Compression::Gzip(9), Recompress::New, None),
            ("compression=zstd,force-compression=true", Compression::Zstd(3), Recompress::All, None),
            ("compression=zstd,compression-level=22", Compression::Zstd(22), Recompress::New, None),
            (
                "compression=uncompressed,oci-mediatypes=false",
                Compression::Plain,
                Recompress::New,
                Some(Format::Docker),
            ),
            ("oci-mediatypes=true,force-compression=false", Compression::default(), Recompress::New, Some(Format::Oci)),
        ] {
            for kind in ["type=image", "type=oci,dest=a", "type=docker,dest=a"] {
                let text = format!("{kind},{fields}");
                let text = text.trim_end_matches(',');
                let output = read(text);
                let form = output.form().unwrap();
                let expected = Form { compression, recompress, format, annotations: Vec::new() };
                assert_eq!(*form, expected, "{text}");
            }
        }
        let noted = read("type=oci,annotation.a=b,annotation-manifest[linux/amd64].c=d");
        assert_eq!(noted.form().unwrap().annotations.len(), 2);
    }

    #[test]
    fn what_is_no_output() {
        for (text, says) in [
            ("", "type= is missing: image, registry, oci, docker, tar, local or cacheonly"),
            ("dest=x", "type= is missing: image, registry, oci, docker, tar, local or cacheonly"),
            ("type=docker", "type=docker needs dest=PATH"),
            ("type=local", "type=local needs dest=PATH"),
            ("type=oci,tar=false", "type=oci needs dest=PATH"),
            ("type=local,dest=-", "type=local writes a directory, which cannot go to standard output"),
            ("type=oci,tar=false,dest=-", "tar=false writes a directory, which cannot go to standard output"),
            (
                "type=zip,dest=x",
                "there is no type \"zip\"; the types are image, registry, oci, docker, tar, local and cacheonly",
            ),
            ("type=oci,type=oci", "type is given twice"),
            ("type=oci,dest=a,DEST=b", "dest is given twice"),
            ("type=oci,out.tar", "\"out.tar\" is not key=value"),
            ("type=tar,\"dest=x", "the quotes do not match"),
            ("type=t\"ar", "the quotes do not match"),
            ("type=tar,compression=gzip", "type=tar has no key \"compression\"; its keys are type, dest"),
            (
                "type=image,dest=x",
                "type=image has no key \"dest\"; its keys are type, name, push, push-by-digest, name-canonical, compression, compression-level, force-compression, oci-mediatypes, rewrite-timestamp",
            ),
            ("type=local,dest=x,annotation.a=b", "files have no annotations; archives and images have"),
            ("type=oci,tar=maybe", "tar=\"maybe\" is neither true nor false"),
            ("type=local,dest=x,mode=move", "mode=\"move\" is not one of copy and delete"),
            ("type=local,dest=x,mode=delete,platform-split=false", "mode=delete does not go with platform-split=false"),
            ("type=image,push-by-digest=true", "push-by-digest=true sends nothing without push=true"),
            ("type=registry,push=false", "type=registry sends the image; with push=false it is type=image"),
            ("type=image,unpack=true", "unpack= is not supported: layers are unpacked when a step needs them"),
            ("type=image,registry.insecure=true", "registry.insecure= is not supported: give --insecure-registry HOST"),
            (
                "type=oci,prefer-nondist-layers=true",
                "prefer-nondist-layers= is not supported: layers of a base are kept as they are",
            ),
            (
                "type=oci,compression=estargz",
                "compression=estargz is not supported; the methods are uncompressed, gzip and zstd",
            ),
            (
                "type=oci,compression=lz4",
                "there is no compression \"lz4\"; the methods are uncompressed, gzip and zstd",
            ),
            ("type=oci,compression-level=10", "compression-level=\"10\" is not a level of gzip, which has 0 to 9"),
            (
                "type=oci,compression=zstd,compression-level=x",
                "compression-level=\"x\" is not a level of zstd, which has 0 to 22",
            ),
            (
                "type=oci,compression=uncompressed,compression-level=1",
                "compression-level=\"1\" has no meaning without compression",
            ),
            (
                "type=oci,annotation-index[linux/amd64].a=b",
                "index is of all platforms and takes none in square brackets",
            ),
        ] {
            match text.parse::<OutputFlag>() {
                Ok(output) => assert_eq!(format!("{output:?}"), says, "{text}"),
                Err(error) => assert_eq!(error.to_string(), says, "{text}"),
            }
        }
        let name = "type=image,name=not//a/name".parse::<OutputFlag>().unwrap_err().to_string();
        assert!(name.starts_with("name="), "{name}");
    }
}
