//! Well-formed snippets and what they mean.

use cooper_dockerfile::diagnostic::Severity;
use cooper_dockerfile::instruction::{Command, Copy, Dockerfile, Health, Heredoc, Instruction, Run, Span};
use cooper_dockerfile::{ast, parse, parse_trigger, tree};

fn file(text: &str) -> Dockerfile {
    let parsed = parse(text);
    parsed.dockerfile.unwrap_or_else(|| panic!("{text:?}: {:?}", parsed.diagnostics))
}

fn only(text: &str) -> Instruction {
    let mut stages = file(&format!("FROM a\n{text}\n")).stages;
    assert_eq!((stages.len(), stages[0].instructions.len()), (1, 1), "{text:?}");
    stages[0].instructions.remove(0).value
}

/// One line for one instruction. What is absent is left out.
fn show(instruction: &Instruction) -> String {
    match instruction {
        Instruction::Arg(a) => {
            format!("ARG {:?}", a.iter().map(|d| (&*d.name, d.default.as_deref())).collect::<Vec<_>>())
        }
        Instruction::Env(p) => format!("ENV {p:?}"),
        Instruction::Label(p) => format!("LABEL {p:?}"),
        Instruction::Run(r) => show_run(r),
        Instruction::Copy(c) => show_copy(c),
        Instruction::Cmd(c) => format!("CMD {c:?}"),
        Instruction::Entrypoint(c) => format!("ENTRYPOINT {c:?}"),
        Instruction::Expose(l) => format!("EXPOSE {l:?}"),
        Instruction::Volume(l) => format!("VOLUME {l:?}"),
        Instruction::User(t) => format!("USER {t:?}"),
        Instruction::Workdir(t) => format!("WORKDIR {t:?}"),
        Instruction::Shell(l) => format!("SHELL {l:?}"),
        Instruction::StopSignal(t) => format!("STOPSIGNAL {t:?}"),
        Instruction::Healthcheck(h) => show_health(h),
        Instruction::OnBuild(t) => format!("ONBUILD {t:?}"),
        Instruction::Maintainer(t) => format!("MAINTAINER {t:?}"),
    }
}

fn show_run(run: &Run) -> String {
    let mut out = format!("RUN {:?}", run.command);
    let flags = [("network", &run.network), ("security", &run.security)];
    run.mounts.iter().for_each(|m| out += &format!(" mount={m}"));
    flags.iter().filter_map(|(n, v)| v.as_ref().map(|v| (n, v))).for_each(|(n, v)| out += &format!(" {n}={v}"));
    if let Some(script) = &run.script {
        out += &format!(" script={}", script.name);
    }
    out
}

fn show_copy(copy: &Copy) -> String {
    let mut out = format!("{} {:?} -> {:?}", if copy.add { "ADD" } else { "COPY" }, copy.sources, copy.dest);
    let texts = [("from", &copy.from), ("chown", &copy.chown), ("chmod", &copy.chmod), ("checksum", &copy.checksum)];
    texts.iter().filter_map(|(n, v)| v.as_ref().map(|v| (n, v))).for_each(|(n, v)| out += &format!(" {n}={v}"));
    copy.exclude.iter().for_each(|e| out += &format!(" exclude={e}"));
    let switches = [
        ("link", copy.link.then_some(true)),
        ("parents", copy.parents.then_some(true)),
        ("keep-git-dir", copy.keep_git_dir),
        ("unpack", copy.unpack),
    ];
    switches.iter().filter_map(|(n, v)| v.map(|v| (n, v))).for_each(|(n, v)| out += &format!(" {n}={v}"));
    for Heredoc { name, body, expand } in &copy.heredocs {
        out += &format!(" <<{name}{} {body:?}", if *expand { "" } else { " raw" });
    }
    out
}

fn show_health(health: &Health) -> String {
    let mut out = match &health.command {
        Some(command) => format!("HEALTHCHECK {command:?}"),
        None => "HEALTHCHECK NONE".to_owned(),
    };
    let numbers = [
        ("interval", health.interval),
        ("timeout", health.timeout),
        ("start-period", health.start_period),
        ("start-interval", health.start_interval),
        ("retries", health.retries),
    ];
    numbers.iter().filter_map(|(n, v)| v.map(|v| (n, v))).for_each(|(n, v)| out += &format!(" {n}={v}"));
    out
}

const GOOD: &[(&str, &str)] = &[
    // Shell form and exec form.
    ("RUN make  install", r#"RUN Shell("make  install")"#),
    ("run make", r#"RUN Shell("make")"#),
    ("RUN a && \\\n    b", r#"RUN Shell("a &&     b")"#),
    ("RUN a\\\nb", r#"RUN Shell("ab")"#),
    ("RUN a \\\n# no\n  # no\n  b", r#"RUN Shell("a   b")"#),
    (r#"RUN ["a", "b c"]"#, r#"RUN Exec(["a", "b c"])"#),
    ("RUN [ \\\n \"a\", \\\n \"b\" ]", r#"RUN Exec(["a", "b"])"#),
    (r#"RUN ["\u0041\n"]"#, r#"RUN Exec(["A\n"])"#),
    ("RUN [ -f x ]", r#"RUN Shell("[ -f x ]")"#),
    (r#"RUN ["a" "b"]"#, r#"RUN Shell("[\"a\" \"b\"]")"#),
    (r#"RUN ["a"] b"#, r#"RUN Shell("[\"a\"] b")"#),
    ("RUN echo '$A' \"b # c\"", r#"RUN Shell("echo '$A' \"b # c\"")"#),
    (
        "RUN --mount=type=cache,target=/c --mount=type=ssh make",
        r#"RUN Shell("make") mount=type=cache,target=/c mount=type=ssh"#,
    ),
    ("RUN --network=none --security=sandbox make", r#"RUN Shell("make") network=none security=sandbox"#),
    ("RUN -- --x", r#"RUN Shell("--x")"#),
    ("RUN --network=\"none\" [\"a\"]", r#"RUN Exec(["a"]) network=none"#),
    ("CMD a b", r#"CMD Shell("a b")"#),
    (r#"CMD ["a"]"#, r#"CMD Exec(["a"])"#),
    ("CMD []", "CMD Exec([])"),
    ("CMD ['a']", r#"CMD Shell("['a']")"#),
    (r#"ENTRYPOINT ["/x", "--y"]"#, r#"ENTRYPOINT Exec(["/x", "--y"])"#),
    ("ENTRYPOINT exec x", r#"ENTRYPOINT Shell("exec x")"#),
    (r#"SHELL ["/bin/bash", "-c"]"#, r#"SHELL ["/bin/bash", "-c"]"#),
    // Heredocs of RUN.
    ("RUN <<EOF\na\n# b\n\nEOF", r##"RUN Shell("a\n# b\n\n")"##),
    ("RUN <<-EOF\n\ta\n\t\tb\n\tEOF", r#"RUN Shell("a\nb\n")"#),
    ("RUN << 'E F'\n$a\\\nE F", r#"RUN Shell("$a\\\n")"#),
    ("RUN <<EOF\nEOF", r#"RUN Shell("")"#),
    ("RUN <<EOF\n#!/bin/x\ny\nEOF", r##"RUN Shell("#!/bin/x\ny\n") script=EOF"##),
    ("RUN <<-EOF\n\t#!/bin/x\nEOF", r##"RUN Shell("#!/bin/x\n") script=EOF"##),
    ("RUN --network=none <<EOF\na\nEOF", r#"RUN Shell("a\n") network=none"#),
    ("RUN cat <<EOF > /x\na\nEOF", r#"RUN Shell("cat <<EOF > /x\na\nEOF")"#),
    ("RUN <<A cat && <<-'B' cat\n1\nA\n\t2\n\tB", r#"RUN Shell("<<A cat && <<-'B' cat\n1\nA\n\t2\nB")"#),
    ("RUN cat <<EOF>/x\na\nEOF", r#"RUN Shell("cat <<EOF>/x\na\nEOF")"#),
    ("RUN echo \\\n <<A\nx\nA", r#"RUN Shell("echo  <<A\nx\nA")"#),
    ("RUN cat <<<x", r#"RUN Shell("cat <<<x")"#),
    ("RUN echo \"<<EOF\"", r#"RUN Shell("echo \"<<EOF\"")"#),
    ("RUN [\"<<EOF\"]", r#"RUN Exec(["<<EOF"])"#),
    // COPY and ADD.
    ("COPY a b/ /c/", r#"COPY ["a", "b/"] -> "/c/""#),
    ("COPY --from=0 a /c", r#"COPY ["a"] -> "/c" from=0"#),
    (
        "COPY --from=b --chown=1:2 --chmod=u=rwX --link --parents --exclude=*.o --exclude=x a /c",
        r#"COPY ["a"] -> "/c" from=b chown=1:2 chmod=u=rwX exclude=*.o exclude=x link=true parents=true"#,
    ),
    ("COPY --link=false a /c", r#"COPY ["a"] -> "/c""#),
    ("COPY --chown=$U --exclude=$X $A ${B:-c} /c", r#"COPY ["$A", "${B:-c}"] -> "/c" chown=$U exclude=$X"#),
    (r#"COPY ["a b", "/c d"]"#, r#"COPY ["a b"] -> "/c d""#),
    ("COPY <<EOF /x\na $A\nEOF", r#"COPY [] -> "/x" <<EOF "a $A\n""#),
    ("COPY <<a.txt b <<-'c' /x/\n1\na.txt\n\t2\nc", r#"COPY ["b"] -> "/x/" <<a.txt "1\n" <<c raw "2\n""#),
    ("COPY << EOF /x\r\na\r\nEOF\r", r#"COPY [] -> "/x" <<EOF "a\r\n""#),
    (
        "ADD --checksum=sha256:aa --keep-git-dir=true --unpack=FALSE http://x/y /c",
        r#"ADD ["http://x/y"] -> "/c" checksum=sha256:aa keep-git-dir=true unpack=false"#,
    ),
    ("ADD <<f /x\nf", r#"ADD [] -> "/x" <<f """#),
    // Names and values.
    ("ENV A=1 B=\"2 3\" C=4\\ 5", r#"ENV [("A", "1"), ("B", "\"2 3\""), ("C", "4\\ 5")]"#),
    ("ENV A=b=c D=", r#"ENV [("A", "b=c"), ("D", "")]"#),
    ("ENV A  b c\t d", r#"ENV [("A", "b c\t d")]"#),
    ("ENV A=1 \\\n  B=2", r#"ENV [("A", "1"), ("B", "2")]"#),
    ("ENV A=$A:/x", r#"ENV [("A", "$A:/x")]"#),
    ("LABEL \"a.b\"=\"c d\" e='f'", r#"LABEL [("\"a.b\"", "\"c d\""), ("e", "'f'")]"#),
    ("LABEL a b", r#"LABEL [("a", "b")]"#),
    ("LABEL \"a=b\"=c", r#"LABEL [("\"a=b\"", "c")]"#),
    ("ARG A", r#"ARG [("A", None)]"#),
    ("ARG A=1 B C=\"x y\" D=", r#"ARG [("A", Some("1")), ("B", None), ("C", Some("\"x y\"")), ("D", Some(""))]"#),
    ("ARG 'A'=${B", r#"ARG [("A", Some("${B"))]"#),
    // The rest.
    ("EXPOSE 80 443/tcp $P", r#"EXPOSE ["80", "443/tcp", "$P"]"#),
    ("VOLUME /a /b", r#"VOLUME ["/a", "/b"]"#),
    (r#"VOLUME ["/a b"]"#, r#"VOLUME ["/a b"]"#),
    ("USER a:b", r#"USER "a:b""#),
    ("WORKDIR /a b", r#"WORKDIR "/a b""#),
    ("WORKDIR C:\\\\x", r#"WORKDIR "C:\\\\x""#),
    ("STOPSIGNAL SIGTERM", r#"STOPSIGNAL "SIGTERM""#),
    ("MAINTAINER a <b>", r#"MAINTAINER "a <b>""#),
    ("HEALTHCHECK NONE", "HEALTHCHECK NONE"),
    ("HEALTHCHECK cmd a b", r#"HEALTHCHECK Shell("a b")"#),
    (
        "HEALTHCHECK --interval=5s --timeout=0 --start-period=1m --start-interval=1ms --retries=3 CMD [\"a\"]",
        r#"HEALTHCHECK Exec(["a"]) interval=5000000000 start-period=60000000000 start-interval=1000000 retries=3"#,
    ),
    ("HEALTHCHECK --retries=0 CMD a", r#"HEALTHCHECK Shell("a")"#),
    ("ONBUILD RUN make", r#"ONBUILD "RUN make""#),
    ("onbuild copy \\\n  . /x", r#"ONBUILD "copy   . /x""#),
    ("ONBUILD RUN <<-EOF cat\n\ta\n\tEOF", r#"ONBUILD "RUN <<-EOF cat\n\ta\nEOF""#),
    ("ONBUILD COPY <<a <<b /x\n1\na\n2\nb", r#"ONBUILD "COPY <<a <<b /x\n1\na\n2\nb""#),
];

#[test]
fn snippets_mean_what_they_say() {
    assert!(GOOD.len() >= 60);
    for (text, expected) in GOOD {
        assert_eq!(show(&only(text)), *expected, "{text:?}");
    }
}

#[test]
fn stages_and_global_arguments() {
    let text = "\u{feff}# escape=`\nARG V=1 W\nARG X\n\nFROM --platform=$P alpine:$V AS Build\nRUN a `\n b\n\nFROM scratch\nCOPY --from=build a /\n";
    let file = file(text);
    assert_eq!(file.escape, '`');
    let global: Vec<_> =
        file.global_args.iter().map(|a| (a.value.name.as_str(), a.span.start, a.text.as_str())).collect();
    assert_eq!(global, [("V", 2, "ARG V=1"), ("W", 2, "ARG W"), ("X", 3, "ARG X")]);
    let [build, last] = file.stages.as_slice() else { panic!("two stages") };
    assert_eq!(
        (build.name.as_deref(), build.base.as_str(), build.platform.as_deref()),
        (Some("build"), "alpine:$V", Some("$P"))
    );
    assert_eq!((build.span, build.text.as_str()), (Span { start: 5, end: 5 }, "FROM --platform=$P alpine:$V AS Build"));
    let run = &build.instructions[0];
    assert_eq!((run.span, run.text.as_str()), (Span { start: 6, end: 7 }, "RUN a b"));
    assert_eq!((last.name.as_deref(), last.base.as_str(), last.instructions.len()), (None, "scratch", 1));
}

#[test]
fn a_heredoc_belongs_to_the_lines_of_its_instruction() {
    let file = file("FROM a\nRUN x \\\n <<EOF\nFROM b\nEOF\nUSER <<c\n");
    let found: Vec<_> =
        file.stages[0].instructions.iter().map(|i| (i.span.start, i.span.end, i.text.as_str())).collect();
    assert_eq!(found, [(2, 5, "RUN x <<EOF"), (6, 6, "USER <<c")]);
}

#[test]
fn warnings_do_not_stop_the_build() {
    let cases = [
        ("FROM a\nENV A=1 \\\n  B=2 \\\n  A=3", "DuplicateName", 4),
        ("FROM a\nLABEL a=1 a=1", "DuplicateName", 2),
        ("FROM a\nARG A A=1", "DuplicateName", 2),
        ("FROM a\nCMD ['a']", "ExecFormQuotes", 2),
        ("FROM a\nHEALTHCHECK --retries=1 NONE", "HealthcheckFlags", 2),
    ];
    for (text, code, line) in cases {
        let parsed = parse(text);
        let found: Vec<_> = parsed.diagnostics.iter().map(|d| (d.code, d.span.start, d.severity)).collect();
        assert_eq!(found, [(code, line, Severity::Warning)], "{text:?}");
        assert!(parsed.dockerfile.is_some(), "{text:?}");
        // Whether a doubt is an error is not the parser's to say.
        assert!(parse(&format!("# check=error=true\n{text}")).dockerfile.is_some(), "{text:?}");
    }
}

#[test]
fn triggers_are_read_alone() {
    let found = parse_trigger("COPY <<-a /x\n\t1\na", '\\').unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(show(&found[0].value), r#"COPY [] -> "/x" <<a "1\n""#);
    assert_eq!((found[0].text.as_str(), found[0].span), ("COPY <<-a /x", Span { start: 1, end: 3 }));
    assert_eq!(show(&parse_trigger("RUN a `\n b", '`').unwrap()[0].value), r#"RUN Shell("a  b")"#);
    // What ONBUILD keeps can be read again.
    for (text, _) in
        GOOD.iter().filter(|(t, _)| !t.starts_with("ONBUILD") && !t.starts_with("onbuild") && !t.starts_with("MAINT"))
    {
        let Instruction::OnBuild(trigger) = only(&format!("ONBUILD {text}")) else { panic!("{text:?}") };
        assert_eq!(show(&parse_trigger(&trigger, '\\').unwrap()[0].value), show(&only(text)), "{text:?}");
    }
    for (text, code) in [
        ("FROM a", "OnBuildForbidden"),
        ("MAINTAINER a", "OnBuildForbidden"),
        ("ONBUILD RUN a", "OnBuildChained"),
        ("", "MissingArgument"),
        ("RUN", "MissingArgument"),
        ("RUN <<A\nx", "UnterminatedHeredoc"),
    ] {
        assert_eq!(parse_trigger(text, '\\').unwrap_err()[0].code, code, "{text:?}");
    }
}

#[test]
fn the_tree_can_be_dumped() {
    let text = "# x\nFROM a\nRUN --mount=type=ssh --x a \\\n  b <<E\n1\nE\n";
    let expected = "1 # \"x\"\n2-2 FROM \"a\"\n3-6 RUN --mount=\"type=ssh\" --x \"a   b <<E\"\n  <<\"E\" \"1\\n\"\n";
    assert_eq!(ast::dump(&tree(text)), expected);
}

#[test]
fn equal_commands_are_equal_values() {
    assert_eq!(only("CMD a"), Instruction::Cmd(Command::Shell("a".into())));
}
