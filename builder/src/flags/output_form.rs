//! The fields of `-o` about the form of an image: compression and annotations.

use cooper_engine::output::Compression;
use cooper_image::annotations::{Annotation, AnnotationError};

/// Why a field cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// BuildKit's format for lazy pulling.
    #[error("compression=estargz is not supported; the methods are uncompressed, gzip and zstd")]
    Estargz,
    /// No such method.
    #[error("there is no compression {0:?}; the methods are uncompressed, gzip and zstd")]
    Method(String),
    /// A level that the method does not have.
    #[error("compression-level={level:?} is not a level of {method}, which has 0 to {most}")]
    Level {
        /// The level, as written.
        level: String,
        /// The method.
        method: &'static str,
        /// Its highest level.
        most: u32,
    },
    /// A level without a method.
    #[error("compression-level={0:?} has no meaning without compression")]
    LevelOfNone(String),
    /// What cannot be read as an annotation.
    #[error(transparent)]
    Annotation(#[from] AnnotationError),
}

/// Highest deflate level.
const GZIP_MOST: u32 = 9;
/// Highest level of zstd.
const ZSTD_MOST: u32 = 22;
/// What zstd itself takes when nobody says.
const ZSTD_USUAL: i32 = 3;

/// The method and level that are asked for.
pub fn compression(method: Option<&str>, level: Option<&str>) -> Result<Compression, FormError> {
    let level_of = |method: &'static str, most: u32| -> Result<Option<u32>, FormError> {
        let Some(text) = level else { return Ok(None) };
        let wrong = || FormError::Level { level: text.to_owned(), method, most };
        text.parse::<u32>().ok().filter(|n| *n <= most).map(Some).ok_or_else(wrong)
    };
    match method.unwrap_or("gzip") {
        "gzip" => Ok(level_of("gzip", GZIP_MOST)?.map_or_else(Compression::default, Compression::Gzip)),
        "zstd" => {
            let level = level_of("zstd", ZSTD_MOST)?.and_then(|n| i32::try_from(n).ok()).filter(|n| *n > 0);
            Ok(Compression::Zstd(level.unwrap_or(ZSTD_USUAL)))
        }
        "uncompressed" => match level {
            Some(level) => Err(FormError::LevelOfNone(level.to_owned())),
            None => Ok(Compression::Plain),
        },
        "estargz" => Err(FormError::Estargz),
        other => Err(FormError::Method(other.to_owned())),
    }
}

/// The annotation in a field; `None` when it is another field.
pub fn annotation(key: &str, value: &str) -> Option<Result<Annotation, FormError>> {
    Annotation::parse_field(key, value).map(|read| read.map_err(FormError::from))
}
