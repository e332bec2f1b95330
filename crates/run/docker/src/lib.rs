//! Docker's model: names, defaults, restart policies, links, prune
#![forbid(unsafe_code)]
