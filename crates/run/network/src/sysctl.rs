//! The sysctls that containers' traffic needs.
//!
//! `/proc/sys/net` shows the calling thread's netns.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open, openat};

use crate::error::NetworkError;

const NET: &str = "/proc/sys/net";
/// Neighbours that the kernel may keep (`gc_thresh1`, `2`, `3`): the default
/// of 1,024 ends a full second bridge. Host-wide, and raised only.
const NEIGHBOUR_THRESHOLDS: [(&str, u32); 3] = [
    ("gc_thresh1", 2048),
    ("gc_thresh2", 8192),
    ("gc_thresh3", 16384),
];

/// Whether this netns has IPv6 and new interfaces get it.
pub(crate) fn has_ipv6() -> bool {
    ["all", "default"].iter().all(|which| {
        read(&path(&format!("ipv6/conf/{which}/disable_ipv6"))).is_ok_and(|v| v == "0")
    })
}

/// Whether bridged frames pass the IP hooks (`br_netfilter`): then a port
/// must be allowed to send a frame back to where it came from.
pub(crate) fn bridged_frames_pass_ip_hooks() -> bool {
    read(&path("bridge/bridge-nf-call-iptables")).is_ok_and(|value| value != "0")
}

/// Turns forwarding on where it is off.
///
/// A host that forwards IPv6 stops listening to its routers unless told
/// otherwise (`accept_ra` 2): interfaces that did listen go on doing so.
pub(crate) fn enable_forwarding(ipv6: bool) -> Result<(), NetworkError> {
    set_unless(&path("ipv4/ip_forward"), "1")?;
    if !ipv6 {
        return Ok(());
    }
    let forwarding = path("ipv6/conf/all/forwarding");
    if read(&forwarding).is_ok_and(|value| value == "1") {
        return Ok(());
    }
    for entry in fs::read_dir(path("ipv6/conf"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let accept = entry.path().join("accept_ra");
        let is_interface = !matches!(entry.file_name().to_str(), Some("all" | "lo"));
        if is_interface && read(&accept).is_ok_and(|value| value == "1") {
            // An interface that went away in between needs nothing.
            let _ = fs::write(&accept, "2");
        }
    }
    set_unless(&forwarding, "1")
}

/// A container must not talk the host into another router.
pub(crate) fn refuse_router_advertisements(bridge: &str) -> Result<(), NetworkError> {
    set_unless(&path(&format!("ipv6/conf/{bridge}/accept_ra")), "0")
}

/// Before a container's interface comes up: no search for duplicates of its
/// link-local address (hardware addresses are unique by our books, and the
/// address is usable at once), and no search for routers (the default route is
/// given, and a neighbour must not give another).
///
/// Each of these is a frame to every port of the bridge: with a hundred
/// containers, half of what a start costs the host.
pub(crate) fn quieten(interface: &str) -> Result<(), NetworkError> {
    let directory = path(&format!("ipv6/conf/{interface}"));
    // By descriptor: the kernel's lookup of the first name that a netns does
    // not share passes that name of every netns.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = open(&directory, flags, Mode::empty());
    let written = opened.and_then(|conf| {
        ["accept_dad", "accept_ra"].iter().try_for_each(|name| {
            let file = openat(
                &conf,
                *name,
                OFlags::WRONLY | OFlags::CLOEXEC,
                Mode::empty(),
            )?;
            rustix::io::write(file, b"0").map(|_| ())
        })
    });
    written.map_err(|errno| NetworkError::File {
        action: "write into",
        path: directory,
        source: errno.into(),
    })
}

/// Makes room for the neighbours of a few thousand containers. Only the
/// initial netns has these files.
pub(crate) fn raise_neighbour_thresholds() {
    for family in ["ipv4", "ipv6"] {
        // From the last: a lower one may not pass a higher one.
        for (name, wanted) in NEIGHBOUR_THRESHOLDS.iter().rev() {
            let path = path(&format!("{family}/neigh/default/{name}"));
            let Some(current) = read(&path).ok().and_then(|text| text.parse::<u32>().ok()) else {
                continue;
            };
            if current < *wanted
                && let Err(error) = fs::write(&path, wanted.to_string())
            {
                tracing::warn!(path = %path.display(), %error, "cannot raise the neighbour table's bound");
            }
        }
    }
}

fn path(name: &str) -> PathBuf {
    Path::new(NET).join(name)
}

fn read(path: &Path) -> io::Result<String> {
    fs::read_to_string(path).map(|text| text.trim().to_owned())
}

/// Writes only what differs: the host's administrator may have made the file
/// read-only once it is right.
fn set_unless(path: &Path, value: &str) -> Result<(), NetworkError> {
    let failed = |action| {
        move |source| NetworkError::File {
            action,
            path: path.to_owned(),
            source,
        }
    };
    if read(path).map_err(failed("read"))? == value {
        return Ok(());
    }
    fs::write(path, value).map_err(failed("write"))
}
