//! Whether what a bind is to share can be shared: mounts made later below its
//! source reach the container only from a shared mount of the host, or from one
//! that receives them itself.

use std::path::Path;

use rustix::fs::{AtFlags, CWD, StatxFlags};

use crate::{Error, Result};

use super::MountPoint;

/// What a bind asks of the mount that its source lies on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// That it shares.
    Shared,
    /// That it shares or receives.
    SharedOrSlave,
}

fn asked(point: &MountPoint) -> Option<Asked> {
    match point.propagation.as_str() {
        "shared" | "rshared" => Some(Asked::Shared),
        "slave" | "rslave" => Some(Asked::SharedOrSlave),
        _ => None,
    }
}

/// Whether the source is to be looked at before a start.
pub(crate) fn needs_source(point: &MountPoint) -> bool {
    asked(point).is_some()
}

/// Refuses a bind whose source cannot do what is asked of it. Reads the mount
/// table, and that only for a bind that asks for something.
pub(crate) fn check(point: &MountPoint) -> Result<()> {
    let Some(asked) = asked(point) else {
        return Ok(());
    };
    let failed = |error: std::io::Error| {
        Error::Internal(format!("look at the mount of {}: {error}", point.source))
    };
    let source = Path::new(&point.source);
    let mask = StatxFlags::MNT_ID;
    let status = rustix::fs::statx(CWD, source, AtFlags::empty(), mask)
        .map_err(|errno| failed(errno.into()))?;
    let table = std::fs::read_to_string("/proc/self/mountinfo").map_err(failed)?;
    match refusal(&table, status.stx_mnt_id, asked) {
        None => Ok(()),
        Some((mounted, lacks)) => Err(Error::Propagation {
            path: point.source.clone(),
            mounted,
            lacks,
        }),
    }
}

/// Where the mount of that number is and what it is not.
fn refusal(table: &str, mount: u64, asked: Asked) -> Option<(String, &'static str)> {
    let number = mount.to_string();
    let line = table
        .lines()
        .find(|line| line.split(' ').next() == Some(&number))?;
    let fields: Vec<&str> = line.split(' ').collect();
    let optional = || fields.iter().skip(6).take_while(|field| **field != "-");
    let is_shared = optional().any(|field| field.starts_with("shared:"));
    let receives = optional().any(|field| field.starts_with("master:"));
    let lacks = match asked {
        Asked::Shared if !is_shared => "shared",
        Asked::SharedOrSlave if !is_shared && !receives => "shared or slave",
        _ => return None,
    };
    Some((fields.get(4).copied().unwrap_or("/").to_owned(), lacks))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
22 1 8:1 / / rw,relatime - ext4 /dev/sda rw
23 22 0:5 / /shared rw shared:7 - tmpfs t rw
24 22 0:6 / /both rw shared:8 master:7 - tmpfs t rw
25 22 0:7 / /slave rw master:7 propagate_from:2 - tmpfs shared:9 rw
";

    #[test]
    fn what_a_mount_lacks_is_said() {
        let check = |mount, asked, expected: Option<(&str, &str)>| {
            let found = refusal(TABLE, mount, asked);
            let found = found.as_ref().map(|(at, lacks)| (at.as_str(), *lacks));
            assert_eq!(found, expected, "{mount} {asked:?}");
        };
        check(22, Asked::Shared, Some(("/", "shared")));
        check(22, Asked::SharedOrSlave, Some(("/", "shared or slave")));
        check(23, Asked::Shared, None);
        check(24, Asked::Shared, None);
        check(25, Asked::Shared, Some(("/slave", "shared")));
        check(25, Asked::SharedOrSlave, None);
    }
}
