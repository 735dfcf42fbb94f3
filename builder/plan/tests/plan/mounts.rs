//! Mounts of a RUN: where, what, from which place, and what is refused.

use crate::planning::*;
use cooper_plan::mount::{Access, Mounted, Ownership, Sharing, Source};
use cooper_plan::op::{Base, Exec, Op, StageId};

/// The last RUN of the last stage.
fn last(text: &str, args: &[(&str, &str)]) -> Exec {
    let plan = planned(text, &with_args(args)).unwrap_or_else(|e| panic!("{text}\n{e:#?}"));
    let stage = plan.stages.last().expect("a plan has stages");
    let found = stage.steps.iter().rev().find_map(|s| match &s.op {
        Op::Exec(exec) => Some(exec.clone()),
        _ => None,
    });
    found.expect("it has a RUN")
}

#[test]
fn targets_are_absolute_and_sorted() {
    for (options, targets) in [
        ("--mount=target=x", &["/app/x"][..]),
        ("--mount=target=../../x/./y/", &["/x/y"]),
        ("--mount=type=tmpfs", &["/app"]),
        ("--mount=type=cache,target=/b/c --mount=type=tmpfs,target=/b --mount=target=/a", &["/a", "/b", "/b/c"]),
        ("--mount=type=secret,id=a/b", &["/run/secrets/b"]),
        ("--mount=type=secret,target=/etc/npmrc", &["/etc/npmrc"]),
        ("--mount=type=secret,id=a,env=A,target=t", &["/app/t"]),
        ("--mount=type=ssh --mount=type=ssh,id=x", &["/run/buildkit/ssh_agent.0", "/run/buildkit/ssh_agent.1"]),
        ("--mount=target=$D/x", &["/made/x"]),
    ] {
        let exec = last(&format!("FROM a\nARG D=/made\nWORKDIR /app\nRUN {options} x"), &[]);
        let found: Vec<String> = exec.mounts.iter().map(|m| m.target.as_ref().unwrap().to_string()).collect();
        assert_eq!(found, targets, "{options}");
    }
    let only = last("FROM a\nRUN --mount=type=secret,id=a,env=A x", &[]);
    assert_eq!(only.mounts[0].target, None);
}

#[test]
fn what_is_mounted() {
    let text = "FROM a AS one\nFROM b\nRUN --mount=from=one,source=s/../t,target=/1 --mount=from=img:2,target=/2,rw \
                --mount=source=/d,target=/3 --mount=type=cache,target=/4/,sharing=locked,uid=7,from=0 \
                --mount=type=cache,target=rel/.,id=$I,ro x";
    let exec = last(text, &[("BUILDKIT_CACHE_MOUNT_NS", "ns"), ("I", "unset")]);
    let source = |from: Option<Base>, path: &str| Source { from, path: path.into() };
    let bind = |n: usize| match &exec.mounts[n].what {
        Mounted::Bind(source) => (source.clone(), exec.mounts[n].access),
        other => panic!("{other:?}"),
    };
    assert_eq!(bind(0), (source(Some(Base::Stage(StageId(0))), "/t"), Access::ReadOnly));
    assert_eq!(bind(1), (source(Some(Base::Image("img:2".parse().unwrap())), "/"), Access::ReadWrite));
    assert_eq!(bind(2), (source(None, "/d"), Access::ReadOnly));
    let cache = |n: usize| match &exec.mounts[n].what {
        Mounted::Cache(cache) => cache.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!((cache(3).id.as_str(), cache(3).sharing), ("ns//4", Sharing::Locked));
    assert_eq!(cache(3).ownership, Ownership { uid: Some(7), ..Ownership::default() });
    assert_eq!(cache(3).seed, Some(source(Some(Base::Stage(StageId(0))), "/")));
    assert_eq!((cache(4).id.as_str(), cache(4).seed, exec.mounts[4].access), ("ns/rel", None, Access::ReadOnly));
}

#[test]
fn the_first_agent_is_the_one_that_ssh_finds() {
    let socket = |options: &str, before: &str| {
        let env = last(&format!("FROM a\n{before}RUN {options} x"), &[]).env;
        env.into_iter().find(|(n, _)| n == "SSH_AUTH_SOCK").map(|(_, v)| v)
    };
    assert_eq!(socket("--mount=type=ssh", "").as_deref(), Some("/run/buildkit/ssh_agent.0"));
    assert_eq!(socket("--mount=type=ssh,target=/z --mount=type=ssh,target=/a", "").as_deref(), Some("/z"));
    assert_eq!(socket("--mount=type=ssh", "ENV SSH_AUTH_SOCK=/mine\n").as_deref(), Some("/mine"));
    assert_eq!(socket("--mount=type=tmpfs,target=/x", ""), None);
}

#[test]
fn what_is_refused() {
    for (options, message) in [
        ("--mount=target=/", "--mount cannot have the target /"),
        ("--mount=type=tmpfs", "--mount cannot have the target /"),
        ("--mount=type=tmpfs,target=/proc/x", "--mount cannot have the target /proc/x"),
        ("--mount=type=tmpfs,target=/sys", "--mount cannot have the target /sys"),
        ("--mount=type=tmpfs,target=/a/../dev", "--mount cannot have the target /dev"),
        ("--mount=type=secret,target=/", "--mount=type=secret has no name in \"/\""),
        ("--mount=type=$T", "there is no --mount type=cash"),
        ("--mount=type=tmpfs,target=/x,size=$T", "--mount size=cash is not a value of size"),
        ("--mount=from=late,target=/x", "--mount from=late names a later stage"),
        ("--mount=from=1,target=/x", "--mount from=1 names a later stage"),
        ("--mount=from=Not/Valid,target=/x", "not an image name"),
        ("--mount=from=$T,target=/x", "from=$T holds a variable, and variables are not expanded there"),
        ("--security=none", "RUN --security=none is not a security mode"),
    ] {
        let text = format!("FROM a AS a\nARG T=cash\nRUN {options} x\nFROM a AS late\nFROM a");
        let found = planned(&text, &request()).unwrap_err();
        assert_eq!(found.len(), 1, "{options}: {found:#?}");
        assert!(found[0].message.contains(message), "{options}: {}", found[0].message);
        assert_eq!(found[0].span.start, 3);
        assert!(found[0].hint.as_ref().is_some_and(|h| !h.is_empty()));
    }
    let all = planned("FROM a\nRUN --mount=type=cash,taget=/x --mount=type=bind,size=1 --security=no x", &request());
    let messages: Vec<String> = all.unwrap_err().into_iter().map(|d| d.message).collect();
    assert_eq!(
        messages,
        [
            "there is no --mount type=cash",
            "--mount has no option \"taget\"",
            "--mount=type=bind has no option size",
            "RUN --security=no is not a security mode"
        ]
    );
    // A stage that nobody needs is not looked at.
    assert!(planned("FROM a\nRUN --mount=type=cash x\nFROM a", &request()).is_ok());
}

#[test]
fn a_mount_brings_its_stage_in() {
    let text = "FROM a AS used\nRUN make\nFROM a AS unused\nFROM b\nRUN --mount=from=used,target=/x y";
    let plan = planned(text, &request()).unwrap();
    assert_eq!(plan.stages.iter().map(|s| s.label.as_str()).collect::<Vec<_>>(), ["used", "stage-2"]);
}
