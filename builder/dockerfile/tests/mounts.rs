//! The options of `RUN --mount`: what each text means, and everything that is wrong with it.

#![allow(clippy::unwrap_used)]

use cooper_dockerfile::mount::{Access, MountOptions, MountType, Ownership, Sharing, check, from, read, split};

fn options(text: &str) -> MountOptions {
    let expand = |word: &str| Some(word.replace("$V", "value"));
    read(&split(text).unwrap(), &expand).unwrap_or_else(|faults| panic!("{text}: {faults:?}"))
}

#[test]
fn what_texts_mean() {
    let some = |text: &str| Some(text.to_owned());
    let of = |kind| MountOptions { kind, ..MountOptions::default() };
    let cases = [
        ("target=/a", MountOptions { target: some("/a"), ..of(MountType::Bind) }),
        ("TYPE=BIND,Dst=/a,SRC=b", MountOptions { target: some("/a"), source: some("b"), ..of(MountType::Bind) }),
        (
            "type=bind,from=x,source=$V/s,destination=a",
            MountOptions { from: some("x"), source: some("value/s"), target: some("a"), ..of(MountType::Bind) },
        ),
        ("target=a,rw", MountOptions { target: some("a"), access: Some(Access::ReadWrite), ..of(MountType::Bind) }),
        (
            "target=a,readwrite=0",
            MountOptions { target: some("a"), access: Some(Access::ReadOnly), ..of(MountType::Bind) },
        ),
        ("rw,readonly=true", MountOptions { access: Some(Access::ReadOnly), ..of(MountType::Bind) }),
        ("ro=F", MountOptions { access: Some(Access::ReadWrite), ..of(MountType::Bind) }),
        ("\"source=a,b\",target=", MountOptions { source: some("a,b"), ..of(MountType::Bind) }),
        (
            "type=cache,id=$V,sharing=Locked,uid=7,gid=8,mode=0770,target=/c",
            MountOptions {
                id: some("value"),
                target: some("/c"),
                sharing: Some(Sharing::Locked),
                ownership: Ownership { uid: Some(7), gid: Some(8), mode: Some(0o770) },
                ..of(MountType::Cache)
            },
        ),
        ("size=1k,type=tmpfs", MountOptions { size: Some(1024), ..of(MountType::Tmpfs) }),
        ("type=tmpfs,size=1.5GiB", MountOptions { size: Some(1536 << 20), ..of(MountType::Tmpfs) }),
        ("type=tmpfs,size=64mb", MountOptions { size: Some(64 << 20), ..of(MountType::Tmpfs) }),
        ("type=tmpfs,size=5", MountOptions { size: Some(5), ..of(MountType::Tmpfs) }),
        ("type=secret,id=a,env=A", MountOptions { id: some("a"), env: some("A"), ..of(MountType::Secret) }),
        ("required,type=secret,source=a", MountOptions { source: some("a"), required: true, ..of(MountType::Secret) }),
        (
            "type=ssh,required=1,mode=600",
            MountOptions {
                required: true,
                ownership: Ownership { mode: Some(0o600), ..Ownership::default() },
                ..of(MountType::Ssh)
            },
        ),
    ];
    for (text, wanted) in cases {
        assert_eq!(options(text), wanted, "{text}");
        assert_eq!(check(text, '\\'), [], "{text}");
    }
}

#[test]
fn the_stage_is_known_before_any_variable() {
    for (text, wanted) in [
        ("from=a,target=$X", Some("a")),
        ("FROM=a,from=b", Some("b")),
        ("from=", None),
        ("target=/x", None),
        ("\"from=registry/a,b\"", Some("registry/a,b")),
    ] {
        assert_eq!(from(&split(text).unwrap()), wanted, "{text}");
    }
}

#[test]
fn what_is_wrong() {
    for (text, messages) in [
        ("", &["--mount has no option \"\""][..]),
        ("\"target=/a", &["--mount=\"target=/a: the quotes do not match"]),
        ("taget=/a", &["--mount has no option \"taget\""]),
        ("target", &["--mount has target without a value"]),
        ("type=bund", &["there is no --mount type=bund"]),
        ("type=bund,size=1,sharing=x", &["there is no --mount type=bund", "there is no --mount sharing=x"]),
        ("from=$X,target=/a", &["from=$X holds a variable, and variables are not expanded there"]),
        ("ro=yes", &["--mount ro=yes is neither true nor false"]),
        ("required", &["--mount=type=bind has no option required"]),
        (
            "type=bind,size=1,mode=7,uid=1,gid=1,sharing=shared,id=a,env=A",
            &[
                "--mount=type=bind has no option size",
                "--mount=type=bind has no option mode",
                "--mount=type=bind has no option uid",
                "--mount=type=bind has no option gid",
                "--mount=type=bind has no option sharing",
                "--mount=type=bind has no option id",
                "--mount=type=bind has no option env",
            ],
        ),
        (
            "type=cache,size=1,source=/s",
            &["--mount=type=cache has no option size", "--mount=type=cache has source without from"],
        ),
        ("type=tmpfs,from=a", &["--mount=type=tmpfs has no option from"]),
        ("type=tmpfs,size=big", &["--mount size=big is not a value of size"]),
        ("type=tmpfs,size=-1", &["--mount size=-1 is not a value of size"]),
        // What the kernel would take for no limit at all.
        ("type=tmpfs,size=18446744073709551615", &["--mount size=18446744073709551615 is not a value of size"]),
        ("type=tmpfs,size=99999999999999999999", &["--mount size=99999999999999999999 is not a value of size"]),
        ("type=tmpfs,size=9999999999.9p", &["--mount size=9999999999.9p is not a value of size"]),
        ("type=secret,id=a,uid=2147483648", &["--mount uid=2147483648 is not a value of uid"]),
        ("type=secret", &["--mount=type=secret names no secret"]),
        ("type=secret,id=a,source=a", &["--mount=type=secret has both source and id"]),
        (
            "type=secret,id=a,from=b,sharing=locked",
            &["--mount=type=secret has no option from", "--mount=type=secret has no option sharing"],
        ),
        ("type=secret,id=a,rw", &["--mount=type=secret has no option rw"]),
        ("type=secret,id=a,env=A=B", &["--mount env=A=B is not the name of a variable"]),
        ("type=secret,id=a,mode=888", &["--mount mode=888 is not a value of mode"]),
        ("type=secret,id=a,mode=10000", &["--mount mode=10000 is not a value of mode"]),
        ("type=ssh,source=a", &["--mount=type=ssh has no option source"]),
        (
            "type=ssh,uid=x,gid=4294967296",
            &["--mount uid=x is not a value of uid", "--mount gid=4294967296 is not a value of gid"],
        ),
    ] {
        let found = check(text, '\\');
        assert_eq!(found.iter().map(|f| f.message.as_str()).collect::<Vec<_>>(), messages, "{text}");
        assert!(found.iter().all(|f| !f.hint.is_empty()), "{text}");
    }
    for (text, hint) in [
        ("taget=/a", "did you mean target?"),
        ("type=secrt,id=a", "did you mean secret?"),
        ("type=cache,sharing=lockd", "did you mean locked?"),
        ("type=volume", "write one of bind, cache, tmpfs, secret, ssh"),
    ] {
        assert_eq!(check(text, '\\')[0].hint, hint, "{text}");
    }
}

#[test]
fn what_a_variable_decides_is_judged_later() {
    assert_eq!(check("type=$T,size=1,required,id=a", '\\'), []);
    assert_eq!(check("type=tmpfs,size=$S", '\\'), []);
    let expand = |word: &str| Some(word.replace("$T", "bind").replace("$S", "big"));
    let later = |text: &str| read(&split(text).unwrap(), &expand).unwrap_err();
    assert_eq!(later("type=$T,size=1")[0].message, "--mount=type=bind has no option size");
    assert_eq!(later("type=tmpfs,size=$S")[0].message, "--mount size=big is not a value of size");
}
