//! What is mounted: v1 hierarchies, v2, or both.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{Controller, ControllerSet, Error, Layout, Version, file};

const MOUNTINFO: &str = "/proc/self/mountinfo";

/// The machine's control group hierarchies, opened. Cheap to clone.
///
/// Named v1 hierarchies (`name=systemd`) and v1 hierarchies with none of our
/// controllers are left alone.
#[derive(Clone, Debug)]
pub struct Hierarchies(pub(crate) Arc<Mounted>);

#[derive(Debug)]
pub(crate) struct Mounted {
    pub(crate) hierarchies: Vec<Hierarchy>,
    pub(crate) layout: Layout,
}

#[derive(Debug)]
pub(crate) struct Hierarchy {
    pub(crate) version: Version,
    pub(crate) controllers: ControllerSet,
    pub(crate) mount_point: PathBuf,
    root: OwnedFd,
}

impl Hierarchies {
    /// Reads this process's mounts and opens the hierarchies at or under `root`,
    /// usually `/sys/fs/cgroup`.
    pub fn detect(root: &Path) -> Result<Self, Error> {
        let text = std::fs::read(MOUNTINFO).map_err(|source| Error::ReadMounts {
            path: PathBuf::from(MOUNTINFO),
            source,
        })?;
        Self::from_mountinfo(&text, root)
    }

    /// The same from the text of a `mountinfo` (`proc_pid_mountinfo(5)`).
    pub fn from_mountinfo(text: &[u8], root: &Path) -> Result<Self, Error> {
        let mut hierarchies = Vec::new();
        let mut layout = Layout::default();
        for mount in mounts(text, root) {
            if let Some(hierarchy) = Hierarchy::open(mount, &layout)? {
                layout = hierarchy.added_to(layout);
                hierarchies.push(hierarchy);
            }
        }
        if hierarchies.is_empty() {
            return Err(Error::NotMounted {
                root: root.to_owned(),
            });
        }
        // v2 last: a process is born there and then attaches itself to v1.
        hierarchies.sort_by_key(|hierarchy| hierarchy.version == Version::V2);
        Ok(Self(Arc::new(Mounted {
            hierarchies,
            layout,
        })))
    }

    /// Where each controller is.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.0.layout
    }
}

impl Mounted {
    /// Index of the hierarchy that serves a controller.
    pub(crate) fn index_of(&self, controller: Controller) -> Option<usize> {
        match self.layout.version_of(controller)? {
            Version::V1 => self.hierarchies.iter().position(|hierarchy| {
                hierarchy.version == Version::V1 && hierarchy.controllers.contains(controller)
            }),
            Version::V2 => self.unified(),
        }
    }

    /// Index of the v2 hierarchy.
    pub(crate) fn unified(&self) -> Option<usize> {
        self.hierarchies
            .iter()
            .position(|hierarchy| hierarchy.version == Version::V2)
    }
}

impl Hierarchy {
    /// `None` when the mount has nothing that an earlier one did not have.
    fn open(mount: Mount, known: &Layout) -> Result<Option<Self>, Error> {
        let open_error = |source| Error::Open {
            path: mount.mount_point.clone(),
            source,
        };
        if let Some(controllers) = mount.v1_controllers {
            let controllers = controllers.without(known.v1);
            if controllers.is_empty() {
                return Ok(None);
            }
            let root = open_root(&mount.mount_point).map_err(open_error)?;
            return Ok(Some(Self {
                version: Version::V1,
                controllers,
                mount_point: mount.mount_point,
                root,
            }));
        }
        if known.unified {
            return Ok(None);
        }
        let root = open_root(&mount.mount_point).map_err(open_error)?;
        let listed =
            file::read(root.as_fd(), "cgroup.controllers").map_err(|source| Error::Read {
                path: mount.mount_point.join("cgroup.controllers"),
                source,
            })?;
        Ok(Some(Self {
            version: Version::V2,
            controllers: parse_controllers(&listed),
            mount_point: mount.mount_point,
            root,
        }))
    }

    fn added_to(&self, mut layout: Layout) -> Layout {
        match self.version {
            Version::V1 => layout.v1 = layout.v1.union(self.controllers),
            Version::V2 => {
                layout.v2 = self.controllers;
                layout.unified = true;
            }
        }
        layout
    }

    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

/// The known controllers in a v2 list such as `cgroup.controllers`.
pub(crate) fn parse_controllers(list: &str) -> ControllerSet {
    list.split_ascii_whitespace()
        .filter_map(|name| Controller::from_name(name, Version::V2))
        .collect()
}

fn open_root(path: &Path) -> std::io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

struct Mount {
    mount_point: PathBuf,
    /// `None` for a v2 mount.
    v1_controllers: Option<ControllerSet>,
}

/// The control group mounts at or under `root`; of several on one mount point
/// the last, which hides the others.
fn mounts(text: &[u8], root: &Path) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        let Some((mount_point, kind)) = parse_mount(line) else {
            continue;
        };
        if !mount_point.starts_with(root) {
            continue;
        }
        // Whatever is mounted later on the same place hides what was there.
        mounts.retain(|earlier| earlier.mount_point != mount_point);
        let v1_controllers = match kind {
            MountKind::V1(controllers) if controllers.is_empty() => continue,
            MountKind::V1(controllers) => Some(controllers),
            MountKind::V2 => None,
            MountKind::Other => continue,
        };
        mounts.push(Mount {
            mount_point,
            v1_controllers,
        });
    }
    mounts
}

enum MountKind {
    V1(ControllerSet),
    V2,
    Other,
}

/// `36 35 98:0 ROOT MOUNT_POINT OPTIONS [OPTIONAL…] - TYPE SOURCE SUPER_OPTIONS`
fn parse_mount(line: &[u8]) -> Option<(PathBuf, MountKind)> {
    let mut fields = line.split(|byte| *byte == b' ');
    let mount_point = unescape(fields.nth(4)?);
    fields.by_ref().find(|field| *field == b"-")?;
    let kind = match fields.next()? {
        b"cgroup2" => MountKind::V2,
        b"cgroup" => {
            let options = std::str::from_utf8(fields.nth(1)?).ok()?;
            MountKind::V1(v1_controllers(options))
        }
        _ => MountKind::Other,
    };
    Some((PathBuf::from(OsString::from_vec(mount_point)), kind))
}

fn v1_controllers(options: &str) -> ControllerSet {
    options
        .split(',')
        .filter_map(|option| Controller::from_name(option, Version::V1))
        .collect()
}

/// The kernel writes space, tab, newline and backslash as `\ooo`.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'\\'
            && let Some(digits) = tail.get(..3)
            && let Ok(digits) = std::str::from_utf8(digits)
            && let Ok(value) = u8::from_str_radix(digits, 8)
        {
            plain.push(value);
            rest = &tail[3..];
        } else {
            plain.push(byte);
            rest = tail;
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(text: &str, expected: Expect) {
        let mut out = String::new();
        for mount in mounts(text.as_bytes(), Path::new("/sys/fs/cgroup")) {
            let kind = match mount.v1_controllers {
                None => "v2".to_owned(),
                Some(set) => format!("v1 {:?}", set.iter().collect::<Vec<_>>()),
            };
            out += &format!("{} {kind}\n", mount.mount_point.display());
        }
        expected.assert_eq(&out);
    }

    #[test]
    fn hybrid_with_controllers_mounted_together() {
        check(
            "\
25 1 8:1 / / rw - ext4 /dev/sda1 rw
30 25 0:26 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw,nsdelegate
32 30 0:28 / /sys/fs/cgroup/systemd rw shared:11 - cgroup cgroup rw,xattr,name=systemd
33 30 0:31 / /sys/fs/cgroup/cpu,cpuacct rw shared:15 - cgroup cgroup rw,cpu,cpuacct
34 30 0:32 / /sys/fs/cgroup/net_cls,net_prio rw shared:16 - cgroup cgroup rw,net_cls,net_prio
35 30 0:33 / /sys/fs/cgroup/blkio rw master:1 shared:17 - cgroup cgroup rw,blkio
36 25 0:28 / /mnt/elsewhere rw - cgroup cgroup rw,memory
",
            expect![[r#"
                /sys/fs/cgroup/unified v2
                /sys/fs/cgroup/cpu,cpuacct v1 [Cpu, Cpuacct]
                /sys/fs/cgroup/net_cls,net_prio v1 [NetCls, NetPrio]
                /sys/fs/cgroup/blkio v1 [Io]
            "#]],
        );
    }

    #[test]
    fn a_later_mount_hides_an_earlier_one() {
        check(
            "\
31 30 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw
32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
33 30 0:29 / /sys/fs/cgroup/memory rw - tmpfs tmpfs rw
34 30 0:30 / /sys/fs/cgroup/with\\040space rw - cgroup cgroup rw,pids
",
            expect![[r#"
                /sys/fs/cgroup v2
                /sys/fs/cgroup/with space v1 [Pids]
            "#]],
        );
    }

    #[test]
    fn malformed_lines_are_passed_over() {
        check(
            "\n1\n1 2 3 4\n1 2 3 / /sys/fs/cgroup rw\n1 2 3 / /sys/fs/cgroup/a rw - cgroup\n\\\n1 2 3 / /sys/fs/cgroup/\\04 rw - cgroup2 x y\n",
            expect![[r#"
                /sys/fs/cgroup/\04 v2
            "#]],
        );
    }
}
