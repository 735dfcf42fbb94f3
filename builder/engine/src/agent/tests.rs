//! Sockets of agents, and keys of files.

use super::*;

fn me() -> Ownership {
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    Ownership { uid: Some(uid), gid: Some(gid), mode: None }
}

#[test]
fn connections_are_bounded_and_free_again() {
    let dir = tempfile::tempdir().unwrap();
    let real = dir.path().join("real");
    let _behind = UnixListener::bind(&real).unwrap();
    let own = dir.path().join("own");
    std::fs::create_dir(&own).unwrap();
    let agent = Agent::start(&AgentSource::Socket(real), &own, (me(), Owners::Kernel)).unwrap();
    // What is not permitted is answered without the real agent.
    let ask = |step: &mut UnixStream| {
        step.write_all(&[0, 0, 0, 1, 19]).and_then(|()| message(step)).is_ok_and(|answer| answer.is_some())
    };
    let connect = || UnixStream::connect(agent.path()).unwrap();
    let mut held: Vec<UnixStream> = std::iter::repeat_with(connect).take(CONNECTIONS).collect();
    assert!(held.iter_mut().all(ask));
    assert!(!ask(&mut connect()));
    held.clear();
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while !ask(&mut connect()) {
        assert!(std::time::Instant::now() < end, "no connection was given back");
        std::thread::sleep(TICK);
    }
}

#[test]
fn keys_are_listed_and_not_removed() {
    let dir = tempfile::tempdir().unwrap();
    let real = dir.path().join("real");
    let behind = UnixListener::bind(&real).unwrap();
    let asked = std::thread::spawn(move || {
        // The first connection only looks whether somebody is there.
        drop(behind.accept().unwrap());
        let (mut client, _) = behind.accept().unwrap();
        let mut kinds = Vec::new();
        while let Some(request) = message(&mut client).unwrap() {
            kinds.push(request[0]);
            client.write_all(&[0, 0, 0, 5, 12, 0, 0, 0, 0]).unwrap();
        }
        kinds
    });
    let own = dir.path().join("own");
    std::fs::create_dir(&own).unwrap();
    let agent = Agent::start(&AgentSource::Socket(real), &own, (me(), Owners::Kernel)).unwrap();
    let mut step = UnixStream::connect(agent.path()).unwrap();
    for (kind, answer) in [(11, 12), (19, 5), (13, 12), (17, 5)] {
        step.write_all(&[0, 0, 0, 1, kind]).unwrap();
        assert_eq!(message(&mut step).unwrap().unwrap()[0], answer, "{kind}");
    }
    drop(step);
    assert_eq!(asked.join().unwrap(), [11, 13]);
    assert_eq!(std::fs::metadata(agent.path()).unwrap().permissions().mode() & 0o777, 0o600);
}

fn program(dir: &Path, name: &str, args: &[&str]) -> std::process::Output {
    let mut command = std::process::Command::new(name);
    let ran = command.args(args).current_dir(dir).stdin(std::process::Stdio::null()).output();
    ran.unwrap_or_else(|e| panic!("{name} is installed: {e}"))
}

fn run(dir: &Path, name: &str, args: &[&str]) -> String {
    let ran = program(dir, name, args);
    assert!(ran.status.success(), "{name} {args:?}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

/// Every type of key in every form that ssh-keygen and openssl write.
fn keys_of(dir: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for form in ["RFC4716", "PEM", "PKCS8"] {
        for (kind, bits) in [("ed25519", "256"), ("rsa", "2048"), ("ecdsa", "256"), ("ecdsa", "384"), ("ecdsa", "521")]
        {
            let name = format!("{kind}-{bits}-{form}");
            run(
                dir,
                "ssh-keygen",
                &["-q", "-t", kind, "-b", bits, "-m", form, "-N", "", "-C", "secret-word", "-f", &name],
            );
            names.push(name);
        }
    }
    run(dir, "openssl", &["genpkey", "-algorithm", "ed25519", "-out", "openssl"]);
    std::fs::set_permissions(dir.join("openssl"), std::fs::Permissions::from_mode(0o600)).unwrap();
    let parameters = ["ecparam", "-name", "prime256v1", "-genkey", "-out", "parameters"];
    run(dir, "openssl", &parameters);
    names
}

#[test]
fn keys_of_files_sign_what_ssh_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut keys = Keys::default();
    let names = keys_of(dir);
    for name in &names {
        keys.add(&std::fs::read(dir.join(name)).unwrap()).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    keys.add(&std::fs::read(dir.join("openssl")).unwrap()).unwrap();
    // Another block before the key, and words that are no UTF-8.
    let parameters = [&b"a key of the caf\xe9\n"[..], &std::fs::read(dir.join("parameters")).unwrap()].concat();
    Keys::default().add(&parameters).unwrap();
    let own = dir.join("own");
    std::fs::create_dir(&own).unwrap();
    let agent = Agent::start_own(&AgentSource::Keys(Arc::new(keys)), &own).unwrap();
    let socket = format!("SSH_AUTH_SOCK={}", agent.path().display());

    let listed = run(dir, "env", &[&socket, "ssh-add", "-L"]);
    assert_eq!(listed.lines().count(), names.len() + 1);
    assert!(!listed.contains("secret-word"), "{listed}");
    std::fs::write(dir.join("openssl.pub"), listed.lines().last().unwrap()).unwrap();
    std::fs::write(dir.join("text"), "to be signed").unwrap();
    for name in names.iter().map(String::as_str).chain(["openssl"]) {
        let public = format!("{name}.pub");
        let key = std::fs::read_to_string(dir.join(&public)).unwrap();
        let bare: Vec<&str> = key.split_whitespace().take(2).collect();
        assert!(listed.contains(&bare.join(" ")), "{name}");
        // Only the public half is there: the agent has to sign.
        std::fs::rename(dir.join(name), dir.join("away")).unwrap();
        run(dir, "env", &[&socket, "ssh-keygen", "-q", "-Y", "sign", "-n", "test", "-f", &public, "text"]);
        std::fs::rename(dir.join("away"), dir.join(name)).unwrap();
        std::fs::write(dir.join("allowed"), format!("somebody {}", bare.join(" "))).unwrap();
        let verify = "ssh-keygen -Y verify -n test -f allowed -I somebody -s text.sig < text";
        run(dir, "sh", &["-c", verify]);
        std::fs::remove_file(dir.join("text.sig")).unwrap();
    }
    assert!(!program(dir, "env", &[&socket, "ssh-add", "-D"]).status.success());
    assert_eq!(run(dir, "env", &[&socket, "ssh-add", "-L"]), listed);
}

#[test]
fn what_is_no_usable_key_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let made = |name: &str, args: &[&str]| {
        run(dir, "ssh-keygen", &[&["-q", "-C", "", "-f", name][..], args].concat());
        std::fs::read(dir.join(name)).unwrap()
    };
    let whole = made("whole", &["-t", "ed25519", "-N", ""]);
    let damaged = String::from_utf8(whole.clone()).unwrap().replace("AAAA", "AAAB").into_bytes();
    let public = std::fs::read(dir.join("whole.pub")).unwrap();
    let others = KeyError::Kind("other than Ed25519, RSA, and ECDSA on P-256, P-384 and P-521".into());
    let openssl = |args: &[&str]| run(dir, "openssl", args).into_bytes();
    for (file, error) in [
        (made("a", &["-t", "ed25519", "-N", "passphrase"]), KeyError::Encrypted),
        (made("b", &["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "passphrase"]), KeyError::Encrypted),
        (made("c", &["-t", "rsa", "-b", "2048", "-m", "PKCS8", "-N", "passphrase"]), KeyError::Encrypted),
        (made("d", &["-t", "rsa", "-b", "1024", "-N", ""]), KeyError::Damaged),
        (made("e", &["-t", "dsa", "-N", ""]), KeyError::Kind("ssh-dss".into())),
        (openssl(&["genpkey", "-algorithm", "ed448"]), others.clone()),
        (openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"]), others),
        (openssl(&["pkey", "-in", "b", "-passin", "pass:passphrase", "-pubout"]), KeyError::Public),
        (damaged, KeyError::Damaged),
        (public, KeyError::Public),
        (b"a password".to_vec(), KeyError::NoKey),
        (vec![0xff; 9], KeyError::NoKey),
        (Vec::new(), KeyError::NoKey),
    ] {
        let shown = String::from_utf8_lossy(&file).into_owned();
        assert_eq!(Keys::default().add(&file), Err(error), "{shown}");
    }
    // A key that is cut anywhere is an error, never a panic.
    let text = String::from_utf8(whole).unwrap();
    let body: String = text.lines().filter(|line| !line.starts_with("--")).collect();
    for end in (0..body.len()).step_by(4) {
        let cut = format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----\n", &body[..end]);
        // What is behind the key itself, a comment and padding, is not looked at.
        if end * 3 / 4 < 200 {
            assert_eq!(Keys::default().add(cut.as_bytes()), Err(KeyError::Damaged), "{end}");
        }
    }
}

#[test]
fn requests_are_answered_or_fail() {
    let dir = tempfile::tempdir().unwrap();
    let mut keys = Keys::default();
    for (name, kind) in [("e", "ed25519"), ("r", "rsa")] {
        run(dir.path(), "ssh-keygen", &["-q", "-t", kind, "-b", "2048", "-N", "", "-f", name]);
        keys.add(&std::fs::read(dir.path().join(name)).unwrap()).unwrap();
    }
    let listed = keys.answer(&[LIST]);
    // Add, remove one, remove all, lock, unlock.
    for change in [17, 18, 19, 22, 23] {
        assert_eq!(keys.answer(&[change, 0, 0, 0, 0]), [FAILURE], "{change}");
    }
    assert_eq!(keys.answer(&[LIST]), listed);
    let mut fields = wire::Fields(listed.get(5..).unwrap());
    let publics: Vec<&[u8]> = std::iter::from_fn(|| fields.string().zip(fields.string()).map(|(key, _)| key)).collect();
    let request = |key: &[u8], flags: &[u8]| {
        let mut request = vec![SIGN];
        wire::put_string(&mut request, key);
        wire::put_string(&mut request, b"data");
        [request, flags.to_vec()].concat()
    };
    let algorithm = |answer: &[u8]| {
        let mut signature = wire::Fields(answer.get(5..)?);
        Some(String::from_utf8(signature.string()?.to_vec()).unwrap())
    };
    for (key, flags, said) in [
        (publics[0], [0, 0, 0, 0], Some("ssh-ed25519")),
        (publics[1], [0, 0, 0, 2], Some("rsa-sha2-256")),
        (publics[1], [0, 0, 0, 4], Some("rsa-sha2-512")),
        // SHA-1.
        (publics[1], [0, 0, 0, 0], None),
        (b"unknown", [0, 0, 0, 0], None),
    ] {
        let whole = request(key, &flags);
        let answer = keys.answer(&whole);
        assert_eq!(algorithm(&answer).as_deref(), said, "{flags:?}");
        for end in 0..whole.len() {
            assert_eq!(keys.answer(&whole[..end]), [FAILURE], "{end}");
        }
    }
}
