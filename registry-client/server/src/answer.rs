//! Answers without a stream, and the headers that this protocol adds to HTTP's.

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;

/// Digest of what a response is about (distribution-spec, "Pulling manifests").
pub const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// Digest of the manifest that a pushed one refers to (distribution-spec, "Pushing Manifests with Subject").
pub const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
/// Which filters a list of referrers went through.
pub const OCI_FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");
/// A tag that a pushed manifest got by the query; one header for each (distribution-spec, "Pushing Manifests").
pub const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");
/// Identifies an upload, for Docker's clients.
pub const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
/// Tells Docker's clients that this is a registry.
pub const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// A response in the making.
pub struct Answer {
    status: StatusCode,
    headers: Vec<(HeaderName, String)>,
    body: Vec<u8>,
    /// Length of the body that a GET would have, for answers to HEAD.
    length: Option<u64>,
}

impl Answer {
    pub fn new(status: StatusCode) -> Self {
        Self { status, headers: vec![(API_VERSION, "registry/2.0".to_owned())], body: Vec::new(), length: None }
    }
    pub fn ok() -> Self {
        Self::new(StatusCode::OK)
    }
    pub fn header(mut self, name: HeaderName, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }
    pub fn location(self, path: impl ToString) -> Self {
        self.header(LOCATION, path)
    }
    pub fn body(mut self, media_type: impl ToString, bytes: Vec<u8>) -> Self {
        self.body = bytes;
        self.header(CONTENT_TYPE, media_type)
    }
    pub fn json(self, bytes: Vec<u8>) -> Self {
        self.body("application/json", bytes)
    }
    /// Announces a body that is not sent.
    pub fn without_body(mut self, media_type: impl ToString, length: u64) -> Self {
        self.length = Some(length);
        self.header(CONTENT_TYPE, media_type)
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response<Body> {
        let length = self.length.unwrap_or(self.body.len() as u64);
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        for (name, value) in self.headers {
            // Every value is a digest, a checked name or a media type that came in a header or in
            // JSON; the last kind may hold what no header can, and is left out then.
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.append(name, value);
            }
        }
        response
    }
}
