//! Why a step is run, as lines for people.

use super::{Detail, escape};
use cooper_plan::difference::Difference;

/// All in one line, or a line for each difference and each file. Nothing without a reason.
pub fn lines(reasons: &[Difference], detail: Detail) -> Vec<String> {
    match detail {
        _ if reasons.is_empty() => Vec::new(),
        Detail::Brief => {
            let told: Vec<String> = reasons.iter().map(Difference::summary).collect();
            vec![escape::line(&told.join("; "))]
        }
        Detail::Full => reasons.iter().flat_map(Difference::lines).map(|l| escape::line(&l)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cooper_plan::difference::{Aspect, FileChange};

    #[test]
    fn one_line_or_all() {
        let file = |path: &str| FileChange { path: path.to_owned(), change: Aspect::Content, old: None, new: None };
        let files = ["a", "b\u{1b}[2J", "c", "d"].map(file).to_vec();
        let why = [Difference { files, ..Difference::note("files") }, Difference::note("the user changed")];
        let brief = "files: a changed, b\\x1b[2J changed, c changed, and 1 more; the user changed";
        assert_eq!(lines(&why, Detail::Brief), [brief]);
        let full = ["files", "  a changed", "  b\\x1b[2J changed", "  c changed", "  d changed", "the user changed"];
        assert_eq!(lines(&why, Detail::Full), full);
        assert!(lines(&[], Detail::Brief).is_empty());
    }
}
