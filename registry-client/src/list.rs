//! Lists in pages: the tags of a repository, the repositories of a registry. Takes a conversation;
//! gives the names, each once and in the order of the registry. Must never follow a link to another
//! origin, nor a list that has no end.

use crate::api::{Route, next_link};
use crate::http::authority;
use crate::redact::excerpt;
use crate::session::{Call, Session};
use crate::{Asked, RegistryError};
use cooper_image::limits;
use cooper_image::reference::{valid_component, valid_tag};
use reqwest::{Method, Url};
use serde::{Deserialize, Deserializer};
use std::collections::HashSet;

/// Most names in one list.
const NAMES: usize = 1_000_000;
/// Most pages one after another that hold nothing new; pages are empty where we may see nothing of them.
const BARREN: usize = 100;

/// The tags of the conversation's repository, the first so many.
pub(crate) async fn tags(s: &Session<'_>, most: usize) -> Result<Vec<String>, RegistryError> {
    collect(s, &Route::Tags, |page: Page| page.tags, valid_tag, most).await
}

/// The repositories of the conversation's registry, the first so many.
pub(crate) async fn catalog(s: &Session<'_>, most: usize) -> Result<Vec<String>, RegistryError> {
    let valid = |name: &str| name.len() <= 255 && name.split('/').all(valid_component);
    collect(s, &Route::Catalog, |page: Page| page.repositories, valid, most).await
}

/// Names, or the `null` that registries write for none.
type Names = Option<Vec<String>>;

/// One page. What is not there at all is `None`.
#[derive(Deserialize)]
struct Page {
    #[serde(default, deserialize_with = "present")]
    tags: Option<Names>,
    #[serde(default, deserialize_with = "present")]
    repositories: Option<Names>,
}

fn present<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Names>, D::Error> {
    Names::deserialize(field).map(Some)
}

/// Follows the pages to the end, or until so many names are known. How many names a page holds is left to the registry: some refuse to be told.
async fn collect(
    s: &Session<'_>,
    route: &Route<'_>,
    names_of: impl Fn(Page) -> Option<Names>,
    valid: impl Fn(&str) -> bool,
    most: usize,
) -> Result<Vec<String>, RegistryError> {
    let mut call = s.call(Method::GET, route);
    let (mut names, mut known, mut asked_for) = (Vec::new(), HashSet::new(), HashSet::new());
    let mut budget = s.budget();
    let mut barren = 0;
    loop {
        let (response, body) = s.document(&call, limits::MANIFEST_BYTES, &mut budget).await?;
        // An array would be taken for the object's fields in their order.
        let is_object = body.trim_ascii_start().starts_with(b"{");
        let page = serde_json::from_slice(&body).ok().filter(|_| is_object).and_then(&names_of);
        let page = page.ok_or_else(|| wrong(s, &call, "the answer is no such list".to_owned()))?;
        let before = names.len();
        for name in page.unwrap_or_default() {
            if !valid(&name) {
                let shown = excerpt(name.as_bytes());
                return Err(wrong(s, &call, format!("it names \"{shown}\", which no registry may have")));
            }
            if known.insert(name.clone()) {
                names.push(name);
            }
        }
        if names.len() >= most {
            names.truncate(most);
            return Ok(names);
        }
        if names.len() > NAMES {
            return Err(too_long(s, &call, format!("{NAMES} names")));
        }
        barren = if names.len() > before { 0 } else { barren + 1 };
        let Some(link) = next_link(response.headers()) else { return Ok(names) };
        if barren >= BARREN {
            return Err(too_long(s, &call, format!("{BARREN} pages without a new name")));
        }
        let next = followed(s, &call, &link)?;
        asked_for.insert(std::mem::replace(&mut call.url, next));
        if asked_for.contains(&call.url) {
            return Err(wrong(s, &call, "its next page is one that was read before".to_owned()));
        }
        budget.progressed();
    }
}

/// The URL of the next page, relative to that of this one.
pub(crate) fn followed(s: &Session<'_>, call: &Call, link: &str) -> Result<Url, RegistryError> {
    let mut next = call.url.join(link).map_err(|_| wrong(s, call, "its Link is malformed".to_owned()))?;
    next.set_fragment(None);
    if !s.is_own(&next) || !next.username().is_empty() || next.password().is_some() {
        let place = excerpt(authority(&next).as_bytes());
        return Err(wrong(s, call, format!("its next page is at another place: {}://{place}", next.scheme())));
    }
    Ok(next)
}

fn asked(s: &Session<'_>, call: &Call) -> Box<Asked> {
    Box::new(s.asked(call))
}

fn wrong(s: &Session<'_>, call: &Call, cause: String) -> RegistryError {
    RegistryError::Protocol { asked: asked(s, call), cause }
}

fn too_long(s: &Session<'_>, call: &Call, limit: String) -> RegistryError {
    RegistryError::TooLarge { asked: asked(s, call), limit }
}
