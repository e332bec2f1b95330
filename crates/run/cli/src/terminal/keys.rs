//! The sequence of keys that leaves a container without ending it.

/// What detaches when the user says nothing else: ctrl-p, ctrl-q.
const DEFAULT_KEYS: &[u8] = &[16, 17];

/// Watches input for the sequence.
#[derive(Debug)]
pub(crate) struct DetachKeys {
    keys: Vec<u8>,
    matched: usize,
}

/// What a piece of input is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// Bytes for the container.
    Pass(Vec<u8>),
    /// The sequence came after these bytes.
    Detach(Vec<u8>),
}

impl DetachKeys {
    /// Reads a sequence such as `ctrl-p,ctrl-q` or `ctrl-x,a`; the empty text
    /// is the usual one.
    ///
    /// # Errors
    /// docker's sentence.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self {
                keys: DEFAULT_KEYS.to_vec(),
                matched: 0,
            });
        }
        let keys: Option<Vec<u8>> = text.split(',').map(key).collect();
        match keys {
            Some(keys) => Ok(Self { keys, matched: 0 }),
            None => {
                let bad = text
                    .split(',')
                    .find(|part| key(part).is_none())
                    .unwrap_or(text);
                Err(format!(
                    "invalid detach keys ({text}): Unknown character: '{bad}'"
                ))
            }
        }
    }

    /// Takes input. Bytes that may begin the sequence are held back until the
    /// next ones tell.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Input {
        let mut pass = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            if byte == self.keys[self.matched] {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    self.matched = 0;
                    return Input::Detach(pass);
                }
                continue;
            }
            pass.extend_from_slice(&self.keys[..self.matched]);
            self.matched = 0;
            if byte == self.keys[0] && self.keys.len() > 1 {
                self.matched = 1;
            } else {
                pass.push(byte);
            }
        }
        Input::Pass(pass)
    }
}

/// One key: a character, or `ctrl-` with a letter or one of `@[\]^_`.
fn key(text: &str) -> Option<u8> {
    if let [byte] = text.as_bytes() {
        return Some(*byte);
    }
    match text.strip_prefix("ctrl-")?.as_bytes() {
        [letter @ b'a'..=b'z'] => Some(letter - b'a' + 1),
        [b'@'] => Some(0),
        [b'['] => Some(27),
        [b'\\'] => Some(28),
        [b']'] => Some(29),
        [b'^'] => Some(30),
        [b'_'] => Some(31),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences() {
        let mut keys = DetachKeys::parse("").unwrap();
        assert_eq!(keys.take(b"ab"), Input::Pass(b"ab".to_vec()));
        assert_eq!(keys.take(b"c\x10"), Input::Pass(b"c".to_vec()));
        assert_eq!(keys.take(b"\x10d"), Input::Pass(b"\x10\x10d".to_vec()));
        assert_eq!(keys.take(b"e\x10\x11f"), Input::Detach(b"e".to_vec()));
        let mut keys = DetachKeys::parse("ctrl-x,a").unwrap();
        assert_eq!(keys.take(b"\x18"), Input::Pass(Vec::new()));
        assert_eq!(keys.take(b"a"), Input::Detach(Vec::new()));
    }

    #[test]
    fn bad_sequences_are_named() {
        assert!(
            DetachKeys::parse("ctrl-foo")
                .unwrap_err()
                .contains("ctrl-foo")
        );
        assert!(DetachKeys::parse("a,,b").is_err());
        assert!(DetachKeys::parse("ctrl-A").is_err());
    }
}
