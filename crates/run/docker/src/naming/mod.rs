//! What containers are called: the grammar of names, names made up for those
//! who give none, and the index by which all are found.

mod generated;
mod index;

pub use generated::generated_name;
pub use index::{FindError, Index};

/// Shortest and allowed names, as Docker says it in its errors.
pub const NAME_CHARACTERS: &str = "[a-zA-Z0-9][a-zA-Z0-9_.-]";

/// Longest name; Docker has no bound, a list of them in memory needs one.
pub const NAME_BYTES_MAX: usize = 1024;

/// Whether `name` (without a slash before it) may be a container's or a
/// volume's: at least two of [`NAME_CHARACTERS`].
pub fn is_valid_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    (2..=NAME_BYTES_MAX).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes[1..]
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammar() {
        for good in ["ab", "a_b.c-d", "0a", "A-", "a".repeat(1024).as_str()] {
            assert!(is_valid_name(good), "{good}");
        }
        let long = "a".repeat(1025);
        for bad in [
            "", "a", "_a", ".a", "-a", "a b", "a/b", "/ab", "../a", "a\0b", "ä1", "a\nb", &long,
        ] {
            assert!(!is_valid_name(bad), "{bad:?}");
        }
    }
}
