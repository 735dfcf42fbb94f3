//! Builds that need nothing but the binary: a context, `FROM scratch`, and what comes out where.

use std::path::Path;
use std::process::{Command, Output, Stdio};

const DOCKERFILE: &str = "FROM scratch\nARG WHO\nLABEL who=$WHO\nCOPY . /in/\n";

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("it is ours");
        std::fs::create_dir(dir.path().join("ctx")).expect("it is ours");
        write("ctx/Dockerfile", DOCKERFILE);
        write("ctx/kept", "kept");
        write("ctx/secret", "secret");
        write("ctx/.dockerignore", "secret\n");
        Self(dir)
    }
    fn path(&self) -> &Path {
        self.0.path()
    }
    /// `cooper build --root store ARGS ctx`.
    fn build(&self, store: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cooper"));
        command.env_clear().env("HOME", self.path()).env("SOURCE_DATE_EPOCH", "1700000000").env("WHO", "me");
        command.current_dir(self.path()).args(["build", "--root", store]).args(args).arg("ctx");
        command
    }
}

fn done(command: &mut Command) -> Output {
    let output = command.output().expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("output is UTF-8")
}

#[test]
fn quiet_prints_the_id_alone() {
    let place = Place::new();
    let output = done(&mut place.build("store", &["-q", "--iidfile", "id"]));
    assert!(output.stderr.is_empty(), "{output:?}");
    let id = text(&output.stdout);
    assert!(id.starts_with("sha256:") && id.lines().count() == 1, "{id}");
    assert_eq!(std::fs::read_to_string(place.path().join("id")).unwrap(), id.trim());
}

#[test]
fn rawjson_is_json_from_the_first_line_to_the_last() {
    let place = Place::new();
    std::fs::write(place.path().join("ctx/Dockerfile"), "FROM scratch AS Stage\nCOPY . /in/\n").expect("it is ours");
    let output = done(&mut place.build("store", &["--progress", "rawjson", "-t", "x"]));
    assert!(output.stdout.is_empty(), "{output:?}");
    let said = text(&output.stderr);
    let lines = said.lines().map(serde_json::from_str::<serde_json::Value>);
    let lines = lines.collect::<Result<Vec<_>, _>>().unwrap_or_else(|e| panic!("{e}: {said}"));
    let vertexes = || lines.iter().filter_map(|line| line["vertexes"].as_array()).flatten();
    let ended = |v: &&serde_json::Value| v["name"] == "[stage 2/2] COPY . /in/" && v["completed"].is_string();
    assert_eq!(vertexes().filter(ended).count(), 1, "{said}");
    assert!(lines.iter().any(|line| line["warnings"][0]["url"] == "docs/checks/StageNameCasing.md"), "{said}");
}

#[test]
fn the_same_sources_give_the_same_image_anywhere() {
    let place = Place::new();
    let id = |store, args: &[&str]| text(&done(&mut place.build(store, args)).stdout);
    let first = id("one", &["-q"]);
    assert_eq!(first, id("two", &["-q"]));
    // WHO is taken from the environment only when it is asked for.
    let with_who = id("one", &["-q", "--build-arg", "WHO"]);
    assert_ne!(first, with_who);
    assert_eq!(with_who, id("one", &["-q", "--build-arg", "WHO=me"]));
}

#[test]
fn plain_lines_say_what_was_run_and_what_was_not() {
    let place = Place::new();
    let output = done(&mut place.build("store", &["-t", "app:1", "--progress", "plain"]));
    let log = text(&output.stderr);
    assert!(output.stdout.is_empty() && log.contains("COPY . /in/") && log.contains("named app:1"), "{log}");
    assert!(log.trim_end().ends_with(": 1 step run, 0 cached") && log.contains("not cached: "), "{log}");
    let again = text(&done(&mut place.build("store", &["-t", "app:1"])).stderr);
    assert!(again.contains("no step was run") && !again.contains("not cached"), "{again}");
}

#[test]
fn one_stage_can_be_run_anew() {
    let place = Place::new();
    let dockerfile = "FROM scratch AS a\nCOPY kept /a\nFROM scratch AS b\nCOPY kept /b\nFROM scratch\nCOPY --from=a /a /\n\
                COPY --from=b /b /\n";
    std::fs::write(place.path().join("ctx/Dockerfile"), dockerfile).unwrap();
    let log = |args: &[&str]| text(&done(&mut place.build("store", args)).stderr);
    log(&[]);
    let again = log(&["--no-cache-filter", "a,bb"]);
    // What the stage gives is what it gave before, so that nothing else has to be done.
    assert!(again.contains(": 1 step run, 3 cached"), "{again}");
    assert!(again.contains("the cache is off for this stage"), "{again}");
    assert!(again.contains("--no-cache-filter names \"bb\", which is no stage"), "{again}");
    assert!(log(&["--no-cache"]).contains(": 4 steps run"));
}

#[test]
fn an_archive_on_standard_output_is_all_there_is() {
    let place = Place::new();
    let output = done(&mut place.build("store", &["-o", "-"]));
    let tar = place.path().join("out.tar");
    std::fs::write(&tar, &output.stdout).unwrap();
    let list = Command::new("tar").arg("-tf").arg(&tar).stderr(Stdio::inherit()).output().unwrap();
    let names = text(&list.stdout);
    assert!(list.status.success() && names.contains("in/kept") && !names.contains("secret"), "{names}");
}

#[test]
fn an_empty_source_is_the_whole_context() {
    let place = Place::new();
    let dockerfile = "FROM scratch\nARG NONE\nCOPY $NONE /all/\nCOPY [\"\", \"/also/\"]\n";
    std::fs::write(place.path().join("ctx/Dockerfile"), dockerfile).unwrap();
    let log = text(&done(&mut place.build("store", &["-o", "out"])).stderr);
    for dir in ["out/all", "out/also"] {
        let dir = place.path().join(dir);
        assert!(dir.join("kept").is_file() && !dir.join("secret").exists(), "{}", dir.display());
    }
    assert_eq!(log.matches("EmptySource: ").count(), 2, "{log}");
}

#[test]
fn a_directory_takes_the_place_of_an_archives_link_and_nothing_is_written_behind_it() {
    let place = Place::new();
    let script = "mkdir out && echo canary > out/f && cd ctx && ln -s ../../out d && tar -cf a.tar d && rm d && mkdir d && \
                  echo new > d/f && tar -rf a.tar d && printf 'FROM scratch\\nADD a.tar /x/\\n' > Dockerfile";
    done(Command::new("sh").args(["-ec", script]).current_dir(place.path()));
    done(&mut place.build("store", &["-o", "root"]));
    let read = |path: &str| std::fs::read_to_string(place.path().join(path)).unwrap();
    assert_eq!((read("root/x/d/f").as_str(), read("out/f").as_str()), ("new\n", "canary\n"));
    assert!(!place.path().join("root/x/d").is_symlink());
}

#[test]
fn a_failed_build_leaves_no_id_and_no_output() {
    let place = Place::new();
    std::fs::write(place.path().join("id"), "sha256:old").unwrap();
    std::fs::write(place.path().join("ctx/Dockerfile"), "FROM scratch\nCOPY absent /\n").unwrap();
    let output = place.build("store", &["--iidfile", "id", "-o", "type=tar,dest=out.tar"]).output().unwrap();
    let log = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{log}");
    assert!(log.contains("2 | COPY absent /") && log.contains("absent"), "{log}");
    assert!(!place.path().join("id").exists() && !place.path().join("out.tar").exists());
    // Nor when nothing is built at all.
    std::fs::write(place.path().join("id"), "sha256:old").unwrap();
    std::fs::remove_file(place.path().join("ctx/Dockerfile")).unwrap();
    let output = place.build("store", &["--iidfile", "id"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(!place.path().join("id").exists());
}

#[test]
fn a_dockerfile_from_standard_input() {
    let place = Place::new();
    let file = std::fs::File::open(place.path().join("ctx/Dockerfile")).unwrap();
    let output = done(place.build("store", &["-q", "-f", "-"]).stdin(file));
    assert_eq!(text(&output.stdout), text(&done(&mut place.build("store", &["-q"])).stdout));
}

#[test]
fn steps_can_be_kept_without_an_image() {
    let place = Place::new();
    let images = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cooper"));
        command.env_clear().env("HOME", place.path()).current_dir(place.path());
        text(&done(command.args(["images", "--root", "store"])).stdout)
    };
    let log = text(&done(&mut place.build("store", &["-t", "app:1", "-o", "type=cacheonly"])).stderr);
    assert!(log.contains(": 1 step run, 0 cached") && !log.contains("named") && !images().contains("app"), "{log}");
    let again = text(&done(&mut place.build("store", &["-t", "app:1", "--metadata-file", "m"])).stderr);
    assert!(again.contains("no step was run") && images().contains("app"), "{again}");
    done(&mut place.build("store", &["-o", "type=cacheonly", "--metadata-file", "m"]));
}

#[test]
fn a_cap_on_the_command_line_takes_the_place_of_that_of_the_environment() {
    let place = Place::new();
    let capped = |args: &[&str]| {
        let output = place.build("store", args).env("COOPER_GC_MAX_SIZE", "plenty").output().expect("the binary runs");
        (output.status.code(), text(&output.stderr))
    };
    let (code, err) = capped(&[]);
    assert!(code == Some(2) && err.contains("COOPER_GC_MAX_SIZE"), "{err}");
    let (code, err) = capped(&["--gc-max-size", "1g"]);
    assert_eq!(code, Some(0), "{err}");
}

/// The platforms of an index or image in an OCI layout, as the index says and as the configuration says.
fn platforms(layout: &Path) -> Vec<(String, String)> {
    let read = |path: &Path| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(path).expect("it was written")).expect("it is JSON")
    };
    let blob = |descriptor: &serde_json::Value| {
        let digest = descriptor["digest"].as_str().expect("it has one").replace(':', "/");
        read(&layout.join("blobs").join(digest))
    };
    let of = |v: &serde_json::Value| {
        let word = |key: &str| v[key].as_str().unwrap_or_default().to_owned();
        format!("{}/{}", word("os"), word("architecture"))
    };
    let index = blob(&read(&layout.join("index.json"))["manifests"][0]);
    let manifests = index["manifests"].as_array().expect("it is an index");
    manifests.iter().map(|m| (of(&m["platform"]), of(&blob(&blob(m)["config"])))).collect()
}

#[test]
fn an_image_claims_the_platform_that_was_asked_for() {
    let place = Place::new();
    let both = ["--platform", "linux/amd64,linux/arm64,darwin/arm64", "-o", "type=oci,tar=false,dest=layout"];
    for from in ["scratch", "--platform=$BUILDPLATFORM scratch", "--platform=linux/s390x scratch"] {
        std::fs::write(place.path().join("ctx/Dockerfile"), format!("FROM {from}\nCOPY kept /\n")).unwrap();
        done(&mut place.build("store", &both));
        let of = |p: &str| (p.to_owned(), p.to_owned());
        assert_eq!(
            platforms(&place.path().join("layout")),
            [of("linux/amd64"), of("linux/arm64"), of("darwin/arm64")],
            "{from}"
        );
        std::fs::remove_dir_all(place.path().join("layout")).unwrap();
    }
}

#[test]
fn files_for_any_system() {
    let place = Place::new();
    let text = "FROM scratch\nARG TARGETOS\nCOPY kept /app-$TARGETOS\n";
    std::fs::write(place.path().join("ctx/Dockerfile"), text).unwrap();
    done(&mut place.build("store", &["--platform", "windows/amd64,darwin/arm64", "-o", "bin"]));
    for file in ["bin/windows_amd64/app-windows", "bin/darwin_arm64/app-darwin"] {
        assert!(place.path().join(file).exists(), "{file}");
    }
    for args in [&["-t", "app:1", "-o", "bin"][..], &["-o", "type=oci,dest=a.tar"], &[]] {
        let refused = place.build("store", &[&["--platform", "windows/amd64"], args].concat()).output().unwrap();
        assert_eq!(refused.status.code(), Some(2), "{args:?}");
        let says = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(says.contains("images for windows/amd64 cannot be built") && says.contains("hint: "), "{says}");
    }
}

#[test]
fn a_folder_for_the_only_platform_when_one_is_asked_for() {
    let place = Place::new();
    let asked = "type=local,dest=split,platform-split=true";
    done(&mut place.build("store", &["--platform", "linux/arm64", "-o", asked, "-o", "plain"]));
    assert!(place.path().join("split/linux_arm64/in/kept").exists() && place.path().join("plain/in/kept").exists());
}

#[test]
fn the_last_line_has_the_name_of_an_output() {
    let place = Place::new();
    let says = |args: &[&str]| text(&done(&mut place.build("store", args)).stderr);
    let named = says(&["-o", "type=image,name=team/app:7"]);
    assert!(named.lines().any(|l| l.starts_with("built team/app:7 sha256:")), "{named}");
    assert!(says(&[]).contains("built an image without a name sha256:"));
}
