//! Indexes within the index that is made: what is known of the images in them, which the outer one does not list.
//!
//! Takes the entries of a draft; reads what is in those that are indexes. Must never change anything in them.

use super::{Entry, IndexDraft, Kind};
use crate::{EngineError, resolve};
use cooper_image::{Descriptor, Leaf, Leaves};
use serde_json::json;

impl IndexDraft {
    /// Would an index within the index, of the last source or of those before, keep what it has for a platform for which
    /// the other side has an image?
    pub(super) fn check_within(&self) -> Result<(), EngineError> {
        let is_new = |entry: &Entry| entry.source == self.sources;
        for within in self.entries.iter().filter(|entry| entry.is_index()) {
            let has = self.kinds(within)?;
            for other in self.entries.iter().filter(|other| is_new(other) != is_new(within)) {
                let others = self.kinds(other)?;
                let message = match (&has, &others) {
                    (Some(has), Some(others)) => has.iter().find(|kind| others.contains(kind)).map(|(platform, _)| {
                        format!(
                            "{} is an index within the index: what it has for {platform} would stay",
                            within.digest()
                        )
                    }),
                    (None, Some(others)) if others.is_empty() => None,
                    _ => Some(format!(
                        "{} is an index within the index, and not there: nobody knows what it has for the same platforms",
                        within.digest()
                    )),
                };
                if let Some(message) = message {
                    let hint = "give its images one by one; or --beside, if what is there is to stay".to_owned();
                    return Err(EngineError::Request { message, hint });
                }
            }
        }
        Ok(())
    }

    /// For what an entry is: what it says, or of an index what all the images in it say. `None` of one that is not there.
    fn kinds(&self, entry: &Entry) -> Result<Option<Vec<Kind>>, EngineError> {
        Ok(match entry.is_index() {
            true => self
                .images_within(entry)?
                .map(|images| images.into_iter().filter_map(|d| Some((d.platform?, d.artifact_type))).collect()),
            false => Some(entry.kind().into_iter().collect()),
        })
    }

    /// The images of an index within the index, as that describes them. `None` when it, or one within it, is not there.
    fn images_within(&self, entry: &Entry) -> Result<Option<Vec<Descriptor>>, EngineError> {
        let Some((origin, d)) = self.origins.iter().find(|(_, d)| entry.value["digest"] == json!(d.digest)) else {
            return Ok(None);
        };
        let (mut images, mut leaves) = (Vec::new(), Leaves::default());
        let mut next = Some(Leaf::Index(d.clone()));
        while let Some(leaf) = next {
            match leaf {
                Leaf::Image(image) => images.push(image),
                Leaf::Index(d) => match origin.document(&d) {
                    Err(lost) if lost.is_absence() => return Ok(None),
                    bytes => leaves.enter(resolve::index(&origin.place(), &d, &bytes?)?),
                },
            }
            next = leaves.step().map_err(|e| resolve::invalid(&origin.place(), e.to_string()))?;
        }
        Ok(Some(images))
    }

    /// The index within the index that has such an image, which nothing can be said of here.
    pub(super) fn around(&self, is: impl Fn(&Descriptor) -> bool) -> Result<Option<&str>, EngineError> {
        for within in self.entries.iter().filter(|entry| entry.is_index()) {
            if self.images_within(within)?.is_some_and(|images| images.iter().any(&is)) {
                return Ok(Some(within.digest()));
            }
        }
        Ok(None)
    }
}

/// Why nothing can be said of an image that an index within the index has.
pub(super) fn is_within(which: &str, within: &str) -> EngineError {
    EngineError::Request {
        message: format!("{which} is an entry of {within}, an index within the index, and is described there"),
        hint: format!("give {within} to say something of it as a whole, or make an index of the images alone"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::memory::Types;
    use super::super::tests::{annotation, finished, place};
    use super::super::{EntryChange, SamePlatform};
    use super::*;
    use cooper_image::{MediaType, Platform};

    /// Whoever looks into it would get what it has from before.
    #[test]
    fn an_index_within_takes_no_other_for_its_platforms() {
        let (mut place, d, _) = place();
        let outer = place.lead(
            &MediaType::OciIndex,
            &json!({"schemaVersion": 2, "mediaType": MediaType::OciIndex,
                "manifests": [{"mediaType": d.media_type, "digest": d.digest, "size": d.size}]}),
        );
        let new = place.image(Types::Oci, &Platform::linux("amd64"), &[]);
        for (first, second) in [(&outer, &new), (&new, &outer)] {
            let mut draft = IndexDraft::default();
            draft.add(&place.shared(), first, SamePlatform::Goes).unwrap();
            let refused = draft.add(&place.shared(), second, SamePlatform::Goes).unwrap_err();
            assert!(refused.to_string().contains(&d.digest.to_string()), "{refused}");
            // What is there already is for no other platform than before.
            let mut draft = IndexDraft::default();
            draft.add(&place.shared(), &outer, SamePlatform::Goes).unwrap();
            draft.add(&place.shared(), &outer, SamePlatform::Goes).unwrap();
            let mut draft = IndexDraft::default();
            draft.add(&place.shared(), first, SamePlatform::Stays).unwrap();
            draft.add(&place.shared(), second, SamePlatform::Stays).unwrap();
        }
        // What it does not have can be added beside it, also further inside; of what is not there nobody knows.
        let of = |d: &Descriptor| json!({"mediaType": d.media_type, "digest": d.digest, "size": d.size});
        let index =
            |d: &Descriptor| json!({"schemaVersion": 2, "mediaType": MediaType::OciIndex, "manifests": [of(d)]});
        let deep = place.lead(&MediaType::OciIndex, &index(&outer));
        let arm = place.image(Types::Oci, &Platform::linux("arm64"), &[]);
        let lost = place.lead(&MediaType::OciIndex, &index(&Descriptor::of(MediaType::OciIndex, b"lost")));
        let of_arm = place.lead(
            &MediaType::OciIndex,
            &json!({"schemaVersion": 2, "mediaType": MediaType::OciIndex, "manifests": [
                {"mediaType": arm.media_type, "digest": arm.digest, "size": arm.size,
                    "platform": {"os": "linux", "architecture": "arm64"}}]}),
        );
        let of_arm = place.lead(&MediaType::OciIndex, &index(&of_arm));
        for (one, other, fine) in [
            (&outer, &arm, true),
            (&deep, &arm, true),
            (&deep, &new, false),
            (&outer, &of_arm, true),
            (&outer, &deep, false),
            (&lost, &arm, false),
        ] {
            for (first, second) in [(one, other), (other, one)] {
                let mut draft = IndexDraft::default();
                draft.add(&place.shared(), first, SamePlatform::Goes).unwrap();
                let added = draft.add(&place.shared(), second, SamePlatform::Goes);
                assert_eq!(added.is_ok(), fine, "{added:?}");
            }
        }
    }

    #[test]
    fn what_an_index_within_has_is_described_there() {
        let (mut place, d, entries) = place();
        let index = json!({"schemaVersion": 2, "mediaType": MediaType::OciIndex,
            "manifests": [{"mediaType": d.media_type, "digest": d.digest, "size": d.size}]});
        let outer = place.lead(&MediaType::OciIndex, &index);
        let mut draft = IndexDraft::of(&place.shared(), &outer).unwrap();
        let change = EntryChange { annotations: vec![("a".to_owned(), "b".to_owned())], ..EntryChange::default() };
        for which in ["linux/amd64", entries[0]["digest"].as_str().unwrap()] {
            let refused = draft.change(which, &change).unwrap_err();
            let says = format!("{which} is an entry of {}, an index within the index", d.digest);
            assert!(refused.to_string().starts_with(&says), "{refused}");
        }
        let refused = draft.annotate(&[annotation("linux/amd64")]).unwrap_err();
        assert!(refused.to_string().contains("an index within the index"), "{refused}");
        assert!(draft.change("linux/arm64", &change).unwrap_err().to_string().starts_with("the index has no entry"));
        draft.change(&d.digest.to_string(), &change).unwrap();
        assert_eq!(finished(&draft)["manifests"][0]["annotations"], json!({"a": "b"}));
    }
}
