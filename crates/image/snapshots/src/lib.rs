//! Layer directories named by chainID: unpack, overlay chains, diffs
#![forbid(unsafe_code)]
