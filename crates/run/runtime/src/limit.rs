//! Names and numbers of resource limits, `getrlimit(2)`.

/// Names by number, `<asm-generic/resource.h>`.
const NAMES: [&str; 16] = [
    "RLIMIT_CPU",
    "RLIMIT_FSIZE",
    "RLIMIT_DATA",
    "RLIMIT_STACK",
    "RLIMIT_CORE",
    "RLIMIT_RSS",
    "RLIMIT_NPROC",
    "RLIMIT_NOFILE",
    "RLIMIT_MEMLOCK",
    "RLIMIT_AS",
    "RLIMIT_LOCKS",
    "RLIMIT_SIGPENDING",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
];

/// Number of a limit by its name with `RLIMIT_`.
pub(crate) fn number(name: &str) -> Option<u32> {
    let position = NAMES.iter().position(|known| *known == name)?;
    u32::try_from(position).ok()
}

/// Name of a limit.
pub(crate) fn name(number: u32) -> &'static str {
    usize::try_from(number)
        .ok()
        .and_then(|number| NAMES.get(number).copied())
        .unwrap_or("an unknown limit")
}
