//! Keys that detach a client from a terminal.

/// Finds a key sequence in a stream of bytes, across reads. A part of the
/// sequence that turns out not to be one is passed on, as a terminal user
/// expects.
#[derive(Debug, Default)]
pub(crate) struct DetachKeys {
    keys: Vec<u8>,
    matched: usize,
}

impl DetachKeys {
    pub(crate) fn new(keys: &[u8]) -> Self {
        Self {
            keys: keys.to_vec(),
            matched: 0,
        }
    }

    /// Bytes to pass on, and whether the sequence is complete.
    pub(crate) fn filter(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        if self.keys.is_empty() {
            return (bytes.to_vec(), false);
        }
        let mut passed = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            if byte != self.keys[self.matched] {
                passed.extend_from_slice(&self.keys[..self.matched]);
                self.matched = 0;
            }
            if byte == self.keys[self.matched] {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    return (passed, true);
                }
            } else {
                passed.push(byte);
            }
        }
        (passed, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(keys: &[u8], reads: &[&[u8]], passed: &[u8], detached: bool) {
        let mut filter = DetachKeys::new(keys);
        let mut all = Vec::new();
        let mut left = false;
        for read in reads {
            let (bytes, end) = filter.filter(read);
            all.extend(bytes);
            left |= end;
        }
        assert_eq!((all.as_slice(), left), (passed, detached));
    }

    #[test]
    fn the_sequence_detaches_and_its_parts_pass() {
        check(&[16, 17], &[b"ls\n"], b"ls\n", false);
        check(&[16, 17], &[b"a\x10\x11"], b"a", true);
        check(&[16, 17], &[b"a\x10", b"\x11"], b"a", true);
        check(&[16, 17], &[b"\x10b"], b"\x10b", false);
        check(&[16, 17], &[b"\x10\x10\x11"], b"\x10", true);
        check(&[16, 17], &[b"\x10"], b"", false);
        check(&[], &[b"\x10\x11"], b"\x10\x11", false);
    }
}
