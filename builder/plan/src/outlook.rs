//! Keys as far as they are known before anything is run, as text for people and for golden files.
//!
//! Takes a plan; gives the parts of each step's record. What only a result can say, the layers below and the digest
//! of chosen files, is a placeholder between `<` and `>`; a key is shown where no part is one. Must never: show a
//! placeholder as if it were a value (values are quoted).

use crate::key::{self, Found, KeyRecord};
use crate::op::{AddSource, Base, Op, Plan, Stage};
use cooper_image::Digest;
use std::collections::BTreeMap;

/// The text. `clamp` is the Unix time that no file may be later than, if there is one.
pub fn keys(plan: &Plan, clamp: Option<i64>) -> String {
    let mut outlook = Outlook { plan, clamp, out: String::new(), steps: 0, tops: Vec::new() };
    for (number, stage) in plan.stages.iter().enumerate() {
        outlook.stage(number, stage);
    }
    outlook.out
}

struct Outlook<'a> {
    plan: &'a Plan,
    clamp: Option<i64>,
    out: String,
    /// Steps that have a key so far; they are counted through all stages.
    steps: usize,
    /// What the layers of each stage are called; `None` is an empty root.
    tops: Vec<Option<String>>,
}

impl Outlook<'_> {
    fn stage(&mut self, number: usize, stage: &Stage) {
        self.line(format!("stage {number} {:?} {}", stage.label, stage.platform));
        let mut top = match &stage.base {
            Base::Scratch => None,
            Base::Image(reference) => Some(format!("<layers of {reference}>")),
            Base::Layout(name) => Some(format!("<layers of the context {name}>")),
            // Files are copied into an empty root.
            Base::Files(_) => None,
            Base::Stage(id) => self.tops.get(id.0).cloned().flatten(),
        };
        for step in &stage.steps {
            let Some((record, mut unknown)) = self.record(stage, &step.op) else { continue };
            unknown.extend(top.clone().map(|t| ("parent".to_owned(), t)));
            self.steps += 1;
            self.line(format!("  step {} lines {}-{} {:?}", self.steps, step.span.start, step.span.end, step.text));
            self.parts(&record, &unknown);
            top = Some(format!("<result of step {}>", self.steps));
        }
        self.tops.push(top);
    }

    /// The record of a step that has one, and the parts that are not known.
    fn record(&self, stage: &Stage, op: &Op) -> Option<(KeyRecord, BTreeMap<String, String>)> {
        let mut unknown = BTreeMap::new();
        let record = match op {
            Op::Edit(_) => return None,
            Op::Exec(exec) => {
                for (number, mount) in exec.mounts.iter().enumerate() {
                    let files =
                        mount.source().map(|s| format!("<digest of files of {}>", self.source(s.from.as_ref())));
                    unknown.extend(files.map(|f| (key::files_part(number, mount), f)));
                }
                key::exec_key(None, exec, &key::Given::default(), &stage.platform)
            }
            Op::Workdir(workdir) => key::workdir_key(None, workdir, &stage.platform),
            Op::Copy(copy) => {
                unknown.insert("files".to_owned(), format!("<digest of files of {}>", self.source(copy.from.as_ref())));
                key::copy_key(None, copy, &Digest::sha256(""), &stage.platform)
            }
            Op::Fetch(fetch) => {
                let found: Vec<Found> =
                    fetch.sources.iter().enumerate().map(|(n, s)| expected(n + 1, s, &mut unknown)).collect();
                key::fetch_key(None, fetch, &found, &stage.platform)
            }
        };
        Some((record.dated(self.clamp), unknown))
    }

    fn source(&self, from: Option<&Base>) -> String {
        match from {
            None => "the context".to_owned(),
            Some(Base::Scratch) => "an empty root".to_owned(),
            Some(Base::Image(reference)) => format!("the image {reference}"),
            Some(Base::Layout(name) | Base::Files(name)) => format!("the context {name}"),
            Some(Base::Stage(id)) => {
                let label = self.plan.stages.get(id.0).map_or("", |s| s.label.as_str());
                format!("the stage {label}")
            }
        }
    }

    fn parts(&mut self, record: &KeyRecord, unknown: &BTreeMap<String, String>) {
        let mut shown: BTreeMap<&str, String> =
            record.parts.iter().map(|(n, v)| (n.as_str(), format!("{v:?}"))).collect();
        shown.extend(unknown.iter().map(|(n, v)| (n.as_str(), v.clone())));
        for (name, value) in shown {
            self.line(format!("    {} {value}", name.escape_debug()));
        }
        if unknown.is_empty() {
            self.line(format!("    = {}", record.digest()));
        }
    }

    fn line(&mut self, text: String) {
        self.out.push_str(&text);
        self.out.push('\n');
    }
}

/// What a source will turn out to be; the parts that only its server can say are not known.
fn expected(number: usize, source: &AddSource, unknown: &mut BTreeMap<String, String>) -> Found {
    let mut ask = |part: &str, what: String| drop(unknown.insert(format!("source.{number}.{part}"), what));
    match source {
        AddSource::Local(_) => {
            ask("files", "<digest of files of the context>".to_owned());
            Found::Files(Digest::sha256(""))
        }
        AddSource::Http { checksum: Some(digest), .. } => Found::Http { digest: digest.clone(), modified: None },
        AddSource::Http { source, checksum: None } => {
            ask("digest", format!("<digest of {}>", source.shown()));
            ask("modified", format!("<date of {}>", source.shown()));
            Found::Http { digest: Digest::sha256(""), modified: None }
        }
        AddSource::Git { source, git_dir } => {
            if source.commit().is_none() {
                ask("commit", format!("<commit of {}>", source.shown()));
                if *git_dir {
                    ask("git", format!("<branch or tag of {}>", source.shown()));
                }
            }
            Found::Git { commit: source.commit().unwrap_or_default().to_owned(), name: None }
        }
    }
}
