//! Copies a tree with everything that belongs to it: contents, ownership,
//! modes, times, extended attributes, hard links, symlinks, devices, holes.
//!
//! The source is an image's: every name is looked up in a directory
//! descriptor, no symlink is followed and no mount is entered. The target of
//! a volume with options may be in the hands of a running container: what was
//! made is changed through its descriptor, never again by its name.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, SeekFrom, Stat, Timespec, Timestamps,
    Uid, XattrFlags,
};
use rustix::io::Errno;

use crate::{Error, Result};

/// Levels of directories; each holds two descriptors.
const MAX_DEPTH: usize = 200;
/// Hard-linked files remembered; the copies of further ones are separate.
const MAX_LINKED: usize = 1 << 20;
/// Bytes moved at a time where the kernel cannot copy by itself.
const BUFFER_BYTES: usize = 256 << 10;
/// `XATTR_LIST_MAX` and `XATTR_SIZE_MAX`.
const MAX_XATTR_BYTES: usize = 64 << 10;
/// Enough for the names of most files.
const USUAL_XATTR_BYTES: usize = 256;
/// Files and directories synced one by one; of more, the file system is
/// synced as a whole.
const MAX_SYNCED: usize = 32;

/// What was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Copied {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
}

/// Copies what is in `source` into `target`, and its own attributes, and has
/// it all on disk.
///
/// `named` is how the source is called in errors.
pub(crate) fn copy(source: BorrowedFd<'_>, target: BorrowedFd<'_>, named: &Path) -> Result<Copied> {
    let mut copy = Copy::new(target, named);
    copy.directory(source, target, 0)?;
    attributes_of_directory(source, target).map_err(Error::io("copy the attributes of", named))?;
    copy.sync(target)?;
    Ok(copy.copied)
}

/// Gives `target` the owner, mode and extended attributes of `source`.
pub(crate) fn attributes_of_directory(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
) -> rustix::io::Result<()> {
    let status = rustix::fs::fstat(source)?;
    rustix::fs::fchown(target, Some(owner(&status)), Some(group(&status)))?;
    rustix::fs::fchmod(target, mode(&status))?;
    copy_xattrs(&descriptor_path(source), &descriptor_path(target))?;
    rustix::fs::futimens(target, &times(&status))
}

struct Copy<'a> {
    root: BorrowedFd<'a>,
    /// Where the first copy of a file with several names is.
    links: HashMap<(u64, u64), PathBuf>,
    /// Path of the directory being copied, from the root.
    here: PathBuf,
    named: &'a Path,
    copied: Copied,
    unsynced: Vec<OwnedFd>,
    many: bool,
    buffer: Vec<u8>,
}

impl<'a> Copy<'a> {
    fn new(root: BorrowedFd<'a>, named: &'a Path) -> Self {
        Self {
            root,
            links: HashMap::new(),
            here: PathBuf::new(),
            named,
            copied: Copied::default(),
            unsynced: Vec::new(),
            many: false,
            buffer: Vec::new(),
        }
    }

    fn directory(
        &mut self,
        source: BorrowedFd<'_>,
        target: BorrowedFd<'_>,
        depth: usize,
    ) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(Error::TooDeep {
                path: self.named.join(&self.here),
                limit: MAX_DEPTH,
            });
        }
        let entries = Dir::read_from(source).map_err(self.failed("read", c""))?;
        for entry in entries {
            let entry = entry.map_err(self.failed("read", c""))?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            self.entry(source, target, name, depth)?;
            self.copied.entries += 1;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        source: BorrowedFd<'_>,
        target: BorrowedFd<'_>,
        name: &CStr,
        depth: usize,
    ) -> Result<()> {
        let status = rustix::fs::statat(source, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(self.failed("look at", name))?;
        let kind = FileType::from_raw_mode(status.st_mode);
        if kind != FileType::Directory
            && status.st_nlink > 1
            && self
                .link(&status, target, name)
                .map_err(self.failed("link", name))?
        {
            return Ok(());
        }
        let made = match kind {
            FileType::Directory => return self.subdirectory(source, target, name, depth),
            FileType::RegularFile => self.file(source, target, name, &status),
            _ => node(source, target, name, &status),
        };
        made.and_then(|made| {
            attributes(&made, &status)?;
            if kind == FileType::RegularFile {
                self.sync_later(made.copy);
            }
            Ok(())
        })
        .map_err(self.failed("copy", name))
    }

    fn subdirectory(
        &mut self,
        source: BorrowedFd<'_>,
        target: BorrowedFd<'_>,
        name: &CStr,
        depth: usize,
    ) -> Result<()> {
        let inner = open_beneath(source, name, OFlags::RDONLY | OFlags::DIRECTORY)
            .map_err(self.failed("open", name))?;
        rustix::fs::mkdirat(target, name, Mode::RWXU).map_err(self.failed("copy", name))?;
        let copy = open_beneath(target, name, OFlags::RDONLY | OFlags::DIRECTORY)
            .map_err(self.failed("copy", name))?;
        self.here.push(OsStr::from_bytes(name.to_bytes()));
        self.directory(inner.as_fd(), copy.as_fd(), depth + 1)?;
        self.here.pop();
        attributes_of_directory(inner.as_fd(), copy.as_fd()).map_err(self.failed("copy", name))?;
        self.sync_later(copy);
        Ok(())
    }

    fn file(
        &mut self,
        source: BorrowedFd<'_>,
        target: BorrowedFd<'_>,
        name: &CStr,
        status: &Stat,
    ) -> rustix::io::Result<Made> {
        let from = open_beneath(source, name, OFlags::RDONLY | OFlags::NONBLOCK)?;
        same(&from, status)?;
        let to = rustix::fs::openat(
            target,
            name,
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::RUSR | Mode::WUSR,
        )?;
        let size = u64::try_from(status.st_size).unwrap_or(0);
        if rustix::fs::ioctl_ficlone(&to, &from).is_err() {
            self.contents(&from, &to, size)?;
        }
        self.copied.bytes = self.copied.bytes.saturating_add(size);
        Ok(Made {
            original: from,
            copy: to,
        })
    }

    /// Copies the data of a file, hole by hole.
    fn contents(&mut self, from: &OwnedFd, to: &OwnedFd, size: u64) -> rustix::io::Result<()> {
        rustix::fs::ftruncate(to, size)?;
        let mut at = 0;
        while at < size {
            let start = match rustix::fs::seek(from, SeekFrom::Data(at)) {
                Ok(start) => start,
                // Nothing but a hole is left.
                Err(Errno::NXIO) => return Ok(()),
                Err(Errno::INVAL | Errno::OPNOTSUPP) => at,
                Err(errno) => return Err(errno),
            };
            let end = match rustix::fs::seek(from, SeekFrom::Hole(start)) {
                Ok(end) => end.min(size),
                Err(Errno::INVAL | Errno::OPNOTSUPP) => size,
                Err(errno) => return Err(errno),
            };
            self.range(from, to, start, end)?;
            at = end;
        }
        Ok(())
    }

    fn range(
        &mut self,
        from: &OwnedFd,
        to: &OwnedFd,
        start: u64,
        end: u64,
    ) -> rustix::io::Result<()> {
        let (mut source_at, mut target_at) = (start, start);
        while source_at < end {
            let left = usize::try_from(end - source_at).unwrap_or(usize::MAX);
            let copied = rustix::fs::copy_file_range(
                from,
                Some(&mut source_at),
                to,
                Some(&mut target_at),
                left,
            );
            match copied {
                // The file ended early.
                Ok(0) => return Ok(()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => {
                    return self.through_buffer(from, to, source_at, end);
                }
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    fn through_buffer(
        &mut self,
        from: &OwnedFd,
        to: &OwnedFd,
        start: u64,
        end: u64,
    ) -> rustix::io::Result<()> {
        self.buffer.resize(BUFFER_BYTES, 0);
        rustix::fs::seek(from, SeekFrom::Start(start))?;
        rustix::fs::seek(to, SeekFrom::Start(start))?;
        let mut left = end - start;
        while left > 0 {
            let most = usize::try_from(left).map_or(BUFFER_BYTES, |left| left.min(BUFFER_BYTES));
            let read = match rustix::io::read(from, &mut self.buffer[..most]) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno),
            };
            let mut written = 0;
            while written < read {
                match rustix::io::write(to, &self.buffer[written..read]) {
                    Ok(count) => written += count,
                    Err(Errno::INTR) => {}
                    Err(errno) => return Err(errno),
                }
            }
            left -= read as u64;
        }
        Ok(())
    }

    /// Makes a further name of a file that was copied; `false` where this is
    /// its first.
    fn link(
        &mut self,
        status: &Stat,
        target: BorrowedFd<'_>,
        name: &CStr,
    ) -> rustix::io::Result<bool> {
        let file = (status.st_dev, status.st_ino);
        if let Some(first) = self.links.get(&file) {
            return match link_beneath(self.root, first, target, name) {
                Ok(()) => Ok(true),
                // Too many links, too long a path, or the first name is not
                // where it was put: a copy of its own.
                Err(
                    Errno::MLINK
                    | Errno::NAMETOOLONG
                    | Errno::NOENT
                    | Errno::NOTDIR
                    | Errno::LOOP
                    | Errno::XDEV,
                ) => Ok(false),
                Err(errno) => Err(errno),
            };
        }
        if self.links.len() < MAX_LINKED {
            let path = self.here.join(OsStr::from_bytes(name.to_bytes()));
            self.links.insert(file, path);
        }
        Ok(false)
    }

    fn sync_later(&mut self, copy: OwnedFd) {
        if self.unsynced.len() < MAX_SYNCED {
            self.unsynced.push(copy);
        } else {
            self.many = true;
        }
    }

    fn sync(&mut self, target: BorrowedFd<'_>) -> Result<()> {
        let synced = if self.many {
            rustix::fs::syncfs(target)
        } else {
            self.unsynced
                .drain(..)
                .try_for_each(rustix::fs::fsync)
                .and_then(|()| rustix::fs::fsync(target))
        };
        synced.map_err(Error::io("sync the copy of", self.named))
    }

    fn failed(&self, action: &'static str, name: &CStr) -> impl FnOnce(Errno) -> Error + use<> {
        let path = self
            .named
            .join(&self.here)
            .join(OsStr::from_bytes(name.to_bytes()));
        Error::io(action, path)
    }
}

/// An entry just made, and what it is made after. Symlinks, devices, pipes
/// and sockets are `O_PATH` descriptors.
struct Made {
    original: OwnedFd,
    copy: OwnedFd,
}

/// Makes a symlink, or a node of a device, pipe or socket.
fn node(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    name: &CStr,
    status: &Stat,
) -> rustix::io::Result<Made> {
    let original = open_beneath(source, name, OFlags::PATH)?;
    same(&original, status)?;
    let kind = FileType::from_raw_mode(status.st_mode);
    if kind == FileType::Symlink {
        let to = rustix::fs::readlinkat(&original, c"", Vec::new())?;
        rustix::fs::symlinkat(&to, target, name)?;
    } else {
        rustix::fs::mknodat(target, name, kind, Mode::empty(), status.st_rdev)?;
    }
    let copy = open_beneath(target, name, OFlags::PATH)?;
    let made = rustix::fs::fstat(&copy)?;
    // Somebody may have put another in its place.
    if FileType::from_raw_mode(made.st_mode) != kind || made.st_rdev != status.st_rdev {
        return Err(Errno::STALE);
    }
    Ok(Made { original, copy })
}

/// What is open must be what was looked at.
fn same(opened: &OwnedFd, status: &Stat) -> rustix::io::Result<()> {
    let opened = rustix::fs::fstat(opened)?;
    if (opened.st_dev, opened.st_ino) == (status.st_dev, status.st_ino) {
        Ok(())
    } else {
        Err(Errno::STALE)
    }
}

/// A further name for `first`, a path below `root` that is looked up again:
/// by no symlink, and the last step by its name alone.
fn link_beneath(
    root: BorrowedFd<'_>,
    first: &Path,
    target: BorrowedFd<'_>,
    name: &CStr,
) -> rustix::io::Result<()> {
    let Some(Component::Normal(file)) = first.components().next_back() else {
        return Err(Errno::NOENT);
    };
    match first.parent().filter(|above| !above.as_os_str().is_empty()) {
        None => rustix::fs::linkat(root, file, target, name, AtFlags::empty()),
        Some(above) => {
            let above = open_beneath(root, above, OFlags::PATH | OFlags::DIRECTORY)?;
            rustix::fs::linkat(above, file, target, name, AtFlags::empty())
        }
    }
}

/// Owner, mode, extended attributes and times of an entry just made. The
/// order matters: a change of owner takes setuid bits and capabilities away.
fn attributes(made: &Made, status: &Stat) -> rustix::io::Result<()> {
    let path = descriptor_path(made.copy.as_fd());
    rustix::fs::chown(&path, Some(owner(status)), Some(group(status)))?;
    // The kernel has no mode of a symlink.
    if FileType::from_raw_mode(status.st_mode) != FileType::Symlink {
        rustix::fs::chmod(&path, mode(status))?;
    }
    copy_xattrs(&descriptor_path(made.original.as_fd()), &path)?;
    rustix::fs::utimensat(rustix::fs::CWD, &path, &times(status), AtFlags::empty())
}

/// From one [`descriptor_path`] to another.
fn copy_xattrs(from: &CStr, to: &CStr) -> rustix::io::Result<()> {
    let mut names = vec![0; USUAL_XATTR_BYTES];
    let mut listed = rustix::fs::listxattr(from, &mut names[..]);
    if listed == Err(Errno::RANGE) {
        names.resize(MAX_XATTR_BYTES, 0);
        listed = rustix::fs::listxattr(from, &mut names[..]);
    }
    let length = match listed {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    let mut value = Vec::new();
    for name in names[..length].split_inclusive(|&byte| byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else {
            continue;
        };
        if is_overlay(name) {
            continue;
        }
        value.resize(MAX_XATTR_BYTES, 0);
        let size = match rustix::fs::getxattr(from, name, &mut value[..]) {
            Ok(size) => size,
            Err(Errno::NODATA) => continue,
            Err(errno) => return Err(errno),
        };
        match rustix::fs::setxattr(to, name, &value[..size], XattrFlags::empty()) {
            // The volume's file system has no such attributes.
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Bookkeeping of overlayfs in a layer's directory, not the image's.
fn is_overlay(name: &CStr) -> bool {
    let name = name.to_bytes();
    name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.")
}

/// Opens what is below `directory`, through no symlink and no other mount; an
/// `O_PATH` descriptor may be that of a symlink.
fn open_beneath(
    directory: BorrowedFd<'_>,
    name: impl rustix::path::Arg,
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat2(
        directory,
        name,
        flags | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV,
    )
}

/// The path of what a descriptor is open for, be it `O_PATH` or a symlink: it
/// leads there and no further. Some calls take paths only, and others no
/// `O_PATH`.
fn descriptor_path(descriptor: BorrowedFd<'_>) -> CString {
    CString::new(format!("/proc/self/fd/{}", descriptor.as_raw_fd()))
        .expect("invariant: digits have no NUL")
}

fn owner(status: &Stat) -> Uid {
    Uid::from_raw(status.st_uid)
}

fn group(status: &Stat) -> Gid {
    Gid::from_raw(status.st_gid)
}

fn mode(status: &Stat) -> Mode {
    Mode::from_raw_mode(status.st_mode & 0o7777)
}

fn times(status: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: status.st_atime,
            tv_nsec: i64::try_from(status.st_atime_nsec).unwrap_or(0),
        },
        last_modification: Timespec {
            tv_sec: status.st_mtime,
            tv_nsec: i64::try_from(status.st_mtime_nsec).unwrap_or(0),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    fn directory(path: &Path) -> OwnedFd {
        rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).expect("opened")
    }

    fn look(parent: &OwnedFd, name: &CStr) -> Stat {
        rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).expect("there")
    }

    /// What is made is exchanged for a symlink to a file of the host before
    /// it gets its owner and mode.
    #[test]
    fn a_name_that_leads_elsewhere_meanwhile_changes_nothing_there() {
        if !rustix::process::geteuid().is_root() {
            println!("SKIP: needs root");
            return;
        }
        let place = tempfile::tempdir().expect("temporary directory");
        let at = |name: &str| place.path().join(name);
        for name in ["image", "volume"] {
            fs::create_dir(at(name)).expect("made");
        }
        fs::write(at("host"), "x").expect("written");
        fs::write(at("image/file"), "x").expect("written");
        symlink("nowhere", at("image/link")).expect("linked");
        let (image, volume) = (directory(&at("image")), directory(&at("volume")));
        let mode = Mode::from_raw_mode(0o666);
        rustix::fs::mknodat(&image, c"pipe", FileType::Fifo, mode, 0).expect("made");
        for name in [c"file", c"link", c"pipe"] {
            let owner = (Some(Uid::from_raw(7)), Some(Gid::from_raw(8)));
            let nofollow = AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::chownat(&image, name, owner.0, owner.1, nofollow).expect("owner");
        }
        let before = fs::metadata(at("host")).expect("there");
        let before = (before.mode(), before.uid(), before.gid(), before.mtime());

        let mut copy = Copy::new(volume.as_fd(), Path::new("image"));
        for name in [c"file", c"link", c"pipe"] {
            let status = look(&image, name);
            let made = if name == c"file" {
                copy.file(image.as_fd(), volume.as_fd(), name, &status)
            } else {
                node(image.as_fd(), volume.as_fd(), name, &status)
            };
            let made = made.expect("made");
            rustix::fs::renameat(&volume, name, &volume, c"away").expect("renamed");
            rustix::fs::symlinkat(at("host"), &volume, name).expect("linked");
            attributes(&made, &status).expect("given");
            let away = look(&volume, c"away");
            assert_eq!((away.st_uid, away.st_gid), (7, 8), "{name:?}");
            assert_eq!(away.st_mode, status.st_mode, "{name:?}");
        }
        let after = fs::metadata(at("host")).expect("there");
        let after = (after.mode(), after.uid(), after.gid(), after.mtime());
        assert_eq!(before, after);
    }

    #[test]
    fn a_further_name_is_looked_up_through_no_symlink() {
        let place = tempfile::tempdir().expect("temporary directory");
        let at = |name: &str| place.path().join(name);
        for name in ["host", "volume", "volume/sub"] {
            fs::create_dir(at(name)).expect("made");
        }
        for name in ["host/file", "volume/sub/file"] {
            fs::write(at(name), name).expect("written");
        }
        let volume = directory(&at("volume"));
        let status = look(&volume, c"sub");
        let mut copy = Copy::new(volume.as_fd(), Path::new("image"));
        let first = (status.st_dev, status.st_ino);
        copy.links.insert(first, PathBuf::from("sub/file"));
        assert!(
            copy.link(&status, volume.as_fd(), c"again")
                .expect("linked")
        );
        assert_eq!(fs::metadata(at("volume/again")).expect("there").nlink(), 2);

        fs::rename(at("volume/sub"), at("volume/away")).expect("renamed");
        symlink(at("host"), at("volume/sub")).expect("linked");
        assert!(!copy.link(&status, volume.as_fd(), c"more").expect("a copy"));
        assert!(fs::symlink_metadata(at("volume/more")).is_err());
        assert_eq!(fs::metadata(at("host/file")).expect("there").nlink(), 1);
    }
}
