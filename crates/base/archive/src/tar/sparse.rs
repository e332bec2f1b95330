//! Where the stored bytes of a sparse file belong: the forms that stand in
//! blocks of their own, and what every form must satisfy.

use super::header::{Header, number};
use super::pax::{EXTENTS_MAX, decimal, push};
use super::{BLOCK_LEN, Extent};

/// Digits of the largest number in a map.
const NUMBER_LEN_MAX: usize = 20;

/// Reads the four runs of an old GNU header; `true` when a block of more
/// follows.
pub(super) fn from_header(header: &Header, extents: &mut Vec<Extent>) -> Option<bool> {
    pairs(header.raw((386, 4 * 24)), extents)?;
    Some(header.0[482] != 0)
}

/// Reads an extension block of an old GNU header.
pub(super) fn from_extension(block: &[u8; BLOCK_LEN], extents: &mut Vec<Extent>) -> Option<bool> {
    pairs(&block[..21 * 24], extents)?;
    Some(block[504] != 0)
}

fn pairs(table: &[u8], extents: &mut Vec<Extent>) -> Option<()> {
    for pair in table.chunks_exact(24) {
        // An empty pair ends the table.
        if pair[0] == 0 {
            break;
        }
        let offset = u64::try_from(number(&pair[..12])?).ok()?;
        let len = u64::try_from(number(&pair[12..])?).ok()?;
        push(extents, offset, len)?;
    }
    Some(())
}

/// Reads the map of GNU's PAX version 1.0, which stands in front of the
/// data: decimal numbers, each with a newline behind it, padded to a block.
#[derive(Default)]
pub(super) struct MapReader {
    number: Vec<u8>,
    count: Option<u64>,
    offset: Option<u64>,
    extents: Vec<Extent>,
    seen: u64,
}

impl MapReader {
    /// Takes the next block; `Some(true)` when the map is whole, `None` when
    /// it is none.
    pub(super) fn feed(&mut self, block: &[u8; BLOCK_LEN]) -> Option<bool> {
        for byte in block {
            if self.is_whole() {
                break;
            }
            match byte {
                b'\n' => {
                    let value = decimal(&self.number)?;
                    self.number.clear();
                    self.take(value)?;
                }
                _ if self.number.len() < NUMBER_LEN_MAX => self.number.push(*byte),
                _ => return None,
            }
        }
        Some(self.is_whole())
    }

    fn is_whole(&self) -> bool {
        self.count == Some(self.seen)
    }

    fn take(&mut self, value: u64) -> Option<()> {
        match (self.count, self.offset.take()) {
            (None, _) if value > EXTENTS_MAX as u64 => return None,
            (None, _) => self.count = Some(value),
            (Some(_), None) => self.offset = Some(value),
            (Some(_), Some(offset)) => {
                push(&mut self.extents, offset, value)?;
                self.seen += 1;
            }
        }
        Some(())
    }

    pub(super) fn finish(self) -> Vec<Extent> {
        self.extents
    }
}

/// Whether the runs ascend without overlap, lie within `real_size`, and are
/// `stored` bytes together.
pub(super) fn is_consistent(extents: &[Extent], real_size: u64, stored: u64) -> bool {
    let mut end = 0_u64;
    let mut sum = 0_u64;
    for extent in extents {
        if extent.offset < end {
            return false;
        }
        let Some(next) = extent.offset.checked_add(extent.len) else {
            return false;
        };
        end = next;
        // No overflow: runs that do not overlap sum up to at most the end.
        sum += extent.len;
    }
    end <= real_size && sum == stored
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &str) -> [u8; BLOCK_LEN] {
        let mut block = [0; BLOCK_LEN];
        block[..text.len()].copy_from_slice(text.as_bytes());
        block
    }

    #[test]
    fn reads_a_map_over_blocks() {
        let mut reader = MapReader::default();
        assert_eq!(reader.feed(&block("2\n0\n5\n1000\n0\ngarbage")), Some(true));
        assert_eq!(reader.finish(), [Extent { offset: 0, len: 5 }]);

        let mut text = String::from("200\n");
        for at in 0..200 {
            text += &format!("{}\n1\n", at * 10);
        }
        let mut reader = MapReader::default();
        let mut bytes = text.into_bytes();
        bytes.resize(bytes.len().next_multiple_of(BLOCK_LEN), 0);
        let (blocks, _) = bytes.as_chunks::<BLOCK_LEN>();
        let answers: Vec<_> = blocks.iter().map(|block| reader.feed(block)).collect();
        assert_eq!(answers, [Some(false), Some(false), Some(true)]);
        assert_eq!(reader.finish().len(), 200);
    }

    #[test]
    fn refuses_maps_that_are_none() {
        for text in [
            "x\n",
            "\n",
            "-1\n",
            "999999999\n",
            "1\n99999999999999999999999\n",
        ] {
            assert_eq!(MapReader::default().feed(&block(text)), None, "{text}");
        }
        assert_eq!(MapReader::default().feed(&[0; BLOCK_LEN]), None);
    }

    #[test]
    fn checks_every_run() {
        let run = |offset, len| Extent { offset, len };
        assert!(is_consistent(&[], 0, 0));
        assert!(is_consistent(&[], u64::MAX, 0));
        assert!(is_consistent(&[run(0, 5), run(5, 5)], 10, 10));
        assert!(!is_consistent(&[run(0, 5), run(4, 5)], 10, 10));
        assert!(!is_consistent(&[run(5, 5), run(0, 5)], 10, 10));
        assert!(!is_consistent(&[run(0, 5)], 4, 5));
        assert!(!is_consistent(&[run(0, 5)], 10, 6));
        assert!(!is_consistent(&[run(u64::MAX, 2)], u64::MAX, 2));
    }
}
