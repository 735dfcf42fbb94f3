//! The ignore file against a second, naive reading of its rules.

use cooper_dockerfile::ignore::Ignore;
use proptest::prelude::*;

/// Does the pattern match the whole path? Straight from the definition of each wildcard.
fn matches(pattern: &[char], path: &[char]) -> bool {
    match pattern {
        [] => path.is_empty(),
        ['*', '*', rest @ ..] => {
            let rest = rest.strip_prefix(&['/']).unwrap_or(rest);
            if rest.is_empty() {
                return true;
            }
            matches(rest, path) || (0..path.len()).any(|i| path[i] == '/' && matches(rest, &path[i + 1..]))
        }
        ['*', rest @ ..] => {
            let name = path.iter().position(|c| *c == '/').unwrap_or(path.len());
            (0..=name).any(|i| matches(rest, &path[i..]))
        }
        ['?', rest @ ..] => path.first().is_some_and(|c| *c != '/') && matches(rest, &path[1..]),
        ['[', rest @ ..] => {
            let (negated, rest) = match rest.strip_prefix(&['^']) {
                Some(rest) => (true, rest),
                None => (false, rest),
            };
            let end = rest.iter().position(|c| *c == ']').expect("the class is closed");
            let is = |c: char| match &rest[..end] {
                [from, '-', to] => (*from..=*to).contains(&c),
                letters => letters.contains(&c),
            };
            path.first().is_some_and(|c| *c != '/' && is(*c) != negated) && matches(&rest[end + 1..], &path[1..])
        }
        ['\\', c, rest @ ..] => path.first() == Some(c) && matches(rest, &path[1..]),
        [c, rest @ ..] => path.first() == Some(c) && matches(rest, &path[1..]),
    }
}

/// The rules one by one, on the cleaned pattern.
fn ignored(lines: &[(bool, String)], path: &str) -> bool {
    let mut ignored = false;
    for (takes_back, pattern) in lines {
        // What begins with ** and is plain behind it is the end of a path, as in BuildKit.
        let end = pattern.strip_prefix("**").filter(|e| !e.is_empty() && !e.contains(['*', '?', '[', ']', '\\']));
        let pattern: Vec<char> = pattern.chars().collect();
        let names: Vec<&str> = path.split('/').collect();
        let hit = (1..=names.len()).any(|n| {
            let part = names[..n].join("/");
            matches(&pattern, &part.chars().collect::<Vec<_>>()) || end.is_some_and(|end| part.ends_with(end))
        });
        if hit {
            ignored = !takes_back;
        }
    }
    ignored
}

fn pattern() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        4 => "[ab]{1,2}",
        2 => Just("*".to_owned()),
        2 => Just("**".to_owned()),
        1 => Just("?".to_owned()),
        1 => Just("a*".to_owned()),
        1 => Just("*b".to_owned()),
        1 => Just("a**b".to_owned()),
        1 => Just("**b".to_owned()),
        1 => Just("[a]*".to_owned()),
        1 => Just("[^a]".to_owned()),
        1 => Just("a[a-b]".to_owned()),
        1 => Just("\\*".to_owned()),
        1 => Just("\\ab".to_owned()),
    ];
    proptest::collection::vec(name, 1..4).prop_map(|names| names.join("/"))
}

/// What is written around a pattern and means nothing.
fn dress() -> impl Strategy<Value = (&'static str, &'static str)> {
    let before = prop::sample::select(vec!["", "", "/", "./", " ", "\t/", "x/../"]);
    (before, prop::sample::select(vec!["", "", "/", " ", "\r", "/.", "\n# comment\n#"]))
}

fn path() -> impl Strategy<Value = String> {
    proptest::collection::vec("[ab*]{1,3}", 1..5).prop_map(|names| names.join("/"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_two_readings_agree(dressed in proptest::collection::vec((any::<bool>(), pattern(), dress()), 0..6), paths in proptest::collection::vec(path(), 1..20)) {
        let line = |(b, p, (before, behind)): &(bool, String, (&str, &str))| {
            format!("{}{before}{p}{behind}\n", if *b { "!" } else { "" })
        };
        let file: String = dressed.iter().map(line).collect();
        let lines: Vec<(bool, String)> = dressed.iter().map(|(b, p, _)| (*b, p.clone())).collect();
        let ignore = Ignore::parse(file.as_bytes()).unwrap();
        for path in &paths {
            prop_assert_eq!(ignore.ignored(path.as_bytes()), ignored(&lines, path), "{:?} {}", file, path);
            // Whoever prunes must not lose a path.
            if !ignored(&lines, path) {
                for (at, _) in path.match_indices('/') {
                    prop_assert!(ignore.may_hold_included(&path.as_bytes()[..at]), "{:?} {} at {}", file, path, at);
                }
            }
        }
    }

    #[test]
    fn any_bytes_are_answered(file in proptest::collection::vec(any::<u8>(), 0..60), path in proptest::collection::vec(any::<u8>(), 0..30)) {
        if let Ok(ignore) = Ignore::parse(&file) {
            ignore.ignored(&path);
            ignore.may_hold_included(&path);
        }
    }
}
