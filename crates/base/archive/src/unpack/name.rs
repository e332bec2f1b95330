//! Where an entry's name leads below the root, and what it means in a layer.
//! Pure.

use crate::TreeError;
use crate::error::shown;

/// Longest component (`NAME_MAX`), in bytes.
const COMPONENT_LEN_MAX: usize = 255;
const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// aufs' own files begin so; of them only the opaque mark means something.
const META_PREFIX: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// A path below the root: components with single slashes between them, none
/// of them `.` or `..`. Empty for the root itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TreePath(Vec<u8>);

impl TreePath {
    /// Takes a name apart as docker does: `.` and `..` are resolved in the
    /// text, an absolute name begins at the root and cannot climb above it,
    /// a relative one that climbs above the root is an error.
    pub(super) fn parse(name: &[u8]) -> Result<TreePath, TreeError> {
        let absolute = name.first() == Some(&b'/');
        let mut path = Vec::with_capacity(name.len());
        for component in name.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." if path.is_empty() && absolute => {}
                b".." if path.is_empty() => {
                    return Err(TreeError::Breakout { path: shown(name) });
                }
                b".." => {
                    let end = path.iter().rposition(|byte| *byte == b'/');
                    path.truncate(end.unwrap_or(0));
                }
                _ if component.len() > COMPONENT_LEN_MAX || component.contains(&0) => {
                    return Err(TreeError::Name { path: shown(name) });
                }
                _ => {
                    if !path.is_empty() {
                        path.push(b'/');
                    }
                    path.extend_from_slice(component);
                }
            }
        }
        Ok(TreePath(path))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The directory that holds it, and its name there; `None` for the root.
    pub(super) fn split(&self) -> Option<(&[u8], &[u8])> {
        if self.0.is_empty() {
            return None;
        }
        Some(match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&self.0[..slash], &self.0[slash + 1..]),
            None => (b"", &self.0),
        })
    }
}

/// What a name in a layer stands for (image-spec `layer.md`, "Whiteouts").
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LayerName<'a> {
    /// Something that is there.
    Ordinary,
    /// Hides a name of the layers below.
    Whiteout { parent: &'a [u8], hidden: &'a [u8] },
    /// Hides everything that the layers below have in a directory.
    Opaque { dir: &'a [u8] },
    /// aufs' bookkeeping.
    Ignored,
}

impl<'a> LayerName<'a> {
    pub(super) fn of(path: &'a TreePath) -> Result<LayerName<'a>, TreeError> {
        let Some((parent, name)) = path.split() else {
            return Ok(LayerName::Ordinary);
        };
        let whiteout = || TreeError::Whiteout {
            path: shown(path.as_bytes()),
        };
        for component in parent.split(|byte| *byte == b'/') {
            if component.starts_with(META_PREFIX) {
                return Ok(LayerName::Ignored);
            }
            if component.starts_with(WHITEOUT_PREFIX) {
                return Err(whiteout());
            }
        }
        if name == OPAQUE {
            return Ok(LayerName::Opaque { dir: parent });
        }
        if name.starts_with(META_PREFIX) {
            return Ok(LayerName::Ignored);
        }
        match name.strip_prefix(WHITEOUT_PREFIX) {
            None => Ok(LayerName::Ordinary),
            // `.wh..` and `.wh...` would hide the directory or its parent.
            Some(b"" | b"." | b"..") => Err(whiteout()),
            Some(hidden) => Ok(LayerName::Whiteout { parent, hidden }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_names_in_the_text() {
        for (name, expected) in [
            ("a", Some("a")),
            ("./a/b/", Some("a/b")),
            ("a//b/./c", Some("a/b/c")),
            ("/a", Some("a")),
            ("//a", Some("a")),
            (".", Some("")),
            ("./", Some("")),
            ("/", Some("")),
            ("a/..", Some("")),
            ("a/../b", Some("b")),
            ("a/b/../../c", Some("c")),
            ("/../a", Some("a")),
            ("/a/../../../b", Some("b")),
            ("..", None),
            ("../a", None),
            ("a/../../b", None),
            ("./..", None),
            ("..a/...", Some("..a/...")),
            ("a\0b", None),
        ] {
            let path = TreePath::parse(name.as_bytes()).ok();
            let found = path.map(|path| String::from_utf8(path.0).unwrap());
            assert_eq!(found.as_deref(), expected, "{name:?}");
        }
        assert!(TreePath::parse(&[b'x'; 255]).is_ok());
        assert!(TreePath::parse(&[b'x'; 256]).is_err());
    }

    #[test]
    fn knows_whiteouts() {
        let whiteout = |parent, hidden| Some(LayerName::Whiteout { parent, hidden });
        for (name, expected) in [
            ("a/b", Some(LayerName::Ordinary)),
            ("", Some(LayerName::Ordinary)),
            ("a/.wh.b", whiteout(b"a", b"b")),
            (".wh.b", whiteout(b"", b"b")),
            (".wh.b/", whiteout(b"", b"b")),
            (".wh..b", whiteout(b"", b".b")),
            (".wh....", whiteout(b"", b"...")),
            (".wh.", None),
            (".wh..", None),
            (".wh...", None),
            ("a/.wh...", None),
            (".wh.a/b", None),
            ("a/.wh..wh..opq", Some(LayerName::Opaque { dir: b"a" })),
            (".wh..wh..opq", Some(LayerName::Opaque { dir: b"" })),
            (".wh..wh.aufs", Some(LayerName::Ignored)),
            (".wh..wh.plnk/1.2", Some(LayerName::Ignored)),
            ("a.wh.b", Some(LayerName::Ordinary)),
        ] {
            let path = TreePath::parse(name.as_bytes()).unwrap();
            assert_eq!(LayerName::of(&path).ok(), expected, "{name}");
        }
    }
}
