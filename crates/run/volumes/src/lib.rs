//! Volumes, copy-up, subpath
#![forbid(unsafe_code)]
