//! OCI runtime spec to plan (pure) to process
#![forbid(unsafe_code)]
