//! `--chown` and the owner of a WORKDIR: `user[:group]` looked up in the target's own databases.
//!
//! Takes a view of the target and the text; gives numbers. Digits are always numbers and never a
//! name, and an unknown name is an error, never 0:0. Must never: read the host's databases, follow
//! a link out of the view, or read anything that is not a regular file of bounded size.

use crate::LayerfsError;
use crate::stat::Kind;
use crate::view::{Follow, View};
use cooper_image::RelPath;
use cooper_image::limits::PASSWD_BYTES;
use std::io::Read as _;

/// `(uid_t) -1` means "leave it" to the kernel, so nobody can own a file by it.
const LARGEST: u32 = u32::MAX - 1;

/// The numbers of `user[:group]` as `(uid, gid)`.
///
/// A number alone is also the group; a name alone brings its primary group. The name `root` is 0
/// even where no database says so, as in an image made from nothing.
///
/// # Errors
/// [`LayerfsError::Owner`] for a name that is unknown or a number that does not fit;
/// [`LayerfsError::Io`] when a database cannot be read.
pub fn resolve_owner(view: &View, spec: &str) -> Result<(u32, u32), LayerfsError> {
    let fault = |reason: String| LayerfsError::Owner { spec: spec.to_owned(), reason };
    let (user, group) = match spec.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|g| !g.is_empty())),
        None => (spec, None),
    };
    if spec.is_empty() {
        return Err(fault("it is empty".to_owned()));
    }
    let (uid, primary) = if user.is_empty() {
        (0, 0)
    } else if let Some(uid) = number(user).map_err(fault)? {
        (uid, uid)
    } else {
        user_by_name(view, user)?.ok_or_else(|| fault(format!("no user {user:?} in its /etc/passwd")))?
    };
    let gid = match group {
        None => primary,
        Some(group) => match number(group).map_err(fault)? {
            Some(gid) => gid,
            None => {
                group_by_name(view, group)?.ok_or_else(|| fault(format!("no group {group:?} in its /etc/group")))?
            }
        },
    };
    Ok((uid, gid))
}

/// The number that a text of digits is; `None` for a name.
fn number(text: &str) -> Result<Option<u32>, String> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse() {
        Ok(id) if id <= LARGEST => Ok(Some(id)),
        _ => Err(format!("the id {text} is larger than {LARGEST}")),
    }
}

fn user_by_name(view: &View, name: &str) -> Result<Option<(u32, u32)>, LayerfsError> {
    let text = database(view, "etc/passwd")?;
    let found = text.lines().find_map(|line| {
        let mut fields = line.trim().split(':');
        let known = fields.next()? == name;
        let uid = number(fields.nth(1)?).ok()??;
        let gid = number(fields.next()?).ok()??;
        known.then_some((uid, gid))
    });
    Ok(found.or((name == "root").then_some((0, 0))))
}

fn group_by_name(view: &View, name: &str) -> Result<Option<u32>, LayerfsError> {
    let text = database(view, "etc/group")?;
    let found = text.lines().find_map(|line| {
        let mut fields = line.trim().split(':');
        let known = fields.next()? == name;
        let gid = number(fields.nth(1)?).ok()??;
        known.then_some(gid)
    });
    Ok(found.or((name == "root").then_some(0)))
}

/// The text of a database; empty when there is none.
fn database(view: &View, path: &str) -> Result<String, LayerfsError> {
    let there = view.resolve(&RelPath::from(path), Follow::Final)?;
    let fault = |reason: &str| LayerfsError::Owner { spec: format!("/{path}"), reason: reason.to_owned() };
    match &there.meta {
        None => return Ok(String::new()),
        Some(meta) if meta.kind == Kind::File => {}
        Some(_) => return Err(fault("the database is not a regular file")),
    }
    let mut bytes = Vec::new();
    let read = view.open_file(&there.path)?.take(PASSWD_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(LayerfsError::io(format!("reading /{path} of the target")))?;
    if bytes.len() as u64 > PASSWD_BYTES {
        return Err(LayerfsError::Limit { what: "bytes in a user database", limit: PASSWD_BYTES });
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Root;
    use std::fs;

    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/:\n77:x:5:5::/:\nbad:x:no:1::/:\ncut:x\n";
    const GROUP: &str = "root:x:0:\nwheel:x:10:app\n88:x:6:\n";

    fn image(passwd: Option<&str>) -> tempfile::TempDir {
        let top = tempfile::tempdir().unwrap();
        fs::create_dir(top.path().join("etc")).unwrap();
        if let Some(passwd) = passwd {
            fs::write(top.path().join("etc/passwd"), passwd).unwrap();
            fs::write(top.path().join("etc/group"), GROUP).unwrap();
        }
        top
    }

    #[test]
    fn looks_up_as_written() {
        let top = image(Some(PASSWD));
        let view = View::stack(vec![Root::open(top.path()).unwrap()]);
        for (spec, expected) in [
            ("app", Some((1000, 1001))),
            ("app:wheel", Some((1000, 10))),
            ("app:0", Some((1000, 0))),
            ("app:", Some((1000, 1001))),
            ("1", Some((1, 1))),
            ("1:2", Some((1, 2))),
            ("1:wheel", Some((1, 10))),
            ("77", Some((77, 77))),
            ("0:88", Some((0, 88))),
            (":wheel", Some((0, 10))),
            ("root", Some((0, 0))),
            ("4294967294", Some((4_294_967_294, 4_294_967_294))),
            ("4294967295", None),
            ("4294967296", None),
            ("1:99999999999999999999", None),
            ("-1", None),
            ("0x0", None),
            ("", None),
            ("nobody", None),
            ("app:nogroup", None),
            ("app:wheel:more", None),
            ("bad", None),
            ("cut", None),
        ] {
            let found = resolve_owner(&view, spec);
            if let Err(error) = &found {
                assert!(error.is_usage() && error.hint().is_some(), "{spec}: {error}");
            }
            assert_eq!(found.ok(), expected, "{spec:?}");
        }
    }

    #[test]
    fn without_databases_there_are_numbers_and_root() {
        let top = image(None);
        for view in [View::stack(vec![Root::open(top.path()).unwrap()]), View::stack(Vec::new())] {
            assert_eq!(resolve_owner(&view, "root:root").unwrap(), (0, 0));
            assert_eq!(resolve_owner(&view, "5:6").unwrap(), (5, 6));
            assert!(resolve_owner(&view, "app").is_err());
        }
    }

    #[test]
    fn a_database_that_is_no_file_or_leads_out_is_not_read() {
        let outside = image(Some("app:x:1:1::/:\n"));
        type Make = fn(&std::path::Path, &std::path::Path);
        let cases: [(&str, Make); 4] = [
            ("link out", |passwd, canary| std::os::unix::fs::symlink(canary, passwd).unwrap()),
            ("directory", |passwd, _| fs::create_dir(passwd).unwrap()),
            ("pipe", |passwd, _| {
                let mode = rustix::fs::Mode::from_raw_mode(0o644);
                rustix::fs::mknodat(rustix::fs::CWD, passwd, rustix::fs::FileType::Fifo, mode, 0).unwrap();
            }),
            ("huge", |passwd, _| fs::File::create(passwd).unwrap().set_len(1 << 30).unwrap()),
        ];
        for (what, make) in cases {
            let top = image(None);
            make(&top.path().join("etc/passwd"), &outside.path().join("etc/passwd"));
            let view = View::stack(vec![Root::open(top.path()).unwrap()]);
            assert!(resolve_owner(&view, "app").is_err(), "{what}");
        }
    }
}
