//! Which rules are heard: `skip=A,B;error=true;experimental=C`, in the `# check=` directive, in the build argument
//! BUILDKIT_DOCKERFILE_CHECK, and (`skip` alone) in a comment above one instruction.

use super::{Rule, Set};
use crate::diagnostic::quoted;
use std::fmt;

/// What a file, or a build argument, wants of the checks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// `skip=`: rules that are not told; `all` is every rule.
    pub skip: Vec<String>,
    /// `error=true`: findings are errors.
    pub fail: bool,
    /// `experimental=`: rules that are told although they are not told by default; `all` is every experimental rule of
    /// BuildKit, `cooper` every rule of Cooper's own.
    pub experimental: Vec<String>,
}

/// What is done with rules that are not told by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Experimental {
    /// Told when the options name them.
    Named,
    /// Cooper's own are told unless they are skipped.
    OwnToo,
}

/// A text that sets nothing that there is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a setting of the checks")]
pub struct OptionsError(String);

impl OptionsError {
    /// What to do about it.
    pub const HINT: &'static str =
        "the settings are skip=NAMES, error=true and experimental=NAMES, with ; between them";
}

impl Options {
    /// Reads `skip=A,B;error=true;experimental=C`. Nothing at all sets nothing. Names that no rule has are kept: another
    /// builder may have such a rule.
    ///
    /// # Errors
    /// The first part that is no setting, or whose value is none.
    pub fn parse(text: &str) -> Result<Self, OptionsError> {
        let mut options = Self::default();
        for part in text.split(';').map(str::trim).filter(|p| !p.is_empty()) {
            let (key, value) = part.split_once('=').map_or((part, ""), |(k, v)| (k.trim(), v.trim()));
            match (key.to_ascii_lowercase().as_str(), value) {
                ("skip", names) => options.skip = list(names),
                ("experimental", names) => options.experimental = list(names),
                ("error", value) => options.fail = truth(value).ok_or_else(|| OptionsError(quoted(part)))?,
                _ => return Err(OptionsError(quoted(part))),
            }
        }
        Ok(options)
    }

    /// Are findings of a rule told?
    pub fn tells(&self, rule: &Rule, experimental: Experimental) -> bool {
        let has = |names: &[String], name: &str| names.iter().any(|n| n == name);
        let skipped = has(&self.skip, "all") || has(&self.skip, rule.id);
        let named = has(&self.experimental, rule.id);
        match rule.set {
            Set::Default | Set::Notice => !skipped,
            // As in BuildKit: whoever asks for it by name is not thought to skip it as well.
            Set::Experimental => named || has(&self.experimental, "all"),
            Set::Own | Set::Advice => {
                named || (!skipped && (experimental == Experimental::OwnToo || has(&self.experimental, "cooper")))
            }
        }
    }
}

/// As [`Options::parse`] reads it.
impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut settings = Vec::new();
        if !self.skip.is_empty() {
            settings.push(format!("skip={}", self.skip.join(",")));
        }
        if self.fail {
            settings.push("error=true".to_owned());
        }
        if !self.experimental.is_empty() {
            settings.push(format!("experimental={}", self.experimental.join(",")));
        }
        f.write_str(&settings.join(";"))
    }
}

/// Names with commas between them. What stands behind a blank is a remark.
pub(super) fn list(names: &str) -> Vec<String> {
    names.split(',').filter_map(|n| n.split_whitespace().next()).map(str::to_owned).collect()
}

/// Go's idea of a truth value.
fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lint::{own, table};

    #[test]
    fn settings_are_read() {
        let options = Options::parse(" skip=A, B // why ;error=true;experimental=C ").unwrap();
        assert_eq!(
            (options.skip, options.fail, options.experimental),
            (vec!["A".into(), "B".into()], true, vec!["C".into()])
        );
        for text in ["", "skip=A,B", "skip=all;error=true;experimental=C"] {
            assert_eq!(Options::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Options::parse("").unwrap(), Options::default());
        for wrong in ["skp=A", "error=maybe", "error", "A"] {
            let error = Options::parse(wrong).unwrap_err();
            assert_eq!(error.to_string(), format!("{wrong:?} is not a setting of the checks"));
        }
    }

    #[test]
    fn which_rules_are_told() {
        use Experimental::{Named, OwnToo};
        let (default, experimental, own) =
            (&table::STAGE_NAME_CASING, &table::INVALID_DEFINITION_DESCRIPTION, &own::UNUSED_ARG);
        for (text, how, told) in [
            ("", Named, [true, false, false]),
            ("", OwnToo, [true, false, true]),
            ("skip=all", OwnToo, [false, false, false]),
            ("skip=StageNameCasing", OwnToo, [false, false, true]),
            ("skip=UnusedArg", OwnToo, [true, false, false]),
            ("experimental=all", Named, [true, true, false]),
            ("experimental=cooper", Named, [true, false, true]),
            ("experimental=UnusedArg", Named, [true, false, true]),
            ("skip=all;experimental=InvalidDefinitionDescription", Named, [false, true, false]),
            ("skip=all;experimental=UnusedArg", Named, [false, false, true]),
            ("skip=UnusedArg;experimental=cooper", Named, [true, false, false]),
        ] {
            let options = Options::parse(text).unwrap();
            assert_eq!([default, experimental, own].map(|r| options.tells(r, how)), told, "{text} {how:?}");
        }
    }
}
