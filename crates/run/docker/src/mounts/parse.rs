//! One written mount → one [`MountPoint`], with Docker's rules and words.

use std::path::Path;

use crate::config::{Mount, MountKind};

use super::point::{MountPoint, PointKind};
use super::tmpfs;

const PROPAGATIONS: [&str; 6] = [
    "private", "rprivate", "slave", "rslave", "shared", "rshared",
];
const CONSISTENCIES: [&str; 3] = ["consistent", "cached", "delegated"];
const DEFAULT_PROPAGATION: &str = "rprivate";

/// Why a mount is refused; `Display` is Docker's sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MountError {
    /// `-v` of a form that there is not.
    #[error("invalid volume specification: '{0}'")]
    Specification(String),
    /// `-v` whose parts do not fit.
    #[error("invalid volume specification: '{specification}': {reason}")]
    SpecificationPart {
        /// As it was written.
        specification: String,
        /// Which and why.
        reason: Box<MountError>,
    },
    /// Options of `-v` or `--volumes-from`.
    #[error("invalid mode: {0}")]
    Mode(String),
    /// `--mount` whose parts do not fit.
    #[error("invalid mount config for type \"{kind}\": {reason}")]
    Config {
        /// Its type.
        kind: String,
        /// Why.
        reason: String,
    },
    /// A destination of `--tmpfs`.
    #[error("{0}")]
    Destination(String),
    /// Options of `--tmpfs`.
    #[error("invalid tmpfs option {options:?}")]
    TmpfsOptions {
        /// Those that are none.
        options: Vec<String>,
    },
    /// `--volumes-from` with nothing.
    #[error("volumes-from specification cannot be an empty string")]
    EmptyVolumesFrom,
    /// Two mounts at one place.
    #[error("Duplicate mount point: {0}")]
    Duplicate(String),
    /// A kind that is not done yet: an entry of `docs/not-yet.md`.
    #[error("{}", crate::not_yet::sentence(.0))]
    NotYet(&'static str),
}

/// Parses `-v`: `destination`, `source:destination` or
/// `source:destination:options`.
pub fn parse_bind(text: &str, volume_driver: &str) -> Result<MountPoint, MountError> {
    let specification = || MountError::Specification(text.to_owned());
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, mode) = match parts[..] {
        ["", ..] => return Err(specification()),
        [target] => ("", target, ""),
        // A destination with options is none: `/a:ro`.
        [_, mode] if Modes::parse(mode).is_some() => return Err(specification()),
        [source, target] => (source, target, ""),
        [source, target, mode] => (source, target, mode),
        _ => return Err(specification()),
    };
    let modes = Modes::parse(mode).ok_or_else(|| MountError::Mode(mode.to_owned()))?;
    let is_bind = source.starts_with('/');
    let refused = |reason: &str| MountError::SpecificationPart {
        specification: text.to_owned(),
        reason: Box::new(MountError::Config {
            kind: if is_bind { "bind" } else { "volume" }.to_owned(),
            reason: reason.to_owned(),
        }),
    };
    check_destination(target).map_err(|reason| refused(&reason))?;
    let mut point = MountPoint {
        destination: clean(target),
        read_only: modes.read_only,
        mode: mode.to_owned(),
        ..MountPoint::default()
    };
    if is_bind {
        if modes.no_copy {
            return Err(refused("field VolumeOptions must not be specified"));
        }
        point.kind = PointKind::Bind;
        point.source = clean(source);
        point.propagation = modes.propagation.unwrap_or(DEFAULT_PROPAGATION).to_owned();
        point.create_source = true;
    } else {
        if modes.propagation.is_some() {
            return Err(refused("field BindOptions must not be specified"));
        }
        point.kind = PointKind::Volume;
        point.volume = source.to_owned();
        point.anonymous = source.is_empty();
        point.copy_up = !modes.no_copy;
        if mode.is_empty() {
            // What Docker shows where nothing was said.
            "z".clone_into(&mut point.mode);
        }
        volume_driver.clone_into(&mut point.driver);
    }
    Ok(point)
}

/// Parses `--mount`. Whether a bind's source exists is not looked at here.
pub fn parse_mount(mount: &Mount) -> Result<MountPoint, MountError> {
    let refused = |reason: String| MountError::Config {
        kind: mount.kind.as_str().to_owned(),
        reason,
    };
    let missing = |field: &str| refused(format!("field {field} must not be empty"));
    let extra = |field: &str| refused(format!("field {field} must not be specified"));
    if mount.target.is_empty() {
        return Err(missing("Target"));
    }
    check_destination(&mount.target).map_err(refused)?;
    let allowed = match &mount.kind {
        MountKind::Bind => "BindOptions",
        MountKind::Volume => "VolumeOptions",
        MountKind::Tmpfs => "TmpfsOptions",
        MountKind::Image => return Err(MountError::NotYet("image-mount")),
        MountKind::Absent | MountKind::Other(_) => {
            return Err(refused("mount type unknown".to_owned()));
        }
    };
    let given = [
        ("BindOptions", mount.bind_options.is_some()),
        ("VolumeOptions", mount.volume_options.is_some()),
        ("ImageOptions", mount.image_options.is_some()),
        ("TmpfsOptions", mount.tmpfs_options.is_some()),
    ];
    if let Some((field, _)) = given
        .iter()
        .find(|(field, given)| *given && *field != allowed)
    {
        return Err(extra(field));
    }
    let mut point = MountPoint {
        destination: clean(&mount.target),
        read_only: mount.read_only,
        ..MountPoint::default()
    };
    match mount.kind {
        MountKind::Bind => {
            if mount.source.is_empty() {
                return Err(missing("Source"));
            }
            check_absolute(&mount.source).map_err(refused)?;
            bind_point(mount, &mut point).map_err(refused)?;
        }
        MountKind::Volume => volume_point(mount, &mut point).map_err(refused)?,
        _ => {
            if !mount.source.is_empty() {
                return Err(extra("Source"));
            }
            point.kind = PointKind::Tmpfs;
            let options =
                tmpfs::of_mount(mount.tmpfs_options.as_ref(), mount.read_only).map_err(refused)?;
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            point.tmpfs_options = tmpfs::merge_options(&options)
                .map_err(|options| MountError::TmpfsOptions { options })?;
        }
    }
    Ok(point)
}

fn bind_point(mount: &Mount, point: &mut MountPoint) -> Result<(), String> {
    let options = mount.bind_options.clone().unwrap_or_default();
    point.kind = PointKind::Bind;
    point.source = clean(&mount.source);
    point.propagation = match options.propagation.as_str() {
        "" => DEFAULT_PROPAGATION.to_owned(),
        known if PROPAGATIONS.contains(&known) => known.to_owned(),
        other => return Err(format!("invalid propagation mode: {other}")),
    };
    if options.read_only_force_recursive && options.read_only_non_recursive {
        return Err(
            "ReadOnlyNonRecursive and ReadOnlyForceRecursive are mutually exclusive".to_owned(),
        );
    }
    if options.read_only_force_recursive && !mount.read_only {
        return Err("ReadOnlyForceRecursive requires ReadOnly".to_owned());
    }
    point.non_recursive = options.non_recursive;
    point.create_source = options.create_mountpoint;
    point.read_only_non_recursive = options.read_only_non_recursive;
    Ok(())
}

fn volume_point(mount: &Mount, point: &mut MountPoint) -> Result<(), String> {
    let options = mount.volume_options.clone().unwrap_or_default();
    point.kind = PointKind::Volume;
    point.anonymous = mount.source.is_empty();
    if point.anonymous && mount.read_only {
        return Err("must not set ReadOnly mode when using anonymous volumes".to_owned());
    }
    if !options.subpath.is_empty() {
        if point.anonymous {
            return Err("must not set Subpath when using anonymous volumes".to_owned());
        }
        if !is_local(&options.subpath) {
            return Err("subpath must be a relative path within the volume".to_owned());
        }
        // A container that writes to the volume could replace the directory
        // by a symlink between two starts.
        return Err(crate::not_yet::sentence("volume-subpath").to_owned());
    }
    point.volume.clone_from(&mount.source);
    point.copy_up = !options.no_copy;
    point.labels = options.labels.unwrap_or_default();
    let driver = options.driver_config.unwrap_or_default();
    point.driver = driver.name;
    point.driver_options = driver.options.unwrap_or_default();
    "z".clone_into(&mut point.mode);
    Ok(())
}

/// Parses `--volumes-from`: `container[:options]`; whether they are read-only.
pub fn parse_volumes_from(text: &str) -> Result<(&str, Option<bool>), MountError> {
    if text.is_empty() {
        return Err(MountError::EmptyVolumesFrom);
    }
    let Some((container, mode)) = text.split_once(':') else {
        return Ok((text, None));
    };
    let modes = Modes::parse(mode)
        .filter(|modes| modes.propagation.is_none() && !modes.no_copy)
        .ok_or_else(|| MountError::Mode(mode.to_owned()))?;
    Ok((container, Some(modes.read_only)))
}

/// Parses an entry of `HostConfig.Tmpfs`.
pub(super) fn parse_tmpfs(destination: &str, options: &str) -> Result<MountPoint, MountError> {
    check_destination(destination).map_err(MountError::Destination)?;
    let options: Vec<&str> = options
        .split(',')
        .filter(|option| !option.is_empty())
        .collect();
    Ok(MountPoint {
        kind: PointKind::Tmpfs,
        destination: clean(destination),
        read_only: options.contains(&"ro"),
        tmpfs_options: tmpfs::merge_options(&options)
            .map_err(|options| MountError::TmpfsOptions { options })?,
        hidden: true,
        ..MountPoint::default()
    })
}

/// An anonymous volume of the image or of `Config.Volumes`.
pub(super) fn anonymous_volume(destination: &str) -> Result<MountPoint, MountError> {
    check_destination(destination).map_err(|reason| MountError::Config {
        kind: "volume".to_owned(),
        reason,
    })?;
    Ok(MountPoint {
        kind: PointKind::Volume,
        destination: clean(destination),
        anonymous: true,
        copy_up: true,
        ..MountPoint::default()
    })
}

/// The options of `-v`, one of each kind at most.
#[derive(Debug, Default)]
struct Modes<'a> {
    read_only: bool,
    propagation: Option<&'a str>,
    no_copy: bool,
}

impl<'a> Modes<'a> {
    fn parse(mode: &'a str) -> Option<Self> {
        let mut modes = Self::default();
        let (mut access, mut label, mut consistency) = (0, 0, 0);
        if mode.is_empty() {
            return Some(modes);
        }
        for option in mode.split(',') {
            match option {
                "ro" | "rw" => {
                    access += 1;
                    modes.read_only = option == "ro";
                }
                // SELinux's: there is nothing to relabel for us.
                "z" | "Z" => label += 1,
                "nocopy" if !modes.no_copy => modes.no_copy = true,
                _ if CONSISTENCIES.contains(&option) => consistency += 1,
                _ if PROPAGATIONS.contains(&option) && modes.propagation.is_none() => {
                    modes.propagation = Some(option);
                }
                _ => return None,
            }
        }
        (access <= 1 && label <= 1 && consistency <= 1).then_some(modes)
    }
}

fn check_destination(path: &str) -> Result<(), String> {
    check_absolute(path)?;
    if clean(path) == "/" {
        return Err("invalid specification: destination can't be '/'".to_owned());
    }
    Ok(())
}

fn check_absolute(path: &str) -> Result<(), String> {
    if path.contains('\0') {
        return Err("invalid mount path: it contains a NUL".to_owned());
    }
    if path.starts_with('/') {
        Ok(())
    } else {
        Err(format!(
            "invalid mount path: '{path}' mount path must be absolute"
        ))
    }
}

/// Go's `path.Clean` of an absolute path: no dots, no doubled slashes.
pub(crate) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Relative, and nowhere above where it begins.
fn is_local(path: &str) -> bool {
    let mut depth = 0i64;
    for component in Path::new(path).components() {
        depth += match component {
            std::path::Component::Normal(_) => 1,
            std::path::Component::CurDir => 0,
            std::path::Component::ParentDir => -1,
            _ => return false,
        };
        if depth < 0 {
            return false;
        }
    }
    !path.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{BindOptions, TmpfsOptions, VolumeOptions};
    use expect_test::{Expect, expect};

    fn shown(parsed: Result<MountPoint, MountError>) -> String {
        match parsed {
            Ok(point) => format!(
                "{} {}{} -> {} {}{}{}",
                point.kind.as_str(),
                point.source,
                point.volume,
                point.destination,
                if point.read_only { "ro " } else { "rw " },
                point.propagation,
                if point.copy_up { "copy" } else { "" },
            ),
            Err(error) => format!("error: {error}"),
        }
    }

    fn check(text: &str, expected: Expect) {
        expected.assert_eq(&shown(parse_bind(text, "")));
    }

    #[test]
    fn binds() {
        check("/data", expect!["volume  -> /data rw copy"]);
        check("/a:/b", expect!["bind /a -> /b rw rprivate"]);
        check("/a/../c/:/b//x/.", expect!["bind /c -> /b/x rw rprivate"]);
        check("vol:/b:ro", expect!["volume vol -> /b ro copy"]);
        check("vol:/b:nocopy", expect!["volume vol -> /b rw "]);
        check(
            "/a:/b:ro,rshared,z,cached",
            expect!["bind /a -> /b ro rshared"],
        );
    }

    #[test]
    fn refused_binds() {
        check("", expect!["error: invalid volume specification: ''"]);
        check(":/b", expect!["error: invalid volume specification: ':/b'"]);
        check(
            "/b:ro",
            expect!["error: invalid volume specification: '/b:ro'"],
        );
        check(
            "/a:/b:ro:x",
            expect!["error: invalid volume specification: '/a:/b:ro:x'"],
        );
        check("/a:/b:foo", expect!["error: invalid mode: foo"]);
        check("/a:/b:ro,rw", expect!["error: invalid mode: ro,rw"]);
        check(
            "/a:/b:shared,slave",
            expect!["error: invalid mode: shared,slave"],
        );
        check(
            "foo",
            expect![[
                r#"error: invalid volume specification: 'foo': invalid mount config for type "volume": invalid mount path: 'foo' mount path must be absolute"#
            ]],
        );
        check(
            "/a:b",
            expect![[
                r#"error: invalid volume specification: '/a:b': invalid mount config for type "bind": invalid mount path: 'b' mount path must be absolute"#
            ]],
        );
        check(
            "a:/",
            expect![[
                r#"error: invalid volume specification: 'a:/': invalid mount config for type "volume": invalid specification: destination can't be '/'"#
            ]],
        );
        check(
            "/a:/b/..",
            expect![[
                r#"error: invalid volume specification: '/a:/b/..': invalid mount config for type "bind": invalid specification: destination can't be '/'"#
            ]],
        );
        check(
            "/x:/y:z,nocopy",
            expect![[
                r#"error: invalid volume specification: '/x:/y:z,nocopy': invalid mount config for type "bind": field VolumeOptions must not be specified"#
            ]],
        );
        check(
            "vol:/y:rshared",
            expect![[
                r#"error: invalid volume specification: 'vol:/y:rshared': invalid mount config for type "volume": field BindOptions must not be specified"#
            ]],
        );
        assert!(parse_bind("/a:/b\0c", "").is_err());
    }

    #[test]
    fn long_form() {
        let mount = |kind: &str, source: &str, target: &str| Mount {
            kind: MountKind::from(kind.to_owned()),
            source: source.into(),
            target: target.into(),
            ..Mount::default()
        };
        let check =
            |mount: Mount, expected: Expect| expected.assert_eq(&shown(parse_mount(&mount)));
        check(
            mount("bind", "/a", "/b"),
            expect!["bind /a -> /b rw rprivate"],
        );
        check(mount("volume", "", "/b"), expect!["volume  -> /b rw copy"]);
        check(mount("tmpfs", "", "/b"), expect!["tmpfs  -> /b rw "]);
        check(
            mount("bind", "", "/b"),
            expect![[
                r#"error: invalid mount config for type "bind": field Source must not be empty"#
            ]],
        );
        check(
            mount("bind", "/a", ""),
            expect![[
                r#"error: invalid mount config for type "bind": field Target must not be empty"#
            ]],
        );
        check(
            mount("bind", "a", "/b"),
            expect![[
                r#"error: invalid mount config for type "bind": invalid mount path: 'a' mount path must be absolute"#
            ]],
        );
        check(
            mount("tmpfs", "/a", "/b"),
            expect![[
                r#"error: invalid mount config for type "tmpfs": field Source must not be specified"#
            ]],
        );
        check(
            mount("foo", "/a", "/b"),
            expect![[r#"error: invalid mount config for type "foo": mount type unknown"#]],
        );
        check(
            mount("volume", "a", "/"),
            expect![[
                r#"error: invalid mount config for type "volume": invalid specification: destination can't be '/'"#
            ]],
        );
        check(
            Mount {
                volume_options: Some(VolumeOptions::default()),
                ..mount("bind", "/a", "/b")
            },
            expect![[
                r#"error: invalid mount config for type "bind": field VolumeOptions must not be specified"#
            ]],
        );
        check(
            Mount {
                bind_options: Some(BindOptions {
                    propagation: "foo".into(),
                    ..BindOptions::default()
                }),
                ..mount("bind", "/a", "/b")
            },
            expect![[
                r#"error: invalid mount config for type "bind": invalid propagation mode: foo"#
            ]],
        );
        check(
            Mount {
                read_only: true,
                ..mount("volume", "", "/b")
            },
            expect![[
                r#"error: invalid mount config for type "volume": must not set ReadOnly mode when using anonymous volumes"#
            ]],
        );
        for hostile in ["../x", "a/../../x", "/etc", "a\0"] {
            let options = VolumeOptions {
                subpath: hostile.into(),
                ..VolumeOptions::default()
            };
            let mount = Mount {
                volume_options: Some(options),
                ..mount("volume", "v", "/b")
            };
            assert!(parse_mount(&mount).is_err(), "{hostile}");
        }
        check(
            Mount {
                tmpfs_options: Some(TmpfsOptions {
                    size_bytes: -1,
                    ..TmpfsOptions::default()
                }),
                ..mount("tmpfs", "", "/b")
            },
            expect![[r#"error: invalid mount config for type "tmpfs": invalid tmpfs size: -1"#]],
        );
    }

    #[test]
    fn volumes_from() {
        assert_eq!(parse_volumes_from("a"), Ok(("a", None)));
        assert_eq!(parse_volumes_from("a:ro"), Ok(("a", Some(true))));
        assert_eq!(parse_volumes_from("a:z"), Ok(("a", Some(false))));
        assert_eq!(
            parse_volumes_from("a:foo"),
            Err(MountError::Mode("foo".into()))
        );
        assert_eq!(
            parse_volumes_from("a:nocopy"),
            Err(MountError::Mode("nocopy".into()))
        );
        assert_eq!(parse_volumes_from(""), Err(MountError::EmptyVolumesFrom));
    }
}
