//! Cooper's own rules, as data. No other builder has them, so a build does not tell them unless it is asked to; it
//! always tells what it does not do for a file's `# syntax=`, and that a source is empty.

use super::table::rules;
use super::{Rule, Set};
use crate::diagnostic::Severity::Warning;

rules! {
    APT_LISTS_LEFT_BEHIND "AptListsLeftBehind" Own {
        description: "Package lists should be removed by the RUN that fetches them",
        why: "the layer keeps tens of megabytes that are out of date tomorrow",
        fix: "end the RUN with rm -rf /var/lib/apt/lists/*, or mount a cache there"
    }
    BASE_NOT_PINNED "BaseNotPinned" Advice {
        description: "Base images should be pinned by digest",
        why: "a tag can name another image tomorrow, so that the same file gives another result",
        fix: "add @sha256:… behind the tag; `cooper inspect` shows the digest"
    }
    BROAD_COPY_BEFORE_INSTALL "BroadCopyBeforeInstall" Own {
        description: "Dependencies should be installed before the whole context is copied",
        why: "every change to any file makes the installation run again",
        fix: "copy the lock file first, install, then copy the rest"
    }
    DIRECTIVE_IGNORED "DirectiveIgnored" Own {
        description: "`# escape=` should not stand behind a first line that begins with #!",
        why: "it has no effect there, so that the file is read with a backslash",
        fix: "remove the first line"
    }
    DUPLICATE_NAME "DuplicateName" Own {
        description: "An instruction should set a name once",
        why: "only the last value counts",
        fix: "keep one of them"
    }
    EMPTY_SOURCE "EmptySource" Notice {
        description: "A source of COPY or ADD should not be empty after expansion",
        why: "everything is copied, as with a dot",
        fix: "give the variable a value, or write a dot where everything is meant"
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
    NEWER_SYNTAX "NewerSyntax" Notice {
        description: "The file should not ask for a newer syntax than this builder reads",
        why: "what is new in it is an error where it is used",
        fix: "name a version that this builder reads, or docker/dockerfile:1"
    }
    SECRET_IN_VALUE "SecretInValue" Own {
        description: "Values of ARG and ENV should not look like secrets",
        why: "everybody who has the Dockerfile or the image has the secret",
        fix: "withdraw the secret, then use RUN --mount=type=secret"
    }
    UNKNOWN_DIRECTIVE "UnknownDirective" Own {
        description: "Names of directives should be spelled right",
        why: "a comment that is nearly a directive is a comment, without an effect",
        fix: "spell it syntax, escape or check"
    }
    UNKNOWN_FRONTEND "UnknownFrontend" Notice {
        description: "`# syntax=` should name docker/dockerfile",
        why: "frontends are not fetched, so that the file is read as a Dockerfile whatever it is",
        fix: "remove the line, or name docker/dockerfile:1"
    }
    UNREACHABLE_STAGE "UnreachableStage" Own {
        description: "Every stage should be needed, or be described as a target of its own",
        why: "nobody notices when a stage that is never built no longer works",
        fix: "remove the stage, or describe it: `# name what it is for` above its FROM"
    }
    UNUSED_ARG "UnusedArg" Own {
        description: "Every ARG should be used",
        why: "a value for it is taken and changes nothing",
        fix: "remove the ARG, or move it to the stage that uses it"
    }
}
