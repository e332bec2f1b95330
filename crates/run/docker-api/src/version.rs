//! Versions of the API and their negotiation.

use std::fmt;

/// A version, `1.43`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ApiVersion {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

/// The oldest version that is answered.
pub(crate) const MIN: ApiVersion = v(24);
/// The newest, and what a request without a version means.
pub(crate) const MAX: ApiVersion = v(51);

/// Version 1.`minor`.
pub(crate) const fn v(minor: u32) -> ApiVersion {
    ApiVersion { major: 1, minor }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Splits `/v1.43/info` into its version, as it is written, and the rest;
/// a path without a version is given back whole.
pub(crate) fn split(path: &str) -> (Option<&str>, &str) {
    let Some(rest) = path.strip_prefix("/v") else {
        return (None, path);
    };
    let end = rest.find('/').unwrap_or(rest.len());
    let version = &rest[..end];
    let is_version = !version.is_empty()
        && version
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.');
    if is_version {
        (Some(version), &rest[end..])
    } else {
        (None, path)
    }
}

/// The version that a request speaks, or Docker's sentence for one that is
/// not spoken here.
pub(crate) fn negotiate(written: Option<&str>) -> Result<ApiVersion, String> {
    let Some(written) = written else {
        return Ok(MAX);
    };
    let mut parts = written.split('.');
    // What is no number counts as 0, as Docker compares.
    let mut number = || parts.next().and_then(|part| part.parse().ok()).unwrap_or(0);
    let version = ApiVersion {
        major: number(),
        minor: number(),
    };
    if version < MIN {
        return Err(format!(
            "client version {written} is too old. Minimum supported API version is {MIN}, please upgrade your client to a newer version"
        ));
    }
    if version > MAX {
        return Err(format!(
            "client version {written} is too new. Maximum supported API version is {MAX}"
        ));
    }
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        assert_eq!(split("/v1.43/info"), (Some("1.43"), "/info"));
        assert_eq!(split("/info"), (None, "/info"));
        assert_eq!(split("/version"), (None, "/version"));
        assert_eq!(split("/volumes"), (None, "/volumes"));
        assert_eq!(split("/v1.43"), (Some("1.43"), ""));
        assert_eq!(split("/v/info"), (None, "/v/info"));
    }

    #[test]
    fn versions() {
        assert_eq!(negotiate(None), Ok(MAX));
        assert_eq!(negotiate(Some("1.24")), Ok(v(24)));
        assert_eq!(negotiate(Some("1.51")), Ok(v(51)));
        let refused = |written| negotiate(Some(written)).expect_err(written);
        assert_eq!(
            refused("1.23"),
            "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"
        );
        assert_eq!(
            refused("1.52"),
            "client version 1.52 is too new. Maximum supported API version is 1.51"
        );
        assert!(refused("1").contains("too old"));
        assert!(refused("2.0").contains("too new"));
        assert!(refused("99999999999999").contains("too old"));
        assert!(refused("..").contains("too old"));
    }
}
