//! The 512-byte header block: fields, numbers, check sum.

use super::BLOCK_LEN;

/// Largest number that eleven octal digits hold; a file's size beyond it
/// stands in a PAX record or in base 256.
pub(super) const OCTAL_11_MAX: u64 = 0o777_7777_7777;
/// Largest number that seven octal digits hold.
pub(super) const OCTAL_7_MAX: u64 = 0o777_7777;

/// One header block.
#[derive(Clone)]
pub(super) struct Header(pub(super) [u8; BLOCK_LEN]);

/// A numeric field: its name for errors, and where it is.
#[derive(Clone, Copy)]
pub(super) struct Field(pub(super) &'static str, pub(super) usize, pub(super) usize);

pub(super) const MODE: Field = Field("mode", 100, 8);
pub(super) const UID: Field = Field("uid", 108, 8);
pub(super) const GID: Field = Field("gid", 116, 8);
pub(super) const SIZE: Field = Field("size", 124, 12);
pub(super) const MTIME: Field = Field("mtime", 136, 12);
pub(super) const CHECKSUM: Field = Field("check sum", 148, 8);
pub(super) const DEV_MAJOR: Field = Field("device major", 329, 8);
pub(super) const DEV_MINOR: Field = Field("device minor", 337, 8);
pub(super) const GNU_REAL_SIZE: Field = Field("sparse real size", 483, 12);

const NAME: (usize, usize) = (0, 100);
const LINK_NAME: (usize, usize) = (157, 100);
const PREFIX: (usize, usize) = (345, 155);
const TYPE_FLAG: usize = 156;
const MAGIC: (usize, usize) = (257, 8);

/// Which of the historic layouts a block has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    V7,
    Ustar,
    /// ustar, with a shorter prefix and times behind it.
    Star,
    Gnu,
}

impl Header {
    pub(super) fn zeroed() -> Header {
        Header([0; BLOCK_LEN])
    }

    /// A block of zeros marks the archive's end.
    pub(super) fn is_blank(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }

    /// Compares the sum of the bytes with the one stored; historic tars
    /// summed signed bytes.
    pub(super) fn checksum_matches(&self) -> bool {
        let Some(stored) = self.number(CHECKSUM) else {
            return false;
        };
        let (unsigned, signed) = self.sums();
        stored == unsigned || stored == signed
    }

    fn sums(&self) -> (i64, i64) {
        let field = CHECKSUM.1..CHECKSUM.1 + CHECKSUM.2;
        let (mut unsigned, mut signed) = (0, 0);
        for (at, byte) in self.0.iter().enumerate() {
            let byte = if field.contains(&at) { b' ' } else { *byte };
            unsigned += i64::from(byte);
            signed += i64::from(byte.cast_signed());
        }
        (unsigned, signed)
    }

    pub(super) fn type_flag(&self) -> u8 {
        self.0[TYPE_FLAG]
    }

    fn dialect(&self) -> Dialect {
        match self.raw(MAGIC) {
            b"ustar  \0" => Dialect::Gnu,
            [b'u', b's', b't', b'a', b'r', 0, ..] if &self.0[508..] == b"tar\0" => Dialect::Star,
            [b'u', b's', b't', b'a', b'r', 0, ..] => Dialect::Ustar,
            _ => Dialect::V7,
        }
    }

    /// The name, with the prefix in front where the dialect has one.
    pub(super) fn path(&self) -> Vec<u8> {
        let prefix = match self.dialect() {
            Dialect::Ustar => text(self.raw(PREFIX)),
            Dialect::Star => text(&self.raw(PREFIX)[..131]),
            Dialect::V7 | Dialect::Gnu => b"",
        };
        let name = text(self.raw(NAME));
        if prefix.is_empty() {
            name.to_vec()
        } else {
            [prefix, b"/", name].concat()
        }
    }

    pub(super) fn link_name(&self) -> &[u8] {
        text(self.raw(LINK_NAME))
    }

    /// A number in octal or base 256; `None` when it is neither or does not
    /// fit. An empty field is 0.
    pub(super) fn number(&self, field: Field) -> Option<i64> {
        number(self.raw((field.1, field.2)))
    }

    pub(super) fn raw(&self, (at, len): (usize, usize)) -> &[u8] {
        &self.0[at..at + len]
    }

    pub(super) fn set_name(&mut self, name: &[u8], prefix: &[u8]) {
        self.0[NAME.0..][..name.len()].copy_from_slice(name);
        self.0[PREFIX.0..][..prefix.len()].copy_from_slice(prefix);
    }

    pub(super) fn set_link_name(&mut self, target: &[u8]) {
        self.0[LINK_NAME.0..][..target.len()].copy_from_slice(target);
    }

    pub(super) fn set_type_flag(&mut self, flag: u8) {
        self.0[TYPE_FLAG] = flag;
    }

    /// Zero-padded octal and a NUL; what does not fit is for the caller to
    /// say in a PAX record.
    pub(super) fn set_number(&mut self, field: Field, value: u64) {
        let Field(_, at, len) = field;
        let digits = len - 1;
        let mut rest = value;
        for position in (at..at + digits).rev() {
            self.0[position] = b'0' + (rest & 7) as u8;
            rest >>= 3;
        }
        debug_assert_eq!(rest, 0, "caller checked the range");
        self.0[at + digits] = 0;
    }

    /// Marks the block as POSIX ustar and seals it.
    pub(super) fn seal(&mut self) {
        self.0[MAGIC.0..][..MAGIC.1].copy_from_slice(b"ustar\x0000");
        let (sum, _) = self.sums();
        let text = format!("{sum:06o}\0 ");
        self.0[CHECKSUM.1..][..CHECKSUM.2].copy_from_slice(text.as_bytes());
    }
}

/// Bytes up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0);
    &field[..end.unwrap_or(field.len())]
}

/// Reads a numeric field, of at most 12 bytes.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => base_256(field),
        _ => octal(field),
    }
}

/// GNU's extension: a big-endian two's complement number whose top bit only
/// marks the form, so that the next one is the sign.
fn base_256(field: &[u8]) -> Option<i64> {
    let (first, rest) = field.split_first()?;
    let negative = first & 0x40 != 0;
    let mut value = i128::from(first & 0x7f);
    if negative {
        value -= 0x80;
    }
    for byte in rest {
        value = value.checked_mul(256)?.checked_add(i128::from(*byte))?;
    }
    i64::try_from(value).ok()
}

fn octal(field: &[u8]) -> Option<i64> {
    let padding = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !padding(byte));
    let Some(start) = start else { return Some(0) };
    let field = &field[start..];
    let end = field.iter().position(padding).unwrap_or(field.len());
    let (digits, tail) = field.split_at(end);
    if !tail.iter().all(padding) {
        return None;
    }
    digits.iter().try_fold(0_i64, |value, digit| match digit {
        b'0'..=b'7' => Some(value * 8 + i64::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers() {
        for (field, expected) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"644\0\0\0\0\0", Some(0o644)),
            (b"77777777", Some(0o7777_7777)),
            (b"777777777777", Some(0o7777_7777_7777)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"-0000001", None),
            (b"+0000001", None),
            (b"0x644\0\0\0", None),
            (b"00008\0\0\0", None),
            (b"12 34\0\0\0", None),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (
                b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
                Some(i64::MAX),
            ),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"\xc0\0\0\0\0\0\0\0\0\0\0\0", None),
        ] {
            assert_eq!(number(field), expected, "{}", field.escape_ascii());
        }
    }

    #[test]
    fn seals_what_it_reads() {
        let mut header = Header::zeroed();
        header.set_name(b"name", b"some/prefix");
        header.set_number(SIZE, OCTAL_11_MAX);
        header.seal();
        assert!(header.checksum_matches());
        assert_eq!(header.path(), b"some/prefix/name");
        assert_eq!(header.number(SIZE), Some(OCTAL_11_MAX.cast_signed()));
        header.0[0] ^= 1;
        assert!(!header.checksum_matches());
        header.0[CHECKSUM.1] = b'x';
        assert!(!header.checksum_matches());
    }
}
