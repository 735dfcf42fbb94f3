//! Named contexts in the place of stages and images.

use crate::planning::*;
use cooper_image::ImageConfig;
use cooper_plan::context::{ContextKind, Contexts};
use cooper_plan::dump::dump;
use cooper_plan::op::{Base, StageId};
use cooper_plan::request::PlanRequest;

fn with_contexts(contexts: &[(&str, ContextKind)]) -> PlanRequest {
    let named = |(name, kind): &(&str, ContextKind)| (name.parse().expect("a name of a context"), kind.clone());
    PlanRequest { contexts: contexts.iter().map(named).collect::<Contexts>(), ..request() }
}

fn image(name: &str) -> ContextKind {
    ContextKind::Image(name.parse().expect("a name of an image"))
}

#[test]
fn an_image_in_a_from_is_replaced() {
    let text = "FROM alpine:3\nRUN x";
    for (name, kind, base, asked) in [
        ("alpine:3", image("debian:12"), Base::Image("debian:12".parse().unwrap()), vec!["debian:12"]),
        (
            "docker.io/library/alpine:3",
            image("debian"),
            Base::Image("debian:latest".parse().unwrap()),
            vec!["debian:latest"],
        ),
        ("alpine:3", ContextKind::Layout, Base::Layout("alpine:3".parse().unwrap()), vec!["layout alpine:3"]),
        ("alpine:3", ContextKind::Scratch, Base::Scratch, vec![]),
        ("alpine:3", ContextKind::Files, Base::Scratch, vec![]),
        ("alpine", ContextKind::Files, Base::Image("alpine:3".parse().unwrap()), vec!["alpine:3"]),
    ] {
        let (plan, rounds) = rounds(text, &with_contexts(&[(name, kind.clone())]), &|_| with_path()).unwrap();
        assert_eq!(target(&plan).base, base, "{name} {kind:?}");
        assert_eq!(rounds.concat(), asked, "{name} {kind:?}");
    }
}

#[test]
fn files_become_a_root_by_a_step() {
    let plan =
        planned("FROM --platform=linux/arm64 src\nRUN x", &with_contexts(&[("src", ContextKind::Files)])).unwrap();
    let copy = copies(&plan)[0];
    assert_eq!(
        (copy.from.clone(), copy.sources.as_slice()),
        (Some(Base::Files("src".parse().unwrap())), &[".".to_owned()][..])
    );
    assert_eq!(copy.dest.to_string(), "/");
    assert_eq!(target(&plan).steps[1].history, "COPY --from=src . / # buildkit");
    assert_eq!(target(&plan).platform.to_string(), "linux/arm64");
    let config = config(&plan, &with_path());
    assert_eq!(config.config.working_dir.as_deref(), Some("/"));
}

#[test]
fn a_stage_is_replaced_whole() {
    let text =
        "FROM $NOWHERE AS tools\nRUN --mount=type=never x\nFROM scratch\nCOPY --from=tools /a /b\nCOPY --from=0 /c /d";
    let plan = planned(text, &with_contexts(&[("tools", image("golang"))])).unwrap();
    let golang = Base::Image("golang:latest".parse().unwrap());
    assert_eq!(plan.stages[0].base, golang);
    assert!(plan.stages[0].steps.iter().all(|s| s.history.is_empty()), "{:?}", plan.stages[0].steps);
    assert_eq!(copies(&plan)[0].from, Some(golang));
    assert_eq!(copies(&plan)[1].from, Some(Base::Stage(StageId(0))));
    // As a target it is the context and nothing else.
    let request = PlanRequest { target: Some("tools".to_owned()), ..with_contexts(&[("tools", ContextKind::Files)]) };
    assert_eq!(copies(&planned(text, &request).unwrap()).len(), 1);
}

#[test]
fn what_begins_with_a_replaced_stage_has_the_configuration_of_the_context() {
    let text = "FROM x AS Tools\nFROM tools\nENV A=${PATH:?unset}";
    let (plan, rounds) = rounds(text, &with_contexts(&[("tools", ContextKind::Layout)]), &|_| with_path()).unwrap();
    assert_eq!(rounds.len(), 1, "{rounds:?}");
    let steps: Vec<&str> = plan.stages.iter().flat_map(|s| &s.steps).map(|s| s.text.as_str()).collect();
    assert_eq!(steps.iter().filter(|s| s.starts_with("ENV A=")).count(), 1, "{steps:?}");
}

#[test]
fn copies_take_the_context_before_stages_and_images() {
    let text = "FROM a AS early\nFROM scratch\nCOPY --from=early /a /b\nFROM b AS late";
    for (from, kind, base) in [
        ("early", ContextKind::Files, Base::Files("early".parse().unwrap())),
        ("late", ContextKind::Layout, Base::Layout("late".parse().unwrap())),
        ("busybox:1", image("debian:12"), Base::Image("debian:12".parse().unwrap())),
        ("none", ContextKind::Scratch, Base::Scratch),
    ] {
        let text = text.replace("--from=early", &format!("--from={from}"));
        let request = PlanRequest { target: Some("1".to_owned()), ..with_contexts(&[(from, kind)]) };
        let (plan, rounds) = rounds(&text, &request, &|_| with_path()).unwrap();
        assert_eq!(copies(&plan)[0].from, Some(base));
        assert_eq!(rounds, Vec::<Vec<String>>::new(), "nothing has to be known of what is only copied from");
    }
}

#[test]
fn numbers_scratch_and_the_platform() {
    let contexts = [("0", ContextKind::Files), ("x", ContextKind::Files), ("x::linux/arm64", ContextKind::Layout)];
    let of = |text: &str| planned(text, &with_contexts(&contexts)).unwrap();
    let plan = of("FROM scratch\nFROM scratch\nCOPY --from=0 /a /b\nCOPY --from=scratch . /c");
    assert_eq!(
        copies(&plan).iter().map(|c| c.from.clone()).collect::<Vec<_>>(),
        [Some(Base::Stage(StageId(0))), Some(Base::Scratch)]
    );
    let plan = of("FROM --platform=linux/arm64 x\nCOPY --from=x /a /b");
    assert_eq!(target(&plan).base, Base::Layout("x::linux/arm64".parse().unwrap()));
    assert_eq!(copies(&plan)[0].from, Some(Base::Layout("x::linux/arm64".parse().unwrap())));
    assert_eq!(copies(&of("FROM scratch\nCOPY --from=x /a /b"))[0].from, Some(Base::Files("x".parse().unwrap())));
}

#[test]
fn triggers_of_a_context_run() {
    let mut base: ImageConfig = with_path();
    base.config.on_build.push("RUN trigger".to_owned());
    for kind in [ContextKind::Layout, image("debian")] {
        let request = with_contexts(&[("base", kind)]);
        let (plan, _) = rounds("FROM base", &request, &|_| base.clone()).unwrap();
        assert!(dump(&plan).contains("\"trigger\""), "{}", dump(&plan));
    }
}

#[test]
fn mounts_take_the_context_too() {
    let text = "FROM base\nRUN --mount=type=cache,target=/c --mount=from=src,target=/s --mount=from=tool,target=/t x";
    let contexts = [("src", ContextKind::Files), ("tool", ContextKind::Layout)];
    let plan = planned(text, &with_contexts(&contexts)).unwrap();
    let from: Vec<_> = runs(&plan)[0].mounts.iter().map(|m| m.source().and_then(|s| s.from.clone())).collect();
    assert_eq!(from, [None, Some(Base::Files("src".parse().unwrap())), Some(Base::Layout("tool".parse().unwrap()))]);
}
