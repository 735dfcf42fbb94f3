//! Content digests (image-spec, descriptor.md, "Digests"), and the three things they can name.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256, Sha512};
use std::fmt;
use std::str::FromStr;

/// Why a text is not a digest, or bytes are not what a digest says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// The text does not follow `algorithm:hex` with the exact length of the algorithm.
    #[error("not a digest: {0:?} (expected sha256: and 64 lower-case hexadecimal digits)")]
    Malformed(String),
    /// An algorithm that Cooper does not compute.
    #[error("digest algorithm {0:?} is not supported (sha256 and sha512 are)")]
    Algorithm(String),
    /// The bytes hash to something else.
    #[error("digest mismatch: expected {expected}, got {actual}")]
    Mismatch {
        /// What was promised.
        expected: Digest,
        /// What the bytes hash to.
        actual: Digest,
    },
    /// The number of bytes differs from the descriptor.
    #[error("size mismatch: expected {expected} bytes, got {actual}")]
    Size {
        /// What was promised, in bytes.
        expected: u64,
        /// What came, in bytes.
        actual: u64,
    },
}

/// A hash algorithm registered in image-spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256, the one that everybody uses.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// The registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }
    fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

impl FromStr for Algorithm {
    type Err = DigestError;
    fn from_str(name: &str) -> Result<Self, DigestError> {
        match name {
            "sha256" => Ok(Self::Sha256),
            "sha512" => Ok(Self::Sha512),
            _ => Err(DigestError::Algorithm(clip(name))),
        }
    }
}

/// `algorithm:hex`, always well-formed; safe as a file name once split.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    hex: String,
}

impl Digest {
    /// Digest of bytes in memory.
    pub fn sha256(bytes: impl AsRef<[u8]>) -> Self {
        let mut h = Hasher::new();
        h.update(bytes.as_ref());
        h.finish()
    }
    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
    /// The lower-case hexadecimal part.
    pub fn hex(&self) -> &str {
        &self.hex
    }
    /// The first twelve hexadecimal digits, for people.
    pub fn short(&self) -> &str {
        &self.hex[..12]
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex)
    }
}
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl FromStr for Digest {
    type Err = DigestError;
    fn from_str(s: &str) -> Result<Self, DigestError> {
        let (name, hex) = s.split_once(':').ok_or_else(|| DigestError::Malformed(clip(s)))?;
        let algorithm: Algorithm = name.parse()?;
        let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if hex.len() != algorithm.hex_len() || !hex.bytes().all(lower_hex) {
            return Err(DigestError::Malformed(clip(s)));
        }
        Ok(Self { algorithm, hex: hex.to_owned() })
    }
}
fn clip(s: &str) -> String {
    s.chars().take(160).collect()
}
impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Running hash of a stream. Also an `io::Write` sink.
#[derive(Clone)]
pub struct Hasher(Engine);

#[derive(Clone)]
enum Engine {
    Sha256(Sha256),
    Sha512(Box<Sha512>),
}

impl Hasher {
    /// SHA-256.
    pub fn new() -> Self {
        Self(Engine::Sha256(Sha256::new()))
    }
    /// Any supported algorithm, to verify against a digest that somebody gave.
    pub fn with(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::new(),
            Algorithm::Sha512 => Self(Engine::Sha512(Box::new(Sha512::new()))),
        }
    }
    /// Feeds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Engine::Sha256(h) => h.update(bytes),
            Engine::Sha512(h) => h.update(bytes),
        }
    }
    /// The digest of everything fed.
    pub fn finish(self) -> Digest {
        match self.0 {
            Engine::Sha256(h) => Digest { algorithm: Algorithm::Sha256, hex: hex(&h.finalize()) },
            Engine::Sha512(h) => Digest { algorithm: Algorithm::Sha512, hex: hex(&h.finalize()) },
        }
    }
}
impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}
impl std::io::Write for Hasher {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.update(buf);
        Ok(buf.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)] as char, DIGITS[usize::from(b & 15)] as char]).collect()
}

/// Digest of a layer's uncompressed tar (image-spec, config.md, "Layer DiffID").
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiffId(pub Digest);

impl fmt::Display for DiffId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Name of a stack of layers (image-spec, config.md, "Layer ChainID"). The empty stack has none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChainId(pub Digest);

impl ChainId {
    /// Name of the stack, lowest layer first; `None` for no layers.
    pub fn of(layers: &[DiffId]) -> Option<Self> {
        let (first, rest) = layers.split_first()?;
        let mut id = first.0.clone();
        for next in rest {
            id = Digest::sha256(format!("{id} {next}"));
        }
        Some(Self(id))
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Witness that the bytes within were compared with a digest and size. The only constructor compares.
#[derive(Debug, Clone)]
pub struct Verified<T> {
    value: T,
    digest: Digest,
}

impl<T: AsRef<[u8]>> Verified<T> {
    /// Compares size first, then content.
    ///
    /// # Errors
    /// [`DigestError::Size`] or [`DigestError::Mismatch`].
    pub fn check(value: T, digest: &Digest, size: Option<u64>) -> Result<Self, DigestError> {
        let bytes = value.as_ref();
        if let Some(expected) = size
            && bytes.len() as u64 != expected
        {
            return Err(DigestError::Size { expected, actual: bytes.len() as u64 });
        }
        let mut hasher = Hasher::with(digest.algorithm());
        hasher.update(bytes);
        let actual = hasher.finish();
        if actual != *digest {
            return Err(DigestError::Mismatch { expected: digest.clone(), actual });
        }
        Ok(Self { value, digest: actual })
    }
}
impl<T> Verified<T> {
    /// The digest that was compared.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }
    /// The bytes.
    pub fn get(&self) -> &T {
        &self.value
    }
    /// The bytes, owned.
    pub fn into_inner(self) -> T {
        self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammar_is_strict() {
        let good = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(good.parse::<Digest>().unwrap(), Digest::sha256(b""));
        for bad in [
            "",
            "sha256:",
            "sha256:../..",
            "md5:abc",
            &good[..70],
            &good.to_uppercase(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85/",
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn chain_of_one_is_its_layer_and_order_matters() {
        let (a, b) = (DiffId(Digest::sha256("a")), DiffId(Digest::sha256("b")));
        assert_eq!(ChainId::of(&[]), None);
        assert_eq!(ChainId::of(std::slice::from_ref(&a)).unwrap().0, a.0);
        assert_ne!(ChainId::of(&[a.clone(), b.clone()]), ChainId::of(&[b, a]));
    }

    #[test]
    fn verification_refuses_other_bytes_and_sizes() {
        let d = Digest::sha256("right");
        assert!(Verified::check(b"right", &d, Some(5)).is_ok());
        assert!(matches!(Verified::check(b"wrong", &d, Some(5)), Err(DigestError::Mismatch { .. })));
        assert!(matches!(Verified::check(b"right", &d, Some(6)), Err(DigestError::Size { .. })));
    }
}
