//! What holds for every text: no panic, no lost byte, findings that fit the outcome.

use cooper_dockerfile::ast::{self, Ast};
use cooper_dockerfile::diagnostic::Severity;
use cooper_dockerfile::instruction::{Command, Instruction};
use cooper_dockerfile::print::print;
use cooper_dockerfile::{parse, parse_trigger, tree};
use proptest::prelude::*;

fn token() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "FROM ",
            "RUN ",
            "COPY ",
            "ADD ",
            "ARG ",
            "ENV ",
            "LABEL ",
            "ONBUILD ",
            "HEALTHCHECK ",
            "CMD ",
            "SHELL ",
            "VOLUME ",
            "EXPOSE ",
            "a",
            "b ",
            " AS ",
            "scratch",
            "--from=",
            "--mount=",
            "--link",
            "-- ",
            "--",
            "=",
            "$A",
            "${",
            "}",
            ":-",
            "#",
            "# escape=`",
            "# check=",
            "# syntax=",
            "// syntax=a\n",
            "{\"syntax\":\"a\"}\n",
            "#!",
            "# a\n",
            "\u{c}",
            "\n",
            "\n",
            "\r\n",
            "\\\n",
            "`\n",
            "\\",
            "<<EOF",
            "<<-'E O'",
            "<<",
            "EOF\n",
            "\nEOF\n",
            "E O\n",
            "[",
            "]",
            "\"",
            "'",
            ",",
            "[\"a\"]",
            "\t",
            " ",
            "\u{feff}",
            "é",
            "\u{0}",
            "NONE",
            "1s",
            "/",
            "/x ",
        ])
        .prop_map(str::to_owned),
        any::<char>().prop_map(String::from),
    ]
}

fn body() -> impl Strategy<Value = String> {
    let line = prop::collection::vec(
        prop::sample::select(vec!["a", "E", "$x", " ", "\t", "\\", "#", "<<EOF", "'", "\"", "\r", "é", "\u{0}"]),
        0..6,
    );
    prop::collection::vec(line.prop_map(|l| format!("{}\n", l.concat())), 0..6).prop_map(|l| l.concat())
}

/// The tree without the lines of its parts.
fn shape(tree: &Ast) -> String {
    let bare = |line: &str| match line.split_once(' ') {
        Some((place, rest)) if place.starts_with(|c: char| c.is_ascii_digit()) => rest.to_owned(),
        _ => line.to_owned(),
    };
    ast::dump(tree).lines().map(bare).collect::<Vec<_>>().join("\n")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let text = String::from_utf8_lossy(&bytes);
        let found = parse(&text).diagnostics;
        // Every place is in the file, and every error in JSON.
        for finding in &found {
            let columns = finding.columns.expect("every finding has a place");
            prop_assert!(columns.start >= 1 && (finding.span.start < finding.span.end || columns.start <= columns.end));
        }
        prop_assert!(serde_json::to_string(&found).is_ok());
    }

    #[test]
    fn any_text_is_answered(pieces in prop::collection::vec(token(), 0..40), escape in prop_oneof![Just('\\'), Just('`')]) {
        let text = pieces.concat();
        let lines = text.split('\n').count() as u32;
        let parsed = parse(&text);
        let failed = parsed.diagnostics.iter().any(|d| d.severity == Severity::Error);
        prop_assert_eq!(parsed.dockerfile.is_none(), failed);
        for found in &parsed.diagnostics {
            prop_assert!(1 <= found.span.start && found.span.start <= found.span.end && found.span.end <= lines, "{:?} {:?}", text, found);
        }
        for stage in parsed.dockerfile.iter().flat_map(|d| &d.stages) {
            for instruction in &stage.instructions {
                prop_assert!(stage.span.end < instruction.span.start && instruction.span.end <= lines);
                if let Instruction::OnBuild(trigger) = &instruction.value {
                    let escape = parsed.dockerfile.as_ref().map_or('\\', |d| d.escape);
                    prop_assert!(parse_trigger(trigger, escape).is_ok(), "{:?}", trigger);
                }
            }
        }
        // What is printed is read as the same tree, and printed as the same text.
        let printed = print(&tree(&text));
        let again = tree(&printed);
        prop_assert_eq!(shape(&again), shape(&tree(&text)), "{:?} {:?}", text, printed);
        prop_assert_eq!(print(&again), printed);
        // Every heredoc's bytes stand in the file as they are.
        for node in &again.nodes {
            for body in &node.heredocs {
                prop_assert!(text.contains(&body.raw), "{:?} {:?}", text, body.raw);
            }
        }
        let _ = parse_trigger(&text, escape);
    }

    #[test]
    fn a_heredoc_loses_no_byte(one in body(), two in body(), end in prop_oneof![Just("\n"), Just("\r\n"), Just("")]) {
        let (one, two) = (one.replace("EOF", "EO"), two.replace("EOF", "EO"));
        let text = format!("FROM a\nRUN <<EOF\n{one}EOF\nCOPY <<EOF <<'EOF2' /x\n{two}EOF\n{one}EOF2\nRUN cat <<EOF\n{two}EOF{end}");
        let file = parse(&text).dockerfile.expect("well formed");
        let found: Vec<_> = file.stages[0].instructions.iter().map(|i| &i.value).collect();
        let [Instruction::Run(run), Instruction::Copy(copy), Instruction::Run(whole)] = found.as_slice() else {
            panic!("three instructions");
        };
        prop_assert_eq!(&run.command, &Command::Shell(one.clone()));
        prop_assert_eq!(&copy.heredocs[0].body, &two);
        prop_assert_eq!(&copy.heredocs[1].body, &one);
        prop_assert_eq!(&whole.command, &Command::Shell(format!("cat <<EOF\n{two}EOF")));
    }
}

#[test]
fn hostile_files_end_soon() {
    let n = 100_000;
    let mut cases = vec![
        format!("FROM a\nENV {}", "A=1 \\\n".repeat(n)),
        format!("FROM a\nENV {}", "A \\\n".repeat(n)),
        format!("FROM a\nCOPY {}{} a b", "--exclude=x \\\n".repeat(n), "--link \\\n".repeat(n)),
        format!("FROM a\nRUN {}", "<<A \\\n".repeat(n)),
        format!("FROM a\nRUN {}", "<< \\\n".repeat(n)),
        format!("FROM a\nUSER {}", "${A:-\\\n".repeat(n)),
        format!("FROM a\nUSER {}", "${A/*a*a*a/\\\nb}".repeat(n)),
        format!("FROM a\nCMD {}", "[\\\n".repeat(n)),
        "ONBUILD ".repeat(8_000),
    ];
    cases.push(cases.concat());
    for text in cases {
        let begun = std::time::Instant::now();
        parse(&text);
        assert!(begun.elapsed().as_secs() < 60, "{}", text.get(..60).unwrap_or_default());
    }
}
