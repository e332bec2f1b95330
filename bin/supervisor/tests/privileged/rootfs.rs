//! A root file system of busybox, and what else a test needs on disk. All of
//! it lies in one directory, which goes with the test.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

const APPLETS: &[&str] = &[
    "sh", "cat", "echo", "ls", "id", "sleep", "true", "false", "stat", "readlink", "mount",
    "umount", "grep", "head", "tail", "wc", "dd", "yes", "kill", "ps", "hostname", "touch",
    "mkdir", "rm", "mv", "ln", "chmod", "mknod", "stty", "tty", "setsid", "env", "printf", "test",
    "uname", "date", "sync", "tr", "seq", "find", "cp", "pwd", "su",
];

pub(crate) struct Rootfs {
    pub(crate) directory: tempfile::TempDir,
}

impl Rootfs {
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("carrack-supervisor-")
            .tempdir()
            .expect("temporary directory");
        let rootfs = Self { directory };
        let lower = rootfs.path("lower");
        for name in ["bin", "proc", "sys", "dev", "tmp", "etc", "run", "root"] {
            fs::create_dir_all(lower.join(name)).expect("directory");
        }
        fs::copy("/usr/bin/busybox", lower.join("bin/busybox")).expect("busybox-static");
        for applet in APPLETS {
            symlink("busybox", lower.join("bin").join(applet)).expect("link");
        }
        fs::write(
            lower.join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/tmp:/bin/sh\n",
        )
        .expect("passwd");
        fs::write(
            lower.join("etc/group"),
            "root:x:0:\nuser:x:1000:\naudio:x:29:user\n",
        )
        .expect("group");
        for name in ["upper", "work", "container"] {
            fs::create_dir(rootfs.path(name)).expect("directory");
        }
        rootfs
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The image's directory, to be changed before the first mount.
    pub(crate) fn lower(&self) -> PathBuf {
        self.path("lower")
    }

    /// A detached overlay mount.
    pub(crate) fn mount(&self) -> OwnedFd {
        use rustix::mount::{fsconfig_create, fsconfig_set_string, fsmount, fsopen};
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).expect("overlay");
        for (key, name) in [
            ("lowerdir", "lower"),
            ("upperdir", "upper"),
            ("workdir", "work"),
        ] {
            fsconfig_set_string(context.as_fd(), key, self.path(name)).expect("parameter");
        }
        fsconfig_create(context.as_fd()).expect("overlay");
        fsmount(
            context.as_fd(),
            FsMountFlags::FSMOUNT_CLOEXEC,
            MountAttrFlags::empty(),
        )
        .expect("mount")
    }

    /// Gives all files to a user, as ids of a user namespace begin there.
    pub(crate) fn give_to(&self, id: u32) {
        fn walk(path: &Path, id: u32) {
            std::os::unix::fs::lchown(path, Some(id), Some(id)).expect("owner");
            if path.symlink_metadata().expect("metadata").is_dir() {
                for entry in fs::read_dir(path).expect("list") {
                    walk(&entry.expect("entry").path(), id);
                }
            }
        }
        for name in ["lower", "upper"] {
            walk(&self.path(name), id);
        }
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(self.directory.path(), fs::Permissions::from_mode(0o755))
            .expect("mode");
    }

    pub(crate) fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        fs::write(&path, text).expect("file");
        path
    }

    /// A script of the host's, executable.
    pub(crate) fn script(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.write(name, &format!("#!/bin/sh\n{text}\n"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("mode");
        path
    }
}

pub(crate) fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
