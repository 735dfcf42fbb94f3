//! Tables of the word grammar, and the same words read by a shell.

use super::*;
use proptest::prelude::*;
use std::process::Command;

fn vars(name: &str) -> Option<String> {
    let value = match name {
        "A" => "aa",
        "B" => "b c",
        "EMPTY" => "",
        "KOREAN" => "한국어",
        "P" => "/tmp/tmp/bar.tar.gz",
        "S" => "a***yy*",
        "R" => "()[]{}^$.*?|\\x",
        "U" => "http://x.de",
        "N" => "http://",
        "M" => "\\*/",
        "ÄÖ" => "xx",
        "F" => "/foo*/*/*.txt",
        _ => return None,
    };
    Some(value.to_owned())
}

#[test]
fn words_are_expanded() {
    let cases = [
        ("", ""),
        ("plain", "plain"),
        ("he'll'o", "hello"),
        ("'he$A'", "he$A"),
        ("he\"$A\"", "heaa"),
        ("\"a'b'\"", "a'b'"),
        ("'a\"b'", "a\"b"),
        ("'a\\'", "a\\"),
        ("a\\'b", "a'b"),
        ("a\\\\b", "a\\b"),
        ("a\\nb", "anb"),
        ("\"a\\nb\"", "a\\nb"),
        ("\"a\\\"b\\$c\\\\d\"", "a\"b$c\\d"),
        ("a\\", "a"),
        ("a b  c", "a b  c"),
        ("\\$A", "$A"),
        ("\\${A}", "${A}"),
        ("$", "$"),
        ("a$", "a$"),
        ("$/x", "$/x"),
        ("$A", "aa"),
        ("$A.x", "aa.x"),
        ("$AA", ""),
        ("${A}A", "aaA"),
        ("x$1y$22z", "xyz"),
        ("a$$b$@c$*d", "abcd"),
        ("$KOREAN ${KOREAN}", "한국어 한국어"),
        ("한${A}글$ÄÖ", "한aa글xx"),
        ("$A글", ""),
        ("${B}", "b c"),
        ("${X:-d}${X-d}${A:-d}${EMPTY:-d}${EMPTY-d}", "ddaad"),
        ("${X:+d}${X+d}${A:+d}${EMPTY:+d}${EMPTY+d}", "dd"),
        ("${A:?m}${A?m}${EMPTY?m}", "aaaa"),
        ("${X:-${A}}", "aa"),
        ("${X:-\"$A\"'$A'}", "aa$A"),
        ("${X:-${Y:-${A}}}", "aa"),
        ("${X:-a\\}b}", "a}b"),
        ("${X:-}", ""),
        ("${X:-a b}", "a b"),
        ("\"${X:-\"q\"}\"", "q"),
        ("${P#*/}", "tmp/tmp/bar.tar.gz"),
        ("${P##*/}", "bar.tar.gz"),
        ("${P%.*}", "/tmp/tmp/bar.tar"),
        ("${P%%.*}", "/tmp/tmp/bar"),
        ("${P#x}${P#}", "/tmp/tmp/bar.tar.gz/tmp/tmp/bar.tar.gz"),
        ("${A#?}", "a"),
        ("${X#a}", ""),
        ("${S%%\\**}", "a"),
        ("${S%%\\**\\*}", "a"),
        ("${S%\\*}", "a***yy"),
        ("${R#()[]{\\}^$.\\*\\?|\\\\}", "x"),
        ("${P/tmp/x}", "/x/tmp/bar.tar.gz"),
        ("${P//tmp/x}", "/x/x/bar.tar.gz"),
        ("${P//\\//_}", "_tmp_tmp_bar.tar.gz"),
        ("${P//\\//\\/}", "\\/tmp\\/tmp\\/bar.tar.gz"),
        ("${P/.*/}", "/tmp/tmp/bar"),
        ("${P//t?p/}", "///bar.tar.gz"),
        ("${U/$N/https://}", "https://x.de"),
        ("${F/$M/.} - ${F//$M/.}", "/foo.*/*.txt - /foo..*.txt"),
        ("${A//a/bb}", "bbbb"),
        ("${A/b/x}", "aa"),
        ("${A//*/x}", "x"),
        ("${A///}", "aa"),
        ("${A/$EMPTY/w}", "waa"),
        ("${X//a/b}", ""),
        ("${A//a/$A}", "aaaa"),
    ];
    for (word, expected) in cases {
        assert_eq!(expand(word, '\\', &vars).as_deref(), Ok(expected), "{word}");
    }
}

#[test]
fn malformed_words_are_errors() {
    let required = |name: &str, message: &str| WordError::Required { name: name.into(), message: message.into() };
    let modifier = |modifier: &str| WordError::Modifier { name: "A".into(), modifier: modifier.into() };
    let cases = [
        ("'a", WordError::OpenQuote('\'')),
        ("a\"b", WordError::OpenQuote('"')),
        ("\"a\\", WordError::OpenQuote('"')),
        ("${", WordError::OpenBrace),
        ("${A", WordError::OpenBrace),
        ("${A:", WordError::OpenBrace),
        ("${A:-b", WordError::OpenBrace),
        ("${A#b", WordError::OpenBrace),
        ("${A/b/c", WordError::OpenBrace),
        ("${}", WordError::NoName),
        ("${:}", WordError::NoName),
        ("${{A}}", WordError::NoName),
        ("${A=b}", modifier("=")),
        ("${A:=b}", modifier(":=")),
        ("${A^^}", modifier("^")),
        ("${A:1}", modifier(":1")),
        ("${A//b}", WordError::OpenReplacement { name: "A".into() }),
        ("${X:?}", required("X", "is not allowed to be unset")),
        ("${EMPTY:?}", required("EMPTY", "is not allowed to be empty")),
        ("${X?no $A here}", required("X", "no aa here")),
        ("${A#\\x}", WordError::Pattern { pattern: "\\x".into() }),
        ("${A#\\", WordError::OpenBrace),
    ];
    for (word, expected) in cases {
        assert_eq!(expand(word, '\\', &vars), Err(expected), "{word}");
    }
}

#[test]
fn the_escape_character_can_be_the_back_quote() {
    assert_eq!(expand("C:\\a`$A\"`\"\"`` \\$A", '`', &vars).as_deref(), Ok("C:\\a$A\"` \\aa"));
    assert_eq!(expand("${S%`*}", '`', &vars).as_deref(), Ok("a***yy"));
}

#[test]
fn words_are_split_after_expansion() {
    let cases: [(&str, &[&str]); 9] = [
        ("80 81", &["80", "81"]),
        ("$B", &["b", "c"]),
        ("\"$B\"", &["b c"]),
        ("x$B/udp", &["xb", "c/udp"]),
        ("${X:-80 81}", &["80", "81"]),
        ("a\\ b", &["a b"]),
        ("'' \"\"", &[]),
        ("$EMPTY", &[]),
        ("", &[]),
    ];
    for (word, expected) in cases {
        assert_eq!(expand_many(word, '\\', &vars).unwrap(), expected, "{word}");
    }
}

#[test]
fn names_are_found() {
    let cases: [(&str, &[&str]); 6] = [
        ("a", &[]),
        ("$A${B}$A", &["A", "B"]),
        ("${A:-${B}}${C:?$D}${E#$F}${G/$H/$I}", &["B", "A", "D", "C", "F", "E", "H", "I", "G"]),
        ("'$A'\\$B\"$C\"", &["C"]),
        ("$1$$", &[]),
        ("$A${", &["A"]),
    ];
    for (word, expected) in cases {
        assert_eq!(names(word, '\\'), expected, "{word}");
    }
}

#[test]
fn checking_asks_no_values() {
    assert_eq!(check("${X:?no}${A#$B}", '\\'), Ok(()));
    assert_eq!(check("'a", '\\'), Err(WordError::OpenQuote('\'')));
}

#[test]
fn work_is_bounded() {
    let long = |_: &str| Some("x".repeat(limits::WORD_BYTES / 2 + 1));
    assert_eq!(expand("$A", '\\', &long).map(|t| t.len()), Ok(limits::WORD_BYTES / 2 + 1));
    assert_eq!(expand("$A$A", '\\', &long), Err(WordError::TooLarge));
    let exact = |_: &str| Some("x".repeat(limits::WORD_BYTES));
    assert_eq!(expand("$A", '\\', &exact).map(|t| t.len()), Ok(limits::WORD_BYTES));
    assert_eq!(expand("${A}y", '\\', &exact), Err(WordError::TooLarge));
    assert_eq!(expand("\"$A$A\"", '\\', &long), Err(WordError::TooLarge));
    assert_eq!(expand("${A//x/yyy}", '\\', &long), Err(WordError::TooLarge));
    assert_eq!(expand(&"${A:+}".repeat(200), '\\', &long), Err(WordError::TooCostly));
    let pattern = format!("${{A#*{}y}}", "x".repeat(10_000));
    assert_eq!(expand(&pattern, '\\', &long), Err(WordError::TooCostly));
    let nested = |n: usize| format!("{}{}", "${X:-".repeat(n), "}".repeat(n));
    assert_eq!(expand(&nested(limits::WORD_DEPTH), '\\', &vars).as_deref(), Ok(""));
    assert_eq!(expand(&nested(limits::WORD_DEPTH + 1), '\\', &vars), Err(WordError::TooDeep));
    assert_eq!(expand(&nested(100_000), '\\', &vars), Err(WordError::TooDeep));
}

/// What the shell makes of a word in double quotes or as the value of an assignment.
fn shell(words: &[&str]) -> Vec<String> {
    let mut script = "A=aa B='b c' EMPTY= P=/tmp/tmp/bar.tar.gz\n".to_owned();
    for word in words {
        // An assignment expands and removes quotes, and splits nothing.
        script.push_str(&format!("v={word}\nprintf '%s\\n' \"$v\"\n"));
    }
    let out = Command::new("sh").arg("-c").arg(script).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_shell_agrees_where_the_grammars_do() {
    let words = [
        "he'll'o",
        "'he$A'",
        "he\"$A\"",
        "\"a'b'\"",
        "a\\'b",
        "a\\\\b",
        "a\\nb",
        "\"a\\\"b\\$c\\\\d\"",
        "\\$A",
        "$A.x",
        "${A}A",
        "$B",
        "${X:-d}${X-d}${A:-d}${EMPTY:-d}${EMPTY-d}",
        "${X:+d}${X+d}${A:+d}${EMPTY:+d}${EMPTY+d}",
        "${A:?m}${A?m}${EMPTY?m}",
        "${X:-${A}}",
        "${X:-\"$A\"'$A'}",
        "${X:-a\\}b}",
        "${P#*/}",
        "${P##*/}",
        "${P%.*}",
        "${P%%.*}",
        "${P%%/*}",
        "${P##*t?r}",
        "${A#?}",
        "${P#x}",
        "${P%\\*}",
    ];
    let ours: Vec<String> = words.iter().map(|w| expand(w, '\\', &vars).unwrap()).collect();
    assert_eq!(ours, shell(&words));
}

/// One word of the grammar that the shell and the Dockerfile share: no blanks outside quotes, no
/// back quotes, brackets or tildes, patterns without escapes, names of a few variables.
fn shared_word() -> impl Strategy<Value = String> {
    let name = || prop::sample::select(vec!["A", "B", "EMPTY", "P", "X"]);
    let simple = || {
        prop_oneof![
            3 => "[a-c./_-]{1,3}",
            1 => name().prop_map(|n| format!("${n}")),
            1 => name().prop_map(|n| format!("${{{n}}}")),
            1 => prop::sample::select(vec!["\\$", "\\}", "\\\\", "\\a", "\\\"", "\\'", "\\ "]).prop_map(str::to_owned),
        ]
    };
    let words = || prop::collection::vec(simple(), 0..3).prop_map(|w| w.concat());
    let pattern = prop::collection::vec(
        prop_oneof![2 => "[abct./]{1,2}", 1 => Just("*".to_owned()), 1 => Just("?".to_owned())],
        0..4,
    );
    let quoted = prop_oneof![
        3 => "[a-c' .]{1,3}",
        1 => name().prop_map(|n| format!("${{{n}}}")),
        1 => (name(), prop::sample::select(vec![":-", "-", ":+", "+"]), "[a-c. ]{0,3}").prop_map(|(n, m, w)| format!("${{{n}{m}{w}}}")),
        1 => prop::sample::select(vec!["\\\"", "\\$", "\\\\", "\\a"]).prop_map(str::to_owned),
    ];
    let piece = prop_oneof![
        4 => simple(),
        3 => (name(), prop::sample::select(vec![":-", "-", ":+", "+"]), words()).prop_map(|(n, m, w)| format!("${{{n}{m}{w}}}")),
        2 => (name(), prop::sample::select(vec![":-", "+"]), name(), words()).prop_map(|(n, m, i, w)| format!("${{{n}{m}${{{i}:-{w}}}}}")),
        3 => (name(), prop::sample::select(vec!["#", "##", "%", "%%"]), pattern).prop_map(|(n, m, p)| format!("${{{n}{m}{}}}", p.concat())),
        2 => prop::collection::vec(quoted, 0..4).prop_map(|q| format!("\"{}\"", q.concat())),
        2 => "[a-c$\" \\\\]{0,4}".prop_map(|t| format!("'{t}'")),
    ];
    prop::collection::vec(piece, 1..5).prop_map(|p| p.concat())
}

proptest! {
    // Few shells with very many words each.
    #![proptest_config(ProptestConfig { cases: 10, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_shell_agrees_on_words_of_the_shared_grammar(words in prop::collection::vec(shared_word(), 200)) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let theirs = shell(&words);
        prop_assert_eq!(theirs.len(), words.len());
        for (word, theirs) in words.iter().zip(theirs) {
            prop_assert_eq!(expand(word, '\\', &vars), Ok(theirs), "{}", word);
        }
    }
}

#[test]
fn quotes_of_a_body_are_text() {
    let lookup = |name: &str| (name == "V").then(|| "\"v' w".to_owned());
    for (body, expected) in [
        ("say \"$V\" and '$V'\ncost \\$V\n", "say \"\"v' w\" and '\"v' w'\ncost $V\n"),
        ("it's ${V#\"v'}", "it's  w"),
        ("${V%' w}", "\"v"),
        ("${V//'/\"}", "\"v\" w"),
        ("${N:-\"a b'}", "\"a b'"),
        ("a\\\"b\\\\", "a\"b\\"),
    ] {
        assert_eq!(expand_body(body, &lookup), Ok(expected.to_owned()), "{body}");
    }
    assert_eq!(names_of_body("don't $A won't ${B#\"}"), ["A", "B"]);
}

#[test]
fn nothing_is_put_where_it_would_be_too_large() {
    let half = "x".repeat(limits::WORD_BYTES / 2);
    let asked = std::cell::Cell::new(0);
    let lookup = |_: &str| {
        asked.set(asked.get() + 1);
        Some(half.clone())
    };
    for word in ["$A".repeat(1000), format!("\"{}\"", "$A".repeat(1000)), "${B:+$A}".repeat(1000)] {
        asked.set(0);
        assert_eq!(expand(&word, '\\', &lookup), Err(WordError::TooLarge));
        assert!(asked.get() <= 6, "the third value is one too many, and no more are asked for: {}", asked.get());
    }
    assert_eq!(expand("$A$A", '\\', &lookup).map(|t| t.len()), Ok(limits::WORD_BYTES));
}

proptest! {
    #[test]
    fn expansion_never_panics(
        pieces in proptest::collection::vec(
            prop_oneof![
                Just("$"), Just("{"), Just("}"), Just("${"), Just("A"), Just("B"), Just(":"), Just("-"), Just("+"),
                Just("?"), Just("#"), Just("%"), Just("/"), Just("*"), Just("\\"), Just("`"), Just("'"), Just("\""),
                Just(" "), Just("é"), Just("1"),
            ],
            0..30,
        ),
        escape in prop_oneof![Just('\\'), Just('`')],
    ) {
        let word = pieces.concat();
        let one = expand(&word, escape, &vars);
        let many = expand_many(&word, escape, &vars);
        prop_assert_eq!(one.is_ok(), many.is_ok());
        if let (Ok(one), Ok(many)) = (one, many) {
            let blankless = |t: &str| t.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(blankless(&one), blankless(&many.concat()));
        }
        names(&word, escape);
    }

    #[test]
    fn quoted_text_is_itself(text in "[^']{0,20}") {
        prop_assert_eq!(expand(&format!("'{text}'"), '\\', &vars), Ok(text));
    }
}
