//! Who a step runs as: `user[:group]` looked up in the root's own passwd and group files.
//!
//! Takes those files' text; gives numbers. Digits are always numbers, never names.

use cooper_image::limits::PASSWD_BYTES;
use rustix::fs::OFlags;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;

/// The largest id that is accepted, as Docker.
const LARGEST: u32 = i32::MAX as u32;

/// A user, as the kernel needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// All groups, the first one as well.
    pub groups: Vec<u32>,
    pub home: String,
}

/// The text of the root's user databases; empty when the files are missing.
pub(crate) struct Databases {
    pub passwd: String,
    pub group: String,
}

impl Databases {
    /// Reads them below `root`.
    pub(crate) fn read(root: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self { passwd: read(root, "/etc/passwd")?, group: read(root, "/etc/group")? })
    }
}

fn read(root: BorrowedFd<'_>, path: &str) -> io::Result<String> {
    // Not blocking: an image may put a pipe there.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match crate::mount_api::inside_layers(root, path, flags) {
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(String::new()),
        other => File::from(other?),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other(format!("{path} is not a regular file")));
    }
    let mut bytes = Vec::new();
    file.take(PASSWD_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > PASSWD_BYTES {
        return Err(io::Error::other(format!("{path} is larger than {PASSWD_BYTES} bytes")));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Looks up `user[:group]`; the empty text is root.
pub(crate) fn look_up(text: &str, databases: &Databases) -> Result<Identity, String> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (text, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let number = as_number(user)?;
    let entry =
        passwd_entries(&databases.passwd).find(|entry| number.map_or(entry.name == user, |number| entry.uid == number));
    let uid = match (number, &entry) {
        (Some(number), _) => number,
        (None, Some(entry)) => entry.uid,
        (None, None) => return Err(format!("no user {user:?} in /etc/passwd of the image")),
    };
    let (gid, mut groups) = match group {
        Some(group) => (group_id(group, &databases.group)?, Vec::new()),
        None => (
            entry.as_ref().map_or(0, |entry| entry.gid),
            entry.as_ref().map_or_else(Vec::new, |entry| memberships(entry.name, &databases.group)),
        ),
    };
    // A program that is set to another group would leave the user's own otherwise, and what it may not read with it.
    if !groups.contains(&gid) {
        groups.insert(0, gid);
    }
    // Without an entry "/", root too: what runc says.
    let home = match &entry {
        Some(entry) if !entry.home.is_empty() => entry.home.to_owned(),
        _ => "/".to_owned(),
    };
    Ok(Identity { uid, gid, groups, home })
}

struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn passwd_entries(text: &str) -> impl Iterator<Item = PasswdEntry<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty() && !name.starts_with('#'))?;
        let uid = as_number(fields.nth(1)?).ok()??;
        let gid = as_number(fields.next()?).ok()??;
        Some(PasswdEntry { name, uid, gid, home: fields.nth(1).unwrap_or_default() })
    })
}

/// Name, id, members.
fn group_entries(text: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next()?;
        let gid = as_number(fields.nth(1)?).ok()??;
        Some((name, gid, fields.next().unwrap_or_default()))
    })
}

fn group_id(group: &str, text: &str) -> Result<u32, String> {
    if let Some(number) = as_number(group)? {
        return Ok(number);
    }
    group_entries(text)
        .find(|(name, ..)| *name == group)
        .map(|(_, gid, _)| gid)
        .ok_or_else(|| format!("no group {group:?} in /etc/group of the image"))
}

fn memberships(user: &str, text: &str) -> Vec<u32> {
    let mut groups: Vec<u32> = group_entries(text)
        .filter(|(_, _, members)| members.split(',').any(|member| member.trim() == user))
        .map(|(_, gid, _)| gid)
        .collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// The number that the text is, when it is all digits.
fn as_number(text: &str) -> Result<Option<u32>, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse() {
        Ok(number) if number <= LARGEST => Ok(Some(number)),
        _ => Err(format!("id {text} is larger than {LARGEST}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_up_as_docker() {
        let databases = Databases {
            passwd: "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:App:/home/app:/bin/sh\n\
                     77:x:5:5::/five:\nbad:x:notanumber:1::/:\n"
                .into(),
            group: "root:x:0:\napp:x:1001:\nwheel:x:10:app,other\nvideo:x:44:app\n".into(),
        };
        let who = |uid, gid, groups: &[u32], home: &str| {
            Some(Identity { uid, gid, groups: groups.to_vec(), home: home.into() })
        };
        for (text, expected) in [
            ("", who(0, 0, &[0], "/root")),
            ("app", who(1000, 1001, &[1001, 10, 44], "/home/app")),
            ("1000", who(1000, 1001, &[1001, 10, 44], "/home/app")),
            ("app:wheel", who(1000, 10, &[10], "/home/app")),
            ("app:77", who(1000, 77, &[77], "/home/app")),
            ("77", who(77, 0, &[0], "/")),
            ("4242:0", who(4242, 0, &[0], "/")),
            ("nobody", None),
            ("app:nogroup", None),
            ("0:0", who(0, 0, &[0], "/root")),
            ("bad", None),
            ("4294967296", None),
            ("4294967295", None),
            ("-1", None),
        ] {
            assert_eq!(look_up(text, &databases).ok(), expected, "{text:?}");
        }
        let empty = Databases { passwd: String::new(), group: String::new() };
        assert_eq!(look_up("", &empty).ok(), who(0, 0, &[0], "/"));
    }
}
