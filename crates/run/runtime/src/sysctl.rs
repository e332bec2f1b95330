//! Kernel parameters that each namespace has for itself.

/// System V IPC parameters; the POSIX ones are below `fs.mqueue`.
const IPC: [&str; 8] = [
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shm_rmid_forced",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
];

/// The kind of namespace, as its `CLONE_NEW…` bit, that a parameter at `path`
/// below `/proc/sys` belongs to. All others are the machine's, and a container
/// that sets one (`kernel/core_pattern`, say) would own the host.
pub(crate) fn namespace(path: &str) -> Option<i32> {
    if path.starts_with("net/") {
        Some(libc::CLONE_NEWNET)
    } else if IPC.contains(&path) || path.starts_with("fs/mqueue/") {
        Some(libc::CLONE_NEWIPC)
    } else if matches!(path, "kernel/hostname" | "kernel/domainname") {
        Some(libc::CLONE_NEWUTS)
    } else {
        None
    }
}
