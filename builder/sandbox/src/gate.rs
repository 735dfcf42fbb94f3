//! What holds the step back until whoever is to wait for it, and to end it, has all that this takes: a failure there comes
//! before a byte of the step has run.

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use std::io;
use std::os::fd::OwnedFd;

/// The step's side.
pub(crate) struct Gate(OwnedFd);

/// The side of each process that waits.
pub(crate) struct Key(OwnedFd);

/// Both sides. Each process that a fork makes drops what is not its own.
pub(crate) fn closed() -> io::Result<(Gate, Key)> {
    let (gate, key) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok((Gate(gate), Key(key)))
}

impl Key {
    /// Says that this process is ready.
    pub(crate) fn turn(self) -> io::Result<()> {
        loop {
            match rustix::io::write(&self.0, &[1]) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Gate {
    /// Waits until so many processes are ready. False when one is gone before, which has said why.
    pub(crate) fn pass(self, keys: usize) -> io::Result<bool> {
        let mut turned = 0;
        while turned < keys {
            match rustix::io::read(&self.0, &mut [0_u8; 1]) {
                Ok(0) => return Ok(false),
                Ok(_) => turned += 1,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_them_has_to_be_ready() {
        let (gate, key) = closed().unwrap();
        key.turn().unwrap();
        assert!(!gate.pass(2).unwrap());
        let (gate, key) = closed().unwrap();
        let other = Key(key.0.try_clone().unwrap());
        let waiting = std::thread::spawn(move || gate.pass(2));
        key.turn().unwrap();
        other.turn().unwrap();
        assert!(waiting.join().unwrap().unwrap());
    }
}
