//! Seccomp profile to classic BPF; pure
#![forbid(unsafe_code)]
