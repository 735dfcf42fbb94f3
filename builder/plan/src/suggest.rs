//! "Did you mean": the nearest of some names.
//!
//! Takes names, gives the closest one or nothing. Must never guess wildly: at most two letters may differ.

/// Names longer than this are never compared, so that the cost stays bounded.
const LONGEST: usize = 64;
/// Most letters that may differ.
const FARTHEST: usize = 2;

/// The candidate that differs from `name` by the fewest letters, ignoring case; the first of equals.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted: Vec<char> = name.to_lowercase().chars().take(LONGEST + 1).collect();
    let near = |c: &'a str| {
        let given: Vec<char> = c.to_lowercase().chars().take(LONGEST + 1).collect();
        (given.len() <= LONGEST && wanted.len() <= LONGEST).then(|| (distance(&wanted, &given), c))
    };
    let best = candidates.into_iter().filter_map(near).min_by_key(|(d, _)| *d)?;
    // A short name would be "near" to everything, so that at least one letter has to agree.
    (best.0 <= FARTHEST && best.0 < wanted.len()).then_some(best.1)
}

/// Insertions, removals and replacements that make one word of the other.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut left = i + 1;
        let mut diagonal = i;
        for (y, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let replaced = diagonal + usize::from(x != y);
            diagonal = *cell;
            left = replaced.min(left + 1).min(diagonal + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_names_are_offered() {
        let names = ["builder", "test", "final"];
        for (given, wanted) in [
            ("bulider", Some("builder")),
            ("Build", Some("builder")),
            ("tset", Some("test")),
            ("tests", Some("test")),
            ("production", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(given, names), wanted, "{given}");
        }
    }
}
