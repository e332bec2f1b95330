//! One small function a system call; with the supervisor's entry the only unsafe code
#![forbid(unsafe_code)]
