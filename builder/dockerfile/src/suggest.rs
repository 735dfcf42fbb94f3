//! "Did you mean": the nearest of some known names.
//!
//! Takes names, gives the closest one or nothing. Must never guess wildly, and never take long: names of more than 64
//! characters are not compared, and of two names only as much as can still be near.

/// Longest name that is compared, in characters.
const LONGEST: usize = 64;

/// The known name that a mistyped one is near to, if one is near: the first of the nearest, in any case. In a short name
/// one letter may differ, else two; in a single letter none.
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = letters(typed);
    let reach = match typed.len() {
        0 | 1 => return None,
        2..=4 => 1,
        len if len > LONGEST => return None,
        _ => 2,
    };
    let mut best: Option<(usize, &str)> = None;
    for name in known {
        let Some(distance) = distance(&typed, &letters(name), reach) else { continue };
        if best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, name));
        }
    }
    best.map(|(_, name)| name)
}

/// Are two names one slip apart, in any case: one letter more, less or other, or two neighbours that changed places?
pub fn one_slip(typed: &str, known: &str) -> bool {
    distance(&letters(typed), &letters(known), 1).is_some()
}

/// As many as are compared, and one more when there are more.
fn letters(name: &str) -> Vec<char> {
    name.chars().take(LONGEST + 1).map(|c| c.to_ascii_lowercase()).collect()
}

/// Edits (insert, delete, replace, swap of neighbours) between two names, unless they are more than `reach`. Only the
/// cells of the table are filled that lie so near to its diagonal.
fn distance(a: &[char], b: &[char], reach: usize) -> Option<usize> {
    if a.len().abs_diff(b.len()) > reach || b.len() > LONGEST {
        return None;
    }
    const FAR: usize = LONGEST * 2;
    let mut before = vec![FAR; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![FAR; b.len() + 1];
        row[0] = i + 1;
        let (from, to) = (i.saturating_sub(reach), b.len().min(i + reach + 1));
        for (j, y) in b.iter().enumerate().take(to).skip(from) {
            let mut best = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i - 1] == *y && b[j - 1] == *x {
                best = best.min(before[j - 1] + 1);
            }
            row[j + 1] = best;
        }
        if row.iter().all(|cell| *cell > reach) {
            return None;
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().filter(|distance| *distance <= reach)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let known = ["FROM", "RUN", "COPY", "HEALTHCHECK", "builder", "test", "final"];
        let cases = [
            ("FORM", Some("FROM")),
            ("form", Some("FROM")),
            ("RNU", Some("RUN")),
            ("CPY", Some("COPY")),
            ("HEALTCHEK", Some("HEALTHCHECK")),
            ("bulider", Some("builder")),
            ("Build", Some("builder")),
            ("tset", Some("test")),
            ("tests", Some("test")),
            ("echo", None),
            ("production", None),
            ("x", None),
            ("", None),
        ];
        for (typed, expected) in cases {
            assert_eq!(nearest(typed, known), expected, "{typed}");
        }
        let long = "x".repeat(LONGEST);
        assert_eq!(nearest(&long, [long.as_str()]), Some(long.as_str()));
        let longer = "x".repeat(LONGEST + 1);
        assert_eq!((nearest(&longer, [longer.as_str()]), nearest(&long, [longer.as_str()])), (None, None));
    }

    #[test]
    fn slips() {
        for (a, b, slip) in [
            ("PAHT", "PATH", true),
            ("PTH", "PATH", true),
            ("PATHS", "PATH", true),
            ("PATJ", "PATH", true),
            ("path", "PATH", true),
            ("AAB", "AAAB", true),
            ("GOPATH", "PATH", false),
            ("HTAP", "PATH", false),
            ("PXXH", "PATH", false),
            ("PIHT", "PATH", false),
        ] {
            assert_eq!((one_slip(a, b), one_slip(b, a)), (slip, slip), "{a}");
        }
    }

    /// The definition, by trying everything.
    fn edits(a: &[char], b: &[char]) -> usize {
        let (Some((x, a_rest)), Some((y, b_rest))) = (a.split_first(), b.split_first()) else {
            return a.len().max(b.len());
        };
        let mut best =
            (edits(a_rest, b_rest) + usize::from(x != y)).min(edits(a_rest, b) + 1).min(edits(a, b_rest) + 1);
        if let ([p, q, a_rest @ ..], [r, s, b_rest @ ..]) = (a, b)
            && (p, q) == (s, r)
        {
            best = best.min(edits(a_rest, b_rest) + 1);
        }
        best
    }

    proptest::proptest! {
        #[test]
        fn the_narrow_table_finds_every_near_distance(a in "[abc]{0,6}", b in "[abc]{0,6}") {
            let (a, b) = (letters(&a), letters(&b));
            let expected = edits(&a, &b);
            for reach in [1, 2] {
                proptest::prop_assert_eq!(distance(&a, &b, reach), Some(expected).filter(|d| *d <= reach));
            }
        }
    }
}
