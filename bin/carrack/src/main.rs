//! Arguments and wiring; no logic.
#![forbid(unsafe_code)]

fn main() {}
