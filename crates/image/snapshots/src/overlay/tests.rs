use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};

use rustix::mount::{MoveMountFlags, move_mount};
use tempfile::TempDir;

use super::*;

struct Layers {
    temp: TempDir,
    count: usize,
}

impl Layers {
    /// `count` layers; each has a file of its own, and `top` of all.
    fn new(count: usize) -> Layers {
        let temp = tempfile::Builder::new()
            .prefix("carrack-snapshots-")
            .tempdir()
            .unwrap();
        for dir in ["upper", "work", "mountpoint", "seen"] {
            fs::create_dir(temp.path().join(dir)).unwrap();
        }
        let layers = Layers { temp, count };
        for (at, path) in layers.lowers().iter().enumerate() {
            fs::create_dir_all(path).unwrap();
            fs::write(path.join(format!("file-{at}")), "").unwrap();
            fs::write(path.join("top"), at.to_string()).unwrap();
        }
        layers
    }

    fn lowers(&self) -> Vec<PathBuf> {
        let path = |at| self.temp.path().join(format!("layer-{at}"));
        (0..self.count).map(path).collect()
    }

    fn spec(&self, durability: Option<Durability>) -> OverlaySpec {
        let path = |name| self.temp.path().join(name);
        OverlaySpec {
            lowers: self.lowers(),
            writable: durability.map(|durability| Writable {
                upper: path("upper"),
                work: path("work"),
                durability,
            }),
            mountpoint: path("mountpoint"),
        }
    }

    /// Looks at a detached mount from a place of its own.
    fn see<T>(&self, mount: OwnedFd, look: impl FnOnce(&Path) -> T) -> T {
        let path = self.temp.path().join("seen");
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(&mount, "", CWD, &path, flags).unwrap();
        let seen = look(&path);
        drop(mount);
        unmount(&path, UnmountFlags::empty()).unwrap();
        seen
    }
}

fn can_mount() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("SKIP: mounting needs root");
    }
    root
}

fn check(layers: &Layers, mount: OwnedFd) {
    layers.see(mount, |path| {
        assert_eq!(fs::read_to_string(path.join("top")).unwrap(), "0");
        for at in 0..layers.count {
            assert!(path.join(format!("file-{at}")).exists(), "{at}");
        }
        fs::write(path.join("written"), "x").unwrap();
        fs::remove_file(path.join("top")).unwrap();
    });
    let upper = layers.temp.path().join("upper");
    assert_eq!(fs::read_to_string(upper.join("written")).unwrap(), "x");
    let whiteout = fs::symlink_metadata(upper.join("top")).unwrap();
    assert!(whiteout.file_type().is_char_device());
}

#[test]
fn stacks_any_number_of_layers() {
    if !can_mount() {
        return;
    }
    for count in [1, 5, 128] {
        let layers = Layers::new(count);
        check(
            &layers,
            mount(&layers.spec(Some(Durability::Durable))).unwrap(),
        );
    }
}

#[test]
fn does_as_older_kernels_need_it() {
    if !can_mount() {
        return;
    }
    for count in [1, 100] {
        let layers = Layers::new(count);
        let spec = layers.spec(Some(Durability::Durable));
        let by_text = mount_by_text(&spec.lowers, spec.writable.as_ref(), &spec.mountpoint);
        check(&layers, by_text.unwrap());
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(!mounts.contains(spec.mountpoint.to_str().unwrap()));
    }
    let lowers = vec![PathBuf::from("/"); 300];
    let error = mount_by_text(&lowers, None, Path::new("/")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
}

#[test]
fn older_kernels_mount_one_at_a_time_on_one_place() {
    if !can_mount() {
        return;
    }
    let all = [Layers::new(2), Layers::new(2), Layers::new(2)];
    let mountpoint = all[0].temp.path().join("mountpoint");
    for (at, layers) in all.iter().enumerate() {
        fs::write(layers.lowers()[0].join("top"), format!("of {at}")).unwrap();
    }
    for _ in 0..20 {
        let together = std::sync::Barrier::new(all.len());
        let mounted: Vec<OwnedFd> = std::thread::scope(|scope| {
            let threads: Vec<_> = all
                .iter()
                .map(|layers| {
                    scope.spawn(|| {
                        together.wait();
                        mount_by_text(&layers.lowers(), None, &mountpoint).unwrap()
                    })
                })
                .collect();
            threads.into_iter().map(|one| one.join().unwrap()).collect()
        });
        for (at, mount) in mounted.into_iter().enumerate() {
            let top = all[at].see(mount, |path| fs::read_to_string(path.join("top")).unwrap());
            assert_eq!(top, format!("of {at}"));
        }
    }
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(mountpoint.to_str().unwrap()));
}

#[test]
fn one_layer_alone_is_a_read_only_bind() {
    if !can_mount() {
        return;
    }
    for count in [1, 3] {
        let layers = Layers::new(count);
        layers.see(mount(&layers.spec(None)).unwrap(), |path| {
            assert_eq!(fs::read_to_string(path.join("top")).unwrap(), "0");
            let error = fs::write(path.join("written"), "").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ReadOnlyFilesystem);
        });
    }
    let nothing = Layers::new(0);
    assert!(matches!(
        mount(&nothing.spec(None)),
        Err(MountError::NoLayer)
    ));
    let mount = mount(&nothing.spec(Some(Durability::Volatile))).unwrap();
    nothing.see(mount, |path| fs::write(path.join("written"), "").unwrap());
    assert!(nothing.temp.path().join("upper/written").exists());
}

#[test]
fn a_volatile_mount_can_be_mounted_again() {
    if !can_mount() {
        return;
    }
    let layers = Layers::new(2);
    let spec = layers.spec(Some(Durability::Volatile));
    for round in 0..3 {
        layers.see(mount(&spec).unwrap(), |path| {
            fs::write(path.join(format!("round-{round}")), "").unwrap();
            for before in 0..round {
                assert!(path.join(format!("round-{before}")).exists());
            }
        });
        let mark = layers.temp.path().join("work/work/incompat/volatile");
        assert!(mark.exists(), "the kernel leaves its mark");
    }
}

#[test]
fn long_and_strange_paths() {
    if !can_mount() {
        return;
    }
    let mut layers = Layers::new(0);
    let long = layers.temp.path().join("l".repeat(250)).join("layer");
    let strange = layers.temp.path().join("a:b,c=d\\e");
    for (path, text) in [(&long, "long"), (&strange, "strange")] {
        fs::create_dir_all(path).unwrap();
        fs::write(path.join(text), "").unwrap();
    }
    let mut spec = layers.spec(Some(Durability::Durable));
    spec.lowers = vec![long, strange.clone()];
    let writable = spec.writable.as_mut().unwrap();
    writable.upper = strange.join("upper\\,:");
    writable.work = strange.join("work\\");
    fs::create_dir(&writable.upper).unwrap();
    fs::create_dir(&writable.work).unwrap();
    layers.count = 0;
    let upper = writable.upper.clone();
    layers.see(mount(&spec).unwrap(), |path| {
        assert!(path.join("long").exists() && path.join("strange").exists());
        fs::write(path.join("written"), "").unwrap();
    });
    assert!(upper.join("written").exists());
}

/// A layer's attributes do not lead into other directories.
#[test]
fn follows_no_redirect() {
    if !can_mount() {
        return;
    }
    let layers = Layers::new(2);
    let lowers = layers.lowers();
    fs::create_dir(lowers[0].join("dir")).unwrap();
    fs::create_dir(lowers[1].join("secret")).unwrap();
    fs::write(lowers[1].join("secret/file"), "").unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    let redirected = lowers[0].join("dir");
    rustix::fs::setxattr(&redirected, "trusted.overlay.redirect", b"/secret", flags).unwrap();
    symlink("/secret", lowers[0].join("link")).unwrap();
    layers.see(mount(&layers.spec(None)).unwrap(), |path| {
        assert!(path.join("secret/file").exists());
        let listed = fs::read_dir(path.join("dir"));
        assert!(listed.map_or(0, Iterator::count) == 0);
    });
}

#[test]
fn a_missing_layer_is_named() {
    if !can_mount() {
        return;
    }
    let layers = Layers::new(2);
    let mut spec = layers.spec(None);
    spec.lowers[1] = PathBuf::from("/nonexistent");
    let error = mount(&spec).unwrap_err();
    assert!(error.to_string().contains("lowerdir+"), "{error}");
    spec.lowers = vec![PathBuf::from("/nonexistent")];
    assert_eq!(mount(&spec).unwrap_err().kind(), ErrorKind::NotFound);
}
