//! The daemon-supervisor protocol: versioned frames with descriptors
#![forbid(unsafe_code)]
