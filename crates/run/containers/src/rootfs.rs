//! The root file system of a container: its layers and its own on top.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use carrack_oci::runtime::Mount;
use carrack_runtime::sources::{BindRequest, SourceRequest};
use carrack_snapshots::overlay::{Durability, OverlaySpec, Writable};
use carrack_sys::mount::MountAttributes;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MoveMountFlags, OpenTreeFlags};
use tokio::sync::OwnedMutexGuard;

use crate::containers::Shared;
use crate::entry::Entry;
use crate::{ContainerId, Containers, Error, NewContainer, Owner, Result};

const UPPER: &str = "upper";
const WORK: &str = "work";
/// Used by old kernels for a moment.
const MOUNTPOINT: &str = "mnt";

/// A container's root as the container sees it, held open.
#[derive(Debug)]
pub struct Rootfs {
    root: OwnedFd,
    /// Who writes keeps the container from being started, paused and removed;
    /// let go of after the root.
    _turn: Option<OwnedMutexGuard<()>>,
}

impl Rootfs {
    /// The numbers of `user[:group]` in here; why there are none. Blocks.
    pub fn look_up_user(&self, user: &str) -> std::result::Result<(u32, u32), String> {
        carrack_runtime::apply::look_up_user(self, user).map_err(|failure| failure.sentence())
    }
}

impl AsFd for Rootfs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

/// What a root is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootfsAccess {
    /// Reading. The container may be started meanwhile; what is read is then
    /// from before or after each change.
    Read,
    /// Writing. It waits for whatever the container is doing, and a start
    /// waits for it: until the [`Rootfs`] is dropped.
    Write,
}

/// A detached mount of a container's root.
pub(crate) fn mount(
    shared: &Shared,
    directory: &Path,
    new: &NewContainer,
    access: RootfsAccess,
) -> Result<OwnedFd> {
    let upper = directory.join(UPPER);
    let work = directory.join(WORK);
    let made = make_directory(&upper)?;
    make_directory(&work)?;
    let mut lowers: Vec<PathBuf> = Vec::with_capacity(new.rootfs.chain.len() + 2);
    for chain in new.rootfs.chain.iter().rev() {
        lowers.push(shared.config.snapshots.layer_path(chain));
        if shared
            .config
            .snapshots
            .info(chain)
            .is_some_and(|info| info.opaque_root)
        {
            break;
        }
    }
    if let Some(places) = shared.mount_points.layer(&new.owner, &lowers) {
        lowers.insert(0, places);
    } else if new.owner == Owner::Docker && made == Made::Now {
        mark_as_docker(&upper)?;
    }
    if access == RootfsAccess::Read {
        // Without a work directory, which may serve one mount at a time.
        lowers.insert(0, upper.clone());
    }
    let spec = OverlaySpec {
        lowers,
        writable: (access == RootfsAccess::Write).then_some(Writable {
            upper,
            work,
            durability: if new.auto_remove {
                Durability::Volatile
            } else {
                Durability::Durable
            },
        }),
        mountpoint: directory.join(MOUNTPOINT),
    };
    carrack_snapshots::overlay::mount(&spec).map_err(|error| rootfs_error(&new.id, error))
}

/// Whether a directory is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    Now,
    Before,
}

fn make_directory(path: &Path) -> Result<Made> {
    match std::fs::create_dir(path) {
        Ok(()) => Ok(Made::Now),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(Made::Before),
        Err(source) => Err(Error::file("make", path, source)),
    }
}

/// Makes `/.dockerenv`, by which programs tell that they run in a container of
/// Docker's. Made once: a container that removed it is left in peace.
fn mark_as_docker(upper: &Path) -> Result<()> {
    let mark = upper.join(".dockerenv");
    std::fs::File::create(&mark)
        .map(drop)
        .map_err(|source| Error::file("make", &mark, source))
}

fn rootfs_error(
    id: &ContainerId,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    Error::Rootfs {
        id: id.clone(),
        source: error.into(),
    }
}

impl Containers {
    /// Bytes of a container's own layer.
    pub async fn writable_usage(&self, id: &ContainerId) -> Result<u64> {
        let upper = self.entry(id)?.directory.join(UPPER);
        tokio::task::spawn_blocking(move || {
            let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
            match rustix::fs::open(&upper, flags, Mode::empty()) {
                Err(rustix::io::Errno::NOENT) => Ok(0),
                Err(errno) => Err(Error::file("open", &upper, errno.into())),
                Ok(directory) => carrack_snapshots::tree_usage(directory.as_fd())
                    .map(|usage| usage.bytes)
                    .map_err(|source| {
                        Error::file("measure", &upper, std::io::Error::other(source))
                    }),
            }
        })
        .await?
    }

    /// A container's root as the container sees it: with its volumes and, while
    /// it runs, with all that it mounted. Paths below must be resolved with
    /// `RESOLVE_IN_ROOT`.
    pub async fn rootfs(&self, id: &ContainerId, access: RootfsAccess) -> Result<Rootfs> {
        let entry = self.entry(id)?;
        let turn = match access {
            RootfsAccess::Read => None,
            RootfsAccess::Write => {
                let turn = Arc::clone(&entry.operation).lock_owned().await;
                if entry.progress.borrow().removed {
                    return Err(Error::NotFound(id.to_string()));
                }
                let is_stopped = entry.lock().state.pid == 0;
                if is_stopped {
                    self.await_unmounted(&entry).await;
                    if entry.progress.borrow().mounted {
                        return Err(rootfs_error(id, "the last run's root is still mounted"));
                    }
                }
                Some(turn)
            }
        };
        let open = || {
            let (shared, entry) = (Arc::clone(&self.0), Arc::clone(&entry));
            tokio::task::spawn_blocking(move || open_root(&shared, &entry, access))
        };
        let mut opened = open().await??;
        if opened.places == Places::Missing && access == RootfsAccess::Read {
            // One that never ran: as if it were about to. Made in its turn.
            drop(opened);
            drop(Box::pin(self.rootfs(id, RootfsAccess::Write)).await?);
            opened = open().await??;
        }
        Ok(Rootfs {
            root: opened.root,
            _turn: turn,
        })
    }
}

/// A root, and whether it has a place for each bind.
struct Opened {
    root: OwnedFd,
    places: Places,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Places {
    There,
    Missing,
}

fn open_root(shared: &Arc<Shared>, entry: &Arc<Entry>, access: RootfsAccess) -> Result<Opened> {
    if entry.lock().state.pid == 0 {
        return open_stopped(shared, entry, access);
    }
    // Through its first process.
    let root = entry.open_of_first_process("root", OFlags::DIRECTORY | OFlags::PATH)?;
    Ok(Opened {
        root,
        places: Places::There,
    })
}

/// The root of a stopped container with its binds and volumes, put together in
/// a mount namespace of its own that ends with the thread; what is returned is
/// a detached copy of the whole tree.
fn open_stopped(shared: &Arc<Shared>, entry: &Arc<Entry>, access: RootfsAccess) -> Result<Opened> {
    let new = Arc::clone(&entry.lock().new);
    let root = mount(shared, &entry.directory, &new, access)?;
    let id = new.id.clone();
    let thread = std::thread::Builder::new()
        .name("rootfs".to_owned())
        .spawn(move || assemble(&root, &new, access))
        .map_err(|error| rootfs_error(&id, error))?;
    match thread.join() {
        Ok(assembled) => assembled.map_err(|error| rootfs_error(&id, error)),
        Err(_) => Err(Error::Internal(
            "putting a root together panicked".to_owned(),
        )),
    }
}

fn assemble(root: &OwnedFd, new: &NewContainer, access: RootfsAccess) -> std::io::Result<Opened> {
    carrack_sys::process::unshare(libc::CLONE_NEWNS as u64)?;
    // The thread's own by now: places are made with the mode that they get at
    // a start.
    rustix::process::umask(Mode::empty());
    rustix::mount::mount_change(
        "/",
        rustix::mount::MountPropagationFlags::DOWNSTREAM
            | rustix::mount::MountPropagationFlags::REC,
    )?;
    rustix::mount::move_mount(
        root,
        "",
        CWD,
        "/proc",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )?;
    let mut places = Places::There;
    for mount in &new.spec.mounts {
        // A bind whose source is missing shows nothing, as the container's
        // next start would fail over it.
        if mount.kind.as_deref() == Some("bind") {
            let attached = attach_bind(root, mount, access);
            if attached.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
                places = Places::Missing;
            }
        }
    }
    let root = rustix::mount::open_tree(
        root,
        "",
        OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH
            | OpenTreeFlags::AT_RECURSIVE,
    )?;
    Ok(Opened { root, places })
}

fn attach_bind(root: &OwnedFd, mount: &Mount, access: RootfsAccess) -> std::io::Result<()> {
    let has = |option: &str| mount.options.iter().any(|other| other == option);
    let read_only = |yes| MountAttributes {
        set: if yes {
            carrack_sys::mount::ATTR_RDONLY
        } else {
            0
        },
        ..MountAttributes::default()
    };
    let request = SourceRequest::Bind(BindRequest {
        path: mount.source.clone().unwrap_or_default(),
        recursive: !has("bind"),
        attributes: read_only(has("ro")),
        // What is mounted below counts too: it is the host's as well.
        attributes_below: read_only(has("rro") || access == RootfsAccess::Read),
        id_map: None,
    });
    let source = carrack_runtime::sources::open_all(std::slice::from_ref(&request))
        .map_err(std::io::Error::other)?;
    if access == RootfsAccess::Write {
        return carrack_runtime::apply::bind(root, &mount.destination, &source[0])
            .map_err(|failure| std::io::Error::other(failure.sentence()));
    }
    let target = rustix::fs::openat2(
        root,
        mount.destination.as_str(),
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
        rustix::fs::ResolveFlags::IN_ROOT | rustix::fs::ResolveFlags::NO_MAGICLINKS,
    )?;
    rustix::mount::move_mount(
        &source[0],
        "",
        target,
        "",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
    )?;
    Ok(())
}
