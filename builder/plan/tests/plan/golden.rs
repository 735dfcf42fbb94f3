//! Plans and keys as text: every case of `fixtures/golden` is planned and compared, byte for byte.
//!
//! `good/<case>/Dockerfile` gives `plan` and `keys` beside it, or `refused` where it means nothing that can be built,
//! which the README accounts for; `refused/<case>/Dockerfile` parses and gives `errors`.
//! With `COOPER_GOLDEN=write` the files are written instead. `fixtures/golden/README.md` says what the cases are
//! planned with.

use crate::planning::*;
use cooper_dockerfile::diagnostic::Diagnostic;
use cooper_image::ImageConfig;
use cooper_plan::build::BaseKey;
use cooper_plan::dot::dot;
use cooper_plan::dump::dump;
use cooper_plan::outlook::keys;
use cooper_plan::request::PlanRequest;
use std::path::{Path, PathBuf};

/// The folders of a kind of case, sorted.
fn cases(kind: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/golden").join(kind);
    let entries = std::fs::read_dir(&root).unwrap_or_else(|e| panic!("{}: {e}", root.display()));
    let mut found: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).filter(|p| p.is_dir()).collect();
    found.sort();
    assert!(!found.is_empty());
    found
}

/// Compares one file of a case, or writes it. Gives what differs.
fn compare(case: &Path, name: &str, found: &str) -> Option<String> {
    let path = case.join(name);
    if std::env::var("COOPER_GOLDEN").is_ok_and(|v| v == "write") {
        std::fs::write(&path, found).expect("the folder can be written");
        return None;
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    (wanted != found).then(|| format!("{} is now:\n{found}", path.display()))
}

fn text(case: &Path) -> String {
    std::fs::read_to_string(case.join("Dockerfile")).unwrap_or_else(|e| panic!("{}: {e}", case.display()))
}

/// Build arguments for everybody: a proxy, which no key may hold.
fn asked() -> PlanRequest {
    with_args(&[("HTTP_PROXY", "http://proxy:3128")])
}

/// The configurations of base images, by repository.
fn base(key: &BaseKey) -> ImageConfig {
    let mut image = ImageConfig::scratch(&key.platform);
    let c = &mut image.config;
    c.env.push("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
    c.cmd = Some(vec!["/bin/sh".to_owned()]);
    let cooper_plan::build::BaseImage::Named(reference) = &key.image else { panic!("no contexts are given") };
    match reference.repository() {
        "library/triggers" => {
            c.on_build = vec!["ARG TRIGGERED=yes".to_owned(), "RUN echo $TRIGGERED".to_owned()];
        }
        "library/configured" => {
            c.env.push("CONFIGURED=yes".to_owned());
            c.user = Some("app:app".to_owned());
            c.working_dir = Some("/app".to_owned());
            c.shell = Some(vec!["/bin/bash".to_owned(), "-c".to_owned()]);
            c.entrypoint = Some(vec!["/entry".to_owned()]);
        }
        _ => {}
    }
    image
}

fn told(d: &Diagnostic) -> String {
    let hint = d.hint.as_ref().map(|h| format!("  {h}\n")).unwrap_or_default();
    format!("line {}: {} ({})\n{hint}", d.span.start, d.message, d.code)
}

#[test]
fn good_files_have_their_plans_and_keys() {
    let mut wrong = Vec::new();
    let mut planned = 0;
    let readme = std::fs::read_to_string(cases("good")[0].join("../../README.md")).expect("the folder has a README");
    for case in cases("good") {
        let name = case.file_name().and_then(|n| n.to_str()).expect("a plain name");
        let others = match rounds(&text(&case), &asked(), &base) {
            Ok((plan, _)) => {
                planned += 1;
                wrong.extend(compare(&case, "plan", &dump(&plan)));
                wrong.extend(compare(&case, "keys", &keys(&plan, None)));
                &["refused"][..]
            }
            Err(faults) => {
                wrong.extend(compare(&case, "refused", &faults.iter().map(told).collect::<String>()));
                if !readme.contains(&format!("| `{name}` |")) {
                    wrong.push(format!("{name} is refused and the README does not say why"));
                }
                &["plan", "keys"]
            }
        };
        wrong.extend(others.iter().filter(|o| case.join(o).exists()).map(|o| format!("{name} must have no {o}")));
    }
    assert!(planned >= 150, "only {planned} cases have a plan");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn refused_files_have_their_errors() {
    let mut wrong = Vec::new();
    for case in cases("refused") {
        match rounds(&text(&case), &asked(), &base) {
            Ok(_) => wrong.push(format!("{} is accepted", case.display())),
            Err(faults) => {
                wrong.extend(compare(&case, "errors", &faults.iter().map(told).collect::<String>()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_plan_as_a_graph() {
    let case = cases("good").into_iter().find(|c| c.ends_with("plan-service")).expect("the case is there");
    let (plan, _) = rounds(&text(&case), &asked(), &base).unwrap();
    assert_eq!(compare(&case, "plan.dot", &dot(&plan)), None);
}

#[test]
fn a_date_is_in_every_key() {
    let plan = good("FROM scratch\nWORKDIR /a\nCOPY a /\nENV A=1");
    assert_eq!(keys(&plan, Some(7)).matches("    clamp \"7\"\n").count(), 2);
    assert_eq!(keys(&plan, None).matches("clamp").count(), 0);
}

#[test]
fn a_key_is_shown_where_nothing_has_to_be_run_for_it() {
    let plan = good("FROM scratch\nWORKDIR /a\nWORKDIR /b");
    let shown = keys(&plan, None);
    let record = cooper_plan::key::workdir_key(None, workdir(&plan), &request().platform);
    assert_eq!(shown.matches("    = sha256:").count(), 1, "{shown}");
    assert!(shown.contains(&format!("    = {}\n", record.digest())), "{shown}");
    assert!(shown.contains("    parent <result of step 1>\n"), "{shown}");
}

fn workdir(plan: &cooper_plan::op::Plan) -> &cooper_plan::op::Workdir {
    let found = target(plan).steps.iter().find_map(|s| match &s.op {
        cooper_plan::op::Op::Workdir(w) => Some(w),
        _ => None,
    });
    found.expect("the stage has a WORKDIR")
}

#[test]
fn what_only_a_server_can_say_is_not_shown_as_known() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let text =
        format!("FROM scratch\nADD --checksum={digest} http://h/f /f\nADD a http://h/g git@h:r?keep-git-dir /d/");
    let shown = keys(&good(&text), None);
    for line in [
        &format!("    source.1.digest \"{digest}\"\n"),
        "    source.1.files <digest of files of the context>\n",
        "    source.2.digest <digest of http://h/g>\n",
        "    source.2.modified <date of http://h/g>\n",
        "    source.3.commit <commit of git@h:r>\n",
        "    source.3.git <branch or tag of git@h:r>\n",
    ] {
        assert_eq!(shown.matches(line).count(), 1, "{line}{shown}");
    }
    let graph = dot(&good(&text));
    for node in ["\"build context\"", "\"http://h/f\"", "\"http://h/g\"", "\"git@h:r\""] {
        assert!(graph.contains(&format!("  {node} -> ")), "{node} {graph}");
    }
}
