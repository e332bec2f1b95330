//! The files of an image archive, spooled into the blob store as they come.
//!
//! Names in an archive are keys of a table here and never paths of the file
//! system, so nothing in them can lead outside. Documents at the top are kept
//! in memory within a bound; everything else becomes a blob, verified where
//! its name is a digest.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::mpsc::sync_channel;

use carrack_archive::tar::{Kind, TarReader};
use carrack_archive::{ArchiveError, Limits};
use carrack_content::{Expected, Ingest, Ingested, Lease};
use carrack_oci::Digest;
use carrack_oci::manifest::MAX_MANIFEST_BYTES;
use rustix::fs::{FileType, Mode, OFlags};

use crate::error::Error;

/// Most files of one archive.
const MAX_FILES: u64 = 100_000;
/// Most links from one name to the next.
const MAX_LINKS: usize = 8;
/// Most bytes of all names and targets of links of one archive.
const MAX_NAMES_BYTES: usize = 16 << 20;
/// Deepest directory looked into.
const MAX_DEPTH: usize = 8;
/// Files that wait for the disk while the next one is read.
const MAX_FINISHING: usize = 4;
/// Bytes copied at a time.
const PIECE_BYTES: usize = 128 << 10;
/// Documents that are kept in memory.
const DOCUMENTS: [&str; 4] = ["manifest.json", "index.json", "oci-layout", "repositories"];

const ARCHIVE_LIMITS: Limits = Limits {
    max_entries: MAX_FILES,
    ..Limits::DEFAULT
};

/// The files of an archive by their names.
#[derive(Debug, Default)]
pub(super) struct Files {
    by_name: HashMap<String, Spooled>,
    /// Of names and targets, also of those that came twice.
    names_bytes: usize,
}

#[derive(Debug)]
enum Spooled {
    Document(Vec<u8>),
    Blob(Ingested),
    /// Another name of this archive.
    Link(String),
}

impl Files {
    pub(super) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// A document at the top of the archive.
    pub(super) fn document(&self, name: &str) -> Result<&[u8], Error> {
        match self.follow(name)? {
            Spooled::Document(bytes) => Ok(bytes),
            _ => Err(missing(name)),
        }
    }

    /// The blob that `name` became.
    pub(super) fn blob(&self, name: &str) -> Result<&Ingested, Error> {
        match self.follow(&normalize("", name)?)? {
            Spooled::Blob(blob) => Ok(blob),
            _ => Err(missing(name)),
        }
    }

    /// The blob of `digest` in an OCI layout.
    pub(super) fn layout_blob(&self, digest: &Digest) -> Result<&Ingested, Error> {
        self.blob(&format!("blobs/{}/{}", digest.algorithm(), digest.hex()))
    }

    fn follow(&self, name: &str) -> Result<&Spooled, Error> {
        let mut current = name;
        for _ in 0..=MAX_LINKS {
            match self.by_name.get(current) {
                Some(Spooled::Link(target)) => current = target,
                Some(spooled) => return Ok(spooled),
                None => return Err(missing(name)),
            }
        }
        Err(Error::ArchiveName {
            reason: "too many links",
            name: name.to_owned(),
        })
    }
}

/// Spools a tar stream.
pub(super) fn from_tar(lease: &Lease, source: impl Read) -> Result<Files, Error> {
    spool(lease, |files, finishing| {
        let mut tar = TarReader::new(source, ARCHIVE_LIMITS);
        while let Some(entry) = tar.next_entry().map_err(Error::ReadArchive)? {
            let Ok(path) = std::str::from_utf8(&entry.path) else {
                continue;
            };
            let name = normalize("", path)?;
            match entry.kind {
                Kind::Regular if is_legacy(&name) => {}
                Kind::Regular => files.take(lease, finishing, name, &mut tar.data())?,
                Kind::Symlink { target } => {
                    if let Ok(target) = std::str::from_utf8(&target) {
                        let directory =
                            name.rsplit_once('/').map_or("", |(directory, _)| directory);
                        let target = normalize(directory, target)?;
                        files.link(name, target)?;
                    }
                }
                Kind::HardLink { target } => {
                    if let Ok(target) = std::str::from_utf8(&target) {
                        let target = normalize("", target)?;
                        files.link(name, target)?;
                    }
                }
                Kind::Sparse { .. } => {
                    return Err(Error::ArchiveName {
                        reason: "sparse files are not taken",
                        name,
                    });
                }
                _ => {}
            }
        }
        // To the stream's end: there is the check sum of a compressed one.
        let rest = std::io::copy(&mut tar.into_inner(), &mut std::io::sink());
        rest.map(drop).map_err(read_error)
    })
}

/// Spools a directory, following no link out of it.
pub(super) fn from_directory(lease: &Lease, dir: &Path) -> Result<Files, Error> {
    let fail = |source: rustix::io::Errno| Error::Directory {
        path: dir.to_owned(),
        source: source.into(),
    };
    let root = rustix::fs::open(
        dir,
        OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(fail)?;
    spool(lease, |files, finishing| {
        let mut count = 0;
        walk(&root, "", 0, &mut count, &mut |name, parent, base, kind| {
            let fail = |source: rustix::io::Errno| Error::Directory {
                path: dir.join(&name),
                source: source.into(),
            };
            match kind {
                FileType::RegularFile if is_legacy(&name) => Ok(()),
                FileType::RegularFile => {
                    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    let file =
                        rustix::fs::openat(parent, base, flags, Mode::empty()).map_err(fail)?;
                    files.take(
                        lease,
                        finishing,
                        name.clone(),
                        &mut BufReader::new(File::from(file)),
                    )
                }
                FileType::Symlink => {
                    let target = rustix::fs::readlinkat(parent, base, Vec::new()).map_err(fail)?;
                    if let Ok(target) = target.to_str() {
                        let directory =
                            name.rsplit_once('/').map_or("", |(directory, _)| directory);
                        let target = normalize(directory, target)?;
                        files.link(name.clone(), target)?;
                    }
                    Ok(())
                }
                _ => Ok(()),
            }
        })
        .map_err(|error| match error {
            Walk::Io(source) => fail(source),
            Walk::Visit(error) => error,
        })
    })
}

type Finishing<'a, 'lease> = dyn FnMut(String, Ingest<'lease>) -> Result<(), Error> + 'a;

/// Runs `read`, which hands over files to be synced and named while it goes
/// on reading.
fn spool<'lease>(
    _lease: &'lease Lease,
    read: impl FnOnce(&mut Files, &mut Finishing<'_, 'lease>) -> Result<(), Error>,
) -> Result<Files, Error> {
    let mut files = Files::default();
    let (queue, queued) = sync_channel::<(String, Ingest<'lease>)>(MAX_FINISHING);
    let (outcome, finished) = std::thread::scope(|scope| {
        let finisher = scope.spawn(move || {
            let mut finished = Vec::new();
            for (name, ingest) in queued {
                finished.push((name, ingest.finish()?));
            }
            Ok::<_, carrack_content::Error>(finished)
        });
        let outcome = read(&mut files, &mut |name, ingest| {
            // A finisher that is gone has failed, and tells below.
            queue.send((name, ingest)).map_err(|_| Error::Cancelled)
        });
        drop(queue);
        (outcome, finisher.join())
    });
    let finished = match finished {
        Ok(finished) => finished?,
        Err(panic) => std::panic::resume_unwind(panic),
    };
    outcome?;
    for (name, blob) in finished {
        files.by_name.insert(name, Spooled::Blob(blob));
    }
    Ok(files)
}

impl Files {
    fn count(&mut self, name: &str, target_bytes: usize) -> Result<(), Error> {
        self.names_bytes += name.len() + target_bytes;
        if self.names_bytes > MAX_NAMES_BYTES {
            return Err(Error::ArchiveName {
                reason: "names are too long in all",
                name: name.to_owned(),
            });
        }
        Ok(())
    }

    fn link(&mut self, name: String, target: String) -> Result<(), Error> {
        self.count(&name, target.len())?;
        self.by_name.insert(name, Spooled::Link(target));
        Ok(())
    }

    fn take<'lease>(
        &mut self,
        lease: &'lease Lease,
        finishing: &mut Finishing<'_, 'lease>,
        name: String,
        data: &mut impl Read,
    ) -> Result<(), Error> {
        self.count(&name, 0)?;
        if DOCUMENTS.contains(&name.as_str()) {
            let mut bytes = Vec::new();
            data.take(MAX_MANIFEST_BYTES as u64 + 1)
                .read_to_end(&mut bytes)
                .map_err(read_error)?;
            if bytes.len() > MAX_MANIFEST_BYTES {
                return Err(Error::ArchiveName {
                    reason: "document is too large",
                    name,
                });
            }
            self.by_name.insert(name, Spooled::Document(bytes));
            return Ok(());
        }
        let digest = blob_name(&name);
        let mut ingest = lease.begin(Expected {
            digest: digest.as_ref(),
            ..Expected::default()
        })?;
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            match data.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => ingest.append(&piece[..read])?,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(read_error(error)),
            }
        }
        finishing(name, ingest)
    }
}

/// The digest that a name in an OCI layout promises.
fn blob_name(name: &str) -> Option<Digest> {
    let (algorithm, hex) = name.strip_prefix("blobs/")?.split_once('/')?;
    format!("{algorithm}:{hex}").parse().ok()
}

/// Files beside each layer that only docker before 1.10 read.
fn is_legacy(name: &str) -> bool {
    matches!(name.split_once('/'), Some((_, "VERSION" | "json")))
}

/// `name` seen from `directory`, without `.`, `..` and doubled slashes. One
/// that leaves the archive is refused.
fn normalize(directory: &str, name: &str) -> Result<String, Error> {
    let mut parts: Vec<&str> = Vec::new();
    let base = if name.starts_with('/') { "" } else { directory };
    for part in base.split('/').chain(name.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                if parts.pop().is_none() {
                    return Err(Error::ArchiveName {
                        reason: "name leads outside",
                        name: name.to_owned(),
                    });
                }
            }
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// A bound of the decoder comes through `io::Read` as well.
pub(crate) fn read_error(error: std::io::Error) -> Error {
    Error::ReadArchive(ArchiveError::from_read(error))
}

fn missing(name: &str) -> Error {
    Error::ArchiveMissing {
        name: name.to_owned(),
    }
}

enum Walk {
    Io(rustix::io::Errno),
    Visit(Error),
}

type Visit<'a> = dyn FnMut(String, &OwnedFd, &std::ffi::CStr, FileType) -> Result<(), Error> + 'a;

fn walk(
    dir: &OwnedFd,
    prefix: &str,
    depth: usize,
    count: &mut u64,
    visit: &mut Visit<'_>,
) -> Result<(), Walk> {
    for entry in rustix::fs::Dir::read_from(dir).map_err(Walk::Io)? {
        let entry = entry.map_err(Walk::Io)?;
        let base = entry.file_name();
        let Ok(text) = base.to_str() else {
            continue;
        };
        if matches!(text, "." | "..") {
            continue;
        }
        *count += 1;
        let name = format!("{prefix}{text}");
        if *count > MAX_FILES || depth > MAX_DEPTH {
            let reason = "too many files or directories";
            return Err(Walk::Visit(Error::ArchiveName { reason, name }));
        }
        let stat = rustix::fs::statat(dir, base, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
            .map_err(Walk::Io)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
            let below = rustix::fs::openat(dir, base, flags, Mode::empty()).map_err(Walk::Io)?;
            walk(&below, &format!("{name}/"), depth + 1, count, visit)?;
        } else {
            visit(name, dir, base, kind).map_err(Walk::Visit)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalizes_names_within_the_archive() {
        for (directory, name, expected) in [
            ("", "./manifest.json", Some("manifest.json")),
            ("", "/a//b/", Some("a/b")),
            ("a/b", "../c", Some("a/c")),
            ("a/b", "/c", Some("c")),
            ("a", "../../c", None),
            ("", "..", None),
            ("", "a/../../etc/passwd", None),
        ] {
            assert_eq!(
                normalize(directory, name).ok().as_deref(),
                expected,
                "{directory} {name}"
            );
        }
    }
}
