//! `spec`.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use carrack_seccomp::{Arch, CapabilitySet, KernelVersion, default_profile, resolve};
use serde_json::{Value, json};

use super::Call;
use crate::arguments::{Flag, switch, value};
use crate::{Error, Result, not_yet};

pub(super) const FLAGS: &[Flag] = &[
    value(
        &["bundle", "b"],
        "directory that it is written to; the present one",
    ),
    switch(&["rootless"], "for a user who is not root"),
    switch(&["seccomp"], "with Docker's default system call filter"),
];

/// Capabilities of a configuration to begin with.
const CAPABILITIES: [&str; 3] = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];

pub(super) fn spec(call: &Call<'_>) -> Result<u8> {
    call.parsed.exactly("spec", 0)?;
    let bundle = call.parsed.value("bundle").filter(|b| !b.is_empty());
    let path = Path::new(bundle.unwrap_or(".")).join("config.json");
    let mut configuration = configuration(call.parsed.is_set("rootless"));
    if call.parsed.is_set("seccomp") {
        configuration["linux"]["seccomp"] = filter()?;
    }
    let text = format!("{configuration:#}\n");
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                Error::Usage(format!("File {} exists. Remove it first", path.display()))
            }
            _ => Error::file("write", &path, error),
        })?;
    file.write_all(text.as_bytes())
        .map_err(|error| Error::file("write", &path, error))?;
    Ok(0)
}

fn configuration(rootless: bool) -> Value {
    let mut spec = json!({
        "ociVersion": carrack_oci::runtime::SPEC_VERSION,
        "process": {
            "terminal": true,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "TERM=xterm"
            ],
            "cwd": "/",
            "capabilities": {
                "bounding": CAPABILITIES,
                "effective": CAPABILITIES,
                "permitted": CAPABILITIES
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "runc",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
             "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
             "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs",
             "options": ["nosuid", "noexec", "nodev", "ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
             "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}
        ],
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [
                {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"},
                {"type": "mount"}, {"type": "cgroup"}
            ],
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware",
                "/proc/scsi"
            ],
            "readonlyPaths": [
                "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"
            ]
        }
    });
    if rootless {
        for_user(&mut spec);
    }
    spec
}

/// Docker's default filter for the configuration's capabilities on this machine.
fn filter() -> Result<Value> {
    let arch = Arch::native().ok_or(Error::NotYet(not_yet::ARCHITECTURE))?;
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let oldest = KernelVersion {
        kernel: 5,
        major: 4,
    };
    let kernel = KernelVersion::from_release(&release).unwrap_or(oldest);
    let bounding = CapabilitySet::from_names(CAPABILITIES);
    let seccomp = resolve(default_profile(), &bounding, kernel, arch);
    serde_json::to_value(seccomp).map_err(|error| Error::file("write", "the filter", error.into()))
}

/// What needs no root: ids of a user namespace, no group of its own, the
/// host's `/sys` bound in place of a new one.
fn for_user(spec: &mut Value) {
    let map = |id: u32| json!([{"containerID": 0, "hostID": id, "size": 1}]);
    let linux = &mut spec["linux"];
    linux["uidMappings"] = map(rustix::process::geteuid().as_raw());
    linux["gidMappings"] = map(rustix::process::getegid().as_raw());
    linux["namespaces"] = json!([
        {"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"},
        {"type": "cgroup"}, {"type": "user"}
    ]);
    linux["resources"] = Value::Null;
    if let Some(mounts) = spec["mounts"].as_array_mut() {
        mounts.retain(|mount| mount["type"] != "cgroup");
        for mount in mounts {
            if mount["type"] == "sysfs" {
                *mount = json!({"destination": "/sys", "type": "none", "source": "/sys",
                    "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]});
            } else if let Some(options) = mount["options"].as_array_mut() {
                options.retain(|option| option != "gid=5");
            }
        }
    }
}
