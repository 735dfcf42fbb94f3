//! A repository: which commit is meant, and that commit's files.
//!
//! Takes a source. Gives the id of its commit, asked for every time unless the source names it, and a directory with
//! the files, fetched as shallow as the server allows. Must never: give files of another commit than the one that was
//! resolved and compared with the checksum.

use super::program::{Failed, Git, Transports};
use super::tidy::{GitDir, tidy};
use super::{FetchError, Fetcher, secrets};
use crate::EngineError;
use crate::layers::io;
use cooper_dockerfile::remote::{GitSource, Mtime, Scheme};
use cooper_image::RelPath;
use cooper_layerfs::root::Root;
use cooper_layerfs::stat::Kind;
use cooper_registry::{Secret, web};
use cooper_store::Ingest;
use std::path::{Path, PathBuf};

/// Where refs of ours are while something is fetched.
const OURS: &str = "refs/cooper";

/// Which commit a source means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitCommit {
    /// Its id.
    pub id: String,
    /// The id of the annotated tag that leads to it.
    pub tag: Option<String>,
    /// The full name of the branch or tag, when there is one.
    pub name: Option<String>,
}

/// How the files are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// With `.git`?
    pub git_dir: bool,
    /// The time of the build, for sources that want it, in seconds since 1970.
    pub now: i64,
}

/// Files of a commit. They are deleted with this value.
pub struct Checkout {
    /// The directory whose contents are taken.
    pub root: Root,
    /// The commit, which is known for certain now.
    pub commit: String,
    /// When it was made, in seconds since 1970.
    pub time: i64,
    _place: Ingest,
}

impl Fetcher<'_> {
    /// Asks which commit a source means, unless it says so itself.
    ///
    /// # Errors
    /// Network, [`FetchError::NoReference`], [`FetchError::Commit`].
    pub fn git_commit(&self, source: &GitSource) -> Result<GitCommit, EngineError> {
        let commit = match source.commit() {
            Some(id) => GitCommit { id: id.to_owned(), tag: None, name: None },
            None => {
                let place = self.engine.store.ingest()?;
                let git = self.git(source, &place)?;
                let (remote, asked) = (remote(source), source.reference.as_deref().unwrap_or("HEAD"));
                let peeled = format!("{asked}^{{}}");
                let args = ["ls-remote", "--symref", "--", &remote, asked, &peeled];
                let answer = git.must(place.path(), transports(source.scheme), &args)?;
                chosen(&answer, source.reference.as_deref()).ok_or_else(|| FetchError::NoReference {
                    url: source.shown(),
                    reference: source.reference.clone().unwrap_or_else(|| "default branch".to_owned()),
                })?
            }
        };
        compare(source, &commit)?;
        Ok(commit)
    }

    /// Fetches the files of a commit.
    ///
    /// # Errors
    /// Network, [`FetchError::NoDirectory`], [`FetchError::Hostile`], storage.
    pub fn git_files(&self, source: &GitSource, commit: &GitCommit, wanted: Wanted) -> Result<Checkout, EngineError> {
        let place = self.engine.store.ingest()?;
        let git = self.git(source, &place)?;
        let tree = place.path().join("tree");
        std::fs::create_dir(&tree).map_err(|e| io("creating a checkout", e))?;
        let format = if commit.id.len() == 64 { "--object-format=sha256" } else { "--object-format=sha1" };
        git.must(&tree, Transports::None, &["init", "-q", "--template=", format])?;
        fetch(&git, &tree, source, commit)?;
        let id = verified(&git, &tree, source, commit)?;
        let time = git.must(&tree, Transports::None, &["log", "-1", "--format=%ct", &id])?;
        let time = time.trim().parse().unwrap_or(0);
        git.must(&tree, Transports::None, &["remote", "add", "origin", &remote(source)])?;
        git.must(&tree, Transports::None, &["checkout", "-q", "--force", "--detach", &id])?;
        submodules(&git, &tree, source)?;
        let git_dir = if wanted.git_dir && source.subdir.is_none() { GitDir::Keep } else { GitDir::Remove };
        if git_dir == GitDir::Keep {
            settle(&git, &tree, source, commit, &id)?;
        }
        let mtime = if source.mtime == Mtime::Commit { time } else { wanted.now };
        tidy(&tree, git_dir, mtime).map_err(|e| io("tidying up a checkout", e))?;
        let root = below(Root::open(&tree)?, source, &id)?;
        Ok(Checkout { root, commit: id, time, _place: place })
    }

    fn git(&self, source: &GitSource, place: &Ingest) -> Result<Git<'_>, EngineError> {
        let secret = secrets::for_git(self.secrets, &source.host).or_else(|| password(source));
        let plain = remote(source);
        let web = matches!(source.scheme, Scheme::Https | Scheme::Http);
        let authorization = secret.as_ref().filter(|_| web).map(|s| (scope(&plain), s));
        let (around, proxies) = (&self.engine.git, &self.engine.proxies);
        let git = Git::new(place.path(), around, proxies, self.cancel, source.shown(), authorization)?;
        git.with_agent(self.secrets.agent())
    }
}

/// What git is given: passwords travel in its settings.
fn remote(source: &GitSource) -> String {
    match source.scheme {
        Scheme::Https | Scheme::Http => source.shown(),
        Scheme::Ssh | Scheme::Git => source.remote.clone(),
    }
}

/// For which URLs an authorization is: those of the repository. GitHub's is for all of GitHub, so that submodules there
/// can be fetched too.
fn scope(remote: &str) -> &str {
    ["https://github.com/", "https://www.github.com/"].into_iter().find(|s| remote.starts_with(s)).unwrap_or(remote)
}

/// User and password of the URL.
fn password(source: &GitSource) -> Option<Secret> {
    let (_, rest) = source.remote.split_once("://")?;
    let (user, _) = rest.split('/').next()?.rsplit_once('@')?;
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    Some(web::basic(&web::decoded(user), &web::decoded(password)))
}

fn transports(scheme: Scheme) -> Transports {
    match scheme {
        Scheme::Https => Transports::Https,
        Scheme::Http => Transports::Http,
        Scheme::Ssh => Transports::Ssh,
        Scheme::Git => Transports::Git,
    }
}

/// Picks the ref that is meant from what `ls-remote` lists: a full name, then a branch, then a tag.
fn chosen(answer: &str, reference: Option<&str>) -> Option<GitCommit> {
    let lines: Vec<(&str, &str)> = answer.lines().filter_map(|l| l.split_once('\t')).collect();
    let id_of = |name: &str| lines.iter().find(|(id, n)| *n == name && is_id(id)).map(|(id, _)| (*id).to_owned());
    let Some(reference) = reference.filter(|r| *r != "HEAD") else {
        let name = lines.iter().filter(|(_, n)| *n == "HEAD").find_map(|(id, _)| id.strip_prefix("ref: "));
        return Some(GitCommit { id: id_of("HEAD")?, tag: None, name: name.map(str::to_owned) });
    };
    let bare = |prefix: &str| reference.strip_prefix(prefix).unwrap_or(reference).to_owned();
    let (full, branch) = (format!("refs/{}", bare("refs/")), format!("refs/heads/{}", bare("refs/heads/")));
    for name in [full, branch, format!("refs/tags/{}", bare("refs/tags/"))] {
        if let Some(id) = id_of(&name) {
            return Some(match id_of(&format!("{name}^{{}}")) {
                Some(commit) => GitCommit { id: commit, tag: Some(id), name: Some(name) },
                None => GitCommit { id, tag: None, name: Some(name) },
            });
        }
    }
    None
}

fn is_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// The checksum may name the commit or the tag that leads to it.
fn compare(source: &GitSource, commit: &GitCommit) -> Result<(), FetchError> {
    let Some(expected) = &source.checksum else { return Ok(()) };
    let mut ids = std::iter::once(&commit.id).chain(&commit.tag);
    if ids.any(|id| id.starts_with(expected.as_str())) {
        return Ok(());
    }
    Err(FetchError::Commit { url: source.shown(), expected: expected.clone(), actual: commit.id.clone() })
}

/// Brings the commit into the repository: first that object alone, then what its name leads to, then everything.
fn fetch(git: &Git<'_>, tree: &Path, source: &GitSource, commit: &GitCommit) -> Result<(), EngineError> {
    let (remote, allowed) = (remote(source), transports(source.scheme));
    let object = commit.tag.as_ref().unwrap_or(&commit.id);
    let named = commit.name.as_ref().map(|name| format!("+{name}:{OURS}/it"));
    let (heads, tags) = (format!("+refs/heads/*:{OURS}/heads/*"), format!("+refs/tags/*:{OURS}/tags/*"));
    let mut tries: Vec<Vec<&str>> = vec![vec!["--depth=1", "--", &remote, object]];
    tries.extend(named.as_ref().map(|n| vec!["--depth=1", "--", remote.as_str(), n.as_str()]));
    tries.push(vec!["--", &remote, &heads, &tags]);
    let mut last = None;
    for arguments in tries {
        let args: Vec<&str> = ["fetch", "-q", "--no-tags"].into_iter().chain(arguments).collect();
        match git.run(tree, allowed, &args) {
            Ok(_) if has(git, tree, object)? => return Ok(()),
            Ok(_) => {}
            Err(Failed::Said(said)) if is_about_depth(&said) => last = Some(Failed::Said(said)),
            Err(other) => return Err(git.failure("fetch", other)),
        }
    }
    match last {
        Some(failed) => Err(git.failure("fetch", failed)),
        None => Err(FetchError::NoReference { url: source.shown(), reference: object.clone() }.into()),
    }
}

fn has(git: &Git<'_>, tree: &Path, object: &str) -> Result<bool, EngineError> {
    match git.run(tree, Transports::None, &["cat-file", "-e", object]) {
        Ok(_) => Ok(true),
        Err(Failed::Said(_)) => Ok(false),
        Err(other) => Err(git.failure("cat-file", other)),
    }
}

/// Did the server refuse how it was asked, and not what for?
fn is_about_depth(said: &str) -> bool {
    ["not our ref", "unadvertised", "shallow", "--depth", "couldn't find remote ref", "does not support"]
        .iter()
        .any(|words| said.contains(words))
}

/// The commit behind what was fetched, which has to be the one that was resolved.
fn verified(git: &Git<'_>, tree: &Path, source: &GitSource, commit: &GitCommit) -> Result<String, EngineError> {
    let object = format!("{}^{{commit}}", commit.tag.as_ref().unwrap_or(&commit.id));
    let id = git.must(tree, Transports::None, &["rev-parse", "--verify", "--quiet", "--end-of-options", &object])?;
    let id = id.trim().to_owned();
    // A source may name a tag by its id; then only now is it known which commit that is.
    let is_named = source.commit().is_some();
    if is_id(&id) && (is_named || id == commit.id) {
        return Ok(id);
    }
    Err(FetchError::Commit { url: source.shown(), expected: commit.id.clone(), actual: id }.into())
}

fn submodules(git: &Git<'_>, tree: &Path, source: &GitSource) -> Result<(), EngineError> {
    let named = std::fs::symlink_metadata(tree.join(".gitmodules")).is_ok_and(|m| m.is_file());
    if !source.submodules || !named {
        return Ok(());
    }
    let all = ["submodule", "--quiet", "update", "--init", "--recursive", "--checkout", "--force"];
    let shallow: Vec<&str> = all.into_iter().chain(["--depth=1"]).collect();
    match git.run(tree, Transports::Remote, &shallow) {
        Ok(_) => Ok(()),
        Err(Failed::Said(said)) if is_about_depth(&said) => git.must(tree, Transports::Remote, &all).map(drop),
        Err(other) => Err(git.failure("submodule", other)),
    }
}

/// Leaves `.git` as a clone has it: the branch or tag, its origin without a password, nothing of ours.
fn settle(git: &Git<'_>, tree: &Path, source: &GitSource, commit: &GitCommit, id: &str) -> Result<(), EngineError> {
    if let Some(name) = &commit.name {
        git.must(tree, Transports::None, &["update-ref", name, commit.tag.as_deref().unwrap_or(id)])?;
    }
    git.must(tree, Transports::None, &["remote", "set-url", "origin", &source.shown()])?;
    for name in ["FETCH_HEAD", OURS] {
        let path = tree.join(".git").join(name);
        let gone = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        match gone {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io("tidying up a checkout", e)),
            _ => {}
        }
    }
    Ok(())
}

/// The directory that is wanted, reached without following a link.
fn below(root: Root, source: &GitSource, commit: &str) -> Result<Root, EngineError> {
    let Some(subdir) = &source.subdir else { return Ok(root) };
    let mut at = RelPath::root();
    for component in PathBuf::from(subdir).components() {
        at = at.join(component.as_os_str().as_encoded_bytes());
        let kind = root.stat(&at).map_err(|e| io(format!("looking up {subdir}"), e))?.map(|m| m.kind);
        match kind {
            Some(Kind::Dir) => {}
            Some(Kind::Symlink) => {
                let what = format!("{} is a symbolic link, and none is followed to a directory", at.display());
                return Err(FetchError::Hostile { url: source.shown(), what }.into());
            }
            _ => {
                let (url, subdir, commit) = (source.shown(), subdir.clone(), commit.to_owned());
                return Err(FetchError::NoDirectory { url, subdir, commit }.into());
            }
        }
    }
    root.sub(&at).map_err(|e| io(format!("opening {subdir}"), e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ref_that_is_meant() {
        let [a, b, c, d] = ["a", "b", "c", "d"].map(|x| x.repeat(40));
        let answer = format!(
            "ref: refs/heads/main\tHEAD\n{a}\tHEAD\n{a}\trefs/heads/main\n{b}\trefs/heads/both\n{c}\trefs/tags/both\n\
             {c}\trefs/tags/v1\n{d}\trefs/tags/v1^{{}}\n{b}\trefs/heads/x/main\nnonsense\trefs/heads/odd\n"
        );
        let commit = |id: &str, tag: Option<&str>, name: &str| {
            Some(GitCommit { id: id.to_owned(), tag: tag.map(str::to_owned), name: Some(name.to_owned()) })
        };
        for (reference, wanted) in [
            (None, commit(&a, None, "refs/heads/main")),
            (Some("HEAD"), commit(&a, None, "refs/heads/main")),
            (Some("main"), commit(&a, None, "refs/heads/main")),
            (Some("both"), commit(&b, None, "refs/heads/both")),
            (Some("tags/both"), commit(&c, None, "refs/tags/both")),
            (Some("refs/tags/both"), commit(&c, None, "refs/tags/both")),
            (Some("v1"), commit(&d, Some(&c), "refs/tags/v1")),
            (Some("x"), None),
            (Some("odd"), None),
        ] {
            assert_eq!(chosen(&answer, reference), wanted, "{reference:?}");
        }
        assert_eq!(chosen("", None), None);
    }

    #[test]
    fn authorizations_stay_with_their_repository() {
        for (remote, wanted) in [
            ("https://h/a.git", "https://h/a.git"),
            ("https://github.com/a/b.git", "https://github.com/"),
            ("https://github.com.evil/a.git", "https://github.com.evil/a.git"),
        ] {
            assert_eq!(scope(remote), wanted);
        }
    }
}
