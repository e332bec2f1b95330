//! A body that streams out while the answer may already stream in.
//!
//! The thread that sends it is never joined: a server may answer before it has
//! read everything, and the source may be a terminal at which nobody types.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes in a chunk.
const CHUNK_BYTES: usize = 64 * 1024;

/// What became of an upload's source.
#[derive(Debug, Clone, Default)]
pub(crate) struct Upload {
    source_error: Arc<Mutex<Option<io::Error>>>,
}

impl Upload {
    /// Sends `source` in chunks from a thread of its own.
    pub(crate) fn start(socket: UnixStream, source: Box<dyn Read + Send>) -> io::Result<Self> {
        let upload = Self::default();
        let shared = Arc::clone(&upload.source_error);
        std::thread::Builder::new()
            .name("upload".to_owned())
            .spawn(move || send_chunks(socket, source, &shared))?;
        Ok(upload)
    }

    /// The error of the source, if it had one.
    pub(crate) fn take_source_error(&self) -> Option<io::Error> {
        self.source_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

fn send_chunks(
    mut socket: UnixStream,
    mut source: Box<dyn Read + Send>,
    failed: &Mutex<Option<io::Error>>,
) {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let read = match source.read(&mut buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                // Without its last chunk the server cannot take the body for
                // whole.
                let _ = socket.shutdown(Shutdown::Write);
                return;
            }
        };
        let mut chunk = format!("{read:x}\r\n").into_bytes();
        chunk.extend_from_slice(&buffer[..read]);
        chunk.extend_from_slice(b"\r\n");
        // A server that has answered and closed does not want the rest: what
        // it answered says why.
        if socket.write_all(&chunk).is_err() || read == 0 {
            return;
        }
    }
}
