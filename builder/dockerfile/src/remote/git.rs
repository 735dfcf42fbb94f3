//! Git repositories as BuildKit writes them: a URL, and behind it `#ref:subdir`, `?key=value`, or both.
//!
//! | form | is a repository |
//! |---|---|
//! | `https://…`, `http://…` | when its path ends in `.git` |
//! | `git://…`, `ssh://…` | always |
//! | `user@host:path` | always |
//! | `github.com/team/repo` | as a context alone |
//!
//! | key of the query | meaning |
//! |---|---|
//! | `ref`, `branch`, `tag` | what is checked out; `branch` and `tag` name it fully |
//! | `subdir` | the directory whose contents are taken |
//! | `checksum`, `commit` | beginning of the commit's id, which has to match |
//! | `keep-git-dir`, `submodules`, `fetch-by-commit` | yes or no; without a value yes |
//! | `mtime` | `commit` or `checkout`: which time files get |

use super::percent::{self, Plus};
use super::{RemoteError, check_text, host_of, without_user, wrong};

/// How the repository is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Scheme {
    Https,
    Http,
    Ssh,
    Git,
}

impl Scheme {
    /// As git and URLs name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
            Self::Ssh => "ssh",
            Self::Git => "git",
        }
    }
    fn of(name: &str) -> Option<Self> {
        [Self::Https, Self::Http, Self::Ssh, Self::Git].into_iter().find(|s| name.eq_ignore_ascii_case(s.name()))
    }
}

/// Which time the files of a repository get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mtime {
    /// That of the commit.
    Commit,
    /// That of the build.
    Checkout,
}

/// A repository, and what is wanted of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GitSource {
    /// What git is given: without query and fragment.
    pub remote: String,
    /// How it is spoken to.
    pub scheme: Scheme,
    /// `host[:port]`, for secrets.
    pub host: String,
    /// A branch, a tag, a full name or the id of a commit; the default branch when nothing was said.
    pub reference: Option<String>,
    /// The directory whose contents are taken, without slashes around it.
    pub subdir: Option<String>,
    /// Lower-case hexadecimal digits with which the commit's id has to begin.
    pub checksum: Option<String>,
    /// Is `.git` wanted? Nothing when the URL does not say.
    pub keep_git_dir: Option<bool>,
    /// Are submodules fetched?
    pub submodules: bool,
    /// Is the commit of `checksum` taken, whatever the reference leads to now?
    pub fetch_by_commit: bool,
    /// The time of its files.
    pub mtime: Mtime,
}

impl GitSource {
    /// A source of ADD; `None` when it is no repository.
    pub(super) fn parse(source: &str) -> Option<Result<Self, RemoteError>> {
        // A query or a fragment is no part of what decides.
        let cut = source.find(['?', '#']).unwrap_or(source.len());
        let (base, options) = source.split_at(cut);
        let (scheme, authority, path) = split(base)?;
        if matches!(scheme, Scheme::Https | Scheme::Http) && !path.ends_with(".git") {
            return None;
        }
        Some(check_text(source).and_then(|()| Self::new(base, scheme, authority, path)?.with(options)))
    }

    /// What names a context.
    pub(super) fn parse_context(source: &str) -> Option<Result<Self, RemoteError>> {
        if !source.starts_with("github.com/") {
            return Self::parse(source);
        }
        let url = format!("https://{source}");
        let cut = url.find(['?', '#']).unwrap_or(url.len());
        let (base, options) = url.split_at(cut);
        let (scheme, authority, path) = split(base)?;
        Some(check_text(&url).and_then(|()| Self::new(base, scheme, authority, path)?.with(options)))
    }

    fn new(base: &str, scheme: Scheme, authority: &str, path: &str) -> Result<Self, RemoteError> {
        let host = host_of(authority);
        let hint = "write https://HOST/PATH.git or USER@HOST:PATH";
        if host.is_empty() || path.trim_matches('/').is_empty() {
            return Err(wrong(format!("{} names no host or no repository", without_user(base)), hint));
        }
        // git hands host, user and path to ssh and to servers as arguments.
        if [host, authority, path, path.trim_start_matches('/')].iter().any(|part| part.starts_with('-')) {
            return Err(wrong(format!("{}: host, user or path begins with -", without_user(base)), hint));
        }
        Ok(Self {
            remote: base.to_owned(),
            scheme,
            host: host.to_owned(),
            reference: None,
            subdir: None,
            checksum: None,
            keep_git_dir: None,
            submodules: true,
            fetch_by_commit: false,
            mtime: Mtime::Commit,
        })
    }

    /// Adds `?query#fragment`.
    fn with(mut self, options: &str) -> Result<Self, RemoteError> {
        let (query, fragment) = options.split_once('#').unwrap_or((options, ""));
        let query = query.strip_prefix('?').unwrap_or_default();
        let malformed = || self.wrong("what is behind the URL is not encoded text".to_owned());
        let fragment = percent::decode(fragment, Plus::Literal).ok_or_else(malformed)?;
        let (reference, subdir) = fragment.split_once(':').unwrap_or((&fragment, ""));
        self.set_reference(reference.to_owned())?;
        self.set_subdir(subdir)?;
        let (mut tag, mut branch, mut seen) = (None, None, Vec::new());
        for pair in query.split('&').filter(|p| !p.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let malformed = || self.wrong("what is behind the URL is not encoded text".to_owned());
            let key = percent::decode(key, Plus::Space).ok_or_else(malformed)?;
            let value = percent::decode(value, Plus::Space).ok_or_else(malformed)?;
            match key.as_str() {
                "tag" => tag = Some(value.clone()),
                "branch" => branch = Some(value.clone()),
                key => self.set(key, &value)?,
            }
            if value.is_empty() && !matches!(key.as_str(), "keep-git-dir" | "submodules" | "fetch-by-commit") {
                return Err(self.wrong(format!("{key} has no value")));
            }
            if seen.contains(&key) {
                return Err(self.wrong(format!("{key} has several values")));
            }
            seen.push(key);
        }
        if tag.is_some() && branch.is_some() {
            return Err(self.wrong("branch conflicts with tag".to_owned()));
        }
        for (name, prefix) in [(tag, "refs/tags/"), (branch, "refs/heads/")] {
            if let Some(name) = name {
                let full = if name.starts_with(prefix) { name } else { format!("{prefix}{name}") };
                self.set_reference(full)?;
            }
        }
        self.finish()
    }

    fn finish(mut self) -> Result<Self, RemoteError> {
        if self.fetch_by_commit && !self.checksum.as_deref().is_some_and(is_commit) {
            return Err(self.wrong("fetch-by-commit needs checksum with the whole id of a commit".to_owned()));
        }
        if self.reference.is_none() {
            self.reference = self.checksum.clone();
        }
        Ok(self)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), RemoteError> {
        let flag = || match value {
            "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            other => Err(self.wrong(format!("{key} is {other:?}, which is neither true nor false"))),
        };
        match key {
            "ref" => return self.set_reference(value.to_owned()),
            "subdir" => return self.set_subdir(value),
            "checksum" | "commit" => return self.set_checksum(value),
            "keep-git-dir" => self.keep_git_dir = Some(flag()?),
            "submodules" => self.submodules = flag()?,
            "fetch-by-commit" => self.fetch_by_commit = flag()?,
            "mtime" => {
                self.mtime = match value {
                    "commit" => Mtime::Commit,
                    "checkout" => Mtime::Checkout,
                    other => return Err(self.wrong(format!("mtime is {other:?}, and not commit or checkout"))),
                };
            }
            other => return Err(self.wrong(format!("{other:?} is no key of a git URL"))),
        }
        Ok(())
    }

    fn set_reference(&mut self, reference: String) -> Result<(), RemoteError> {
        if reference.is_empty() {
            return Ok(());
        }
        if !is_reference(&reference) {
            return Err(self.wrong(format!("{reference:?} is no name of a branch, tag or commit")));
        }
        match &self.reference {
            Some(other) if *other != reference => {
                Err(self.wrong(format!("ref conflicts: {other:?} and {reference:?}")))
            }
            _ => {
                self.reference = Some(reference);
                Ok(())
            }
        }
    }

    fn set_subdir(&mut self, subdir: &str) -> Result<(), RemoteError> {
        let components: Vec<&str> = subdir.split('/').filter(|c| !c.is_empty() && *c != ".").collect();
        let like_option = components.first().is_some_and(|c| c.starts_with('-'));
        if components.contains(&"..") || subdir.chars().any(char::is_control) || like_option {
            return Err(self.wrong(format!("{subdir:?} is no directory of a repository")));
        }
        if components.is_empty() {
            return Ok(());
        }
        let clean = components.join("/");
        match &self.subdir {
            Some(other) if *other != clean => Err(self.wrong(format!("subdir conflicts: {other:?} and {clean:?}"))),
            _ => {
                self.subdir = Some(clean);
                Ok(())
            }
        }
    }

    /// Demands that the commit's id begins with these digits.
    ///
    /// # Errors
    /// When they are no hexadecimal digits, too many, or others than the URL demands already.
    pub fn set_checksum(&mut self, digits: &str) -> Result<(), RemoteError> {
        let digits = digits.to_ascii_lowercase();
        if digits.is_empty() || digits.len() > 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(self.wrong(format!("checksum {digits:?} is no beginning of a commit's id")));
        }
        match &self.checksum {
            Some(other) if *other != digits => Err(self.wrong(format!("checksum conflicts: {other:?} and {digits:?}"))),
            _ => {
                self.checksum = Some(digits);
                Ok(())
            }
        }
    }

    /// The commit, when the source itself names it in full: nobody has to be asked for it.
    pub fn commit(&self) -> Option<&str> {
        match &self.checksum {
            Some(commit) if self.fetch_by_commit => Some(commit),
            _ => self.reference.as_deref().filter(|r| is_commit(r)),
        }
    }

    /// The URL for people: without user and password, query and fragment.
    pub fn shown(&self) -> String {
        without_user(&self.remote)
    }

    fn wrong(&self, what: String) -> RemoteError {
        wrong(format!("{}: {what}", self.shown()), "see the forms of git URLs in Dockerfile's reference of ADD")
    }
}

/// Scheme, authority and path of a URL that git can be given.
fn split(base: &str) -> Option<(Scheme, &str, &str)> {
    if let Some((scheme, rest)) = base.split_once("://") {
        let scheme = Scheme::of(scheme)?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        return Some((scheme, authority, path));
    }
    let (authority, path) = base.split_once(':')?;
    let (user, host) = authority.split_once('@')?;
    let word = |text: &str, more: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    (word(user, "-_") && word(host, "-.")).then_some((Scheme::Ssh, authority, path))
}

/// Is it the whole id of a commit?
fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Can it be the name of a branch, a tag or a commit (git-check-ref-format), and nothing else to git?
fn is_reference(text: &str) -> bool {
    let forbidden = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c);
    text.len() <= 1024
        && !text.chars().any(forbidden)
        && !text.starts_with(['-', '/', '+'])
        && !text.ends_with(['/', '.'])
        && !["..", "@{", "//"].iter().any(|part| text.contains(part))
        && !text.split('/').any(|c| c.starts_with('.') || c.ends_with(".lock"))
}

#[cfg(test)]
mod tests;
