//! Every output of a build, from `-o`, `--push`, `--load`, `--annotation` and `--metadata-file`.
//!
//! The image is kept in the store, under the names of `-t`, unless `-o type=cacheonly` says otherwise; what
//! `-o type=image`, `--push` and `--load` say is added to that. Must never: let an output be deleted into that holds what the caller still needs.

use crate::failure::Failure;
use crate::flags::build::{BuildFlags, ResultFlags};
use crate::flags::output::Switch;
use cooper_engine::Shape;
use cooper_engine::context::ContextSource;
use cooper_engine::output::{Finish, ImageOutput, Others, Output, Push};
use cooper_image::Platform;
use cooper_image::annotations::Annotation;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The build argument that asks for an index of one platform.
const MULTI_PLATFORM: &str = "BUILDKIT_MULTI_PLATFORM";

/// The outputs, the images first.
pub fn outputs(flags: &ResultFlags) -> Vec<Output> {
    let (mut images, mut others): (Vec<ImageOutput>, Vec<Output>) = (Vec::new(), Vec::new());
    for flag in &flags.outputs {
        match flag.0.clone() {
            Some(Output::Image(image)) => images.push(image),
            other => others.extend(other),
        }
    }
    let nothing = flags.outputs.iter().any(|flag| flag.0.is_none()) && !flags.push && !flags.load;
    if images.is_empty() && !nothing {
        images.push(ImageOutput::default());
    }
    for image in &mut images {
        if flags.push && image.push == Push::No {
            image.push = Push::ByName;
        }
        if flags.metadata_file.is_some() {
            image.finish = Finish::Now;
        }
    }
    let mut all: Vec<Output> = images.into_iter().map(Output::Image).chain(others).collect();
    let general: Vec<Annotation> = flags.annotations.iter().flat_map(|a| a.0.clone()).collect();
    for output in &mut all {
        if let Output::Image(ImageOutput { form, .. })
        | Output::Archive(cooper_engine::output::ArchiveOutput { form, .. }) = output
        {
            // What the output says itself comes later and wins.
            let own = std::mem::take(&mut form.annotations);
            form.annotations = general.iter().cloned().chain(own).collect();
        }
    }
    all
}

/// The platforms, each once, this machine's when none is given.
pub fn platforms(given: Vec<Platform>) -> Vec<Platform> {
    let mut each: Vec<Platform> = Vec::new();
    for platform in given {
        if !each.iter().any(|known| known.satisfies(&platform)) {
            each.push(platform);
        }
    }
    if each.is_empty() { vec![Platform::host()] } else { each }
}

/// What `BUILDKIT_MULTI_PLATFORM` asks for.
///
/// # Errors
/// A value that is neither true nor false.
pub fn shape(build_args: &BTreeMap<String, String>) -> Result<Shape, Failure> {
    let Some(value) = build_args.get(MULTI_PLATFORM) else { return Ok(Shape::Image) };
    match Switch::parse(value) {
        Some(Switch::On) => Ok(Shape::Index),
        Some(Switch::Off) => Ok(Shape::Image),
        None => Err(Failure::usage(
            format!("--build-arg {MULTI_PLATFORM}={value:?} is neither true nor false"),
            "give 1 for an index, 0 for none",
        )),
    }
}

/// The directories that a build reads, of those named on the command line.
pub fn sources(flags: &BuildFlags) -> Vec<&Path> {
    let named = flags.input.contexts.iter().filter_map(|c| match &c.source {
        ContextSource::Directory(dir) => Some(dir.as_path()),
        ContextSource::Layout(layout) => Some(layout.path.as_path()),
        _ => None,
    });
    std::iter::once(flags.context.as_path()).chain(named).collect()
}

/// A path without links, also when its last part is not there yet.
fn resolved(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if !parent.as_os_str().is_empty() => resolved(parent).join(name),
        (_, Some(name)) => resolved(Path::new(".")).join(name),
        _ => path.to_owned(),
    })
}

/// Refuses to delete where more than earlier output may be: outside the current directory, or around a context.
///
/// # Errors
/// When a destination of `mode=delete` is such a place.
pub fn check_deletion(outputs: &[Output], here: &Path, contexts: &[&Path]) -> Result<(), Failure> {
    for output in outputs {
        let Output::Files(files) = output else { continue };
        // What is not there holds nothing that could be deleted.
        let (Others::Delete, Ok(dest)) = (files.others, files.dest.canonicalize()) else { continue };
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| PathBuf::from(path));
        let here = real(here);
        if dest == here || !dest.starts_with(&here) {
            return Err(Failure::usage(
                format!("mode=delete would delete in {}, which is not below the current directory", dest.display()),
                "go to the directory above it first",
            ));
        }
        let others = outputs.iter().filter(|o| !std::ptr::eq(*o, output)).filter_map(Output::dest);
        if let Some(other) = others.map(resolved).find(|o| o.starts_with(&dest)) {
            return Err(Failure::usage(
                format!("mode=delete would delete another output, {}", other.display()),
                "give it a place of its own",
            ));
        }
        if let Some(context) = contexts.iter().find(|c| real(c).starts_with(&dest)) {
            return Err(Failure::usage(
                format!("mode=delete would delete the build context {}", context.display()),
                "give another dest",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::{Cli, Command};
    use clap::Parser as _;

    fn of(line: &str) -> Vec<Output> {
        let line = format!("cooper build {line} .");
        let Command::Build(flags) = Cli::try_parse_from(line.split_whitespace()).unwrap().command else { panic!() };
        outputs(&flags.result)
    }

    #[test]
    fn the_image_is_always_kept() {
        for (line, count, push, finish) in [
            ("", 1, Push::No, Finish::Lazily),
            ("-t a", 1, Push::No, Finish::Lazily),
            ("-t a --load", 1, Push::No, Finish::Lazily),
            ("-t a --push", 1, Push::ByName, Finish::Lazily),
            ("-o out -o type=oci,dest=b", 3, Push::No, Finish::Lazily),
            ("-o out -o type=image,name=a", 2, Push::No, Finish::Now),
            ("-o type=image,name=a --push", 1, Push::ByName, Finish::Now),
            ("-o type=image,name=a,push=true,push-by-digest=true --push", 1, Push::ByDigest, Finish::Now),
            ("-t a --metadata-file m", 1, Push::No, Finish::Now),
        ] {
            let all = of(line);
            assert_eq!(all.len(), count, "{line}");
            let Some(Output::Image(image)) = all.first() else { panic!("{line}") };
            assert_eq!((image.push, image.finish), (push, finish), "{line}");
        }
    }

    #[test]
    fn steps_alone_are_kept_when_that_is_asked_for() {
        assert_eq!(of("-t a -o type=cacheonly"), []);
        assert!(matches!(of("-t a -o type=cacheonly -o out")[..], [Output::Files(_)]));
        assert!(matches!(of("-t a -o type=cacheonly -o type=image")[..], [Output::Image(_)]));
        assert!(matches!(of("-t a -o type=cacheonly --push")[..], [Output::Image(_)]));
        assert!(matches!(of("-t a -o type=cacheonly --load")[..], [Output::Image(_)]));
    }

    #[test]
    fn annotations_go_everywhere_and_an_output_wins() {
        let all = of("-o type=oci,dest=a,annotation.k=own -o out --annotation k=general --annotation manifest:l=m");
        let notes = |o: &Output| {
            let form = o.form().unwrap();
            cooper_image::annotations::select(
                &form.annotations,
                cooper_image::annotations::Target::Manifest,
                &Platform::linux("amd64"),
            )
        };
        assert_eq!(notes(&all[0])["k"], "general");
        assert_eq!((notes(&all[1])["k"].as_str(), notes(&all[1])["l"].as_str()), ("own", "m"));
    }

    #[test]
    fn platforms_once_each() {
        let p = |s: &str| s.parse::<Platform>().unwrap();
        assert_eq!(platforms(vec![]), [Platform::host()]);
        let given = ["linux/arm64", "linux/amd64", "linux/arm64/v8", "linux/amd64"].map(p).to_vec();
        assert_eq!(platforms(given), [p("linux/arm64"), p("linux/amd64")]);
    }

    #[test]
    fn an_index_of_one() {
        let with = |v: &str| shape(&BTreeMap::from([(MULTI_PLATFORM.to_owned(), v.to_owned())]));
        assert_eq!(with("1").unwrap(), Shape::Index);
        assert_eq!(with("false").unwrap(), Shape::Image);
        assert_eq!(shape(&BTreeMap::new()).unwrap(), Shape::Image);
        let says = "--build-arg BUILDKIT_MULTI_PLATFORM=\"yes\" is neither true nor false";
        assert_eq!(with("yes").unwrap_err().to_string(), says);
    }

    #[test]
    fn deletion_stays_below_the_current_directory_and_off_the_context() {
        let top = tempfile::tempdir().unwrap();
        let here = top.path().join("here");
        for dir in ["here/out", "here/src/ctx", "beside"] {
            std::fs::create_dir_all(top.path().join(dir)).unwrap();
        }
        std::os::unix::fs::symlink(top.path().join("beside"), here.join("link")).unwrap();
        for (dest, fits) in [
            ("here/out", true),
            ("here/new", true),
            ("here", false),
            (".", false),
            ("beside", false),
            ("here/link", false),
            ("here/src", false),
            ("here/src/ctx", false),
        ] {
            let text = format!("type=local,mode=delete,dest={}", top.path().join(dest).display());
            let output = text.parse::<crate::flags::output::OutputFlag>().unwrap().0.unwrap();
            let checked = check_deletion(&[output], &here, &[Path::new("absent"), &here.join("src/ctx")]);
            assert_eq!(checked.is_ok(), fits, "{dest}");
        }
    }

    #[test]
    fn deletion_spares_other_outputs_and_the_store() {
        let top = tempfile::tempdir().unwrap();
        let here = top.path();
        for dir in ["out/store", "other"] {
            std::fs::create_dir_all(here.join(dir)).unwrap();
        }
        let at = |kind: &str, dest: &str| {
            let text = format!("{kind},dest={}", here.join(dest).display());
            text.parse::<crate::flags::output::OutputFlag>().unwrap().0.unwrap()
        };
        let delete = || at("type=local,mode=delete", "out");
        for (other, fits) in [("out/a.tar", false), ("out/new/a.tar", false), ("other/a.tar", true)] {
            let outputs = [at("type=oci", other), delete()];
            assert_eq!(check_deletion(&outputs, here, &[]).is_ok(), fits, "{other}");
        }
        assert!(check_deletion(&[delete()], here, &[&here.join("out/store")]).is_err());
    }
}
