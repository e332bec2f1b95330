//! Extended attributes: which of them belong to a file wherever it goes, and
//! reading and writing them without following a link.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use crate::tar::Xattr;

/// Longest list of names and longest value taken (`XATTR_LIST_MAX`,
/// `XATTR_SIZE_MAX`), in bytes.
const LEN_MAX: usize = 64 * 1024;

/// overlayfs' mark on a directory that hides what is below it.
pub(crate) const OVERLAY_OPAQUE: &[u8] = b"trusted.overlay.opaque";

/// Whether an attribute says something about the file itself, wherever it
/// lies: its capabilities, access lists and users' own. Not so labels of one
/// machine's policy (`security.selinux`, `.ima`, `.evm`), and never what
/// overlayfs notes for itself: a layer that brought
/// `trusted.overlay.redirect` would point into other directories.
pub(crate) fn is_portable(name: &[u8]) -> bool {
    if name.starts_with(b"user.overlay.") || name.starts_with(b"trusted.overlay.") {
        return false;
    }
    name == b"security.capability"
        || name.starts_with(b"user.")
        || name.starts_with(b"trusted.")
        || name == b"system.posix_acl_access"
        || name == b"system.posix_acl_default"
}

/// A file that takes part in an attribute call: an open one, or a name in an
/// open directory that can only be named (links, devices).
#[derive(Clone, Copy)]
pub(crate) enum Target<'a, Fd> {
    /// Open for reading or writing.
    Open(Fd),
    /// One component below a directory; not followed when it is a link.
    Named(Fd, &'a [u8]),
}

impl<Fd: AsFd> Target<'_, Fd> {
    /// `/proc/self/fd/N/name`: the kernel offers no call relative to a
    /// descriptor before 6.13. The directory is pinned by its descriptor and
    /// the name is one component that is not followed, so that nothing can
    /// be put in between.
    fn path(dir: &Fd, name: &[u8]) -> Vec<u8> {
        let fd = dir.as_fd().as_raw_fd();
        [format!("/proc/self/fd/{fd}/").as_bytes(), name].concat()
    }

    pub(crate) fn set(&self, name: &[u8], value: &[u8]) -> Result<(), Errno> {
        match self {
            Target::Open(fd) => rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty()),
            Target::Named(dir, file) => {
                let path = Self::path(dir, file);
                rustix::fs::lsetxattr(path, name, value, XattrFlags::empty())
            }
        }
    }

    fn list(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Target::Open(fd) => rustix::fs::flistxattr(fd, buffer),
            Target::Named(dir, file) => rustix::fs::llistxattr(Self::path(dir, file), buffer),
        }
    }

    fn get(&self, name: &[u8], buffer: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Target::Open(fd) => rustix::fs::fgetxattr(fd, name, buffer),
            Target::Named(dir, file) => rustix::fs::lgetxattr(Self::path(dir, file), name, buffer),
        }
    }

    /// Whether overlayfs' mark is there.
    pub(crate) fn is_opaque(&self) -> Result<bool, Errno> {
        let mut value = [0; 2];
        match self.get(OVERLAY_OPAQUE, &mut value) {
            Ok(len) => Ok(value[..len] == *b"y"),
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// All portable attributes, by name.
    pub(crate) fn portable(&self) -> io::Result<Vec<Xattr>> {
        // Nearly every file has none, or a label: ask with little first.
        let mut small = [0; 512];
        let large;
        let names = match self.list(&mut small) {
            Ok(len) => &small[..len],
            Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            Err(Errno::RANGE) => {
                let mut buffer = vec![0; LEN_MAX];
                let len = self.list(&mut buffer)?;
                buffer.truncate(len);
                large = buffer;
                &large[..]
            }
            Err(error) => return Err(error.into()),
        };
        let mut found = Vec::new();
        let names = names.split(|byte| *byte == 0);
        for name in names.filter(|name| is_portable(name)) {
            let mut value = vec![0; LEN_MAX];
            match self.get(name, &mut value) {
                Ok(len) => value.truncate(len),
                // Taken away in between.
                Err(Errno::NODATA) => continue,
                Err(error) => return Err(error.into()),
            }
            value.shrink_to_fit();
            found.push(Xattr {
                name: name.to_vec(),
                value,
            });
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }
}
