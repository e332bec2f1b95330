//! `docker cp`: a tar stream out of a container and into one.
//!
//! Nothing of the container is executed or trusted: paths are resolved by the
//! kernel inside the container's root, names in an archive below the
//! directory it is unpacked to.

use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use carrack_archive::tar::{TarWriter, TimePrecision};
use carrack_archive::unpack::{self, Mode, Overwrite, Ownership};
use carrack_archive::{Decoder, Limits, TreeError, pack};
use carrack_containers::{Rootfs, RootfsAccess};
use carrack_oci::ErrorKind;
use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use crate::{Error, Result};

use super::files::{Place, locate, open_directory};
use super::volumes::VolumesInUse;
use super::{Container, Engine};

/// What may be copied at once: as for a layer.
const LIMITS: Limits = Limits::DEFAULT;

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathStat {
    /// Last part of the path.
    pub name: String,
    /// Bytes.
    pub size: i64,
    /// `st_mode`.
    pub mode: u32,
    /// Seconds and nanoseconds since 1970.
    pub modified: (i64, u32),
    /// Where a symlink leads, inside the container.
    pub link_target: String,
}

/// How an archive is put into a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PutOptions {
    /// Refuse to replace a directory by something else and the reverse.
    pub keep_kinds: bool,
    /// Give files to the user of the container's process.
    pub to_container_user: bool,
}

/// A place in a container, ready to be packed.
#[derive(Debug)]
pub struct ArchiveReader {
    place: Place,
    container: String,
    /// Keeps a stopped container's mounts.
    _root: Rootfs,
    /// And those of its volumes.
    _in_use: VolumesInUse,
}

impl Engine {
    /// What is at `path` in a container.
    pub async fn archive_stat(self: &Arc<Self>, reference: &str, path: &str) -> Result<PathStat> {
        let (reader, _) = self.archive_open(reference, path).await?;
        reader.stat(path)
    }

    /// Opens `path` in a container, to be packed by a thread that may block.
    pub async fn archive_open(
        self: &Arc<Self>,
        reference: &str,
        path: &str,
    ) -> Result<(ArchiveReader, Container)> {
        let path = checked(path)?.to_owned();
        let container = self.container(reference)?;
        let in_use = self.enter_volumes_of(&container).await?;
        let root = self
            .containers
            .rootfs(container.id(), RootfsAccess::Read)
            .await?;
        let name = reference.to_owned();
        let opened = tokio::task::spawn_blocking(move || {
            let place = locate(&root, &path).map_err(|errno| path_error(errno, &path, &name))?;
            Ok::<_, Error>(ArchiveReader {
                place,
                container: name,
                _root: root,
                _in_use: in_use,
            })
        });
        Ok((opened.await??, container))
    }

    async fn enter_volumes_of(self: &Arc<Self>, container: &Container) -> Result<VolumesInUse> {
        if container.record.volumes().next().is_none() {
            return Ok(VolumesInUse::default());
        }
        let (engine, record) = (Arc::clone(self), Arc::clone(&container.record));
        tokio::task::spawn_blocking(move || engine.enter_volumes(&record)).await?
    }

    /// Tells that an archive was taken out.
    pub fn archive_taken(&self, container: &Container, path: &str) {
        self.container_event(
            container.id(),
            &container.record,
            "archive-path",
            &[("path", path)],
        );
    }

    /// Unpacks a tar stream, compressed or not, into the directory `path` of
    /// a container. `source` is read on a thread of its own.
    pub async fn archive_put(
        self: &Arc<Self>,
        reference: &str,
        path: &str,
        options: PutOptions,
        source: impl Read + Send + 'static,
    ) -> Result<()> {
        let path = checked(path)?.to_owned();
        let container = self.container(reference)?;
        self.refuse_read_only(&container, &path)?;
        let in_use = self.enter_volumes_of(&container).await?;
        let root = self
            .containers
            .rootfs(container.id(), RootfsAccess::Write)
            .await?;
        let user = container.view.new.user.user.clone();
        let user = options.to_container_user.then_some(user);
        let mut unpack_options = unpack::Options {
            mode: Mode::Plain,
            ownership: Ownership::FromArchive,
            overwrite: if options.keep_kinds {
                Overwrite::SameKind
            } else {
                Overwrite::Anything
            },
            limits: LIMITS,
        };
        let (name, inside) = (reference.to_owned(), path.clone());
        let unpacked = tokio::task::spawn_blocking(move || {
            if let Some(user) = user.filter(|user| !user.is_empty()) {
                unpack_options.ownership = owner(&root, &user)?;
            }
            let put = put(&root, &inside, &unpack_options, source, &name);
            drop((root, in_use));
            put
        });
        unpacked.await??;
        self.container_event(
            container.id(),
            &container.record,
            "extract-to-dir",
            &[("path", &path)],
        );
        Ok(())
    }

    /// What the process could not write, a copy does not either, as Docker
    /// has it: a read-only root outside of writable mounts, read-only mounts.
    fn refuse_read_only(&self, container: &Container, path: &str) -> Result<()> {
        let path = crate::mounts::clean(path);
        let covers =
            |destination: &str| path == destination || path.starts_with(&format!("{destination}/"));
        let mounts = container.record.mounts.iter();
        let deepest = mounts
            .filter(|point| covers(&point.destination))
            .max_by_key(|point| point.destination.len());
        match deepest {
            Some(point) if point.read_only => {
                Err(Error::rule("mounted volume is marked read-only"))
            }
            None if container.record.host_config.readonly_rootfs => Err(Error::ReadOnly),
            _ => Ok(()),
        }
    }
}

impl ArchiveReader {
    /// What it is; `path` as the client gave it.
    pub fn stat(&self, path: &str) -> Result<PathStat> {
        let failed = |errno| path_error(errno, path, &self.container);
        let name = std::ffi::OsStr::from_bytes(&self.place.name);
        let stat = rustix::fs::statat(&self.place.parent, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(failed)?;
        let link_target = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                let target =
                    rustix::fs::readlinkat(&self.place.parent, name, Vec::new()).map_err(failed)?;
                absolute_target(path, &target.to_string_lossy())
            }
            _ => String::new(),
        };
        Ok(PathStat {
            name: String::from_utf8_lossy(&self.place.shown).into_owned(),
            size: stat.st_size,
            mode: stat.st_mode,
            modified: (
                stat.st_mtime,
                u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
            ),
            link_target,
        })
    }

    /// Writes the tar stream. Blocks.
    pub fn pack(&self, destination: impl Write) -> Result<()> {
        let mut tar = TarWriter::new(destination, TimePrecision::Nanoseconds);
        let options = pack::Options {
            mode: Mode::Plain,
            limits: LIMITS,
        };
        let failed = |error: TreeError| tree_error(&error, &self.container);
        if self.place.shown == b"/" {
            pack::pack_below(&self.place.parent, &mut tar, &options).map_err(failed)?;
        } else {
            let rebase = Some(self.place.shown.as_slice());
            pack::pack_entry(
                &self.place.parent,
                &self.place.name,
                rebase,
                &mut tar,
                &options,
            )
            .map_err(failed)?;
        }
        let mut destination = tar.finish().map_err(|error| Error::Archive {
            container: self.container.clone(),
            reason: error.to_string(),
            kind: error.kind(),
        })?;
        destination.flush().map_err(|error| Error::Archive {
            container: self.container.clone(),
            reason: error.to_string(),
            kind: ErrorKind::Cancelled,
        })
    }
}

fn put(
    root: &Rootfs,
    path: &str,
    options: &unpack::Options,
    source: impl Read,
    container: &str,
) -> Result<()> {
    let directory = open_directory(root, path).map_err(|errno| match errno {
        Errno::NOTDIR => Error::NotADirectory,
        errno => path_error(errno, path, container),
    })?;
    let failed = |error: &dyn std::error::Error, kind| Error::Archive {
        container: container.to_owned(),
        reason: chain(error),
        kind,
    };
    let decoder =
        Decoder::new(source, LIMITS.max_bytes).map_err(|error| failed(&error, error.kind()))?;
    let (_, mut rest) = unpack::unpack(&directory, decoder, options)
        .map_err(|error| tree_error(&error, container))?;
    // What stands behind the end of the archive is padding.
    io::copy(&mut rest, &mut io::sink())
        .map_err(|error| failed(&error, ErrorKind::InvalidInput))?;
    Ok(())
}

fn checked(path: &str) -> Result<&str> {
    if path.is_empty() {
        return Err(Error::rule("bad parameter: path cannot be empty"));
    }
    if path.contains('\0') {
        return Err(Error::rule("bad parameter: path must not hold a NUL"));
    }
    Ok(path)
}

/// The container's user, looked up in its own files. Blocks.
fn owner(root: &Rootfs, user: &str) -> Result<Ownership> {
    let found = root.look_up_user(user);
    let (uid, gid) = found.map_err(|reason| {
        Error::rule(format!(
            "failed to look up user {user:?} in container: {reason}"
        ))
    })?;
    Ok(Ownership::Fixed { uid, gid })
}

fn path_error(errno: Errno, path: &str, container: &str) -> Error {
    match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV => Error::NoSuchPath {
            path: path.to_owned(),
            container: container.to_owned(),
        },
        errno => Error::Archive {
            container: container.to_owned(),
            reason: format!("open {path}: {errno}"),
            kind: ErrorKind::Internal,
        },
    }
}

fn tree_error(error: &TreeError, container: &str) -> Error {
    Error::Archive {
        container: container.to_owned(),
        reason: chain(error),
        kind: error.kind(),
    }
}

/// An error with its sources, for a sentence that has no other place for them.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// A symlink's target as an absolute path inside the container.
fn absolute_target(path: &str, target: &str) -> String {
    if target.starts_with('/') {
        return crate::mounts::clean(target);
    }
    let link = crate::mounts::clean(path);
    let directory = link.rsplit_once('/').map_or("", |(above, _)| above);
    crate::mounts::clean(&format!("{directory}/{target}"))
}
