//! Key pairs as ssh knows them: how the public half is written, and what a signature looks like.
//!
//! | algorithm | from |
//! |---|---|
//! | `ssh-ed25519` | RFC 8709 |
//! | `ecdsa-sha2-nistp256`, `-nistp384`, `-nistp521` | RFC 5656 |
//! | `rsa-sha2-256`, `rsa-sha2-512` | RFC 8332; never SHA-1 |

use super::wire::{put_natural, put_string};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RsaKeyPair,
};

/// Flags of a request for an RSA signature: which digest (draft-miller-ssh-agent, section 3.6.1).
const SHA_256: u32 = 2;
const SHA_512: u32 = 4;

/// A private key with its public half.
pub(super) enum Pair {
    Ed25519(Ed25519KeyPair),
    Ecdsa(EcdsaKeyPair, &'static Curve),
    Rsa(RsaKeyPair),
}

/// A curve of ECDSA.
pub(super) struct Curve {
    /// As in `nistp256`.
    pub(super) name: &'static str,
    pub(super) signing: &'static EcdsaSigningAlgorithm,
    /// Bytes of a coordinate.
    pub(super) size: usize,
}

/// Those that ssh has.
pub(super) static CURVES: [Curve; 3] = [
    Curve { name: "nistp256", signing: &ECDSA_P256_SHA256_FIXED_SIGNING, size: 32 },
    Curve { name: "nistp384", signing: &ECDSA_P384_SHA384_FIXED_SIGNING, size: 48 },
    Curve { name: "nistp521", signing: &ECDSA_P521_SHA512_FIXED_SIGNING, size: 66 },
];

impl Curve {
    fn algorithm(&self) -> String {
        format!("ecdsa-sha2-{}", self.name)
    }
}

impl Pair {
    /// The public key.
    pub(super) fn public(&self) -> Vec<u8> {
        let mut blob = Vec::new();
        match self {
            Self::Ed25519(pair) => {
                put_string(&mut blob, b"ssh-ed25519");
                put_string(&mut blob, pair.public_key().as_ref());
            }
            Self::Ecdsa(pair, curve) => {
                put_string(&mut blob, curve.algorithm().as_bytes());
                put_string(&mut blob, curve.name.as_bytes());
                put_string(&mut blob, pair.public_key().as_ref());
            }
            Self::Rsa(pair) => {
                put_string(&mut blob, b"ssh-rsa");
                put_natural(&mut blob, pair.public_key().exponent().big_endian_without_leading_zero());
                put_natural(&mut blob, pair.public_key().modulus().big_endian_without_leading_zero());
            }
        }
        blob
    }

    /// A signature with its algorithm in front; `None` for one that is not made here.
    pub(super) fn sign(&self, data: &[u8], flags: u32) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        let (algorithm, signature) = match self {
            Self::Ed25519(pair) => ("ssh-ed25519".to_owned(), pair.try_sign(data).ok()?.as_ref().to_vec()),
            Self::Ecdsa(pair, curve) => {
                let both = pair.sign(&random, data).ok()?;
                let (r, s) = both.as_ref().split_at_checked(curve.size)?;
                let mut signature = Vec::new();
                put_natural(&mut signature, r);
                put_natural(&mut signature, s);
                (curve.algorithm(), signature)
            }
            Self::Rsa(pair) => {
                let (name, padding) = match flags {
                    f if f & SHA_512 != 0 => ("rsa-sha2-512", &RSA_PKCS1_SHA512),
                    f if f & SHA_256 != 0 => ("rsa-sha2-256", &RSA_PKCS1_SHA256),
                    // That would be SHA-1, which no server of today takes.
                    _ => return None,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, data, &mut signature).ok()?;
                (name.to_owned(), signature)
            }
        };
        let mut out = Vec::new();
        put_string(&mut out, algorithm.as_bytes());
        put_string(&mut out, &signature);
        Some(out)
    }
}
