//! Sources that are no paths: URLs of files, and git repositories with what is wanted of them.
//!
//! Takes a source of ADD, or what names a context. Gives an [`HttpSource`], a [`GitSource`], or nothing: then it is a
//! path. Texts come from strangers and end in a program's arguments; so nothing passes that a program could take for
//! an option, that holds a control character, or that climbs out of a repository. Must never: do I/O, or show a
//! password.

mod git;
mod percent;

pub use git::{GitSource, Mtime, Scheme};

/// Longest URL, in bytes.
pub const URL_BYTES: usize = 8 * 1024;
/// The name of a file whose URL has none.
pub const UNNAMED: &str = "__unnamed__";

/// A source that is fetched.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Remote {
    /// A file.
    Http(HttpSource),
    /// A repository.
    Git(GitSource),
}

/// A file behind a URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpSource {
    /// The URL, without its fragment.
    pub url: String,
    /// The last component of its path, decoded; [`UNNAMED`] when there is none.
    pub file_name: String,
}

impl HttpSource {
    /// The URL for people: without user and password.
    pub fn shown(&self) -> String {
        without_user(&self.url)
    }
}

/// A source as it may be kept and shown: without a password, and of web servers without a user, who may be a token.
pub fn redacted(source: &str) -> String {
    let Some((scheme, rest)) = source.split_once("://") else { return source.to_owned() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let user = authority.rsplit_once('@').map(|(user, _)| user);
    match user {
        Some(user) if user.contains(':') || !scheme.eq_ignore_ascii_case("ssh") => without_user(source),
        _ => source.to_owned(),
    }
}

/// Why a text that is no path cannot be fetched either.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RemoteError {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

pub(crate) fn wrong(message: impl Into<String>, hint: &str) -> RemoteError {
    RemoteError { message: message.into(), hint: hint.to_owned() }
}

/// What a source of ADD names: `None` for a path.
///
/// # Errors
/// When it is a URL or a repository, and malformed.
pub fn parse(source: &str) -> Option<Result<Remote, RemoteError>> {
    parse_with(source, GitSource::parse(source))
}

/// What names a context: as [`parse`], and `github.com/team/repo` is a repository too.
///
/// # Errors
/// As [`parse`].
pub fn parse_context(source: &str) -> Option<Result<Remote, RemoteError>> {
    parse_with(source, GitSource::parse_context(source))
}

fn parse_with(source: &str, git: Option<Result<GitSource, RemoteError>>) -> Option<Result<Remote, RemoteError>> {
    match git {
        Some(git) => Some(git.map(Remote::Git)),
        None => http(source).map(|http| http.map(Remote::Http)),
    }
}

fn http(source: &str) -> Option<Result<HttpSource, RemoteError>> {
    let (scheme, rest) = source.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    Some(check_text(source).and_then(|()| {
        let url = source.split_once('#').map_or(source, |(url, _)| url);
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if host_of(authority).is_empty() {
            return Err(wrong(format!("{} names no host", without_user(url)), "write https://HOST/PATH"));
        }
        Ok(HttpSource { url: url.to_owned(), file_name: file_name(path)? })
    }))
}

/// The last component of a path, as a name that a file can have.
fn file_name(path: &str) -> Result<String, RemoteError> {
    let decoded = percent::decode(path, percent::Plus::Literal)
        .ok_or_else(|| wrong("the URL's path is not encoded text", "encode it as UTF-8 with %XX"))?;
    let name = decoded.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    match name {
        "" | "." => Ok(UNNAMED.to_owned()),
        ".." => Err(wrong("the URL's path ends in ..", "end it in the name of a file")),
        name if name.chars().any(char::is_control) => {
            Err(wrong("the name at the end of the URL holds a control character", "end it in the name of a file"))
        }
        name => Ok(name.to_owned()),
    }
}

/// Bounds and characters that hold for every URL.
pub(crate) fn check_text(source: &str) -> Result<(), RemoteError> {
    if source.len() > URL_BYTES {
        return Err(wrong(format!("the URL has more than {URL_BYTES} bytes"), "shorten it"));
    }
    match source.chars().find(|c| c.is_control() || c.is_whitespace()) {
        Some(c) => {
            Err(wrong(format!("the URL holds the character {c:?}"), "encode it with %XX, or check the variables in it"))
        }
        None => Ok(()),
    }
}

/// Host and port of `user:password@host:port`.
pub(crate) fn host_of(authority: &str) -> &str {
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

/// A URL without user and password.
pub(crate) fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    format!("{scheme}://{}{path}", host_of(authority))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_their_names() {
        for (source, name) in [
            ("http://h/a/b.tar.gz", "b.tar.gz"),
            ("https://h/a/b?x=/y#z", "b"),
            ("HTTPS://h/a%20b", "a b"),
            ("https://u:p@h:8080/d/", "d"),
            ("https://h", UNNAMED),
            ("https://h/?a=b", UNNAMED),
            ("https://h/a%2Fb", "b"),
            ("https://h/a+b", "a+b"),
            ("https://h/x.git/", "x.git"),
        ] {
            let Some(Ok(Remote::Http(found))) = parse(source) else { panic!("{source}") };
            assert_eq!(found.file_name, name, "{source}");
            assert!(!found.url.contains('#') && source.starts_with(&found.url), "{source}");
        }
    }

    #[test]
    fn paths_are_no_urls() {
        for path in ["a", "./http://x", "dir/http://x", "httpd/conf", "a:b", "git@file", "github.com/a/b", "ftp://h/f"]
        {
            assert_eq!(parse(path), None, "{path}");
        }
        assert!(parse_context("github.com/a/b").is_some());
    }

    #[test]
    fn malformed_urls_are_named() {
        for (source, says) in [
            ("http://", "names no host"),
            ("http:///etc/passwd", "names no host"),
            ("http://u:secret@/f", "http:///f names no host"),
            ("http://h/a\nb", "the URL holds the character '\\n'"),
            ("http://h/a b", "the URL holds the character ' '"),
            ("http://h/a%00b", "control character"),
            ("http://h/a%", "not encoded text"),
            ("http://h/%ff", "not encoded text"),
            ("http://h/a/..", "ends in .."),
        ] {
            let Some(Err(error)) = parse(source) else { panic!("{source}") };
            assert!(error.message.contains(says), "{source}: {error}");
            assert!(!error.hint.is_empty());
        }
        assert!(matches!(parse(&format!("http://h/{}", "x".repeat(URL_BYTES))), Some(Err(_))));
    }

    #[test]
    fn passwords_are_not_shown() {
        for (url, shown) in [
            ("https://me:hunter2@h:1/p?q", "https://h:1/p?q"),
            ("https://h/a@b", "https://h/a@b"),
            ("https://h?u@v", "https://h?u@v"),
        ] {
            assert_eq!(without_user(url), shown);
        }
        for (source, shown) in [
            ("https://token@h/f#x@y", "https://h/f#x@y"),
            ("ssh://git@h/r", "ssh://git@h/r"),
            ("ssh://git:pw@h/r", "ssh://h/r"),
            ("git@h:r", "git@h:r"),
            ("a:b@c/d", "a:b@c/d"),
        ] {
            assert_eq!(redacted(source), shown);
        }
    }
}
