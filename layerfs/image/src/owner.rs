//! Who owns a file, written down beside it: for where everything on the disk belongs to one user.
//!
//! | of | attribute | value |
//! |---|---|---|
//! | regular files, directories | `user.cooper.owner` | `UID:GID` |
//! | what can have no attributes of users: links, pipes, sockets | `security.capability` | both numbers, with a mark |
//!
//! The second one is what a user namespace may write on any file. On what is never executed it grants nothing; the kernel
//! keeps twenty bytes of it as they are, and may put the number of the namespace's root behind them. No record means 0:0.

/// The attribute of files and directories.
pub const OWNER_XATTR: &str = "user.cooper.owner";
/// The attribute of everything else.
pub const OWNER_CAPABILITY: &str = "security.capability";

/// Where the kernel's structure says what it is, by `linux/capability.h`: revision 2, and 3, to which the kernel turns it.
const REVISIONS: [u32; 2] = [0x0200_0000, 0x0300_0000];
/// Stands where no capability has a bit, so that no true capabilities are taken for an owner.
const MARK: u32 = 0xc09e_0000;

/// A user and a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl Owner {
    /// Root, whom nobody has to write down.
    pub const ROOT: Self = Self { uid: 0, gid: 0 };

    /// The value of [`OWNER_XATTR`].
    pub fn to_text(self) -> String {
        format!("{}:{}", self.uid, self.gid)
    }

    /// Reads the value of [`OWNER_XATTR`].
    pub fn from_text(value: &[u8]) -> Option<Self> {
        let (uid, gid) = std::str::from_utf8(value).ok()?.split_once(':')?;
        Some(Self { uid: uid.parse().ok()?, gid: gid.parse().ok()? })
    }

    /// The value of [`OWNER_CAPABILITY`].
    pub fn to_capability(self) -> Vec<u8> {
        // Revision, then permitted and inheritable of the first 32 capabilities, then of the others.
        [REVISIONS[0], self.uid, self.gid, MARK, 0].into_iter().flat_map(u32::to_le_bytes).collect()
    }

    /// Reads the value of [`OWNER_CAPABILITY`]; `None` for true capabilities too.
    pub fn from_capability(value: &[u8]) -> Option<Self> {
        let mut words = value.chunks_exact(4).map(|w| w.try_into().map_or(0, u32::from_le_bytes));
        let (revision, uid, gid, mark) = (words.next()?, words.next()?, words.next()?, words.next()?);
        (REVISIONS.contains(&revision) && mark == MARK).then_some(Self { uid, gid })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        for owner in [Owner::ROOT, Owner { uid: 33, gid: 65_534 }, Owner { uid: u32::MAX - 1, gid: 1 }] {
            assert_eq!(Owner::from_text(owner.to_text().as_bytes()), Some(owner));
            let mut value = owner.to_capability();
            assert_eq!(value.len(), 20);
            assert_eq!(Owner::from_capability(&value), Some(owner));
            // As whoever reads it outside of the namespace finds it.
            value[3] = 3;
            value.extend([0xe9, 3, 0, 0]);
            assert_eq!(Owner::from_capability(&value), Some(owner));
        }
    }

    #[test]
    fn what_is_no_record_is_none() {
        for text in ["", "1", "1:", ":1", "1:2:3", "-1:0", "4294967296:0", "a:b"] {
            assert_eq!(Owner::from_text(text.as_bytes()), None, "{text}");
        }
        // cap_net_raw+ep, as setcap writes it.
        let ping = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(Owner::from_capability(&ping), None);
        assert_eq!(Owner::from_capability(&[]), None);
    }
}
