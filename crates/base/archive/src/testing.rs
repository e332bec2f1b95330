//! What the tests of this crate share: archives written byte by byte, and a
//! tree's state as text.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::tar::{BLOCK_LEN, Entry, Kind, TarWriter, TimePrecision};

/// An archive put together block by block, right or wrong.
#[derive(Default)]
pub(crate) struct Raw(Vec<u8>);

impl Raw {
    pub(crate) fn new() -> Raw {
        Raw::default()
    }

    /// A ustar header with the given fields; `patch` may break it before the
    /// check sum is made.
    pub(crate) fn header(
        mut self,
        name: &str,
        flag: u8,
        size: u64,
        patch: impl FnOnce(&mut [u8]),
    ) -> Raw {
        let mut block = vec![0; BLOCK_LEN];
        block[..name.len()].copy_from_slice(name.as_bytes());
        let fields = [
            (100, "0000644".to_owned()),
            (108, "0000000".to_owned()),
            (116, "0000000".to_owned()),
            (124, format!("{size:011o}")),
            (136, "00000000000".to_owned()),
            (257, "ustar\x0000".to_owned()),
            (329, "0000000".to_owned()),
            (337, "0000000".to_owned()),
        ];
        for (at, text) in fields {
            block[at..at + text.len()].copy_from_slice(text.as_bytes());
        }
        block[156] = flag;
        patch(&mut block);
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend(block);
        self
    }

    pub(crate) fn entry(self, name: &str, flag: u8, data: &[u8]) -> Raw {
        self.header(name, flag, data.len() as u64, |_| {})
            .data(data)
    }

    pub(crate) fn file(self, name: &str, data: &str) -> Raw {
        self.entry(name, b'0', data.as_bytes())
    }

    pub(crate) fn dir(self, name: &str) -> Raw {
        self.header(name, b'5', 0, |block| {
            block[100..107].copy_from_slice(b"0000755");
        })
    }

    pub(crate) fn link(self, name: &str, flag: u8, target: &str) -> Raw {
        self.header(name, flag, 0, |block| {
            block[157..157 + target.len()].copy_from_slice(target.as_bytes());
        })
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Raw {
        self.link(name, b'2', target)
    }

    pub(crate) fn hard_link(self, name: &str, target: &str) -> Raw {
        self.link(name, b'1', target)
    }

    pub(crate) fn device(self, name: &str, flag: u8, major: u32, minor: u32) -> Raw {
        self.header(name, flag, 0, |block| {
            block[329..336].copy_from_slice(format!("{major:07o}").as_bytes());
            block[337..344].copy_from_slice(format!("{minor:07o}").as_bytes());
        })
    }

    pub(crate) fn pax(self, flag: u8, records: &[(&str, &str)]) -> Raw {
        let mut data = String::new();
        for (key, value) in records {
            let body = key.len() + value.len() + 3;
            let mut len = body + 1;
            while len.to_string().len() + body != len {
                len += 1;
            }
            writeln!(data, "{len} {key}={value}").unwrap();
        }
        self.entry("pax", flag, data.as_bytes())
    }

    /// Data, padded to a block.
    pub(crate) fn data(mut self, data: &[u8]) -> Raw {
        self.0.extend(data);
        self.0.resize(self.0.len().next_multiple_of(BLOCK_LEN), 0);
        self
    }

    pub(crate) fn blank(mut self) -> Raw {
        self.0.extend([0; BLOCK_LEN]);
        self
    }

    pub(crate) fn end(self) -> Vec<u8> {
        self.blank().blank().0
    }

    pub(crate) fn cut(self, from_end: usize) -> Vec<u8> {
        let len = self.0.len() - from_end;
        self.0[..len].to_vec()
    }
}

/// Writes entries with [`TarWriter`]; regular files hold `x`s.
pub(crate) fn write(entries: &[Entry]) -> Vec<u8> {
    let mut writer = TarWriter::new(Vec::new(), TimePrecision::Nanoseconds);
    for entry in entries {
        let mut data = std::io::repeat(b'x');
        writer.append_with_data(entry, &mut data).unwrap();
    }
    writer.finish().unwrap()
}

pub(crate) fn file(path: &str, size: u64) -> Entry {
    Entry {
        size,
        ..Entry::new(path, Kind::Regular)
    }
}

pub(crate) fn open_dir(path: &Path) -> rustix::fd::OwnedFd {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).unwrap()
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Which parts of a tree's state [`describe`] shows beside names and kinds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Mode, owner, content.
    Ordinary,
    /// Times in whole seconds as well, for trees compared with each other.
    Times,
}

/// A tree as text, a line an inode's name, sorted.
pub(crate) fn describe(root: &Path, detail: Detail) -> String {
    let mut lines = Vec::new();
    let mut links = HashMap::new();
    let mut pending = vec![root.to_path_buf()];
    while let Some(path) = pending.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes();
        let mut line = match name {
            [] => ".".to_owned(),
            name => name.escape_ascii().to_string(),
        };
        let kind = meta.file_type();
        write!(
            line,
            " {:04o} {}:{}",
            meta.mode() & 0o7777,
            meta.uid(),
            meta.gid()
        )
        .unwrap();
        if kind.is_dir() {
            line += " dir";
            pending.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if kind.is_symlink() {
            let target = fs::read_link(&path).unwrap();
            write!(line, " -> {}", target.as_os_str().as_bytes().escape_ascii()).unwrap();
        } else if kind.is_file() {
            let content = fs::read(&path).unwrap();
            write!(line, " file {}", content.len()).unwrap();
            if content.len() <= 40 {
                write!(line, " {:?}", String::from_utf8_lossy(&content)).unwrap();
            } else {
                write!(line, " {}", carrack_oci::Digest::of(&content)).unwrap();
            }
        } else if kind.is_fifo() {
            line += " fifo";
        } else {
            let (major, minor) = (
                rustix::fs::major(meta.rdev()),
                rustix::fs::minor(meta.rdev()),
            );
            let block = if kind.is_block_device() {
                "block"
            } else {
                "char"
            };
            write!(line, " {block} {major}:{minor}").unwrap();
        }
        if !kind.is_dir() && meta.nlink() > 1 {
            let next = links.len();
            let group = links.entry(meta.ino()).or_insert(next);
            // Numbered by first appearance below, once lines are sorted.
            write!(line, " link#{group}").unwrap();
        }
        if detail == Detail::Times {
            write!(line, " @{}", meta.mtime()).unwrap();
        }
        for xattr in xattrs(&path) {
            write!(line, " {xattr}").unwrap();
        }
        lines.push(line);
    }
    lines.sort();
    renumber(&mut lines);
    lines.join("\n") + "\n"
}

/// Links are told apart by number; numbers go by the order of names.
fn renumber(lines: &mut [String]) {
    let mut seen: Vec<String> = Vec::new();
    for line in lines {
        let Some(at) = line.find(" link#") else {
            continue;
        };
        let start = at + " link#".len();
        let len = line[start..].find(' ').unwrap_or(line.len() - start);
        let old = line[start..start + len].to_owned();
        let new = seen
            .iter()
            .position(|known| *known == old)
            .unwrap_or_else(|| {
                seen.push(old);
                seen.len() - 1
            });
        line.replace_range(start..start + len, &new.to_string());
    }
}

fn xattrs(path: &Path) -> Vec<String> {
    let mut names = vec![0; 4096];
    let len = rustix::fs::llistxattr(path, &mut names[..]).unwrap_or(0);
    let mut found = Vec::new();
    for name in names[..len]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        let mut value = [0; 256];
        let len = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
        found.push(format!(
            "{}={}",
            name.escape_ascii(),
            value[..len].escape_ascii()
        ));
    }
    found.sort();
    found
}
