//! Stages: targets, bases, `--from`, pruning, triggers.

use crate::planning::*;
use cooper_image::{ImageConfig, Platform};
use cooper_plan::dump::dump;
use cooper_plan::notice::notices;
use cooper_plan::op::{Base, Op, Reuse, StageId};
use cooper_plan::request::PlanRequest;

fn labels(text: &str, request: &PlanRequest) -> Vec<String> {
    let plan = planned(text, request).unwrap_or_else(|e| panic!("{text}\n{e:#?}"));
    assert_eq!(plan.target, StageId(plan.stages.len() - 1), "the target is the last");
    plan.stages.into_iter().map(|s| s.label).collect()
}

#[test]
fn only_what_the_target_needs_is_planned() {
    let text = "FROM scratch AS a\nFROM scratch\nFROM a AS c\nFROM scratch AS d\nCOPY --from=c /x /y\nCOPY --from=1 /x /y\n\
                FROM scratch AS e\nRUN --mount=type=cache,target=/x true\n";
    for (target, wanted) in [
        ("a", &["a"][..]),
        ("1", &["stage-1"]),
        ("C", &["a", "c"]),
        ("d", &["a", "stage-1", "c", "d"]),
        ("3", &["a", "stage-1", "c", "d"]),
    ] {
        assert_eq!(labels(text, &with_target(target)), wanted, "{target}");
    }
}

#[test]
fn stages_are_renumbered() {
    let plan = good(
        "FROM scratch AS skip\nFROM scratch AS a\nFROM a AS b\nFROM scratch\nCOPY --from=B /x /\nCOPY --from=1 /y /",
    );
    assert_eq!(plan.stages[1].base, Base::Stage(StageId(0)));
    let from: Vec<_> = copies(&plan).iter().map(|c| c.from.clone().unwrap()).collect();
    assert_eq!(from, [Base::Stage(StageId(1)), Base::Stage(StageId(0))]);
}

#[test]
fn names_of_stages_shadow_images_and_only_earlier_ones_count() {
    let asked = |text: &str| rounds(text, &request(), &|_| with_path()).unwrap().1;
    assert_eq!(asked("FROM scratch AS debian\nFROM debian"), Vec::<Vec<String>>::new());
    assert_eq!(asked("FROM debian AS debian\nFROM debian"), [["debian:latest"]]);
    // A name that comes later is an image here.
    assert_eq!(asked("FROM alpine\nFROM scratch AS alpine\nFROM scratch\nCOPY --from=0 / /"), [["alpine:latest"]]);
    // Of two stages with one name the nearest above counts.
    let plan = good("FROM scratch AS a\nENV V=1\nFROM scratch AS a\nENV V=2\nFROM a\nRUN x");
    assert_eq!(seen(&plan, "V").unwrap(), "2");
}

#[test]
fn images_that_are_copied_from_are_not_asked_for() {
    let (plan, asked) =
        rounds("FROM debian:12\nCOPY --from=alpine /etc /\nCOPY --from=scratch / /", &request(), &|_| with_path())
            .unwrap();
    assert_eq!(asked, [["debian:12"]]);
    assert_eq!(copies(&plan)[0].from, Some(Base::Image("alpine:latest".parse().unwrap())));
    assert_eq!(copies(&plan)[1].from, Some(Base::Scratch));
}

#[test]
fn from_lines_see_global_arguments() {
    let text = "ARG V=12\nARG EMPTY\nFROM --platform=$BUILDPLATFORM ${EMPTY}debian:${V}${EMPTY:+x}";
    let asked = |args: &[(&str, &str)]| rounds(text, &with_args(args), &|_| with_path()).unwrap().1;
    assert_eq!(asked(&[]), [["debian:12"]]);
    assert_eq!(asked(&[("V", "13"), ("EMPTY", "host.io/")]), [["host.io/debian:13x"]]);
    assert_eq!(rounds("FROM debian:${NONE:-11}", &request(), &|_| with_path()).unwrap().1, [["debian:11"]]);
}

#[test]
fn platforms_of_stages() {
    let arm = Platform::linux("arm64");
    let cross = PlanRequest { platform: arm.clone(), ..request() };
    let text = "FROM --platform=$BUILDPLATFORM golang AS build\nFROM build AS same\nFROM --platform=linux/amd64 build AS told\n\
                FROM debian\nCOPY --from=same / /\nCOPY --from=told / /";
    let plan = planned(text, &cross).unwrap();
    let platforms: Vec<String> = plan.stages.iter().map(|s| format!("{} {}", s.label, s.platform)).collect();
    assert_eq!(platforms, ["build linux/amd64", "same linux/amd64", "told linux/amd64", "stage-3 linux/arm64"]);
    let spelt =
        good("FROM --platform=linux/aarch64/v8 debian AS a\nFROM --platform=linux/arm debian\nCOPY --from=a / /");
    assert_eq!(
        spelt.stages.iter().map(|s| s.platform.to_string()).collect::<Vec<_>>(),
        ["linux/arm64", "linux/arm/v7"]
    );
    // Nothing is for every processor.
    let scratch = planned("FROM --platform=$BUILDPLATFORM scratch\nCOPY a /", &cross).unwrap();
    assert_eq!(scratch.stages[0].platform, arm);
    let mixed = "FROM --platform=$BUILDPLATFORM golang AS build\nFROM --platform=$TARGETPLATFORM build";
    let fault = planned(mixed, &cross).unwrap_err();
    assert_eq!(fault[0].message, "the stage build is built for linux/amd64, not for linux/arm64");
    assert_eq!(fault[0].span.start, 2);
    assert!(planned(mixed, &request()).is_ok());
}

#[test]
fn stages_that_the_cache_is_off_for() {
    let text = "FROM scratch AS a\nFROM scratch\nFROM a AS c\nCOPY --from=1 /x /\n";
    let never = |filters: &[&str]| -> Vec<String> {
        let filters = filters.iter().map(|f| (*f).to_owned()).collect();
        let plan = planned(text, &PlanRequest { no_cache_filter: filters, ..request() }).unwrap();
        assert_eq!(dump(&plan).contains("reuse never"), plan.stages.iter().any(|s| s.reuse == Reuse::Never));
        plan.stages.into_iter().filter(|s| s.reuse == Reuse::Never).map(|s| s.label).collect()
    };
    for (filters, stages) in
        [(&[][..], &[][..]), (&["A"], &["a"]), (&["c", "1"], &["stage-1", "c"]), (&["nothing", ""], &[])]
    {
        assert_eq!(never(filters), stages, "{filters:?}");
    }
    let asked = PlanRequest { no_cache_filter: vec!["c".into(), "bilder".into(), "7".into()], ..request() };
    assert_eq!(
        notices(&parse("FROM scratch AS builder\nFROM scratch AS c"), &asked),
        [
            "--no-cache-filter names \"bilder\", which is no stage; did you mean builder?",
            "--no-cache-filter names \"7\", which is no stage",
        ]
    );
}

fn base_with(triggers: &[&str]) -> ImageConfig {
    let mut config = with_path();
    config.config.on_build = triggers.iter().map(|t| (*t).to_owned()).collect();
    config
}

#[test]
fn triggers_of_an_image_run_first_and_are_used_up() {
    let base = base_with(&["ENV A=trigger", "RUN make $A", "COPY . /src/"]);
    let plan = upon("# comment\nFROM debian\nRUN own\nONBUILD RUN later", &base);
    let texts: Vec<&str> = target(&plan).steps.iter().map(|s| s.text.as_str()).collect();
    assert_eq!(
        texts[1..],
        ["ONBUILD ENV A=trigger", "ONBUILD RUN make $A", "ONBUILD COPY . /src/", "RUN own", "ONBUILD RUN later"]
    );
    assert!(target(&plan).steps[..4].iter().all(|s| s.span.start == 2), "their place is the FROM");
    assert_eq!(seen(&plan, "A").unwrap(), "trigger");
    assert_eq!(config(&plan, &base).config.on_build, ["RUN later"]);
}

#[test]
fn triggers_of_a_stage_run_in_its_children_alone() {
    let text = "FROM scratch AS a\nONBUILD RUN trigger\nFROM a AS b\nRUN own\nFROM b\nRUN last";
    let argv = |plan: &cooper_plan::op::Plan, n: usize| -> Vec<String> {
        let runs = plan.stages[n].steps.iter().filter_map(|s| if let Op::Exec(e) = &s.op { Some(e) } else { None });
        runs.map(|e| e.argv[2].clone()).collect()
    };
    let plan = good(text);
    assert_eq!(argv(&plan, 0), Vec::<String>::new());
    assert_eq!(argv(&plan, 1), ["trigger", "own"]);
    assert_eq!(argv(&plan, 2), ["last"]);
    assert_eq!(plan.stages[1].steps.iter().find(|s| s.text.contains("trigger")).unwrap().span.start, 2);
    assert!(config(&plan, &with_path()).config.on_build.is_empty());
    // The stage itself keeps them for others.
    let a = planned(text, &with_target("a")).unwrap();
    assert_eq!(config(&a, &with_path()).config.on_build, ["RUN trigger"]);
}

#[test]
fn triggers_bring_stages_and_their_bases_in() {
    let text = "FROM golang AS tools\nFROM unused AS other\nFROM base";
    let base = |key: &cooper_plan::build::BaseKey| match image_name(key).as_str() {
        "base:latest" => base_with(&["COPY --from=tools /bin/x /bin/"]),
        _ => with_path(),
    };
    let (plan, asked) = rounds(text, &request(), &base).unwrap();
    assert_eq!(asked, [["base:latest"], ["golang:latest"]]);
    assert_eq!(plan.stages.iter().map(|s| s.label.as_str()).collect::<Vec<_>>(), ["tools", "stage-2"]);
    assert_eq!(copies(&plan)[0].from, Some(Base::Stage(StageId(0))));
}

#[test]
fn a_wrong_trigger_is_an_error_at_the_from() {
    for trigger in
        ["NOTHING x", "ONBUILD RUN x", "MAINTAINER x", "RUN --mount=type=cash,target=/x y", "COPY --from=self / /"]
    {
        let fault = rounds("FROM scratch\n\nFROM debian AS self", &request(), &|_| base_with(&[trigger])).unwrap_err();
        assert_eq!((fault.len(), fault[0].span.start), (1, 3), "{trigger}: {fault:?}");
        assert!(fault[0].hint.is_some());
    }
}

#[test]
fn two_plans_are_one_plan() {
    let text = "ARG V=1\nFROM debian AS a\nARG V\nRUN x\nFROM scratch\nENV B=2 A=1\nLABEL z=1 a=2\nCOPY --from=a /x /y";
    let once = |_| dump(&good(text));
    let (first, second) = (once(()), once(()));
    assert_eq!(first, second);
    // Another order of the answers changes nothing.
    assert!(first.contains("stage 1"), "{first}");
}

#[test]
fn a_chain_of_the_greatest_length_is_planned() {
    let mut text = "FROM scratch AS s0\nENV N=0\n".to_owned();
    (1..1000).for_each(|n| text.push_str(&format!("FROM s{} AS s{n}\n", n - 1)));
    let plan = good(&text);
    assert_eq!(plan.stages.len(), 1000);
}
