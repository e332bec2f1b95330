//! Tests of the crate.
//!
//! `oracle` holds the compiler against libseccomp itself, `kernel` loads a
//! program for real, `hostile` are profiles that want harm; the rest says
//! what the default profile means. Two small C programs in `testdata/` are
//! built with `cc`; where that or the library lacks, the test prints SKIP.

mod hostile;
mod interpreter;
mod kernel;
mod meaning;
mod oracle;
mod table;

use std::path::PathBuf;
use std::process::Command;

use carrack_oci::runtime::Seccomp;

use crate::{Arch, CapabilitySet, KernelVersion, default_profile, resolve};

const LINUX_6_12: KernelVersion = KernelVersion {
    kernel: 6,
    major: 12,
};

/// What a container has without `--cap-add`.
fn usual_capabilities() -> CapabilitySet {
    let names = "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP \
                 NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE";
    CapabilitySet::from_names(names.split_whitespace().map(|name| format!("CAP_{name}")))
}

fn default_filter(bounding: CapabilitySet) -> Seccomp {
    resolve(default_profile(), &bounding, LINUX_6_12, Arch::X86_64)
}

/// Builds `testdata/<name>.c`; `None`, with a word why, where that cannot be.
fn built(name: &str) -> Option<(tempfile::TempDir, PathBuf)> {
    let directory = tempfile::tempdir().expect("temporary directory");
    let program = directory.path().join(name);
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(format!("{name}.c"));
    let status = Command::new("cc")
        .arg("-O1")
        .arg("-o")
        .arg(&program)
        .arg(source)
        .arg("-ldl")
        .status();
    match status {
        Ok(status) if status.success() => Some((directory, program)),
        other => {
            println!("SKIP: cc cannot build {name}.c: {other:?}");
            None
        }
    }
}
