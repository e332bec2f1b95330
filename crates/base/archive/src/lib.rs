//! tar, gzip and zstd in and out, written against hostile archives
#![forbid(unsafe_code)]
