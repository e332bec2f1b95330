//! Blobs by digest: store, leases, collector over a roots() of its owner
#![forbid(unsafe_code)]
