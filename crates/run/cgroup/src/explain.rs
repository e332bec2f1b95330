//! The kernel's refusals in a sentence that a user understands.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

/// Why a write into `file` was refused.
pub(crate) fn refusal(file: &str, source: &io::Error) -> String {
    let Some(errno) = Errno::from_io_error(source) else {
        return "the write failed".to_owned();
    };
    let memory = file.starts_with("memory.");
    let cpuset = file.starts_with("cpuset.");
    let block = file.starts_with("blkio.") || file.starts_with("io.");
    let text = match errno {
        Errno::NOENT => return format!("this kernel has no {file}"),
        Errno::OPNOTSUPP => "this kernel does not support it",
        Errno::BUSY if memory => {
            "the memory is in use: more is taken now than the new limit allows, and it cannot be freed"
        }
        Errno::BUSY if cpuset => "tasks or child groups still use what would be taken away",
        Errno::INVAL if file.starts_with("memory.memsw.") => {
            "memory plus swap may not be less than the memory limit"
        }
        Errno::INVAL if file == "memory.limit_in_bytes" => {
            "the memory limit may not be above the limit of memory plus swap: raise that one too"
        }
        Errno::INVAL | Errno::RANGE | Errno::ACCESS | Errno::NOSPC if cpuset => {
            "the host, or the group above, has no such CPUs or memory nodes"
        }
        Errno::INVAL if file.starts_with("cpu.cfs_") || file.starts_with("cpu.max") => {
            "the quota or period is out of range, or more than the group above has"
        }
        Errno::INVAL if file.starts_with("cpu.rt_") => {
            "the group above has no such real-time budget"
        }
        Errno::NODEV | Errno::NXIO if block => "no block device has that number",
        Errno::PERM if file.starts_with("devices.") => "the group above does not allow that device",
        Errno::INVAL | Errno::RANGE => "the value is out of range",
        Errno::PERM | Errno::ACCESS => "not permitted here",
        Errno::NODEV => "the control group was removed",
        _ => "the kernel refused it",
    };
    text.to_owned()
}

/// The directories that stayed, in one line.
pub(crate) fn failures(failures: &[(PathBuf, io::Error)]) -> String {
    let mut line = String::new();
    for (index, (path, error)) in failures.iter().enumerate() {
        let separator = if index == 0 { "" } else { "; " };
        // Writing into a String cannot fail.
        let _ = write!(line, "{separator}{}: {error}", path.display());
    }
    line
}
