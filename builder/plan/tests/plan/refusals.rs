//! What is refused, where, and with which advice.

use crate::planning::*;
use cooper_dockerfile::diagnostic::Severity;

/// Each text is refused with one error, at that line, with that message.
fn refused(cases: &[(&str, u32, &str)]) {
    for (text, line, message) in cases {
        let Err(found) = planned(text, &request()) else { panic!("accepted: {text}") };
        assert_eq!(found.len(), 1, "{text}: {found:#?}");
        assert_eq!(found[0].message, *message, "{text}");
        assert_eq!((found[0].span.start, found[0].severity), (*line, Severity::Error), "{text}");
        assert!(found[0].hint.as_ref().is_some_and(|h| !h.is_empty()), "{text}");
    }
}

#[test]
fn features_that_are_not_there_yet() {
    refused(&[
        ("FROM a\nRUN --device=v/c=d x", 2, "RUN --device=v/c=d is not supported yet"),
        ("FROM a\nCOPY https://h/f /", 2, "COPY does not take a URL"),
    ]);
    assert!(planned("FROM a\nRUN --security=sandbox --network=default x\nCOPY --link=false a b", &request()).is_ok());
}

#[test]
fn sources_that_cannot_be_fetched() {
    let id = "0123456789abcdef0123456789abcdef01234567";
    refused(&[
        ("FROM a\nCOPY git@h:r.git /", 2, "COPY does not take a git repository"),
        ("FROM a\nENV U=https://h\n\nCOPY $U/f /", 4, "COPY does not take a URL"),
        ("FROM a\nADD http:///f /", 2, "ADD: http:///f names no host"),
        ("FROM a\nADD https://h /d/", 2, "ADD https://h: the URL does not end in the name of a file"),
        ("FROM a\nADD https://me:pw@h/ .", 2, "ADD https://h/: the URL does not end in the name of a file"),
        (
            "FROM a\nADD https://h/r.git#a..b /",
            2,
            "ADD: https://h/r.git: \"a..b\" is no name of a branch, tag or commit",
        ),
        ("FROM a\nADD --checksum=sha256:aa f /", 2, "ADD --checksum is for one URL or one git repository"),
        (
            "FROM a\nADD --checksum=sha256:aa http://h/f http://h/g /",
            2,
            "ADD --checksum is for one URL or one git repository",
        ),
        (
            "FROM a\nADD --checksum=sha256:aa http://h/f /",
            2,
            "ADD --checksum: not a digest: \"sha256:aa\" (expected sha256: and 64 lower-case hexadecimal digits)",
        ),
        (
            "FROM a\nADD --checksum=sha384:aa http://h/f /",
            2,
            "ADD --checksum: digest algorithm \"sha384\" is not supported (sha256 and sha512 are)",
        ),
        (
            "FROM a\nADD --checksum=sha256:aa git@h:r /",
            2,
            "ADD --checksum: git@h:r: checksum \"sha256:aa\" is no beginning of a commit's id",
        ),
        (
            &format!("FROM a\nADD --checksum=fff git@h:r?checksum={id} /"),
            2,
            &format!("ADD --checksum: git@h:r: checksum conflicts: \"{id}\" and \"fff\""),
        ),
        (
            "FROM a\nADD --keep-git-dir=false git@h:r?keep-git-dir=1 /",
            2,
            "git@h:r: --keep-git-dir=false conflicts with the URL",
        ),
    ]);
}

#[test]
fn bases_and_stages() {
    refused(&[
        ("FROM $NONE", 1, "FROM uses the undefined variable NONE"),
        ("ARG A\nFROM debian:$B", 2, "FROM uses the undefined variable B"),
        ("ARG A\nFROM $A", 2, "\"$A\" is empty in this FROM"),
        ("FROM scratch AS a\nARG V=1\nFROM debian:$V", 3, "FROM uses the undefined variable V"),
        ("FROM --platform=$NONE debian", 1, "FROM uses the undefined variable NONE"),
        (
            "FROM --platform=a/b/c/d debian",
            1,
            "not a platform: \"a/b/c/d\" (expected os/architecture[/variant], as linux/amd64)",
        ),
        ("FROM a\nCOPY --from=0 / /", 2, "--from=0 names the stage that it stands in"),
        ("FROM a AS x\nCOPY --from=X / /", 2, "--from=X names the stage that it stands in"),
        ("FROM a AS x\nCOPY --from=y / /\nFROM b AS y\nFROM x", 2, "--from=y names a later stage"),
        ("FROM a AS x\nCOPY --from=1 / /\nFROM x", 2, "--from=1 names a later stage"),
        ("FROM a\nCOPY --from=7 / /", 2, "--from=7 names a stage that is not there (there is one, number 0)"),
    ]);
    let malformed = planned("FROM scratch AS builder\nFROM Bulider", &request()).unwrap_err();
    assert_eq!(malformed[0].hint.as_deref(), Some("did you mean the stage builder?"));
    for (text, hint) in [
        ("FROM scratch AS builder\nFROM scratch\nCOPY --from=Buidler / /", "did you mean the stage builder?"),
        (
            "FROM scratch AS builder\nFROM scratch\nRUN --mount=from=Buidler,target=/x y",
            "did you mean the stage builder?",
        ),
        // Names of stages are in lower case, and a FROM has to write them so.
        ("FROM scratch AS foo\nFROM Foo", "did you mean the stage foo?"),
        (
            "FROM scratch AS foo\nFROM scratch\nCOPY --from=9 / /",
            "stages are numbered from 0, in the order of the file; name one above",
        ),
        (
            "FROM scratch AS foo\nCOPY --from=foo / /",
            "a stage can only use stages above it; name another one, or an image",
        ),
    ] {
        let found = planned(text, &request()).unwrap_err();
        assert_eq!((found.len(), found[0].hint.as_deref()), (1, Some(hint)), "{text}");
    }
    let near = planned("ARG VERSION=1\nFROM debian:$VERSON", &request()).unwrap_err();
    assert!(near[0].hint.as_ref().unwrap().starts_with("did you mean VERSION?"));
}

#[test]
fn targets() {
    let text = "FROM scratch AS builder\nFROM scratch AS test\nFROM scratch";
    for (target, hint) in [
        ("bilder", "did you mean builder?"),
        ("production", "the stages are builder, test"),
        ("3", "the stages are builder, test"),
        ("", "the stages are builder, test"),
        ("stage-2", "the stages are builder, test"),
    ] {
        let found = planned(text, &with_target(target)).unwrap_err();
        assert_eq!(found[0].message, format!("there is no target stage {target:?}"));
        assert_eq!(found[0].hint.as_deref(), Some(hint), "{target}");
    }
}

#[test]
fn values() {
    refused(&[
        ("FROM a\nRUN --network=lan x", 2, "RUN --network=lan is not a network"),
        (
            "FROM a\nCOPY --exclude=ok --exclude=[ a b",
            2,
            "--exclude: the pattern \"[\" is malformed: a [ that is not closed or is empty",
        ),
        ("FROM a\nADD --exclude=! a b", 2, "--exclude: ! is not followed by a pattern"),
        (
            "FROM a\nCOPY --parents x/./a[ b",
            2,
            "--parents: the pattern \"a[\" is malformed: a [ that is not closed or is empty",
        ),
        ("FROM a\nCOPY --chmod=888 a b", 2, "--chmod=888 is not a mode: octal modes go from 0 to 07777"),
        (
            "FROM a\nCOPY --chmod=u=zz a b",
            2,
            "--chmod=u=zz is not a mode: after + - = only r, w, x, X, s, t, or one of u, g, o, may stand",
        ),
        ("FROM a\nEXPOSE 99999", 2, "EXPOSE 99999: it is no port and no range of ports"),
        ("FROM a\nSTOPSIGNAL SIGNOTHING", 2, "STOPSIGNAL SIGNOTHING is not a signal"),
        ("FROM a\nVOLUME $NONE", 2, "VOLUME has an empty path"),
        ("FROM a\nENV $NONE=1", 2, "ENV has the name \"\", which no variable can have"),
        ("FROM a\nENV A=${B?missing}", 2, "cannot expand \"${B?missing}\": B: missing"),
    ]);
}

#[test]
fn errors_stand_at_the_word_that_they_are_about() {
    for (text, piece) in [
        ("FROM --platform=$NONE debian", "NONE"),
        ("FROM --platform=a/b/c/d debian", "a/b/c/d"),
        ("FROM Debian", "Debian"),
        ("FROM a AS x\nCOPY --from=x --chown=1 x /", "--from=x"),
        ("FROM a\nRUN --mount=target=/x,from=9 x", "from=9"),
        ("FROM a\nRUN --mount=target=/x,Sharing=lockd,type=cache x", "Sharing=lockd"),
        ("FROM a\nRUN --mount=type=cache,target=/x,required x", "required"),
        ("FROM a\nRUN --mount=type=tmpfs,target=/proc true", "/proc"),
        ("FROM a\nRUN --network=hots x", "--network=hots"),
        ("FROM a\nRUN --network=none --security=insecur x", "--security=insecur"),
        ("FROM a\nRUN --device=v/c=d x", "--device=v/c=d"),
        ("FROM a\nCOPY b https://h/f /", "https://h/f"),
        ("FROM a\nCOPY --exclude=ok --exclude=b[ a b", "b["),
        ("FROM a\nCOPY --chmod=888 a b", "--chmod=888"),
        ("FROM a\nENV P=99999\nEXPOSE 80 $P", "$P"),
        ("FROM a\nSTOPSIGNAL SIGNOTHING", "SIGNOTHING"),
        ("FROM a\nVOLUME /a $NONE", "$NONE"),
        ("FROM a\nENV A=1 B=${C?missing}", "${C?missing}"),
        ("FROM a\nADD --checksum=sha256:aa f /", "--checksum"),
    ] {
        let mut found = planned(text, &request()).unwrap_err();
        cooper_dockerfile::place::fill(&mut found, text);
        let (span, columns) = (found[0].span, found[0].columns.expect("filled"));
        let line = text.lines().nth(span.start as usize - 1).expect("the line is there");
        let marked = line.get(columns.start as usize - 1..columns.end as usize - 1);
        assert_eq!(marked, Some(piece), "{text}: {found:?}");
    }
}

#[test]
fn mistyped_values_of_flags_have_a_suggestion() {
    for (flag, hint) in [
        ("--network=hots", "did you mean --network=host?"),
        ("--network=lan", "the values of --network are default, none, host"),
        ("--security=insecur", "did you mean --security=insecure?"),
        ("--security=off", "the values of --security are sandbox, insecure"),
        ("--mount=type=cahce,target=/c", "did you mean cache?"),
        ("--mount=type=cache,target=/c,sharing=lockd", "did you mean locked?"),
        ("--mount=type=cache,target=/c,sharng=locked", "did you mean sharing?"),
    ] {
        let found = planned(&format!("FROM a\nRUN {flag} x"), &request()).unwrap_err();
        assert_eq!(found[0].hint.as_deref(), Some(hint), "{flag}");
    }
}

#[test]
fn every_error_is_told_at_once_in_the_order_of_the_file() {
    let found = planned("FROM a\nRUN --mount=type=cash,target=/c x\nCOPY https://h/f /\nCOPY --from=0 a b", &request())
        .unwrap_err();
    assert_eq!(found.iter().map(|d| d.span.start).collect::<Vec<_>>(), [2, 3, 4]);
    let later = planned("FROM a\nSTOPSIGNAL x\nEXPOSE x\nRUN y", &request()).unwrap_err();
    assert_eq!(later.iter().map(|d| d.span.start).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn a_small_file_cannot_ask_for_much_memory() {
    let mut doubling = "FROM scratch\nENV A=0123456789abcdef\n".to_owned();
    (0..40).for_each(|_| doubling.push_str("ENV A=$A$A\n"));
    let found = planned(&doubling, &request()).unwrap_err();
    assert_eq!(found[0].code, "TooLarge");
    let mut many = "FROM scratch\nENV A=0123456789abcdef\n".to_owned();
    (0..15).for_each(|_| many.push_str("ENV A=$A$A\n"));
    (0..600).for_each(|n| many.push_str(&format!("RUN echo {n}\n")));
    let found = planned(&many, &request()).unwrap_err();
    assert_eq!((found.len(), found[0].code), (1, "TooLarge"), "nothing is done after the limit");
    (0..900).for_each(|n| many.push_str(&format!("FROM s{n} AS s{}\n", n + 1)));
    let children = many.replace("FROM scratch", "FROM scratch AS s0").replace("RUN", "#");
    assert!(planned(&children, &request()).is_ok(), "stages share what they begin with");
}
