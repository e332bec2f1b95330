//! Roots of stopped containers, as copies read and write them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use carrack_oci::runtime::Mount;
use carrack_oci::{ChainId, Digest};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::mount::{MountFlags, UnmountFlags};

use crate::testing::{World, container};
use crate::{Containers, NewContainer, RootfsAccess};

/// A container on record, over a layer with a file `below` in it.
async fn stopped(world: &World, new: &mut NewContainer) -> Containers {
    let chain = ChainId(Digest::of(new.id.as_str().as_bytes()));
    new.rootfs.chain = vec![chain.clone()];
    let containers = world.open().await;
    let layer = containers.0.config.snapshots.layer_path(&chain);
    std::fs::create_dir_all(layer.join("mnt")).expect("a layer");
    std::fs::write(layer.join("below"), "from below").expect("a file");
    containers.create(new.clone()).await.expect("create");
    containers
}

fn open(root: impl AsFd, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let flags = flags | OFlags::CLOEXEC;
    let mode = if flags.contains(OFlags::CREATE) {
        Mode::RWXU
    } else {
        Mode::empty()
    };
    Ok(rustix::fs::openat2(root, path, flags, mode, inside)?)
}

fn write(root: impl AsFd, path: &str) -> io::Result<()> {
    let file = open(root, path, OFlags::CREATE | OFlags::WRONLY)?;
    rustix::io::write(&file, b"written")?;
    Ok(())
}

fn exists(root: impl AsFd, path: &str) -> bool {
    open(root, path, OFlags::PATH).is_ok()
}

fn is_read_only(written: io::Result<()>) -> bool {
    matches!(written, Err(error) if error.raw_os_error() == Some(libc::EROFS))
}

#[tokio::test(flavor = "multi_thread")]
async fn any_number_read_while_one_writes_and_a_start_waits_for_it() {
    let Some(world) = World::new("any_number_read_while_one_writes") else {
        return;
    };
    let mut new = container();
    let containers = stopped(&world, &mut new).await;
    let first = containers.rootfs(&new.id, RootfsAccess::Read).await;
    let first = first.expect("a root");
    assert!(exists(&first, "below"));
    assert!(is_read_only(write(&first, "new")));

    let writing = containers.rootfs(&new.id, RootfsAccess::Write).await;
    let writing = writing.expect("a root");
    write(&writing, "new").expect("write");
    rustix::fs::unlinkat(&writing, "below", rustix::fs::AtFlags::empty()).expect("unlink");
    let entry = containers.entry(&new.id).expect("entry");
    assert!(entry.operation.try_lock().is_err(), "a start has to wait");

    // Nothing but the writer's mount has the work directory: this one shows
    // what was written and what was removed.
    let second = containers.rootfs(&new.id, RootfsAccess::Read).await;
    let second = second.expect("a root");
    assert!(exists(&second, "new") && !exists(&second, "below"));
    drop(writing);
    assert!(entry.operation.try_lock().is_ok());
    assert!(exists(&second, "new"));
}

#[tokio::test(flavor = "multi_thread")]
async fn read_only_binds_stay_so_however_they_are_reached() {
    let Some(world) = World::new("read_only_binds_stay_so") else {
        return;
    };
    let host = world.directory.path().join("host");
    std::fs::create_dir_all(host.join("below")).expect("directories");
    let tmpfs = Below::mount(host.join("below"));
    let check = async |options: &[&str], read_only: bool, read_only_below: bool| {
        let mut new = container();
        let mut all = vec!["rbind".to_owned(), "rprivate".to_owned()];
        all.extend(options.iter().map(|option| (*option).to_owned()));
        new.spec.mounts.push(Mount {
            destination: "/mnt".to_owned(),
            kind: Some("bind".to_owned()),
            source: Some(host.display().to_string()),
            options: all,
            ..Mount::default()
        });
        let containers = stopped(&world, &mut new).await;
        let root = containers.rootfs(&new.id, RootfsAccess::Write).await;
        let root = root.expect("a root");
        // The image leads a copy there by another name.
        rustix::fs::symlinkat("mnt", &root, "harmless").expect("symlink");
        for directory in ["mnt", "harmless"] {
            let written = write(&root, &format!("{directory}/x"));
            assert_eq!(is_read_only(written), read_only, "{options:?}");
            let written = write(&root, &format!("{directory}/below/x"));
            assert_eq!(is_read_only(written), read_only_below, "{options:?}");
        }
        drop(root);
        let reading = containers.rootfs(&new.id, RootfsAccess::Read).await;
        let reading = reading.expect("a root");
        assert!(exists(&reading, "mnt/below"));
        assert!(is_read_only(write(&reading, "mnt/below/x")));
    };
    check(&[], false, false).await;
    check(&["ro"], true, false).await;
    check(&["rro"], true, true).await;
    drop(tmpfs);
}

/// A file system mounted below a bind's source.
struct Below(PathBuf);

impl Below {
    fn mount(path: PathBuf) -> Self {
        rustix::mount::mount("test", &path, "tmpfs", MountFlags::empty(), None).expect("mount");
        Self(path)
    }
}

impl Drop for Below {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, UnmountFlags::DETACH).expect("unmount");
    }
}
