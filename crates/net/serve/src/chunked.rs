//! Decoder of the chunked transfer coding, RFC 9112 section 7.1.
//!
//! Pure: bytes in, a step out. Strict on purpose, since two parties that read
//! one body differently is how requests are smuggled: CRLF alone ends a line,
//! a size has digits alone, a chunk ends where it said.

use bytes::{Buf, Bytes, BytesMut};

use crate::limits::{BODY_PIECE_BYTES, CHUNK_LINE_BYTES, TRAILER_BYTES};

/// Where the decoder stands.
#[derive(Debug)]
pub(crate) struct ChunkedDecoder {
    state: State,
    trailer_bytes: usize,
}

#[derive(Debug)]
enum State {
    Size,
    Data {
        left: u64,
    },
    DataEnd,
    Trailer,
    Done,
    /// Where the body ends is unknown for good: what follows must not be taken
    /// for anything.
    Failed(ChunkError),
}

/// What the next bytes in the buffer meant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A piece of the body.
    Data(Bytes),
    /// Nothing to say before more bytes arrive.
    NeedMore,
    /// The body ended; what is left in the buffer is the next request.
    Done,
}

/// Why a chunked body is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChunkError {
    /// No hexadecimal digit, too many, or something else after them.
    #[error("invalid chunk size")]
    Size,
    /// A chunk is longer than its size.
    #[error("chunk does not end where its size says")]
    End,
    /// A line without end.
    #[error("chunk line or trailer too long")]
    TooLong,
    /// A line that ends with LF alone or holds a control character.
    #[error("malformed line in a chunked body")]
    Line,
}

impl ChunkedDecoder {
    /// A decoder before the first size line.
    pub(crate) fn new() -> Self {
        Self {
            state: State::Size,
            trailer_bytes: 0,
        }
    }

    /// Whether the last chunk and the trailer were read.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Takes one step from the front of `buffer`. After an error there is no
    /// further step: the same error comes again.
    pub(crate) fn step(&mut self, buffer: &mut BytesMut) -> Result<Step, ChunkError> {
        let step = self.try_step(buffer);
        if let Err(error) = step {
            self.state = State::Failed(error);
        }
        step
    }

    fn try_step(&mut self, buffer: &mut BytesMut) -> Result<Step, ChunkError> {
        loop {
            match self.state {
                State::Size => {
                    let Some(line) = take_line(buffer, CHUNK_LINE_BYTES)? else {
                        return Ok(Step::NeedMore);
                    };
                    self.state = match parse_size(&line)? {
                        0 => State::Trailer,
                        left => State::Data { left },
                    };
                }
                State::Data { left } => {
                    if buffer.is_empty() {
                        return Ok(Step::NeedMore);
                    }
                    let wanted = usize::try_from(left).unwrap_or(usize::MAX);
                    let piece = buffer.len().min(wanted).min(BODY_PIECE_BYTES);
                    let data = buffer.split_to(piece).freeze();
                    self.state = match left - piece as u64 {
                        0 => State::DataEnd,
                        left => State::Data { left },
                    };
                    return Ok(Step::Data(data));
                }
                State::DataEnd => {
                    if buffer.len() < 2 {
                        return match buffer.first() {
                            Some(b'\r') | None => Ok(Step::NeedMore),
                            Some(_) => Err(ChunkError::End),
                        };
                    }
                    if !buffer.starts_with(b"\r\n") {
                        return Err(ChunkError::End);
                    }
                    buffer.advance(2);
                    self.state = State::Size;
                }
                State::Trailer => {
                    let left = TRAILER_BYTES - self.trailer_bytes;
                    let Some(line) = take_line(buffer, left)? else {
                        return Ok(Step::NeedMore);
                    };
                    self.trailer_bytes += line.len() + 2;
                    if self.trailer_bytes > TRAILER_BYTES {
                        return Err(ChunkError::TooLong);
                    }
                    if line.is_empty() {
                        self.state = State::Done;
                    } else if !line.contains(&b':') || matches!(line[0], b' ' | b'\t') {
                        return Err(ChunkError::Line);
                    }
                }
                State::Done => return Ok(Step::Done),
                State::Failed(error) => return Err(error),
            }
        }
    }
}

/// Takes a line without its CRLF.
fn take_line(buffer: &mut BytesMut, max: usize) -> Result<Option<BytesMut>, ChunkError> {
    let Some(end) = buffer.iter().position(|&byte| byte == b'\n') else {
        return if buffer.len() > max {
            Err(ChunkError::TooLong)
        } else {
            Ok(None)
        };
    };
    if end > max {
        return Err(ChunkError::TooLong);
    }
    if end == 0 || buffer[end - 1] != b'\r' {
        return Err(ChunkError::Line);
    }
    let mut line = buffer.split_to(end + 1);
    line.truncate(end - 1);
    let is_text = |&byte: &u8| byte == b'\t' || (byte >= b' ' && byte != 0x7f);
    if !line.iter().all(is_text) {
        return Err(ChunkError::Line);
    }
    Ok(Some(line))
}

/// The size of a chunk; its extensions mean nothing here.
fn parse_size(line: &[u8]) -> Result<u64, ChunkError> {
    let digits = line.split(|&byte| byte == b';').next().unwrap_or(line);
    if digits.is_empty() || digits.len() > 15 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(ChunkError::Size);
    }
    let text = std::str::from_utf8(digits).map_err(|_| ChunkError::Size)?;
    u64::from_str_radix(text, 16).map_err(|_| ChunkError::Size)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes `input` given whole and one byte at a time: both must agree.
    fn check(input: &str, expected: Result<(&str, &str), ChunkError>) {
        for piece in [input.len().max(1), 1] {
            let mut decoder = ChunkedDecoder::new();
            let mut buffer = BytesMut::new();
            let mut body = Vec::new();
            let mut outcome = Ok(());
            for bytes in input.as_bytes().chunks(piece) {
                buffer.extend_from_slice(bytes);
                loop {
                    match decoder.step(&mut buffer) {
                        Ok(Step::Data(data)) => body.extend_from_slice(&data),
                        Ok(Step::NeedMore | Step::Done) => break,
                        Err(error) => {
                            outcome = Err(error);
                            break;
                        }
                    }
                }
                if outcome.is_err() {
                    break;
                }
            }
            let got = outcome.map(|()| {
                assert!(decoder.is_done(), "{input:?} did not end");
                (
                    String::from_utf8(body).expect("text"),
                    String::from_utf8(buffer.to_vec()).expect("text"),
                )
            });
            let expected = expected.map(|(body, rest)| (body.to_owned(), rest.to_owned()));
            assert_eq!(got, expected, "{input:?} by {piece}");
        }
    }

    #[test]
    fn well_formed() {
        check("0\r\n\r\n", Ok(("", "")));
        check("5\r\nhello\r\n0\r\n\r\nGET", Ok(("hello", "GET")));
        check(
            "5;a=b\r\nhello\r\n1\r\n \r\n00\r\nX: y\r\n\r\n",
            Ok(("hello ", "")),
        );
        check("A\r\n0123456789\r\n0\r\n\r\n", Ok(("0123456789", "")));
    }

    #[test]
    fn hostile() {
        check("\r\n", Err(ChunkError::Size));
        check("+5\r\nhello\r\n", Err(ChunkError::Size));
        check(" 5\r\nhello\r\n", Err(ChunkError::Size));
        check("0x5\r\nhello\r\n", Err(ChunkError::Size));
        check("5 \r\nhello\r\n", Err(ChunkError::Size));
        check("-1\r\n", Err(ChunkError::Size));
        check("ffffffffffffffffff\r\n", Err(ChunkError::Size));
        check("5\nhello\r\n", Err(ChunkError::Line));
        check("5\r\nhello!\r\n", Err(ChunkError::End));
        check("5\r\nhelloX", Err(ChunkError::End));
        check("0\r\n folded: x\r\n\r\n", Err(ChunkError::Line));
        check("0\r\nnocolon\r\n\r\n", Err(ChunkError::Line));
        check("5;\x01\r\n", Err(ChunkError::Line));
        check(&"1".repeat(CHUNK_LINE_BYTES + 2), Err(ChunkError::TooLong));
        let trailers = format!("0\r\n{}\r\n", "A: b\r\n".repeat(TRAILER_BYTES));
        let mut decoder = ChunkedDecoder::new();
        let mut buffer = BytesMut::from(trailers.as_bytes());
        assert_eq!(decoder.step(&mut buffer), Err(ChunkError::TooLong));
    }

    #[test]
    fn an_error_is_the_end() {
        let mut decoder = ChunkedDecoder::new();
        let mut buffer = BytesMut::from("zz\r\n0\r\n\r\nGET /y HTTP/1.1\r\n\r\n");
        for _ in 0..3 {
            assert_eq!(decoder.step(&mut buffer), Err(ChunkError::Size));
        }
        assert!(!decoder.is_done());
    }
}
