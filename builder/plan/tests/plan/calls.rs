//! What `--call=targets` and `--call=outline` tell, as JSON.

use crate::planning::{parse, request, with_args, with_target};
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
    let outline = outline(TEXT, &parse(TEXT), request).expect("the target is there");
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
            {"name": "DIR", "value": "/app/$MODE", "location": place(15, 15)},
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

#[test]
fn what_cannot_be_outlined() {
    let file = parse(TEXT);
    assert_eq!(outline(TEXT, &file, &with_target("nope")).unwrap_err().len(), 1);
    let broken = "ARG A=${B:?no}\nFROM scratch\n";
    assert_eq!(outline(broken, &parse(broken), &request()).unwrap_err().len(), 1);
}
