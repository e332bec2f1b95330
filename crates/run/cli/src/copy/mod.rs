//! What `cp` decides before it moves a byte: whose path is whose, and under
//! which name the source arrives.
//!
//! The rules are `cp -r`'s with docker's additions: `/.` at the end of a
//! source means what is in it, and a `/` at the end of a destination says
//! that it is a directory.

pub(crate) mod rename;

use crate::failure::Failure;

/// One side of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Side {
    /// A path here, or `-`.
    Local(String),
    /// A path in a container.
    Container { name: String, path: String },
}

impl Side {
    /// Reads `CONTAINER:PATH` or a path. A local path with a colon begins with
    /// `/` or `.`.
    pub(crate) fn parse(text: &str) -> Self {
        if text.starts_with('/') {
            return Self::Local(text.to_owned());
        }
        match text.split_once(':') {
            Some((name, path)) if !name.starts_with('.') => Self::Container {
                name: name.to_owned(),
                path: path.to_owned(),
            },
            _ => Self::Local(text.to_owned()),
        }
    }
}

/// Where a source comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) is_directory: bool,
    /// The name that it is to have where a link was followed.
    pub(crate) renamed: Option<String>,
}

/// Where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) path: String,
    pub(crate) is_there: Option<IsDirectory>,
}

/// What a destination is that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IsDirectory {
    Yes,
    No,
}

/// Into which directory a source is unpacked, and which name it takes there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) directory: String,
    /// The source's own name, and the one that it takes.
    pub(crate) rename: Option<(String, String)>,
}

/// Decides how a source arrives.
///
/// # Errors
/// docker's sentence where the two do not fit.
pub(crate) fn arrive(source: &Source, destination: &Destination) -> Result<Arrival, Failure> {
    let (directory, name) = split(&destination.path);
    let (_, own) = split(&source.path);
    let renamed = |from: String| Arrival {
        directory: directory.clone(),
        rename: Some((from, name.clone())),
    };
    match (destination.is_there, source.is_directory) {
        (Some(IsDirectory::Yes), _) => Ok(Arrival {
            directory: destination.path.clone(),
            rename: source.renamed.clone().map(|renamed| (own, renamed)),
        }),
        (Some(IsDirectory::No), true) => Err(Failure::new("cannot copy directory")),
        (Some(IsDirectory::No), false) | (None, true) => Ok(renamed(own)),
        (None, false) if says_directory(&destination.path) => {
            Err(Failure::new("no such directory"))
        }
        (None, false) => Ok(renamed(own)),
    }
}

/// Whether a path says that it is a directory.
pub(crate) fn says_directory(path: &str) -> bool {
    path.ends_with('/') || names_contents(path)
}

/// Whether a path means what is in a directory.
pub(crate) fn names_contents(path: &str) -> bool {
    path == "." || path.ends_with("/.")
}

/// A path cleaned as Go's `path.Clean` does.
pub(crate) fn clean(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if absolute || parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    match (absolute, parts.join("/")) {
        (true, path) => format!("/{path}"),
        (false, path) if path.is_empty() => ".".to_owned(),
        (false, path) => path,
    }
}

/// The directory and the last name of a path; a final `/.` stays as the name.
pub(crate) fn split(path: &str) -> (String, String) {
    let cleaned = clean(path);
    if names_contents(path) {
        return (cleaned, ".".to_owned());
    }
    match cleaned.rsplit_once('/') {
        Some(("", name)) => ("/".to_owned(), name.to_owned()),
        Some((directory, name)) => (directory.to_owned(), name.to_owned()),
        None => (".".to_owned(), cleaned),
    }
}

/// A cleaned path that still ends as the one that was written.
pub(crate) fn keep_ending(cleaned: String, written: &str) -> String {
    if names_contents(written) && !names_contents(&cleaned) {
        return if cleaned.ends_with('/') {
            format!("{cleaned}.")
        } else {
            format!("{cleaned}/.")
        };
    }
    if written.ends_with('/') && !cleaned.ends_with('/') {
        return format!("{cleaned}/");
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides() {
        let container = |name: &str, path: &str| Side::Container {
            name: name.to_owned(),
            path: path.to_owned(),
        };
        let local = |path: &str| Side::Local(path.to_owned());
        assert_eq!(Side::parse("web:/etc"), container("web", "/etc"));
        assert_eq!(Side::parse("/a:b"), local("/a:b"));
        assert_eq!(Side::parse("./a:b"), local("./a:b"));
        assert_eq!(Side::parse("-"), local("-"));
        assert_eq!(Side::parse("plain"), local("plain"));
    }

    #[test]
    fn splits() {
        for (path, directory, name) in [
            ("/a/b", "/a", "b"),
            ("/a/b/", "/a", "b"),
            ("/a/b/.", "/a/b", "."),
            ("/", "/", ""),
            ("b", ".", "b"),
            ("/b", "/", "b"),
            ("/a/../c/.", "/c", "."),
        ] {
            assert_eq!(
                split(path),
                (directory.to_owned(), name.to_owned()),
                "{path}"
            );
        }
    }

    #[test]
    fn arrivals() {
        use IsDirectory::{No, Yes};
        for (source, is_directory, destination, is_there, expected) in [
            ("/s/f", false, "/d", Some(Yes), Ok(("/d", None))),
            ("/s/f", false, "/d/x", None, Ok(("/d", Some(("f", "x"))))),
            (
                "/s/f",
                false,
                "/d/x",
                Some(No),
                Ok(("/d", Some(("f", "x")))),
            ),
            ("/s/f", false, "/d/x/", None, Err("no such directory")),
            (
                "/s/dir",
                true,
                "/d/f",
                Some(No),
                Err("cannot copy directory"),
            ),
            ("/s/dir", true, "/d", Some(Yes), Ok(("/d", None))),
            (
                "/s/dir",
                true,
                "/d/new",
                None,
                Ok(("/d", Some(("dir", "new")))),
            ),
            (
                "/s/dir/.",
                true,
                "/d/new",
                None,
                Ok(("/d", Some((".", "new")))),
            ),
            ("/s/dir/.", true, "/d", Some(Yes), Ok(("/d", None))),
        ] {
            let source = Source {
                path: source.to_owned(),
                is_directory,
                renamed: None,
            };
            let destination = Destination {
                path: destination.to_owned(),
                is_there,
            };
            let found = arrive(&source, &destination);
            let expected = expected
                .map(|(directory, rename)| Arrival {
                    directory: directory.to_owned(),
                    rename: rename.map(|(from, to): (&str, &str)| (from.to_owned(), to.to_owned())),
                })
                .map_err(Failure::new);
            assert_eq!(found, expected, "{source:?} {destination:?}");
        }
    }
}
