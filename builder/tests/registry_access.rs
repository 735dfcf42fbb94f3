//! Users and rules of `cooper registry serve`, changed while it serves.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// bcrypt of `secret`, at its least cost.
const SECRET: &str = "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW";

struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn status(host: &str) -> String {
    let url = format!("http://{host}/v2/team/app/tags/list");
    let args = ["-sS", "-o", "/dev/null", "-w", "%{http_code}", "-u", "me:secret", &url];
    let out = Command::new("curl").args(args).output().expect("curl is installed");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn becomes(host: &str, expected: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while status(host) != expected {
        assert!(Instant::now() < deadline, "it never became {expected}: {}", status(host));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What the server says while it serves.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<String>>>);

impl Said {
    fn listen(errors: ChildStderr) -> Self {
        let said = Self::default();
        let lines = said.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                lines.all().push(line);
            }
        });
        said
    }

    fn all(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().expect("nobody panics with it")
    }

    fn times(&self, part: &str) -> usize {
        self.all().iter().filter(|line| line.contains(part)).count()
    }

    /// Waits until it was said once more than `before` times.
    fn again(&self, part: &str, before: usize) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.times(part) <= before {
            assert!(Instant::now() < deadline, "{part} in {:?}", self.all());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("it can be written");
}

#[test]
fn users_and_rules_are_read_again_and_a_wrong_file_changes_nothing() {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let (users, rules) = (dir.path().join("users"), dir.path().join("rules"));
    write(&users, &format!("me:{SECRET}\n"));
    write(&rules, "me read other/**\n");
    let mut command = Command::new(env!("CARGO_BIN_EXE_cooper"));
    command.env_clear().env("HOME", dir.path().join("home")).current_dir(dir.path());
    command.args(["registry", "serve", "--listen", "127.0.0.1:0", "--root", "store"]);
    command.args(["--users", "users", "--rules", "rules"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut served = Served(command.spawn().expect("the binary runs"));
    let mut host = String::new();
    BufReader::new(served.0.stdout.take().expect("it is piped")).read_line(&mut host).expect("it says its address");
    let host = host.trim();
    let said = Said::listen(served.0.stderr.take().expect("it is piped"));
    assert_eq!(status(host), "403");
    let (read, refused) = ("users and rules were read again", "users and rules stay what they were");
    let hangup = |expected: &str| {
        let before = said.times(expected);
        let sent = Command::new("kill").args(["-HUP", &served.0.id().to_string()]).status().expect("kill is installed");
        assert!(sent.success());
        said.again(expected, before);
    };
    // Nothing has changed, so that it is for the signal alone.
    assert_eq!(said.times(read), 0);
    hangup(read);
    assert_eq!(status(host), "403");
    // By itself, once the file rests.
    write(&rules, "me read team/**\n");
    becomes(host, "404");
    // A wrong one: what was right stays in force, by itself and when it is asked for.
    write(&rules, "me frobnicate team/**\n");
    said.again(refused, 0);
    hangup(refused);
    assert_eq!(status(host), "404");
    assert!(said.times("reading rules: line 1: ") > 0, "{:?}", said.all());
    // Nobody gets in of whom the users' file says nothing; the rules name somebody who is no user.
    write(&rules, "me read team/**\n");
    write(&users, &format!("you:{SECRET}\n"));
    hangup(refused);
    assert_eq!(status(host), "404");
    write(&rules, "you read team/**\n");
    becomes(host, "401");
}
