//! Options of a tmpfs mount.

use crate::config::TmpfsOptions;

/// What a tmpfs has unless it is asked otherwise.
pub const TMPFS_DEFAULTS: [&str; 3] = ["noexec", "nosuid", "nodev"];

/// Flags of which a later one replaces an earlier one, `mount(8)`.
const PAIRS: [[&str; 2]; 8] = [
    ["exec", "noexec"],
    ["suid", "nosuid"],
    ["dev", "nodev"],
    ["ro", "rw"],
    ["sync", "async"],
    ["atime", "noatime"],
    ["diratime", "nodiratime"],
    ["relatime", "norelatime"],
];
/// Flags without an opposite.
const SINGLE: [&str; 4] = ["strictatime", "nostrictatime", "remount", "mand"];
/// Options with a value, `tmpfs(5)`.
const VALUED: [&str; 7] = [
    "size",
    "mode",
    "uid",
    "gid",
    "nr_inodes",
    "nr_blocks",
    "mpol",
];
/// How a mount's changes spread.
const PROPAGATION: [&str; 8] = [
    "private",
    "rprivate",
    "shared",
    "rshared",
    "slave",
    "rslave",
    "unbindable",
    "runbindable",
];

/// The defaults with `options` over them, a later option over an earlier one
/// that it contradicts: the options that are none, or the list.
pub fn merge_options(options: &[&str]) -> Result<Vec<String>, Vec<String>> {
    let unknown: Vec<String> = options
        .iter()
        .filter(|option| !is_known(option))
        .map(|option| (*option).to_owned())
        .collect();
    if !unknown.is_empty() {
        return Err(unknown);
    }
    let all: Vec<&str> = TMPFS_DEFAULTS.iter().chain(options).copied().collect();
    let mut merged = Vec::with_capacity(all.len());
    for (at, option) in all.iter().enumerate() {
        let replaced = all[at + 1..]
            .iter()
            .any(|later| subject(later) == subject(option));
        if !replaced {
            merged.push((*option).to_owned());
        }
    }
    Ok(merged)
}

fn is_known(option: &str) -> bool {
    match option.split_once('=') {
        Some((name, value)) => VALUED.contains(&name) && !value.is_empty(),
        None => {
            PAIRS.iter().flatten().any(|flag| *flag == option)
                || SINGLE.contains(&option)
                || PROPAGATION.contains(&option)
        }
    }
}

/// What an option is about: two about the same contradict each other.
fn subject(option: &str) -> &str {
    if let Some((name, _)) = option.split_once('=') {
        return name;
    }
    if PROPAGATION.contains(&option) {
        return "propagation";
    }
    PAIRS
        .iter()
        .find(|pair| pair.contains(&option))
        .map_or(option, |pair| pair[0])
}

/// The options of a `--mount type=tmpfs`: why they are refused, or the list
/// before merging.
pub(super) fn of_mount(
    options: Option<&TmpfsOptions>,
    read_only: bool,
) -> Result<Vec<String>, String> {
    let mut list = Vec::new();
    if read_only {
        list.push("ro".to_owned());
    }
    let Some(options) = options else {
        return Ok(list);
    };
    if options.mode != 0 {
        list.push(format!("mode={:o}", options.mode & 0o7777));
    }
    match options.size_bytes {
        0 => {}
        size if size < 0 => return Err(format!("invalid tmpfs size: {size}")),
        size => list.push(format!("size={size}")),
    }
    for option in options.options.iter().flatten() {
        let [name] = option.as_slice() else {
            return Err(match option.first() {
                Some(name) => format!("invalid option: {name}"),
                None => "invalid option array length".to_owned(),
            });
        };
        if !["exec", "noexec"].contains(&name.as_str()) {
            return Err(format!("invalid option: {name}"));
        }
        list.push(name.clone());
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_options_replace_earlier_ones() {
        let merged = |text: &str| {
            let options: Vec<&str> = text
                .split(',')
                .filter(|option| !option.is_empty())
                .collect();
            merge_options(&options).map(|list| list.join(","))
        };
        assert_eq!(merged("").as_deref(), Ok("noexec,nosuid,nodev"));
        assert_eq!(
            merged("exec,size=64m,mode=1777").as_deref(),
            Ok("nosuid,nodev,exec,size=64m,mode=1777")
        );
        assert_eq!(
            merged("size=1k,size=2k,ro,rw").as_deref(),
            Ok("noexec,nosuid,nodev,size=2k,rw")
        );
        assert_eq!(
            merged("foo,size=1,bar=2"),
            Err(vec!["foo".into(), "bar=2".into()])
        );
        assert_eq!(merged("lowerdir=/"), Err(vec!["lowerdir=/".into()]));
    }
}
