//! Answers whose body is made by a thread that blocks, and whose status is
//! known only when it has begun to write.

use std::io::{self, Write};

use bytes::Bytes;
use carrack_serve::{Response, StreamClosed, StreamSender};
use http::StatusCode;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};

use crate::call::Answer;
use crate::error::ApiError;

/// Pieces that wait for the client before the thread waits.
const DEPTH: usize = 16;
/// Threads that copy for clients at once. A client may stand still as long as
/// it likes (a paused pager), so there must be others left for starts.
const MAX_COPIES: usize = 32;

static COPIES: Semaphore = Semaphore::const_new(MAX_COPIES);

/// Waits until a thread may copy for a client, which it may while it keeps
/// what is returned.
pub(crate) async fn turn() -> Option<SemaphorePermit<'static>> {
    // It is never closed.
    COPIES.acquire().await.ok()
}

/// Where a blocking producer writes.
pub(crate) struct PieceWriter(mpsc::Sender<Bytes>);

impl PieceWriter {
    /// Writes a piece that is at hand.
    pub(crate) fn piece(&self, piece: impl Into<Bytes>) -> Result<(), StreamClosed> {
        self.0.blocking_send(piece.into()).map_err(|_| StreamClosed)
    }
}

impl Write for PieceWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.piece(Bytes::copy_from_slice(data))
            .map_err(|closed| io::Error::new(io::ErrorKind::BrokenPipe, closed))?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How a failure is told once the status was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LateFailure {
    /// The connection breaks off: the body is no text.
    BreakOff,
    /// As a last JSON message, `{"errorDetail":…,"error":…}`.
    Message,
}

/// Runs `produce` on a thread. What it returns before it wrote anything
/// becomes the status; after that the body streams.
pub(crate) async fn produced(
    content_type: &'static str,
    late: LateFailure,
    produce: impl FnOnce(PieceWriter) -> Result<(), ApiError> + Send + 'static,
) -> Answer {
    let (sender, mut pieces) = mpsc::channel(DEPTH);
    let turn = turn().await;
    let producer = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        produce(PieceWriter(sender))
    });
    let Some(first) = pieces.recv().await else {
        producer.await??;
        return Ok(Response::bytes(StatusCode::OK, content_type, Bytes::new()));
    };
    let (response, sender) = Response::stream(StatusCode::OK, content_type);
    tokio::spawn(async move {
        if forward(first, pieces, &sender).await.is_err() {
            // The producer notices at its next piece.
            return;
        }
        match producer.await {
            Ok(Ok(())) => {
                let _client_left = sender.finish().await;
            }
            Ok(Err(error)) => {
                tracing::warn!(error = error.message, "a streamed answer failed");
                if late == LateFailure::Message {
                    let _client_left = sender.send(error_message(&error.message)).await;
                    let _client_left = sender.finish().await;
                }
            }
            Err(error) => tracing::error!(%error, "a streamed answer panicked"),
        }
    });
    Ok(response)
}

async fn forward(
    first: Bytes,
    mut pieces: mpsc::Receiver<Bytes>,
    sender: &StreamSender,
) -> Result<(), StreamClosed> {
    sender.send(first).await?;
    while let Some(piece) = pieces.recv().await {
        sender.send(piece).await?;
    }
    Ok(())
}

/// Docker's message of a failure in a stream.
fn error_message(text: &str) -> String {
    let value = serde_json::json!({"errorDetail": {"message": text}, "error": text});
    format!("{value}\r\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// An answer whose producer has more to say than anybody reads.
    async fn endless() -> Response {
        let produce = |writer: PieceWriter| {
            while writer.piece(vec![0; 1024]).is_ok() {}
            Ok(())
        };
        let answer = produced("application/x-tar", LateFailure::BreakOff, produce).await;
        answer.unwrap_or_else(|_| panic!("an answer"))
    }

    #[test]
    fn clients_that_stand_still_leave_threads_for_others() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(MAX_COPIES + 1)
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let mut standing = Vec::new();
            for _ in 0..MAX_COPIES {
                standing.push(endless().await);
            }
            let more: Vec<_> = (0..4).map(|_| tokio::spawn(endless())).collect();
            let other = tokio::task::spawn_blocking(|| ());
            let bound = Duration::from_secs(20);
            let other = tokio::time::timeout(bound, other).await;
            other.expect("a thread is left").expect("it ran");
            // Those that wait are served when the others leave.
            drop(standing);
            for answer in more {
                let answer = tokio::time::timeout(bound, answer).await;
                drop(answer.expect("a turn").expect("an answer"));
            }
        });
    }
}
