//! The rules that BuildKit has, as data: names and sentences are BuildKit's (`frontend/dockerfile/linter/ruleset.go`),
//! so that its output and this one can be compared.

use super::{Rule, Set};
use crate::diagnostic::Severity::Warning;

macro_rules! rules {
    ($($name:ident $id:literal $set:ident { description: $description:literal, why: $why:literal, fix: $fix:literal })*) => {
        $(
            #[doc = concat!("`", $id, "`: ", $description)]
            pub static $name: Rule = Rule {
                id: $id,
                set: Set::$set,
                severity: Warning,
                description: $description,
                why: $why,
                fix: $fix,
            };
        )*
        /// All of them.
        pub static RULES: &[&Rule] = &[$(&$name),*];
    };
}
pub(super) use rules;

rules! {
    CONSISTENT_INSTRUCTION_CASING "ConsistentInstructionCasing" Default {
        description: "All commands within the Dockerfile should use the same casing (either upper or lower)",
        why: "a file in two styles is harder to read",
        fix: "write all instructions in the case that most of them have"
    }
    COPY_IGNORED_FILE "CopyIgnoredFile" Default {
        description: "Attempting to Copy file that is excluded by .dockerignore",
        why: "the file does not exist for the build, so that the instruction fails",
        fix: "take the path out of .dockerignore, or out of the instruction"
    }
    DUPLICATE_STAGE_NAME "DuplicateStageName" Default {
        description: "Stage names should be unique",
        why: "the later stage hides the earlier one",
        fix: "give every stage its own name"
    }
    EXPOSE_INVALID_FORMAT "ExposeInvalidFormat" Default {
        description: "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future release",
        why: "an image cannot choose the host's addresses and ports: only the container's port is kept",
        fix: "write the container's port alone; map it when the container is started"
    }
    EXPOSE_PROTO_CASING "ExposeProtoCasing" Default {
        description: "Protocol in EXPOSE instruction should be lowercase",
        why: "images hold the protocol in lower case",
        fix: "write tcp, udp or sctp"
    }
    FROM_AS_CASING "FromAsCasing" Default {
        description: "The 'as' keyword should match the case of the 'from' keyword",
        why: "a line in two styles is harder to read",
        fix: "write AS in the case of FROM"
    }
    FROM_PLATFORM_FLAG_CONST_DISALLOWED "FromPlatformFlagConstDisallowed" Default {
        description: "FROM --platform flag should not use a constant value",
        why: "the stage is for that platform whatever the build is asked for",
        fix: "leave the flag out, use $BUILDPLATFORM, or name the stage after the platform"
    }
    INVALID_BASE_IMAGE_PLATFORM "InvalidBaseImagePlatform" Default {
        description: "Base image platform does not match expected target platform",
        why: "the image holds programs that do not run where it is meant to run",
        fix: "use a base that has the platform, or build for the platform that the base has"
    }
    INVALID_DEFAULT_ARG_IN_FROM "InvalidDefaultArgInFrom" Default {
        description: "Default value for global ARG results in an empty or invalid base image name",
        why: "the file cannot be built without a build argument",
        fix: "give the ARG a default with which the name of the base is complete"
    }
    INVALID_DEFINITION_DESCRIPTION "InvalidDefinitionDescription" Experimental {
        description: "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not intended to be a description comment, add an empty line or comment between the instruction and the comment.",
        why: "--call=outline and --call=targets show the comment above a stage or an argument only when it begins with its name",
        fix: "begin the comment with the name, or part it from the instruction with an empty line"
    }
    JSON_ARGS_RECOMMENDED "JSONArgsRecommended" Default {
        description: "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
        why: "a shell stands between the container and the program, and does not pass signals on",
        fix: "write a JSON array, or say with SHELL that a shell is wanted"
    }
    LEGACY_KEY_VALUE_FORMAT "LegacyKeyValueFormat" Default {
        description: "Legacy key/value format with whitespace separator should not be used",
        why: "the form holds one pair, and everything up to the end of the line is its value",
        fix: "write NAME=value, with quotes around a value that holds blanks"
    }
    MAINTAINER_DEPRECATED "MaintainerDeprecated" Default {
        description: "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
        why: "a label can be read, searched and replaced like every other",
        fix: "write LABEL org.opencontainers.image.authors=\"…\""
    }
    MULTIPLE_INSTRUCTIONS_DISALLOWED "MultipleInstructionsDisallowed" Default {
        description: "Multiple instructions of the same type should not be used in the same stage",
        why: "only the last one counts",
        fix: "keep the last one"
    }
    NO_EMPTY_CONTINUATION "NoEmptyContinuation" Default {
        description: "Empty continuation lines will become errors in a future release",
        why: "an empty line looks like the end of the instruction and is not",
        fix: "remove the line, or write a comment there"
    }
    REDUNDANT_TARGET_PLATFORM "RedundantTargetPlatform" Default {
        description: "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
        why: "the flag says what is so without it",
        fix: "leave the flag out"
    }
    RESERVED_STAGE_NAME "ReservedStageName" Default {
        description: "Reserved words should not be used as stage names",
        why: "scratch and context mean something of their own, which the stage hides",
        fix: "choose another name"
    }
    SECRETS_USED_IN_ARG_OR_ENV "SecretsUsedInArgOrEnv" Default {
        description: "Sensitive data should not be used in the ARG or ENV commands",
        why: "the image keeps the values of ENV, and its history those of ARG",
        fix: "use RUN --mount=type=secret, which leaves no trace in the image"
    }
    STAGE_NAME_CASING "StageNameCasing" Default {
        description: "Stage names should be lowercase",
        why: "stages are found by their name in lower case",
        fix: "write the name in lower case"
    }
    UNDEFINED_ARG_IN_FROM "UndefinedArgInFrom" Default {
        description: "FROM command must use declared ARGs",
        why: "the variable is empty there",
        fix: "declare it with ARG before the first FROM; an ARG of a stage is not seen there"
    }
    UNDEFINED_VAR "UndefinedVar" Default {
        description: "Variables should be defined before their use",
        why: "the variable is empty there",
        fix: "declare it with ARG or ENV above, in this stage; write \\$ for a dollar sign"
    }
    WORKDIR_RELATIVE_PATH "WorkdirRelativePath" Default {
        description: "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes",
        why: "where the directory ends up depends on the base",
        fix: "begin with an absolute WORKDIR"
    }
}
