//! Image references: what people and files call an image.
//!
//! The grammar and the normalisation are those of distribution/reference
//! (`reference.go`, `regexp.go`, `normalize.go`), which Docker, containerd and
//! podman share: `busybox` is `docker.io/library/busybox`, and what is shown
//! to people is the familiar form again.
//!
//! ```text
//! reference      := name [ ":" tag ] [ "@" digest ]
//! name           := [ domain "/" ] path
//! domain         := host [ ":" [0-9]+ ]        host: DNS name, IPv4 or [IPv6]
//! path           := component { "/" component }
//! component      := [a-z0-9]+ { ( "." | "_" | "__" | "-"+ ) [a-z0-9]+ }
//! tag            := [A-Za-z0-9_] [A-Za-z0-9_.-]{0,127}
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::{Algorithm, Digest, DigestError};

/// Longest path of a repository, in bytes.
pub const MAX_PATH_BYTES: usize = 255;
/// Longest tag, in bytes.
pub const MAX_TAG_BYTES: usize = 128;
/// Longest text that is looked at: domain with port, path, tag and digest.
const MAX_REFERENCE_BYTES: usize = 1024;

const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DEFAULT_DOMAIN: &str = "index.docker.io";
const OFFICIAL_PREFIX: &str = "library/";
const DEFAULT_TAG: &str = "latest";

/// A normalised reference: a repository with, maybe, a tag and a digest.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    domain: Box<str>,
    path: Box<str>,
    tag: Option<Box<str>>,
    digest: Option<Digest>,
}

/// What may stand where an image is asked for: a name or a whole ID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnyReference {
    /// `sha256:<hex>`, or 64 hexadecimal characters alone.
    Digest(Digest),
    /// Everything else.
    Named(Reference),
}

/// Why a text is no reference; the sentences are those that clients know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// It does not follow the grammar.
    #[error("invalid reference format")]
    Format,
    /// The repository's name has uppercase letters.
    #[error("invalid reference format: repository name ({name}) must be lowercase")]
    Uppercase {
        /// The name as given.
        name: String,
    },
    /// A longer path than [`MAX_PATH_BYTES`].
    #[error("repository name must not be more than {MAX_PATH_BYTES} characters")]
    TooLong,
    /// It would be taken for an ID.
    #[error("invalid repository name ({name}), cannot specify 64-byte hexadecimal strings")]
    LooksLikeId {
        /// The name as given.
        name: String,
    },
    /// The tag does not follow the grammar.
    #[error("invalid tag format")]
    Tag,
    /// The part after `@` is no digest.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl Reference {
    /// Registry, with its port: `docker.io`, `[::1]:5000`.
    ///
    /// Empty in one case: a first component that looks like a domain but is
    /// none (`my_site.test/app`) is a name that tags may have, and nothing
    /// can be pulled from.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository's path in its registry, `library/busybox`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Whether it has neither tag nor digest.
    pub fn is_name_only(&self) -> bool {
        self.tag.is_none() && self.digest.is_none()
    }

    /// `domain/path`.
    pub fn name(&self) -> String {
        join_name(&self.domain, &self.path)
    }

    /// The repository as people write it: `busybox`.
    pub fn familiar_name(&self) -> String {
        if &*self.domain != DEFAULT_DOMAIN {
            return self.name();
        }
        match self.path.strip_prefix(OFFICIAL_PREFIX) {
            Some(official) if !official.contains('/') => official.to_owned(),
            _ => self.path.to_string(),
        }
    }

    /// The whole reference as people write it: `busybox:latest`.
    pub fn familiar(&self) -> String {
        let mut text = self.familiar_name();
        self.push_version(&mut text);
        text
    }

    /// With the tag `latest` where it has neither tag nor digest.
    #[must_use]
    pub fn or_latest(mut self) -> Reference {
        if self.is_name_only() {
            self.tag = Some(DEFAULT_TAG.into());
        }
        self
    }

    /// The repository alone.
    #[must_use]
    pub fn without_version(&self) -> Reference {
        Reference {
            domain: self.domain.clone(),
            path: self.path.clone(),
            tag: None,
            digest: None,
        }
    }

    /// This repository with `tag`, and the digest that it has.
    ///
    /// # Errors
    /// [`ReferenceError::Tag`].
    pub fn with_tag(&self, tag: &str) -> Result<Reference, ReferenceError> {
        if !is_tag(tag) {
            return Err(ReferenceError::Tag);
        }
        let mut named = self.clone();
        named.tag = Some(tag.into());
        Ok(named)
    }

    /// This repository with `digest`, without a tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Reference {
        let mut named = self.without_version();
        named.digest = Some(digest);
        named
    }

    fn push_version(&self, text: &mut String) {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(digest.as_str());
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    /// Normalises: default domain and `library/` are filled in, a tag is not
    /// (see [`Reference::or_latest`]).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_REFERENCE_BYTES {
            return Err(ReferenceError::TooLong);
        }
        if is_id(text) {
            return Err(ReferenceError::LooksLikeId { name: text.into() });
        }
        let (domain, remainder) = split_domain(text);
        let named = remainder.split(':').next().unwrap_or_default();
        if named.chars().any(char::is_uppercase) {
            return Err(ReferenceError::Uppercase { name: named.into() });
        }

        let (name_and_tag, digest) = match remainder.split_once('@') {
            Some((rest, digest)) => (rest, Some(parse_digest(digest)?)),
            None => (&*remainder, None),
        };
        let (path, tag) = match name_and_tag.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (name_and_tag, None),
        };
        if !is_path(path) || tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(ReferenceError::Format);
        }
        let (domain, path) = if is_domain(domain) {
            (domain, path.to_owned())
        } else {
            ("", join_name(domain, path))
        };
        if domain.is_empty() && !is_path(&path) {
            return Err(ReferenceError::Format);
        }
        if path.len() > MAX_PATH_BYTES {
            return Err(ReferenceError::TooLong);
        }
        Ok(Reference {
            domain: domain.into(),
            path: path.into(),
            tag: tag.map(Into::into),
            digest,
        })
    }
}

impl FromStr for AnyReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if is_id(text) {
            let digest = format!("{}:{text}", Algorithm::Sha256.name()).parse()?;
            return Ok(AnyReference::Digest(digest));
        }
        match text.parse() {
            Ok(digest) => Ok(AnyReference::Digest(digest)),
            Err(_) => text.parse().map(AnyReference::Named),
        }
    }
}

impl fmt::Display for Reference {
    /// The whole normalised text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.name();
        self.push_version(&mut text);
        f.write_str(&text)
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Splits off what counts as a domain, filling in the defaults.
fn split_domain(text: &str) -> (&str, std::borrow::Cow<'_, str>) {
    use std::borrow::Cow;

    let (domain, rest) = match text.split_once('/') {
        None => (DEFAULT_DOMAIN, text),
        Some((LEGACY_DEFAULT_DOMAIN, rest)) => (DEFAULT_DOMAIN, rest),
        Some((first, rest))
            if first == "localhost"
                || first.contains(['.', ':'])
                || first.chars().any(char::is_uppercase) =>
        {
            (first, rest)
        }
        Some(_) => (DEFAULT_DOMAIN, text),
    };
    if domain == DEFAULT_DOMAIN && !rest.contains('/') {
        (domain, Cow::Owned(format!("{OFFICIAL_PREFIX}{rest}")))
    } else {
        (domain, Cow::Borrowed(rest))
    }
}

fn join_name(domain: &str, path: &str) -> String {
    if domain.is_empty() {
        path.to_owned()
    } else {
        format!("{domain}/{path}")
    }
}

/// The reference grammar lets any algorithm of letters and 32 or more
/// hexadecimal characters pass before the digest itself is judged; shorter or
/// stranger ones are wrong references rather than wrong digests.
fn parse_digest(text: &str) -> Result<Digest, ReferenceError> {
    let shaped = text.split_once(':').is_some_and(|(algorithm, hex)| {
        algorithm.starts_with(|c: char| c.is_ascii_alphabetic())
            && algorithm
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_+.".contains(&b))
            && hex.len() >= 32
            && hex.bytes().all(|b| b.is_ascii_hexdigit())
    });
    if !shaped {
        return Err(ReferenceError::Format);
    }
    Ok(text.parse()?)
}

/// 64 lowercase hexadecimal characters: an ID without its algorithm.
fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let bytes = tag.as_bytes();
    bytes.len() <= MAX_TAG_BYTES
        && bytes.first().is_some_and(|&b| word(b))
        && bytes.iter().all(|&b| word(b) || b == b'.' || b == b'-')
}

fn is_path(path: &str) -> bool {
    path.split('/').all(is_path_component)
}

fn is_path_component(component: &str) -> bool {
    let letter = |b: &u8| matches!(b, b'a'..=b'z' | b'0'..=b'9');
    let bytes = component.as_bytes();
    let ends_right = bytes.first().is_some_and(letter) && bytes.last().is_some_and(letter);
    ends_right
        && bytes.split(letter).all(|between| {
            matches!(between, b"" | b"." | b"_" | b"__") || between.iter().all(|&b| b == b'-')
        })
}

fn is_domain(domain: &str) -> bool {
    if let Some(rest) = domain.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else {
            return false;
        };
        return !address.is_empty()
            && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':')
            && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let (host, port) = match domain.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (domain, None),
    };
    port.is_none_or(is_port)
        && host.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
}

fn is_port(port: &str) -> bool {
    !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[track_caller]
    fn check(text: &str, full: &str, familiar: &str) {
        let reference: Reference = text
            .parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(reference.to_string(), full, "{text}");
        assert_eq!(reference.familiar(), familiar, "{text}");
        // Both forms name the same again.
        assert_eq!(full.parse::<Reference>(), Ok(reference.clone()), "{text}");
        assert_eq!(familiar.parse::<Reference>(), Ok(reference), "{text}");
    }

    #[track_caller]
    fn refuse(text: &str, sentence: &str) {
        let error = text.parse::<Reference>().expect_err(text);
        assert_eq!(error.to_string(), sentence, "{text}");
    }

    #[test]
    fn normalises() {
        check("busybox", "docker.io/library/busybox", "busybox");
        check("busybox:1", "docker.io/library/busybox:1", "busybox:1");
        check("docker.io/busybox", "docker.io/library/busybox", "busybox");
        check("index.docker.io/a/b:c", "docker.io/a/b:c", "a/b:c");
        check("library/busybox", "docker.io/library/busybox", "busybox");
        check("library/a/b", "docker.io/library/a/b", "library/a/b");
        check("localhost/a", "localhost/a", "localhost/a");
        check("local/a", "docker.io/local/a", "local/a");
        check("test:5000/a:5050", "test:5000/a:5050", "test:5000/a:5050");
        check(
            "192.168.0.1:80",
            "docker.io/library/192.168.0.1:80",
            "192.168.0.1:80",
        );
        check("[::1]:5000/a:b", "[::1]:5000/a:b", "[::1]:5000/a:b");
        check("[2001:db8::1]/a", "[2001:db8::1]/a", "[2001:db8::1]/a");
        check("FOO/bar", "FOO/bar", "FOO/bar");
        check("my_site.test/app", "my_site.test/app", "my_site.test/app");
        check(
            "a__b/c---d.e_f",
            "docker.io/a__b/c---d.e_f",
            "a__b/c---d.e_f",
        );
        check(
            "lower:Upper",
            "docker.io/library/lower:Upper",
            "lower:Upper",
        );
        let digest = format!("a@sha256:{HEX}");
        check(&digest, &format!("docker.io/library/{digest}"), &digest);
        let both = format!("x:1/a:b@sha512:{HEX}{HEX}");
        check(&both, &both, &both);
        // The familiar form of this one would be taken for an ID.
        let hex: Reference = format!("docker.io/{HEX}").parse().unwrap();
        assert_eq!(hex.path(), format!("library/{HEX}"));
    }

    #[test]
    fn refuses() {
        let format = "invalid reference format";
        for text in [
            "",
            ":tag",
            "@",
            "a:",
            "a@",
            "a:b:c",
            "-a",
            "a-",
            "a/-b",
            "_a",
            "a/",
            "/a",
            "a//b",
            "a..b",
            "a_.b",
            "a___b",
            "https://x.y/z",
            "[::1]",
            "[::1]:5000",
            "[fe80::1%eth0]:1/a",
            "[::1/a",
            "[]/a",
            "fc00::1:5000/a",
            "x.y:/a",
            "x.:1/a",
            "a b",
            "a\0",
            "é",
            "a:-t",
            "a:t t",
            "../a",
            "./a",
            "a/../b",
            "a@sha256:zz",
            "a@sha256:ff",
            "a@:",
        ] {
            refuse(text, format);
        }
        refuse(
            "Upper",
            "invalid reference format: repository name (library/Upper) must be lowercase",
        );
        refuse(
            "a/Upper:t",
            "invalid reference format: repository name (a/Upper) must be lowercase",
        );
        refuse(
            HEX,
            &format!("invalid repository name ({HEX}), cannot specify 64-byte hexadecimal strings"),
        );
        let long = "repository name must not be more than 255 characters";
        refuse(&format!("x.y/{}", "a/".repeat(128) + "a"), long);
        refuse(&"a".repeat(1 << 20), long);
        refuse(&format!("a:{}", "t".repeat(129)), format);
        refuse(&format!("a@md5:{HEX}"), "unsupported digest algorithm");
        refuse(
            &format!("a@sha512:{HEX}"),
            "invalid digest length: 64 characters, sha512 has 128",
        );
        check(
            &format!("x.y/{}a:t", "a/".repeat(127)),
            &format!("x.y/{}a:t", "a/".repeat(127)),
            &format!("x.y/{}a:t", "a/".repeat(127)),
        );
    }

    #[test]
    fn tells_ids_from_names() {
        let id: Digest = format!("sha256:{HEX}").parse().unwrap();
        assert_eq!(HEX.parse(), Ok(AnyReference::Digest(id.clone())));
        assert_eq!(
            format!("sha256:{HEX}").parse(),
            Ok(AnyReference::Digest(id))
        );
        assert!(matches!(HEX[..63].parse(), Ok(AnyReference::Named(_))));
        assert!(matches!("sha256:abc".parse(), Ok(AnyReference::Named(_))));
    }

    #[test]
    fn changes_its_version() {
        let busybox: Reference = "busybox".parse().unwrap();
        assert_eq!(busybox.clone().or_latest().familiar(), "busybox:latest");
        assert_eq!(busybox.with_tag("x").unwrap().or_latest().tag(), Some("x"));
        assert_eq!(busybox.with_tag("-x"), Err(ReferenceError::Tag));
        let digest = Digest::of(b"");
        let pinned = busybox.with_tag("x").unwrap().with_digest(digest.clone());
        assert_eq!((pinned.tag(), pinned.digest()), (None, Some(&digest)));
        assert_eq!(pinned.without_version(), busybox);
        let json = serde_json::to_string(&pinned).unwrap();
        assert_eq!(serde_json::from_str::<Reference>(&json).unwrap(), pinned);
    }
}
