//! `cooper registry serve --mirror-of` before another registry of the binary, which goes away.

use cooper_image::Digest;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A registry; killed on drop.
struct Served {
    child: Child,
    host: String,
}

impl Served {
    fn start(dir: &Path, root: &str, flags: &[&str]) -> Self {
        Self::at(dir, root, "127.0.0.1:0", flags)
    }

    fn at(dir: &Path, root: &str, address: &str, flags: &[&str]) -> Self {
        let mut command = cooper(dir);
        command.args(["registry", "serve", "--listen", address, "--root", root]).args(flags);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary runs");
        let mut host = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut host).expect("it says its address");
        Self { child, host: host.trim().to_owned() }
    }

    /// Asks with curl; gives everything that it said, head first.
    fn ask(&self, path: &str, args: &[&str]) -> String {
        let url = format!("http://{}{path}", self.host);
        let out = Command::new("curl").args(["-sS", "-i"]).args(args).arg(url).output().expect("curl is installed");
        String::from_utf8_lossy(&out.stdout).into_owned()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn cooper(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cooper"));
    command.env_clear().env("HOME", dir.join("home")).current_dir(dir);
    command
}

/// Pushes an image without layers; gives its manifest and the digest of its configuration.
fn published(upstream: &Served) -> (String, &'static str) {
    let config = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    let pushed = upstream.ask(&format!("/v2/team/app/blobs/uploads/?digest={config}"), &["-d", "{}"]);
    assert!(pushed.starts_with("HTTP/1.1 201"), "{pushed}");
    let document = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{MANIFEST}\",\"layers\":[],\"config\":{{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"{config}\",\"size\":2}}}}"
    );
    let kind = format!("Content-Type: {MANIFEST}");
    let pushed = upstream.ask("/v2/team/app/manifests/v1", &["-X", "PUT", "-H", &kind, "-d", &document]);
    assert!(pushed.starts_with("HTTP/1.1 201"), "{pushed}");
    (document, config)
}

#[test]
fn a_mirror_serves_what_it_fetched_when_its_upstream_is_gone() {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let here = dir.path();
    let upstream = Served::start(here, "upstream", &[]);
    let (document, config) = published(&upstream);

    let mirror = Served::start(here, "mirror", &["--mirror-of", &upstream.host, "--mirror-fresh", "0"]);
    let name = format!("{}/team/app:v1", mirror.host);
    let raw = cooper(here).args(["inspect", "--remote", "--raw", &name]).output().expect("the binary runs");
    assert_eq!(String::from_utf8_lossy(&raw.stdout), document, "{raw:?}");
    let blob = format!("/v2/team/app/blobs/{config}");
    assert!(mirror.ask(&blob, &[]).ends_with("\r\n\r\n{}"));
    let subject = format!(
        "{{\"mediaType\":\"{MANIFEST}\",\"digest\":\"{}\",\"size\":{}}}",
        Digest::sha256(&document),
        document.len()
    );
    let artifact = document.replacen('{', &format!("{{\"artifactType\":\"text/sbom\",\"subject\":{subject},"), 1);
    let kind = format!("Content-Type: {MANIFEST}");
    let pushed = upstream.ask("/v2/team/app/manifests/sbom", &["-X", "PUT", "-H", &kind, "-d", &artifact]);
    assert!(pushed.starts_with("HTTP/1.1 201"), "{pushed}");
    let listed = mirror.ask(&format!("/v2/team/app/referrers/{}", Digest::sha256(&document)), &[]);
    assert!(listed.starts_with("HTTP/1.1 200") && listed.contains(&Digest::sha256(&artifact).to_string()), "{listed}");
    let absent = mirror.ask("/v2/team/app/manifests/v2", &[]);
    assert!(absent.starts_with("HTTP/1.1 404") && absent.contains("MANIFEST_UNKNOWN"), "{absent}");
    let refused = mirror.ask("/v2/team/app/blobs/uploads/", &["-X", "POST"]);
    assert!(refused.starts_with("HTTP/1.1 405") && refused.contains("mirror"), "{refused}");

    drop(upstream);
    let stale = mirror.ask("/v2/team/app/manifests/v1", &[]);
    assert!(
        stale.starts_with("HTTP/1.1 200") && stale.contains("warning: 299 - ") && stale.ends_with(&document),
        "{stale}"
    );
    assert!(mirror.ask(&blob, &[]).ends_with("\r\n\r\n{}"));
    // Whoever asks is told so.
    let warned = format!("WARNING: registry {} says: the upstream cannot be reached", mirror.host);
    let (json, layout) = (["digest", "--json"], "oci-layout://layout:v1");
    for command in [&json[..], &["inspect", "--remote"], &["pull", "--root", "puller"], &["copy"]] {
        let to = (command == ["copy"]).then_some(layout);
        let out = cooper(here).args(command).arg(&name).args(to).output().expect("the binary runs");
        let (said, told) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert_eq!(told.matches(&warned).count(), 1, "{command:?}: {told}");
        assert!(out.status.success() && !said.contains("WARNING"), "{command:?}: {said}");
        assert!(command != json || serde_json::from_str::<serde_json::Value>(&said).is_ok(), "{said}");
    }
    let checked = cooper(here).args(["debug", "fsck", "--root", "mirror"]).output().expect("the binary runs");
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
}

#[test]
fn a_mirror_that_is_told_to_be_its_own_upstream_asks_the_next_place() {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let here = dir.path();
    let upstream = Served::start(here, "upstream", &[]);
    let (document, config) = published(&upstream);
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let address = free.local_addr().expect("it has an address").to_string();
    drop(free);
    // As every other machine of the team has it.
    let conf =
        format!("[[registry]]\nlocation = \"{}\"\n[[registry.mirror]]\nlocation = \"{address}\"\n", upstream.host);
    std::fs::create_dir_all(here.join("home/.config/containers")).expect("it can be made");
    std::fs::write(here.join("home/.config/containers/registries.conf"), conf).expect("it can be written");
    let mirror = Served::at(here, "mirror", &address, &["--mirror-of", &upstream.host]);
    let got = mirror.ask("/v2/team/app/manifests/v1", &["--max-time", "30"]);
    assert!(got.starts_with("HTTP/1.1 200") && got.ends_with(&document), "{got}");
    let got = mirror.ask(&format!("/v2/team/app/blobs/{config}"), &["--max-time", "30"]);
    assert!(got.starts_with("HTTP/1.1 200") && got.ends_with("\r\n\r\n{}"), "{got}");
    let own = mirror.ask("/metrics", &[]);
    assert!(own.contains("status=\"421\""), "it did ask itself: {own}");
}
