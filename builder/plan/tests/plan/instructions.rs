//! What each instruction comes to.

use crate::planning::*;
use cooper_image::config::Healthcheck;
use cooper_plan::op::{AddSource, Copy, Network, Op};

#[test]
fn shells() {
    let mut base = with_path();
    base.config.shell = Some(vec!["/bin/bash".into(), "-ec".into()]);
    for (text, wanted) in [
        ("RUN a  b", &["/bin/bash", "-ec", "a  b"][..]),
        ("SHELL [\"/bin/zsh\"]\nRUN a $B", &["/bin/zsh", "a $B"]),
        ("RUN [\"a\", \"$B\"]", &["a", "$B"]),
        ("RUN [\"a\", b]", &["/bin/bash", "-ec", "[\"a\", b]"]),
    ] {
        let plan = upon(&format!("FROM debian\n{text}"), &base);
        assert_eq!(runs(&plan)[0].argv, wanted, "{text}");
    }
    assert_eq!(runs(&good("FROM debian\nRUN a"))[0].argv, ["/bin/sh", "-c", "a"]);
    // A stage inherits SHELL.
    assert_eq!(runs(&good("FROM scratch AS a\nSHELL [\"s\"]\nFROM a\nRUN x"))[0].argv, ["s", "x"]);
}

#[test]
fn heredocs_of_run() {
    let plan = good("FROM debian\nRUN <<EOF\necho $A\nEOF\nRUN <<SCRIPT\n#!/usr/bin/env python\nprint(1)\nSCRIPT\n");
    let [shell, script] = runs(&plan)[..] else { panic!("two RUNs") };
    assert_eq!(shell.argv, ["/bin/sh", "-c", "echo $A\n"]);
    assert_eq!(shell.script, None);
    assert_eq!(script.argv, ["/dev/pipes/SCRIPT"]);
    assert_eq!(script.script, Some(("SCRIPT".into(), "#!/usr/bin/env python\nprint(1)\n".into())));
}

#[test]
fn run_happens_in_the_surroundings_of_its_line() {
    let mut base = with_path();
    base.config.working_dir = Some("/base".into());
    base.config.user = Some("daemon".into());
    let plan = upon(
        "FROM debian\nRUN a\nUSER 1:$G\nENV G=2\nUSER 1:$G\nWORKDIR src\nRUN --network=none b\nRUN --network=host c",
        &base,
    );
    let place: Vec<_> = runs(&plan).iter().map(|e| (e.cwd.to_string(), e.user.clone(), e.network)).collect();
    assert_eq!(
        place,
        [
            ("/base".to_owned(), "daemon".to_owned(), Network::Default),
            ("/base/src".to_owned(), "1:2".to_owned(), Network::None),
            ("/base/src".to_owned(), "1:2".to_owned(), Network::Host),
        ]
    );
}

#[test]
fn commands() {
    let mut base = with_path();
    base.config.cmd = Some(vec!["base".into()]);
    base.config.entrypoint = Some(vec!["start".into()]);
    let argv = |list: &[&str]| Some(list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
    for (rule, text, entrypoint, cmd) in [
        ("nothing", "", argv(&["start"]), argv(&["base"])),
        ("ENTRYPOINT clears an inherited CMD", "ENTRYPOINT [\"e\"]", argv(&["e"]), None),
        ("a CMD before it stays", "CMD [\"c\"]\nENTRYPOINT [\"e\"]", argv(&["e"]), argv(&["c"])),
        ("a CMD after it stays", "ENTRYPOINT e $A\nCMD [\"c\"]", argv(&["/bin/sh", "-c", "e $A"]), argv(&["c"])),
        ("the last wins", "CMD a\nCMD b", argv(&["start"]), argv(&["/bin/sh", "-c", "b"])),
        ("shells as of their line", "SHELL [\"s\"]\nCMD b", argv(&["start"]), argv(&["s", "b"])),
        ("an empty ENTRYPOINT is none", "ENTRYPOINT []", None, None),
    ] {
        let plan = upon(&format!("FROM debian\n{text}"), &base);
        let config = config(&plan, &base).config;
        assert_eq!((config.entrypoint, config.cmd), (entrypoint, cmd), "{rule}");
    }
    // A CMD of a base stage is inherited, not this stage's own.
    let plan = good("FROM scratch AS a\nCMD [\"c\"]\nFROM a\nENTRYPOINT [\"e\"]");
    assert_eq!(config(&plan, &base).config.cmd, None);
}

#[test]
fn working_directories() {
    for (text, steps) in [
        ("WORKDIR /a/../b/", &["dir /b "][..]),
        ("WORKDIR a\nWORKDIR b\nWORKDIR ..", &["dir /a ", "dir /a/b ", "dir /a "]),
        ("USER u\nWORKDIR /a\nWORKDIR /\nUSER v:w\nWORKDIR x", &["dir /a u", "dir /x v:w"]),
        ("WORKDIR ~/x", &["dir /~/x "]),
        ("ENV D=/d\nWORKDIR $D", &["dir /d "]),
    ] {
        let plan = good(&format!("FROM debian\n{text}"));
        let found = target(&plan).steps.iter().filter_map(|s| match &s.op {
            Op::Workdir(w) => Some(format!("dir {} {}", w.path, w.user)),
            _ => None,
        });
        assert_eq!(found.collect::<Vec<_>>(), steps, "{text}");
    }
    let root = good("FROM debian\nWORKDIR /a\nWORKDIR /");
    assert_eq!(config(&root, &with_path()).config.working_dir.as_deref(), Some("/"));
    assert_eq!(history(&root), ["WORKDIR /a", "WORKDIR /"]);
}

fn one_copy(text: &str) -> Copy {
    copies(&good(&format!("FROM debian\nENV V=value\nWORKDIR /w\n{text}")))[0].clone()
}

#[test]
fn copies_and_their_words() {
    let plain = Copy {
        from: None,
        sources: vec!["a".into()],
        parents: false,
        exclude: Vec::new(),
        inline: Vec::new(),
        dest: "/w/b".into(),
        dest_is_dir: false,
        chown: None,
        chmod: None,
        unpack: false,
        link: false,
    };
    let list = |s: &[&str]| s.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    for (text, wanted) in [
        ("COPY a b", plain.clone()),
        ("COPY a b/", Copy { dest_is_dir: true, ..plain.clone() }),
        ("COPY --chown=$NONE --chmod= a b", plain.clone()),
        ("COPY a b c", Copy { sources: list(&["a", "b"]), dest: "/w/c".into(), ..plain.clone() }),
        ("COPY a .", Copy { dest: "/w".into(), dest_is_dir: true, ..plain.clone() }),
        ("COPY $NONE b", Copy { sources: list(&["."]), ..plain.clone() }),
        ("COPY [\"\", \"a\", \"b/\"]", Copy { sources: list(&[".", "a"]), dest_is_dir: true, ..plain.clone() }),
        ("COPY a b/.", Copy { dest_is_dir: true, ..plain.clone() }),
        ("COPY a /", Copy { dest: "/".into(), dest_is_dir: true, ..plain.clone() }),
        ("COPY a ../../x", Copy { dest: "/x".into(), ..plain.clone() }),
        (
            "COPY a b c ./",
            Copy { sources: list(&["a", "b", "c"]), dest: "/w".into(), dest_is_dir: true, ..plain.clone() },
        ),
        ("COPY [\"a b\", \"c d\"]", Copy { sources: list(&["a b"]), dest: "/w/c d".into(), ..plain.clone() }),
        ("COPY /$V/../../x* $V", Copy { sources: list(&["x*"]), dest: "/w/value".into(), ..plain.clone() }),
        (
            "COPY --chown=$V:1 --chmod=u=${V:+rw} a b",
            Copy { chown: Some("value:1".into()), chmod: Some("u=rw".into()), ..plain.clone() },
        ),
        ("ADD a b", Copy { unpack: true, ..plain.clone() }),
        ("ADD --unpack=false a b", Copy { unpack: false, ..plain.clone() }),
        ("ADD --unpack=true a b", Copy { unpack: true, ..plain.clone() }),
        ("COPY --link a b", Copy { link: true, ..plain.clone() }),
        ("COPY --link=false a b", plain.clone()),
        ("ADD --link a b", Copy { link: true, unpack: true, ..plain.clone() }),
        ("COPY --link --chmod=$NONE a b", Copy { link: true, ..plain.clone() }),
        ("COPY --link --chmod=755 a b", Copy { chmod: Some("755".into()), ..plain.clone() }),
        ("COPY --exclude=$V --exclude=*.o a b", Copy { exclude: list(&["$V", "*.o"]), ..plain.clone() }),
        ("COPY --parents $V/./a b", Copy { parents: true, sources: list(&["value/./a"]), ..plain.clone() }),
        ("COPY --parents a b", Copy { parents: true, sources: list(&["././a"]), ..plain.clone() }),
    ] {
        assert_eq!(one_copy(text), wanted, "{text}");
    }
}

#[test]
fn what_is_fetched() {
    let fetch = |text: &str| {
        let plan = good(&format!("FROM debian\nENV V=value\n{text}"));
        let steps = plan.stages[plan.target.0].steps.clone();
        steps.into_iter().find_map(|s| if let Op::Fetch(f) = s.op { Some(f) } else { None }).expect("it fetches")
    };
    let digest = format!("sha256:{}", "a".repeat(64));
    let found = fetch(&format!("ADD --checksum={digest} --unpack=true --chown=1 https://h/$V.tar /d"));
    let AddSource::Http { source, checksum } = &found.sources[0] else { panic!("{found:?}") };
    assert_eq!((source.url.as_str(), source.file_name.as_str()), ("https://h/value.tar", "value.tar"));
    assert_eq!(checksum.as_ref().map(ToString::to_string), Some(digest));
    assert!(found.unpack && found.copy.unpack && found.copy.sources.is_empty());
    assert_eq!(found.copy.chown.as_deref(), Some("1"));

    let plan = good("FROM debian\nADD https://me:hunter2@h/f git@h:r /d/");
    assert_eq!(history(&plan), ["ADD https://h/f git@h:r /d/ # buildkit"]);
    let found = fetch("ADD --checksum= a/*.c http://h/f git@h:r.git#v1:$V b /d/");
    let kinds: Vec<String> = found
        .sources
        .iter()
        .map(|s| match s {
            AddSource::Local(pattern) => pattern.clone(),
            AddSource::Http { source, .. } => source.url.clone(),
            AddSource::Git { source, git_dir } => format!("{} {:?} {git_dir}", source.remote, source.subdir),
        })
        .collect();
    assert_eq!(kinds, ["a/*.c", "http://h/f", "git@h:r.git Some(\"value\") false", "b"]);
    assert!(!found.unpack && found.copy.unpack && found.copy.dest_is_dir);

    for (text, git_dir, checksum) in [
        ("ADD --keep-git-dir git@h:r /d", true, None),
        ("ADD --keep-git-dir=true --checksum=AB git@h:r?keep-git-dir=true&checksum=ab /d", true, Some("ab")),
        ("ADD git@h:r?keep-git-dir /d", true, None),
        ("ADD --keep-git-dir=false git@h:r /d", false, None),
    ] {
        let AddSource::Git { source, git_dir: is } = &fetch(text).sources[0] else { panic!("{text}") };
        assert_eq!((*is, source.checksum.as_deref()), (git_dir, checksum), "{text}");
    }
}

#[test]
fn files_in_the_dockerfile() {
    let copy = one_copy("COPY <<EOF <<'RAW' b /d/\nsay \"$V\"\nEOF\nsay \"$V\"\nRAW\n");
    assert_eq!(copy.sources, ["b"]);
    assert_eq!(copy.inline, [("EOF".into(), "say \"value\"\n".into()), ("RAW".into(), "say \"$V\"\n".to_owned())]);
    assert!(copy.dest_is_dir);
    assert_eq!(one_copy("COPY <<EOF f\nEOF\n").inline, [("EOF".to_owned(), String::new())]);
}

#[test]
fn ports() {
    let exposed = |text: &str| {
        let plan = good(&format!("FROM debian\nENV P='80 81/UDP' R=9000-9001\n{text}"));
        let ports = config(&plan, &with_path()).config.exposed_ports.unwrap();
        (ports.into_keys().collect::<Vec<_>>().join(" "), history(&plan)[1].to_owned())
    };
    for (text, ports, line) in [
        ("EXPOSE 8000-8003/TCP", "8000/tcp 8001/tcp 8002/tcp 8003/tcp", "EXPOSE [8000/tcp 8001/tcp 8002/tcp 8003/tcp]"),
        ("EXPOSE $P", "80/tcp 81/udp", "EXPOSE [80/tcp 81/udp]"),
        ("EXPOSE $R/sctp 1", "1/tcp 9000/sctp 9001/sctp", "EXPOSE [9000/sctp 9001/sctp 1/tcp]"),
    ] {
        assert_eq!(exposed(text), (ports.to_owned(), line.to_owned()), "{text}");
    }
}

#[test]
fn settings_and_their_history() {
    let text = "FROM debian\nENV V=v\nLABEL a=$V \"b c\"='$V'\nUSER $V\nVOLUME /d $V\nSTOPSIGNAL SIGQUIT\nSHELL [\"/bin/bash\", \"-c\"]\n\
                CMD [\"a b\", \"c\"]\nENTRYPOINT x\nMAINTAINER somebody\nONBUILD RUN y\nCOPY --chown=1 a* <<EOF $V/\nEOF\nADD a /\n\
                HEALTHCHECK --interval=90s --retries=0 --timeout=0s CMD true || false";
    let plan = good(text);
    assert_eq!(
        history(&plan),
        [
            "ENV V=v",
            "LABEL a=v b c=$V",
            "USER v",
            "VOLUME [/d v]",
            "STOPSIGNAL SIGQUIT",
            "SHELL [/bin/bash -c]",
            "CMD [\"a b\" \"c\"]",
            "ENTRYPOINT [\"/bin/bash\" \"-c\" \"x\"]",
            "MAINTAINER somebody",
            "COPY --chown=1 a* <<EOF v/ # buildkit",
            "ADD a / # buildkit",
            r#"HEALTHCHECK &{["CMD-SHELL" "true || false"] "1m30s" "0s" "0s" "0s" '\x00'}"#,
        ]
    );
    let image = config(&plan, &with_path());
    let c = image.config;
    assert_eq!(image.author.as_deref(), Some("somebody"));
    assert_eq!(
        c.labels.into_iter().collect::<Vec<_>>(),
        [("a".into(), "v".into()), ("b c".to_owned(), "$V".to_owned())]
    );
    assert_eq!((c.user.as_deref(), c.stop_signal.as_deref()), (Some("v"), Some("SIGQUIT")));
    assert_eq!(c.volumes.unwrap().into_keys().collect::<Vec<_>>(), ["/d", "v"]);
    assert_eq!(c.on_build, ["RUN y"]);
}

#[test]
fn a_label_without_a_name_is_kept() {
    let labels = config(&good("FROM scratch\nLABEL $NONE=b"), &with_path()).config.labels;
    assert_eq!(labels.into_iter().collect::<Vec<_>>(), [(String::new(), "b".to_owned())]);
}

#[test]
fn health_checks() {
    let check = |text: &str| config(&good(&format!("FROM debian\n{text}")), &with_path()).config.healthcheck.unwrap();
    let test =
        |list: &[&str]| Healthcheck { test: list.iter().map(|s| (*s).to_owned()).collect(), ..Healthcheck::default() };
    assert_eq!(check("HEALTHCHECK NONE"), test(&["NONE"]));
    assert_eq!(check("HEALTHCHECK CMD [\"a\", \"b\"]"), test(&["CMD", "a", "b"]));
    // Zero is "as the base": nothing is written.
    assert_eq!(check("HEALTHCHECK --interval=0s --retries=0 CMD a"), test(&["CMD-SHELL", "a"]));
    let full = check("HEALTHCHECK --interval=1s --timeout=2ms --start-period=3s --start-interval=4s --retries=5 CMD a");
    assert_eq!(
        (full.interval, full.timeout, full.start_period),
        (Some(1_000_000_000), Some(2_000_000), Some(3_000_000_000))
    );
    assert_eq!((full.start_interval, full.retries), (Some(4_000_000_000), Some(5)));
}
