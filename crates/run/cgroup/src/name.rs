//! Names of groups, checked once where they come in.

use std::fmt;

use crate::Error;

/// Longest name of a leaf, bytes.
const LEAF_NAME_MAX: usize = 128;

/// Deepest path of a parent group.
const PARENT_DEPTH_MAX: usize = 16;

/// Longest component of a parent's path, bytes (NAME_MAX).
const COMPONENT_MAX: usize = 255;

/// Name of a container's group: letters, digits, `_`, `.`, `-`, `:`; it starts
/// with a letter or digit, so it is no path and no kernel file of our own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeafName(String);

impl LeafName {
    /// Checks a name. [`Error::Name`] says what is wrong with it.
    pub fn new(name: &str) -> Result<Self, Error> {
        let refuse = |reason| {
            Err(Error::Name {
                name: shorten(name),
                reason,
            })
        };
        if name.is_empty() {
            return refuse("it is empty");
        }
        if name.len() > LEAF_NAME_MAX {
            return refuse("it is longer than 128 bytes");
        }
        if !name.as_bytes()[0].is_ascii_alphanumeric() {
            return refuse("it must start with a letter or a digit");
        }
        let permitted = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-:".contains(&byte);
        if !name.bytes().all(permitted) {
            return refuse("only letters, digits and _ . - : may be used");
        }
        // Files of the kernel stand beside child groups and have such names.
        if name.starts_with("cgroup.") {
            return refuse("names that start with cgroup. are the kernel's");
        }
        Ok(Self(name.to_owned()))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LeafName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Path of a parent group below the root of each hierarchy, without `/` at
/// either end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GroupPath(String);

impl GroupPath {
    /// Checks a path such as `carrack` or `/site/batch`.
    pub fn new(path: &str) -> Result<Self, Error> {
        let refuse = |reason| {
            Err(Error::Name {
                name: shorten(path),
                reason,
            })
        };
        let components: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        if components.is_empty() {
            return refuse("it names the root of the hierarchy");
        }
        if components.len() > PARENT_DEPTH_MAX {
            return refuse("it is deeper than 16 groups");
        }
        for component in &components {
            if *component == "." || *component == ".." {
                return refuse(". and .. may not be used");
            }
            if component.len() > COMPONENT_MAX {
                return refuse("a component is longer than 255 bytes");
            }
            if component.contains(|letter: char| letter.is_control()) {
                return refuse("it contains a control character");
            }
        }
        Ok(Self(components.join("/")))
    }

    /// As text, without a leading `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

impl fmt::Display for GroupPath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Hostile names do not flood a log.
fn shorten(name: &str) -> String {
    name.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaf_names() {
        for good in ["a", "0123abc", "web.1", "a:b-c_d", &"x".repeat(128)] {
            assert!(LeafName::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "/a",
            "a\0b",
            "a\nb",
            "-a",
            "é",
            "cgroup.procs",
            "a b",
            &"x".repeat(129),
        ] {
            assert!(LeafName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn parent_paths() {
        let path = |text: &str| GroupPath::new(text).map(|path| path.as_str().to_owned());
        assert_eq!(path("carrack").unwrap(), "carrack");
        assert_eq!(path("/site//batch/").unwrap(), "site/batch");
        for bad in [
            "",
            "/",
            "a/../b",
            "./a",
            "..",
            "a\nb",
            &"a/".repeat(17),
            &"x".repeat(256),
        ] {
            assert!(path(bad).is_err(), "{bad:?}");
        }
    }
}
