//! `cooper doctor`.

use super::Place;
use crate::failure::{Exit, Failure};
use crate::flags::ListFlags;
use crate::open::{self, Session};
use crate::ui::escape;
use crate::{report, stdout};
use cooper_engine::EngineError;
use cooper_sandbox::{Finding as Seen, Report, Tier};
use cooper_store::Store;
use serde::Serialize;
use std::path::Path;

/// What every store has.
const FORMAT: &str = "format";

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Diagnosis {
    /// Can builds run?
    can_build: bool,
    /// How steps run: `root`, `rootless`, `rootless-one-id` or `container`.
    tier: Option<&'static str>,
    /// The same for people, where it is not the same word.
    #[serde(skip)]
    lesser: Option<&'static str>,
    /// What prevents builds.
    problem: Option<String>,
    /// Where the store is, or would be.
    store: Option<String>,
    /// Each thing that was looked at.
    findings: Vec<Finding>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    name: &'static str,
    ok: bool,
    detail: String,
    hint: Option<String>,
}

/// Says what this machine permits; succeeds only where builds can run.
pub fn run(place: &Place, flags: &ListFlags) -> Result<Exit, Failure> {
    let store = place.root().ok().map(|r| r.display().to_string());
    let mut report = cooper_sandbox::probe();
    let tier = report.tier.as_ref().ok().copied();
    if let Ok(root) = place.root() {
        report.findings.extend(cooper_sandbox::probe_store(&root, tier));
        if let Some(unusable) = tier.and_then(|tier| unusable(place, &root, tier)) {
            // What the file system could do does not matter then.
            report.findings.retain(|finding| finding.name != unusable.name);
            report.findings.push(unusable);
        }
    }
    let diagnosis = diagnose(report, store);
    if flags.json {
        stdout::json(&diagnosis)?;
    } else {
        stdout::line(&table(&diagnosis))?;
    }
    Ok(if diagnosis.can_build { Exit::Done } else { Exit::Sandbox })
}

/// Why a store that is there, or another directory in its place, cannot be used by builds that run so. None is made.
fn unusable(place: &Place, root: &Path, tier: Tier) -> Option<Seen> {
    let used = match root.join(FORMAT).symlink_metadata() {
        Ok(_) => Session::open(place, root, tier).and_then(|session| Ok(session.engine.slow_roots().map(drop)?)),
        Err(_) if root.is_dir() => Store::could_be_at(root).map_err(|e| EngineError::from(e).into()),
        Err(_) => return None,
    };
    let failure = used.err()?;
    Some(Seen { name: "store", ok: false, detail: report::line(&failure), hint: failure.hint() })
}

fn diagnose(report: Report, store: Option<String>) -> Diagnosis {
    let unfit = report.findings.iter().find(|f| !f.ok).map(|f| format!("{}: {}", f.name, f.detail));
    let findings = report.findings.into_iter();
    let findings = findings.map(|f| Finding { name: f.name, ok: f.ok, detail: f.detail, hint: f.hint });
    Diagnosis {
        can_build: report.tier.is_ok() && unfit.is_none(),
        tier: report.tier.as_ref().ok().map(|t| open::tier_name(*t)),
        lesser: report.tier.as_ref().ok().and_then(|t| open::lesser_tier(*t)),
        problem: report.tier.err().map(|e| e.to_string()).or(unfit),
        store,
        findings: findings.collect(),
    }
}

fn table(d: &Diagnosis) -> String {
    let width = d.findings.iter().map(|f| f.name.chars().count()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for f in &d.findings {
        // What is not needed by every build takes nothing from the others.
        let state = match (f.ok, &f.hint) {
            (false, _) => "missing",
            (true, Some(_)) => "partly",
            (true, None) => "ok",
        };
        lines.push(format!("{state:<7}  {:<width$}  {}", f.name, escape::line(&f.detail)));
        if let Some(hint) = &f.hint {
            lines.push(format!("{:<7}  {:<width$}  hint: {}", "", "", escape::line(hint)));
        }
    }
    if let Some(store) = &d.store {
        lines.push(format!("the store is {}", escape::line(store)));
    }
    lines.push(match (d.tier, &d.problem) {
        (Some(tier), None) => format!("builds can run here, as {}", d.lesser.unwrap_or(tier)),
        (_, Some(problem)) => format!("builds cannot run here: {}", escape::line(problem)),
        (None, None) => "builds cannot run here".to_owned(),
    });
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use cooper_sandbox::SandboxError;

    fn seen(name: &'static str, hint: Option<&str>) -> Seen {
        Seen { name, ok: hint.is_none(), detail: "seen".to_owned(), hint: hint.map(str::to_owned) }
    }

    #[test]
    fn good_and_bad_places() {
        let good = diagnose(Report { tier: Ok(Tier::Rootless), findings: vec![seen("kernel", None)] }, None);
        assert!(good.can_build);
        assert_eq!(table(&good), "ok       kernel  seen\nbuilds can run here, as rootless");

        let some = Seen { ok: true, ..seen("mounts", Some("add rights")) };
        let report = Report { tier: Ok(Tier::Container), findings: vec![some] };
        let expected = "\
partly   mounts  seen
                 hint: add rights
builds can run here, as root in a container (chroot)";
        assert_eq!(table(&diagnose(report, None)), expected);

        let no =
            SandboxError::Unavailable { feature: "newuidmap", cause: "not installed".into(), hint: "install".into() };
        let some = Seen { ok: true, ..seen("limits", Some("delegate")) };
        let findings = vec![seen("kernel", None), some, seen("newuidmap", Some("install"))];
        let bad = diagnose(Report { tier: Err(no), findings }, Some("/s".to_owned()));
        assert!(!bad.can_build);
        let expected = "\
ok       kernel     seen
partly   limits     seen
                    hint: delegate
missing  newuidmap  seen
                    hint: install
the store is /s
builds cannot run here: newuidmap not available: not installed";
        assert_eq!(table(&bad), expected);

        // A place that is good for steps, and a store that is not.
        let store = Seen { name: "store", ..seen("store", Some("elsewhere")) };
        let bad = diagnose(Report { tier: Ok(Tier::Root), findings: vec![store] }, None);
        assert!(!bad.can_build);
        assert!(table(&bad).ends_with("builds cannot run here: store: seen"), "{}", table(&bad));
    }
}
