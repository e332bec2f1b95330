//! `user[:group]` to numbers, from the container's own `/etc/passwd` and
//! `/etc/group`.
//!
//! The files are the image's, so hostile: they are bounded, read only if they
//! are regular files, and no name service module of the image is ever loaded
//! (CVE-2019-14271). Numbers out of range are errors (CVE-2024-40635).

use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use super::inside::{Links, Root};
use crate::plan::{Failure, UserPlan};

/// Largest `passwd` or `group` file read.
const MAX_FILE_BYTES: usize = 4 << 20;
/// Largest id that Docker accepts.
const MAX_ID: u32 = i32::MAX as u32;

/// Ids and home of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: Vec<u32>,
    pub(super) home: String,
}

/// Whether a user's home is of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Home {
    Wanted,
    /// The environment says it.
    Known,
}

/// Looks a user up.
pub(super) fn find(root: &Root, plan: &UserPlan, home: Home) -> Result<Found, Failure> {
    let found = match plan {
        UserPlan::Ids { uid, gid, groups } => {
            let passwd = match home {
                Home::Wanted => read(root, "/etc/passwd"),
                Home::Known => String::new(),
            };
            Found {
                uid: *uid,
                gid: *gid,
                groups: groups.clone(),
                home: passwd_lines(&passwd)
                    .find(|line| line.uid == *uid)
                    .map_or_else(|| "/".to_owned(), |line| line.home.to_owned()),
            }
        }
        UserPlan::Named { user, groups } => resolve(
            user,
            groups,
            &read(root, "/etc/passwd"),
            &read(root, "/etc/group"),
        )?,
    };
    refuse_no_id(&found)?;
    Ok(found)
}

/// To the kernel the highest number means "leave it as it is", so a program
/// asked to run as that user would stay root.
fn refuse_no_id(found: &Found) -> Result<(), Failure> {
    let ids = [found.uid, found.gid];
    if ids.iter().chain(&found.groups).any(|id| *id == u32::MAX) {
        return Err(Failure::other(format!("{} is nobody's id", u32::MAX)));
    }
    Ok(())
}

/// A bounded regular file's text; what cannot be read counts as empty, as in
/// an image without these files.
fn read(root: &Root, path: &str) -> String {
    let text = || -> Result<String, Errno> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = root.open(path, flags, Links::Follow)?;
        let status = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
            return Err(Errno::INVAL);
        }
        let mut bytes = Vec::new();
        let mut chunk = [0_u8; 4096];
        loop {
            match rustix::io::read(&file, &mut chunk)? {
                0 => break,
                _ if bytes.len() > MAX_FILE_BYTES => return Err(Errno::FBIG),
                count => bytes.extend_from_slice(&chunk[..count]),
            }
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    text().unwrap_or_default()
}

struct PasswdLine<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn passwd_lines(text: &str) -> impl Iterator<Item = PasswdLine<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|n| !n.is_empty())?;
        let _password = fields.next()?;
        Some(PasswdLine {
            name,
            uid: fields.next()?.parse().ok()?,
            gid: fields.next()?.parse().ok()?,
            home: fields.nth(1).filter(|h| !h.is_empty()).unwrap_or("/"),
        })
    })
}

struct GroupLine<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

fn group_lines(text: &str) -> impl Iterator<Item = GroupLine<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|n| !n.is_empty())?;
        let _password = fields.next()?;
        Some(GroupLine {
            name,
            gid: fields.next()?.parse().ok()?,
            members: fields.next().unwrap_or_default(),
        })
    })
}

/// A number as Docker takes it: digits alone, within range.
fn number(text: &str) -> Result<Option<u32>, Failure> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(id) if id <= MAX_ID => Ok(Some(id)),
        _ => Err(Failure::other(format!(
            "uids and gids must be in range 0-{MAX_ID}: {text}"
        ))),
    }
}

fn resolve(
    wanted: &str,
    additional: &[String],
    passwd: &str,
    group: &str,
) -> Result<Found, Failure> {
    let (user, user_group) = match wanted.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|g| !g.is_empty())),
        None => (wanted, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let by_number = number(user)?;
    let line = passwd_lines(passwd)
        .find(|line| line.name == user)
        .or_else(|| passwd_lines(passwd).find(|line| Some(line.uid) == by_number));
    let mut found = match (&line, by_number) {
        (Some(line), _) => Found {
            uid: line.uid,
            gid: line.gid,
            groups: Vec::new(),
            home: line.home.to_owned(),
        },
        (None, Some(uid)) => Found {
            uid,
            gid: 0,
            groups: Vec::new(),
            home: "/".to_owned(),
        },
        (None, None) => {
            return Err(Failure::other(format!(
                "unable to find user {user}: no matching entries in passwd file"
            )));
        }
    };
    match user_group {
        Some(name) => found.gid = find_group(name, group)?,
        None => {
            let name = line.map_or(user, |line| line.name);
            found.groups.extend(
                group_lines(group)
                    .filter(|g| g.members.split(',').any(|m| m == name))
                    .map(|g| g.gid),
            );
        }
    }
    // The primary group is a supplementary one too: else a file that denies
    // its group would let the process in by "other" (CVE-2022-36109).
    if !found.groups.contains(&found.gid) {
        found.groups.push(found.gid);
    }
    for name in additional {
        let gid = find_group(name, group)?;
        if !found.groups.contains(&gid) {
            found.groups.push(gid);
        }
    }
    if found.uid > MAX_ID || found.gid > MAX_ID {
        return Err(Failure::other(format!(
            "uids and gids must be in range 0-{MAX_ID}"
        )));
    }
    Ok(found)
}

fn find_group(name: &str, group: &str) -> Result<u32, Failure> {
    if let Some(line) = group_lines(group).find(|line| line.name == name) {
        return Ok(line.gid);
    }
    number(name)?.ok_or_else(|| {
        Failure::other(format!(
            "unable to find group {name}: no matching entries in group file"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
        www:x:33:34:www:/var/www:/usr/sbin/nologin\n\
        broken\n::::\n1000:x:7:8:digits:/seven:/bin/sh\n\
        huge:x:4294967295:1::/:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nwww:x:34:\naudio:x:29:www,pulse\nvideo:x:44:www\n";

    fn check(wanted: &str, additional: &[&str], expected: Result<(u32, u32, &[u32], &str), &str>) {
        let additional: Vec<String> = additional.iter().map(|s| (*s).to_owned()).collect();
        match (resolve(wanted, &additional, PASSWD, GROUP), expected) {
            (Ok(found), Ok((uid, gid, groups, home))) => {
                assert_eq!(
                    (found.uid, found.gid, &found.groups[..], found.home.as_str()),
                    (uid, gid, groups, home),
                    "{wanted}"
                );
            }
            (Err(failure), Err(text)) => {
                assert!(failure.action.contains(text), "{}", failure.action)
            }
            (got, wanted) => panic!("{got:?} instead of {wanted:?}"),
        }
    }

    #[test]
    fn users_and_groups_are_found_as_docker_finds_them() {
        check("", &[], Ok((0, 0, &[0], "/root")));
        check("www", &[], Ok((33, 34, &[29, 44, 34], "/var/www")));
        check("33", &[], Ok((33, 34, &[29, 44, 34], "/var/www")));
        check("www:video", &[], Ok((33, 44, &[44], "/var/www")));
        check(
            "www:99",
            &["audio", "777"],
            Ok((33, 99, &[99, 29, 777], "/var/www")),
        );
        check("5000", &[], Ok((5000, 0, &[0], "/")));
        check("1000", &[], Ok((7, 8, &[8], "/seven")));
        check(":video", &[], Ok((0, 44, &[44], "/root")));
    }

    #[test]
    fn the_id_that_means_unchanged_is_nobodys() {
        for (uid, gid, groups) in [
            (u32::MAX, 0, vec![]),
            (1, u32::MAX, vec![]),
            (1, 1, vec![5, u32::MAX]),
        ] {
            let plan = UserPlan::Ids { uid, gid, groups };
            let root = Root::of_process().expect("a root");
            find(&root, &plan, Home::Known).expect_err("nobody's id");
        }
    }

    #[test]
    fn hostile_ids_are_errors() {
        check("nobody", &[], Err("unable to find user nobody"));
        check("www:nogroup", &[], Err("unable to find group nogroup"));
        check("4294967296", &[], Err("range"));
        check("2147483648", &[], Err("range"));
        check("99999999999999999999999", &[], Err("range"));
        check("0:4294967296", &[], Err("range"));
        check("huge", &[], Err("range"));
        check("-1", &[], Err("unable to find user"));
        check("0x0", &[], Err("unable to find user"));
    }
}
