//! Running git: the machine's own program, with nobody's settings.
//!
//! Takes arguments that were checked. Gives what it printed, bounded. git sees an environment and a configuration of
//! ours alone: no hooks, no file system monitors, no credential helpers, no questions, and only the transports that are
//! named. Passwords are in a file that only its owner can read, never among arguments. ssh has the configuration and the
//! known hosts of the user who builds, as when that user runs git. Must never: wait for longer than its time, leave a
//! process behind when the build is to stop, or let ssh prove who the user is in a build that was given no agent.

use super::{FetchError, GLANCE};
use crate::EngineError;
use crate::agent::{Agent, AgentSource};
use crate::layers::io;
use cooper_registry::{ProxyOptions, Secret};
use rustix::process::{Pid, Signal, kill_process_group};
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Most bytes of output that are read.
const OUTPUT_BYTES: u64 = 32 * 1024 * 1024;
/// Bytes of its words that an error repeats.
const SAID_BYTES: usize = 1024;
/// Longest time for one repository.
const LONGEST: Duration = Duration::from_secs(30 * 60);
/// Where programs are when nothing says it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Settings that hold for every command.
const SETTINGS: &str = "\
[core]
\thooksPath = /dev/null
\tfsmonitor = false
\tsymlinks = true
\tautocrlf = false
\taskPass =
\tattributesFile = /dev/null
\texcludesFile = /dev/null
\tlogAllRefUpdates = false
[credential]
\thelper =
[protocol \"ext\"]
\tallow = never
[protocol \"file\"]
\tallow = never
[fetch]
\trecurseSubmodules = false
[submodule]
\trecurse = false
[gc]
\tauto = 0
[maintenance]
\tauto = false
[init]
\tdefaultBranch = master
[advice]
\tdetachedHead = false
[http]
\tlowSpeedLimit = 1
\tlowSpeedTime = 60
[safe]
\tdirectory = *
";
/// ssh as git starts it: no questions, no connection that others share or that stays, and nothing of the user's for the
/// server, which a Dockerfile names: with the agent it could be the user elsewhere.
const SSH: &str = "ssh -o BatchMode=yes -o ControlMaster=no -o ControlPath=none -o ForwardAgent=no -o ForwardX11=no \
                   -o ClearAllForwardings=yes";
/// Longest path of a socket (unix(7)).
const SOCKET_BYTES: usize = 107;
/// With an agent, that one, whatever the configuration says.
const WITH_AGENT: &str = "-o IdentityAgent=SSH_AUTH_SOCK";
/// Without one, nothing that proves who the user is: a Dockerfile must not reach what it was not let to. That includes
/// other ways to the server that the user's configuration knows: a jump host is reached with the user's keys by an ssh of
/// its own, which these options do not bind, and a command may do anything.
const WITHOUT_AGENT: &str = "-o PubkeyAuthentication=no -o HostbasedAuthentication=no -o GSSAPIAuthentication=no \
                             -o IdentityAgent=none -o ProxyJump=none -o ProxyCommand=none";

/// What git is given of the environment.
#[derive(Debug, Clone, Default)]
pub struct GitSurroundings {
    /// `PATH`: where git is found.
    pub search: Option<OsString>,
    /// A file with certificate authorities in place of the system's.
    pub authority_file: Option<PathBuf>,
    /// A directory with such files.
    pub authority_directory: Option<PathBuf>,
}

/// Which transports a command may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transports {
    /// https, and nothing that it redirects to.
    Https,
    /// http, and https behind a redirect.
    Http,
    /// ssh.
    Ssh,
    /// The unencrypted git protocol.
    Git,
    /// Those that a submodule may name; never files and programs.
    Remote,
    /// Nothing is fetched.
    None,
}

impl Transports {
    fn ssh(self) -> bool {
        matches!(self, Self::Ssh | Self::Remote)
    }

    fn list(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http:https",
            Self::Ssh => "ssh",
            Self::Git => "git",
            Self::Remote => "https:http:ssh:git",
            Self::None => "none",
        }
    }
}

/// Why there is no output.
pub(super) enum Failed {
    /// git ended with a failure and these words.
    Said(String),
    /// Something else.
    Other(EngineError),
}

/// git, ready to be run in a directory of its own.
pub(super) struct Git<'a> {
    /// Its home.
    home: PathBuf,
    around: &'a GitSurroundings,
    proxies: &'a ProxyOptions,
    /// The socket of an agent for ssh.
    agent: Option<PathBuf>,
    /// Who serves it, when this process does.
    served: Option<Agent>,
    cancel: &'a AtomicBool,
    /// The URL for people.
    url: String,
    end: Instant,
}

impl<'a> Git<'a> {
    /// Writes the settings into an empty directory. `authorization` is for URLs that begin with its first part.
    pub(super) fn new(
        home: &Path,
        around: &'a GitSurroundings,
        proxies: &'a ProxyOptions,
        cancel: &'a AtomicBool,
        url: String,
        authorization: Option<(&str, &Secret)>,
    ) -> Result<Self, EngineError> {
        let mut settings = SETTINGS.to_owned();
        if let Some((scope, secret)) = authorization {
            let header = quoted(&format!("Authorization: {}", secret.expose()), &url)?;
            let scope = quoted(scope, &url)?;
            // git would send the header to wherever a redirect leads.
            settings.push_str(&format!("[http {scope}]\n\textraHeader = {header}\n\tfollowRedirects = false\n"));
        }
        let file = home.join("gitconfig");
        let mut options = std::fs::OpenOptions::new();
        let written = options.write(true).create_new(true).mode(0o600).open(&file);
        written
            .and_then(|mut f| std::io::Write::write_all(&mut f, settings.as_bytes()))
            .map_err(|e| io("writing git's settings", e))?;
        Ok(Self {
            home: home.to_owned(),
            around,
            proxies,
            agent: None,
            served: None,
            cancel,
            url,
            end: Instant::now() + LONGEST,
        })
    }

    /// Lets ssh use an agent's keys.
    pub(super) fn with_agent(mut self, agent: Option<&AgentSource>) -> Result<Self, EngineError> {
        match agent {
            None => {}
            Some(AgentSource::Socket(socket)) => self.agent = Some(socket.clone()),
            Some(keys @ AgentSource::Keys(_)) => {
                let served = Agent::start_own(keys, &self.home).map_err(|e| io("serving keys to ssh", e))?;
                if served.path().as_os_str().len() > SOCKET_BYTES {
                    return Err(EngineError::Request {
                        message: format!("{} is too long a path for ssh", served.path().display()),
                        hint: "give --ssh default=SOCKET with the socket of an agent, or a store with a shorter path"
                            .to_owned(),
                    });
                }
                self.agent = Some(served.path().to_owned());
                self.served = Some(served);
            }
        }
        Ok(self)
    }

    fn command(&self, place: &Path, transports: Transports, args: &[&str]) -> Command {
        // ssh asks the system where the user's home is.
        let mut command = if transports.ssh() { cooper_sandbox::as_caller("git") } else { Command::new("git") };
        command.args(args).current_dir(place).env_clear();
        let search = self.around.search.as_deref().unwrap_or(OsStr::new(PATH));
        command.env("PATH", search).env("HOME", &self.home).env("LC_ALL", "C");
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_ATTR_NOSYSTEM", "1");
        command.env("GIT_CONFIG_GLOBAL", self.home.join("gitconfig"));
        command.env("GIT_CEILING_DIRECTORIES", &self.home).env("GIT_NO_REPLACE_OBJECTS", "1");
        command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_PROTOCOL_FROM_USER", "0");
        let ssh = if self.agent.is_some() { WITH_AGENT } else { WITHOUT_AGENT };
        command.env("GIT_ALLOW_PROTOCOL", transports.list()).env("GIT_SSH_COMMAND", format!("{SSH} {ssh}"));
        let GitSurroundings { authority_file, authority_directory, .. } = self.around;
        for (name, path) in [
            ("SSH_AUTH_SOCK", &self.agent),
            ("GIT_SSL_CAINFO", authority_file),
            ("GIT_SSL_CAPATH", authority_directory),
        ] {
            if let Some(path) = path {
                command.env(name, path);
            }
        }
        let ProxyOptions { http, https, bypass } = self.proxies;
        for (name, value) in [("http_proxy", http), ("https_proxy", https), ("no_proxy", bypass)] {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own: what it starts ends with it.
        command.process_group(0);
        command
    }

    /// Runs git and gives its output.
    pub(super) fn run(&self, place: &Path, transports: Transports, args: &[&str]) -> Result<String, Failed> {
        let what = args.first().copied().unwrap_or_default();
        let no_git = |source| Failed::Other(FetchError::NoGit { url: self.url.clone(), source }.into());
        let mut child = self.command(place, transports, args).spawn().map_err(no_git)?;
        let out = reader(child.stdout.take());
        let err = reader(child.stderr.take());
        let status = self.wait(&mut child, what, [&out, &err]);
        let (out, err) = (out.join().unwrap_or_default(), err.join().unwrap_or_default());
        if status? {
            return Ok(String::from_utf8_lossy(&out.bytes).into_owned());
        }
        Err(Failed::Said(self.redacted(&err.bytes)))
    }

    /// Runs git where a failure has one meaning.
    pub(super) fn must(&self, place: &Path, transports: Transports, args: &[&str]) -> Result<String, EngineError> {
        self.run(place, transports, args).map_err(|f| self.failure(args.first().copied().unwrap_or_default(), f))
    }

    /// The error that a failure of `git what` is.
    pub(super) fn failure(&self, what: &str, failed: Failed) -> EngineError {
        match failed {
            Failed::Other(e) => e,
            Failed::Said(said) if said.contains("not allowed") => {
                FetchError::Hostile { url: self.url.clone(), what: format!("git {what} failed: {said}") }.into()
            }
            Failed::Said(said) => FetchError::Git { url: self.url.clone(), what: what.to_owned(), said }.into(),
        }
    }

    /// Waits for the end; says whether it is a good one.
    fn wait(&self, child: &mut Child, what: &str, readers: [&JoinHandle<Output>; 2]) -> Result<bool, Failed> {
        let limit = |limit: String| {
            let (url, what) = (self.url.clone(), what.to_owned());
            Failed::Other(FetchError::Limit { url, what, limit }.into())
        };
        loop {
            match child.try_wait() {
                Ok(Some(status)) => {
                    // What it started may hold the pipes, and would be waited for.
                    end_group(child);
                    return Ok(status.success());
                }
                Ok(None) => {}
                Err(e) => return Err(Failed::Other(io("waiting for git", e))),
            }
            let stop = match () {
                () if self.cancel.load(Ordering::SeqCst) => Some(Failed::Other(EngineError::Interrupted)),
                () if Instant::now() > self.end => Some(limit(format!("took longer than {} s", LONGEST.as_secs()))),
                // A reader ends before git does only when git wrote too much, or closed its side and is about to end.
                () => None,
            };
            if let Some(stop) = stop {
                end(child);
                return Err(stop);
            }
            if readers.iter().all(|r| r.is_finished()) && !self.ends_soon(child) {
                end(child);
                return Err(limit("wrote too much, or closed its output and went on".to_owned()));
            }
            std::thread::sleep(GLANCE / 5);
        }
    }

    /// Both outputs are at their end: does it end as well?
    fn ends_soon(&self, child: &mut Child) -> bool {
        let patience = Instant::now() + Duration::from_secs(10);
        while Instant::now() < patience && !self.cancel.load(Ordering::SeqCst) {
            if !matches!(child.try_wait(), Ok(None)) {
                return true;
            }
            std::thread::sleep(GLANCE / 5);
        }
        false
    }

    /// What git said, on one line, with the URL as people know it.
    fn redacted(&self, said: &[u8]) -> String {
        let text = String::from_utf8_lossy(said);
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
        let mut words = lines.join("; ");
        let home = self.home.to_string_lossy();
        words = words.replace(&*home, "");
        match words.char_indices().nth(SAID_BYTES) {
            Some((end, _)) => format!("{}…", words.get(..end).unwrap_or_default()),
            None => words,
        }
    }
}

/// What a stream held.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
}

/// Reads a stream to its end, or to its bound; then git gets a broken pipe.
fn reader(stream: Option<impl Read + Send + 'static>) -> JoinHandle<Output> {
    std::thread::spawn(move || {
        let mut output = Output::default();
        // A stream that breaks ends: git's exit code tells the rest.
        let _ = stream.map(|s| s.take(OUTPUT_BYTES).read_to_end(&mut output.bytes));
        output
    })
}

/// Ends git and all that it started.
fn end(child: &mut Child) {
    end_group(child);
    let _ = child.wait();
}

/// Ends all that git started and that is still there.
fn end_group(child: &Child) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // One that has ended already needs nothing more.
    let _ = group.map(|g| kill_process_group(g, Signal::KILL));
}

/// A value of git's configuration.
fn quoted(text: &str, url: &str) -> Result<String, EngineError> {
    if text.chars().any(char::is_control) {
        let what = "its authorization holds a control character".to_owned();
        return Err(FetchError::Hostile { url: url.to_owned(), what }.into());
    }
    Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    static AROUND: GitSurroundings = GitSurroundings { search: None, authority_file: None, authority_directory: None };

    fn git<'a>(home: &Path, cancel: &'a AtomicBool, proxies: &'a ProxyOptions) -> Git<'a> {
        let secret = Secret::new("Basic a\"b\\c");
        let authorization = Some(("https://h/\"a.git", &secret));
        Git::new(home, &AROUND, proxies, cancel, "https://h/a.git".into(), authorization).unwrap()
    }

    #[test]
    fn surroundings_reach_git_and_keys_do_not_without_an_agent() {
        let (dir, cancel, proxies) = (tempfile::tempdir().unwrap(), AtomicBool::new(false), ProxyOptions::default());
        let around = GitSurroundings {
            authority_file: Some("/ca.pem".into()),
            authority_directory: Some("/ca".into()),
            ..AROUND.clone()
        };
        let show = ["-c", "alias.surroundings=!env", "surroundings"];
        let git = Git::new(dir.path(), &around, &proxies, &cancel, "u".into(), None).unwrap();
        let found = git.must(dir.path(), Transports::Https, &show).unwrap();
        for line in ["GIT_SSL_CAINFO=/ca.pem", "GIT_SSL_CAPATH=/ca"] {
            assert!(found.lines().any(|l| l == line), "{found}");
        }
        assert!(found.contains("PubkeyAuthentication=no") && !found.contains("SSH_AUTH_SOCK="), "{found}");
        assert!(found.contains("-o ProxyJump=none -o ProxyCommand=none"), "{found}");
        assert!(found.contains("-o ForwardAgent=no"), "{found}");
        let found = git
            .with_agent(Some(&AgentSource::Socket("/agent".into())))
            .unwrap()
            .must(dir.path(), Transports::Ssh, &show)
            .unwrap();
        assert!(!found.contains("PubkeyAuthentication") && !found.contains("ProxyJump"), "{found}");
        assert!(found.contains("SSH_AUTH_SOCK=/agent"), "{found}");
    }

    #[test]
    fn settings_are_ours_and_readable_by_git() {
        let (dir, cancel, proxies) = (tempfile::tempdir().unwrap(), AtomicBool::new(false), ProxyOptions::default());
        let git = git(dir.path(), &cancel, &proxies);
        let show = git.must(dir.path(), Transports::None, &["config", "--list", "--show-scope"]).unwrap();
        assert!(show.lines().all(|l| l.starts_with("global\t")), "{show}");
        assert!(show.contains("http.https://h/\"a.git.extraheader=Authorization: Basic a\"b\\c\n"), "{show}");
        assert!(show.contains("core.hookspath=/dev/null"), "{show}");
        assert!(quoted("a\nb", "u").is_err());
    }

    #[test]
    fn failures_say_what_git_said() {
        let (dir, cancel, proxies) = (tempfile::tempdir().unwrap(), AtomicBool::new(false), ProxyOptions::default());
        let git = git(dir.path(), &cancel, &proxies);
        for (args, said) in [
            (["ls-remote", "--", "file:///srv/x.git"], "transport 'file' not allowed"),
            (["ls-remote", "--", "ext::sh -c true"], "transport 'ext' not allowed"),
        ] {
            let error = git.must(dir.path(), Transports::Https, &args).unwrap_err();
            assert_eq!(error.class(), crate::ErrorClass::Input);
            assert!(error.to_string().contains(said), "{error}");
        }
        let error = git.must(dir.path(), Transports::None, &["rev-parse", "HEAD"]).unwrap_err();
        assert!(
            error.to_string().starts_with("https://h/a.git: git rev-parse failed: fatal: not a git repo"),
            "{error}"
        );
    }

    #[test]
    fn a_build_that_stops_takes_git_with_it() {
        let (dir, cancel, proxies) = (tempfile::tempdir().unwrap(), AtomicBool::new(true), ProxyOptions::default());
        let git = git(dir.path(), &cancel, &proxies);
        let args = ["-c", "alias.wait=!sleep 600", "wait"];
        let start = Instant::now();
        let Err(Failed::Other(EngineError::Interrupted)) = git.run(dir.path(), Transports::None, &args) else {
            panic!()
        };
        assert!(start.elapsed() < Duration::from_secs(60));
    }
}
