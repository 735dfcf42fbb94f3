//! Rules: which user may do what in which repositories.
//!
//! A line is `WHO WHAT REPOSITORIES...`. WHO is a user, `*` for every user or `anonymous` for everybody. WHAT is a list
//! with commas of `read`, `create`, `write`, `delete`, `all`, `metrics`. A repository may hold `*` for a part of one
//! component, `**` for any components. Rules only give; what no rule gives is not allowed.

use crate::gate::{Action, Who};
use crate::users::{LineError, Users};

/// Most rules of a registry: each request looks through them.
const MOST: usize = 10_000;

/// What a rule gives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Gives {
    read: bool,
    create: bool,
    replace: bool,
    delete: bool,
    metrics: bool,
}

#[derive(Debug)]
enum Whom {
    Everybody,
    Users,
    One(String),
}

#[derive(Debug)]
struct Rule {
    whom: Whom,
    gives: Gives,
    repositories: Vec<String>,
}

/// The rules of a registry.
#[derive(Debug)]
pub struct Rules(Vec<Rule>);

impl Default for Rules {
    /// Every user may do everything, and nobody else anything.
    fn default() -> Self {
        let gives = Gives { read: true, create: true, replace: true, delete: true, metrics: true };
        Self(vec![Rule { whom: Whom::Users, gives, repositories: vec!["**".to_owned()] }])
    }
}

impl Rules {
    /// Reads a file of rules for the users that there are.
    ///
    /// # Errors
    /// [`LineError`] for a line that is none, and for a user who has no password.
    pub fn parse(text: &str, users: &Users) -> Result<Self, LineError> {
        let mut rules = Vec::new();
        for (n, line) in text.lines().enumerate() {
            let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
            let [whom, what, repositories @ ..] = words.as_slice() else {
                if words.is_empty() {
                    continue;
                }
                return Err(LineError { line: n + 1, problem: "a rule is WHO WHAT REPOSITORIES".to_owned() });
            };
            let rule = rule(whom, what, repositories, users).map_err(|problem| LineError { line: n + 1, problem })?;
            rules.push(rule);
            if rules.len() > MOST {
                return Err(LineError { line: n + 1, problem: format!("there are more than {MOST} rules") });
            }
        }
        Ok(Self(rules))
    }

    /// Does any rule allow this?
    pub(crate) fn allow(&self, who: &Who, action: Action, repository: &str) -> bool {
        self.of(who).any(|rule| {
            let gives = match action {
                Action::Read => rule.gives.read,
                Action::Create => rule.gives.create,
                Action::Replace => rule.gives.replace,
                Action::Delete => rule.gives.delete,
            };
            gives && rule.repositories.iter().any(|pattern| matches(pattern, repository))
        })
    }

    /// Does any rule show the metrics?
    pub(crate) fn allow_metrics(&self, who: &Who) -> bool {
        self.of(who).any(|rule| rule.gives.metrics)
    }

    fn of<'a>(&'a self, who: &'a Who) -> impl Iterator<Item = &'a Rule> {
        self.0.iter().filter(move |rule| match (&rule.whom, who) {
            (Whom::Everybody, _) | (Whom::Users, Who::User(_)) => true,
            (Whom::One(wanted), Who::User(name)) => wanted == name,
            (Whom::Users | Whom::One(_), Who::Anonymous) => false,
        })
    }
}

fn rule(whom: &str, what: &str, repositories: &[&str], users: &Users) -> Result<Rule, String> {
    let whom = match whom {
        "anonymous" => Whom::Everybody,
        "*" => Whom::Users,
        name if users.has(name) => Whom::One(name.to_owned()),
        name => return Err(format!("there is no user {name:?} in the file of users")),
    };
    let mut gives = Gives::default();
    for word in what.split(',') {
        let (create, replace, delete) = match word {
            "read" => (false, false, false),
            "create" => (true, false, false),
            "write" => (true, true, false),
            "delete" => (false, false, true),
            "all" => (true, true, true),
            "metrics" => {
                gives.metrics = true;
                continue;
            }
            _ => return Err(format!("{word:?} is none of read, create, write, delete, all, metrics")),
        };
        // Who may change what is there may also see it.
        gives.read = true;
        gives.create |= create;
        gives.replace |= replace;
        gives.delete |= delete;
    }
    for pattern in repositories {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-/*".contains(&b);
        let component = |c: &str| !c.is_empty() && (c == "**" || !c.contains("**"));
        if !pattern.bytes().all(plain) || !pattern.split('/').all(component) {
            return Err(format!("{pattern:?} matches no repository"));
        }
    }
    if repositories.is_empty() == gives.read {
        return Err("read, create, write, delete and all name repositories, metrics alone names none".to_owned());
    }
    Ok(Rule { whom, gives, repositories: repositories.iter().map(|p| (*p).to_owned()).collect() })
}

/// Does a pattern match a name? `*` stands for any part of a component, `**` for any number of components. In time of
/// the product of the lengths, whatever the pattern.
fn matches(pattern: &str, name: &str) -> bool {
    let parts: Vec<&str> = name.split('/').collect();
    // Which numbers of leading components the pattern so far can stand for.
    let mut reached = vec![false; parts.len() + 1];
    reached[0] = true;
    for component in pattern.split('/') {
        if component == "**" {
            let first = reached.iter().position(|r| *r).unwrap_or(reached.len());
            reached.iter_mut().skip(first).for_each(|r| *r = true);
            continue;
        }
        let mut next = vec![false; reached.len()];
        for (n, part) in parts.iter().enumerate().filter(|(n, _)| reached[*n]) {
            next[n + 1] = component_matches(component, part);
        }
        reached = next;
    }
    reached[parts.len()]
}

fn component_matches(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else { return rest.is_empty() };
    for piece in middle {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, yes, no) in [
            ("a", &["a"][..], &["b", "a/b", "aa"][..]),
            ("a/*", &["a/b", "a/bc"], &["a", "a/b/c", "b/c"]),
            ("a/**", &["a", "a/b", "a/b/c"], &["ab", "b/a"]),
            ("**", &["a", "a/b"], &[]),
            ("**/x", &["x", "a/x", "a/b/x"], &["xa", "x/a"]),
            ("a/**/z", &["a/z", "a/b/z"], &["a", "z", "a/zz"]),
            ("t*-app", &["t-app", "team-app"], &["team-apps", "app"]),
            ("a*b*c", &["abc", "axbxc"], &["ac", "acb"]),
            ("ab*ba", &["abba", "abcba"], &["aba"]),
        ] {
            for name in yes {
                assert!(matches(pattern, name), "{pattern} {name}");
            }
            for name in no {
                assert!(!matches(pattern, name), "{pattern} {name}");
            }
        }
    }

    #[test]
    fn rules_give_and_nothing_takes() {
        let hash = bcrypt::hash("x", 4).unwrap();
        let users = Users::parse(&format!("ann:{hash}\nbob:{hash}")).unwrap();
        let text = "# rules\nanonymous read library/*  # bases\n* read team/**\nann create,delete team/**\nbob write team/bob\nbob metrics\n";
        let rules = Rules::parse(text, &users).unwrap();
        let user = |name: &str| Who::User(name.to_owned());
        for (who, action, name, expected) in [
            (Who::Anonymous, Action::Read, "library/debian", true),
            (Who::Anonymous, Action::Create, "library/debian", false),
            (Who::Anonymous, Action::Read, "team/app", false),
            (user("ann"), Action::Read, "library/debian", true),
            (user("ann"), Action::Create, "team/app", true),
            (user("ann"), Action::Replace, "team/app", false),
            (user("ann"), Action::Delete, "team/app", true),
            (user("bob"), Action::Replace, "team/bob", true),
            (user("bob"), Action::Delete, "team/bob", false),
            (user("bob"), Action::Create, "team/app", false),
            (user("bob"), Action::Read, "team/app", true),
        ] {
            assert_eq!(rules.allow(&who, action, name), expected, "{who} {action:?} {name}");
        }
        assert!(rules.allow_metrics(&user("bob")) && !rules.allow_metrics(&user("ann")));
        assert!(Rules::default().allow(&user("ann"), Action::Delete, "x"));
        assert!(!Rules::default().allow(&Who::Anonymous, Action::Read, "x"));
        for (wrong, line) in [
            ("carl read x", 1),
            ("\nann", 2),
            ("ann read", 1),
            ("ann readd x", 1),
            ("ann read X", 1),
            ("ann read a***", 1),
            ("ann read /a", 1),
            ("ann metrics x", 1),
        ] {
            assert_eq!(Rules::parse(wrong, &users).map_err(|e| e.line).err(), Some(line), "{wrong}");
        }
    }
}
