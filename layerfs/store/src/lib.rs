//! Content-addressed store on disk: blobs, trees, refs, step records.
#![forbid(unsafe_code)]
