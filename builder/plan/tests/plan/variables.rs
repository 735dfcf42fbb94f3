//! ARG and ENV: scopes, precedence, and who sees what.

use crate::planning::*;
use cooper_plan::build_args::unused_build_args;
use cooper_plan::request::PlanRequest;

#[test]
fn what_a_run_sees_of_a_variable() {
    for (rule, text, args, wanted) in [
        ("a global ARG is not in a stage", "ARG A=g\nFROM scratch\nRUN x", &[][..], None),
        ("a global ARG is seen when declared again", "ARG A=g\nFROM scratch\nARG A\nRUN x", &[], Some("g")),
        ("a default of the stage beats the global ARG", "ARG A=g\nFROM scratch\nARG A=s\nRUN x", &[], Some("s")),
        ("--build-arg beats both", "ARG A=g\nFROM scratch\nARG A=s\nRUN x", &[("A", "b")], Some("b")),
        ("--build-arg needs an ARG", "FROM scratch\nRUN x", &[("A", "b")], None),
        ("ARG without a value is undefined", "FROM scratch\nARG A\nRUN x", &[], None),
        ("an empty default is a value", "FROM scratch\nARG A=\nRUN x", &[], Some("")),
        ("ARG counts from its line on", "FROM scratch\nRUN x\nARG A=1", &[], None),
        ("ENV after ARG wins", "FROM scratch\nARG A=a\nENV A=e\nRUN x", &[], Some("e")),
        ("ARG after ENV wins in RUN", "FROM scratch\nENV A=e\nARG A=a\nRUN x", &[], Some("a")),
        ("ARG without a value leaves ENV alone", "FROM scratch\nENV A=e\nARG A\nRUN x", &[], Some("e")),
        ("stages inherit ARGs", "FROM scratch AS b\nARG A=1\nFROM b\nRUN x", &[], Some("1")),
        ("other stages do not", "FROM scratch AS b\nARG A=1\nFROM scratch\nCOPY --from=b / /\nRUN x", &[], None),
        ("stages inherit ENV", "FROM scratch AS b\nENV A=1\nFROM b\nRUN x", &[], Some("1")),
        (
            "a wrong default is not looked at when overridden",
            "FROM scratch\nARG A=${B?no}\nRUN x",
            &[("A", "b")],
            Some("b"),
        ),
        ("a default sees ENV", "FROM scratch\nENV B=1\nARG A=$B\nRUN x", &[], Some("1")),
        ("a default sees ARGs before it", "FROM scratch\nARG B=1\nARG A=$B\nRUN x", &[], Some("1")),
        ("a default does not see global ARGs", "ARG B=1\nFROM scratch\nARG A=$B\nRUN x", &[], Some("")),
        ("global defaults see global ARGs", "ARG B=1\nARG A=${B}2\nFROM scratch\nARG A\nRUN x", &[], Some("12")),
        (
            "a global --build-arg reaches other defaults",
            "ARG B=1\nARG A=${B}2\nFROM scratch\nARG A\nRUN x",
            &[("B", "7")],
            Some("72"),
        ),
        (
            "one line sees the values before it",
            "FROM scratch\nENV A=old\nENV A=new B=$A\nENV A=$B\nRUN x",
            &[],
            Some("old"),
        ),
        ("names are expanded too", "FROM scratch\nENV N=A\nENV $N=1\nRUN x", &[], Some("1")),
        ("single quotes keep a dollar", "FROM scratch\nENV A='$B'\nRUN x", &[], Some("$B")),
        ("an undefined variable is empty", "FROM scratch\nENV A=[$B]\nRUN x", &[], Some("[]")),
    ] {
        let plan = planned(text, &with_args(args)).unwrap_or_else(|e| panic!("{rule}: {e:?}"));
        assert_eq!(seen(&plan, "A").as_deref(), wanted, "{rule}");
    }
}

#[test]
fn only_env_reaches_the_configuration() {
    let plan = good("FROM scratch\nENV A=e\nARG A=a\nARG B=b\nENV C=$A$B");
    let env = config(&plan, &with_path()).config.env;
    assert_eq!(env, ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "A=e", "C=ab"]);
}

#[test]
fn a_base_keeps_its_path_and_its_variables() {
    let mut base = with_path();
    base.config.env.extend(["B=x=y".to_owned(), "broken".to_owned()]);
    let plan = upon("FROM debian\nENV PATH=$PATH:/opt\nRUN x", &base);
    assert_eq!(seen(&plan, "PATH").unwrap(), "/bin:/opt");
    assert_eq!(seen(&plan, "B").unwrap(), "x=y");
    assert_eq!(config(&plan, &base).config.env, ["PATH=/bin:/opt", "B=x=y", "broken"]);
    let names: Vec<&str> = runs(&plan)[0].env.iter().map(|(n, _)| n.as_str()).collect();
    assert!(names.is_sorted());
}

#[test]
fn platform_arguments() {
    let arm: cooper_image::Platform = "linux/arm/v7".parse().unwrap();
    let cross = PlanRequest { platform: arm, ..request() };
    let text = "FROM scratch AS last\nARG TARGETPLATFORM\nARG TARGETOS TARGETARCH TARGETVARIANT BUILDPLATFORM BUILDVARIANT TARGETSTAGE\n\
                ENV A=$TARGETPLATFORM,$TARGETOS,$TARGETARCH,$TARGETVARIANT,$BUILDPLATFORM,[$BUILDVARIANT],$TARGETSTAGE\nRUN x";
    let a = |r: &PlanRequest| seen(&planned(text, r).unwrap(), "A").unwrap();
    assert_eq!(a(&cross), "linux/arm/v7,linux,arm,v7,linux/amd64,[],last");
    let mut overridden = cross.clone();
    overridden.build_args.insert("TARGETARCH".into(), "mips".into());
    assert_eq!(a(&overridden), "linux/arm/v7,linux,mips,v7,linux/amd64,[],last");
    // Spellings of one platform come to one value.
    for (written, wanted) in [
        ("linux/arm64/v8", "linux/arm64,linux,arm64,,"),
        ("linux/arm", "linux/arm/v7,linux,arm,v7,"),
        ("aarch64", "linux/arm64,linux,arm64,,"),
    ] {
        let told = a(&PlanRequest { platform: written.parse().unwrap(), ..request() });
        assert!(told.starts_with(wanted), "{written}: {told}");
    }
    // Not declared: not seen.
    assert_eq!(seen(&good("FROM scratch\nRUN x"), "TARGETARCH"), None);
    let unnamed = good("FROM scratch\nARG TARGETSTAGE\nRUN x");
    assert_eq!(seen(&unnamed, "TARGETSTAGE").unwrap(), "default");
    let asked = planned("FROM scratch AS a\nARG TARGETSTAGE\nRUN x\nFROM a AS b", &with_target("a")).unwrap();
    assert_eq!(seen(&asked, "TARGETSTAGE").unwrap(), "a");
}

#[test]
fn proxies_are_usable_without_arg_and_outside_every_key() {
    let args = with_args(&[("HTTP_PROXY", "http://p"), ("no_proxy", "localhost"), ("OTHER", "1")]);
    let plan = planned("FROM scratch\nENV https_proxy=e\nARG no_proxy\nRUN x", &args).unwrap();
    let exec = runs(&plan)[0];
    let pair = |n: &str, v: &str| (n.to_owned(), v.to_owned());
    assert_eq!(
        exec.unkeyed_env,
        [pair("HTTP_PROXY", "http://p"), pair("NO_PROXY", "localhost"), pair("http_proxy", "http://p")]
    );
    assert_eq!(seen(&plan, "no_proxy").unwrap(), "localhost", "declared: it counts");
    assert_eq!(seen(&plan, "https_proxy").unwrap(), "e");
    assert_eq!(history(&plan).last().unwrap(), &"RUN |1 no_proxy=localhost /bin/sh -c x # buildkit");
    let both = with_args(&[("HTTP_PROXY", "upper"), ("http_proxy", "lower")]);
    let plan = planned("FROM scratch\nRUN x", &both).unwrap();
    assert_eq!(runs(&plan)[0].unkeyed_env, [pair("HTTP_PROXY", "upper"), pair("http_proxy", "lower")]);
}

#[test]
fn scanner_arguments_never_reach_the_environment() {
    let args = with_args(&[("BUILDKIT_SBOM_SCAN_STAGE", "true")]);
    let plan = planned("FROM scratch\nARG BUILDKIT_SBOM_SCAN_STAGE\nRUN x", &args).unwrap();
    assert_eq!(seen(&plan, "BUILDKIT_SBOM_SCAN_STAGE"), None);
}

#[test]
fn history_of_run_shows_declared_arguments() {
    let text = "FROM scratch AS b\nARG A=1\nARG N\nFROM b\nARG B=2\nARG A=3\nENV B=e\nRUN make it";
    let lines = good(text);
    assert_eq!(history(&lines), ["ARG B=2", "ARG A=3", "ENV B=e", "RUN |3 A=3 N= B=e /bin/sh -c make it # buildkit"]);
    assert_eq!(
        history(&good("FROM scratch\nARG A=1 B\nRUN [\"a\", \"b\"]")),
        ["ARG A=1 B", "RUN |2 A=1 B= a b # buildkit"]
    );
}

#[test]
fn arguments_that_nothing_takes() {
    let text = "ARG G\nFROM scratch AS unneeded\nARG S\nFROM scratch\nONBUILD ARG T\n";
    let args = with_args(&[
        ("G", ""),
        ("S", ""),
        ("T", ""),
        ("TYPO", ""),
        ("ALSO", ""),
        ("HTTP_PROXY", ""),
        ("all_proxy", ""),
        ("TARGETARCH", ""),
        ("BUILDOSVERSION", ""),
        ("TARGETSTAGE", ""),
        ("TARGETX", ""),
        ("BUILDKIT_INLINE_CACHE", "1"),
        ("BUILDKIT_INLINE_CAHCE", "1"),
        ("SOURCE_DATE_EPOCH", "0"),
    ]);
    assert_eq!(unused_build_args(&parse(text), &args), ["ALSO", "BUILDKIT_INLINE_CAHCE", "TARGETX", "TYPO"]);
}
