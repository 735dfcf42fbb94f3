//! `cooper explain`: what a build says of itself afterwards. Needs nothing but the binary: `FROM scratch` and files.

use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

const DOCKERFILE: &str = "FROM scratch AS files\nARG WHERE=/in\nCOPY a b $WHERE/\nFROM scratch\nCOPY --from=files /in /out\n\
                          LABEL x=y\nCOPY last /\n";

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("a temporary directory can be made"));
        std::fs::create_dir(place.0.path().join("ctx")).expect("it is ours");
        for (name, text) in [("Dockerfile", DOCKERFILE), ("a", "a"), ("b", "b"), ("last", "last")] {
            place.write(name, text);
        }
        place
    }
    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join("ctx").join(name), text).expect("it is ours");
    }
    fn cooper(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cooper"));
        command.env_clear().env("HOME", self.0.path()).current_dir(self.0.path());
        command.args(args).args(["--root", "store"]).output().expect("the binary runs")
    }
    /// `cooper build ARGS ctx`: what it says.
    fn build(&self, args: &[&str]) -> String {
        let output = self.cooper(&[&["build"], args, &["ctx"]].concat());
        String::from_utf8(output.stderr).expect("it is text")
    }
    fn explain(&self, args: &[&str]) -> String {
        let output = self.cooper(&[&["explain"], args].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("it is text")
    }
    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.explain(&[args, &["--json"]].concat())).expect("it is JSON")
    }
}

fn outcomes(build: &Value) -> Vec<&str> {
    words(&build["steps"], "outcome")
}

/// One field of each of a list.
fn words<'v>(list: &'v Value, field: &str) -> Vec<&'v str> {
    list.as_array().into_iter().flatten().filter_map(|one| one[field].as_str()).collect()
}

#[test]
fn each_step_says_hit_or_miss_and_names_what_changed() {
    let place = Place::new();
    place.build(&["-t", "app:1"]);
    let first = place.json(&[]);
    assert_eq!((&first["build"], &first["tags"][0]), (&1.into(), &"app:1".into()));
    assert_eq!(outcomes(&first), ["config", "config", "miss", "config", "miss", "config", "miss"]);
    assert_eq!(first["steps"][2]["reasons"][0]["text"], "it was not run before");
    place.build(&[]);
    assert_eq!(outcomes(&place.json(&[])), ["config", "config", "hit", "config", "hit", "config", "hit"]);

    place.write("a", "changed");
    let b = place.0.path().join("ctx/b");
    std::fs::set_permissions(b, std::fs::Permissions::from_mode(0o751)).unwrap();
    place.build(&[]);
    let build = place.json(&[]);
    assert_eq!(outcomes(&build), ["config", "config", "miss", "config", "miss", "config", "miss"]);
    let reason = &build["steps"][2]["reasons"][0];
    assert_eq!((&reason["part"], &reason["files"][0]["path"]), (&"files".into(), &"a".into()));
    let changes = words(&reason["files"], "change");
    assert_eq!(changes, ["content", "mode"]);
    assert_eq!(reason["files"][1]["new"], "751");
    let text = place.explain(&[]);
    for line in ["  a changed", "  b has mode 751, had 644", "the layers below changed: ", "  in/a changed"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    // The second build is what it was.
    assert_eq!(outcomes(&place.json(&["2"]))[2], "hit");
}

#[test]
fn files_that_come_and_go_are_named() {
    let place = Place::new();
    place.write("Dockerfile", "FROM scratch\nCOPY . /\n");
    place.write(".dockerignore", "Dockerfile\n.dockerignore\n");
    place.build(&[]);
    place.write("new", "new");
    std::fs::remove_file(place.0.path().join("ctx/b")).unwrap();
    let told = place.build(&[]);
    assert!(told.contains("not cached: the files that it copies changed: b is gone, new is new"), "{told}");
    place.write("c1", "");
    place.write("c2", "");
    place.write("c3", "");
    place.write("c4", "");
    let told = place.build(&["--explain"]);
    for line in ["not cached: the files that it copies changed\n", "  c1 is new\n", "  c4 is new\n"] {
        assert!(told.contains(line), "{line}: {told}");
    }
}

#[test]
fn the_nearest_earlier_build_is_compared_with() {
    let place = Place::new();
    place.build(&[]);
    // Newer, and further away: other files, another destination.
    place.write("a", "other");
    place.build(&["--build-arg", "WHERE=/in/x"]);
    place.write("a", "a");
    place.write("b", "changed");
    let told = place.build(&[]);
    assert!(told.contains("not cached: the files that it copies changed: b changed\n"), "{told}");
}

#[test]
fn an_instruction_that_moved_is_found_again() {
    let place = Place::new();
    place.write("Dockerfile", "FROM scratch\nCOPY a /\nCOPY b /\n");
    place.build(&[]);
    place.write("Dockerfile", "FROM scratch\nCOPY last /\nCOPY a /\nCOPY b /\n");
    let told = place.build(&[]);
    let moved = "not cached: the layers below changed: [stage-0 2/4] COPY last / was run anew";
    assert_eq!(told.matches(moved).count(), 2, "{told}");
}

#[test]
fn what_the_same_build_did_was_not_there_before() {
    let place = Place::new();
    place.write("Dockerfile", "FROM scratch\nCOPY a /\nWORKDIR /w\nCOPY b /\n");
    let new = "not cached: it was not run before";
    let told = place.build(&[]);
    assert_eq!(told.matches(new).count(), 3, "{told}");
    // Nor was what it found there the step that is new.
    place.write("Dockerfile", "FROM scratch\nCOPY a /\nWORKDIR /w\nCOPY b /\nCOPY last /\n");
    let told = place.build(&[]);
    assert_eq!(told.matches(new).count(), 1, "{told}");
}

#[test]
fn a_failed_build_is_remembered_too() {
    let place = Place::new();
    place.build(&[]);
    place.write("Dockerfile", "FROM scratch\nCOPY a /\nCOPY absent /\nCOPY b /\n");
    place.build(&["-t", "app"]);
    let build = place.json(&[]);
    assert_eq!(outcomes(&build), ["config", "miss", "failed", "not-reached"]);
    assert!(build["steps"][2]["message"].as_str().unwrap().contains("absent"), "{build}");
    assert!(build["result"]["failed"]["message"].is_string(), "{build}");
    let list = place.explain(&["--list"]);
    let lines: Vec<&str> = list.lines().collect();
    assert!(lines[1].starts_with("2 ") && lines[1].contains("failed: ") && lines[2].starts_with("1 "), "{list}");
    assert_eq!(place.json(&["--list"]).as_array().unwrap().len(), 2);
}

#[test]
fn the_last_build_is_the_newest_that_can_be_read() {
    let place = Place::new();
    (0..3).for_each(|_| drop(place.build(&[])));
    let log = |number: u32| place.0.path().join(format!("store/builds/{number}"));
    std::fs::write(log(3), "damaged").expect("it is ours");
    // What came before is not even opened.
    std::fs::remove_file(log(1)).and_then(|()| std::fs::create_dir(log(1))).expect("it is ours");
    assert_eq!(place.json(&[])["build"], 2);
}

#[test]
fn a_build_that_cannot_be_remembered_is_told() {
    let place = Place::new();
    place.build(&[]);
    let log = place.0.path().join("store/builds");
    std::fs::remove_dir_all(&log).and_then(|()| std::fs::write(&log, "")).expect("it is ours");
    for dockerfile in [DOCKERFILE, "FROM scratch\nCOPY absent /\n"] {
        place.write("Dockerfile", dockerfile);
        let told = place.build(&[]);
        assert!(told.contains("WARNING: cooper explain will not know this build: "), "{told}");
    }
}

#[test]
fn two_builds_are_compared_step_by_step() {
    let place = Place::new();
    place.build(&[]);
    place.write("a", "changed");
    place.write("Dockerfile", &DOCKERFILE.replace("LABEL x=y\n", "LABEL x=z\nWORKDIR /w\n"));
    place.build(&[]);
    let compared = place.json(&["1", "2"]);
    let relations = words(&compared["steps"], "relation");
    assert_eq!(relations, ["same", "same", "differs", "same", "differs", "differs", "added", "differs"]);
    assert_eq!(compared["steps"][2]["differences"][0]["files"][0]["path"], "a");
    let text = place.explain(&["1", "2"]);
    assert!(text.contains("  a changed") && text.contains("it was LABEL x=y\n"), "{text}");
    assert!(place.explain(&["2", "2"]).lines().skip(1).all(|l| l.starts_with("same ")));
}

#[test]
fn what_is_not_there_is_said() {
    let place = Place::new();
    for (args, told) in [
        (&["explain"][..], "no build is remembered here"),
        (&["explain", "7"], "build 7 is not remembered"),
        (&["explain", "1", "2", "3"], "unexpected"),
        (&["explain", "--list", "1"], "cannot be used with"),
    ] {
        let output = place.cooper(args);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && text.contains(told), "{text}");
    }
    place.build(&[]);
    assert!(place.cooper(&["prune", "--force", "--filter", "type=build", "--filter", "until=0"]).status.success());
    assert_eq!(place.explain(&["--list"]).lines().count(), 1);
    assert!(place.build(&[]).contains("all 3 came from the cache"));
}
