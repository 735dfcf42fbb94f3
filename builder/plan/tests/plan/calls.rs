//! What `--call=targets` and `--call=outline` tell, as JSON.

use crate::planning::{parse, request, with_args, with_path, with_target};
use cooper_plan::build::{BaseImage, BaseKey, Bases};
use cooper_plan::call::{outline, targets};
use cooper_plan::request::PlanRequest;
use serde_json::{Value, json};

const TEXT: &str = "\
# VERSION of the base
ARG VERSION=1
ARG UNUSED=1
ARG SUFFIX=${VERSION}x
# build compiles
FROM --platform=$BUILDPLATFORM base:$VERSION AS Build
# MODE is debug or release
ARG MODE=release
ARG SUFFIX
RUN --mount=type=secret,id=token,required --mount=type=cache,target=/cache make
RUN --mount=type=ssh --mount=type=secret,id=token make again
FROM scratch AS other
ARG OTHER
FROM scratch
ARG DIR=/app/$MODE
COPY --from=build /x /
";

fn place(start: u32, end: u32) -> Value {
    json!({"ranges": [{"start": {"line": start}, "end": {"line": end}}]})
}

fn outlined(request: &PlanRequest) -> Value {
    let outline = outline(TEXT, &parse(TEXT), request, &Bases::new()).expect("the target is there");
    serde_json::to_value(outline).expect("it has a JSON form")
}

#[test]
fn targets_are_listed() {
    let found = serde_json::to_value(targets(TEXT, &parse(TEXT))).unwrap();
    let expected = json!({"targets": [
        {"name": "build", "description": "compiles", "base": "base:$VERSION", "platform": "$BUILDPLATFORM", "location": place(6, 6)},
        {"name": "other", "base": "scratch", "location": place(12, 12)},
        {"default": true, "base": "scratch", "location": place(14, 14)},
    ]});
    assert_eq!(found, expected);
}

#[test]
fn an_outline_tells_what_the_target_takes() {
    let expected = json!({
        "args": [
            {"name": "VERSION", "description": "of the base", "value": "2", "location": place(2, 2)},
            {"name": "SUFFIX", "value": "2x", "location": place(4, 4)},
            {"name": "MODE", "description": "is debug or release", "value": "release", "location": place(8, 8)},
            {"name": "DIR", "value": "/app/", "location": place(15, 15)},
        ],
        "secrets": [{"name": "token", "required": true, "location": place(10, 10)}],
        "ssh": [{"name": "default", "location": place(11, 11)}],
        "cache": [{"ID": "/cache", "location": place(10, 10)}],
    });
    assert_eq!(outlined(&with_args(&[("VERSION", "2")])), expected);
    assert_eq!(
        outlined(&with_target("other")),
        json!({"name": "other", "args": [{"name": "OTHER", "location": place(13, 13)}]})
    );
    let build = outlined(&with_target("build"));
    assert_eq!((&build["name"], &build["description"]), (&json!("build"), &json!("compiles")));
}

/// Names, values and lines of the arguments.
fn args(text: &str, request: &PlanRequest) -> Vec<String> {
    let outline = outline(text, &parse(text), request, &Bases::new()).expect("the target is there");
    let line = |a: &cooper_plan::call::Parameter| format!("{}={} {}", a.name, a.value, a.location.ranges[0].start.line);
    outline.args.iter().map(line).collect()
}

#[test]
fn arguments_of_one_line_see_those_before_them() {
    let text = "FROM scratch\nARG B=12\nARG C=3 D=$C$B E=$D\nRUN echo $E\n";
    let shown = args(text, &request());
    assert!(["D=312 3", "E=312 3"].iter().all(|line| shown.contains(&(*line).to_owned())), "{shown:?}");
}

#[test]
fn an_outline_tells_the_arguments_that_decide_something() {
    // As BuildKit's own case: the default of an unused ARG uses nothing.
    let text = "ARG inherited=box\nARG inherited2=box2\nARG unused=abc${inherited2}\nARG sfx=\"busy${inherited}\"\n\
                FROM ${sfx} AS build\nARG foo\nARG bar\nFROM scratch\nARG target\nCOPY --from=build /x /\n";
    let none = request();
    assert_eq!(args(text, &none), ["inherited=box 1", "sfx=busybox 4", "foo= 6", "bar= 7", "target= 9"]);
    // What a build argument replaces uses nothing either.
    assert_eq!(args(text, &with_args(&[("sfx", "x")])), ["sfx=x 4", "foo= 6", "bar= 7", "target= 9"]);
    for (text, request, expected) in [
        // An ARG that repeats a global one is told where the value comes from; predefined ones have no such place.
        ("ARG A=1\nFROM scratch\nARG A\nARG TARGETARCH\n", &none, &["A=1 1"][..]),
        ("ARG A=1\nFROM scratch\nARG A\n", &with_args(&[("A", "2")]), &["A=2 3"]),
        ("ARG A=1\nFROM a:$A\nARG A=2\n", &none, &["A=2 3"]),
        ("ARG A=1\nARG A=${A}2\nFROM a:$A\n", &none, &["A=12 2"]),
        // The last of a stage, and the target's before that of its base.
        ("FROM a\nARG A=1\nARG A=2\n", &none, &["A=2 3"]),
        ("FROM a AS b\nARG A=1\nFROM b\nARG A=2\n", &none, &["A=2 4"]),
        ("FROM a AS b\nARG A=1\nFROM b\n", &none, &["A=1 2"]),
        // Values of defaults, as far as they are known.
        ("FROM a\nARG A=1\nENV B=b\nARG C=$A-$B\nARG D=$PATH2/x\n", &none, &["A=1 2", "C=1-b 4", "D=${PATH2}/x 5"]),
        ("ARG G=g\nFROM a\nARG A=1\nARG B=${A}x${G}-${N:-n}\n", &with_args(&[("A", "2")]), &["A=2 3", "B=2x${G}-n 4"]),
        // Triggers are told where they happen.
        ("FROM a AS b\nONBUILD ARG A=1\nFROM b\n", &none, &["A=1 3"]),
        ("FROM a AS b\nARG A\nFROM c\n", &none, &[]),
    ] {
        assert_eq!(args(text, request), expected, "{text}");
    }
}

#[test]
fn an_outline_knows_what_a_known_base_sets() {
    let text = "ARG G=g\nFROM a\nARG A=1\nARG B=${A}x${G}:$HOME_OF\n";
    let reference = "a:latest".parse().expect("a name");
    let key = BaseKey { image: BaseImage::Named(reference), platform: request().platform };
    let mut config = with_path();
    config.config.env.push("HOME_OF=/h".to_owned());
    let outline = outline(text, &parse(text), &request(), &Bases::from([(key, config)])).expect("the target is there");
    // A global ARG is not seen in a stage that does not declare it.
    assert_eq!(outline.args[1].value, "1x:/h");
}

#[test]
fn a_replaced_stage_takes_nothing() {
    let text =
        "ARG V=1\nFROM a:$V AS dep\nFROM dep AS b\nARG A\nRUN --mount=type=ssh true\nFROM c\nCOPY --from=b /x /\n";
    let contexts = [("b".parse().expect("a name"), cooper_plan::context::ContextKind::Files)].into_iter().collect();
    let replaced = PlanRequest { contexts, ..request() };
    let whole = outline(text, &parse(text), &request(), &Bases::new()).expect("the target is there");
    assert_eq!((whole.args.len(), whole.ssh.len()), (2, 1));
    let less = outline(text, &parse(text), &replaced, &Bases::new()).expect("the target is there");
    assert_eq!((less.args.len(), less.ssh.len()), (0, 0));
}

#[test]
fn what_cannot_be_outlined() {
    let file = parse(TEXT);
    assert_eq!(outline(TEXT, &file, &with_target("nope"), &Bases::new()).unwrap_err().len(), 1);
    let broken = "ARG A=${B:?no}\nFROM scratch\n";
    assert_eq!(outline(broken, &parse(broken), &request(), &Bases::new()).unwrap_err().len(), 1);
}
