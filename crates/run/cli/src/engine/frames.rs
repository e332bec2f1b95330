//! The frames in which output and errors share one connection.

/// The most bytes of an error that the daemon sends in a stream.
const ERROR_BYTES: usize = 64 * 1024;
const HEADER_BYTES: usize = 8;

/// Where a piece of a stream belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// Takes frames apart as bytes come, without holding payloads.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    header: [u8; HEADER_BYTES],
    header_filled: usize,
    left: u32,
    error: Vec<u8>,
}

/// What ends a stream early.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FrameError {
    /// A frame of a kind that does not exist.
    UnknownStream(u8),
    /// The daemon's own error.
    Daemon(String),
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::UnknownStream(kind) => write!(f, "unrecognized input header: {kind}"),
            Self::Daemon(text) => write!(f, "error from daemon in stream: {text}"),
        }
    }
}

impl Frames {
    /// Takes the next bytes and gives each piece of payload to `deliver`.
    pub(crate) fn feed(
        &mut self,
        mut bytes: &[u8],
        mut deliver: impl FnMut(Stream, &[u8]),
    ) -> Result<(), FrameError> {
        while !bytes.is_empty() {
            if self.left == 0 {
                let taken = bytes.len().min(HEADER_BYTES - self.header_filled);
                self.header[self.header_filled..self.header_filled + taken]
                    .copy_from_slice(&bytes[..taken]);
                self.header_filled += taken;
                bytes = &bytes[taken..];
                if self.header_filled < HEADER_BYTES {
                    return Ok(());
                }
                self.header_filled = 0;
                let [kind, _, _, _, a, b, c, d] = self.header;
                if kind > 3 {
                    return Err(FrameError::UnknownStream(kind));
                }
                self.left = u32::from_be_bytes([a, b, c, d]);
            }
            let taken = bytes
                .len()
                .min(usize::try_from(self.left).unwrap_or(usize::MAX));
            let payload = &bytes[..taken];
            match self.header[0] {
                2 => deliver(Stream::Err, payload),
                3 => {
                    let room = ERROR_BYTES.saturating_sub(self.error.len());
                    self.error.extend_from_slice(&payload[..taken.min(room)]);
                }
                _ => deliver(Stream::Out, payload),
            }
            self.left -= u32::try_from(taken).unwrap_or(self.left);
            bytes = &bytes[taken..];
            if self.left == 0 && self.header[0] == 3 {
                return Err(FrameError::Daemon(
                    String::from_utf8_lossy(&self.error).into_owned(),
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind, 0, 0, 0];
        bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn frames_come_apart_wherever_they_are_cut() {
        let mut bytes = frame(1, b"out");
        bytes.extend(frame(2, b"error"));
        bytes.extend(frame(1, b""));
        bytes.extend(frame(0, b"in"));
        for step in 1..bytes.len() {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let mut frames = Frames::default();
            for piece in bytes.chunks(step) {
                frames
                    .feed(piece, |stream, payload| match stream {
                        Stream::Out => out.extend_from_slice(payload),
                        Stream::Err => err.extend_from_slice(payload),
                    })
                    .unwrap();
            }
            assert_eq!(
                (out.as_slice(), err.as_slice()),
                (&b"outin"[..], &b"error"[..]),
                "{step}"
            );
        }
    }

    #[test]
    fn what_is_no_frame_ends_the_stream() {
        assert_eq!(
            Frames::default().feed(b"HTTP/1.1 ", |_, _| ()),
            Err(FrameError::UnknownStream(b'H'))
        );
        assert_eq!(
            Frames::default().feed(&frame(3, b"oops"), |_, _| ()),
            Err(FrameError::Daemon("oops".to_owned()))
        );
        // A header that promises 4 GiB makes nobody allocate them.
        assert_eq!(
            Frames::default().feed(&[1, 0, 0, 0, 255, 255, 255, 255, b'x'], |_, _| ()),
            Ok(())
        );
    }
}
