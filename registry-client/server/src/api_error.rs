//! Errors as the distribution specification wants them ("Error Codes"): a code, its status, a JSON body.

use crate::answer::Answer;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use cooper_store::{NameError, StoreError};
use serde::Serialize;
use std::io::ErrorKind;

/// Everything that a client is told to be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    BadGateway,
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    Conflict,
    Denied,
    DigestInvalid,
    InsufficientStorage,
    Internal,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    MethodNotAllowed,
    Misdirected,
    NameInvalid,
    NameUnknown,
    PreconditionFailed,
    RangeInvalid,
    SizeInvalid,
    TooLarge,
    TooManyRequests,
    TooManyTags,
    Unauthorized,
    Unavailable,
    Unsupported,
}

/// Code, its text, its status. One text may have two statuses.
const TABLE: &[(Code, &str, StatusCode)] = &[
    (Code::BadGateway, "UNKNOWN", StatusCode::BAD_GATEWAY),
    (Code::BlobUnknown, "BLOB_UNKNOWN", StatusCode::NOT_FOUND),
    (Code::BlobUploadInvalid, "BLOB_UPLOAD_INVALID", StatusCode::BAD_REQUEST),
    (Code::BlobUploadUnknown, "BLOB_UPLOAD_UNKNOWN", StatusCode::NOT_FOUND),
    (Code::Conflict, "BLOB_UPLOAD_INVALID", StatusCode::CONFLICT),
    (Code::Denied, "DENIED", StatusCode::FORBIDDEN),
    (Code::DigestInvalid, "DIGEST_INVALID", StatusCode::BAD_REQUEST),
    (Code::InsufficientStorage, "UNKNOWN", StatusCode::INSUFFICIENT_STORAGE),
    (Code::Internal, "UNKNOWN", StatusCode::INTERNAL_SERVER_ERROR),
    (Code::ManifestBlobUnknown, "MANIFEST_BLOB_UNKNOWN", StatusCode::NOT_FOUND),
    (Code::ManifestInvalid, "MANIFEST_INVALID", StatusCode::BAD_REQUEST),
    (Code::ManifestUnknown, "MANIFEST_UNKNOWN", StatusCode::NOT_FOUND),
    (Code::MethodNotAllowed, "UNSUPPORTED", StatusCode::METHOD_NOT_ALLOWED),
    (Code::Misdirected, "UNSUPPORTED", StatusCode::MISDIRECTED_REQUEST),
    (Code::NameInvalid, "NAME_INVALID", StatusCode::BAD_REQUEST),
    (Code::NameUnknown, "NAME_UNKNOWN", StatusCode::NOT_FOUND),
    (Code::PreconditionFailed, "DENIED", StatusCode::PRECONDITION_FAILED),
    (Code::RangeInvalid, "BLOB_UPLOAD_INVALID", StatusCode::RANGE_NOT_SATISFIABLE),
    (Code::SizeInvalid, "SIZE_INVALID", StatusCode::BAD_REQUEST),
    (Code::TooLarge, "SIZE_INVALID", StatusCode::PAYLOAD_TOO_LARGE),
    (Code::TooManyRequests, "TOOMANYREQUESTS", StatusCode::TOO_MANY_REQUESTS),
    (Code::TooManyTags, "MANIFEST_INVALID", StatusCode::URI_TOO_LONG),
    (Code::Unauthorized, "UNAUTHORIZED", StatusCode::UNAUTHORIZED),
    (Code::Unavailable, "UNKNOWN", StatusCode::SERVICE_UNAVAILABLE),
    (Code::Unsupported, "UNSUPPORTED", StatusCode::BAD_REQUEST),
];

/// An answer that says what is wrong.
#[derive(Debug)]
pub struct ApiError {
    code: Code,
    message: String,
    detail: Option<String>,
    headers: Vec<(HeaderName, String)>,
}

impl ApiError {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), detail: None, headers: Vec::new() }
    }
    /// Too much of something is under way; later there may be room.
    pub fn busy(message: &str) -> Self {
        Self::new(Code::TooManyRequests, format!("{message}; try again later")).header(RETRY_AFTER, "10")
    }
    /// Is it this one?
    pub fn is(&self, code: Code) -> bool {
        self.code == code
    }
    /// Names the object.
    pub fn about(mut self, detail: impl ToString) -> Self {
        self.detail = Some(detail.to_string());
        self
    }
    pub fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
    /// A failure of this side. The log has the cause; the client has no use for it.
    pub fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error, "a request failed");
        Self::new(Code::Internal, "the registry failed; its log says why")
    }
}

#[derive(Serialize)]
struct Body<'a> {
    errors: [Entry<'a>; 1],
}

#[derive(Serialize)]
struct Entry<'a> {
    code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let row = TABLE.iter().find(|(code, ..)| *code == self.code);
        let (text, status) = row.map_or(("UNKNOWN", StatusCode::INTERNAL_SERVER_ERROR), |(_, t, s)| (*t, *s));
        let entry = Entry { code: text, message: &self.message, detail: self.detail.as_deref() };
        // A struct of three texts can always be written.
        let body = serde_json::to_vec(&Body { errors: [entry] }).unwrap_or_default();
        let answer = Answer::new(status).json(body);
        self.headers.into_iter().fold(answer, |a, (name, value)| a.header(name, value)).into_response()
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(cause) => Self::new(Code::DigestInvalid, cause.to_string()),
            StoreError::MissingBlob(digest) => Self::new(Code::BlobUnknown, "there is no such blob").about(digest),
            StoreError::Io { ref source, .. }
                if matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) =>
            {
                tracing::error!(error = &error as &dyn std::error::Error, "the disk is full");
                Self::new(Code::InsufficientStorage, "the registry's disk is full")
            }
            other => Self::internal(&other),
        }
    }
}

impl From<NameError> for ApiError {
    fn from(error: NameError) -> Self {
        Self::new(Code::NameInvalid, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_and_paths_are_not() {
        let io = |kind: ErrorKind| StoreError::Io {
            action: "writing",
            path: "/home/secret".into(),
            source: std::io::Error::from(kind),
        };
        for (kind, code) in
            [(ErrorKind::StorageFull, Code::InsufficientStorage), (ErrorKind::PermissionDenied, Code::Internal)]
        {
            let error = ApiError::from(io(kind));
            assert_eq!(error.code, code);
            assert!(!format!("{error:?}").contains("secret"));
        }
    }
}
