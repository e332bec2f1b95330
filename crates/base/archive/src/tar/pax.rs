//! PAX extended headers: records of `length key=value`.
//!
//! Source: POSIX.1-2017 `pax`, "pax Extended Header"; GNU tar's manual,
//! "Storing Sparse Files"; star's `SCHILY.xattr`.

use super::{Extent, Timestamp, Xattr};

/// Largest extended header taken, in bytes.
pub(super) const HEADER_LEN_MAX: u64 = 1 << 20;
/// Most runs of one sparse file (4 MiB of memory).
pub(super) const EXTENTS_MAX: usize = 1 << 18;
/// Longest name of an extended attribute (`XATTR_NAME_MAX`).
const XATTR_NAME_LEN_MAX: usize = 255;
/// Most extended attributes of one entry.
const XATTRS_MAX: usize = 256;
const XATTR_PREFIX: &[u8] = b"SCHILY.xattr.";

/// What the records of one extended header say about the next entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link_path: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mtime: Option<Timestamp>,
    pub(super) xattrs: Vec<Xattr>,
    pub(super) sparse: PaxSparse,
}

/// GNU's three ways to tell of holes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PaxSparse {
    pub(super) version: Option<(u32, u32)>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    /// Versions 0.0 and 0.1: the runs themselves.
    pub(super) extents: Option<Vec<Extent>>,
    /// Version 0.0: a run whose length is still to come.
    open_offset: Option<u64>,
}

/// The name of a record that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadRecord(pub(super) &'static str);

impl Pax {
    /// Reads all records of an extended header's data.
    pub(super) fn parse(mut data: &[u8]) -> Result<Pax, BadRecord> {
        let mut pax = Pax::default();
        while !data.is_empty() {
            let (key, value, rest) = record(data).ok_or(BadRecord("pax record"))?;
            pax.apply(key, value)?;
            data = rest;
        }
        if pax.sparse.open_offset.is_some() {
            return Err(BadRecord("pax sparse map"));
        }
        Ok(pax)
    }

    /// Whether it says anything that only makes sense for one entry, or that
    /// readers without global headers (Go's, so docker's) would miss.
    pub(super) fn moves_or_renames(&self) -> bool {
        self.path.is_some()
            || self.link_path.is_some()
            || self.size.is_some()
            || !self.xattrs.is_empty()
            || self.sparse != PaxSparse::default()
    }

    fn apply(&mut self, key: &[u8], value: &[u8]) -> Result<(), BadRecord> {
        match key {
            b"path" => self.path = name(value, "pax path")?,
            b"linkpath" => self.link_path = name(value, "pax linkpath")?,
            b"size" => self.size = optional(value, decimal, "pax size")?,
            b"uid" => self.uid = optional(value, id, "pax uid")?,
            b"gid" => self.gid = optional(value, id, "pax gid")?,
            b"mtime" => self.mtime = optional(value, timestamp, "pax mtime")?,
            _ => match (
                key.strip_prefix(XATTR_PREFIX),
                key.strip_prefix(b"GNU.sparse."),
            ) {
                (Some(name), _) => self.set_xattr(name, value)?,
                (_, Some(key)) => self.sparse.apply(key, value)?,
                // Times of access and change, user and group names,
                // comments, other tools' own: nothing we keep.
                _ => {}
            },
        }
        Ok(())
    }

    fn set_xattr(&mut self, name: &[u8], value: &[u8]) -> Result<(), BadRecord> {
        if name.is_empty() || name.len() > XATTR_NAME_LEN_MAX || name.contains(&0) {
            return Err(BadRecord("pax extended attribute"));
        }
        self.xattrs.retain(|xattr| xattr.name != name);
        if self.xattrs.len() >= XATTRS_MAX {
            return Err(BadRecord("number of pax extended attributes"));
        }
        self.xattrs.push(Xattr {
            name: name.to_vec(),
            value: value.to_vec(),
        });
        Ok(())
    }
}

impl PaxSparse {
    fn apply(&mut self, key: &[u8], value: &[u8]) -> Result<(), BadRecord> {
        const BAD: BadRecord = BadRecord("pax sparse map");
        match key {
            b"major" => {
                let major = decimal(value).and_then(|n| u32::try_from(n).ok());
                self.version = Some((major.ok_or(BAD)?, self.version.unwrap_or_default().1));
            }
            b"minor" => {
                let minor = decimal(value).and_then(|n| u32::try_from(n).ok());
                self.version = Some((self.version.unwrap_or_default().0, minor.ok_or(BAD)?));
            }
            b"name" => self.name = name(value, "pax sparse name")?,
            b"size" | b"realsize" => self.real_size = Some(decimal(value).ok_or(BAD)?),
            b"numblocks" => {
                // The runs themselves tell how many they are.
                decimal(value).ok_or(BAD)?;
                self.extents.get_or_insert_default();
            }
            b"offset" => {
                let offset = decimal(value).ok_or(BAD)?;
                if self.open_offset.replace(offset).is_some() {
                    return Err(BAD);
                }
            }
            b"numbytes" => {
                let offset = self.open_offset.take().ok_or(BAD)?;
                let len = decimal(value).ok_or(BAD)?;
                push(self.extents.get_or_insert_default(), offset, len).ok_or(BAD)?;
            }
            b"map" => {
                let extents = self.extents.insert(Vec::new());
                let mut numbers = value.split(|byte| *byte == b',').map(decimal);
                while let Some(offset) = numbers.next() {
                    let offset = offset.ok_or(BAD)?;
                    let len = numbers.next().flatten().ok_or(BAD)?;
                    push(extents, offset, len).ok_or(BAD)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Adds a run; `None` when there are too many. Empty ones only mark the
/// file's end and are left out.
pub(super) fn push(extents: &mut Vec<Extent>, offset: u64, len: u64) -> Option<()> {
    if extents.len() >= EXTENTS_MAX {
        return None;
    }
    if len > 0 {
        extents.push(Extent { offset, len });
    }
    Some(())
}

/// Splits the first record off: key, value, rest.
fn record(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = data.iter().take(21).position(|byte| *byte == b' ')?;
    let len = usize::try_from(decimal(&data[..space])?).ok()?;
    if len <= space + 1 || len > data.len() {
        return None;
    }
    let (record, rest) = data.split_at(len);
    let body = record[space + 1..].strip_suffix(b"\n")?;
    let equals = body.iter().position(|byte| *byte == b'=')?;
    if equals == 0 {
        return None;
    }
    Some((&body[..equals], &body[equals + 1..], rest))
}

/// An empty value takes back what a header before said.
fn optional<T>(
    value: &[u8],
    parse: fn(&[u8]) -> Option<T>,
    what: &'static str,
) -> Result<Option<T>, BadRecord> {
    match value {
        [] => Ok(None),
        _ => parse(value).map(Some).ok_or(BadRecord(what)),
    }
}

fn name(value: &[u8], what: &'static str) -> Result<Option<Vec<u8>>, BadRecord> {
    match value {
        [] => Ok(None),
        _ if value.contains(&0) => Err(BadRecord(what)),
        _ => Ok(Some(value.to_vec())),
    }
}

/// Digits alone: no sign, no blank, at most `u64::MAX`.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |value, digit| match digit {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

fn id(text: &[u8]) -> Option<u32> {
    let id = u32::try_from(decimal(text)?).ok()?;
    (id != u32::MAX).then_some(id)
}

/// `[-]seconds[.fraction]`; digits beyond nanoseconds are cut off.
fn timestamp(text: &[u8]) -> Option<Timestamp> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let seconds = i64::try_from(decimal(parts.next()?)?).ok()?;
    let mut nanoseconds = 0_u32;
    if let Some(fraction) = parts.next() {
        if !fraction.iter().all(u8::is_ascii_digit) {
            return None;
        }
        for at in 0..9 {
            let digit = fraction.get(at).map_or(0, |digit| digit - b'0');
            nanoseconds = nanoseconds * 10 + u32::from(digit);
        }
    }
    Some(match (negative, nanoseconds) {
        (false, _) => Timestamp {
            seconds,
            nanoseconds,
        },
        (true, 0) => Timestamp {
            seconds: -seconds,
            nanoseconds: 0,
        },
        (true, _) => Timestamp {
            seconds: -seconds - 1,
            nanoseconds: 1_000_000_000 - nanoseconds,
        },
    })
}

/// Writes one record; its length counts its own digits.
pub(super) fn write_record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let body = key.len() + value.len() + 3;
    let mut len = body + 1;
    while len.to_string().len() + body != len {
        len = len.to_string().len() + body;
    }
    out.extend(len.to_string().bytes());
    out.push(b' ');
    out.extend(key);
    out.push(b'=');
    out.extend(value);
    out.push(b'\n');
}

/// Writes the record of an extended attribute.
pub(super) fn write_xattr(out: &mut Vec<u8>, xattr: &Xattr) {
    write_record(out, &[XATTR_PREFIX, &xattr.name].concat(), &xattr.value);
}

/// A time as PAX writes it.
pub(super) fn format_timestamp(time: Timestamp) -> String {
    match (time.seconds, time.nanoseconds) {
        (seconds, 0) => seconds.to_string(),
        (seconds @ 0.., nanoseconds) => format!("{seconds}.{nanoseconds:09}"),
        (seconds, nanoseconds) => {
            let fraction = 1_000_000_000 - nanoseconds;
            format!("-{}.{fraction:09}", (seconds + 1).unsigned_abs())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (key, value) in pairs {
            write_record(&mut out, key.as_bytes(), value.as_bytes());
        }
        out
    }

    #[test]
    fn counts_a_record_s_own_digits() {
        let mut out = Vec::new();
        write_record(&mut out, b"k", b"v");
        assert_eq!(out, b"6 k=v\n");
        // 9 bytes would fit one digit, 10 need two and make it 11.
        for len in 0..1200 {
            let mut out = Vec::new();
            write_record(&mut out, b"key", &vec![b'x'; len]);
            let (key, value, rest) = record(&out).unwrap();
            assert_eq!((key, value.len(), rest), (&b"key"[..], len, &b""[..]));
        }
    }

    #[test]
    fn later_records_win_and_empty_ones_take_back() {
        let pax = Pax::parse(&records(&[
            ("path", "a"),
            ("path", "b"),
            ("size", "1"),
            ("size", ""),
            ("SCHILY.xattr.user.x", "1"),
            ("SCHILY.xattr.user.x", "2"),
            ("LIBARCHIVE.xattr.user.x", "ignored"),
        ]));
        let pax = pax.unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"b"[..]));
        assert_eq!(pax.size, None);
        assert_eq!(pax.xattrs.len(), 1);
        assert_eq!(pax.xattrs[0].value, b"2");
    }

    #[test]
    fn refuses_what_others_would_read_differently() {
        for data in [
            &b"6 k=v"[..],
            b"7 k=v\n",
            b"5 k=v\n",
            b"06 k=v\n6 k",
            b"-6 k=v\n",
            b"99999999999999999999999 k=v\n",
            b"18446744073709551615 k=v\n",
            b"0 k=v\n",
            b"2 \n",
            b"5 =v\n",
            b"k=v\n",
            b"6 k=v\n\0\0\0",
        ] {
            assert!(Pax::parse(data).is_err(), "{}", data.escape_ascii());
        }
        for (key, value) in [
            ("size", "-1"),
            ("size", "1e3"),
            ("size", "18446744073709551616"),
            ("uid", "4294967295"),
            ("gid", "4294967296"),
            ("uid", "-1"),
            ("mtime", "1.-5"),
            ("mtime", "x"),
            ("path", "a\0b"),
            ("linkpath", "\0"),
            ("SCHILY.xattr.", "v"),
            ("SCHILY.xattr.user.a\0b", "v"),
            ("GNU.sparse.map", "1"),
            ("GNU.sparse.map", "1,2,3"),
            ("GNU.sparse.offset", "1"),
            ("GNU.sparse.numbytes", "1"),
        ] {
            assert!(Pax::parse(&records(&[(key, value)])).is_err(), "{key}");
        }
    }

    #[test]
    fn times_round_trip() {
        for (text, seconds, nanoseconds) in [
            ("0", 0, 0),
            ("1350244992.023960108", 1_350_244_992, 23_960_108),
            ("-1", -1, 0),
            ("-0.500000000", -1, 500_000_000),
            ("-1.250000000", -2, 750_000_000),
        ] {
            let time = timestamp(text.as_bytes()).unwrap();
            assert_eq!((time.seconds, time.nanoseconds), (seconds, nanoseconds));
            assert_eq!(format_timestamp(time), text);
        }
        assert_eq!(timestamp(b"1.5").unwrap().nanoseconds, 500_000_000);
        assert_eq!(timestamp(b"1.1234567899").unwrap().nanoseconds, 123_456_789);
        assert!(timestamp(b"9223372036854775808").is_none());
    }
}
