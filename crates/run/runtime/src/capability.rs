//! Names and numbers of capabilities, `capabilities(7)`.

/// Names by number, as the kernel's `<linux/capability.h>` counts them.
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// Number of capabilities that have a name here.
pub const COUNT: u32 = NAMES.len() as u32;

/// All capabilities that have a name here, as bits.
pub const ALL: u64 = (1 << COUNT) - 1;

/// `CAP_SYS_ADMIN` as a bit.
pub(crate) const SYS_ADMIN: u64 = 1 << 21;

/// Number of a capability by its name with `CAP_`, in any case.
pub fn number(name: &str) -> Option<u32> {
    let position = NAMES.iter().position(|n| n.eq_ignore_ascii_case(name))?;
    u32::try_from(position).ok()
}

/// Name of a capability.
pub fn name(number: u32) -> Option<&'static str> {
    NAMES.get(usize::try_from(number).ok()?).copied()
}

/// The capabilities that this process could ever have: what a kernel, a
/// container around us or an administrator left in its bounding set.
///
/// A probe of the kernel, made once by whoever plans; an unreadable
/// `/proc/self/status` counts as "all".
pub fn available() -> u64 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find_map(|l| l.strip_prefix("CapBnd:"))?;
            u64::from_str_radix(line.trim(), 16).ok()
        })
        .unwrap_or(ALL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        assert_eq!(number("CAP_CHOWN"), Some(0));
        assert_eq!(number("cap_sys_admin"), Some(21));
        assert_eq!(number("CAP_CHECKPOINT_RESTORE"), Some(40));
        assert_eq!(number("CHOWN"), None);
        for n in 0..COUNT {
            assert_eq!(number(name(n).expect("named")), Some(n));
        }
        assert_eq!(name(COUNT), None);
    }
}
