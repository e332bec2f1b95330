//! What waits for later: sentences of `docs/not-yet.md`.

/// An entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotYet {
    /// Its name in the page.
    name: &'static str,
    /// What the caller reads.
    pub(crate) sentence: &'static str,
}

const fn entry(name: &'static str, sentence: &'static str) -> NotYet {
    NotYet { name, sentence }
}

pub(crate) const SYSTEMD: NotYet = entry(
    "systemd-cgroup",
    "control groups made by systemd are not supported yet; leave `--systemd-cgroup` out",
);
pub(crate) const NO_PIVOT: NotYet = entry(
    "no-pivot",
    "a root that is not changed by pivot_root is not supported: the host's would stay within reach",
);
pub(crate) const CHECKPOINT: NotYet = entry(
    "checkpoint-of-runtime",
    "checkpoints are not made by the runtime yet",
);
pub(crate) const NOTIFY: NotYet = entry(
    "seccomp-notify",
    "filters with SCMP_ACT_NOTIFY are not supported yet: nobody would answer their questions",
);
pub(crate) const LABELS: NotYet = entry(
    "labels-of-exec",
    "labels of SELinux and AppArmor and groups below the container's are not supported for an exec yet",
);
pub(crate) const ARCHITECTURE: NotYet = entry(
    "seccomp-architecture",
    "filters for this architecture are not supported yet",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_on_the_page() {
        let page = include_str!("../../../../docs/not-yet.md");
        let all = [SYSTEMD, NO_PIVOT, CHECKPOINT, NOTIFY, LABELS, ARCHITECTURE];
        for NotYet { name, sentence } in all {
            let entry = format!("- `{name}`: {sentence}\n");
            assert!(page.contains(&entry), "docs/not-yet.md lacks {entry}");
        }
    }
}
