//! The bounds that hold for every connection, in one place.

use std::time::Duration;

/// Bounds of a server. [`Limits::default`] is what Carrack's façades use.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Request line and header fields of one request, bytes. Beyond it: 431.
    pub head_bytes: usize,
    /// Time for a head to arrive once its first byte has.
    pub head_timeout: Duration,
    /// Time a kept-alive connection may be silent between two requests.
    pub idle_timeout: Duration,
    /// Time without progress of a write whose response is not a stream. A
    /// stream may stand still as long as its reader likes (a paused pager).
    pub write_stall_timeout: Duration,
    /// Time without a byte of a request body that a handler is waiting for.
    pub body_stall_timeout: Duration,
    /// Rest of a body that is read and thrown away to keep a connection
    /// usable after a handler did not read it, bytes. Beyond it: closed.
    pub discard_bytes: u64,
    /// Connections open at once. Beyond it new ones wait in the backlog.
    pub connections: usize,
    /// Time that running requests get after a shutdown was asked for.
    pub drain_timeout: Duration,
}

/// Header fields in one head. Fixed, because the parser's table is.
pub(crate) const HEADERS_MAX: usize = 128;

/// Size of a connection's read buffer when it is made, bytes.
pub(crate) const READ_BUFFER_BYTES: usize = 4 * 1024;

/// Largest piece that a body reader hands out at once, bytes.
pub(crate) const BODY_PIECE_BYTES: usize = 64 * 1024;

/// One chunk-size line with its extensions, bytes.
pub(crate) const CHUNK_LINE_BYTES: usize = 1024;

/// All trailer fields of a chunked body, bytes.
pub(crate) const TRAILER_BYTES: usize = 8 * 1024;

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 64 * 1024,
            head_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(300),
            write_stall_timeout: Duration::from_secs(120),
            body_stall_timeout: Duration::from_secs(600),
            discard_bytes: 256 * 1024,
            connections: 4096,
            drain_timeout: Duration::from_secs(10),
        }
    }
}
