//! Malformed files: which error, on which line.

use cooper_dockerfile::diagnostic::Severity;
use cooper_dockerfile::{limits, parse};

/// Text, then every error's code and line.
type Case = (&'static str, &'static [(&'static str, u32)]);

const BAD: &[Case] = &[
    // The file.
    ("", &[("EmptyFile", 1)]),
    ("# x\n\n", &[("EmptyFile", 1)]),
    ("ARG A", &[("NoStage", 1)]),
    ("RUN a", &[("InstructionBeforeFrom", 1), ("NoStage", 1)]),
    ("ARG A\nRUN a\nENV A=b\nFROM a", &[("InstructionBeforeFrom", 2)]),
    ("# escape=x\nFROM a", &[("InvalidEscape", 1)]),
    ("# escape=`\n# escape=`\nFROM a", &[("DuplicateDirective", 2)]),
    ("# syntax=a\n# Syntax=b\nFROM a", &[("DuplicateDirective", 2)]),
    ("# check=x\nFROM a", &[("InvalidCheck", 1)]),
    ("FROM a\nRUN <<EOF\nx\n", &[("UnterminatedHeredoc", 2)]),
    ("FROM a\nCOPY <<A <<B /x\nA\nx\n", &[("UnterminatedHeredoc", 2)]),
    // FROM.
    ("FROM", &[("MissingArgument", 1)]),
    ("FROM a b", &[("InvalidFrom", 1)]),
    ("FROM a AS", &[("InvalidFrom", 1)]),
    ("FROM a IN b", &[("InvalidFrom", 1)]),
    ("FROM a AS b c", &[("InvalidFrom", 1)]),
    ("FROM a AS 1b", &[("InvalidStageName", 1)]),
    ("FROM a AS b/c", &[("InvalidStageName", 1)]),
    ("FROM ${a", &[("MalformedWord", 1)]),
    ("FROM --platform a", &[("MissingFlagValue", 1)]),
    ("FROM --plattform=x a", &[("UnknownFlag", 1)]),
    ("FROM a AS -\nFROM b AS -", &[("InvalidStageName", 1), ("InvalidStageName", 2)]),
    // Instructions and flags.
    ("FROM a\nRUNN x\nFRMO b", &[("UnknownInstruction", 2), ("UnknownInstruction", 3)]),
    ("FROM a\n\nRUN", &[("MissingArgument", 3)]),
    ("FROM a\nRUN []", &[("MissingArgument", 2)]),
    ("FROM a\nRUN [1]", &[("NotAStringArray", 2)]),
    ("FROM a\nCMD [\"a\", null]", &[("NotAStringArray", 2)]),
    ("FROM a\nCMD", &[("MissingArgument", 2)]),
    ("FROM a\nENTRYPOINT", &[("MissingArgument", 2)]),
    ("FROM a\nCMD --x", &[("UnknownFlag", 2)]),
    ("FROM a\nRUN --mont=x a", &[("UnknownFlag", 2)]),
    ("FROM a\nRUN --network=x --network=y a", &[("DuplicateFlag", 2)]),
    ("FROM a\nSHELL /bin/sh", &[("JsonRequired", 2)]),
    ("FROM a\nSHELL []", &[("MissingArgument", 2)]),
    // COPY and ADD.
    ("FROM a\nCOPY a", &[("MissingArgument", 2)]),
    ("FROM a\nCOPY", &[("MissingArgument", 2)]),
    ("FROM a\nCOPY [\"a\"]", &[("MissingArgument", 2)]),
    ("FROM a\nCOPY [\"a\", 1]", &[("NotAStringArray", 2)]),
    ("FROM a\nCOPY \"a b\" /c", &[("MalformedWord", 2)]),
    ("FROM a\nCOPY --from=$X a /c", &[("VariableInFrom", 2)]),
    ("FROM a\nCOPY --from= a /c", &[("InvalidFlagValue", 2)]),
    ("FROM a\nCOPY --link=x a /c", &[("InvalidFlagValue", 2)]),
    ("FROM a\nCOPY --chown=${x a /c", &[("MalformedWord", 2)]),
    (
        "FROM a\nCOPY --frm=x --chwon=y --link --link a /c",
        &[("UnknownFlag", 2), ("UnknownFlag", 2), ("DuplicateFlag", 2)],
    ),
    ("FROM a\nADD --from=b a /c", &[("UnknownFlag", 2)]),
    ("FROM a\nCOPY --unpack a /c", &[("UnknownFlag", 2)]),
    ("FROM a\nCOPY a <<EOF\nEOF", &[("HeredocDestination", 2)]),
    ("FROM a\nCOPY <<EOF\nEOF", &[("HeredocDestination", 2)]),
    ("FROM a\nCOPY <<../x /y\n../x", &[("InvalidName", 2)]),
    // Names and values.
    ("FROM a\nENV", &[("MissingArgument", 2)]),
    ("FROM a\nENV A", &[("MissingValue", 2)]),
    ("FROM a\nENV A=1 B", &[("NotAPair", 2)]),
    ("FROM a\nENV A=1 \\\n B \\\n =2 \\\n C='", &[("NotAPair", 3), ("BlankName", 4), ("MalformedWord", 5)]),
    ("FROM a\nENV \"A=1\" B", &[("NotAPair", 2), ("NotAPair", 2)]),
    ("FROM a\nLABEL a=\"b c", &[("MalformedWord", 2)]),
    ("FROM a\nLABEL =b", &[("BlankName", 2)]),
    ("FROM a\nARG", &[("MissingArgument", 2)]),
    ("FROM a\nARG =1", &[("BlankName", 2)]),
    ("FROM a\nARG ''=1", &[("BlankName", 2)]),
    ("FROM a\nARG $A=1", &[("InvalidName", 2)]),
    ("ARG 'a b'\nFROM a", &[("InvalidName", 1)]),
    // The rest.
    ("FROM a\nEXPOSE", &[("MissingArgument", 2)]),
    ("FROM a\nEXPOSE 80 ${x", &[("MalformedWord", 2)]),
    ("FROM a\nVOLUME []", &[("MissingArgument", 2)]),
    ("FROM a\nVOLUME [\"\"]", &[("MissingArgument", 2)]),
    ("FROM a\nUSER", &[("MissingArgument", 2)]),
    ("FROM a\nWORKDIR", &[("MissingArgument", 2)]),
    ("FROM a\nWORKDIR ${x^^}", &[("MalformedWord", 2)]),
    ("FROM a\nSTOPSIGNAL", &[("MissingArgument", 2)]),
    ("FROM a\nHEALTHCHECK", &[("MissingArgument", 2)]),
    ("FROM a\nHEALTHCHECK x", &[("InvalidHealthcheck", 2)]),
    ("FROM a\nHEALTHCHECK NONE x", &[("TooManyArguments", 2)]),
    ("FROM a\nHEALTHCHECK CMD", &[("MissingArgument", 2)]),
    ("FROM a\nHEALTHCHECK --interval=1us CMD x", &[("InvalidDuration", 2)]),
    (
        "FROM a\nHEALTHCHECK --interval=-1s --timeout=1 --retries=-1 CMD x",
        &[("InvalidDuration", 2), ("InvalidDuration", 2), ("InvalidFlagValue", 2)],
    ),
    ("FROM a\nONBUILD", &[("MissingArgument", 2)]),
    ("FROM a\nONBUILD FROM b", &[("OnBuildForbidden", 2)]),
    ("FROM a\nONBUILD maintainer b", &[("OnBuildForbidden", 2)]),
    ("FROM a\nONBUILD ONBUILD RUN b", &[("OnBuildChained", 2)]),
    ("FROM a\n\nONBUILD RUNN b", &[("UnknownInstruction", 3)]),
    ("FROM a\nONBUILD COPY --from=$x a b", &[("VariableInFrom", 2)]),
];

#[test]
fn faults_are_told_with_code_and_line() {
    assert!(BAD.len() >= 40);
    for (text, expected) in BAD {
        let parsed = parse(text);
        let errors = parsed.diagnostics.iter().filter(|d| d.severity == Severity::Error);
        let found: Vec<_> = errors.map(|d| (d.code, d.span.start)).collect();
        assert_eq!(found, *expected, "{text:?}");
        assert!(parsed.dockerfile.is_none(), "{text:?}");
    }
}

#[test]
fn near_names_are_suggested() {
    let cases = [
        ("FROM a\nRUNN x", "did you mean RUN?"),
        ("FROM a\nCPOY x y", "did you mean COPY?"),
        ("FROM a\nCOPY --chwon=1 x y", "did you mean --chown?"),
        ("FROM a\nHEALTHCHECK --start-peroid=1s CMD x", "did you mean --start-period?"),
        ("FROM a\necho hello", "if the line belongs to the one before it, end that one with \\"),
        ("FROM a\nCMD --x", "write -- before an argument that begins with --"),
    ];
    for (text, hint) in cases {
        assert_eq!(parse(text).diagnostics[0].hint.as_deref(), Some(hint), "{text:?}");
    }
}

#[test]
fn files_are_bounded() {
    let code = |text: &str| parse(text).diagnostics.first().map(|d| (d.code, d.span.start));
    let instructions = |n: usize| format!("FROM a\n{}", "USER x\n".repeat(n - 1));
    let stages = |n: usize| "FROM a\n".repeat(n);
    let line = |n: usize| format!("FROM a\nRUN {}", "x".repeat(n - 4));
    assert_eq!(code(&instructions(limits::INSTRUCTIONS)), None);
    assert_eq!(code(&instructions(limits::INSTRUCTIONS + 1)), Some(("TooManyInstructions", 10_001)));
    assert_eq!(code(&stages(limits::STAGES)), None);
    assert_eq!(code(&stages(limits::STAGES + 1)), Some(("TooManyStages", 1_001)));
    assert_eq!(code(&line(limits::LINE_BYTES)), None);
    assert_eq!(code(&line(limits::LINE_BYTES + 1)), Some(("LineTooLong", 2)));
    let heredoc = |n: usize| {
        let line = format!("{}\n", "x".repeat(1023));
        format!("FROM a\nCOPY <<E /x\n{}{}\nE", line.repeat(n / 1024), "y".repeat(n % 1024))
    };
    // The last line of the body ends with a line feed of its own.
    assert_eq!(code(&heredoc(limits::HEREDOC_BYTES - 1)), None);
    assert_eq!(code(&heredoc(limits::HEREDOC_BYTES)), Some(("HeredocTooLarge", 2)));
    let comment = format!("#{}\n", "x".repeat(limits::LINE_BYTES - 2));
    let whole = |n: usize| {
        let lines = format!("FROM a\n{}", comment.repeat((n - 7) / comment.len()));
        format!("{lines}{}", "#".repeat(n - lines.len()))
    };
    assert_eq!(code(&whole(limits::FILE_BYTES)), None);
    assert_eq!(code(&whole(limits::FILE_BYTES + 1)), Some(("FileTooLarge", 1)));
    assert_eq!(code(&"#".repeat(limits::FILE_BYTES + 1)), Some(("FileTooLarge", 1)));
    assert_eq!(parse(&"#".repeat(limits::FILE_BYTES + 1)).diagnostics.len(), 1);
    assert!(parse(&"X\n".repeat(5_000)).diagnostics.len() <= limits::DIAGNOSTICS + 1);
}
