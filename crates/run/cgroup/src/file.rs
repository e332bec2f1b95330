//! Reading and writing the small files of a group, relative to its directory.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::path::Arg;

/// Longest file that is read; `memory.stat` with `memory.numa_stat` of a large
/// machine stays far below.
pub(crate) const FILE_MAX: usize = 256 * 1024;

const FIRST_READ: usize = 4096;

pub(crate) fn open_directory<N: Arg>(at: BorrowedFd<'_>, name: N) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(at, name, flags, Mode::empty())?)
}

pub(crate) fn make_directory(at: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    Ok(rustix::fs::mkdirat(at, name, Mode::from_raw_mode(0o755))?)
}

pub(crate) fn remove_directory<N: Arg>(at: BorrowedFd<'_>, name: N) -> io::Result<()> {
    Ok(rustix::fs::unlinkat(at, name, AtFlags::REMOVEDIR)?)
}

pub(crate) fn open(at: BorrowedFd<'_>, name: &str, access: OFlags) -> io::Result<OwnedFd> {
    let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(at, name, flags, Mode::empty())?)
}

/// Whether the group has a file of that name.
pub(crate) fn exists(at: BorrowedFd<'_>, name: &str) -> bool {
    rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

/// The whole file, at most [`FILE_MAX`].
pub(crate) fn read(at: BorrowedFd<'_>, name: &str) -> io::Result<String> {
    read_within(at, name, FILE_MAX)
}

/// The whole file, at most about `max_bytes`.
pub(crate) fn read_within(at: BorrowedFd<'_>, name: &str, max_bytes: usize) -> io::Result<String> {
    let fd = open(at, name, OFlags::RDONLY)?;
    let mut content = vec![0; FIRST_READ];
    let mut filled = 0;
    loop {
        let count = rustix::io::retry_on_intr(|| rustix::io::read(&fd, &mut content[filled..]))?;
        if count == 0 {
            break;
        }
        filled += count;
        if filled == content.len() {
            if filled >= max_bytes {
                return Err(io::Error::from_raw_os_error(
                    rustix::io::Errno::FBIG.raw_os_error(),
                ));
            }
            content.resize(filled * 2, 0);
        }
    }
    content.truncate(filled);
    String::from_utf8(content).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
}

/// One value in one `write(2)`, as the kernel wants it.
pub(crate) fn write(at: BorrowedFd<'_>, name: &str, value: &str) -> io::Result<()> {
    // O_TRUNC changes nothing for the kernel and keeps a recorded tree honest.
    let fd = open(at, name, OFlags::WRONLY | OFlags::TRUNC)?;
    write_to(fd.as_fd(), value)
}

pub(crate) fn write_to(fd: BorrowedFd<'_>, value: &str) -> io::Result<()> {
    let written = rustix::io::retry_on_intr(|| rustix::io::write(fd, value.as_bytes()))?;
    if written == value.len() {
        Ok(())
    } else {
        Err(io::Error::from(io::ErrorKind::WriteZero))
    }
}

/// Names of the child groups; a container may give its own any bytes.
pub(crate) fn child_directories(at: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(at)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_group = entry.file_type() == rustix::fs::FileType::Directory;
        if is_group && name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Names of the files, for those whose names depend on the machine.
pub(crate) fn file_names(at: BorrowedFd<'_>) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(at)? {
        let entry = entry?;
        if entry.file_type() == rustix::fs::FileType::RegularFile
            && let Ok(name) = entry.file_name().to_str()
        {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Longest file that is read through a descriptor that stays open.
const KEPT_FILE_MAX: usize = 512;

/// A short file from its start, without allocating a buffer for the read.
pub(crate) fn read_again(fd: BorrowedFd<'_>) -> io::Result<String> {
    let mut buffer = [0; KEPT_FILE_MAX];
    let count = rustix::io::retry_on_intr(|| rustix::io::pread(fd, &mut buffer, 0))?;
    let text = std::str::from_utf8(&buffer[..count])
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok(text.to_owned())
}
