//! The last line of a build: what was made, and what it took.

use super::{amount, escape};
use std::time::Duration;

/// Numbers of a finished build.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    /// Steps that were run.
    pub run: usize,
    /// Steps that came from the cache.
    pub cached: usize,
}

/// `built NAME ID in TIME: …`.
pub fn line(name: Option<&str>, id: &str, took: Duration, counts: Counts) -> String {
    let work = match counts {
        Counts { run: 0, cached: 0 } => "there was no step to run".to_owned(),
        Counts { run: 0, cached: 1 } => "no step was run, the only one came from the cache".to_owned(),
        Counts { run: 0, cached } => format!("no step was run, all {cached} came from the cache"),
        Counts { run: 1, cached } => format!("1 step run, {cached} cached"),
        Counts { run, cached } => format!("{run} steps run, {cached} cached"),
    };
    let name = name.map_or_else(|| "an image without a name".to_owned(), escape::line);
    format!("built {name} {id} in {}: {work}", amount::took(took))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_was_done() {
        let d = Duration::from_millis(1234);
        for (name, run, cached, text) in [
            (Some("app:1"), 3, 5, "built app:1 sha256:ab in 1.2s: 3 steps run, 5 cached"),
            (Some("app:1"), 1, 0, "built app:1 sha256:ab in 1.2s: 1 step run, 0 cached"),
            (None, 0, 9, "built an image without a name sha256:ab in 1.2s: no step was run, all 9 came from the cache"),
            (Some("a"), 0, 0, "built a sha256:ab in 1.2s: there was no step to run"),
        ] {
            assert_eq!(line(name, "sha256:ab", d, Counts { run, cached }), text);
        }
    }
}
