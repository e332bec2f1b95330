//! How each image is made.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::archive::{self, CREATED_EPOCH_S, Form, Image, header};

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const PROBE: &str = include_str!("../../assets/probe.rs");
/// What the tests of "a VM from a distance" use inside, beside apt.
const DEBIAN_PACKAGES: &str = "iproute2,iptables,nftables,openssh-server,procps,python3-minimal";
const DEBIAN_SUITE: &str = "bookworm";

/// Identifies the recipe: another answer makes the image again.
pub(super) fn version(name: &str) -> String {
    match name {
        "static" => format!("static 1\n{PROBE}"),
        "debian" => format!("debian 1 {DEBIAN_SUITE} {DEBIAN_PACKAGES}\n"),
        other => format!("{other} 1\n"),
    }
}

/// `static:latest`: one statically linked program, no shell, nothing else.
pub(super) fn static_probe(work: &Path) -> Result<PathBuf> {
    let program = build_probe(work)?;
    let layer = work.join("layer.tar");
    let mut tar = tar::Builder::new(BufWriter::new(File::create(&layer)?));
    let bytes = fs::read(program)?;
    let mut h = header(tar::EntryType::Regular, 0o755, bytes.len() as u64);
    tar.append_data(&mut h, "probe", &bytes[..])?;
    tar.finish()?;
    drop(tar);
    let image = Image {
        name: "static:latest",
        config: json!({"Entrypoint": ["/probe"], "Cmd": ["hello"], "Env": [PATH]}),
        created_by: "COPY probe /",
    };
    let dest = work.join("image.tar");
    archive::write(&image, &layer, &dest, Form::Docker)?;
    Ok(dest)
}

/// The static program itself, for images and for the floor of the benches.
pub(super) fn build_probe(work: &Path) -> Result<PathBuf> {
    let source = work.join("probe.rs");
    fs::write(&source, PROBE)?;
    let program = work.join("probe");
    run(
        Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
            .args([
                "--edition=2024",
                "-O",
                "-C",
                "target-feature=+crt-static",
                "-C",
                "panic=abort",
            ])
            .args([
                "-C",
                "strip=symbols",
                "--target",
                "x86_64-unknown-linux-gnu",
                "-o",
            ])
            .args([&program, &source]),
    )?;
    Ok(program)
}

/// `busybox:latest`: Debian's static busybox with a link for each applet.
pub(super) fn busybox(work: &Path, form: Form) -> Result<PathBuf> {
    let program = busybox_program(work)?;
    let applets = output(Command::new(&program).arg("--list"))?;
    let layer = work.join("layer.tar");
    let mut tar = tar::Builder::new(BufWriter::new(File::create(&layer)?));
    for (dir, mode) in [
        ("bin", 0o755),
        ("dev", 0o755),
        ("etc", 0o755),
        ("home", 0o755),
        ("proc", 0o755),
        ("root", 0o700),
        ("sys", 0o755),
        ("tmp", 0o1777),
        ("usr", 0o755),
        ("usr/bin", 0o755),
        ("usr/sbin", 0o755),
        ("var", 0o755),
        ("var/www", 0o755),
    ] {
        let mut h = header(tar::EntryType::Directory, mode, 0);
        tar.append_data(&mut h, format!("{dir}/"), std::io::empty())?;
    }
    for (path, text) in [
        (
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nuser:x:1000:1000:user:/home:/bin/sh\n",
        ),
        (
            "etc/group",
            "root:x:0:\ndaemon:x:1:\nextra:x:44:user\nuser:x:1000:\n",
        ),
        ("var/www/index.html", "carrack\n"),
    ] {
        let mut h = header(tar::EntryType::Regular, 0o644, text.len() as u64);
        tar.append_data(&mut h, path, text.as_bytes())?;
    }
    let bytes = fs::read(&program)?;
    let mut h = header(tar::EntryType::Regular, 0o755, bytes.len() as u64);
    tar.append_data(&mut h, "bin/busybox", &bytes[..])?;
    for applet in applets.lines().filter(|a| *a != "busybox") {
        let mut h = header(tar::EntryType::Symlink, 0o777, 0);
        tar.append_link(&mut h, format!("bin/{applet}"), "busybox")?;
    }
    tar.finish()?;
    drop(tar);
    let image = Image {
        name: "busybox:latest",
        config: json!({"Cmd": ["sh"], "Env": [PATH]}),
        created_by: "busybox-static from Debian",
    };
    let dest = work.join("image.tar");
    archive::write(&image, &layer, &dest, form)?;
    Ok(dest)
}

/// The static busybox: the machine's own, or unpacked from Debian's package
/// without installing it.
fn busybox_program(work: &Path) -> Result<PathBuf> {
    for known in ["/bin/busybox", "/usr/bin/busybox"] {
        if is_static(Path::new(known)) {
            return Ok(PathBuf::from(known));
        }
    }
    let debs = work.join("deb");
    fs::create_dir_all(&debs)?;
    run(Command::new("apt-get")
        .args(["download", "-qq", "busybox-static"])
        .current_dir(&debs))?;
    let deb = fs::read_dir(&debs)?
        .next()
        .context("apt-get download left no file")??
        .path();
    run(Command::new("dpkg-deb").arg("-x").arg(deb).arg(&debs))?;
    for inside in ["bin/busybox", "usr/bin/busybox"] {
        if debs.join(inside).exists() {
            return Ok(debs.join(inside));
        }
    }
    bail!("the package busybox-static holds no bin/busybox")
}

/// Whether `path` is an ELF program without an interpreter.
fn is_static(path: &Path) -> bool {
    fs::read(path).is_ok_and(|bytes| {
        bytes.starts_with(b"\x7fELF")
            && !bytes[..bytes.len().min(4096)]
                .windows(7)
                .any(|w| w == b"/lib64/")
    })
}

/// `debian:bookworm`: minbase and the tools of a small server, in one layer.
pub(super) fn debian(work: &Path) -> Result<PathBuf> {
    let layer = work.join("layer.tar");
    run(Command::new("mmdebstrap")
        .env("SOURCE_DATE_EPOCH", CREATED_EPOCH_S.to_string())
        .args(["--mode=root", "--variant=minbase", "--quiet"])
        .arg(format!("--include={DEBIAN_PACKAGES}"))
        // Host keys are random: the test makes its own, and the image stays the same.
        .arg("--customize-hook=rm -f $1/etc/ssh/ssh_host_*_key*")
        .arg("--customize-hook=rm -rf $1/var/lib/apt/lists/* $1/var/cache/apt/*.bin $1/var/log/*.log")
        .arg("--customize-hook=mkdir -p $1/run/sshd")
        .args([DEBIAN_SUITE, layer.to_str().context("a path that is not UTF-8")?]))?;
    let image = Image {
        name: "debian:bookworm",
        config: json!({"Cmd": ["bash"], "Env": [PATH]}),
        created_by: "mmdebstrap --variant=minbase bookworm",
    };
    let dest = work.join("image.tar");
    archive::write(&image, &layer, &dest, Form::Docker)?;
    Ok(dest)
}

/// Runs a program and turns a bad exit into an error that names it.
fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("running {command:?}"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}

fn output(command: &mut Command) -> Result<String> {
    let out = command
        .output()
        .with_context(|| format!("running {command:?}"))?;
    if !out.status.success() {
        bail!("{command:?} ended with {}", out.status);
    }
    Ok(String::from_utf8(out.stdout)?)
}
