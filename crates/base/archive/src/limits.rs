//! How much of an archive is taken.

/// Bounds on one archive. What passes one is an error, and everything taken
/// so far is for the caller to throw away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Entries, extended headers that stand for themselves included.
    pub max_entries: u64,
    /// Sum of the files' sizes as `stat` will show them, so that holes count.
    pub max_bytes: u64,
    /// Length of a name or of a link's target, in bytes.
    pub max_path_len: usize,
}

impl Limits {
    /// What Linux itself takes as a path (`PATH_MAX`).
    pub const PATH_LEN: usize = 4096;

    /// Far above any real image: 5,000,000 entries of 256 GiB together.
    pub const DEFAULT: Limits = Limits {
        max_entries: 5_000_000,
        max_bytes: 256 << 30,
        max_path_len: Limits::PATH_LEN,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Limits::DEFAULT
    }
}
