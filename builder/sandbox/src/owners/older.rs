//! The calls about files that only older architectures have, and newer ones leave to those that begin at a directory.

use super::files::{HERE, Opening, give, made_directory, made_link, made_node, opened, told};
use super::server::Server;
use crate::answers::{Call, Replied};
use rustix::fs::{AtFlags, Mode, OFlags};

pub(super) fn stat(server: &mut Server, call: &Call<'_>) -> Replied {
    told(server, call, (HERE, 0, 1), AtFlags::empty())
}

pub(super) fn lstat(server: &mut Server, call: &Call<'_>) -> Replied {
    told(server, call, (HERE, 0, 1), AtFlags::SYMLINK_NOFOLLOW)
}

pub(super) fn chown(server: &mut Server, call: &Call<'_>) -> Replied {
    let place = call.place_at(HERE, call.argument(0), AtFlags::empty())?;
    give(server, call, place, (call.word(1), call.word(2)))
}

pub(super) fn lchown(server: &mut Server, call: &Call<'_>) -> Replied {
    let place = call.place_at(HERE, call.argument(0), AtFlags::SYMLINK_NOFOLLOW)?;
    give(server, call, place, (call.word(1), call.word(2)))
}

pub(super) fn open(server: &mut Server, call: &Call<'_>) -> Replied {
    let place = call.place_at(HERE, call.argument(0), AtFlags::empty())?;
    let flags = OFlags::from_bits_retain(call.word(1));
    opened(server, call, place, &Opening { flags, mode: Mode::from_raw_mode(call.word(2)) })
}

pub(super) fn creat(server: &mut Server, call: &Call<'_>) -> Replied {
    let place = call.place_at(HERE, call.argument(0), AtFlags::empty())?;
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::TRUNC;
    opened(server, call, place, &Opening { flags, mode: Mode::from_raw_mode(call.word(1)) })
}

pub(super) fn mkdir(server: &mut Server, call: &Call<'_>) -> Replied {
    made_directory(server, call, (HERE, 0))
}

pub(super) fn mknod(server: &mut Server, call: &Call<'_>) -> Replied {
    made_node(server, call, (HERE, 0))
}

pub(super) fn symlink(server: &mut Server, call: &Call<'_>) -> Replied {
    made_link(server, call, (HERE, 1))
}
