//! The binary as people run it: exit codes, what goes to which stream, reports. Each test has a
//! home, an environment and a store of its own; nothing here needs a registry or a sandbox.

use std::path::Path;
use std::process::{Command, Output};

struct Place(tempfile::TempDir);

impl Place {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().expect("it is below the directory")).expect("it is ours");
            std::fs::write(path, text).expect("it is ours");
        }
        Self(dir)
    }
    fn path(&self) -> &Path {
        self.0.path()
    }
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cooper"));
        command.env_clear().env("HOME", self.path().join("home")).current_dir(self.path());
        command.args(args).arg("--root").arg(self.path().join("store"));
        command
    }
    fn run(&self, args: &[&str]) -> Ended {
        Ended::of(&self.command(args).output().expect("the binary runs"))
    }
}

#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ended {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("output is UTF-8");
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

#[test]
fn help_and_version_are_data() {
    let place = Place::new(&[]);
    for (args, says) in [
        (&["--version"][..], "cooper 0.1.0"),
        (&["--help"], "Exit codes:"),
        (&["build", "--help"], "--build-arg"),
        (&["registry", "serve", "--help"], "--listen"),
    ] {
        let ended = place.run(args);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.out.contains(says) && ended.err.is_empty(), "{ended:?}");
    }
}

#[test]
fn wrong_use_ends_with_two() {
    let place = Place::new(&[("ctx/Dockerfile", "FROM scratch\n"), ("empty/x", ""), ("big/.keep", "")]);
    for (args, says) in [
        (&["build", "--squash", "ctx"][..], "--squash"),
        (&["build"], "PATH"),
        (&["frobnicate"], "frobnicate"),
        (&["ls-tags", "registry.example/app:1"], "leave the tag"),
        (&["inspect", "--raw", "--config", "app"], "cannot be used with"),
        (&["inspect", "--raw", "--platform", "linux/arm64", "app"], "cannot be used with"),
        (&["login", "registry.example"], "--password-stdin"),
        (&["login", "--password-stdin", "registry.example"], "--username"),
        (&["login", "-u", "me", "--password", "secret", "registry.example"], "--password-stdin"),
        (&["login", "https://registry.example"], "without https://"),
        (&["login", "--get-login", "registry.example"], "nobody is logged in"),
        (&["build", "-t", "Not A Name", "ctx"], "not an image name"),
        (&["build", "-o", "type=zip", "ctx"], "there is no type"),
        (&["plan", "--platform", "linux/amd64,linux/arm64", "ctx"], "one platform"),
        (&["build", "--sbom", "ctx"], "asks for an attestation"),
        (&["build", "--platform", "//", "ctx"], "not a platform"),
        (&["build", "--jobs", "0", "ctx"], "--jobs"),
        (&["build", "--push", "ctx"], "a push needs a name"),
        (&["build", "--progress", "tty", "ctx"], "needs a terminal"),
        (&["build", "-q", "-o", "-", "ctx"], "one thing"),
        (&["build", "--explain", "--progress", "quiet", "ctx"], "contradict each other"),
        (&["build", "--explain", "--progress", "plain", "-q", "ctx"], "--quiet"),
        (&["build", "empty"], "there is no Dockerfile in empty"),
        (&["build", "absent"], "opening the build context absent"),
        (&["build", "-f", "absent", "ctx"], "there is no file absent"),
        (&["build", "-o", "type=local,dest=ctx/Dockerfile", "ctx"], "the output ctx/Dockerfile is no directory"),
        (&["build", "-o", "ctx/Dockerfile", "ctx"], "the output ctx/Dockerfile is no directory"),
        (&["build", "-"], "standard input is empty"),
        (&["pull", "a:b:c"], "not an image name"),
        (&["inspect", "nothing:here"], "nothing"),
    ] {
        let ended = place.run(args);
        assert_eq!(ended.code, Some(2), "{args:?} {ended:?}");
        assert!(ended.err.contains(says) && ended.out.is_empty(), "{args:?} {ended:?}");
    }
}

#[test]
fn variables_are_checked_too() {
    let place = Place::new(&[("ctx/Dockerfile", "FROM scratch\n")]);
    let output = place.command(&["build", "ctx"]).env("SOURCE_DATE_EPOCH", "yesterday").output().unwrap();
    let ended = Ended::of(&output);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("SOURCE_DATE_EPOCH") && ended.err.contains("hint: "), "{ended:?}");
}

#[test]
fn there_must_be_a_place_for_the_store() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_cooper")).env_clear().args(["images", "--root", ""]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn doctor_gives_json() {
    let ended = Place::new(&[]).run(&["doctor", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    let can_build = value["can_build"].as_bool().unwrap();
    assert_eq!(ended.code, Some(if can_build { 0 } else { 6 }), "{ended:?}");
    assert_eq!(value["tier"].is_string(), can_build);
    assert!(!value["findings"].as_array().unwrap().is_empty());
}

#[test]
fn an_empty_store_has_no_images() {
    let place = Place::new(&[]);
    let ended = place.run(&["images", "--json"]);
    assert_eq!((ended.code, ended.out.trim()), (Some(0), "[]"), "{ended:?}");
    let ended = place.run(&["images"]);
    assert_eq!((ended.code, ended.out.lines().count()), (Some(0), 1), "{ended:?}");
}

#[test]
fn a_push_of_nothing_says_what_to_do() {
    let ended = Place::new(&[]).run(&["push", "localhost:1/nothing"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("nothing") && ended.err.contains("hint: "), "{ended:?}");
}

#[test]
fn every_name_that_cannot_be_taken_away_is_told() {
    let place = Place::new(&[]);
    let ended = place.run(&["rm", "one", "two:1", "three"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{ended:?}");
    for name in ["one", "two:1", "three"] {
        assert!(ended.err.contains(name), "{name}: {ended:?}");
    }
    assert_eq!(ended.err.matches("error: ").count(), 3, "{ended:?}");
}

#[test]
fn nobody_reads_the_output() {
    let place = Place::new(&[]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = place.command(&["images"]).stdout(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_registry_says_what_is_wrong_with_its_files() {
    let place = Place::new(&[
        ("users", "me:secret\n"),
        ("good", "me:$2b$04$abcdefghijklmnopqrstuu...............................\n"),
        ("rules", "me read a\nyou read b\n"),
        ("pem", "nothing\n"),
    ]);
    for (flags, says) in [
        (&["--users", "absent"][..], "reading absent"),
        (&["--users", "users"], "line 1: only hashes of bcrypt"),
        (&["--users", "good", "--rules", "rules"], "line 2: there is no user \"you\""),
        (&["--rules", "rules"], "--users"),
        (&["--tls-cert", "pem"], "--tls-key"),
        (&["--tls-cert", "pem", "--tls-key", "pem"], "there is no certificate"),
        (&["--idle-timeout", "0"], "at least 1s"),
        (&["--max-connections", "0"], "--max-connections"),
        (&["--access-log", "."], "opening ."),
    ] {
        let args = [&["registry", "serve", "--listen", "127.0.0.1:0"], flags].concat();
        let ended = place.run(&args);
        assert_eq!(ended.code, Some(2), "{flags:?} {ended:?}");
        assert!(ended.err.contains(says) && !ended.err.contains("secret"), "{flags:?} {ended:?}");
    }
}

#[test]
fn a_registry_ends_when_it_is_told() {
    use std::io::{BufRead as _, BufReader};
    let place = Place::new(&[]);
    let mut server = place.command(&["registry", "serve", "--listen", "127.0.0.1:0", "--access-log", "log"]);
    let mut server = server.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("http://127.0.0.1:") && !line.contains(":0\n"), "{line}");
    let pid = rustix::process::Pid::from_child(&server);
    let host = line.trim().rsplit_once('/').unwrap().1;
    let mut client = std::net::TcpStream::connect(host).unwrap();
    std::io::Write::write_all(&mut client, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let answer = std::io::read_to_string(client).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"), "{answer}");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(server.wait().unwrap().code(), Some(0));
    let log = std::fs::read_to_string(place.path().join("log")).unwrap();
    assert!(log.contains(r#""path":"/healthz","status":200"#) && log.lines().count() == 1, "{log}");
}

#[test]
fn plans_are_shown_and_nothing_is_done() {
    let text = "# c\nARG V=1\nFROM scratch AS a\nARG V\nWORKDIR /$V\nFROM a\nCOPY x /\nLABEL v=$V\n";
    let place = Place::new(&[("ctx/Dockerfile", text), ("other", "FROM scratch\nLABEL other=1\n")]);
    for (args, says) in [
        (&["plan", "ctx"][..], "workdir \"/1\" user \"\""),
        (&["debug", "plan", "--build-arg", "V=2", "ctx"], "workdir \"/2\" user \"\""),
        (&["debug", "plan", "-f", "other", "ctx"], "edit {\"Label\":{\"name\":\"other\",\"value\":\"1\"}}"),
        (&["plan", "--target", "a", "ctx"], "target 0\n"),
        (&["plan", "--target", "", "ctx"], "target 1\n"),
        (&["plan", "--dot", "ctx"], "\"build context\" -> s1_1 [style=dashed];"),
        (&["debug", "plan", "--dot", "ctx"], "digraph plan {"),
        (&["debug", "keys", "--platform", "linux/arm64", "ctx"], "    platform \"linux/arm64\"\n"),
        (&["debug", "keys", "ctx"], "    parent <result of step 1>\n"),
        (&["debug", "keys", "--build-arg", "SOURCE_DATE_EPOCH=7", "ctx"], "    clamp \"7\"\n"),
        (&["debug", "ast", "ctx"], "3-3 FROM \"scratch AS a\"\n"),
        (&["debug", "instructions", "ctx"], "/$V"),
    ] {
        let ended = place.run(args);
        assert_eq!(ended.code, Some(0), "{args:?} {ended:?}");
        assert!(ended.out.contains(says) && ended.err.is_empty(), "{args:?} {ended:?}");
    }
    // What is wrong is told as a build tells it; the tree is shown as far as it goes.
    std::fs::write(place.path().join("other"), "FROM scratch\nRUNN x\n").unwrap();
    let ended = place.run(&["debug", "ast", "-f", "other", "ctx"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.out.contains("2-2 RUNN \"x\"") && ended.err.contains("2 | RUNN x"), "{ended:?}");
    std::fs::write(place.path().join("other"), "FROM scratch\nSTOPSIGNAL x\nEXPOSE y\n").unwrap();
    let ended = place.run(&["plan", "-f", "other", "ctx"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.out.is_empty() && ended.err.contains("2 | STOPSIGNAL x") && ended.err.contains("3 | EXPOSE y"));
}

/// Of `own` with the password `pw`.
const AUTH: &str = r#"{"auths":{"a.example":{"auth":"b3duOnB3"}}}"#;

#[test]
fn logins_are_read_where_podman_reads_them() {
    let place = Place::new(&[("home/.config/containers/auth.json", AUTH), ("run/containers/auth.json", AUTH)]);
    let named = place.run(&["login", "--get-login", "a.example"]);
    assert_eq!((named.code, named.out.as_str()), (Some(0), "own\n"), "{named:?}");
    let elsewhere =
        place.command(&["login", "--get-login", "a.example"]).env("XDG_CONFIG_HOME", "/nonexistent").output();
    assert_eq!(elsewhere.expect("the binary runs").status.code(), Some(2));
    // What others wrote is left to them.
    let mut logout = place.command(&["logout", "a.example"]);
    let told = Ended::of(&logout.env("XDG_RUNTIME_DIR", place.path().join("run")).output().expect("the binary runs"));
    for file in ["home/.config/containers/auth.json", "run/containers/auth.json"] {
        let file = place.path().join(file);
        assert_eq!(std::fs::read_to_string(&file).expect("it is there"), AUTH);
        assert!(told.err.contains(&format!("podman logout --authfile {} a.example", file.display())), "{told:?}");
    }
}

#[test]
fn a_login_that_cannot_be_read_concerns_its_registry_alone() {
    let file = r#"{"auths":{"bad.example":{"auth":"c2VjcmV0"},"a.example":{"auth":"b3duOnB3"}}}"#;
    let place = Place::new(&[("home/.docker/config.json", file)]);
    let named = place.run(&["login", "--get-login", "a.example"]);
    assert_eq!((named.code, named.out.as_str()), (Some(0), "own\n"), "{named:?}");
    let refused = place.run(&["login", "--get-login", "bad.example"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    let words = ["home/.docker/config.json: the login for bad.example cannot be used", "cooper login bad.example"];
    assert!(words.iter().all(|w| refused.err.contains(w)) && !refused.err.contains("secret"), "{refused:?}");
    let out = place.run(&["logout", "bad.example"]);
    assert_eq!(out.code, Some(0), "{out:?}");
    let left = std::fs::read_to_string(place.path().join("home/.docker/config.json")).expect("it is there");
    assert!(left.contains("a.example") && !left.contains("bad.example"), "{left}");
}

#[test]
fn what_is_wrong_with_settings_is_told_with_its_place() {
    for (file, text, says, hint) in [
        (
            "home/.config/containers/registries.conf",
            "\nunqualified = [",
            "registries.conf: line 2, column ",
            "containers-registries.conf(5)",
        ),
        ("home/.docker/config.json", "{\n\"auths\"}", "config.json: malformed JSON at line 2 column ", "log in again"),
    ] {
        let ended = Place::new(&[(file, text)]).run(&["digest", "a.invalid/x"]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.contains(says) && ended.err.contains(hint) && !ended.err.contains("\\u"), "{ended:?}");
    }
}
