//! "Did you mean": the nearest of a few known names. Takes short names; never more than 64 characters are compared.

/// The known name that a mistyped one is near to, if one is near.
pub(crate) fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed: Vec<char> = typed.chars().take(64).map(|c| c.to_ascii_lowercase()).collect();
    let reach = match typed.len() {
        0 | 1 => return None,
        2..=4 => 1,
        _ => 2,
    };
    known
        .into_iter()
        .map(|k| (distance(&typed, &k.to_ascii_lowercase().chars().collect::<Vec<_>>()), k))
        .filter(|(d, _)| *d <= reach)
        .min_by_key(|(d, _)| *d)
        .map(|(_, k)| k)
}

/// Edits (insert, delete, replace, swap of neighbours) between two names.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i - 1] == *y && b[j - 1] == *x {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let known = ["FROM", "RUN", "COPY", "HEALTHCHECK"];
        let cases = [
            ("FORM", Some("FROM")),
            ("form", Some("FROM")),
            ("RNU", Some("RUN")),
            ("CPY", Some("COPY")),
            ("HEALTCHEK", Some("HEALTHCHECK")),
            ("echo", None),
            ("", None),
        ];
        for (typed, expected) in cases {
            assert_eq!(nearest(typed, known), expected, "{typed}");
        }
    }
}
