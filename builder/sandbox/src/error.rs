//! What can go wrong around a step, by who can do something about it.

use crate::apparmor;
use crate::foreign;
use crate::protocol::Stage;
use rustix::io::Errno;
use thiserror::Error;

/// Why a step could not be run, or was not finished.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// The kernel or the machine's settings do not permit isolation.
    #[error("{feature} not available: {cause}")]
    Unavailable {
        /// What is missing.
        feature: &'static str,
        /// What was observed.
        cause: String,
        /// How to get it.
        hint: String,
    },
    /// Steps are for another processor, and nothing here runs its programs.
    #[error("programs for {platform} cannot run on {host}: {cause}")]
    Foreign {
        /// What the steps are for.
        platform: String,
        /// What this machine is.
        host: String,
        /// The processor of the platform.
        architecture: String,
        /// What was observed.
        cause: String,
    },
    /// Steps are for another operating system, for which there is no emulator.
    #[error("programs for {platform} cannot run on {host}: they are for another system")]
    ForeignSystem {
        /// What the steps are for.
        platform: String,
        /// What this machine is.
        host: String,
    },
    /// The step's world could not be built; the step did not start.
    #[error("sandbox set-up failed at {stage}: {object}: {cause}")]
    Setup {
        /// The stage reached.
        stage: Stage,
        /// What was being worked on.
        object: String,
        /// The operating system's words.
        cause: String,
    },
    /// `USER` names somebody that the root does not know.
    #[error("user {user:?}: {cause}")]
    User {
        /// As written.
        user: String,
        /// Why not.
        cause: String,
    },
    /// A mount that the step asks for could not be made.
    #[error("cannot mount at {target}: {cause}")]
    Mount {
        /// Where, as the Dockerfile has it.
        target: String,
        /// The operating system's words.
        cause: String,
    },
    /// The program could not be started.
    #[error("cannot execute {program:?}: {cause}")]
    Exec {
        /// As written.
        program: String,
        /// The operating system's words.
        cause: String,
    },
    /// The caller asked to stop.
    #[error("step cancelled")]
    Cancelled,
    /// The set-up process ended without saying how the step ended.
    #[error("the sandbox process ended without a report: {status}")]
    Lost {
        /// How it ended.
        status: String,
    },
    /// An operation on the supervising side failed.
    #[error("{action}: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// The operating system's words.
        source: std::io::Error,
    },
}

impl SandboxError {
    /// Is a disk at fault, rather than what the kernel permits? The set-up process says causes in the system's words.
    pub fn is_storage(&self) -> bool {
        let of_disks = [Errno::NOSPC, Errno::DQUOT, Errno::IO];
        match self {
            // Of namespaces there are as many as the settings say.
            Self::Setup { stage: Stage::Namespaces, .. } => false,
            Self::Setup { cause, .. } => of_disks.iter().any(|error| *cause == error.to_string()),
            Self::Io { source, .. } => of_disks.iter().any(|e| source.raw_os_error() == Some(e.raw_os_error())),
            _ => false,
        }
    }

    /// Does the kernel forbid it?
    fn is_denied(&self) -> bool {
        let denials = [Errno::ACCESS, Errno::PERM];
        match self {
            Self::Setup { cause, .. } => denials.iter().any(|error| *cause == error.to_string()),
            Self::Io { source, .. } => denials.iter().any(|e| source.raw_os_error() == Some(e.raw_os_error())),
            _ => false,
        }
    }

    /// What the user can do about it, when that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Setup { .. } | Self::Io { .. } if self.is_storage() => {
                Some("look at the disk that holds the store: it is full or it fails".into())
            }
            Self::Unavailable { hint, .. } => Some(hint.clone()),
            Self::Foreign { architecture, .. } if foreign::is_narrow(architecture) => Some(format!(
                "register an emulator for {architecture} as root, which packages leave out where the processor runs such \
                 programs itself: docker run --privileged --rm tonistiigi/binfmt --install {architecture}; stages that \
                 only copy need none"
            )),
            Self::Foreign { architecture, .. } => Some(format!(
                "install an emulator for {architecture} as root: apt-get install qemu-user-static, or docker run \
                 --privileged --rm tonistiigi/binfmt --install {architecture}; stages that only copy need none, nor \
                 do those FROM --platform=$BUILDPLATFORM"
            )),
            Self::ForeignSystem { .. } => Some(
                "compile for it in a stage FROM --platform=$BUILDPLATFORM and copy the result: stages that only copy \
                 can be for any system"
                    .into(),
            ),
            Self::Exec { .. } => Some(
                "check that the program is in the image, is executable and is built for this machine's architecture; \
                 an emulator for another one has to be in binfmt_misc with the flag F"
                    .into(),
            ),
            Self::Setup { stage: Stage::Namespaces, cause, .. } if *cause == Errno::NOSPC.to_string() => Some(
                "a limit of namespaces is reached: fewer builds at once, or more of user.max_pid_namespaces and its \
                 like (sysctl user); cooper doctor says which one is 0"
                    .into(),
            ),
            Self::Setup { stage: Stage::Namespaces, .. } => Some(
                "an outer container or a profile of AppArmor denies it: cooper doctor says which, and what to change"
                    .into(),
            ),
            Self::Setup { stage: Stage::Overlay, .. } => Some(
                "the store must be on a file system that overlay can write to (ext4, xfs, btrfs, tmpfs), not on an \
                 overlay or NFS; cooper doctor tries it"
                    .into(),
            ),
            Self::Setup { stage: Stage::KernelFilesystems, .. } => Some(
                "an outer container must not mask /proc and /sys (systempaths=unconfined), and these must be \
                 directories in the image"
                    .into(),
            ),
            Self::User { .. } => Some(
                "create the user in an earlier step or give numeric ids, as many as /etc/subuid and /etc/subgid have here"
                    .into(),
            ),
            Self::Setup { .. } | Self::Io { .. } if self.is_denied() => {
                apparmor::suspected(apparmor::profile().as_deref())
            }
            _ => None,
        }
    }

    /// For `map_err`: names the action that failed.
    pub(crate) fn io(action: &'static str) -> impl Fn(std::io::Error) -> Self {
        move |source| Self::Io { action, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_mount_is_sent_to_the_doctor() {
        let failed = |stage: Stage, cause: Errno| {
            let (object, cause) = ("mount propagation".to_owned(), cause.to_string());
            SandboxError::Setup { stage, object, cause }
        };
        for (stage, cause, said, of_storage) in [
            (Stage::Namespaces, Errno::ACCESS, "cooper doctor", false),
            (Stage::Namespaces, Errno::NOSPC, "user.max_pid_namespaces", false),
            (Stage::Overlay, Errno::NOSPC, "disk", true),
        ] {
            let error = failed(stage, cause);
            assert!(error.hint().unwrap().contains(said), "{error:?}");
            assert_eq!(error.is_storage(), of_storage, "{error:?}");
        }
    }
}
