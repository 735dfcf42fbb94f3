//! Build checks that need variables, stages, bases or the ignore file: what they say and where, when they are silent,
//! and that they can be skipped. BuildKit's cases are those of its own tests.

use crate::planning::{request, with_args, with_target};
use cooper_dockerfile::diagnostic::Severity;
use cooper_dockerfile::lint::{Experimental, Source, apply};
use cooper_image::{ImageConfig, Platform};
use cooper_plan::build::{BaseKey, Bases};
use cooper_plan::context::ContextKind;
use cooper_plan::lint::{Report, Stages, Subject, check};
use cooper_plan::request::PlanRequest;

struct Case<'a> {
    request: PlanRequest,
    ignore: Option<&'a str>,
    bases: Bases,
    experimental: Experimental,
    stages: Stages,
}

impl Default for Case<'_> {
    fn default() -> Self {
        let (experimental, stages) = (Experimental::Named, Stages::All);
        Self { request: request(), ignore: None, bases: Bases::new(), experimental, stages }
    }
}

impl Case<'_> {
    fn report(&self, text: &str) -> Report {
        let Self { request, ignore, bases, experimental, stages } = self;
        let ignore = ignore.map(str::as_bytes);
        check(&Subject { text, request, ignore, bases, experimental: *experimental, stages: *stages })
            .expect("the settings are well formed")
    }

    fn found(&self, text: &str) -> Vec<String> {
        let line = |f: &cooper_dockerfile::lint::Finding| format!("{} {}: {}", f.rule.id, f.span.start, f.detail);
        self.report(text).findings.iter().map(line).collect()
    }

    fn mended(&self, text: &str, rule: &str) -> String {
        let edits: Vec<_> =
            self.report(text).findings.into_iter().filter(|f| f.rule.id == rule).flat_map(|f| f.edits).collect();
        apply(Source::new(text).text(), &edits)
    }
}

fn found(text: &str) -> Vec<String> {
    Case::default().found(text)
}

/// Findings of one of Cooper's own rules.
fn own(rule: &str, text: &str) -> Vec<String> {
    let case = Case { experimental: Experimental::OwnToo, ..Case::default() };
    case.found(text).into_iter().filter_map(|f| Some(f.strip_prefix(rule)?.trim().to_owned())).collect()
}

fn base(name: &str, env: &[&str], platform: &str) -> Bases {
    let mut config = ImageConfig::scratch(&platform.parse().expect("a platform"));
    config.config.env = env.iter().map(|e| (*e).to_owned()).collect();
    let key = BaseKey {
        image: cooper_plan::build::BaseImage::Named(
            name.parse::<cooper_image::Reference>().expect("a name").or_latest(),
        ),
        platform: Platform::linux("amd64"),
    };
    Bases::from([(key, config)])
}

#[test]
fn variables() {
    let cases: &[(&str, &[&str])] = &[
        ("FROM scratch\nARG foo\nCOPY Dockerfile${foo} .\n", &[]),
        ("FROM alpine AS base\nARG foo=Dockerfile\n\nFROM base\nCOPY $foo .\n", &[]),
        ("FROM alpine\nRUN echo $PATH\nEXPOSE $PORT\n", &[]),
        (
            "FROM alpine\nCOPY $foo .\nARG foo=bar\nRUN echo $foo\n",
            &["UndefinedVar 2: Usage of undefined variable '$foo'"],
        ),
        (
            "FROM alpine\nARG DIR_BINARIES=binaries/\nARG DIR_ASSETS=assets/\nARG DIR_CONFIG=config/\nCOPY $DIR_ASSET .\n",
            &["UndefinedVar 5: Usage of undefined variable '$DIR_ASSET' (did you mean $DIR_ASSETS?)"],
        ),
        (
            "FROM alpine\nENV PATH=$PAHT:/tmp/bin\n",
            &["UndefinedVar 2: Usage of undefined variable '$PAHT' (did you mean $PATH?)"],
        ),
        ("FROM alpine\n# check=skip=UndefinedVar\nENV PATH=$PAHT:/tmp/bin\n", &[]),
        (
            "FROM scratch AS first\nCOPY $foo .\n\nFROM scratch AS second\nCOPY $bar .\n",
            &[
                "UndefinedVar 2: Usage of undefined variable '$foo'",
                "UndefinedVar 5: Usage of undefined variable '$bar'",
            ],
        ),
        // A global ARG is not seen in a stage that does not declare it again.
        ("ARG V=1\nFROM alpine\nLABEL v=$V\n", &["UndefinedVar 3: Usage of undefined variable '$V'"]),
        // What a base sets is not known here, so that there is nothing to be said.
        ("FROM openjdk\nENV X=$JAVA_HOME/bin\n", &[]),
        // Not even where the name is like another one: BuildKit knows what golang sets.
        ("FROM golang\nENV X=$GOPATH/bin\n", &[]),
        (
            "FROM scratch\nENV X=$GOPATH/bin\n",
            &["UndefinedVar 2: Usage of undefined variable '$GOPATH' (did you mean $PATH?)"],
        ),
        ("FROM scratch\nENV X=$JAVA_HOME/bin\n", &["UndefinedVar 2: Usage of undefined variable '$JAVA_HOME'"]),
        // As in BuildKit, a default for it does not make a variable a defined one.
        // Arguments of one line see those before them.
        ("FROM scratch\nARG A=1 B=${A} C=$B$D D=2\n", &["UndefinedVar 2: Usage of undefined variable '$D'"]),
        ("FROM scratch\nENV X=${Y:-1}\n", &["UndefinedVar 2: Usage of undefined variable '$Y'"]),
        ("FROM scratch\nCOPY <<E <<'F' /\n$A\nE\n$B\nF\n", &["UndefinedVar 2: Usage of undefined variable '$A'"]),
        ("FROM scratch AS a\nONBUILD ARG T=1\nFROM a\nLABEL t=$T\n", &[]),
    ];
    for (text, expected) in cases {
        assert_eq!(found(text), *expected, "{text}");
    }
    let known = Case { bases: base("openjdk", &["JAVA_HOME=/j"], "linux/amd64"), ..Case::default() };
    assert!(known.found("FROM openjdk\nENV X=$JAVA_HOME/bin\n").is_empty());
    assert_eq!(known.found("FROM openjdk\nENV X=$GRADLE\n"), ["UndefinedVar 2: Usage of undefined variable '$GRADLE'"]);
    // A build argument takes the place of the default.
    let given = Case { request: with_args(&[("X", "1")]), ..Case::default() };
    let text = "FROM scratch\nARG X=$NOT_THERE\n";
    assert_eq!((given.found(text).len(), found(text).len()), (0, 1));
}

#[test]
fn only_the_stages_that_a_build_needs() {
    let text = "FROM scratch AS first\nCOPY $foo .\nFROM scratch AS Second\nCOPY $bar .\n";
    let names = |case: &Case<'_>| -> Vec<u32> { case.report(text).findings.iter().map(|f| f.span.start).collect() };
    let needed = || Case { stages: Stages::Needed, ..Case::default() };
    assert_eq!(names(&needed()), [3, 4]);
    assert_eq!(names(&Case { request: with_target("first"), ..needed() }), [2, 3]);
    assert_eq!(names(&Case { request: with_target("first"), ..Case::default() }), [2, 3]);
    assert_eq!(names(&Case::default()), [2, 3, 4]);
    // What a stage copies from and mounts, it needs.
    for use_it in ["COPY --from=first /a /", "RUN --mount=from=first,target=/x true", "FROM first"] {
        let text = format!("FROM scratch AS first\nCOPY $foo .\nFROM scratch\n{use_it}\n");
        assert_eq!(needed().found(&text).len(), 1, "{use_it}");
    }
}

#[test]
fn from_lines() {
    let cases: &[(&str, &[&str])] = &[
        ("ARG base=scratch\nFROM $base\nCOPY Dockerfile .\n", &[]),
        ("ARG BUILDPLATFORM=linux/amd64\nFROM --platform=$BUILDPLATFORM scratch\n", &[]),
        ("FROM --platform=$BUILDPLATFORM scratch\n", &[]),
        ("ARG DEBUG\nFROM scratch${DEBUG}\n", &[]),
        ("ARG DEBUG\nFROM scra${DEBUG:-tch}\n", &[]),
        ("ARG DEBUG=\"\"\nFROM scratch${DEBUG-@bogus}\n", &[]),
        (
            "FROM --platform=$BULIDPLATFORM scratch\n",
            &["UndefinedArgInFrom 1: FROM argument 'BULIDPLATFORM' is not declared (did you mean BUILDPLATFORM?)"],
        ),
        (
            "ARG MY_OS=linux\nARG MY_ARCH=amd64\nFROM --platform=linux/${MYARCH} busybox\n",
            &["UndefinedArgInFrom 3: FROM argument 'MYARCH' is not declared (did you mean MY_ARCH?)"],
        ),
        (
            "ARG tag=latest\nFROM busybox:${tag}${version} AS b\n",
            &["UndefinedArgInFrom 2: FROM argument 'version' is not declared"],
        ),
        ("ARG tag=latest\n# check=skip=UndefinedArgInFrom\nFROM busybox:${tag}${version} AS b\n", &[]),
        (
            "FROM --platform=$TARGETPLATFORM scratch\n",
            &[
                "RedundantTargetPlatform 1: Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
            ],
        ),
        (
            "FROM --platform=${TARGETPLATFORM} scratch\n",
            &[
                "RedundantTargetPlatform 1: Setting platform to predefined ${TARGETPLATFORM} in FROM is redundant as this is the default behavior",
            ],
        ),
        ("\n# check=skip=RedundantTargetPlatform\nFROM --platform=$TARGETPLATFORM scratch\n", &[]),
        ("FROM --platform=$TARGETOS/$TARGETARCH scratch\n", &[]),
        (
            "FROM --platform=linux/amd64 scratch\n",
            &["FromPlatformFlagConstDisallowed 1: FROM --platform flag should not use constant value \"linux/amd64\""],
        ),
        ("FROM --platform=linux/amd64 scratch AS my_amd64_stage\n", &[]),
        ("FROM --platform=linux/amd64 scratch AS linux\n", &[]),
        ("\n# check=skip=FromPlatformFlagConstDisallowed\nFROM --platform=linux/amd64 scratch\n", &[]),
    ];
    for (text, expected) in cases {
        assert_eq!(found(text), *expected, "{text}");
    }
    let platform = "FROM --platform=$TARGETPLATFORM scratch AS a\n";
    assert_eq!(Case::default().mended(platform, "RedundantTargetPlatform"), "FROM scratch AS a\n");
}

#[test]
fn defaults_of_from_lines() {
    for (text, arg, detail) in [
        ("ARG VERSION\nFROM busybox:$VERSION\n", ("VERSION", "latest"), Some("busybox:$VERSION")),
        ("ARG IMAGE\nFROM $IMAGE\n", ("IMAGE", "busybox:latest"), Some("$IMAGE")),
        ("ARG SFX=\"box:\"\nFROM busy${SFX}\n", ("SFX", "box:latest"), Some("busy${SFX}")),
        ("ARG VERSION=\"latest\"\nFROM busybox:${VERSION}\n", ("VERSION", "latest"), None),
        ("ARG VARIANT=\"\"\nFROM busybox:stable${VARIANT}\n", ("VARIANT", "-musl"), None),
        ("ARG VARIANT\nFROM busybox:stable${VARIANT}\n", ("VARIANT", "-musl"), None),
        ("ARG IMAGE\n# check=skip=InvalidDefaultArgInFrom\nFROM $IMAGE\n", ("IMAGE", "busybox"), None),
    ] {
        let case = Case { request: with_args(&[arg]), ..Case::default() };
        let line = |name: &str| {
            format!(
                "InvalidDefaultArgInFrom 2: Default value for ARG {name} results in empty or invalid base image name"
            )
        };
        assert_eq!(case.found(text), detail.map(line).into_iter().collect::<Vec<_>>(), "{text}");
    }
}

#[test]
fn platforms_of_bases() {
    let text = "FROM busybox\n";
    let case = |platform: &str| Case { bases: base("busybox", &[], platform), ..Case::default() };
    let expected = "InvalidBaseImagePlatform 1: Base image busybox was pulled with platform \"linux/arm64\", expected \
                    \"linux/amd64\" for current build";
    assert_eq!(case("linux/arm64").found(text), [expected]);
    assert!(case("linux/amd64/v2").found(text).is_empty() && found(text).is_empty());
    assert!(case("linux/arm64").found("\n# check=skip=InvalidBaseImagePlatform\nFROM busybox\n").is_empty());
}

#[test]
fn steps() {
    let json = |name: &str, line: u32| {
        format!(
            "JSONArgsRecommended {line}: JSON arguments recommended for {name} to prevent unintended behavior related to OS signals"
        )
    };
    let cases: &[(&str, &[String])] = &[
        ("FROM scratch\nCMD mycommand\n", &[json("CMD", 2)]),
        ("FROM scratch\nENTRYPOINT mycommand\n", &[json("ENTRYPOINT", 2)]),
        ("FROM scratch\nCMD [\"mycommand\"]\n", &[]),
        ("FROM scratch\nSHELL [\"/usr/bin/customshell\"]\nCMD mycommand\n", &[]),
        ("FROM scratch AS base\nSHELL [\"/usr/bin/customshell\"]\n\nFROM base\nENTRYPOINT mycommand\n", &[]),
        ("FROM scratch\n# check=skip=JSONArgsRecommended\nCMD mycommand\n", &[]),
        (
            "FROM scratch\nWORKDIR app/\nWORKDIR x\n",
            &["WorkdirRelativePath 2: Relative workdir \"app/\" can have unexpected results if the base image changes"
                .into()],
        ),
        ("FROM scratch AS a\nWORKDIR /app\n\nFROM a AS b\nWORKDIR subdir/\n", &[]),
        ("FROM scratch\nARG D=/d\nWORKDIR $D\n", &[]),
        ("FROM unknown\nWORKDIR $D\n", &[]),
        ("FROM scratch\n# check=skip=WorkdirRelativePath\nWORKDIR app/\n", &[]),
    ];
    for (text, expected) in cases {
        assert_eq!(found(text), *expected, "{text}");
    }
}

#[test]
fn ignored_files() {
    let line = |line: u32, verb: &str, file: &str| {
        format!("CopyIgnoredFile {line}: Attempting to {verb} file \"{file}\" that is excluded by .dockerignore")
    };
    let text = "FROM scratch\nCOPY Dockerfile .\nADD ./Dockerfile /windy\n";
    let expected = vec![line(2, "Copy", "Dockerfile"), line(3, "Add", "Dockerfile")];
    for (ignore, text, expected) in [
        (Some("\nDockerfile\n"), text, expected.clone()),
        (None, text, vec![]),
        (Some("Dockerfile\n"), "# check=skip=CopyIgnoredFile\n\nFROM scratch\nCOPY Dockerfile .\n", vec![]),
        (Some("Dockerfile\n"), "FROM scratch\n# check=skip=CopyIgnoredFile\nCOPY Dockerfile .\n", vec![]),
        (
            Some("foobar\n"),
            "FROM scratch AS base\nCOPY Dockerfile /foobar\nFROM base\nCOPY --from=base /foobar /D\n",
            vec![],
        ),
        (Some("**\n!Dockerfile\n"), "FROM scratch\nCOPY ./Dockerfile .\nCOPY . .\n", vec![]),
        (Some("*\n"), "FROM scratch\nCOPY . .\nCOPY / /x\n", vec![]),
        (Some("dir\n"), "FROM scratch\nCOPY dir/file .\n", vec![line(2, "Copy", "dir/file")]),
    ] {
        assert_eq!(Case { ignore, ..Case::default() }.found(text), expected, "{ignore:?} {text}");
    }
}

#[test]
fn what_nothing_uses() {
    for (text, expected) in [
        ("FROM a AS x\nFROM b\n", &["1: the last stage does not need the stage x, and no comment describes it"][..]),
        ("FROM a\nFROM b\n", &["1: the last stage does not need the stage stage-0, and no comment describes it"]),
        ("FROM a AS x\nFROM b\nCOPY --from=x /a /\n", &[]),
        ("FROM a AS y\nRUN true\n# x runs the tests\nFROM y AS x\nFROM b\n", &[]),
        ("\n# check=skip=UnreachableStage\nFROM a AS x\nFROM b\n", &[]),
    ] {
        assert_eq!(own("UnreachableStage", text), expected, "{text}");
    }
    for (text, expected) in [
        ("ARG A=1\nFROM b\n", &["1: no FROM and no stage uses ARG A"][..]),
        ("ARG A=1\nFROM b:$A\n", &[]),
        ("ARG A=1\nFROM b\nARG A\nRUN echo $A\n", &[]),
        // make reads its environment, so that it may use any ARG.
        ("FROM b\nARG A\nRUN make\n", &[]),
        ("FROM b AS c\nARG A\nFROM c AS d\nFROM d\nRUN make\n", &[]),
        ("FROM b AS c\nONBUILD RUN make\nARG A\nFROM c\n", &[]),
        ("FROM b\nARG A\nCOPY . .\n", &["2: nothing below ARG A in its stage uses it"]),
        ("FROM b\nRUN echo $A\nARG A\n", &["3: nothing below ARG A in its stage uses it"]),
        ("FROM b AS c\nARG A\nFROM b\nRUN make\n", &["2: nothing below ARG A in its stage uses it"]),
        ("FROM b\nARG A\nARG B=$A\nLABEL b=$B\n", &[]),
        (
            "FROM b\nARG A\nARG A=1\n",
            &["2: nothing below ARG A in its stage uses it", "3: nothing below ARG A in its stage uses it"],
        ),
        ("FROM b AS c\nARG A\nFROM c AS d\nFROM d\nLABEL a=${A}\n", &[]),
        ("FROM b\nARG A\nCOPY <<E /a\n$A\nE\n", &[]),
        ("ARG SOURCE_DATE_EPOCH=0\nFROM b\nARG BUILDKIT_SBOM_SCAN_STAGE=true\nARG https_proxy\n", &[]),
        ("FROM b\n# check=skip=UnusedArg\nARG A\n", &[]),
    ] {
        assert_eq!(own("UnusedArg", text), expected, "{text}");
    }
    let case = Case { experimental: Experimental::OwnToo, ..Case::default() };
    assert_eq!(case.mended("FROM b\nARG A=1\\\n2\nUSER x\n", "UnusedArg"), "FROM b\nUSER x\n");
    // What may be read is never taken out, whatever else is.
    let text = "FROM b\nARG A=1\nRUN make\nARG B\n";
    assert_eq!(case.mended(text, "UnusedArg"), "FROM b\nARG A=1\nRUN make\n");
}

#[test]
fn replaced_stages_are_not_looked_at() {
    let text = "FROM alpine AS dep\nWORKDIR x\nFROM dep AS b\nARG V=1\nWORKDIR y\nENV A=$V\nONBUILD ENV O=1\n\
                RUN apt-get update\nFROM b\nCOPY $V$O .\nCOPY --from=b / /\n";
    let contexts = |kind| [("b".parse().expect("a name"), kind)].into_iter().collect();
    let lines = |contexts, experimental| {
        let request = PlanRequest { contexts, ..request() };
        let case = Case { request, experimental, stages: Stages::Needed, ..Case::default() };
        case.report(text).findings.iter().map(|f| (f.rule.id, f.span.start)).collect::<Vec<_>>()
    };
    let all = lines(Default::default(), Experimental::OwnToo);
    assert!(all.contains(&("WorkdirRelativePath", 2)) && all.contains(&("AptListsLeftBehind", 8)), "{all:?}");
    assert!(!all.iter().any(|(id, _)| *id == "UndefinedVar"), "{all:?}");
    // Nothing of the stage is done, so that what it needs is not needed and what it sets is not set.
    let files = lines(contexts(ContextKind::Files), Experimental::OwnToo);
    assert_eq!(files, [("BaseNotPinned", 1), ("UndefinedVar", 10), ("UndefinedVar", 10)]);
    let by_name = lines(contexts(ContextKind::Layout), Experimental::Named);
    assert_eq!(by_name, [("UndefinedVar", 10)], "an image that is not known may have set $O");
}

#[test]
fn bases_without_a_digest() {
    let digest = format!("sha256:{}", "0".repeat(64));
    assert_eq!(
        own("BaseNotPinned", "FROM debian:12 AS a\nFROM a\nFROM scratch\n"),
        ["1: the base debian:12 is named by tag only"]
    );
    assert!(own("BaseNotPinned", &format!("FROM debian:12@{digest}\n")).is_empty());
    assert!(own("BaseNotPinned", "\n# check=skip=BaseNotPinned\nFROM debian:12\n").is_empty());
}

#[test]
fn what_the_parser_doubts() {
    for (rule, text, silent) in [
        ("DuplicateName", "FROM a\nENV A=1 A=2\n", "FROM a\nENV A=1 B=2\n"),
        ("ExecFormQuotes", "FROM a\nRUN ['a']\n", "FROM a\nRUN [\"a\"]\n"),
        ("HealthcheckFlags", "FROM a\nHEALTHCHECK --retries=1 NONE\n", "FROM a\nHEALTHCHECK NONE\n"),
    ] {
        assert_eq!(own(rule, text).len(), 1, "{rule}");
        assert!(own(rule, silent).is_empty(), "{rule}");
        assert!(own(rule, &text.replace("FROM a\n", &format!("FROM a\n# check=skip={rule}\n"))).is_empty(), "{rule}");
        // They are no checks of BuildKit's, so `error=true` makes nothing of them in a build.
        assert!(found(&format!("# check=error=true\n{text}")).is_empty(), "{rule}");
    }
}

#[test]
fn options_come_from_the_file_and_from_a_build_argument() {
    let with = |text: &str| Case { request: with_args(&[("BUILDKIT_DOCKERFILE_CHECK", text)]), ..Case::default() };
    for (case, directive, codes, severity) in [
        (Case::default(), "skip=all", &[][..], Severity::Warning),
        (Case::default(), "skip=all;error=true", &[], Severity::Error),
        (Case::default(), "skip=ConsistentInstructionCasing,FromAsCasing", &[], Severity::Warning),
        (Case::default(), "skip=ConsistentInstructionCasing", &["FromAsCasing"], Severity::Warning),
        (Case::default(), "skip=ConsistentInstructionCasing;error=true", &["FromAsCasing"], Severity::Error),
        (with("skip=ConsistentInstructionCasing;error=true"), "skip=all", &["FromAsCasing"], Severity::Error),
        (with("skip=all"), "error=true", &[], Severity::Warning),
        (Case::default(), "skip=all;experimental=BaseNotPinned", &[], Severity::Warning),
    ] {
        let report = case.report(&format!("#check={directive}\nFROM scratch as base\ncopy Dockerfile .\n"));
        let found: Vec<&str> = report.findings.iter().map(|f| f.rule.id).collect();
        assert_eq!((found.as_slice(), report.severity), (codes, severity), "{directive}");
    }
    let request = with_args(&[("BUILDKIT_DOCKERFILE_CHECK", "skp=all")]);
    let subject = Subject {
        text: "FROM scratch\n",
        request: &request,
        ignore: None,
        bases: &Bases::new(),
        experimental: Experimental::Named,
        stages: Stages::All,
    };
    assert_eq!(check(&subject).unwrap_err().to_string(), "\"skp=all\" is not a setting of the checks");
}

#[test]
fn a_file_with_errors_is_checked_as_far_as_it_goes() {
    let text = "FROM scratch AS BadStageName\nMAINTAINER me@example.org\nBADCMD\n";
    assert_eq!(found(text).len(), 2);
    assert!(found("").is_empty() && found("\u{feff}\u{0}\u{1}").is_empty());
}

#[test]
fn empty_sources_are_told_where_they_are_known_to_be_empty() {
    let says = |source: &str, name: &str, line: u32| {
        format!("EmptySource {line}: The source \"{source}\" of {name} is empty, so that everything is copied")
    };
    for (text, expected) in [
        ("FROM scratch\nARG A\nCOPY $A b /\n", vec![says("$A", "COPY", 3)]),
        ("FROM scratch\nARG A\nADD x ${A} /\n", vec![says("${A}", "ADD", 3)]),
        ("FROM scratch\nCOPY [\"\", \"/\"]\n", vec![says("", "COPY", 2)]),
        ("FROM scratch\nARG A=a\nARG B\nCOPY $A ${B:-.} /\n", vec![]),
        ("FROM scratch\nARG A\n# check=skip=EmptySource\nCOPY $A /\n", vec![]),
        // The base may set it.
        ("FROM unknown@sha256:0123456789012345678901234567890123456789012345678901234567890123\nCOPY $A /\n", vec![]),
    ] {
        assert_eq!(found(text), expected, "{text}");
    }
    let with = Case { request: with_args(&[("A", "a")]), ..Case::default() };
    assert_eq!(with.found("FROM scratch\nARG A\nCOPY $A /\n"), Vec::<String>::new());
}
