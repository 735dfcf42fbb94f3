//! `cooper check`, `--check` and `--call` through the whole binary: text, JSON, exit codes, and what a build says at its
//! end. Nothing here needs a registry; one test builds.

use serde_json::{Value, json};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

struct Place(tempfile::TempDir);

#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Place {
    fn new(dockerfile: &str) -> Self {
        let place = Self(tempfile::tempdir().expect("a temporary directory can be made"));
        place.write("Dockerfile", dockerfile);
        place
    }
    fn path(&self) -> &Path {
        self.0.path()
    }
    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).expect("it is ours");
    }
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cooper"));
        // The store is beside the context, and made by builds only.
        command.env_clear().env("HOME", self.path()).env("COOPER_ROOT", self.path().join("store"));
        command.args(args).current_dir(self.path());
        command
    }
    fn run(&self, args: &[&str]) -> Ended {
        ended(self.command(args).output().expect("the binary runs"))
    }
    /// Runs it with bytes on standard input.
    fn fed(&self, args: &[&str], bytes: &[u8]) -> Ended {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        // Whoever does not want it closes it.
        let _ = child.stdin.take().expect("it was asked for").write_all(bytes);
        ended(child.wait_with_output().expect("it ends"))
    }
    fn json(&self, args: &[&str]) -> (Option<i32>, Value) {
        let ended = self.run(args);
        (ended.code, serde_json::from_str(&ended.out).unwrap_or_else(|e| panic!("{e}: {ended:?}")))
    }
}

fn ended(output: std::process::Output) -> Ended {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("output is UTF-8");
    Ended { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

const CASING: &str = "FROM scratch as base\nCOPY Dockerfile /\n";
const DETAIL: &str = "'as' and 'FROM' keywords' casing do not match";

#[test]
fn text_is_buildkits() {
    let expected = format!(
        "Check complete, 1 warning has been found!\n\nWARNING: FromAsCasing - docs/checks/FromAsCasing.md\n{DETAIL}\n\
         Dockerfile:1\n--------------------\n   1 | >>> FROM scratch as base\n   2 |     COPY Dockerfile /\n   3 |     \n\
         --------------------\n"
    );
    let place = Place::new(CASING);
    for args in
        [&["build", "--check", "."][..], &["build", "--call=check", "."], &["build", "--call", "lint", "."], &["check"]]
    {
        let ended = place.run(args);
        assert_eq!(
            (ended.code, ended.out.trim_end(), ended.err.as_str()),
            (Some(1), expected.trim_end(), ""),
            "{args:?}"
        );
    }
    assert!(!place.path().join("store").exists(), "a check makes no store");
    assert_eq!(place.run(&["build", "--call=check,ignorestatus=true", "."]).code, Some(0));
    let clean = Place::new("FROM scratch\n").run(&["check"]);
    assert_eq!((clean.code, clean.out.trim_end()), (Some(0), "Check complete, no warnings found."), "{clean:?}");
}

#[test]
fn json_is_buildkits() {
    let place = Place::new(CASING);
    for args in [&["build", "--call=check,format=json", "."][..], &["check", "--format", "json", "."]] {
        let (code, found) = place.json(args);
        let expected = json!({
            "warnings": [{
                "ruleName": "FromAsCasing",
                "description": "The 'as' keyword should match the case of the 'from' keyword",
                "url": "docs/checks/FromAsCasing.md",
                "detail": DETAIL,
                "location": {"ranges": [{"start": {"line": 1}, "end": {"line": 1}}]},
            }],
            "sources": [{
                "filename": "Dockerfile",
                "language": "Dockerfile",
                "data": "RlJPTSBzY3JhdGNoIGFzIGJhc2UKQ09QWSBEb2NrZXJmaWxlIC8K",
            }],
        });
        assert_eq!((code, found), (Some(1), expected), "{args:?}");
    }
    let (code, found) = Place::new("FROM scratch\n").json(&["build", "--call=check,format=json", "."]);
    assert_eq!((code, &found["warnings"]), (Some(0), &json!([])));
}

#[test]
fn contexts_are_unpacked() {
    let place = Place::new(CASING);
    let tar = |args: &[&str]| {
        let done = Command::new("tar").args(args).current_dir(place.path()).output().expect("tar runs");
        assert!(done.status.success(), "{done:?}");
        done.stdout
    };
    place.write("Other", "FROM scratch AS only\nARG A=1\n");
    for tar in [tar(&["-c", "Dockerfile", "Other"]), tar(&["-cz", "Dockerfile", "Other"])] {
        for args in [&["check", "-"][..], &["build", "--check", "-"], &["build", "--call=check", "-"]] {
            let ended = place.fed(args, &tar);
            assert!(ended.code == Some(1) && ended.out.contains(DETAIL), "{args:?} {ended:?}");
        }
        for (args, says) in [
            (&["build", "--call=outline", "-f", "Other", "-"][..], "A"),
            (&["build", "--call=targets", "-f", "Other", "-"], "only"),
            (&["debug", "ast", "-"], "scratch as base"),
            (&["debug", "instructions", "-f", "Other", "-"], "only"),
            (&["debug", "plan", "-f", "Other", "-"], "only"),
            (&["debug", "keys", "-f", "Other", "-"], "only"),
            (&["plan", "-f", "Other", "-"], "only"),
        ] {
            let ended = place.fed(args, &tar);
            assert!(ended.code == Some(0) && ended.out.contains(says), "{args:?} {ended:?}");
        }
        let none = place.fed(&["check", "-f", "none", "-"], &tar);
        assert!(none.code == Some(2) && none.err.contains("there is no file none in standard input"), "{none:?}");
    }
    let broken = place.fed(&["check", "-"], &tar(&["-cz", "Dockerfile"])[..40]);
    assert!(broken.code.is_some_and(|code| code >= 2) && broken.out.is_empty(), "{broken:?}");
}

#[test]
fn the_epoch_is_that_of_a_build() {
    let place = Place::new("FROM scratch\nARG SOURCE_DATE_EPOCH\nLABEL e=$SOURCE_DATE_EPOCH\n");
    let dated = |epoch: &str, args: &[&str]| {
        let mut command = place.command(args);
        ended(command.env("SOURCE_DATE_EPOCH", epoch).output().expect("the binary runs"))
    };
    for args in [&["check"][..], &["build", "--check", "."], &["build", "."], &["build", "--call=outline", "."]] {
        let wrong = dated("tomorrow", args);
        assert!(wrong.code == Some(2) && wrong.err.contains("SOURCE_DATE_EPOCH is \"tomorrow\""), "{args:?} {wrong:?}");
    }
    assert_eq!(dated("7", &["check"]).code, Some(0));
    let outline = dated("7", &["build", "--call=outline,format=json", "."]);
    assert!(outline.out.contains("\"value\": \"7\""), "{outline:?}");
}

#[test]
fn a_build_has_no_answer_to_format() {
    let ended = Place::new("FROM scratch\n").run(&["build", "--call=build,format=json", "."]);
    assert!(ended.code == Some(2) && ended.err.contains("--call=build makes a build"), "{ended:?}");
}

#[test]
fn errors_end_with_two() {
    let place = Place::new("FROM scratch AS Bad\nMAINTAINER me\nBADCMD\n");
    let ended = place.run(&["check"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.out.contains("2 warnings have been found") && ended.err.contains("3 | BADCMD"), "{ended:?}");
    let (code, found) = place.json(&["build", "--call=check,format=json", "."]);
    assert_eq!((code, found["warnings"].as_array().map(Vec::len)), (Some(2), Some(2)), "{found}");
    assert_eq!(found["buildError"]["location"]["ranges"][0]["start"]["line"], 3);
    // What only planning sees is an error too.
    let ended = Place::new("FROM scratch\nCOPY --from=9 /a /\n").run(&["check"]);
    assert!(ended.code == Some(2) && ended.out.is_empty() && ended.err.contains("--from=9"), "{ended:?}");
    let ended = Place::new("FROM scratch\n").run(&["check", "--target", "nope"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
}

#[test]
fn json_has_all_errors() {
    let text = "FROM scratch\nCPOY a /\nENV A=${x\nRUN \\\n  --mount=type=nope true\nEXPOSE 1\nBADCMD\n";
    let place = Place::new(text);
    for args in [&["build", "--call=check,format=json", "."][..], &["check", "--format", "json"]] {
        let (code, found) = place.json(args);
        let errors = found["errors"].as_array().unwrap_or_else(|| panic!("{found}"));
        let told: Vec<_> = errors.iter().map(|e| (e["line"].as_u64(), e["code"].as_str())).collect();
        assert_eq!((code, told.first()), (Some(2), Some(&(Some(2), Some("UnknownInstruction")))), "{found}");
        assert!(errors.len() >= 3 && told.iter().any(|(line, _)| *line == Some(7)), "{found}");
        assert_eq!(found["buildError"]["message"], errors[0]["message"], "{found}");
        let expected = json!({
            "file": "Dockerfile", "line": 2, "column": 1, "end_line": 2, "end_column": 5, "severity": "error",
            "code": "UnknownInstruction", "message": errors[0]["message"], "hint": errors[0]["hint"],
        });
        assert_eq!(errors[0], expected);
        assert!(errors[0]["hint"].is_string() && errors.iter().all(|e| e["column"].is_u64()), "{found}");
    }
    // What only planning sees is among them, and so are findings of a file that wants errors.
    let (code, found) =
        Place::new("FROM scratch\nCOPY --from=9 /a /\nCOPY --from=8 /a /\n").json(&["check", "--format", "json"]);
    let lines: Vec<_> = found["errors"].as_array().into_iter().flatten().map(|e| e["line"].as_u64()).collect();
    assert_eq!((code, lines), (Some(2), vec![Some(2), Some(3)]), "{found}");
    let (code, found) = Place::new(&format!("# check=error=true\n{CASING}")).json(&["check", "--format", "json"]);
    assert_eq!(
        (code, &found["errors"][0]["code"], &found["errors"][0]["line"]),
        (Some(2), &json!("FromAsCasing"), &json!(2))
    );
}

/// The lines of all errors that an answer to programs has.
fn lines(found: &Value) -> Vec<u64> {
    found["errors"].as_array().into_iter().flatten().filter_map(|e| e["line"].as_u64()).collect()
}

#[test]
fn all_errors_of_all_stages_are_told_at_once() {
    let text = "FROM scratch AS a\nEXPOSE foo\nENV X=${Y:?no}\nUSER $X${X:?no}\nFROM scratch as b\nCOPPY a b\n\
                RUN --network=bad x\nCOPY --from=c a /\nVOLUME $nope\nFROM x/Bad\nFROM scratch AS c\nADD --chmod=999 a /\n";
    let place = Place::new(text);
    for args in [&["build", "--call=check,format=json", "."][..], &["check", "--format", "json"]] {
        let (code, found) = place.json(args);
        assert_eq!((code, lines(&found)), (Some(2), vec![2, 3, 6, 7, 8, 9, 10, 12]), "{found}");
    }
    for args in [&["build", "--check", "."][..], &["check"]] {
        let ended = place.run(args);
        assert_eq!((ended.code, ended.err.matches("\nhint: ").count()), (Some(2), 8), "{ended:?}");
    }
    // A build tells those of what it needs, and those of the language.
    let built = |args: &[&str]| place.run(&[&["build", "."], args].concat()).err;
    let told = |err: &str| -> Vec<String> {
        let place = |line: &str| Some(line.trim().strip_prefix("--> Dockerfile:")?.split(':').next()?.to_owned());
        err.lines().filter_map(place).collect()
    };
    assert_eq!(told(&built(&[])), ["6", "10", "12"]);
    assert_eq!(told(&built(&["--target", "b"])), ["6", "7", "8", "9", "10"]);
    // An unknown target has no line, and stages that nobody asks for are none of its business.
    let unknown = built(&["--target", "nope"]);
    assert_eq!(told(&unknown), ["6", "10"]);
    assert!(unknown.contains("error[UnknownStage]: there is no target stage \"nope\"\nhint: "), "{unknown}");
    let (_, found) = place.json(&["check", "--format", "json", "--target", "nope"]);
    assert_eq!((&found["errors"][0]["line"], &found["errors"][0]["column"]), (&json!(0), &json!(null)), "{found}");
    assert_eq!(found["buildError"]["location"], json!({"ranges": []}));
    // Where the file wants it, findings are errors among the others.
    place.write("Dockerfile", &format!("# check=error=true\n{text}"));
    let (code, found) = place.json(&["check", "--format", "json"]);
    assert_eq!((code, lines(&found)), (Some(2), vec![3, 4, 6, 7, 8, 9, 10, 11, 13]), "{found}");
    assert_eq!(told(&built(&[])), ["6", "7", "11", "13"]);
}

#[test]
fn a_file_that_is_no_text_is_told_to_programs_too() {
    let place = Place::new("");
    std::fs::write(place.path().join("Dockerfile"), b"FROM scratch\nRUN caf\xe9\nUSER \xff\n").expect("it is ours");
    for args in [&["build", "--call=check,format=json", "."][..], &["check", "--format", "json"]] {
        let (code, found) = place.json(args);
        let told: Vec<_> = found["errors"].as_array().into_iter().flatten().map(|e| (&e["code"], &e["line"])).collect();
        assert_eq!((code, told), (Some(2), vec![(&json!("NotUtf8"), &json!(2)), (&json!("NotUtf8"), &json!(3))]));
        assert_eq!((&found["buildError"]["message"], &found["warnings"]), (&found["errors"][0]["message"], &json!([])));
        assert_eq!(
            (&found["sources"][0]["filename"], &found["errors"][0]["column"]),
            (&json!("Dockerfile"), &json!(8))
        );
    }
    // An answer of another kind there is not.
    let ended = place.run(&["build", "--call=targets,format=json", "."]);
    assert!(ended.code == Some(2) && ended.out.is_empty() && ended.err.contains("error[NotUtf8]"), "{ended:?}");
}

#[test]
fn advice_and_notices_do_not_count() {
    let place = Place::new("# syntax=someone/else\nFROM debian:12\n");
    for args in [&["check"][..], &["check", "--diff"], &["build", "--check", "."]] {
        assert_eq!(place.run(args).code, Some(0), "{args:?}");
    }
    assert!(place.run(&["check"]).out.contains("WARNING: BaseNotPinned"));
    let strict = Place::new("# check=error=true\nFROM debian:12\n").run(&["check"]);
    assert!(strict.code == Some(0) && strict.out.contains("BaseNotPinned"), "{strict:?}");
    let casing = Place::new("FROM debian:12 as a\n").run(&["check"]);
    assert!(casing.code == Some(1) && casing.out.contains("BaseNotPinned"), "{casing:?}");
}

#[test]
fn a_file_that_wants_errors() {
    let place = Place::new(&format!("# check=error=true\n{CASING}"));
    let ended = place.run(&["build", "--check", "."]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.out.contains(DETAIL), "{ended:?}");
    assert!(ended.err.contains("lint violation found for rules: FromAsCasing"), "{ended:?}");
    let (_, found) = place.json(&["build", "--call=check,format=json", "."]);
    assert_eq!(found["buildError"]["message"], "lint violation found for rules: FromAsCasing");
    // Also where only what mends them is shown.
    let diff = place.run(&["check", "--diff"]);
    assert_eq!(diff.code, Some(2), "{diff:?}");
    assert!(diff.out.contains("+FROM scratch AS base") && diff.err.contains("lint violation found"), "{diff:?}");
    // A build stops before its first step.
    let ended = place.run(&["build", "."]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("error[FromAsCasing]") && ended.err.contains(DETAIL), "{ended:?}");
    // A build argument takes the place of the directive.
    let skipped = ["--build-arg", "BUILDKIT_DOCKERFILE_CHECK=skip=all", "."];
    assert_eq!(place.run(&[&["build", "--check"][..], &skipped].concat()).code, Some(0));
    assert_eq!(place.run(&[&["build"][..], &skipped].concat()).code, Some(0));
    let wrong = place.run(&["check", "--build-arg", "BUILDKIT_DOCKERFILE_CHECK=skp=all"]);
    assert!(wrong.code == Some(2) && wrong.err.contains("\"skp=all\" is not a setting of the checks"), "{wrong:?}");
}

#[test]
fn a_build_tells_at_its_end() {
    let place = Place::new(CASING);
    let ended = place.run(&["build", "--progress", "plain", "."]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let end = format!("1 warning found (cooper check shows where):\n - FromAsCasing: {DETAIL} (line 1)\n");
    assert!(ended.err.ends_with(&end), "{}", ended.err);
    let quiet = place.run(&["build", "-q", "."]);
    assert!(quiet.code == Some(0) && quiet.err.is_empty(), "{quiet:?}");
    // Also when it fails.
    place.write("Dockerfile", "FROM scratch as base\nCOPY absent /\n");
    let failed = place.run(&["build", "."]);
    assert!(failed.code == Some(2) && failed.err.contains(" - FromAsCasing: "), "{failed:?}");
    // Stages that are not built, and rules that no other builder has, are not told.
    place.write("Dockerfile", "FROM scratch AS a\nWORKDIR x\nFROM scratch\nARG UNUSED\n");
    let other = place.run(&["build", "."]);
    assert!(other.code == Some(0) && !other.err.contains("warning"), "{other:?}");
    assert!(place.run(&["build", "--check", "."]).out.contains("WorkdirRelativePath"));
    let own = place.run(&["check"]).out;
    assert!(own.contains("WARNING: UnusedArg") && own.contains("WARNING: UnreachableStage"), "{own}");
    let asked =
        place.run(&["build", "--check", "--build-arg", "BUILDKIT_DOCKERFILE_CHECK=experimental=cooper", "."]).out;
    assert!(asked.contains("WARNING: UnusedArg"), "{asked}");
}

#[test]
fn a_base_of_the_store_for_another_platform() {
    let place = Place::new("FROM scratch\nCOPY Dockerfile /\n");
    let built = place.run(&["build", "-t", "registry.test/x/y:1", "."]);
    assert_eq!(built.code, Some(0), "{built:?}");
    let other = if cfg!(target_arch = "aarch64") { "amd64" } else { "arm64" };
    place.write("Dockerfile", &format!("FROM --platform=linux/{other} registry.test/x/y:1 AS {other}\n"));
    for args in [&["check"][..], &["build", "--check", "."]] {
        let ended = place.run(args);
        assert!(ended.code == Some(1) && ended.out.contains("WARNING: InvalidBaseImagePlatform"), "{ended:?}");
    }
}

#[test]
fn the_ignore_file_is_heard() {
    let place = Place::new("FROM scratch\nCOPY secret /\n");
    place.write(".dockerignore", "secret\n");
    let ended = place.run(&["check"]);
    assert!(ended.code == Some(1) && ended.out.contains("Attempting to Copy file \"secret\""), "{ended:?}");
}

#[test]
fn a_diff_can_be_applied() {
    let text = "FROM scratch as Base\nMAINTAINER me\nENV a b c\nrun x \\\n\n y\nEXPOSE 1:80/TCP\nCMD [\"a\"]\nWORKDIR /\nCMD [\"b\"]";
    let place = Place::new(text);
    let ended = place.run(&["check", "--diff"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let mut git =
        Command::new("git").args(["apply", "-"]).current_dir(place.path()).stdin(Stdio::piped()).spawn().unwrap();
    git.stdin.take().unwrap().write_all(ended.out.as_bytes()).unwrap();
    assert!(git.wait().unwrap().success(), "{}", ended.out);
    let mended = std::fs::read_to_string(place.path().join("Dockerfile")).unwrap();
    let expected = "FROM scratch AS base\nLABEL org.opencontainers.image.authors=\"me\"\nENV a=\"b c\"\nRUN x \\\n y\nEXPOSE 80/tcp\n\
                    WORKDIR /\nCMD [\"b\"]";
    assert_eq!(mended, expected, "{}", ended.out);
    let again = place.run(&["check", "--diff"]);
    assert!(again.code == Some(0) && again.out.is_empty(), "{again:?}");
    place.write("Dockerfile", "FROM scratch\nWORKDIR x\n");
    let left = place.run(&["check", "--diff"]);
    assert!(left.code == Some(1) && left.out.is_empty() && left.err.contains("1 more cannot be mended"), "{left:?}");
}

const OFFER: &str = "# MODE is debug or release\nARG MODE=release\n# build compiles\nFROM scratch AS build\nARG MODE\n\
                     RUN --mount=type=secret,id=token,required true\nFROM scratch\nFROM build\n";

#[test]
fn outlines_and_targets() {
    let place = Place::new(OFFER);
    let outline = place.run(&["build", "--call=outline", "--target", "build", "."]);
    let expected = "TARGET:      build\nDESCRIPTION: compiles\n\nBUILD ARG   VALUE     DESCRIPTION\nMODE        release   is debug or release\n\n\
                    SECRET   REQUIRED\ntoken    true\n";
    assert_eq!((outline.code, outline.out.as_str()), (Some(0), expected), "{outline:?}");
    let (code, found) = place.json(&["build", "--call=outline,format=json", "--build-arg", "MODE=debug", "."]);
    assert_eq!(
        (code, &found["args"][0]["value"], &found["secrets"][0]["name"]),
        (Some(0), &json!("debug"), &json!("token"))
    );
    assert!(found["sources"][0].is_string());
    let targets = place.run(&["build", "--call=targets", "."]);
    assert_eq!(
        (targets.code, targets.out.as_str()),
        (Some(0), "TARGET      DESCRIPTION\nbuild       compiles\n(default)\n")
    );
    let (_, found) = place.json(&["build", "--call=targets,format=json", "."]);
    assert_eq!(found["targets"].as_array().map(Vec::len), Some(3));
    assert_eq!((&found["targets"][0]["name"], &found["targets"][2]["default"]), (&json!("build"), &json!(true)));
    let missing = place.run(&["build", "--call=outline", "--target", "nope", "."]);
    assert!(missing.code == Some(2) && missing.out.is_empty() && missing.err.contains("nope"), "{missing:?}");
    let broken = Place::new("FRM x\n").run(&["build", "--call=targets", "."]);
    assert!(broken.code == Some(2) && broken.err.contains("FRM"), "{broken:?}");
}

#[test]
fn what_can_be_asked() {
    let place = Place::new("FROM scratch\n");
    let ended = place.run(&["build", "--call=subrequests.describe", "."]);
    assert_eq!((ended.code, ended.out.lines().count()), (Some(0), 5), "{ended:?}");
    let (_, found) = place.json(&["build", "--call=subrequests.describe,format=json", "."]);
    assert_eq!(found[2]["name"], "frontend.lint");
    for (args, says) in [
        (&["build", "--call=convertllb", "."][..], "cannot be asked"),
        (&["build", "--call=check,format=xml", "."], "not a setting"),
        (&["build", "--check", "--call=outline", "."], "cannot be used with"),
        (&["check", "--diff", "--format", "json"], "cannot be used with"),
    ] {
        let ended = place.run(args);
        assert!(ended.code == Some(2) && ended.err.contains(says), "{args:?} {ended:?}");
    }
}
