//! The body of an answer, as a reader.

use std::io::{self, BufRead, Read};

use crate::connection::Connection;
use crate::head::Framing;

/// The longest line that opens a chunk, or trailer line, in bytes.
const CHUNK_LINE_BYTES: usize = 4096;
/// The most trailer lines after the last chunk.
const TRAILER_LINES: usize = 64;

/// Where a chunked body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunk {
    /// A line with the next chunk's size comes.
    Size,
    /// This many bytes of the chunk are left.
    Data(u64),
    /// The line end after a chunk's bytes comes.
    End,
    /// The last chunk was read.
    Done,
}

/// A body being read. It owns its connection until it is read to its end.
#[derive(Debug)]
pub struct Body {
    connection: Connection,
    framing: Framing,
    chunk: Chunk,
    reusable: bool,
}

impl Body {
    pub(crate) fn new(connection: Connection, framing: Framing, reusable: bool) -> Self {
        Self {
            connection,
            framing,
            chunk: Chunk::Size,
            reusable,
        }
    }

    /// Whether everything was read.
    fn is_done(&self) -> bool {
        match self.framing {
            Framing::Length(left) => left == 0,
            Framing::Chunked => self.chunk == Chunk::Done,
            Framing::UntilClose => false,
        }
    }

    /// The connection, for the next exchange, if the body was read to its end
    /// and the server keeps the connection.
    pub(crate) fn into_reusable(self) -> Option<Connection> {
        (self.reusable && self.is_done()).then_some(self.connection)
    }

    /// The connection as it is: for a hijack.
    pub(crate) fn into_connection(self) -> Connection {
        self.connection
    }

    /// The connection below, to poll it or to set its timeout.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    fn read_line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        loop {
            let buffer = self.connection.fill_buf()?;
            if buffer.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let (taken, whole) = match buffer.iter().position(|&b| b == b'\n') {
                Some(at) => (at + 1, true),
                None => (buffer.len(), false),
            };
            line.extend_from_slice(&buffer[..taken]);
            self.connection.consume(taken);
            if line.len() > CHUNK_LINE_BYTES {
                return Err(invalid("a line between chunks is too long"));
            }
            if whole {
                while matches!(line.last(), Some(b'\n' | b'\r')) {
                    line.pop();
                }
                return Ok(line);
            }
        }
    }

    /// Goes on to the next bytes of a chunk; the count that is left, 0 at the
    /// body's end.
    fn next_chunk(&mut self) -> io::Result<u64> {
        loop {
            match self.chunk {
                Chunk::Data(left) if left > 0 => return Ok(left),
                Chunk::Data(_) => self.chunk = Chunk::End,
                Chunk::End => {
                    if !self.read_line()?.is_empty() {
                        return Err(invalid("a chunk is longer than it said"));
                    }
                    self.chunk = Chunk::Size;
                }
                Chunk::Size => {
                    let line = self.read_line()?;
                    let size = chunk_size(&line)?;
                    self.chunk = if size == 0 {
                        self.trailers()?
                    } else {
                        Chunk::Data(size)
                    };
                }
                Chunk::Done => return Ok(0),
            }
        }
    }

    fn trailers(&mut self) -> io::Result<Chunk> {
        for _ in 0..TRAILER_LINES {
            if self.read_line()?.is_empty() {
                return Ok(Chunk::Done);
            }
        }
        Err(invalid("too many trailers"))
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The size that opens a chunk; extensions after a semicolon mean nothing.
fn chunk_size(line: &[u8]) -> io::Result<u64> {
    let digits = line
        .split(|&b| b == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii();
    if digits.is_empty() || digits.len() > 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(invalid("a chunk's size is no hexadecimal number"));
    }
    let text = std::str::from_utf8(digits).map_err(|_| invalid("a chunk's size is no number"))?;
    u64::from_str_radix(text, 16).map_err(|_| invalid("a chunk's size is too large"))
}

impl Read for Body {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        let left = match self.framing {
            Framing::UntilClose => return self.connection.read(out),
            Framing::Length(left) => left,
            Framing::Chunked => self.next_chunk()?,
        };
        if left == 0 {
            return Ok(0);
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(out.len());
        let read = self.connection.read(&mut out[..most])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let left = left - read as u64;
        match self.framing {
            Framing::Length(_) => self.framing = Framing::Length(left),
            Framing::Chunked => {
                self.chunk = Chunk::Data(left);
                // The last chunk usually lies in the buffer already: taking it
                // now makes the connection reusable without another read.
                if left == 0 && self.connection.buffered().starts_with(b"\r\n0\r\n\r\n") {
                    self.next_chunk()?;
                }
            }
            Framing::UntilClose => {}
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_chunks() {
        assert_eq!(chunk_size(b"1a").unwrap(), 26);
        assert_eq!(chunk_size(b"5;name=value").unwrap(), 5);
        for hostile in [
            &b""[..],
            b"g",
            b"-1",
            b"+1",
            b"0x10",
            b"11111111111111111",
            b"1 2",
        ] {
            assert!(chunk_size(hostile).is_err(), "{hostile:?}");
        }
    }
}
