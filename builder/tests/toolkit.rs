//! Commands about images of the store, over images that need nothing but the binary.

use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};

struct Place(tempfile::TempDir);

impl Place {
    /// With the image `app:1` of two layers.
    fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("a temporary directory can be made"));
        let dockerfile = "FROM scratch\nCOPY a /a\nENV E=1\nCOPY b /b\n";
        std::fs::create_dir(place.path().join("ctx")).expect("it is ours");
        for (name, text) in [("Dockerfile", dockerfile), ("a", "a"), ("b", "bb")] {
            std::fs::write(place.path().join("ctx").join(name), text).expect("it is ours");
        }
        place.done(&["build", "-q", "-t", "app:1", "ctx"]);
        place
    }
    fn path(&self) -> &Path {
        self.0.path()
    }
    fn cooper(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cooper"));
        command.env_clear().env("HOME", self.path()).env("SOURCE_DATE_EPOCH", "1700000000");
        command.current_dir(self.path()).args(args).args(["--root", "store"]);
        command.output().expect("the binary runs")
    }
    #[track_caller]
    fn done(&self, args: &[&str]) -> String {
        let output = self.cooper(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("output is UTF-8")
    }
    /// Fails with 2 and these words.
    #[track_caller]
    fn wrong(&self, args: &[&str], words: &str) {
        let output = self.cooper(args);
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && err.contains(words), "{args:?}: {output:?}");
    }
}

#[test]
fn a_tag_is_as_good_as_the_name() {
    let place = Place::new();
    place.done(&["tag", "app:1", "app:2", "registry.example/team/app"]);
    place.done(&["rm", "app:1"]);
    place.done(&["prune", "--all", "--force"]);
    let names = place.done(&["images"]);
    for name in ["app:2", "registry.example/team/app:latest"] {
        assert!(names.contains(name), "{names}");
        let inspected = place.done(&["inspect", name]);
        assert!(inspected.contains("E=1"), "{inspected}");
    }
    // Its layers are there as well: an archive takes them.
    std::fs::write(place.path().join("ctx/Dockerfile"), "FROM app:2\nCOPY a /c\n").expect("it is ours");
    place.done(&["build", "-o", "type=oci,dest=app.tar", "ctx"]);
    place.done(&["tag", "app:2", "app:2"]);
    place.wrong(&["tag", "app:1", "app:3"], "no image");
    place.wrong(&["tag", "app:2"], "TARGET");
    let digest = format!("app@sha256:{}", "a".repeat(64));
    place.wrong(&["tag", "app:2", &digest], "names one image for ever");
    place.done(&["debug", "fsck"]);
}

#[test]
fn nothing_that_is_broken_gets_a_name() {
    let place = Place::new();
    let trees = place.path().join("store/trees");
    let blobs = place.path().join("store/blobs");
    for dir in [trees, blobs] {
        for entry in walk(&dir) {
            // Layers are tars or trees; documents begin with a brace.
            let is_document = std::fs::read(&entry).is_ok_and(|bytes| bytes.starts_with(b"{"));
            if !is_document {
                std::fs::remove_file(entry).expect("it is ours");
            }
        }
    }
    let output = place.cooper(&["tag", "app:1", "app:2"]);
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    assert!(!place.done(&["images"]).contains("app:2"));
}

/// The files below a directory.
fn walk(dir: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let paths = entries.map(|e| e.expect("it is ours").path());
    paths.flat_map(|p| if p.is_dir() { walk(&p) } else { vec![p] }).collect()
}

#[test]
fn a_history() {
    let place = Place::new();
    let table = place.done(&["history", "app:1"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    assert!(lines[0].starts_with("CREATED") && lines[0].contains("CREATED BY"), "{table}");
    for (line, words) in lines[1..].iter().zip(["COPY b /b", "ENV E=1", "COPY a /a"]) {
        assert!(line.starts_with("2023-11-14T22:13:20Z") && line.contains(words), "{table}");
    }
    assert!(lines[1].contains("unpacked") && !lines[2].contains("unpacked"), "{table}");
    let json: serde_json::Value = serde_json::from_str(&place.done(&["history", "--json", "app:1"])).expect("JSON");
    let steps = json.as_array().expect("a list");
    let layers: Vec<bool> = steps.iter().map(|s| s["diff_id"].is_string() && s["size"].as_u64() > Some(0)).collect();
    assert_eq!(layers, [true, false, true], "{json}");
    assert_eq!((&steps[0]["form"], &steps[1]["empty_layer"]), (&"unpacked".into(), &true.into()), "{json}");
    place.wrong(&["history", "app:7"], "no image");
    place.wrong(&["history", "--platform", "linux/s390x", "app:1"], "no image for");
}

#[test]
fn answers_for_programs() {
    let place = Place::new();
    let json = |args: &[&str]| -> Value { serde_json::from_str(&place.done(args)).expect("JSON") };
    let tagged = json(&["tag", "--json", "app:1", "app:2", "registry.example/team/app"]);
    let digest = json(&["inspect", "--json", "app:1"])["descriptor"]["digest"].clone();
    let named = |name: &str| json!({"reference": name, "digest": digest});
    assert_eq!(tagged, json!([named("docker.io/library/app:2"), named("registry.example/team/app:latest")]));

    let saved = json(&["save", "--json", "-o", "saved.tar", "app:1", "app:2"]);
    assert_eq!((&saved["target"], &saved["sent"]), (&json!("docker-archive://saved.tar"), &json!(3)), "{saved}");
    let images: Vec<&Value> = saved["images"].as_array().expect("a list").iter().map(|i| &i["reference"]).collect();
    assert_eq!(images, ["docker.io/library/app:1", "docker.io/library/app:2"]);
    // It has a manifest by now, which is what all of its names lead to.
    let now = &json(&["inspect", "--json", "app:1"])["descriptor"];
    assert_eq!(
        ["digest", "size", "mediaType"].map(|key| &saved["images"][0][key]),
        ["digest", "size", "mediaType"].map(|key| &now[key])
    );

    let exported = json(&["export", "--json", "-o", "root.tar", "store://app:1"]);
    assert_eq!((&exported["source"], &exported["target"]), (&json!("store://app:1"), &json!("root.tar")), "{exported}");
    assert_eq!(exported["digest"], now["digest"]);
    for command in ["save", "export"] {
        let name = if command == "save" { "app:1" } else { "store://app:1" };
        place.wrong(&[command, "--json", name], "both go to standard output");
    }

    // What is gone is told, though something else could not be taken away.
    let gone = place.cooper(&["rm", "--json", "app:2", "absent:1", "registry.example/team/app"]);
    let names: Value = serde_json::from_slice(&gone.stdout).expect("JSON");
    let name = |name: &str| json!({"reference": name});
    assert_eq!(names, json!([name("docker.io/library/app:2"), name("registry.example/team/app:latest")]));
    assert!(gone.status.code() == Some(2) && String::from_utf8_lossy(&gone.stderr).contains("absent:1"), "{gone:?}");
}

#[test]
fn an_image_is_shown_to_people_and_to_programs() {
    let place = Place::new();
    let text = place.done(&["inspect", "app:1"]);
    let id = place.done(&["inspect", "--config", "app:1"]);
    let id = cooper_image::Digest::sha256(id.as_bytes()).to_string();
    let lines: Vec<&str> = text.lines().collect();
    for line in [
        "Name:        app:1",
        &format!("Digest:      {id}"),
        "Environment:  PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "              E=1",
    ] {
        assert!(lines.contains(&line), "{line:?} is not in\n{text}");
    }
    let json: Value = serde_json::from_str(&place.done(&["inspect", "--json", "app:1"])).expect("JSON");
    let layers = json["config"]["rootfs"]["diff_ids"].as_array().expect("a list");
    assert_eq!((layers.len(), &json["manifest"], &json["manifests"]), (2, &Value::Null, &json!([])));
    assert!(
        layers.iter().all(|layer| text.contains(&format!("  {}  -  unpacked", layer.as_str().expect("a digest")))),
        "{text}"
    );
    for flag in ["--raw", "--manifest", "--config"] {
        place.wrong(&["inspect", "--json", flag, "app:1"], "cannot be used with");
    }
}

#[test]
fn no_archive_goes_to_a_terminal() {
    let place = Place::new();
    for command in [
        "copy store://app:1 oci-archive://-",
        "copy store://app:1 docker-archive://-:app:1",
        "mutate store://app:1 oci-archive://- --user 7",
        "index create -t oci-archive://- store://app:1",
        "save app:1",
        "export store://app:1",
    ] {
        let command = format!("{} {command} --root store", env!("CARGO_BIN_EXE_cooper"));
        // What it runs has a terminal; what that terminal shows is told here.
        let mut script = Command::new("script");
        script.args(["-qec", &command, "/dev/null"]).env("HOME", place.path()).current_dir(place.path());
        let output = script.output().expect("script is there");
        let shown = String::from_utf8_lossy(&output.stdout);
        assert!(shown.contains("would go to the terminal") && shown.len() < 1000, "{command}: {shown}");
        assert_eq!(output.status.code(), Some(2), "{command}: {shown}");
    }
    // Through a pipe it is the archive and nothing else.
    for args in [
        ["copy", "store://app:1", "oci-archive://-"].as_slice(),
        &["index", "create", "-t", "oci-archive://-", "store://app:1"],
    ] {
        let piped = place.cooper(args);
        let blocks = piped.stdout.chunks(512);
        assert!(piped.status.success() && piped.stdout.len() > 1024, "{args:?}");
        assert!(blocks.last().is_some_and(|last| last == [0; 512]), "{args:?}: it ends with the end of a tar");
    }
}

#[test]
fn what_a_place_does_not_take_is_wrong_use() {
    let place = Place::new();
    place.wrong(&["index", "create", "-t", "docker-archive://index.tar", "store://app:1"], "holds one image");
    place.wrong(&["copy", "store://app:1", "oci-layout://ctx:1"], "is no place for an OCI layout");
    place.wrong(
        &["append", "store://app:1", "store://app:2", "--layer", "ctx"],
        "ctx is a directory, and a layer is a tar",
    );
    assert!(!place.path().join("index.tar").exists());
}

#[test]
fn documents_of_an_image_that_was_never_compressed() {
    let place = Place::new();
    let id = place.done(&["images", "--json"]);
    let config = place.done(&["inspect", "--config", "app:1"]);
    let json: serde_json::Value = serde_json::from_str(&config).expect("JSON");
    assert_eq!(json["config"]["Env"][1], "E=1");
    let digest = cooper_image::Digest::sha256(config.as_bytes()).to_string();
    assert!(id.contains(&digest), "the bytes are those that the image's id names: {id}");
    for flag in ["--raw", "--manifest"] {
        place.wrong(&["inspect", flag, "app:1"], "has no manifest yet");
    }
    // Of an index it is that of one image.
    place.done(&["build", "--platform", "linux/amd64,linux/arm64", "-q", "-t", "two:1", "ctx"]);
    let arm = place.done(&["inspect", "--config", "--platform", "linux/arm64", "two:1"]);
    assert!(arm.contains("\"arm64\""), "{arm}");
}

#[test]
fn a_name_with_a_digest_is_given_to_that_image_alone() {
    let place = Place::new();
    let other = format!("sha256:{}", "1".repeat(64));
    let pinned = format!("docker.io/library/debian@{other}");
    let target = format!("store://debian@{other}");
    place.done(&["export", "store://app:1", "-o", "layer.tar"]);
    let own = place.done(&["copy", "store://app:1", "oci-layout://layout:docker.io/library/debian:12"]);
    let before = place.done(&["images", "--json"]);
    let refused = |args: &[&str], hint: &str| {
        place.wrong(args, &format!("{pinned} names one image for ever"));
        place.wrong(args, hint);
        assert_eq!(place.done(&["images", "--json"]), before, "{args:?}");
    };
    for args in [
        ["copy", "store://app:1", &target].as_slice(),
        &["mutate", "store://app:1", &target, "--user", "7"],
        &["append", "store://app:1", &target, "--layer", "layer.tar"],
        &["index", "create", "-t", &target, "store://app:1"],
        &["load", "-i", "layout", "--name", &pinned],
    ] {
        refused(args, "without the part from the @ on");
    }

    // A layout, and what docker save wrote in earlier times: both say themselves what their images are called.
    let index = place.path().join("layout/index.json");
    let says = std::fs::read_to_string(&index).expect("it is there");
    let named = |name: &str| says.replace("docker.io/library/debian:12", name);
    std::fs::write(&index, named(&pinned)).expect("it is ours");
    refused(&["load", "-i", "layout"], "--name");
    let manifest: Value = serde_json::from_str(&place.done(&["inspect", "--raw", "app:1"])).expect("JSON");
    let path = |d: &Value| format!("blobs/{}", d["digest"].as_str().expect("a digest").replace(':', "/"));
    let layers: Vec<String> = manifest["layers"].as_array().expect("a list").iter().map(path).collect();
    let listed = json!([{"Config": path(&manifest["config"]), "RepoTags": [pinned], "Layers": layers}]);
    std::fs::write(place.path().join("layout/manifest.json"), listed.to_string()).expect("it is ours");
    let mut tar = Command::new("tar");
    tar.args(["-cf", "old.tar", "-C", "layout", "manifest.json", "blobs"]).current_dir(place.path());
    assert!(tar.status().expect("tar is there").success());
    refused(&["load", "-i", "old.tar"], "--name");
    place.done(&["load", "-i", "old.tar", "--name", "old:1"]);

    // Its own name it has wherever it comes from.
    let own = format!("docker.io/library/debian@{}", own.trim());
    place.done(&["copy", "store://app:1", &format!("store://{own}")]);
    place.done(&["rm", &own]);
    std::fs::write(&index, named(&own)).expect("it is ours");
    place.done(&["load", "-i", "layout"]);
    assert!(place.done(&["images", "--json"]).contains(&own));
}

/// Where it is, an image is used with it; where it is not, that is said, and nobody's disk is blamed.
#[test]
fn a_layer_that_nobody_may_pass_on() {
    let place = Place::new();
    place.done(&["copy", "store://app:1", "oci-layout://lay:1"]);
    place.done(&["rm", "app:1"]);
    place.done(&["prune", "--all", "--force"]);
    let blob = |digest: &str| place.path().join("lay/blobs").join(digest.replace(':', "/"));
    let read =
        |path: &Path| -> Value { serde_json::from_slice(&std::fs::read(path).expect("it is there")).expect("JSON") };
    let index = place.path().join("lay/index.json");
    let mut entries = read(&index);
    let mut manifest = read(&blob(entries["manifests"][0]["digest"].as_str().expect("it has one")));
    let layer = manifest["layers"][1]["digest"].as_str().expect("it has two").to_owned();
    manifest["layers"][1]["mediaType"] = json!("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip");
    let bytes = manifest.to_string().into_bytes();
    let digest = cooper_image::Digest::sha256(&bytes).to_string();
    (entries["manifests"][0]["digest"], entries["manifests"][0]["size"]) = (json!(digest), json!(bytes.len()));
    std::fs::write(blob(&digest), bytes).expect("it is ours");
    std::fs::write(index, entries.to_string()).expect("it is ours");

    let bytes = std::fs::read(blob(&layer)).expect("it is there");
    std::fs::remove_file(blob(&layer)).expect("it is ours");
    place.done(&["validate", "oci-layout://lay:1"]);
    std::fs::write(place.path().join("ctx/Dockerfile"), "FROM base\nCOPY a /c\n").expect("it is ours");
    for args in [
        ["export", "oci-layout://lay:1", "-o", "root.tar"].as_slice(),
        &["flatten", "oci-layout://lay:1", "oci-layout://flat:1"],
        &["copy", "oci-layout://lay:1", "store://app:2"],
        &["build", "-q", "--build-context", "base=oci-layout://lay:1", "ctx"],
    ] {
        let output = place.cooper(args);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{args:?}: {err}");
        for words in ["/lay:1 has not the layer", &layer, "its publisher's registry"] {
            assert!(err.contains(words), "{args:?}: {words} is not in {err}");
        }
    }
    std::fs::write(blob(&layer), bytes).expect("it is ours");
    place.done(&["export", "oci-layout://lay:1", "-o", "root.tar"]);
    place.done(&["copy", "oci-layout://lay:1", "store://app:2"]);
    let tar = std::fs::read(place.path().join("root.tar")).expect("it was written");
    assert!(tar.windows(2).any(|bytes| bytes == b"bb"), "what the layer has is in the root");
    place.done(&["debug", "fsck"]);
}
