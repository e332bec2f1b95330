//! Facade: Docker Engine API 1.24 to 1.51
#![forbid(unsafe_code)]
