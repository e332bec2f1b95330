//! Making the socket that clients connect to.
//!
//! A socket's file outlives a killed daemon, and two daemons may be told the
//! same path. So the file is replaced only when nobody answers on it, under a
//! lock of its directory; it gets mode and group under another name first,
//! and appears in its place by a rename.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as BlockingUnixStream;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use carrack_oci::ErrorKind;
use rustix::fs::{AtFlags, FlockOperation, Gid, Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::{UnixListener, UnixStream};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Mode of a socket's file: owner and group.
const SOCKET_MODE: Mode = Mode::from_raw_mode(0o660);

/// Where to listen, as written after `-H`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `unix://PATH`, or a plain absolute path.
    Unix(PathBuf),
}

/// Which group the socket's file belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SocketGroup {
    /// The daemon's own.
    #[default]
    Own,
    /// A group by number, or by name from `/etc/group`.
    Named(String),
}

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is of a form that is not served.
    #[error("listen on {address:?}: {reason}")]
    UnsupportedAddress {
        /// As it was given.
        address: String,
        /// What to do instead.
        reason: &'static str,
    },
    /// Another process accepts connections there.
    #[error("listen on {path}: another process already does")]
    InUse {
        /// The socket's file.
        path: PathBuf,
    },
    /// Something that is not a socket has the name.
    #[error("listen on {path}: the file exists and is not a socket")]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// No group of that name.
    #[error("group {name:?} of the socket does not exist")]
    NoSuchGroup {
        /// The group.
        name: String,
    },
    /// A system call failed.
    #[error("{action} {path}")]
    System {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl ListenError {
    /// Class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::UnsupportedAddress { .. } => ErrorKind::Unsupported,
            Self::InUse { .. } | Self::NotASocket { .. } => ErrorKind::Conflict,
            Self::NoSuchGroup { .. } => ErrorKind::NotFound,
            Self::System { .. } => ErrorKind::Internal,
        }
    }
}

impl Endpoint {
    /// Parses what was written after `-H`.
    pub fn parse(address: &str) -> Result<Self, ListenError> {
        address.parse()
    }
}

impl FromStr for Endpoint {
    type Err = ListenError;

    fn from_str(address: &str) -> Result<Self, ListenError> {
        let refused = |reason| ListenError::UnsupportedAddress {
            address: address.to_owned(),
            reason,
        };
        if address.starts_with("tcp://") {
            return Err(refused(
                "TCP without TLS would give root to everybody who reaches the port; use a unix socket, over ssh if need be",
            ));
        }
        if address.starts_with("fd://") {
            return Err(refused(
                "socket activation is not supported; use unix://PATH",
            ));
        }
        let path = address.strip_prefix("unix://").unwrap_or(address);
        if !path.starts_with('/') {
            return Err(refused("expected unix://PATH with an absolute path"));
        }
        if path.contains('\0') {
            return Err(refused("a path holds no NUL"));
        }
        Ok(Self::Unix(path.into()))
    }
}

/// A socket that accepts. Dropping it removes its file.
#[derive(Debug)]
pub struct BoundListener {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the file, so that a successor's is left alone.
    identity: Option<(u64, u64)>,
}

/// Listens at `endpoint`. Must be called inside the runtime.
pub fn bind(endpoint: &Endpoint, group: &SocketGroup) -> Result<BoundListener, ListenError> {
    let Endpoint::Unix(path) = endpoint;
    let gid = match group {
        SocketGroup::Own => None,
        SocketGroup::Named(name) => Some(group_id(name)?),
    };
    let parent = path.parent().unwrap_or(Path::new("/"));
    let _lock = lock_directory(parent)?;
    remove_stale(path)?;
    let socket = bind_and_rename(path, parent, gid)?;
    let identity = identity(path);
    let listener = std::os::unix::net::UnixListener::from(socket);
    let listener =
        UnixListener::from_std(listener).map_err(|error| system("listen on", path, error))?;
    Ok(BoundListener {
        listener,
        path: path.clone(),
        identity,
    })
}

impl BoundListener {
    /// The socket's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(socket, _)| socket)
    }
}

impl Drop for BoundListener {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            // Left behind, it is stale, and replaced by the next daemon.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Serializes check and rename among daemons of one directory. Released when
/// the descriptor is closed.
fn lock_directory(directory: &Path) -> Result<OwnedFd, ListenError> {
    let failed = |error: rustix::io::Errno| system("lock", directory, error.into());
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let descriptor = rustix::fs::open(directory, flags, Mode::empty()).map_err(failed)?;
    rustix::fs::flock(&descriptor, FlockOperation::LockExclusive).map_err(failed)?;
    Ok(descriptor)
}

/// Makes way, unless somebody answers or the file is something else.
fn remove_stale(path: &Path) -> Result<(), ListenError> {
    use std::os::unix::fs::FileTypeExt;
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(system("inspect", path, error)),
    };
    if !metadata.file_type().is_socket() {
        return Err(ListenError::NotASocket { path: path.into() });
    }
    match BlockingUnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // Whether it took us or had no room: somebody is there.
        _ => Err(ListenError::InUse { path: path.into() }),
    }
}

fn bind_and_rename(path: &Path, parent: &Path, gid: Option<Gid>) -> Result<OwnedFd, ListenError> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
    .map_err(|error| system("make a socket for", path, error.into()))?;
    let name = format!(".{}.sock", std::process::id());
    let temporary = parent.join(name);
    // A predecessor with our process id may have died here.
    let _ = std::fs::remove_file(&temporary);
    let made = prepare(socket.as_fd(), &temporary, gid).and_then(|()| {
        std::fs::rename(&temporary, path).map_err(|error| system("make", path, error))
    });
    if made.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    made.map(|()| socket)
}

/// Binds, sets who may connect, and only then lets anybody.
fn prepare(
    socket: rustix::fd::BorrowedFd<'_>,
    path: &Path,
    gid: Option<Gid>,
) -> Result<(), ListenError> {
    let failed = |action| move |error: rustix::io::Errno| system(action, path, error.into());
    let address = SocketAddrUnix::new(path).map_err(failed("name"))?;
    rustix::net::bind(socket, &address).map_err(failed("bind"))?;
    rustix::fs::chownat(rustix::fs::CWD, path, None, gid, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(failed("give the group to"))?;
    rustix::fs::chmod(path, SOCKET_MODE).map_err(failed("set the mode of"))?;
    rustix::net::listen(socket, BACKLOG).map_err(failed("listen on"))
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// A group by number or from `/etc/group`, `group(5)`.
fn group_id(name: &str) -> Result<Gid, ListenError> {
    if let Ok(number) = name.parse() {
        return Ok(Gid::from_raw(number));
    }
    let path = Path::new("/etc/group");
    let groups = std::fs::read_to_string(path).map_err(|error| system("read", path, error))?;
    groups
        .lines()
        .find_map(|line| {
            let mut fields = line.split(':');
            let found = fields.next() == Some(name);
            let number = fields.nth(1)?.parse().ok()?;
            found.then(|| Gid::from_raw(number))
        })
        .ok_or_else(|| ListenError::NoSuchGroup { name: name.into() })
}

fn system(action: &'static str, path: &Path, source: io::Error) -> ListenError {
    ListenError::System {
        action,
        path: path.into(),
        source,
    }
}
