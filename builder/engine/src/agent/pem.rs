//! Files of private keys.
//!
//! | label | content |
//! |---|---|
//! | `OPENSSH PRIVATE KEY` | OpenSSH's own (its `PROTOCOL.key`) |
//! | `RSA PRIVATE KEY` | PKCS#1 (RFC 8017) |
//! | `EC PRIVATE KEY` | SEC 1 (RFC 5915) |
//! | `PRIVATE KEY` | PKCS#8 (RFC 5958) |
//!
//! Takes bytes; gives a pair of keys. Must never put what it read into an error.

use super::keys::KeyError;
use super::pair::{CURVES, Pair};
use super::wire::Fields;
use aws_lc_rs::rsa::{KeyPairComponents, PublicKeyComponents};
use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto_bigint::{BoxedUint, CheckedSub as _, NonZero};

const MAGIC: &[u8] = b"openssh-key-v1\0";

/// The key of a file.
pub(super) fn pair(file: &[u8]) -> Result<Pair, KeyError> {
    // What is around a key may be in any encoding.
    let text = String::from_utf8_lossy(file);
    let is_private = |(label, _): &(&str, &str)| label.ends_with("PRIVATE KEY");
    let Some((label, body)) = blocks(&text).find(is_private) else {
        let line = ["ssh-", "ecdsa-", "sk-"].iter().any(|start| text.trim_start().starts_with(start));
        let public = line || blocks(&text).any(|(label, _)| label.ends_with("PUBLIC KEY"));
        return Err(if public { KeyError::Public } else { KeyError::NoKey });
    };
    // What is encrypted in PEM's own way has headers (RFC 1421).
    if label == "ENCRYPTED PRIVATE KEY" || body.contains("ENCRYPTED") {
        return Err(KeyError::Encrypted);
    }
    let decode = || {
        let packed: String = body.split_whitespace().collect();
        STANDARD.decode(packed).map_err(|_| KeyError::Damaged)
    };
    match label {
        "OPENSSH PRIVATE KEY" => openssh(&decode()?),
        "RSA PRIVATE KEY" => RsaKeyPair::from_der(&decode()?).map(Pair::Rsa).map_err(|_| KeyError::Damaged),
        "EC PRIVATE KEY" => {
            let der = decode()?;
            ecdsa(|signing| EcdsaKeyPair::from_private_key_der(signing, &der).ok())
        }
        "PRIVATE KEY" => pkcs8(&decode()?),
        "DSA PRIVATE KEY" => Err(KeyError::Kind("ssh-dss".to_owned())),
        _ => Err(KeyError::NoKey),
    }
}

/// Label and content of each block of PEM.
fn blocks(mut text: &str) -> impl Iterator<Item = (&str, &str)> {
    std::iter::from_fn(move || {
        let (_, begun) = text.split_once("-----BEGIN ")?;
        let (label, rest) = begun.split_once("-----")?;
        let (body, after) = rest.split_once(&format!("-----END {label}-----"))?;
        text = after;
        Some((label, body))
    })
}

fn ecdsa(
    of: impl Fn(&'static aws_lc_rs::signature::EcdsaSigningAlgorithm) -> Option<EcdsaKeyPair>,
) -> Result<Pair, KeyError> {
    let found = CURVES.iter().find_map(|curve| Some(Pair::Ecdsa(of(curve.signing)?, curve)));
    found.ok_or(KeyError::Damaged)
}

/// What PKCS#8 calls the kinds that can be used: their object identifiers, and for ECDSA those of the curves.
const KINDS: [&[u8]; 5] = [
    &[0x2b, 0x65, 0x70],
    &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1],
    &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7],
    &[0x2b, 0x81, 4, 0, 0x22],
    &[0x2b, 0x81, 4, 0, 0x23],
];
/// Where they are: behind a few bytes of structure.
const KIND_BYTES: usize = 40;

fn pkcs8(der: &[u8]) -> Result<Pair, KeyError> {
    let head = der.get(..KIND_BYTES).unwrap_or(der);
    if !KINDS.iter().any(|kind| head.windows(kind.len()).any(|bytes| bytes == *kind)) {
        let others = "other than Ed25519, RSA, and ECDSA on P-256, P-384 and P-521";
        return Err(KeyError::Kind(others.to_owned()));
    }
    if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
        return Ok(Pair::Ed25519(pair));
    }
    if let Ok(pair) = RsaKeyPair::from_pkcs8(der) {
        return Ok(Pair::Rsa(pair));
    }
    ecdsa(|signing| EcdsaKeyPair::from_pkcs8(signing, der).ok())
}

fn openssh(bytes: &[u8]) -> Result<Pair, KeyError> {
    let private = private_part(bytes).ok_or(KeyError::Damaged)??;
    let mut fields = Fields(private);
    let kind = kind(&mut fields).ok_or(KeyError::Damaged)?;
    let pair = match kind {
        b"ssh-ed25519" => ed25519(&mut fields),
        b"ssh-rsa" => rsa(&mut fields),
        kind => match CURVES.iter().find(|curve| kind.strip_prefix(b"ecdsa-sha2-") == Some(curve.name.as_bytes())) {
            Some(curve) => on_curve(&mut fields, curve),
            None => {
                return Err(KeyError::Kind(
                    String::from_utf8_lossy(kind).chars().take(KIND_BYTES).flat_map(char::escape_debug).collect(),
                ));
            }
        },
    };
    pair.ok_or(KeyError::Damaged)
}

/// The private half; that of a key which needs a passphrase is an error.
fn private_part(bytes: &[u8]) -> Option<Result<&[u8], KeyError>> {
    let mut fields = Fields(bytes.strip_prefix(MAGIC)?);
    if fields.string()? != b"none" {
        return Some(Err(KeyError::Encrypted));
    }
    let (_derivation, _options) = (fields.string()?, fields.string()?);
    if fields.number()? != 1 {
        return None;
    }
    let _public = fields.string()?;
    fields.string().map(Ok)
}

/// The type of a private key, behind two numbers that are the same in one that was decrypted rightly.
fn kind<'a>(fields: &mut Fields<'a>) -> Option<&'a [u8]> {
    (fields.number()? == fields.number()?).then(|| fields.string())?
}

fn ed25519(fields: &mut Fields<'_>) -> Option<Pair> {
    let (public, private) = (fields.string()?, fields.string()?);
    Ed25519KeyPair::from_seed_and_public_key(private.get(..32)?, public).ok().map(Pair::Ed25519)
}

fn on_curve(fields: &mut Fields<'_>, curve: &'static super::pair::Curve) -> Option<Pair> {
    let (_name, point, scalar) = (fields.string()?, fields.string()?, fields.natural()?);
    let mut padded = vec![0; curve.size.checked_sub(scalar.len())?];
    padded.extend_from_slice(scalar);
    let pair = EcdsaKeyPair::from_private_key_and_public_key(curve.signing, &padded, point).ok()?;
    Some(Pair::Ecdsa(pair, curve))
}

fn rsa(fields: &mut Fields<'_>) -> Option<Pair> {
    let (n, e, d) = (fields.natural()?, fields.natural()?, fields.natural()?);
    let (q_inverse, p, q) = (fields.natural()?, fields.natural()?, fields.natural()?);
    // The file leaves out two of the numbers.
    let bits = u32::try_from(n.len().max(d.len())).ok()?.checked_mul(8)?;
    let number = |bytes: &[u8]| BoxedUint::from_be_slice(bytes, bits).ok();
    let exponent = |prime: &[u8]| {
        let below = number(prime)?.checked_sub(&BoxedUint::one_with_precision(bits)).into_option()?;
        let modulus = NonZero::new(below).into_option()?;
        Some(number(d)?.rem(&modulus).to_be_bytes())
    };
    let (d_p, d_q) = (exponent(p)?, exponent(q)?);
    let components =
        KeyPairComponents { public_key: PublicKeyComponents { n, e }, d, p, q, dP: &d_p, dQ: &d_q, qInv: q_inverse };
    RsaKeyPair::from_components(&components).ok().map(Pair::Rsa)
}
