//! Mounts of a spec, seen from inside and from the host.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use serde_json::{Value, json};

use crate::harness::{Setup, can_run, eventually};
use crate::rootfs::read;

fn bind(source: &Path, target: &str, options: &[&str]) -> Value {
    let mut all = vec!["rbind"];
    all.extend(options);
    json!({"destination": target, "type": "bind", "source": source, "options": all})
}

/// A tmpfs on the host with this propagation, unmounted on drop.
struct HostMount(std::path::PathBuf, Option<tempfile::TempDir>);

impl HostMount {
    /// At a place of its own.
    fn new(propagation: MountPropagationFlags) -> Self {
        let place = tempfile::Builder::new()
            .prefix("carrack-supervisor-")
            .tempdir()
            .expect("directory");
        let mut mount = Self::at(place.path().to_owned(), propagation);
        mount.1 = Some(place);
        mount
    }

    fn at(path: std::path::PathBuf, propagation: MountPropagationFlags) -> Self {
        rustix::mount::mount("test", &path, "tmpfs", MountFlags::empty(), None).expect("tmpfs");
        rustix::mount::mount_change(&path, propagation).expect("propagation");
        fs::create_dir(path.join("below")).expect("directory");
        Self(path, None)
    }

    fn mounts_below(&self) -> usize {
        let prefix = format!(" {}/", self.0.display());
        read("/proc/self/mountinfo")
            .lines()
            .filter(|l| l.contains(&prefix))
            .count()
    }
}

impl Drop for HostMount {
    fn drop(&mut self) {
        while rustix::mount::unmount(&self.0, UnmountFlags::DETACH).is_ok() {}
    }
}

#[test]
fn options_of_mounts_apply() {
    if !can_run() {
        return;
    }
    let mut setup = Setup::new(
        "grep -E ' (/proc|/dev|/dev/shm|/sys|/data|/data/file|/scratch) ' /proc/mounts; \
         cat /data/file; echo x > /data/new || echo read-only; stat -c %a /tmp; stat -c %a /scratch",
    );
    fs::set_permissions(
        setup.rootfs.path("lower/tmp"),
        fs::Permissions::from_mode(0o1770),
    )
    .expect("mode");
    let data = setup.rootfs.write("data/file", "content\n");
    let directory = data.parent().expect("parent").to_owned();
    setup.mount(bind(
        &directory,
        "/data",
        &["ro", "nosuid", "nodev", "noatime"],
    ));
    setup.mount(json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}));
    setup.mount(
        json!({"destination": "/scratch", "type": "tmpfs", "source": "tmpfs",
        "options": ["size=1m", "mode=711", "noexec"]}),
    );
    let said = setup.run().ok();
    for wanted in [
        "proc /proc proc rw,nosuid,nodev,noexec,relatime",
        "tmpfs /dev tmpfs rw,nosuid,size=65536k,mode=755",
        "shm /dev/shm tmpfs rw,nosuid,nodev,noexec,relatime,size=65536k",
        "sysfs /sys sysfs ro,nosuid,nodev,noexec,relatime",
        " /data ",
        "ro,nosuid,nodev,noatime",
        "tmpfs /scratch tmpfs rw,noexec,relatime,size=1024k,mode=711",
        "content\n",
        "read-only\n",
        // As runc does, a tmpfs takes the mode of what it covers.
        "\n1770\n711\n",
    ] {
        assert!(said.contains(wanted), "{wanted:?} in {said}");
    }
}

#[test]
fn a_bind_brings_what_is_below_and_recursive_read_only_reaches_it() {
    if !can_run() {
        return;
    }
    for (options, top, below) in [
        (vec!["ro"], "ro", "rw"),
        (vec!["rro"], "ro", "ro"),
        (vec![], "rw", "rw"),
        // As with runc, what is said of all comes last, in whatever order.
        (vec!["rro", "rw"], "ro", "ro"),
        (vec!["rw", "rro"], "ro", "ro"),
    ] {
        let mut setup = Setup::new(
            "(touch /host/x 2>/dev/null && echo rw) || echo ro; \
             (touch /host/below/x 2>/dev/null && echo rw) || echo ro",
        );
        let outer = HostMount::new(MountPropagationFlags::PRIVATE);
        let _inner = HostMount::at(outer.0.join("below"), MountPropagationFlags::PRIVATE);
        setup.mount(bind(&outer.0, "/host", &options));
        assert_eq!(setup.run().ok(), format!("{top}\n{below}\n"), "{options:?}");
    }
}

/// Who sees a mount that is made later: host made and container sees, or the
/// other way round.
#[test]
fn propagation_is_as_asked_and_private_if_not() {
    if !can_run() {
        return;
    }
    // Options, whether the container sees the host's, the host the container's.
    for (options, down, up) in [
        (vec![], false, false),
        (vec!["rprivate"], false, false),
        (vec!["private"], false, false),
        (vec!["rslave"], true, false),
        (vec!["slave"], true, false),
        (vec!["rshared"], true, true),
        (vec!["shared"], true, true),
        (vec!["unbindable"], false, false),
        (vec!["runbindable"], false, false),
    ] {
        let mut setup = Setup::new("sleep 100");
        let host = HostMount::new(MountPropagationFlags::SHARED);
        fs::create_dir(host.0.join("inner")).expect("directory");
        setup.mount(bind(&host.0, "/host", &options));
        for set in ["bounding", "effective", "permitted"] {
            let list = setup.spec["process"]["capabilities"][set]
                .as_array_mut()
                .expect("list");
            list.push(json!("CAP_SYS_ADMIN"));
        }
        setup.filter = None;
        let mut container = setup.start();
        let later = HostMount::at(host.0.join("below"), MountPropagationFlags::PRIVATE);
        let seen = container.sh("grep -c ' /host/below ' /proc/self/mounts; true");
        assert_eq!(seen.trim() == "1", down, "{options:?} down");
        drop(later);
        let before = host.mounts_below();
        container.sh("mount -t tmpfs none /host/inner");
        assert_eq!(host.mounts_below() > before, up, "{options:?} up");
    }
}

#[test]
fn the_root_has_the_propagation_of_the_spec_and_never_the_hosts() {
    if !can_run() {
        return;
    }
    for (asked, wanted) in [
        ("", ""),
        ("private", ""),
        ("rprivate", ""),
        ("shared", "shared:"),
        ("rshared", "shared:"),
        ("slave", ""),
        ("rslave", ""),
        ("unbindable", "unbindable"),
    ] {
        let mut setup = Setup::new("grep ' / / ' /proc/self/mountinfo");
        setup.spec["linux"]["rootfsPropagation"] = json!(asked);
        let line = setup.run().ok();
        let optional = line.split(" - ").next().expect("fields");
        let shown = optional
            .split_whitespace()
            .skip(6)
            .collect::<Vec<_>>()
            .join(" ");
        assert!(
            if wanted.is_empty() {
                shown.is_empty()
            } else {
                shown.starts_with(wanted)
            },
            "{asked:?}: {line}"
        );
    }
}

#[test]
fn a_read_only_root_and_protected_paths() {
    if !can_run() {
        return;
    }
    let mut setup = Setup::new(
        "touch /x 2>&1; touch /dev/x && echo dev; wc -c < /proc/interrupts; ls /sys/firmware | wc -l; \
         wc -c < /proc/timer_list; (echo 1 > /proc/sys/kernel/panic) 2>&1; \
         ls -A /masked; cat /file",
    );
    fs::create_dir(setup.rootfs.path("lower/masked")).expect("directory");
    setup.rootfs.write("lower/masked/secret", "secret");
    setup.rootfs.write("lower/file", "secret");
    setup.spec["root"]["readonly"] = json!(true);
    for path in ["/masked", "/file", "/missing", "/file/below"] {
        setup.spec["linux"]["maskedPaths"]
            .as_array_mut()
            .expect("list")
            .push(json!(path));
    }
    let said = setup.run().ok();
    assert!(!said.contains("secret"), "{said}");
    assert!(
        said.starts_with("touch: /x: Read-only file system\ndev\n0\n0\n0\n"),
        "{said}"
    );
    assert_eq!(said.matches("Read-only file system").count(), 2, "{said}");
}

#[test]
fn targets_are_made_also_behind_links_that_lead_nowhere() {
    if !can_run() {
        return;
    }
    let mut setup = Setup::new(
        "cat /etc/resolv.conf /deep/in/it/file; cat /run/systemd/resolve/stub-resolv.conf; cat /loop 2>&1; true",
    );
    let lower = setup.rootfs.lower();
    symlink(
        "../run/systemd/resolve/stub-resolv.conf",
        lower.join("etc/resolv.conf"),
    )
    .expect("link");
    symlink("/../../../run/deep", lower.join("deep")).expect("link");
    let file = setup.rootfs.write("resolv.conf", "nameserver\n");
    setup.mount(bind(&file, "/etc/resolv.conf", &[]));
    setup.mount(bind(&file, "/deep/in/it/file", &[]));
    assert_eq!(
        setup
            .run()
            .ok()
            .lines()
            .filter(|l| *l == "nameserver")
            .count(),
        3
    );
    let mut looped = Setup::new("true");
    symlink("loop", looped.rootfs.lower().join("loop")).expect("link");
    let file = looped.rootfs.write("x", "x");
    looped.mount(bind(&file, "/loop/x", &[]));
    assert!(looped.fails().sentence().contains("too many levels"));
}

#[test]
fn a_mount_of_another_kind_says_so() {
    if !can_run() {
        return;
    }
    let mut setup = Setup::new("true");
    let file = setup.rootfs.write("file", "x");
    setup.mount(bind(&file, "/tmp", &[]));
    assert!(setup.fails().sentence().contains("not a directory"));
    let mut setup = Setup::new("true");
    setup.mount(json!({"destination": "/x", "type": "nosuchfs", "source": "x"}));
    assert!(setup.fails().sentence().contains("nosuchfs"));
    let mut setup = Setup::new("true");
    setup.mount(bind(Path::new("/no/such/source"), "/x", &[]));
    assert!(setup.fails().sentence().contains("/no/such/source"));
}

#[test]
fn tmpcopyup_begins_with_what_was_there() {
    if !can_run() {
        return;
    }
    let mut setup = Setup::new(
        "cd /data; cat a sub/b; readlink link; stat -c '%a %u %g' a sub; ls | wc -l; \
         echo changed > a; grep ' /data ' /proc/mounts | cut -c1-5 2>/dev/null; stat -f -c %T .",
    );
    let data = setup.rootfs.lower().join("data");
    setup.rootfs.write("lower/data/a", "first\n");
    setup.rootfs.write("lower/data/sub/b", "second\n");
    symlink("/etc/passwd", data.join("link")).expect("link");
    fs::set_permissions(data.join("a"), fs::Permissions::from_mode(0o4751)).expect("mode");
    chown(data.join("a"), Some(5), Some(6)).expect("owner");
    fs::set_permissions(data.join("a"), fs::Permissions::from_mode(0o4751)).expect("mode");
    setup.mount(
        json!({"destination": "/data", "type": "tmpfs", "source": "tmpfs",
        "options": ["tmpcopyup", "size=1m"]}),
    );
    let said = setup.run().ok();
    assert!(
        said.starts_with("first\nsecond\n/etc/passwd\n4751 5 6\n755 0 0\n3\n"),
        "{said}"
    );
    assert!(said.ends_with("tmpfs\n"), "{said}");
    // It is bounded by the size of the tmpfs.
    let mut setup = Setup::new("true");
    setup.rootfs.write("lower/data/large", &"x".repeat(200_000));
    setup.mount(
        json!({"destination": "/data", "type": "tmpfs", "source": "tmpfs",
        "options": ["tmpcopyup", "size=64k"]}),
    );
    assert!(setup.fails().sentence().contains("no space left"));
}

#[test]
fn an_idmapped_bind_shows_real_ids_shifted() {
    if !can_run() {
        return;
    }
    let mut setup = Setup::new(
        "stat -c '%u %g' /data/file /data/below/file; echo x > /data/new; stat -c %u /data/new",
    );
    let file = setup.rootfs.write("data/file", "x");
    setup.rootfs.write("data/below/file", "x");
    let data = file.parent().expect("parent").to_owned();
    for path in ["file", "below/file"] {
        chown(data.join(path), Some(7007), Some(7008)).expect("owner");
    }
    let mut mount = bind(&data, "/data", &["ridmap"]);
    // Container ids 0… are ids 7007… on the disk.
    mount["uidMappings"] = json!([{"containerID": 7007, "hostID": 0, "size": 10}, {"containerID": 0, "hostID": 7007, "size": 10}]);
    mount["gidMappings"] = json!([{"containerID": 7008, "hostID": 0, "size": 10}, {"containerID": 0, "hostID": 7008, "size": 10}]);
    setup.mount(mount);
    let mut container = setup.park().expect("parked");
    let client = container.attach(carrack_supervision::Target::Container, false);
    container.start().expect("started");
    let (stdout, stderr) = crate::harness::read_frames(client);
    assert_eq!(stdout, "0 0\n0 0\n0\n", "{stderr}");
    assert_eq!(fs::metadata(data.join("new")).expect("made").uid(), 7007);
    container.await_exit();
    container.release();
}

/// What another container on a shared volume swaps under our feet stays
/// inside, whatever it is.
#[test]
fn a_swap_race_on_a_shared_volume_reaches_nothing_of_the_host() {
    if !can_run() {
        return;
    }
    let shared = tempfile::tempdir().expect("directory");
    let host = tempfile::tempdir().expect("directory");
    let volume = shared.path().to_owned();
    fs::create_dir_all(volume.join("a/b")).expect("directory");
    symlink(host.path(), volume.join("evil")).expect("link");
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let swapper = std::thread::spawn({
        let (stop, volume) = (stop.clone(), volume.clone());
        move || {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = rustix::fs::renameat_with(
                    rustix::fs::CWD,
                    volume.join("a"),
                    rustix::fs::CWD,
                    volume.join("evil"),
                    rustix::fs::RenameFlags::EXCHANGE,
                );
            }
        }
    });
    for _ in 0..25 {
        let mut setup = Setup::new("true");
        let file = setup.rootfs.write("file", "content");
        setup.mount(bind(&volume, "/vol", &[]));
        setup.mount(bind(&file, "/vol/a/b/c/file", &[]));
        setup.mount(json!({"destination": "/vol/a/x/y", "type": "tmpfs", "source": "tmpfs"}));
        let Ok(mut container) = setup.park() else {
            continue;
        };
        if container.start().is_ok() {
            container.await_exit();
            container.release();
        }
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    swapper.join().expect("swapper");
    assert_eq!(fs::read_dir(host.path()).expect("host").count(), 0);
}

#[test]
fn nothing_is_left_mounted_on_the_host() {
    if !can_run() {
        return;
    }
    let mut setup = Setup::new("true");
    let host = HostMount::new(MountPropagationFlags::SHARED);
    setup.mount(bind(&host.0, "/host", &[]));
    setup.mount(json!({"destination": "/host/below", "type": "tmpfs", "source": "tmpfs"}));
    let before = host.mounts_below();
    let mut container = setup.start();
    assert_eq!(host.mounts_below(), before);
    container.await_exit();
    container.release();
    eventually("no mounts left", || host.mounts_below() == before);
}
