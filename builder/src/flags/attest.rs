//! `--provenance`, `--sbom` and `--attest`: Cooper makes no attestations, so that only their absence can be asked
//! for.

use super::output::Switch;
use cooper_dockerfile::csv;
use std::str::FromStr;

/// A value that asks for no attestation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoAttestation;

/// A value that asks for one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} asks for an attestation, which is not supported; leave it away, or give false")]
pub struct AttestError(String);

impl FromStr for NoAttestation {
    type Err = AttestError;
    /// A truth value, or fields of which one may be `disabled`.
    fn from_str(text: &str) -> Result<Self, AttestError> {
        let refused = || AttestError(text.chars().take(100).collect());
        if Switch::parse(text) == Some(Switch::Off) {
            return Ok(Self);
        }
        let fields = csv::fields(text).map_err(|_| refused())?;
        let pairs = fields.iter().map(|f| f.split_once('=').ok_or_else(refused));
        let mut disabled = false;
        for pair in pairs {
            match pair? {
                ("disabled", value) => disabled = Switch::parse(value) == Some(Switch::On),
                ("type", "provenance" | "sbom") => {}
                _ => return Err(refused()),
            }
        }
        if disabled { Ok(Self) } else { Err(refused()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_no_is_an_answer() {
        for text in ["false", "0", "disabled=true", "type=provenance,disabled=true", "type=sbom,disabled=1"] {
            assert_eq!(text.parse(), Ok(NoAttestation), "{text}");
        }
        for text in ["", "true", "mode=max", "type=provenance", "type=sbom,disabled=false", "type=vex,disabled=true"] {
            let says =
                format!("{text:?} asks for an attestation, which is not supported; leave it away, or give false");
            assert_eq!(text.parse::<NoAttestation>().unwrap_err().to_string(), says);
        }
    }
}
