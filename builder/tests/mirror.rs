//! `cooper registry serve --mirror-of` before another registry of the binary, which goes away.

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
        let mut command = cooper(dir);
        command.args(["registry", "serve", "--listen", "127.0.0.1:0", "--root", root]).args(flags);
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

#[test]
fn a_mirror_serves_what_it_fetched_when_its_upstream_is_gone() {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let here = dir.path();
    let upstream = Served::start(here, "upstream", &[]);
    let config = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    let pushed = upstream.ask(&format!("/v2/team/app/blobs/uploads/?digest={config}"), &["-d", "{}"]);
    assert!(pushed.starts_with("HTTP/1.1 201"), "{pushed}");
    let document = format!(
        "{{\"schemaVersion\":2,\"mediaType\":\"{MANIFEST}\",\"layers\":[],\"config\":{{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"{config}\",\"size\":2}}}}"
    );
    let kind = format!("Content-Type: {MANIFEST}");
    let pushed = upstream.ask("/v2/team/app/manifests/v1", &["-X", "PUT", "-H", &kind, "-d", &document]);
    assert!(pushed.starts_with("HTTP/1.1 201"), "{pushed}");

    let mirror = Served::start(here, "mirror", &["--mirror-of", &upstream.host, "--mirror-fresh", "0"]);
    let name = format!("{}/team/app:v1", mirror.host);
    let raw = cooper(here).args(["inspect", "--remote", "--raw", &name]).output().expect("the binary runs");
    assert_eq!(String::from_utf8_lossy(&raw.stdout), document, "{raw:?}");
    let blob = format!("/v2/team/app/blobs/{config}");
    assert!(mirror.ask(&blob, &[]).ends_with("\r\n\r\n{}"));
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
    let checked = cooper(here).args(["debug", "fsck", "--root", "mirror"]).output().expect("the binary runs");
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
}
