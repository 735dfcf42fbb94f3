//! A broken Dockerfile, through the whole binary. Needs a place where builds can run, since the
//! file is judged by the engine.

use std::process::Command;

/// Builds a context that holds this Dockerfile alone; gives exit code and standard error.
fn build(dockerfile: &[u8], flags: &[&str]) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    std::fs::write(dir.path().join("Dockerfile"), dockerfile).expect("it is ours");
    let mut command = Command::new(env!("CARGO_BIN_EXE_cooper"));
    command.env_clear().env("HOME", dir.path()).env("COOPER_ROOT", dir.path().join("store"));
    let output = command.arg("build").args(flags).arg(dir.path()).output().expect("the binary runs");
    assert!(output.stdout.is_empty(), "{output:?}");
    (output.status.code(), String::from_utf8(output.stderr).expect("output is UTF-8"))
}

#[test]
fn every_error_is_shown_with_its_line() {
    let (code, err) = build(b"FROM scratch\nRUNN make\nENV A=b\nCOPPY a b\n", &[]);
    assert_eq!(code, Some(2), "{err}");
    for expected in ["2 | RUNN make", "4 | COPPY a b", "Dockerfile:2:1", "Dockerfile:4:1", "  | ^^^^\n", "  | ^^^^^\n"]
    {
        assert!(err.contains(expected), "{expected} is missing in\n{err}");
    }
    assert_eq!(err.matches("error").count(), 2, "{err}");
}

#[test]
fn an_excerpt_steers_no_terminal() {
    let (code, err) = build("FROM scratch\nBAD \u{1b}]0;x\u{7} \u{9b}2J \u{202e}\r\n".as_bytes(), &[]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("\\x1b]0;x\\x07"), "{err}");
    assert!(!err.contains(|c: char| c != '\n' && c.is_control() || c == '\u{202e}'), "{err:?}");
}

#[test]
fn a_file_that_is_no_text() {
    let (code, err) = build(b"FROM scratch\nRUN \xff\n", &[]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("error[NotUtf8]") && err.contains("Dockerfile:2:5") && err.contains("RUN \\xff"), "{err}");
    assert!(err.contains("the byte 0xff is not UTF-8"), "{err}");
    let (code, err) = build(b"# caf\xe9\nFROM scratch\nCOPY Dockerfile /\n", &[]);
    assert_eq!(code, Some(0), "{err}");
}

#[test]
fn a_pipe_is_a_dockerfile_when_somebody_writes_to_it() {
    let place = tempfile::tempdir().expect("a temporary directory can be made");
    let run = |script: &str| {
        let mut command = Command::new("bash");
        command.args(["-c", script, env!("CARGO_BIN_EXE_cooper")]).current_dir(place.path());
        let done = command.env("COOPER_ROOT", place.path().join("store")).output().expect("bash runs");
        (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    for script in [
        "\"$0\" check -f <(echo FROM scratch) .",
        "\"$0\" check -f <(sleep 1.5; echo FROM scratch) .",
        "mkfifo p && { echo FROM scratch > p & } && \"$0\" check -f p .",
        "echo FROM scratch | \"$0\" check -f /dev/stdin .",
    ] {
        let (code, err) = run(script);
        assert_eq!(code, Some(0), "{script}: {err}");
    }
    let (code, err) = run("\"$0\" check -f p .");
    assert!(code == Some(2) && err.contains("p is a pipe that nobody writes to"), "{err}");
}

#[test]
fn a_target_that_is_not_there() {
    let (code, err) = build(b"FROM scratch AS a\n", &["--target", "b"]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains('b') && err.starts_with("error"), "{err}");
}
