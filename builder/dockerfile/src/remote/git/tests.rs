//! Forms of git URLs, good and bad, with what BuildKit makes of them.

use super::*;
use crate::remote::{Remote, parse, parse_context};

fn git(source: &str) -> GitSource {
    match parse_context(source) {
        Some(Ok(Remote::Git(git))) => git,
        other => panic!("{source}: {other:?}"),
    }
}

#[test]
fn what_is_a_repository() {
    for (source, remote, scheme, host) in [
        ("https://h.example/a.git", "https://h.example/a.git", Scheme::Https, "h.example"),
        ("HTTP://h:80/a.git?ref=x", "HTTP://h:80/a.git", Scheme::Http, "h:80"),
        ("https://me:pw@h/a.git#x", "https://me:pw@h/a.git", Scheme::Https, "h"),
        ("git://h/a", "git://h/a", Scheme::Git, "h"),
        ("ssh://git@h:22/a/b", "ssh://git@h:22/a/b", Scheme::Ssh, "h:22"),
        ("git@github.com:moby/buildkit", "git@github.com:moby/buildkit", Scheme::Ssh, "github.com"),
        ("me_1@h:a.git#v1", "me_1@h:a.git", Scheme::Ssh, "h"),
        ("github.com/moby/buildkit?tag=v1", "https://github.com/moby/buildkit", Scheme::Https, "github.com"),
    ] {
        let found = git(source);
        assert_eq!((found.remote.as_str(), found.scheme, found.host.as_str()), (remote, scheme, host), "{source}");
    }
    for source in [
        "https://h/a",
        "https://h/a.git/",
        "https://h/a.git.bar",
        "http://h/docker.git:#branch",
        ".git",
        "./a@b:c.git",
        "a@b/c:d",
        "custom.xyz/a.git",
        "github.com/a/b.git",
    ] {
        assert!(!matches!(parse(source), Some(Ok(Remote::Git(_)) | Err(_))), "{source}");
    }
}

#[test]
fn what_is_wanted_of_it() {
    let commit = "0123456789abcdef0123456789abcdef01234567";
    for (behind, reference, subdir) in [
        ("", None, None),
        ("#", None, None),
        ("#v1.0", Some("v1.0"), None),
        ("#release/1.2:a/b", Some("release/1.2"), Some("a/b")),
        ("#:dir", None, Some("dir")),
        ("?ref=v1&subdir=/sub/", Some("v1"), Some("sub")),
        ("?subdir=./a//b#v1", Some("v1"), Some("a/b")),
        ("?tag=v1", Some("refs/tags/v1"), None),
        ("?tag=refs/tags/v1#refs/tags/v1", Some("refs/tags/v1"), None),
        ("?branch=a%2Fb", Some("refs/heads/a/b"), None),
        ("?ref=x#x:.", Some("x"), None),
        ("?checksum=ABC", Some("abc"), None),
        ("?commit=abc&ref=v1", Some("v1"), None),
    ] {
        let found = git(&format!("https://h/a.git{behind}"));
        assert_eq!((found.reference.as_deref(), found.subdir.as_deref()), (reference, subdir), "{behind}");
        assert!(found.submodules && found.keep_git_dir.is_none() && found.mtime == Mtime::Commit);
    }
    let found =
        git(&format!("git@h:a?commit={commit}&ref=v1&keep-git-dir=&submodules=0&fetch-by-commit&mtime=checkout"));
    assert_eq!((found.keep_git_dir, found.submodules, found.mtime), (Some(true), false, Mtime::Checkout));
    assert_eq!((found.commit(), found.reference.as_deref()), (Some(commit), Some("v1")));
    assert_eq!(git(&format!("git@h:a#{commit}")).commit(), Some(commit));
    assert_eq!(git("git@h:a?commit=0123456&ref=v1").commit(), None);
}

#[test]
fn conflicts_and_hostile_texts_are_refused() {
    for (source, says) in [
        ("https://h/a.git?ref=v1#v2", "ref conflicts: \"v2\" and \"v1\""),
        ("https://h/a.git?ref=v1&tag=v2", "ref conflicts: \"v1\" and \"refs/tags/v2\""),
        ("https://h/a.git?tag=v1&branch=v1", "branch conflicts with tag"),
        ("https://h/a.git?subdir=a#x:b", "subdir conflicts: \"b\" and \"a\""),
        ("https://h/a.git?commit=ab&checksum=cd", "checksum conflicts: \"ab\" and \"cd\""),
        ("https://h/a.git?invalid=123", "\"invalid\" is no key of a git URL"),
        ("https://h/a.git?ref=", "ref has no value"),
        ("https://h/a.git?tag", "tag has no value"),
        ("https://h/a.git?ref=a&ref=a", "ref has several values"),
        ("https://h/a.git?submodules=maybe", "submodules is \"maybe\""),
        ("https://h/a.git?mtime=now", "mtime is \"now\""),
        ("https://h/a.git?checksum=xyz", "checksum \"xyz\" is no beginning"),
        ("https://h/a.git?ref=x&fetch-by-commit&commit=abc", "fetch-by-commit needs checksum"),
        ("https://h/a.git?ref=%ff", "not encoded text"),
        ("https://h/a.git#--upload-pack=touch", "is no name of a branch, tag or commit"),
        ("https://h/a.git?ref=%2D%2Dexec=x", "is no name of a branch, tag or commit"),
        ("https://h/a.git#a%0Ab", "is no name of a branch, tag or commit"),
        ("https://h/a.git#a..b", "is no name of a branch, tag or commit"),
        ("https://h/a.git#a^{commit}", "is no name of a branch, tag or commit"),
        ("https://h/a.git#refs/heads/*", "is no name of a branch, tag or commit"),
        ("https://h/a.git#+a", "is no name of a branch, tag or commit"),
        ("https://h/a.git#a\nb", "the URL holds the character '\\n'"),
        ("https://h/a.git#:../..", "is no directory of a repository"),
        ("https://h/a.git?subdir=a/../../b", "is no directory of a repository"),
        ("https://h/a.git#:-x", "is no directory of a repository"),
        ("https://h/a.git#:a%00", "is no directory of a repository"),
        ("ssh://-oProxyCommand=touch/a", "begins with -"),
        ("ssh://git@-oProxyCommand=touch/a", "begins with -"),
        ("ssh://-x@h/a", "begins with -"),
        ("git@-h:a", "begins with -"),
        ("-u@h:a", "begins with -"),
        ("git@h:-a", "begins with -"),
        ("git@h:/-a", "begins with -"),
        ("ssh://h/-a", "begins with -"),
        ("git://h", "no repository"),
        ("git@h:", "no repository"),
        ("https://pw@/a.git", "names no host"),
    ] {
        match parse(source) {
            Some(Err(error)) => assert!(error.message.contains(says), "{source}: {error}"),
            other => panic!("{source}: {other:?}"),
        }
    }
    // No transport that runs a program or reads the disk is a repository at all.
    for path in ["ext::sh -c touch", "file:///etc", "fd::7", "/srv/a.git", "../a.git"] {
        assert_eq!(parse(path), None, "{path}");
    }
}

#[test]
fn passwords_are_not_shown() {
    let Some(Err(error)) = parse("https://me:hunter2@h/a.git?x=y") else { panic!() };
    assert!(!error.to_string().contains("hunter2"), "{error}");
    assert_eq!(git("https://me:hunter2@h/a.git").shown(), "https://h/a.git");
}
