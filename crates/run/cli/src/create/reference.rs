//! Names of images as people write them, checked before the engine is asked.

/// The tag that a name without one has.
const DEFAULT_TAG: &str = "latest";

/// The familiar form of a name, with a tag or digest: `busybox` is
/// `busybox:latest`. `None` for an image's id.
///
/// # Errors
/// docker's sentence.
pub(crate) fn familiar(name: &str) -> Result<Option<String>, String> {
    if name.len() == 64 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Ok(None);
    }
    if name
        .strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
    {
        return Ok(None);
    }
    let invalid = || "invalid reference format".to_owned();
    let (rest, digest) = name
        .split_once('@')
        .map_or((name, None), |(rest, digest)| (rest, Some(digest)));
    let (repository, tag) = match rest.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (rest, None),
    };
    let domain_of = |repository: &str| {
        repository.split_once('/').is_some_and(|(first, _)| {
            first.contains(['.', ':'])
                || first == "localhost"
                || first.chars().any(char::is_uppercase)
        })
    };
    let path = if domain_of(repository) {
        repository
            .split_once('/')
            .map_or(repository, |(_, path)| path)
    } else {
        repository
    };
    if path.chars().any(|c| c.is_ascii_uppercase()) {
        let full = if path.contains('/') || domain_of(repository) {
            path.to_owned()
        } else {
            format!("library/{path}")
        };
        return Err(format!(
            "invalid reference format: repository name ({full}) must be lowercase"
        ));
    }
    let component = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.ends_with(|c: char| c.is_ascii_alphanumeric())
            && part
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c))
    };
    if repository.is_empty() || !path.split('/').all(component) {
        return Err(invalid());
    }
    let is_tag = |tag: &str| {
        !tag.is_empty()
            && tag.len() <= 128
            && !tag.starts_with(['.', '-'])
            && tag
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Err(invalid());
    }
    if let Some(digest) = digest {
        let holds = digest.split_once(':').is_some_and(|(algorithm, hex)| {
            !algorithm.is_empty() && hex.len() >= 32 && hex.bytes().all(|b| b.is_ascii_hexdigit())
        });
        if !holds {
            return Err(invalid());
        }
    }
    let repository = repository.strip_prefix("docker.io/").unwrap_or(repository);
    let repository = repository.strip_prefix("library/").unwrap_or(repository);
    Ok(Some(match (tag, digest) {
        (Some(tag), Some(digest)) => format!("{repository}:{tag}@{digest}"),
        (None, Some(digest)) => format!("{repository}@{digest}"),
        (tag, None) => format!("{repository}:{}", tag.unwrap_or(DEFAULT_TAG)),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn familiar_names() {
        for (name, expected) in [
            ("busybox", "busybox:latest"),
            ("docker.io/library/busybox:1", "busybox:1"),
            ("localhost:5000/a/b", "localhost:5000/a/b:latest"),
            ("a/b:t", "a/b:t"),
        ] {
            assert_eq!(familiar(name), Ok(Some(expected.to_owned())), "{name}");
        }
        assert_eq!(familiar(&"a".repeat(64)), Ok(None));
        for bad in ["", "a:", ":t", "a//b", "-a", "a:tag@bad", "a b", "a:t t"] {
            assert!(familiar(bad).is_err(), "{bad}");
        }
    }
}
