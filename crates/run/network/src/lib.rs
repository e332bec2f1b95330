//! Bridges, addresses, nftables maps, published ports
#![forbid(unsafe_code)]
