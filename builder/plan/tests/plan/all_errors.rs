//! All errors of a file at once: those of the parser beside those of planning, and none that only follow from another.

use crate::planning::*;
use cooper_dockerfile::diagnostic::{Severity, merge};
use cooper_dockerfile::draft::Draft;
use cooper_plan::build::{Bases, Wanted, faults};
use cooper_plan::request::PlanRequest;

/// The lines of all errors. Bases called `known` are.
fn asked(text: &str, request: &PlanRequest, wanted: Wanted) -> Vec<u32> {
    let parsed = cooper_dockerfile::parse(text);
    let draft = parsed.dockerfile.map(Draft::whole).or(parsed.draft).expect("there is a stage");
    let known = |key: &_| image_name(key).starts_with("known").then(with_path);
    let found = faults(&draft, (request, wanted), &mut Bases::new(), &mut { known });
    let found = merge(parsed.diagnostics, found, text);
    assert!(found.iter().all(|d| (d.columns.is_some() || d.span.start == 0) && d.hint.is_some()), "{found:#?}");
    found.iter().filter(|d| d.severity == Severity::Error).map(|d| d.span.start).collect()
}

/// The lines of all errors of all stages.
fn lines(text: &str) -> Vec<u32> {
    asked(text, &request(), Wanted::All)
}

#[test]
fn no_error_hides_another() {
    for (text, wrong) in [
        ("FROM known\nEXPOSE foo\nSTOPSIGNAL bar\nCOPPY a b", vec![2, 3, 4]),
        (
            "FROM known\nEXPOSE foo\nSTOPSIGNAL bar\nVOLUME $nope\nCOPY --chmod=999 a b\nENV X=${Y:?no}\nWORKDIR ${Z:?no}",
            vec![2, 3, 4, 5, 6, 7],
        ),
        ("FROM known\nEXPOSE foo\nFROM known\nSTOPSIGNAL x", vec![2, 4]),
        ("FROM $X\nEXPOSE foo\nFROM known\nEXPOSE foo", vec![1, 2, 4]),
        (
            "FROM x/Bad\nRUN --network=bad y\nFROM a b c\nUSER ${U!}\nEXPOSE x\nFROM known\nCOPY --from=7 a b",
            vec![1, 2, 3, 4, 5, 7],
        ),
        (
            "ARG A=${B:?no}\nARG C=${x!}\nFROM --platform=a/b/c/d x\nEXPOSE x\nFROM --platform=bad/=/ $none",
            vec![1, 2, 3, 4, 5, 5],
        ),
        (
            "ARG A=${B:?no}\nFROM known\nENV A=${A!}\nCOPY --from=9 --chmod=999 a b\nSHELL x\nADD a",
            vec![1, 3, 4, 4, 5, 6],
        ),
        ("RUN x\nFROM known\nEXPOSE x\nRUN <<E\nEXPOSE y", vec![1, 3, 4]),
        ("FROM known AS a\nONBUILD EXPOSE x\nFROM a\nONBUILD RUNN\nCOPY --from=b a /\nFROM known AS b", vec![2, 4, 5]),
    ] {
        assert_eq!(lines(text), wrong, "{text}");
    }
}

#[test]
fn what_follows_from_an_error_is_none() {
    for (text, wrong) in [
        // What sets a variable is faulty.
        ("FROM known\nENV X=${Y:?no}\nVOLUME $X\nENV Z=$X\nUSER ${Z:?no}\nENV X=\nVOLUME $X", vec![2, 7]),
        ("FROM known\nENV X=${Y!} W=1\nVOLUME $X\nUSER ${W:?no}\nVOLUME $V", vec![2, 5]),
        ("FROM known\nARG X=${Y:?no} Z\nVOLUME $X\nVOLUME $Z", vec![2, 4]),
        ("FROM known\nENV X\nVOLUME $X\nFROM known\nVOLUME $X", vec![2, 5]),
        ("FROM known\nEVN X=1\nVOLUME $X\nVOLUME $Y", vec![2, 4]),
        ("FROM known\nENV ${Y:?no}=1\nVOLUME $X", vec![2]),
        ("FROM known AS a\nENV X=${Y:?no}\nFROM a\nVOLUME $X\nVOLUME $Y", vec![2, 5]),
        ("ARG X=${Y:?no}\nFROM $X\nVOLUME $Z\nFROM known\nARG X\nVOLUME $X\nVOLUME $Z", vec![1, 7]),
        ("ARG X=${Y!}\nARG Z=$X\nFROM known$Z\nFROM --platform=$X known", vec![1]),
        ("ARG X='\nFROM $X", vec![1]),
        ("ENV X=1\nFROM $X", vec![1]),
        // A FROM is faulty: its stage has a name and a number, and brings what nobody knows.
        ("FROM a as b c AS a\nVOLUME $X\nFROM a\nVOLUME $X\nCOPY --from=0 a /\nCOPY --from=a a /", vec![1]),
        ("FROM --platform=no/=/ x AS a\nFROM --platform=linux/arm64 a", vec![1]),
        // A directory is faulty, or not known.
        ("FROM known\nWORKDIR ${Y:?no}\nRUN --mount=type=tmpfs,target=. x", vec![2]),
        ("FROM known\nWORKDIR ${Y!}\nRUN --mount=type=tmpfs,target=. x", vec![2]),
        ("FROM other\nRUN --mount=type=tmpfs,target=. x\nVOLUME $X\nVOLUME ''", vec![4]),
        ("FROM known\nRUN --mount=type=tmpfs,target=. x", vec![2]),
        // It is known all the same.
        ("FROM other\nARG X=\nVOLUME $X", vec![3]),
        ("FROM known\nENV X=${Y!}\nENV X=\nVOLUME $X", vec![2, 4]),
    ] {
        assert_eq!(lines(text), wrong, "{text}");
    }
}

#[test]
fn stages_that_are_looked_at() {
    let text =
        "FROM known AS a\nEXPOSE foo\nFROM x/Bad AS b\nEXPOSE foo\nFROM ${X:?no}\nEXPOSE foo\nFROM known\nEXPOSE x";
    assert_eq!(lines(text), [2, 3, 4, 5, 6, 8]);
    // Of a stage that is not needed only the FROM, as BuildKit does.
    assert_eq!(asked(text, &request(), Wanted::Needed), [3, 5, 8]);
    assert_eq!(asked(text, &with_target("a"), Wanted::Needed), [2, 3, 5]);
    assert_eq!(asked(text, &with_target("a"), Wanted::All), [2, 3, 5]);
    let found = planned("FROM x/Bad\nFROM scratch", &request()).unwrap_err();
    assert_eq!(found.iter().map(|d| d.span.start).collect::<Vec<_>>(), [1]);
}

#[test]
fn a_target_that_may_be_unread_is_not_said_to_be_absent() {
    let none = |text| asked(text, &with_target("b"), Wanted::Needed);
    assert_eq!(none("FROM known\nRUNN x"), [0, 2]);
    assert_eq!(none("FROM known\nRUN <<E\nFROM known AS b"), [2]);
    assert_eq!(none("FROM known\nFROM known AS"), [2]);
    assert_eq!(none("FROM known AS b\nEXPOSE x\nFROM known\nRUNN x"), [2, 4]);
}

#[test]
fn errors_are_bounded_and_told_once() {
    let text = format!("FROM known\nCOPPY x\n{}", "EXPOSE x\n".repeat(1_200));
    let parsed = cooper_dockerfile::parse(&text);
    let found = faults(&parsed.draft.unwrap(), (&request(), Wanted::All), &mut Bases::new(), &mut |_| None);
    let all = merge(parsed.diagnostics, found.clone(), &text);
    assert_eq!((all.len(), all[0].span.start, all[1].span.start), (1_001, 2, 3));
    assert_eq!(all.last().map(|d| d.message.as_str()), Some("and 201 more errors"));
    assert_eq!(merge(all.clone(), found, &text), all);
}
