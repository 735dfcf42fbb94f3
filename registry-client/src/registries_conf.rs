//! containers-registries.conf(5), version 2: which places serve a name. Takes the file's text;
//! gives the table that a name belongs to. Must never read a file, nor accept the version 1 form,
//! whose keys mean something else.
//!
//! Honoured: of `[[registry]]` `prefix` (with `*.`), `location`, `insecure`, `blocked`,
//! `mirror-by-digest-only`, of `[[registry.mirror]]` `location`, `insecure`, `pull-from-mirror`, and
//! `[aliases]`. `unqualified-search-registries` is passed over: which of several registries answers
//! would decide what is run. So `short-name-mode`, which is about them, has nothing to say, and is only
//! checked. Other keys concern other tools.

use crate::RegistryError;
use crate::redact::excerpt;
use cooper_image::{Aliases, Reference};
use serde::Deserialize;

/// The whole configuration.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RegistriesConf {
    /// Settings for parts of the name space.
    #[serde(default, rename = "registry")]
    pub registries: Vec<RegistryTable>,
    /// Short names and what they stand for.
    #[serde(default)]
    pub aliases: Aliases,
    /// Only there so that a wrong value is told.
    #[serde(default, rename = "short-name-mode")]
    _short_name_mode: Option<ShortNameMode>,
    /// Only there to recognise version 1.
    #[serde(default, rename = "registries")]
    version_1: Option<toml::Value>,
}

/// When other tools ask which of several registries a short name means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ShortNameMode {
    Enforcing,
    // So those tools read an empty text.
    #[serde(alias = "")]
    Permissive,
    Disabled,
}

/// One `[[registry]]` table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RegistryTable {
    /// Beginning of the names that it is about; the location when it is empty.
    #[serde(default)]
    pub prefix: String,
    /// Where these names really are; the prefix when it is empty.
    #[serde(default)]
    pub location: String,
    /// May certificates be wrong and http be plain?
    #[serde(default)]
    pub insecure: bool,
    /// Are these names forbidden?
    #[serde(default)]
    pub blocked: bool,
    /// Are mirrors for names with a digest only?
    #[serde(default)]
    pub mirror_by_digest_only: bool,
    /// Places to try first.
    #[serde(default, rename = "mirror")]
    pub mirrors: Vec<Mirror>,
}

/// One `[[registry.mirror]]` table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Mirror {
    /// What stands in for the prefix.
    pub location: String,
    /// May certificates be wrong and http be plain?
    #[serde(default)]
    pub insecure: bool,
    /// For which names it is used.
    #[serde(default)]
    pub pull_from_mirror: Option<PullFromMirror>,
}

/// For which names a mirror is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PullFromMirror {
    /// For every name.
    All,
    /// For names with a digest.
    DigestOnly,
    /// For names with a tag and no digest.
    TagOnly,
}

impl RegistriesConf {
    /// Parses one file.
    ///
    /// # Errors
    /// [`RegistryError::Config`] when it is no TOML, of version 1, or contradicts itself.
    pub fn parse(text: &str) -> Result<Self, RegistryError> {
        let bad = |cause: String| RegistryError::Config { what: "registries.conf".to_owned(), cause };
        let mut conf: Self = toml::from_str(text).map_err(|e| bad(placed(text, &e)))?;
        if conf.version_1.is_some() {
            return Err(bad(
                "the [registries.…] tables of version 1 are not supported; write [[registry]] tables".to_owned()
            ));
        }
        conf.registries.iter_mut().try_for_each(|t| t.normalise().map_err(bad))?;
        let mut prefixes: Vec<&str> = conf.registries.iter().map(|t| t.prefix.as_str()).collect();
        prefixes.sort_unstable();
        if let Some(twice) = prefixes.windows(2).find(|w| w.first() == w.last()) {
            return Err(bad(format!("two [[registry]] tables have the prefix {:?}", twice.first().unwrap_or(&""))));
        }
        Ok(conf)
    }

    /// This configuration with a later file laid over it (containers-registries.conf.d(5)): tables
    /// of the same prefix and aliases of the same name are replaced.
    pub fn overlaid(mut self, later: Self) -> Self {
        self.registries.retain(|t| later.registries.iter().all(|l| l.prefix != t.prefix));
        self.registries.extend(later.registries);
        Self { aliases: self.aliases.overlaid(later.aliases), ..self }
    }

    /// The table with the longest prefix that a name begins with.
    pub(crate) fn table(&self, reference: &Reference) -> Option<&RegistryTable> {
        self.table_of(&name_of(reference))
    }

    /// The same for a text, which can be a host alone: then no table of a part of its repositories is meant.
    pub(crate) fn table_of(&self, name: &str) -> Option<&RegistryTable> {
        self.registries.iter().filter(|t| t.matched(name).is_some()).max_by_key(|t| t.prefix.len())
    }
}

/// What is wrong, and on which line; the parser's own report has several lines.
fn placed(text: &str, error: &toml::de::Error) -> String {
    let message = excerpt(error.message().trim_end().replace('\n', ", ").as_bytes());
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else { return message };
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
    format!("line {line}, column {column}: {message}")
}

/// Host and repository, without tag and digest.
pub(crate) fn name_of(reference: &Reference) -> String {
    format!("{}/{}", reference.host(), reference.repository())
}

impl RegistryTable {
    /// Fills prefix and location from each other and checks both.
    fn normalise(&mut self) -> Result<(), String> {
        for text in
            [&mut self.prefix, &mut self.location].into_iter().chain(self.mirrors.iter_mut().map(|m| &mut m.location))
        {
            *text = text.trim_end_matches('/').to_owned();
            if text.contains("://") {
                return Err(format!("{text:?} is a URL; write host[:port][/path]"));
            }
        }
        if self.prefix.is_empty() {
            self.prefix.clone_from(&self.location);
        }
        if self.prefix.is_empty() {
            return Err("a [[registry]] table has neither prefix nor location".to_owned());
        }
        let wild = self.prefix.starts_with("*.");
        if self.location.is_empty() && !wild {
            self.location.clone_from(&self.prefix);
        }
        if wild && self.prefix.contains('/') || self.prefix.trim_start_matches("*.").contains('*') {
            return Err(format!("prefix {:?}: a wildcard is *.host and nothing more", self.prefix));
        }
        let path_holds_tag = |t: &str| t.contains('@') || t.split_once('/').is_some_and(|(_, path)| path.contains(':'));
        if let Some(bad) = [&self.prefix, &self.location].into_iter().find(|t| path_holds_tag(t)) {
            return Err(format!("{bad:?}: a prefix or location with a tag or digest is not supported"));
        }
        if let Some(m) = self.mirrors.iter().find(|m| m.location.is_empty()) {
            return Err(format!("a mirror of {:?} has no location ({m:?})", self.prefix));
        }
        if self.mirror_by_digest_only && self.mirrors.iter().any(|m| m.pull_from_mirror.is_some()) {
            return Err(format!("{:?}: mirror-by-digest-only and pull-from-mirror contradict each other", self.prefix));
        }
        Ok(())
    }

    /// The part of a name behind the prefix, when the name begins with it.
    pub(crate) fn matched<'n>(&self, name: &'n str) -> Option<&'n str> {
        if let Some(parent) = self.prefix.strip_prefix('*') {
            let end = name.find('/').unwrap_or(name.len());
            let (host, rest) = name.split_at(end);
            return host.ends_with(parent).then_some(rest);
        }
        name.strip_prefix(&self.prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The mirrors that are asked for this name.
    pub(crate) fn mirrors_for(&self, reference: &Reference) -> impl Iterator<Item = &Mirror> {
        let by_digest = reference.digest().is_some();
        let default = if self.mirror_by_digest_only { PullFromMirror::DigestOnly } else { PullFromMirror::All };
        self.mirrors.iter().filter(move |m| match m.pull_from_mirror.unwrap_or(default) {
            PullFromMirror::All => true,
            PullFromMirror::DigestOnly => by_digest,
            PullFromMirror::TagOnly => !by_digest,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
unqualified-search-registries = ["one.example", "two.example:5000"]
short-name-mode = "enforcing"

[aliases]
"debian" = "one.example:5000/os/debian"
"team/app" = "localhost/app"
"gone" = ""

[[registry]]
prefix = "docker.io"
location = "docker.io"
[[registry.mirror]]
location = "mirror.example/hub"
[[registry.mirror]]
location = "127.0.0.1:5001"
insecure = true
pull-from-mirror = "digest-only"

[[registry]]
prefix = "docker.io/secret"
blocked = true

[[registry]]
prefix = "*.corp.example"
insecure = true

[[registry]]
location = "plain.example:80"
"#;

    fn table<'c>(conf: &'c RegistriesConf, name: &str) -> Option<&'c str> {
        conf.table(&name.parse().unwrap()).map(|t| t.prefix.as_str())
    }

    #[test]
    fn longest_prefix_wins_at_separators() {
        let conf = RegistriesConf::parse(FILE).unwrap();
        for (name, prefix) in [
            ("debian", Some("docker.io")),
            ("secret/x", Some("docker.io/secret")),
            ("secrets/x", Some("docker.io")),
            ("a.corp.example/x", Some("*.corp.example")),
            ("a.b.corp.example/x", Some("*.corp.example")),
            ("corp.example/x", None),
            ("evilcorp.example/x", None),
            ("plain.example:80/x", Some("plain.example:80")),
            ("plain.example/x", None),
        ] {
            assert_eq!(table(&conf, name), prefix, "{name}");
        }
    }

    #[test]
    fn mirrors_by_kind_of_name() {
        let conf = RegistriesConf::parse(FILE).unwrap();
        let digest = cooper_image::Digest::sha256("x");
        let count = |name: &str| {
            let r: Reference = name.parse().unwrap();
            conf.table(&r).unwrap().mirrors_for(&r).count()
        };
        assert_eq!(count("debian:12"), 1);
        assert_eq!(count(&format!("debian@{digest}")), 2);
    }

    /// A name as typed, and what it stands for.
    fn followed(conf: &RegistriesConf, typed: &str) -> String {
        conf.aliases.follow(typed.parse().unwrap()).to_string()
    }

    #[test]
    fn short_names() {
        let conf = RegistriesConf::parse(FILE).unwrap();
        let digest = cooper_image::Digest::sha256("x");
        for (typed, name) in [
            ("debian", "one.example:5000/os/debian".to_owned()),
            ("debian:12", "one.example:5000/os/debian:12".to_owned()),
            (&format!("debian@{digest}"), format!("one.example:5000/os/debian@{digest}")),
            (&format!("debian:12@{digest}"), format!("one.example:5000/os/debian:12@{digest}")),
            ("team/app:1", "localhost/app:1".to_owned()),
            // What was typed decides, not what it would mean.
            ("library/debian", "docker.io/library/debian".to_owned()),
            ("docker.io/library/debian", "docker.io/library/debian".to_owned()),
            ("q.example/debian", "q.example/debian".to_owned()),
            ("localhost/debian", "localhost/debian".to_owned()),
            // No guess among the search registries.
            ("app", "docker.io/library/app".to_owned()),
            ("gone:1", "docker.io/library/gone:1".to_owned()),
        ] {
            assert_eq!(followed(&conf, typed), name, "{typed}");
            assert_eq!(followed(&RegistriesConf::default(), typed), typed.parse::<Reference>().unwrap().to_string());
        }
    }

    #[test]
    fn an_alias_is_followed_once() {
        let conf = RegistriesConf::parse("[aliases]\na = \"r.example/b\"\nb = \"r.example/a\"").unwrap();
        let once = conf.aliases.follow("a:1".parse().unwrap());
        assert_eq!((once.to_string().as_str(), once.alias(), once.short()), ("r.example/b:1", Some("a"), None));
        assert_eq!(conf.aliases.follow(once).to_string(), "r.example/b:1");
    }

    #[test]
    fn the_mode_is_checked() {
        for mode in ["enforcing", "permissive", "disabled", ""] {
            RegistriesConf::parse(&format!("short-name-mode = {mode:?}")).unwrap();
        }
    }

    #[test]
    fn refused_files_say_why() {
        for (text, words) in [
            ("[registries.search]\nregistries = []", "version 1"),
            ("[[registry]]\nblocked = true", "neither prefix nor location"),
            ("[[registry]]\nlocation = \"https://a.example\"", "is a URL"),
            ("[[registry]]\nprefix = \"*.a.example/b\"", "wildcard"),
            ("[[registry]]\nlocation = \"a.example/b:tag\"", "tag or digest"),
            ("[[registry]]\nlocation=\"a.example\"\n[[registry]]\nprefix=\"a.example\"", "two [[registry]] tables"),
            (
                "[[registry]]\nlocation=\"a.example\"\nmirror-by-digest-only=true\n[[registry.mirror]]\nlocation=\"b\"\npull-from-mirror=\"all\"",
                "contradict",
            ),
            (
                "[[registry]]\nlocation=\"a.example\"\n[[registry.mirror]]\nlocation=\"b\"\npull-from-mirror=\"some\"",
                "unknown variant",
            ),
            ("[aliases]\n\"q.example/a\" = \"q.example/b\"", "the alias \"q.example/a\" is no name without host"),
            ("[aliases]\n\"a:1\" = \"q.example/b\"", "the alias \"a:1\" is no name"),
            ("[aliases]\nA = \"q.example/b\"", "the alias \"A\" is no name"),
            ("[aliases]\na = \"b\"", "the alias \"a\" stands for \"b\", which is no HOST/REPOSITORY"),
            ("[aliases]\na = \"team/b\"", "no HOST/REPOSITORY"),
            ("[aliases]\na = \"q.example/b:1\"", "without tag and digest"),
            ("[aliases]\na = \"not a name\"", "no HOST/REPOSITORY"),
            ("[aliases]\na = [\"q.example/b\"]", "expected a string"),
            ("short-name-mode = \"some\"", "unknown variant"),
            ("\n][", "registries.conf: line 2, column 1: "),
            ("[aliases]\n  a = 1", "registries.conf: line 2, column 7: invalid type: integer `1`"),
        ] {
            let error = RegistriesConf::parse(text).unwrap_err().to_string();
            assert!(error.contains(words) && !error.contains("\\u{a}"), "{text}: {error}");
        }
    }

    #[test]
    fn drop_ins_replace() {
        let base = RegistriesConf::parse(FILE).unwrap();
        let later = "[aliases]\ndebian=\"\"\ngone=\"r.example/back\"\n[[registry]]\nprefix=\"docker.io\"\nblocked=true";
        let both = base.overlaid(RegistriesConf::parse(later).unwrap());
        assert!(both.table(&"debian".parse().unwrap()).unwrap().blocked);
        assert_eq!(both.registries.len(), 4);
        for (typed, name) in
            [("debian", "docker.io/library/debian"), ("gone", "r.example/back"), ("team/app", "localhost/app")]
        {
            assert_eq!(followed(&both, typed), name, "{typed}");
        }
        let again = both.overlaid(RegistriesConf::parse("[aliases]\ndebian=\"r.example/d\"").unwrap());
        assert_eq!(followed(&again, "debian"), "r.example/d");
    }
}
