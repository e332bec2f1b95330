//! Paths of a copy, resolved inside a container's root and nowhere else.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::mounts::clean;

/// Symlinks lead nowhere else, and `/proc`'s magic ones lead nowhere at all.
const INSIDE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);
/// Tries of a path whose directories others rename meanwhile.
const TRIES: u32 = 16;

/// A file or directory that a path names.
#[derive(Debug)]
pub(super) struct Place {
    /// The directory that holds it, or it itself when `name` is `.`.
    pub(super) parent: OwnedFd,
    /// Its name in there.
    pub(super) name: Vec<u8>,
    /// How it is called outside: the last part of the path as it was given.
    pub(super) shown: Vec<u8>,
}

/// Resolves `path`. A symlink at its end is not followed, unless a slash or a
/// dot stands behind it.
pub(super) fn locate(root: impl AsFd, path: &str) -> Result<Place, Errno> {
    let absolute = clean(path);
    let is_directory = path.ends_with('/') || path.ends_with("/.") || path == ".";
    if absolute == "/" || is_directory {
        let inside = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = open(root, &absolute, inside)?;
        let shown = match absolute.rsplit('/').next() {
            _ if path.ends_with("/.") || path == "." => b".".to_vec(),
            Some("") | None => b"/".to_vec(),
            Some(last) => last.as_bytes().to_vec(),
        };
        return Ok(Place {
            parent,
            name: b".".to_vec(),
            shown,
        });
    }
    let (above, last) = absolute.rsplit_once('/').unwrap_or(("", &absolute));
    let above = if above.is_empty() { "/" } else { above };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = open(root, above, flags)?;
    // Whether it is there at all.
    rustix::fs::statat(&parent, last, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(Place {
        parent,
        name: last.as_bytes().to_vec(),
        shown: last.as_bytes().to_vec(),
    })
}

/// Opens a directory to be written into, symlinks followed inside the root.
pub(super) fn open_directory(root: impl AsFd, path: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    open(root, &clean(path), flags)
}

/// A path opened inside the root; tried again when somebody renames a
/// directory of it meanwhile, which the kernel then cannot vouch for.
fn open(root: impl AsFd, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = OsStr::from_bytes(path.as_bytes());
    let mut last = Errno::AGAIN;
    for _ in 0..TRIES {
        match rustix::fs::openat2(root.as_fd(), path, flags, Mode::empty(), INSIDE) {
            Err(Errno::AGAIN) => last = Errno::AGAIN,
            outcome => return outcome,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> (tempfile::TempDir, OwnedFd) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        std::fs::create_dir_all(path.join("etc/deep")).expect("mkdir");
        std::fs::write(path.join("etc/file"), "x").expect("write");
        std::os::unix::fs::symlink("/etc", path.join("link")).expect("symlink");
        std::os::unix::fs::symlink("../../../../../../etc/passwd", path.join("out")).expect("link");
        std::os::unix::fs::symlink("/proc/self/root", path.join("magic")).expect("symlink");
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty()).expect("open");
        (directory, root)
    }

    #[test]
    fn places() {
        let (_directory, root) = root();
        let check = |path: &str, expected: Result<(&str, &str), Errno>| {
            let found = locate(&root, path).map(|place| {
                let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
                (text(place.name), text(place.shown))
            });
            let expected = expected.map(|(name, shown)| (name.to_owned(), shown.to_owned()));
            assert_eq!(found, expected, "{path}");
        };
        check("/etc/file", Ok(("file", "file")));
        check("etc/../etc/file", Ok(("file", "file")));
        check("/etc/", Ok((".", "etc")));
        check("/etc/.", Ok((".", ".")));
        check("/", Ok((".", "/")));
        check("/link", Ok(("link", "link")));
        check("/link/", Ok((".", "link")));
        check("/link/file", Ok(("file", "file")));
        check("/out", Ok(("out", "out")));
        check("/../../etc/file", Ok(("file", "file")));
        check("/nope", Err(Errno::NOENT));
        check("/out/", Err(Errno::NOENT));
        check("/etc/file/", Err(Errno::NOTDIR));
        assert!(locate(&root, "/magic/etc/passwd").is_err());
        assert!(open_directory(&root, "/magic").is_err());
    }
}
