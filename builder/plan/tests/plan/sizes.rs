//! Hostile sizes. Each of these would take minutes or all memory, where work or memory grew with the square of the
//! file; nobody measures a time here.

use crate::planning::*;
use cooper_dockerfile::lint::{Experimental, Finding};
use cooper_image::ImageConfig;
use cooper_plan::build::{Bases, Planned, plan};
use cooper_plan::call::outline;
use cooper_plan::lint::{Stages, Subject, check};
use std::fmt::Write;

const NAMES: usize = 40_000;
const STAGES: usize = 900;

/// One ARG that declares very many names, on as many lines.
fn declaration() -> String {
    let names: Vec<String> = (0..NAMES).map(|n| format!("NAME_{n}")).collect();
    format!("ARG {}\n", names.join(" \\\n "))
}

/// The text with a line for each stage from the second.
fn with_stages(mut text: String, line: impl Fn(usize) -> String) -> String {
    for n in 1..STAGES {
        writeln!(text, "{}", line(n)).expect("a string takes everything");
    }
    text
}

fn findings(text: &str, rule: &str) -> Vec<Finding> {
    let (request, bases) = (request(), Bases::new());
    let (experimental, stages) = (Experimental::OwnToo, Stages::All);
    let subject = Subject { text, request: &request, ignore: None, bases: &bases, experimental, stages };
    let mut found = check(&subject).expect("no settings are given").findings;
    found.retain(|f| f.rule.id == rule);
    found
}

#[test]
fn stages_share_the_variables_of_what_they_begin_with() {
    let text = format!("FROM scratch AS s0\n{}", declaration());
    let text = with_stages(text, |n| format!("FROM s{} AS s{n}\nARG OWN_{n}=1", n - 1));
    let file = cooper_dockerfile::parse(&text).dockerfile.expect("the file stands");
    // Copies would be of more bytes than any plan may have.
    let planned = plan(&file, &request(), &Bases::new());
    let Ok(Planned::Ready(plan)) = planned else { panic!("{planned:?}") };
    assert_eq!(plan.stages.len(), STAGES);
    assert_eq!(findings(&text, "UndefinedVar"), []);
}

#[test]
fn many_stages_begin_with_one_that_has_many_triggers() {
    // The triggers are read once, and not again for each stage.
    let triggers: String =
        (0..2_000).map(|n| format!("ONBUILD COPY --from=tool --chmod=644 /{n} /place/{n}\n")).collect();
    let text = format!("FROM scratch AS tool\nFROM scratch AS s0\n{triggers}");
    let text = with_stages(text, |n| format!("FROM s0 AS s{n}"));
    assert_eq!(findings(&text, "UndefinedVar"), []);
    let unreachable = findings(&text, "UnreachableStage");
    assert_eq!(unreachable.len(), STAGES - 2, "all but the tool, what has the triggers, and the last");
}

#[test]
fn many_globals_and_many_froms() {
    // Without texts of their own, the names would hold the whole instruction each: 16 GB.
    let text = with_stages(declaration() + "FROM a$NAM_1 AS s0\n", |n| format!("FROM a$NAM_{n} AS s{n}"));
    let found = findings(&text, "UndefinedArgInFrom");
    assert_eq!(found.len(), STAGES);
    assert_eq!(found[0].detail, "FROM argument 'NAM_1' is not declared (did you mean NAME_1?)");
    assert_eq!(found[STAGES - 1].detail, format!("FROM argument 'NAM_{}' is not declared", STAGES - 1));
    let text = with_stages(declaration() + "FROM $NAM_1 AS s0\n", |n| format!("FROM $NAM_{n} AS s{n}"));
    let faults = planned(&with_stages(text + "FROM scratch\n", |n| format!("COPY --from={n} a /")), &request());
    assert_eq!(faults.map_err(|faults| faults.len()), Err(STAGES), "a FROM is looked at whether it is needed or not");
}

#[test]
fn one_from_with_many_variables() {
    let words: Vec<String> = (0..NAMES).map(|n| format!("${{NAME_{n}:-}}")).collect();
    let text = format!("FROM {}\\\nscratch", words.join("\\\n"));
    assert_eq!(good(&text).stages.len(), 1);
    assert_eq!(findings(&text, "UndefinedArgInFrom").len(), 1000);
}

#[test]
fn a_name_that_only_the_last_of_many_stages_uses() {
    let names: Vec<String> = (0..NAMES).map(|n| format!("NAME_{n}")).collect();
    let text = format!("FROM scratch AS s0\n{}", declaration());
    let text = with_stages(text, |n| format!("FROM s{} AS s{n}", n - 1));
    assert_eq!(findings(&text, "UnusedArg").len(), 1000);
    assert_eq!(findings(&format!("{text}RUN {}\n", names.join(" \\\n ")), "UnusedArg"), []);
}

#[test]
fn many_names_beneath_many_comments() {
    let comments: Vec<String> = (0..NAMES).map(|n| format!("# NAME_{n} is number {n}\n")).collect();
    let text = format!("FROM scratch AS last\n\n{}{}", comments.concat(), declaration());
    let file = cooper_dockerfile::parse(&text).dockerfile.expect("the file stands");
    let found = outline(&text, &file, &request(), &Bases::new()).expect("the file stands");
    assert_eq!(found.args.len(), NAMES);
    assert!(found.args.iter().all(|a| a.description.is_some()));
    assert_eq!(findings(&text, "UnusedArg").len(), 1000);
}

#[test]
fn a_value_that_is_doubled_again_and_again_is_refused_at_once() {
    let text = format!("FROM scratch\nENV A=x\n{}", "ENV A=$A$A\n".repeat(9_000));
    let faults = planned(&text, &request()).unwrap_err();
    // 2^20 bytes are allowed; what stands behind has the same value and is too large as well.
    assert_eq!((faults[0].span.start, faults[0].code), (23, "TooLarge"));
    assert_eq!(faults[0].message, "cannot expand \"$A$A\": the result is larger than 1048576 bytes");
    assert!(faults[0].hint.as_deref().is_some_and(|h| h.contains("ENV A=$A$A")));
}

#[test]
fn a_base_with_many_variables_and_many_runs_is_bounded() {
    let mut base: ImageConfig = with_path();
    base.config.env.extend((0..NAMES).map(|n| format!("NAME_{n}=")));
    let text = format!("FROM debian\n{}", "RUN true\n".repeat(1_000));
    // Each RUN holds its whole environment: what that takes beside the names' own bytes counts.
    let faults = rounds(&text, &request(), &|_| base.clone()).unwrap_err();
    assert_eq!(faults[0].message, "the expanded Dockerfile is larger than 256 MiB");
    assert!(faults[0].span.start < 150, "{:?}", faults[0].span);
}

#[test]
fn ports_that_are_named_again_and_again() {
    // Every port five hundred times: each would be a text of its own.
    let text = format!("FROM scratch\nENV P=\"{}\"\nEXPOSE $P", "1-65535 ".repeat(500));
    assert_eq!(config(&good(&text), &with_path()).config.exposed_ports.map(|ports| ports.len()), Some(65_535));
    // What the ports take counts, and not only their digits.
    let text = format!("FROM scratch\n{}", "EXPOSE 1-65535\n".repeat(300));
    let faults = planned(&text, &request()).unwrap_err();
    assert_eq!(faults[0].message, "the expanded Dockerfile is larger than 256 MiB");
    assert!(faults[0].span.start < 70, "{:?}", faults[0].span);
}
