//! An agent of this process: private keys in memory that list themselves and sign (draft-miller-ssh-agent).
//!
//! Takes key files and requests; gives answers. Must never give a private key back.

use super::pair::Pair;
use super::wire::{Fields, put_number, put_string};
use super::{FAILURE, LIST, SIGN, pem};
use std::fmt;

/// Answers of draft-miller-ssh-agent to a list and to a signature.
const LISTED: u8 = 12;
const SIGNED: u8 = 14;

/// Private keys.
#[derive(Default)]
pub struct Keys(Vec<Key>);

struct Key {
    /// The public key as the protocol writes it, by which it is asked for.
    public: Vec<u8>,
    pair: Pair,
}

/// Why a file gives no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing of the forms that private keys have.
    #[error("it is no private key in OpenSSH's form or in PEM")]
    NoKey,
    /// A public key.
    #[error("it is a public key; the private one is wanted")]
    Public,
    /// It needs a passphrase.
    #[error("the key is protected by a passphrase")]
    Encrypted,
    /// A kind of key that nothing here can sign with.
    #[error("keys of type {0} cannot be used from a file")]
    Kind(String),
    /// The form is known, what is in it makes no key.
    #[error("the key is damaged, or smaller or larger than is safe")]
    Damaged,
}

impl KeyError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Encrypted | Self::Kind(_) => {
                "put the key into an agent with ssh-add, and give --ssh ID, or --ssh ID=SOCKET with the agent's socket"
            }
            Self::NoKey | Self::Public | Self::Damaged => {
                "give an agent's socket, or the file of a private key as ssh-keygen writes it: RSA of 2048 to 8192 bits, \
                 ECDSA or Ed25519"
            }
        }
    }
}

impl Keys {
    /// Adds the key of a file: OpenSSH's form, or PEM with PKCS#1, PKCS#8 or SEC 1, as BuildKit takes them.
    ///
    /// # Errors
    /// There is no key in it that can sign here.
    pub fn add(&mut self, file: &[u8]) -> Result<(), KeyError> {
        let pair = pem::pair(file)?;
        self.0.push(Key { public: pair.public(), pair });
        Ok(())
    }

    /// The answer to a request; both without their length.
    pub(super) fn answer(&self, request: &[u8]) -> Vec<u8> {
        let mut fields = Fields(request);
        let answer = match fields.byte() {
            Some(LIST) => Some(self.list()),
            Some(SIGN) => self.sign(&mut fields),
            _ => None,
        };
        answer.unwrap_or_else(|| vec![FAILURE])
    }

    fn list(&self) -> Vec<u8> {
        let mut answer = vec![LISTED];
        put_number(&mut answer, self.0.len());
        for key in &self.0 {
            put_string(&mut answer, &key.public);
            // A comment, which may name a person or a machine.
            put_string(&mut answer, b"");
        }
        answer
    }

    fn sign(&self, fields: &mut Fields<'_>) -> Option<Vec<u8>> {
        let (public, data, flags) = (fields.string()?, fields.string()?, fields.number()?);
        let key = self.0.iter().find(|key| key.public == public)?;
        let mut answer = vec![SIGNED];
        put_string(&mut answer, &key.pair.sign(data, flags)?);
        Some(answer)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.0.len())
    }
}
