//! Who a process takes itself for: the ids and groups that a kernel would keep for it, and the rules by which they change
//! (credentials(7)). Numbers only; whoever is user 0 may do all that CAP_SETUID, CAP_SETGID and CAP_CHOWN allow.

use crate::user::Identity as User;
use cooper_image::Owner;
use rustix::io::Errno;

/// The most groups that a process may have, as in the kernel.
pub(super) const MOST_GROUPS: usize = 65_536;
/// Leaves an id as it is, and is none.
const UNCHANGED: u32 = u32::MAX;

/// The ids of one kind, of users or of groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Ids {
    pub real: u32,
    pub effective: u32,
    pub saved: u32,
    pub files: u32,
}

impl Ids {
    fn all(id: u32) -> Self {
        Self { real: id, effective: id, saved: id, files: id }
    }

    fn has(self, id: u32) -> bool {
        [self.real, self.effective, self.saved].contains(&id)
    }

    /// `setuid`, `setgid`.
    pub(super) fn set(self, id: u32, privileged: bool) -> Result<Self, Errno> {
        match id {
            UNCHANGED => Err(Errno::INVAL),
            _ if privileged => Ok(Self::all(id)),
            _ if id == self.real || id == self.saved => Ok(Self { effective: id, files: id, ..self }),
            _ => Err(Errno::PERM),
        }
    }

    /// `setreuid`, `setregid`.
    pub(super) fn set_two(self, real: u32, effective: u32, privileged: bool) -> Result<Self, Errno> {
        let real_allowed = [UNCHANGED, self.real, self.effective].contains(&real);
        if !privileged && !(real_allowed && (effective == UNCHANGED || self.has(effective))) {
            return Err(Errno::PERM);
        }
        let or = |id, old| if id == UNCHANGED { old } else { id };
        let now = or(effective, self.effective);
        let saved_too = real != UNCHANGED || (effective != UNCHANGED && effective != self.real);
        let saved = if saved_too { now } else { self.saved };
        Ok(Self { real: or(real, self.real), effective: now, saved, files: now })
    }

    /// `setresuid`, `setresgid`.
    pub(super) fn set_three(self, [real, effective, saved]: [u32; 3], privileged: bool) -> Result<Self, Errno> {
        let allowed = |id| id == UNCHANGED || self.has(id);
        if !privileged && ![real, effective, saved].into_iter().all(allowed) {
            return Err(Errno::PERM);
        }
        let or = |id, old| if id == UNCHANGED { old } else { id };
        let now = or(effective, self.effective);
        Ok(Self { real: or(real, self.real), effective: now, saved: or(saved, self.saved), files: now })
    }

    /// `setfsuid`, `setfsgid`, which know no failure.
    pub(super) fn set_files(self, id: u32, privileged: bool) -> Self {
        let allowed = id != UNCHANGED && (privileged || id == self.files || self.has(id));
        if allowed { Self { files: id, ..self } } else { self }
    }

    /// Executes a program that lends the rights of its owner.
    fn lent(self, id: u32) -> Self {
        Self { effective: id, saved: id, files: id, ..self }
    }
}

/// Users, groups and all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    pub users: Ids,
    pub groups: Ids,
    pub more_groups: Vec<u32>,
    /// Do capabilities outlast the change to another user?
    pub keeps: bool,
    /// Have they outlasted one?
    pub kept: bool,
}

impl Identity {
    /// Of a step that starts as a user.
    pub(super) fn of(user: &User) -> Self {
        let (users, groups) = (Ids::all(user.uid), Ids::all(user.gid));
        Self { users, groups, more_groups: user.groups.clone(), keeps: false, kept: false }
    }

    pub(super) fn is_privileged(&self) -> bool {
        self.users.effective == 0 || self.kept
    }

    /// With other users; the last of them that is root takes the capabilities along, unless they are kept.
    pub(super) fn with_users(self, users: Ids) -> Self {
        let outlast = self.users.has(0) && !users.has(0) && self.keeps;
        Self { users, kept: self.kept || outlast, ..self }
    }

    /// Whose a new file is.
    pub(super) fn makes(&self) -> Owner {
        Owner { uid: self.users.files, gid: self.groups.files }
    }

    /// The owner after `chown` with these ids, of which each may be "unchanged".
    pub(super) fn chown(&self, now: Owner, uid: u32, gid: u32) -> Result<Owner, Errno> {
        let new = Owner {
            uid: if uid == UNCHANGED { now.uid } else { uid },
            gid: if gid == UNCHANGED { now.gid } else { gid },
        };
        if self.users.files == 0 || self.kept || (uid, gid) == (UNCHANGED, UNCHANGED) {
            return Ok(new);
        }
        let own_group = [now.gid, self.groups.files].contains(&new.gid) || self.more_groups.contains(&new.gid);
        let allowed = self.users.files == now.uid && new.uid == now.uid && own_group;
        if allowed { Ok(new) } else { Err(Errno::PERM) }
    }

    /// After it has executed a program that lends these ids, or none.
    pub(super) fn executes(&self, uid: Option<u32>, gid: Option<u32>) -> Self {
        Self {
            users: uid.map_or(self.users, |id| self.users.lent(id)),
            groups: gid.map_or(self.groups, |id| self.groups.lent(id)),
            more_groups: self.more_groups.clone(),
            keeps: false,
            kept: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(real: u32, effective: u32, saved: u32) -> Ids {
        Ids { real, effective, saved, files: effective }
    }

    #[test]
    fn root_becomes_anybody_and_nobody_comes_back() {
        let app = ids(0, 0, 0).set(33, true).unwrap();
        assert_eq!(app, ids(33, 33, 33));
        assert_eq!(app.set(0, false), Err(Errno::PERM));
        assert_eq!(app.set_two(UNCHANGED, 0, false), Err(Errno::PERM));
        assert_eq!(app.set_three([0, UNCHANGED, UNCHANGED], false), Err(Errno::PERM));
        assert_eq!(app.set_files(0, false), app);
        assert_eq!(app.set(UNCHANGED, true), Err(Errno::INVAL));
        assert_eq!(app.set(33, false), Ok(app));
    }

    #[test]
    fn saved_ids_are_the_way_back() {
        let for_now = ids(0, 0, 0).set_three([UNCHANGED, 33, UNCHANGED], true).unwrap();
        assert_eq!(for_now, ids(0, 33, 0));
        assert_eq!(for_now.set(0, false), Ok(ids(0, 0, 0)));
        assert_eq!(for_now.set_two(33, UNCHANGED, false), Ok(ids(33, 33, 33)));
        // The saved id follows when the real one is given, or the effective one is not the old real one.
        assert_eq!(ids(5, 6, 7).set_two(UNCHANGED, 5, false), Ok(ids(5, 5, 7)));
        assert_eq!(ids(5, 6, 7).set_two(UNCHANGED, 7, false), Ok(ids(5, 7, 7)));
        assert_eq!(ids(5, 6, 7).set_two(6, 5, false), Ok(ids(6, 5, 5)));
        assert_eq!(ids(5, 6, 7).set_two(7, UNCHANGED, false), Err(Errno::PERM));
        assert_eq!(ids(5, 6, 7).set_files(7, false).files, 7);
    }

    #[test]
    fn files_change_hands_as_in_a_kernel() {
        let user =
            |uid, gid, groups: &[u32]| Identity::of(&User { uid, gid, groups: groups.to_vec(), home: String::new() });
        let (root, app) = (user(0, 0, &[]), user(33, 34, &[50]));
        let of_app = Owner { uid: 33, gid: 34 };
        for (who, now, uid, gid, expected) in [
            (&root, Owner::ROOT, 7, 8, Ok(Owner { uid: 7, gid: 8 })),
            (&root, of_app, UNCHANGED, 8, Ok(Owner { uid: 33, gid: 8 })),
            (&app, of_app, UNCHANGED, 50, Ok(Owner { uid: 33, gid: 50 })),
            (&app, of_app, 33, 34, Ok(of_app)),
            (&app, of_app, UNCHANGED, 51, Err(Errno::PERM)),
            (&app, of_app, 0, UNCHANGED, Err(Errno::PERM)),
            (&app, Owner::ROOT, UNCHANGED, 34, Err(Errno::PERM)),
            (&app, Owner::ROOT, UNCHANGED, UNCHANGED, Ok(Owner::ROOT)),
        ] {
            assert_eq!(who.chown(now, uid, gid), expected, "{who:?} {now:?} {uid} {gid}");
        }
    }

    #[test]
    fn capabilities_are_kept_until_a_program_is_executed() {
        let root = Identity::of(&User { uid: 0, gid: 0, groups: Vec::new(), home: String::new() });
        let app = |who: Identity| {
            let users = who.users.set(33, true).unwrap();
            who.with_users(users)
        };
        assert!(!app(root.clone()).is_privileged());
        let kept = app(Identity { keeps: true, ..root });
        assert!(kept.is_privileged() && kept.groups.set(34, kept.is_privileged()).is_ok());
        assert!(!kept.executes(None, None).is_privileged());
        // A second change does not give back what the first one took.
        let gone = app(Identity { keeps: true, ..kept.executes(None, None) });
        assert!(!gone.is_privileged());
    }

    #[test]
    fn programs_lend_their_owners_rights() {
        let app = Identity::of(&User { uid: 33, gid: 34, groups: vec![50], home: String::new() });
        let lent = app.executes(Some(0), None);
        assert!(lent.is_privileged() && lent.users.real == 33 && lent.groups == app.groups);
        assert_eq!(lent.users.set(33, true).unwrap(), Ids::all(33));
        assert_eq!(app.executes(None, Some(42)).groups, Ids { real: 34, effective: 42, saved: 42, files: 42 });
    }
}
