//! Cooper's own rules, as data. No other builder has them, so a build does not tell them unless it is asked to.

use super::table::rules;
use super::{Rule, Set};
use crate::diagnostic::Severity::Warning;

rules! {
    APT_LISTS_LEFT_BEHIND "AptListsLeftBehind" Own {
        description: "Package lists should be removed by the RUN that fetches them",
        why: "the layer keeps tens of megabytes that are out of date tomorrow",
        fix: "end the RUN with rm -rf /var/lib/apt/lists/*, or mount a cache there"
    }
    BASE_NOT_PINNED "BaseNotPinned" Own {
        description: "Base images should be pinned by digest",
        why: "a tag can name another image tomorrow, so that the same file gives another result",
        fix: "add @sha256:… behind the tag; `cooper inspect` shows the digest"
    }
    BROAD_COPY_BEFORE_INSTALL "BroadCopyBeforeInstall" Own {
        description: "Dependencies should be installed before the whole context is copied",
        why: "every change to any file makes the installation run again",
        fix: "copy the lock file first, install, then copy the rest"
    }
    DUPLICATE_NAME "DuplicateName" Own {
        description: "An instruction should set a name once",
        why: "only the last value counts",
        fix: "keep one of them"
    }
    EXEC_FORM_QUOTES "ExecFormQuotes" Own {
        description: "The exec form needs double quotes",
        why: "single quotes are not JSON, so that a shell gets the brackets",
        fix: "use double quotes for the exec form"
    }
    HEALTHCHECK_FLAGS "HealthcheckFlags" Own {
        description: "HEALTHCHECK NONE should have no flags",
        why: "there is no check that they could be about",
        fix: "remove the flags"
    }
    SECRET_IN_VALUE "SecretInValue" Own {
        description: "Values of ARG and ENV should not look like secrets",
        why: "everybody who has the Dockerfile or the image has the secret",
        fix: "withdraw the secret, then use RUN --mount=type=secret"
    }
    UNREACHABLE_STAGE "UnreachableStage" Own {
        description: "Every stage should be needed, or be described as a target of its own",
        why: "nobody notices when a stage that is never built no longer works",
        fix: "remove the stage, or describe it: `# name what it is for` above its FROM"
    }
    UNUSED_ARG "UnusedArg" Own {
        description: "Every ARG should be used",
        why: "each value of an ARG in a stage makes the RUNs below it run again",
        fix: "remove the ARG, or move it to the stage that uses it"
    }
}
