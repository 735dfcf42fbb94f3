//! What the caller asks beside the Dockerfile: dates, built-in build arguments, and what is told before a build.

use crate::planning::*;
use cooper_dockerfile::instruction::Span;
use cooper_plan::build::{Bases, Planned, plan};
use cooper_plan::context::ContextKind;
use cooper_plan::epoch::{self, Dated, Epoch, settle, wanted};
use cooper_plan::notice::{near_name, notices};
use cooper_plan::op::AddSource;
use cooper_plan::request::PlanRequest;

#[test]
fn what_an_image_is_dated_with() {
    let source = |name: &str, line: u32| Epoch::Source { name: name.into(), span: Span { start: line, end: line } };
    for (text, args, epoch) in [
        ("FROM scratch", &[][..], Epoch::Unset),
        ("FROM scratch", &[("SOURCE_DATE_EPOCH", "7")], Epoch::At(7)),
        ("FROM scratch", &[("SOURCE_DATE_EPOCH", "context")], Epoch::Context),
        ("FROM scratch", &[("SOURCE_DATE_EPOCH", "src")], source("src", 0)),
        ("ARG SOURCE_DATE_EPOCH=7\nFROM scratch", &[], Epoch::At(7)),
        ("ARG SOURCE_DATE_EPOCH\nFROM scratch", &[], Epoch::Unset),
        ("ARG T=9\nARG SOURCE_DATE_EPOCH=${T}0\nFROM scratch", &[], Epoch::At(90)),
        ("ARG SOURCE_DATE_EPOCH=7\nFROM scratch", &[("SOURCE_DATE_EPOCH", "8")], Epoch::At(8)),
        ("ARG SOURCE_DATE_EPOCH=7\nFROM scratch", &[("SOURCE_DATE_EPOCH", "")], Epoch::Unset),
        ("ARG X\nARG SOURCE_DATE_EPOCH=src\nFROM scratch", &[], source("src", 2)),
        ("FROM scratch\nARG SOURCE_DATE_EPOCH=7", &[], Epoch::Unset),
    ] {
        assert_eq!(wanted(&parse(text), &with_args(args)), Ok(epoch), "{text} {args:?}");
    }
    for bad in ["-1", "+1", "1.5", "253402300800", "99999999999999999999"] {
        let text = format!("ARG X\nARG SOURCE_DATE_EPOCH={bad}\nFROM scratch");
        let found = wanted(&parse(&text), &request()).unwrap_err();
        assert_eq!(found[0].message, format!("SOURCE_DATE_EPOCH is {bad:?}, which is no Unix time"));
        assert_eq!(found[0].span.start, 2);
    }
}

#[test]
fn what_a_date_can_come_from() {
    let args = with_args(&[("SOURCE_DATE_EPOCH", "src"), ("V", "2")]);
    let found = |text: &str, request: &PlanRequest| epoch::source(&parse(text), request, "src", Span::default());
    let added = |text: &str| match found(text, &args) {
        Ok(Dated::Added(AddSource::Http { source, checksum })) => {
            format!("{} {}", source.url, checksum.map_or_else(String::new, |c| c.to_string()))
        }
        Ok(Dated::Added(AddSource::Git { source, .. })) => format!("{} {:?}", source.shown(), source.reference),
        other => panic!("{text}: {other:?}"),
    };
    let digest = format!("sha256:{}", "a".repeat(64));
    let checked = format!("ARG D={digest}\nFROM scratch AS src\nARG D\nADD --checksum=$D https://h/f /");
    for (text, source) in [
        ("FROM scratch AS Src\nARG V=1\nADD https://h/$V.tgz /\nFROM debian", "https://h/2.tgz "),
        ("ARG B=scratch\nFROM $B AS src\nADD https://h/r.git#v1 /", "https://h/r.git Some(\"v1\")"),
        (
            "FROM debian AS none\nFROM scratch AS src\nARG SOURCE_DATE_EPOCH\nADD https://h/f$SOURCE_DATE_EPOCH /",
            "https://h/f ",
        ),
        ("FROM scratch AS src\nADD http://h/1 /\nFROM scratch AS src\nADD http://h/2 /", "http://h/1 "),
        (checked.as_str(), &format!("https://h/f {digest}")),
    ] {
        assert_eq!(added(text), source, "{text}");
    }
    // A named context is stronger than a stage.
    let contexts = [("src".parse().unwrap(), ContextKind::Files)].into_iter().collect();
    let named = PlanRequest { contexts, ..request() };
    assert_eq!(found("FROM debian AS src", &named), Ok(Dated::Named("src".parse().unwrap())));
}

#[test]
fn what_a_date_cannot_come_from() {
    let from = "SOURCE_DATE_EPOCH cannot be taken from the stage src";
    for (text, line, message) in [
        (
            "FROM scratch AS other",
            0,
            "SOURCE_DATE_EPOCH is \"src\", which is no Unix time, no named context and no stage".to_owned(),
        ),
        ("FROM debian AS src\nADD https://host/f /", 1, format!("{from}: it does not begin with scratch")),
        (
            "FROM scratch AS src\nADD https://host/f /\nCOPY a b",
            3,
            format!("{from}: it does more than to add one source"),
        ),
        ("FROM scratch AS src", 1, format!("{from}: it adds no URL and no repository")),
        ("FROM scratch AS src\nADD a /", 1, format!("{from}: it adds no URL and no repository")),
        ("FROM scratch AS src\nADD a https://host/f /d/", 1, format!("{from}: it adds more than one source")),
        ("FROM scratch AS src\nADD http://h/f /\nADD http://h/g /", 1, format!("{from}: it adds more than one source")),
        ("FROM scratch AS src\nADD https:///f /", 2, "ADD: https:///f names no host".to_owned()),
    ] {
        let found = epoch::source(&parse(text), &request(), "src", Span::default()).unwrap_err();
        assert_eq!((found[0].message.as_str(), found[0].span.start), (message.as_str(), line), "{text}");
        assert!(found[0].hint.is_some());
    }
    let near = epoch::source(&parse("FROM scratch AS sources"), &request(), "source", Span::default()).unwrap_err();
    assert_eq!(near[0].hint.as_deref(), Some("did you mean the stage sources?"));
}

#[test]
fn a_settled_date_takes_the_place_of_what_was_asked_for() {
    let text = "ARG SOURCE_DATE_EPOCH=context\nFROM scratch\nARG SOURCE_DATE_EPOCH\nRUN x";
    for (args, at, value) in [
        (&[][..], Some(7), Some("7")),
        (&[], None, None),
        (&[("SOURCE_DATE_EPOCH", "context")], Some(7), Some("7")),
        (&[("SOURCE_DATE_EPOCH", "context")], None, None),
    ] {
        let (mut file, mut asked) = (parse(text), with_args(args));
        settle(&mut file, &mut asked, at);
        let plan = cooper_plan::build::plan(&file, &asked, &Default::default()).unwrap();
        let cooper_plan::build::Planned::Ready(plan) = plan else { panic!("nothing is missing") };
        assert_eq!(seen(&plan, "SOURCE_DATE_EPOCH").as_deref(), value, "{args:?} {at:?}");
    }
    // An argument of a stage alone is an ordinary one.
    let (mut file, mut asked) = (parse("FROM scratch\nARG SOURCE_DATE_EPOCH=5\nRUN x"), request());
    settle(&mut file, &mut asked, None);
    assert!(asked.build_args.is_empty());
}

#[test]
fn the_host_name_of_run() {
    let name = |value: &str| {
        planned("FROM scratch\nRUN x", &with_args(&[("BUILDKIT_SANDBOX_HOSTNAME", value)]))
            .map(|plan| runs(&plan)[0].hostname.clone())
    };
    assert_eq!(name("build-1.example"), Ok(Some("build-1.example".into())));
    assert_eq!(name(""), Ok(None));
    for bad in ["a b", "a\n", &"x".repeat(65)] {
        let found = name(bad).unwrap_err();
        assert_eq!(found[0].message, format!("BUILDKIT_SANDBOX_HOSTNAME is {bad:?}, which is no host name"));
    }
    assert_eq!(runs(&good("FROM scratch\nRUN x"))[0].hostname, None);
}

#[test]
fn what_has_no_effect_is_told() {
    let args = [
        ("BUILDKIT_INLINE_CACHE", "1"),
        ("BUILDKIT_MULTI_PLATFORM", "true"),
        ("BUILDKIT_SBOM_SCAN_STAGE", "false"),
        ("BUILDKIT_SYNTAX", "docker/dockerfile:1"),
        ("TYPO", "1"),
    ];
    assert_eq!(
        notices(&parse("FROM scratch"), &with_args(&args)),
        [
            "build argument TYPO was given, but no ARG takes it",
            "build argument BUILDKIT_INLINE_CACHE has no effect: nothing about the cache is written into images",
            "build argument BUILDKIT_SYNTAX has no effect: the built-in frontend is used and no other is ever fetched",
        ]
    );
    let same = with_args(&[("BUILDKIT_SYNTAX", "dockerfile.v0"), ("BUILDKIT_INLINE_CACHE", "0")]);
    assert_eq!(notices(&parse("FROM scratch"), &same), Vec::<String>::new());
}

#[test]
fn a_base_that_was_meant_to_be_a_stage() {
    let file = parse("FROM bulider\nFROM scratch AS builder\nFROM redis AS redis");
    for (stage, name, hint) in [
        (0, "bulider:latest", Some("did you mean the stage builder?")),
        (0, "builder", Some("the stage builder stands further down; move it up")),
        (2, "redis", None),
        (2, "redis:7", None),
        (0, "debain", Some("did you mean debian?")),
        (0, "debian", None),
        (0, "example.org/builder", None),
    ] {
        let told = near_name(&file, &name.parse().unwrap(), file.stages[stage].span);
        assert_eq!(told.as_deref(), hint, "{name}");
    }
}

#[test]
fn an_undefined_variable_in_from_is_empty_where_something_is_left() {
    let asked = |text: &str| rounds(text, &request(), &|_| with_path()).unwrap().1;
    assert_eq!(asked("FROM ${REGISTRY}debian"), [["debian:latest"]]);
    assert_eq!(asked("FROM debian$TAG"), [["debian:latest"]]);
}

#[test]
fn errors_that_need_no_base_are_told_before_one_is_asked_for() {
    let text = "FROM debian AS a\nSTOPSIGNAL x\nCOPY --from=9 / /\nENV A=${HOME?none}\nRUN --network=lan y\n\
                FROM a\nEXPOSE x\nEXPOSE $PORTS\nUSER ${U:?none}";
    let found = cooper_plan::build::plan(&parse(text), &request(), &Default::default()).unwrap_err();
    let lines: Vec<u32> = found.iter().map(|d| d.span.start).collect();
    assert_eq!(lines, [2, 3, 5, 7], "{found:#?}");
    // With the base, what its variables decide is told as well.
    let found = planned(&text.replace("--from=9", "--chmod=9"), &request()).unwrap_err();
    assert_eq!(found.iter().map(|d| d.span.start).collect::<Vec<_>>(), [2, 3, 5, 7]);
    let found = planned("FROM debian\nENV A=${HOME?none}\nUSER ${U:?none}", &request()).unwrap_err();
    assert_eq!(found.iter().map(|d| d.span.start).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn a_base_is_asked_for_by_the_first_stage_that_begins_with_it() {
    let text = "ARG B=base\nFROM $B:1 AS x\nRUN true\nFROM zzz AS y\nFROM base\nFROM zzz\nFROM x\nCOPY --from=y / /\n\
                COPY --from=2 / /\nCOPY --from=3 / /";
    let Ok(Planned::Needs(needs)) = plan(&parse(text), &request(), &Bases::new()) else { panic!("bases are missing") };
    let asked: Vec<_> = needs.iter().map(|need| (image_name(&need.key), need.stage)).collect();
    let wanted = [("base:1", 0), ("base:latest", 2), ("zzz:latest", 1)];
    assert_eq!(asked, wanted.map(|(name, stage)| (name.to_owned(), stage)));
}
