//! The two kinds of sockets of this command line: a container's, which its
//! start comes over, and a caller's, which a terminal goes to.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;

use crate::record::{Place, START};
use crate::{Error, Result};

/// Listens for a container's start. Whoever may write to the socket may start
/// the container.
pub(crate) fn listen(place: &Place) -> Result<UnixListener> {
    let directory = place.open()?;
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let bound = UnixListener::bind(name_in(&directory));
    rustix::process::umask(before);
    bound.map_err(|error| Error::file("listen on", place.path(START), error))
}

/// Reaches a container that waits for its start; `None` when it waits no more.
pub(crate) fn reach(place: &Place) -> Result<Option<UnixStream>> {
    let directory = place.open()?;
    match UnixStream::connect(name_in(&directory)) {
        Ok(socket) => Ok(Some(socket)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(Error::file("start", place.path(START), error)),
    }
}

/// Hands a terminal over to `--console-socket`.
pub(crate) fn send_terminal(path: &Path, master: &OwnedFd) -> Result<()> {
    let sent = UnixStream::connect(path).and_then(|socket| {
        // Its reader wants a name and may show it.
        carrack_sys::descriptors::send_with(socket.as_fd(), b"/dev/ptmx", &[master.as_fd()])
    });
    sent.map(drop)
        .map_err(|error| Error::file("send the terminal to", path, error))
}

/// By way of the open directory, so that the name is short enough for a socket
/// whatever the root is called.
fn name_in(directory: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{START}", directory.as_raw_fd()))
}
