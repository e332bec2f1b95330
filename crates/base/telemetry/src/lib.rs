//! Logs, metrics, request ids
#![forbid(unsafe_code)]
