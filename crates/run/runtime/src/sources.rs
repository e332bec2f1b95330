//! What a plan needs from the host, opened as descriptors.
//!
//! Runs where the host is still visible: in the daemon, or in runc's command
//! line. From here on a source has no name any more, so nobody can swap it.

use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use carrack_oci::ErrorKind;
use carrack_sys::mount::{self, ATTR_IDMAP, Depth, MountAttributes};
use carrack_sys::process::{CloneArgs, Cloned};
use rustix::fs::CWD;
use rustix::mount::{OpenTreeFlags, open_tree};
use thiserror::Error;

/// Something on the host that becomes a descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceRequest {
    /// A bind mount.
    Bind(BindRequest),
    /// The host's device node at this path.
    Node(String),
}

/// A bind mount's source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindRequest {
    /// Absolute path on the host.
    pub path: String,
    /// Whether what is mounted below comes along.
    pub recursive: bool,
    /// Changes of the mount itself.
    pub attributes: MountAttributes,
    /// Changes of it and of all below.
    pub attributes_below: MountAttributes,
    /// Ids shifted between the files and the container.
    pub id_map: Option<IdMap>,
}

/// Maps of an idmapped mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMap {
    /// Whether the mounts below are mapped too.
    pub recursive: bool,
    /// Lines of a `uid_map`.
    pub uid: String,
    /// Lines of a `gid_map`.
    pub gid: String,
}

/// Why a source could not be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The path cannot be opened.
    #[error("open bind source {path}")]
    Open {
        /// On the host.
        path: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The kernel refuses the attributes.
    #[error("set mount attributes of {path}")]
    Attributes {
        /// On the host.
        path: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The mount cannot be idmapped.
    #[error("map ids of {path}")]
    MapIds {
        /// On the host.
        path: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}

impl SourceError {
    /// Class of the failure.
    pub fn kind(&self) -> ErrorKind {
        let (Self::Open { source, .. }
        | Self::Attributes { source, .. }
        | Self::MapIds { source, .. }) = self;
        match source.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM) => ErrorKind::Exhausted,
            _ => ErrorKind::InvalidInput,
        }
    }
}

/// Opens every source, in order.
pub fn open_all(requests: &[SourceRequest]) -> Result<Vec<OwnedFd>, SourceError> {
    requests.iter().map(open).collect()
}

fn open(request: &SourceRequest) -> Result<OwnedFd, SourceError> {
    match request {
        SourceRequest::Node(path) => clone_tree(path, false),
        SourceRequest::Bind(bind) => open_bind(bind),
    }
}

fn clone_tree(path: &str, recursive: bool) -> Result<OwnedFd, SourceError> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(CWD, Path::new(path), flags).map_err(|error| SourceError::Open {
        path: path.to_owned(),
        source: error.into(),
    })
}

fn open_bind(bind: &BindRequest) -> Result<OwnedFd, SourceError> {
    let tree = clone_tree(&bind.path, bind.recursive)?;
    let change = |depth, attributes: &MountAttributes| {
        if *attributes == MountAttributes::default() {
            return Ok(());
        }
        mount::set_attributes(tree.as_fd(), depth, attributes).map_err(|source| {
            SourceError::Attributes {
                path: bind.path.clone(),
                source,
            }
        })
    };
    if let Some(map) = &bind.id_map {
        map_ids(tree.as_fd(), map).map_err(|source| SourceError::MapIds {
            path: bind.path.clone(),
            source,
        })?;
    }
    // The mount's own propagation wins over that of all; what is said of all
    // attributes recursively (`rro`) wins over the mount's own.
    let below = &bind.attributes_below;
    let of_all = MountAttributes {
        propagation: below.propagation,
        ..MountAttributes::default()
    };
    change(Depth::Recursive, &of_all)?;
    change(Depth::One, &bind.attributes)?;
    let recursive = MountAttributes {
        propagation: 0,
        ..*below
    };
    change(Depth::Recursive, &recursive)?;
    Ok(tree)
}

fn map_ids(tree: BorrowedFd<'_>, map: &IdMap) -> io::Result<()> {
    let namespace = user_namespace(&map.uid, &map.gid)?;
    let depth = if map.recursive {
        Depth::Recursive
    } else {
        Depth::One
    };
    mount::set_attributes(
        tree,
        depth,
        &MountAttributes {
            set: ATTR_IDMAP,
            user_namespace: namespace.as_raw_fd() as u64,
            ..MountAttributes::default()
        },
    )
}

/// A user namespace with these maps. The kernel ties one to a process at its
/// making, so a child is born in it and ends once the namespace is open.
fn user_namespace(uid_map: &str, gid_map: &str) -> io::Result<OwnedFd> {
    let args = CloneArgs {
        flags: libc::CLONE_NEWUSER as u64,
        into_cgroup: None,
    };
    let parent = rustix::process::getpid();
    match carrack_sys::process::clone3(&args)? {
        Cloned::Child => {
            // Only system calls here: the parent may have threads, so its
            // allocator may be locked in this copy. It waits to be killed, not
            // for the end of a pipe, which the child of another thread that
            // does the same may hold open. It dies with the thread that made
            // it, also one that was gone before it said so.
            let dies = rustix::process::set_parent_process_death_signal(Some(
                rustix::process::Signal::KILL,
            ));
            if dies.is_err() || rustix::process::getppid() != Some(parent) {
                carrack_sys::process::exit_now(1)
            }
            loop {
                let _never = rustix::event::poll(&mut [], None);
            }
        }
        Cloned::Parent { pid, pidfd } => {
            let made = write_map(pid, "uid_map", uid_map)
                .and_then(|()| write_map(pid, "gid_map", gid_map))
                .and_then(|()| std::fs::File::open(format!("/proc/{pid}/ns/user")));
            let _ended = rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL);
            let _status = rustix::process::waitid(
                rustix::process::WaitId::PidFd(pidfd.as_fd()),
                rustix::process::WaitIdOptions::EXITED,
            );
            Ok(made?.into())
        }
    }
}

fn write_map(pid: i32, name: &str, lines: &str) -> io::Result<()> {
    std::fs::OpenOptions::new()
        .write(true)
        .open(format!("/proc/{pid}/{name}"))?
        .write_all(lines.as_bytes())
}
