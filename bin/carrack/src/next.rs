//! `carrack`, built with the feature `next-protocol`: a daemon of the next
//! version, which a test lets take over this version's containers.
#![forbid(unsafe_code)]

#[path = "main.rs"]
mod program;

fn main() -> std::process::ExitCode {
    program::main()
}
