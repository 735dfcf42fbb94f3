//! The pages of docs/checks: each rule has one, each page has a rule, and its examples are what they say.

use crate::planning::request;
use cooper_dockerfile::lint::{self, Experimental, Rule, Set};
use cooper_image::{ImageConfig, Platform};
use cooper_plan::build::{BaseKey, Bases};
use cooper_plan::lint::{Stages, Subject, check};
use std::collections::BTreeSet;
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/checks")
}

fn page(rule: &Rule) -> String {
    let path = folder().join("../..").join(rule.page());
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The first block of that language behind a heading.
fn block<'a>(page: &'a str, heading: &str, language: &str) -> Option<&'a str> {
    let behind = page.split_once(heading)?.1;
    let (_, text) = behind.split_once(&format!("```{language}\n"))?;
    Some(text.split_once("```")?.0)
}

/// The one base that is known: for another platform than is asked for.
fn bases() -> Bases {
    let reference = "for-arm64-only".parse::<cooper_image::Reference>().expect("a name").or_latest();
    let key = BaseKey { image: cooper_plan::build::BaseImage::Named(reference), platform: Platform::linux("amd64") };
    Bases::from([(key, ImageConfig::scratch(&Platform::linux("arm64")))])
}

fn found(rule: &Rule, text: &str, ignore: Option<&str>) -> BTreeSet<&'static str> {
    let experimental =
        if matches!(rule.set, Set::Own | Set::Advice) { Experimental::OwnToo } else { Experimental::Named };
    let (request, bases) = (request(), bases());
    let ignore = ignore.map(str::as_bytes);
    let subject = Subject { text, request: &request, ignore, bases: &bases, experimental, stages: Stages::All };
    let found = check(&subject).expect("there are no settings").findings.into_iter().map(|f| f.rule.id);
    // Examples have short names of bases, which is what that rule is against.
    found.filter(|id| rule.id == "BaseNotPinned" || *id != "BaseNotPinned").collect()
}

#[test]
fn every_rule_has_a_page_and_every_page_a_rule() {
    let pages: BTreeSet<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().trim_end_matches(".md").to_owned())
        .filter(|name| name != "README")
        .collect();
    let rules: BTreeSet<String> = lint::rules().map(|r| r.id.to_owned()).collect();
    assert_eq!(pages, rules);
    let index = std::fs::read_to_string(folder().join("README.md")).unwrap();
    for rule in lint::rules() {
        let text = page(rule);
        assert!(text.starts_with(&format!("# {}\n", rule.id)), "{}", rule.id);
        let flat = text.replace('\n', " ");
        for says in [rule.description.trim_end_matches('.'), rule.why, rule.fix, &format!("# check=skip={}`", rule.id)]
        {
            assert!(flat.contains(says), "{} does not say {says:?}", rule.id);
        }
        assert!(index.contains(&format!("[{0}]({0}.md)", rule.id)), "{}", rule.id);
    }
}

#[test]
fn examples_are_what_they_say() {
    for rule in lint::rules() {
        let text = page(rule);
        let ignore = block(&text, "With this .dockerignore", "text");
        let bad = block(&text, "## Bad", "dockerfile").unwrap();
        let good = block(&text, "## Good", "dockerfile").unwrap();
        assert_eq!(found(rule, bad, ignore), BTreeSet::from([rule.id]), "the bad example of {}", rule.id);
        assert_eq!(found(rule, good, ignore), BTreeSet::new(), "the good example of {}", rule.id);
        for example in [bad, good] {
            assert!(cooper_dockerfile::parse(example).dockerfile.is_some(), "{}\n{example}", rule.id);
        }
        // What mends the bad example leaves nothing for the rule to say.
        let source = lint::Source::new(bad);
        let (request, bases) = (request(), bases());
        let subject = Subject {
            text: bad,
            request: &request,
            ignore: None,
            bases: &bases,
            experimental: Experimental::OwnToo,
            stages: Stages::All,
        };
        let edits: Vec<_> = check(&subject)
            .unwrap()
            .findings
            .into_iter()
            .filter(|f| f.rule.id == rule.id)
            .flat_map(|f| f.edits)
            .collect();
        if !edits.is_empty() {
            let mended = lint::apply(source.text(), &edits);
            assert!(!found(rule, &mended, ignore).contains(rule.id), "{}\n{mended}", rule.id);
        }
    }
}
