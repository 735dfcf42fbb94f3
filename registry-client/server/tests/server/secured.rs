//! Clients of others over TLS and with passwords: skopeo, buildah, curl.
use crate::support::layout;
use crate::support::secured::{done, run, secured};
use std::io::Read as _;
use std::net::TcpStream;
use std::time::Duration;

#[test]
fn skopeo_and_curl_with_users_over_tls() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let server = secured(here);
    let source = format!("oci:{}:v1", layout(here).display());
    let at = |name: &str| format!("docker://{}/{name}", server.address);
    let policy = "--insecure-policy";
    let push = [policy, "copy", "-q", "--all", "--preserve-digests", "--dest-cert-dir=certs", "--dest-creds"];
    let to = at("team/app:v1");
    done("skopeo", &[&push[..], &["writer:in:secret", &source, &to]].concat(), here);
    done("skopeo", &[&push[..], &["writer:in:secret", &source, &at("open/app:v1")]].concat(), here);
    let refused = at("team/refused:v1");
    for (creds, says) in [
        ("reader:look", &["reader may not create in this repository"][..]),
        ("writer:wrong", &["there is no such user with this password", "unauthorized"]),
        ("nobody:x", &["there is no such user with this password", "unauthorized"]),
    ] {
        let out = run("skopeo", &[&push[..], &[creds, &source, &refused]].concat(), here);
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(!out.status.success() && says.iter().any(|says| said.contains(says)), "{creds}: {said}");
    }
    let pull = [policy, "copy", "-q", "--all", "--preserve-digests", "--src-cert-dir=certs"];
    let back = format!("oci:{}:v1", here.join("back").display());
    done("skopeo", &[&pull[..], &["--src-creds", "reader:look", &to, &back]].concat(), here);
    let again = format!("oci:{}:v1", here.join("again").display());
    done("skopeo", &[&pull[..], &["--src-no-creds", &at("open/app:v1"), &again]].concat(), here);
    let blobs = |layout: &str| std::fs::read_dir(here.join(layout).join("blobs/sha256")).unwrap().count();
    assert_eq!((blobs("back"), blobs("again")), (blobs("layout"), blobs("layout")));
    assert!(!run("skopeo", &[&pull[..], &["--src-no-creds", &to, &back]].concat(), here).status.success());
    // Not without the authority.
    assert!(!run("skopeo", &[policy, "inspect", "--raw", "--creds", "reader:look", &to], here).status.success());
    let login = ["login", "--cert-dir=certs", "--username", "reader", "--password"];
    let host = server.address.to_string();
    done("skopeo", &[&login[..], &["look", &host]].concat(), here);
    assert!(!run("skopeo", &[&login[..], &["wrong", &host]].concat(), here).status.success());
    let url = format!("https://localhost:{}/v2/_catalog", server.address.port());
    let listed = done("curl", &["-sS", "--fail", "--cacert", "certs/ca.crt", "-u", "writer:in:secret", &url], here);
    assert_eq!(listed, r#"{"repositories":["open/app","team/app"]}"#);
    // Not in the open.
    let plain = format!("http://{host}/v2/");
    assert!(!run("curl", &["-sS", "--fail", &plain], here).status.success());
}

#[test]
fn buildah_pushes_and_pulls_and_umoci_unpacks() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    let server = secured(here);
    layout(here);
    std::fs::write(here.join("auth.json"), "{}").unwrap();
    let (root, run) =
        (format!("--root={}", here.join("images").display()), format!("--runroot={}", here.join("run").display()));
    let vfs = ["--storage-driver=vfs", &root, &run];
    let buildah = |args: &[&str]| done("buildah", &[&vfs[..], args].concat(), here);
    let name = format!("docker://{}/team/built:1", server.address);
    let id = buildah(&["pull", "-q", "--signature-policy", "policy.json", "oci:layout:amd64"]);
    let secured = ["--signature-policy", "policy.json", "--cert-dir=certs", "--creds"];
    buildah(&[&["push", "-q"], &secured[..], &["writer:in:secret", id.trim(), &name]].concat());
    buildah(&["rmi", id.trim()]);
    let again = buildah(&[&["pull", "-q"], &secured[..], &["reader:look", &name]].concat());
    assert_eq!(again.trim().len(), 64, "{again}");
    let copied = format!("oci:{}:v1", here.join("copied").display());
    let copy =
        ["--insecure-policy", "copy", "-q", "--src-cert-dir=certs", "--src-creds", "reader:look", &name, &copied];
    done("skopeo", &copy, here);
    done("umoci", &["raw", "unpack", "--rootless", "--image", "copied:v1", "root"], here);
    assert_eq!(std::fs::read_to_string(here.join("root/hello")).unwrap(), "hello\n");
}

#[test]
fn who_begins_no_handshake_is_hung_up_on() {
    let dir = tempfile::tempdir().unwrap();
    let server = secured(dir.path());
    let mut client = TcpStream::connect(server.address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
}
