//! Registries for tests: the real one from Debian's `docker-registry`, and one that misbehaves as a
//! script says. Both live on loopback and end with the value that holds them.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod clock;
pub mod keeping;
pub mod matrix;
pub mod script;
pub mod told;
pub mod wire;

use cooper_registry::registries_conf::RegistriesConf;
use cooper_registry::retry::RetryPolicy;
use cooper_registry::{BlobSource, Client, ClientOptions, Timeouts};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The user of registries that want one; the password is [`PASSWORD`].
pub const USER: &str = "cooper";
pub const PASSWORD: &str = "cask";
/// bcrypt of [`PASSWORD`], cost 5.
const HTPASSWD: &str = "cooper:$2y$05$abcdefghijklmnopqrstuuLzQ4QiuN0NzrnxcxhnckkdAi04hbtGy\n";

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits until somebody listens.
pub fn await_listener(port: u16) {
    let end = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < end, "nobody listens on port {port}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A running `docker-registry`.
pub struct DockerRegistry {
    pub host: String,
    child: Child,
    _home: TempDir,
}

pub enum Access {
    Open,
    Password,
}

impl DockerRegistry {
    pub fn start(access: Access) -> Self {
        let home = tempfile::tempdir().unwrap();
        let port = free_port();
        let auth = match access {
            Access::Open => String::new(),
            Access::Password => {
                let file = home.path().join("htpasswd");
                std::fs::write(&file, HTPASSWD).unwrap();
                format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", file.display())
            }
        };
        let config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n{auth}",
            home.path().join("data").display()
        );
        let file = home.path().join("config.yml");
        std::fs::write(&file, config).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry is installed");
        let registry = Self { host: format!("127.0.0.1:{port}"), child, _home: home };
        await_listener(port);
        registry
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request that the scripted registry got.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

/// Bodies in chunks that are sent to a target which begins so are never read, and the connection stays open.
pub const DEAF: &str = "/deaf/";

/// Of bodies in chunks that are sent to a target which begins so, as many bytes are read as its next part says; then
/// the connection is closed.
pub const TORN: &str = "/torn/";

/// What the script answers; the connection is closed behind it.
pub enum Answer {
    Bytes(Vec<u8>),
    /// These bytes, then zeros for as long as somebody reads.
    Endless(Vec<u8>),
}

/// A registry that does what a script says.
pub struct Scripted {
    pub address: SocketAddr,
    pub seen: Arc<Mutex<Vec<Seen>>>,
    over: Arc<AtomicBool>,
}

impl Scripted {
    /// The script gets the request and how many requests of this method and target came before.
    pub fn start(script: impl Fn(&Seen, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (script, log, stop) = (Arc::new(script), seen.clone(), over.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let (script, log) = (script.clone(), log.clone());
                std::thread::spawn(move || stream.map(|s| serve(s, &*script, &log)));
            }
        });
        Self { address, seen, over }
    }

    pub fn host(&self) -> String {
        self.address.to_string()
    }

    pub fn requests(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Requests for a target, in order.
    pub fn requests_for(&self, part: &str) -> Vec<Seen> {
        self.requests().into_iter().filter(|s| s.target.contains(part)).collect()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: TcpStream, script: &dyn Fn(&Seen, usize) -> Answer, log: &Mutex<Vec<Seen>>) -> Option<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut seen = Seen { method, target, headers: Vec::new(), body: Vec::new() };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        seen.headers.push((name.to_owned(), value.to_owned()));
    }
    if seen.target.starts_with(DEAF) && seen.header("transfer-encoding").is_some() {
        log.lock().unwrap().push(seen);
        // Longer than any test bears it.
        std::thread::sleep(Duration::from_secs(60));
        return None;
    }
    if let Some(rest) = seen.target.strip_prefix(TORN).filter(|_| seen.header("transfer-encoding").is_some()) {
        let length = rest.split('/').next()?.parse().ok()?;
        reader.take(length).read_to_end(&mut seen.body).ok()?;
        log.lock().unwrap().push(seen);
        return None;
    }
    if seen.header("transfer-encoding") == Some("chunked") {
        seen.body = chunked(&mut reader)?;
    } else {
        let length = seen.header("content-length").map_or(0, |l| l.parse().unwrap());
        reader.take(length).read_to_end(&mut seen.body).ok()?;
    }
    let before = {
        let mut log = log.lock().unwrap();
        let before = log.iter().filter(|s| s.method == seen.method && s.target == seen.target).count();
        log.push(seen.clone());
        before
    };
    let mut stream = stream;
    match script(&seen, before) {
        Answer::Bytes(bytes) => stream.write_all(&bytes).ok()?,
        Answer::Endless(head) => {
            stream.write_all(&head).ok()?;
            while stream.write_all(&[0; 64 * 1024]).is_ok() {}
        }
    }
    stream.flush().ok()
}

/// A body in chunks, to its end (RFC 9112, section 7.1); nothing when the connection breaks before.
fn chunked(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let length = u64::from_str_radix(line.trim_end(), 16).ok()?;
        let got = reader.take(length).read_to_end(&mut body).ok()?;
        line.clear();
        reader.read_line(&mut line).ok()?;
        match length {
            0 => return Some(body),
            _ if got as u64 != length => return None,
            _ => {}
        }
    }
}

/// A whole answer with its length.
pub fn answer(status: &str, headers: &str, body: &[u8]) -> Answer {
    let mut bytes =
        format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len())
            .into_bytes();
    bytes.extend_from_slice(body);
    Answer::Bytes(bytes)
}

/// Options with short waits.
pub fn quick() -> ClientOptions {
    ClientOptions {
        retry: RetryPolicy {
            first: Duration::from_millis(5),
            longest: Duration::from_millis(20),
            outage: Duration::from_millis(100),
            ..RetryPolicy::default()
        },
        timeouts: Timeouts {
            connect: Duration::from_secs(2),
            idle: Duration::from_secs(2),
            commit: Duration::from_secs(5),
        },
        ..ClientOptions::default()
    }
}

/// A source of bytes, through a real file.
pub fn source(bytes: &[u8]) -> BlobSource {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    Arc::new(move || std::fs::File::open(file.path()))
}

/// Runs a tool and gives its standard output.
pub fn run(program: &str, args: &[&str], place: &Path) -> Vec<u8> {
    let out = Command::new(program).args(args).current_dir(place).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

/// A client that asks the mirror before the registry.
pub fn mirrored(registry: &Scripted, mirror: &Scripted) -> Client {
    let (registry, mirror) = (registry.host(), mirror.host());
    let conf = format!("[[registry]]\nlocation = \"{registry}\"\n[[registry.mirror]]\nlocation = \"{mirror}\"\n");
    let registries = RegistriesConf::parse(&conf).unwrap();
    Client::new(ClientOptions { registries, ..quick() }).unwrap()
}
