//! The only code that dials out
#![forbid(unsafe_code)]
