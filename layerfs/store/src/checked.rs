//! Small values that may be lost: JSON behind its own checksum, so that what a power cut tore is seen.
//!
//! Takes a value, gives bytes, and back. A reader treats every failure as "nothing is there".

use crate::StoreError;
use cooper_image::Digest;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The bytes of a value.
pub fn encode(what: &'static str, value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    let json = serde_json::to_vec(value).map_err(|source| StoreError::Encode { what, source })?;
    let mut bytes = Digest::sha256(&json).hex().as_bytes().to_vec();
    bytes.push(b'\n');
    bytes.extend(json);
    bytes.push(b'\n');
    Ok(bytes)
}

/// The value, or what is wrong with its bytes.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is no text")?;
    let (sum, json) = text.split_once('\n').ok_or("it has no checksum")?;
    let json = json.strip_suffix('\n').ok_or("it is torn")?;
    if Digest::sha256(json).hex() != sum {
        return Err("its checksum is wrong");
    }
    serde_json::from_str(json).map_err(|_| "it has another shape")
}
