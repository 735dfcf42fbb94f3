//! Names that say by a digest which image they mean.
//!
//! Takes names and what is about to get them. Must never let such a name lead to another image: whoever writes it relies on
//! the digest, and nobody compares what the store has under it.

use super::shipment::{Name, Shipment};
use crate::EngineError;
use cooper_image::{Descriptor, Reference};

/// Can it have that name? One with a digest is that image's alone.
pub fn may_have(d: &Descriptor, name: &Reference) -> bool {
    name.digest().is_none_or(|pinned| *pinned == d.digest)
}

/// [`may_have`], as an error.
///
/// # Errors
/// [`EngineError::Request`] with this hint, when the name is another image's.
pub fn check_name(name: &Reference, d: &Descriptor, hint: &str) -> Result<(), EngineError> {
    if may_have(d, name) {
        return Ok(());
    }
    Err(EngineError::Request {
        message: format!(
            "{name} names one image for ever, so nothing else can get that name, and {} is another",
            d.digest
        ),
        hint: hint.to_owned(),
    })
}

/// As [`check_name`], of all that is brought under full names.
pub(super) fn check_names(all: &Shipment, hint: &str) -> Result<(), EngineError> {
    all.tops().iter().try_for_each(|top| {
        top.names.iter().try_for_each(|name| match name {
            Name::Full(name) => check_name(name, &top.descriptor, hint),
            Name::Tag(_) => Ok(()),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorClass;
    use cooper_image::MediaType;

    #[test]
    fn a_name_with_a_digest_is_one_images() {
        let d = Descriptor::of(MediaType::OciManifest, b"{}");
        let other = Descriptor::of(MediaType::OciManifest, b"other").digest;
        for (name, fine) in [
            ("app:1".to_owned(), true),
            ("app".to_owned(), true),
            (format!("app@{}", d.digest), true),
            (format!("app:1@{}", d.digest), true),
            (format!("app@{other}"), false),
            (format!("app:1@{other}"), false),
        ] {
            let checked = check_name(&name.parse().unwrap(), &d, "give a tag");
            assert_eq!(checked.is_ok(), fine, "{name}: {checked:?}");
            if let Err(error) = checked {
                assert_eq!((error.class(), error.hint().as_deref()), (ErrorClass::Usage, Some("give a tag")));
            }
        }
    }
}
