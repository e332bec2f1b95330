//! The kernel's text formats (`admin-guide/cgroup-v2.rst`, "Format").

/// `KEY VALUE` lines. Lines of another form are passed over.
pub(super) fn flat_keyed(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key, value.trim().parse().ok()?))
    })
}

/// One value of such lines.
pub(super) fn key(text: &str, wanted: &str) -> Option<u64> {
    flat_keyed(text)
        .find(|(key, _)| *key == wanted)
        .map(|(_, value)| value)
}

/// `MAJOR:MINOR`.
pub(super) fn device(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
