//! gzip and zstd streams: told apart by their first bytes, decoded within a
//! bound, encoded so that the same input gives the same bytes.
//!
//! Streams alone: whoever reads a blob hashes it and knows its media type;
//! the first bytes decide here, as they do in docker.

use std::fmt;
use std::io::{self, BufReader, Read, Write};

use flate2::GzBuilder;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use crate::ArchiveError;

/// Bytes read from a source at a time.
const SOURCE_BUFFER_LEN: usize = 64 * 1024;

/// Largest zstd window taken: 128 MiB, what `zstd --ultra -22` makes and
/// libzstd's own default bound. Ordinary levels need 8 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Enough of a stream's beginning to tell what it is.
const MAGIC_LEN: usize = 10;

/// How a stream is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all, or in no way that is known.
    None,
    /// RFC 1952, any number of members.
    Gzip,
    /// RFC 8878, any number of frames.
    Zstd,
    /// Known, not taken.
    Xz,
    /// Known, not taken.
    Bzip2,
}

impl Compression {
    /// What a stream that begins with `start` is; ten bytes are enough.
    pub fn detect(start: &[u8]) -> Compression {
        match start {
            [0x1f, 0x8b, 0x08, ..] => Compression::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
            // A skippable frame: tools put an index or padding in front.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
            // The level, then the first block's or the end's magic: BZh alone
            // could begin a file's name.
            [
                b'B',
                b'Z',
                b'h',
                b'1'..=b'9',
                0x31,
                0x41,
                0x59,
                0x26,
                0x53,
                0x59,
                ..,
            ]
            | [
                b'B',
                b'Z',
                b'h',
                b'1'..=b'9',
                0x17,
                0x72,
                0x45,
                0x38,
                0x50,
                0x90,
                ..,
            ] => Compression::Bzip2,
            _ => Compression::None,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compression::None => "plain",
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
            Compression::Xz => "xz",
            Compression::Bzip2 => "bzip2",
        })
    }
}

/// Reads a stream uncompressed, whatever it was.
///
/// A damaged or truncated stream is an error of the read that meets it, never
/// an early end.
pub struct Decoder<R: Read> {
    format: Format<R>,
    left: u64,
    max_bytes: u64,
}

/// The source, with the bytes in front that were looked at.
type Source<R> = BufReader<io::Chain<io::Cursor<Vec<u8>>, R>>;

enum Format<R: Read> {
    Plain(Source<R>),
    Gzip(Box<MultiGzDecoder<Source<R>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, Source<R>>>),
}

impl<R: Read> Decoder<R> {
    /// Looks at the first bytes of `source` and decodes accordingly. At most
    /// `max_bytes` come out: what a small bomb expands to stops there.
    pub fn new(mut source: R, max_bytes: u64) -> Result<Decoder<R>, ArchiveError> {
        let mut start = Vec::with_capacity(MAGIC_LEN);
        source
            .by_ref()
            .take(MAGIC_LEN as u64)
            .read_to_end(&mut start)
            .map_err(ArchiveError::from_read)?;
        let compression = Compression::detect(&start);
        let source =
            BufReader::with_capacity(SOURCE_BUFFER_LEN, io::Cursor::new(start).chain(source));
        let format = match compression {
            Compression::None => Format::Plain(source),
            Compression::Gzip => Format::Gzip(Box::new(MultiGzDecoder::new(source))),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(source)
                    .map_err(ArchiveError::from_read)?;
                decoder
                    .window_log_max(ZSTD_WINDOW_LOG_MAX)
                    .map_err(ArchiveError::from_read)?;
                Format::Zstd(Box::new(decoder))
            }
            Compression::Xz | Compression::Bzip2 => {
                return Err(ArchiveError::Compression(compression));
            }
        };
        Ok(Decoder {
            format,
            left: max_bytes,
            max_bytes,
        })
    }

    /// What the source was found to be.
    pub fn compression(&self) -> Compression {
        match self.format {
            Format::Plain(_) => Compression::None,
            Format::Gzip(_) => Compression::Gzip,
            Format::Zstd(_) => Compression::Zstd,
        }
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // One byte more than is left tells a stream that ends at the bound
        // from one that passes it.
        let wanted = usize::try_from(self.left.saturating_add(1)).unwrap_or(usize::MAX);
        let wanted = wanted.min(buffer.len());
        let buffer = &mut buffer[..wanted];
        let read = match &mut self.format {
            Format::Plain(source) => source.read(buffer),
            Format::Gzip(decoder) => decoder.read(buffer),
            Format::Zstd(decoder) => decoder.read(buffer),
        }?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => {
                return Err(io::Error::other(ArchiveError::Limit {
                    what: "uncompressed bytes",
                    limit: self.max_bytes,
                }));
            }
        }
        Ok(read)
    }
}

impl<R: Read> fmt::Debug for Decoder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("compression", &self.compression())
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

/// How hard an [`Encoder`] tries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// Least time.
    Fast,
    /// The tools' own default: gzip 6, zstd 3.
    #[default]
    Default,
    /// Least bytes: gzip 9, zstd 19.
    Best,
}

/// Compresses what is written to it. The same input and level give the same
/// bytes: no name, no time of day.
pub struct Encoder<W: Write>(Output<W>);

enum Output<W: Write> {
    Plain(W),
    Gzip(Box<GzEncoder<W>>),
    Zstd(Box<zstd::stream::write::Encoder<'static, W>>),
}

impl<W: Write> Encoder<W> {
    /// Compresses into `destination`.
    pub fn new(
        destination: W,
        compression: Compression,
        level: Level,
    ) -> Result<Encoder<W>, ArchiveError> {
        Ok(Encoder(match compression {
            Compression::None => Output::Plain(destination),
            Compression::Gzip => {
                let level = match level {
                    Level::Fast => flate2::Compression::fast(),
                    Level::Default => flate2::Compression::new(6),
                    Level::Best => flate2::Compression::best(),
                };
                Output::Gzip(Box::new(
                    GzBuilder::new().mtime(0).write(destination, level),
                ))
            }
            Compression::Zstd => {
                let level = match level {
                    Level::Fast => 1,
                    Level::Default => 3,
                    Level::Best => 19,
                };
                let encoder = zstd::stream::write::Encoder::new(destination, level)
                    .map_err(ArchiveError::Write)?;
                Output::Zstd(Box::new(encoder))
            }
            Compression::Xz | Compression::Bzip2 => {
                return Err(ArchiveError::Compression(compression));
            }
        }))
    }

    /// Writes the end of the stream and gives the destination back. Without
    /// it the stream is truncated.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Output::Plain(mut destination) => {
                destination.flush()?;
                Ok(destination)
            }
            Output::Gzip(encoder) => encoder.finish(),
            Output::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Output::Plain(destination) => destination.write(bytes),
            Output::Gzip(encoder) => encoder.write(bytes),
            Output::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Output::Plain(destination) => destination.flush(),
            Output::Gzip(encoder) => encoder.flush(),
            Output::Zstd(encoder) => encoder.flush(),
        }
    }
}

impl<W: Write> fmt::Debug for Encoder<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Output::Plain(_) => "Encoder(plain)",
            Output::Gzip(_) => "Encoder(gzip)",
            Output::Zstd(_) => "Encoder(zstd)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carrack_oci::ErrorKind;

    fn encode(bytes: &[u8], compression: Compression) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new(), compression, Level::Default).unwrap();
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn decode(bytes: &[u8]) -> Result<(Compression, Vec<u8>), ArchiveError> {
        let mut decoder = Decoder::new(bytes, 1 << 20)?;
        let mut out = Vec::new();
        decoder
            .read_to_end(&mut out)
            .map_err(ArchiveError::from_read)?;
        Ok((decoder.compression(), out))
    }

    #[test]
    fn round_trips_in_parts() {
        let text = b"the same words, the same words, the same words".repeat(100);
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let once = encode(&text, compression);
            assert_eq!(once, encode(&text, compression), "{compression}");
            // Members and frames one behind the other are one stream.
            let twice = [once.clone(), once].concat();
            let (found, out) = decode(&twice).unwrap();
            assert_eq!(found, compression);
            assert_eq!(out, text.repeat(2));
        }
    }

    #[test]
    fn short_and_empty_streams_are_plain() {
        for bytes in [&b""[..], b"\x1f", b"\x1f\x8b", b"BZh9", b"tar"] {
            let (found, out) = decode(bytes).unwrap();
            assert_eq!((found, &out[..]), (Compression::None, bytes));
        }
    }

    #[test]
    fn skips_a_leading_zstd_frame_that_says_so() {
        let mut stream = vec![0x5e, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        stream.extend(encode(b"content", Compression::Zstd));
        assert_eq!(
            decode(&stream).unwrap(),
            (Compression::Zstd, b"content".to_vec())
        );
    }

    #[test]
    fn refuses_xz_and_bzip2_by_name() {
        for (bytes, name) in [
            (&b"\xfd7zXZ\0\0\x04\xe6\xd6"[..], "xz"),
            (b"BZh91AY&SY", "bzip2"),
        ] {
            let error = decode(bytes).unwrap_err();
            assert!(error.to_string().starts_with(name), "{error}");
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            let entry = format!("- `{name}`: {error}\n");
            let page = include_str!("../../../../docs/not-yet.md");
            assert!(page.contains(&entry), "docs/not-yet.md lacks {entry}");
        }
    }

    #[test]
    fn truncation_is_an_error_at_every_byte() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let stream = encode(b"some text that is not repeated", compression);
            for len in 4..stream.len() {
                let error = decode(&stream[..len]).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{compression} {len}");
            }
        }
    }

    #[test]
    fn damage_is_an_error() {
        let mut stream = encode(&[7; 5000], Compression::Gzip);
        let crc = stream.len() - 8;
        stream[crc] ^= 1;
        assert_eq!(decode(&stream).unwrap_err().kind(), ErrorKind::InvalidInput);
        let mut stream = encode(b"text", Compression::Gzip);
        stream.extend(b"trailing garbage");
        assert_eq!(decode(&stream).unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn a_bomb_stops_at_the_bound() {
        for compression in [Compression::Gzip, Compression::Zstd] {
            let bomb = encode(&vec![0; 4 << 20], compression);
            assert!(bomb.len() < 10_000);
            let error = decode(&bomb).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TooLarge);
        }
        // Exactly at the bound is within it.
        let whole = encode(&vec![0; 1 << 20], Compression::Gzip);
        assert_eq!(decode(&whole).unwrap().1.len(), 1 << 20);
    }

    #[test]
    fn refuses_a_zstd_window_that_would_fill_memory() {
        // A frame header alone: no single segment, window descriptor 2^30.
        let stream = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 20 << 3, 0x01, 0x00, 0x00];
        assert!(decode(&stream).is_err());
    }
}
