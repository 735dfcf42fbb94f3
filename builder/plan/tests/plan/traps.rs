//! Traps in which builders have fallen, one test each, numbered as the project's list numbers them; those that concern
//! words, plans and keys. The others need a build and are in `fixtures/tests/end_to_end/traps.rs`.

use crate::planning::*;
use cooper_image::Digest;
use cooper_plan::key::{Given, copy_key, exec_key};
use cooper_plan::op::{Base, StageId};

#[test]
fn trap_01_malformed_json_is_the_shell_form() {
    for (text, argv) in [
        ("[\"a\", 'b']", &["/bin/sh", "-c", "[\"a\", 'b']"][..]),
        ("[ -f x ]", &["/bin/sh", "-c", "[ -f x ]"]),
        ("[\"a\",]", &["/bin/sh", "-c", "[\"a\",]"]),
        ("[\"a\", \"b\"]", &["a", "b"]),
    ] {
        assert_eq!(runs(&good(&format!("FROM debian\nRUN {text}")))[0].argv, argv, "{text}");
    }
}

#[test]
fn trap_03_arg_after_env() {
    let plan = good("FROM debian\nENV A=env\nARG A=arg\nRUN x");
    assert_eq!(seen(&plan, "A").unwrap(), "arg", "each is applied in file order");
    assert_eq!(config(&plan, &with_path()).config.env, ["PATH=/bin", "A=env"], "the image keeps the ENV");
    let plan = good("FROM debian\nARG A=arg\nENV A=env\nRUN x");
    assert_eq!(seen(&plan, "A").unwrap(), "env");
    assert_eq!(history(&plan).last().unwrap(), &"RUN |1 A=env /bin/sh -c x # buildkit");
}

#[test]
fn trap_04_entrypoint_clears_an_inherited_cmd() {
    let mut base = with_path();
    base.config.cmd = Some(vec!["base".into()]);
    let cmd = |text: &str| config(&upon(text, &base), &base).config.cmd;
    assert_eq!(cmd("FROM debian\nENTRYPOINT [\"e\"]"), None);
    assert_eq!(cmd("FROM debian\nCMD [\"c\"]\nENTRYPOINT [\"e\"]"), Some(vec!["c".into()]));
    assert_eq!(cmd("FROM debian AS a\nCMD [\"c\"]\nFROM a\nENTRYPOINT [\"e\"]"), None, "a CMD of the base stage");
    assert_eq!(cmd("FROM debian AS a\nONBUILD CMD [\"c\"]\nFROM a\nENTRYPOINT [\"e\"]"), Some(vec!["c".into()]));
}

#[test]
fn trap_11_triggers_of_a_stage_in_the_same_file() {
    let plan = good(
        "FROM debian AS a\nONBUILD ARG V=1\nONBUILD RUN <<EOF\necho $V\nEOF\nFROM debian AS tools\nFROM a\nRUN own\nFROM a AS b",
    );
    // The first stage is planned without its triggers; the last one runs them, heredoc and all, before its own.
    assert_eq!(plan.stages.iter().map(|s| s.label.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(runs(&plan)[0].argv, ["/bin/sh", "-c", "echo $V\n"]);
    assert_eq!(seen(&plan, "V").unwrap(), "1");
    assert!(config(&plan, &with_path()).config.on_build.is_empty(), "used up");
    let plan = good("FROM debian AS a\nONBUILD COPY --from=tools /x /\nFROM debian AS tools\nFROM a");
    assert_eq!(copies(&plan)[0].from, Some(Base::Stage(StageId(1))), "a trigger may add a stage");
}

#[test]
fn trap_14_a_heredoc_is_run_without_e() {
    let plan = good("FROM debian\nRUN <<EOF\nfalse\ntrue\nEOF\n");
    assert_eq!(runs(&plan)[0].argv, ["/bin/sh", "-c", "false\ntrue\n"]);
}

#[test]
fn trap_15_patterns_of_variables_have_no_brackets() {
    let plan = good("FROM debian\nENV F=abc\nENV G=${F#[a]} H=${F#a} I=${F%?}\nRUN x");
    for (name, value) in [("G", "abc"), ("H", "bc"), ("I", "ab")] {
        assert_eq!(seen(&plan, name).unwrap(), value, "{name}");
    }
}

#[test]
fn trap_16_from_by_number() {
    let plan = good("FROM debian AS a\nFROM debian AS b\nFROM debian\nCOPY --from=1 /x /\nCOPY --from=0 /x /");
    let from: Vec<_> = copies(&plan).iter().map(|c| c.from.clone()).collect();
    assert_eq!(from, [Some(Base::Stage(StageId(1))), Some(Base::Stage(StageId(0)))]);
    for (number, message) in [("2", "the stage that it stands in"), ("3", "a stage that is not there (there are 3)")] {
        let text = format!("FROM debian AS a\nFROM debian AS b\nFROM debian\nCOPY --from={number} /x /");
        let found = planned(&text, &request()).unwrap_err();
        assert_eq!(found[0].message, format!("--from={number} names {message}"));
    }
    // FROM itself takes no numbers: this is an image.
    let (_, asked) = rounds("FROM debian\nFROM 0", &request(), &|_| with_path()).unwrap();
    assert_eq!(asked, [["0:latest"]]);
}

#[test]
fn trap_17_ranges_of_ports_and_variables_with_several() {
    let text = "FROM debian\nENV P=\"80 443/UDP\" Q=\"90 91\"\nEXPOSE 8000-8002 $P \"$Q\"1";
    let found = planned(text, &request()).unwrap_err();
    assert_eq!(found[0].message, "EXPOSE 90 911: it is no port and no range of ports", "quotes hold a value together");
    let plan = good(&text.replace(" \"$Q\"1", ""));
    let ports = config(&plan, &with_path()).config.exposed_ports.unwrap();
    assert_eq!(ports.into_keys().collect::<Vec<_>>(), ["443/udp", "80/tcp", "8000/tcp", "8001/tcp", "8002/tcp"]);
}

#[test]
fn trap_18_zero_of_healthcheck_means_inherit() {
    let plan = good("FROM debian\nHEALTHCHECK --interval=0s --timeout=0 --retries=0 CMD true");
    let check = config(&plan, &with_path()).config.healthcheck.unwrap();
    assert_eq!((check.interval, check.timeout, check.retries), (None, None, None));
    assert_eq!(check.test, ["CMD-SHELL", "true"]);
}

#[test]
fn traps_07_to_09_keys_follow_what_arrives_and_not_where_it_was() {
    let plan = |text: &str| copies(&good(&format!("FROM debian\n{text}")))[0].clone();
    let amd64 = cooper_image::Platform::linux("amd64");
    let key = |text: &str, files: &str| copy_key(None, &plan(text), &Digest::sha256(files), &amd64).digest();
    // 7: a rename is another pattern and another selection; 8 and 9 are the selection's, which leaves times out.
    assert_ne!(key("COPY a /x", "names and bytes"), key("COPY b /x", "names and bytes"));
    assert_ne!(key("COPY a /x", "names and bytes"), key("COPY a /x", "other names"));
    // The text of the instruction is no part of it.
    assert_eq!(key("COPY a /x", "names and bytes"), key("COPY   [\"a\",  \"/x\"]", "names and bytes"));
}

/// Not of the list, and asked for again and again: what must not be in a key.
#[test]
fn proxies_never_reach_a_key_or_the_history_unless_declared() {
    let amd64 = cooper_image::Platform::linux("amd64");
    let args = [("HTTP_PROXY", "http://secret"), ("all_proxy", "http://secret"), ("FTP_PROXY", "")];
    let plan = planned("FROM debian\nRUN x", &with_args(&args)).unwrap();
    let exec = runs(&plan)[0];
    let names: Vec<&str> = exec.unkeyed_env.iter().map(|(n, _)| n.as_str()).collect();
    assert_eq!(names, ["ALL_PROXY", "HTTP_PROXY", "all_proxy", "http_proxy"], "an empty one is none");
    assert!(exec_key(None, exec, &Given::default(), &amd64).parts.values().all(|v| !v.contains("secret")));
    assert!(history(&plan).iter().all(|h| !h.contains("secret")));
    let declared = planned("FROM debian\nARG HTTP_PROXY\nRUN x", &with_args(&args)).unwrap();
    assert_eq!(exec_key(None, runs(&declared)[0], &Given::default(), &amd64).parts["env.HTTP_PROXY"], "http://secret");
}
