//! Blobs in both directions: verified and resumed while they stream in, opened anew for each try
//! on the way out.

pub(crate) mod body;
pub(crate) mod growing;
mod parts;
pub(crate) mod pull;
pub(crate) mod push;
mod windows;
