//! The machine's device nodes, for the pure translation.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use crate::spec::{DeviceNode, DeviceNodes};

/// Directories below a mapped one that are looked into.
const DEPTH_MAX: usize = 8;

/// This machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Machine;

impl DeviceNodes for Machine {
    fn node(&self, path: &str) -> io::Result<DeviceNode> {
        let metadata = std::fs::metadata(path).map_err(plain)?;
        node_of(&metadata).ok_or_else(|| io::Error::other("not a device node"))
    }

    fn below(&self, path: &str, max: usize) -> io::Result<Option<Vec<(String, DeviceNode)>>> {
        if !std::fs::metadata(path).map_err(plain)?.is_dir() {
            return Ok(None);
        }
        let mut nodes = Vec::new();
        collect(Path::new(path), DEPTH_MAX, max, &mut nodes)?;
        Ok(Some(nodes))
    }
}

/// Errors in the words of libc, as Docker shows them.
fn plain(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::NotFound => io::Error::other("no such file or directory"),
        io::ErrorKind::PermissionDenied => io::Error::other("permission denied"),
        _ => error,
    }
}

fn collect(
    directory: &Path,
    depth: usize,
    max: usize,
    nodes: &mut Vec<(String, DeviceNode)>,
) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if nodes.len() >= max {
            return Err(io::Error::other(format!("more than {max} devices")));
        }
        // Symlinks are passed over: their targets are found where they are.
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        if metadata.is_dir() && depth > 0 {
            collect(&entry.path(), depth - 1, max, nodes)?;
        } else if let (Some(node), Some(path)) = (node_of(&metadata), entry.path().to_str()) {
            nodes.push((path.to_owned(), node));
        }
    }
    Ok(())
}

fn node_of(metadata: &std::fs::Metadata) -> Option<DeviceNode> {
    let file_type = metadata.file_type();
    let kind = if file_type.is_char_device() {
        'c'
    } else if file_type.is_block_device() {
        'b'
    } else {
        return None;
    };
    Some(DeviceNode {
        kind,
        major: i64::from(rustix::fs::major(metadata.rdev())),
        minor: i64::from(rustix::fs::minor(metadata.rdev())),
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_of_this_machine() {
        let null = Machine.node("/dev/null").expect("everybody has it");
        assert_eq!((null.kind, null.major, null.minor), ('c', 1, 3));
        assert!(Machine.node("/etc").is_err());
        assert!(Machine.below("/dev/null", 10).expect("looked at").is_none());
        let all = Machine
            .below("/dev", 4096)
            .expect("read")
            .expect("a directory");
        assert!(all.iter().any(|(path, _)| path == "/dev/null"));
    }
}
