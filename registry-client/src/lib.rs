//! OCI distribution client: endpoints, authentication, pull, push.
#![forbid(unsafe_code)]
