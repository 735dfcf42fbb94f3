//! A registry with a certificate and users, and programs that ask it.
#![allow(clippy::unwrap_used, dead_code)]

use super::Server;
use cooper_registry_server::{Access, Rules, ServerOptions, Tls, Users};
use cooper_store::Store;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

pub fn run(program: &str, args: &[&str], dir: &Path) -> Output {
    // Neither the credentials nor the storage of whoever runs the tests.
    let home = dir.join("home");
    let auth = dir.join("auth.json");
    let mut command = Command::new(program);
    command
        .args(args)
        .env("HOME", &home)
        .env("REGISTRY_AUTH_FILE", auth)
        .env("XDG_RUNTIME_DIR", &home)
        .current_dir(dir);
    command.output().unwrap_or_else(|e| panic!("{program} is installed: {e}"))
}

pub fn done(program: &str, args: &[&str], dir: &Path) -> String {
    let out = run(program, args, dir);
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// A registry with a certificate of its own making, which lies in `certs`, and two users.
pub fn secured(dir: &Path) -> Server {
    let name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
    // Not an authority for others: some clients refuse to speak to one.
    let own = ["-addext", "basicConstraints=critical,CA:FALSE"];
    std::fs::create_dir_all(dir.join("certs")).unwrap();
    let policy = r#"{"default": [{"type": "insecureAcceptAnything"}]}"#;
    std::fs::write(dir.join("policy.json"), policy).unwrap();
    let files = ["-keyout", "key.pem", "-out", "certs/ca.crt"];
    done(
        "openssl",
        &[&["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"], &name[..], &own[..], &files[..]].concat(),
        dir,
    );
    let read = |name: &str| std::fs::read(dir.join(name)).unwrap();
    let hash = |password: &str| bcrypt::hash(password, 4).unwrap();
    let users = Users::parse(&format!("writer:{}\nreader:{}\n", hash("in:secret"), hash("look"))).unwrap();
    let rules = Rules::parse("writer all **\nreader read team/**\nanonymous read open/*\n", &users).unwrap();
    let mut options = ServerOptions::new(Store::open(&dir.join("store")).unwrap());
    options.tls = Some(Tls::from_pem(&read("certs/ca.crt"), &read("key.pem")).unwrap());
    options.access = Some(Access { users, rules }.into());
    options.limits.head = Duration::from_secs(8);
    Server::with(options)
}
