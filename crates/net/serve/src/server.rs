//! Accepting, and ending well.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::connection;
use crate::limits::Limits;
use crate::listener::BoundListener;
use crate::request::Request;
use crate::response::Response;

/// Pause after a failed accept (descriptors ran out), so that the loop does
/// not spin until one is free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What answers requests.
pub trait Service: Send + Sync + 'static {
    /// Answers one request.
    fn call(&self, request: Request) -> impl Future<Output = Response> + Send;

    /// The answer when [`Service::call`] panicked.
    fn panicked(&self) -> Response {
        Response::bytes(
            StatusCode::INTERNAL_SERVER_ERROR,
            "text/plain; charset=utf-8",
            "internal error\n",
        )
    }
}

/// Knows whether a shutdown was asked for.
#[derive(Clone, Debug)]
pub struct Shutdown {
    asked: watch::Receiver<bool>,
}

/// Asks for a shutdown.
#[derive(Debug)]
pub struct ShutdownHandle {
    ask: watch::Sender<bool>,
}

/// A shutdown that may be asked for later. Dropping the handle asks for it.
pub fn shutdown() -> (ShutdownHandle, Shutdown) {
    let (ask, asked) = watch::channel(false);
    (ShutdownHandle { ask }, Shutdown { asked })
}

impl ShutdownHandle {
    /// Asks for it; asking twice is once.
    pub fn ask(&self) {
        self.ask.send_replace(true);
    }
}

impl Shutdown {
    /// Whether it was asked for.
    pub fn is_asked(&self) -> bool {
        *self.asked.borrow()
    }

    /// Waits until it is asked for.
    pub async fn asked(&self) {
        let mut asked = self.asked.clone();
        // An error is a dropped handle: nobody is left to ask, so end.
        let _ = asked.wait_for(|&asked| asked).await;
    }
}

/// Serves all `listeners` until a shutdown is asked for: then accepts no
/// more, ends idle connections and streams, gives running requests
/// [`Limits::drain_timeout`], and returns. The sockets' files are removed.
pub async fn serve<S: Service>(
    listeners: Vec<BoundListener>,
    service: Arc<S>,
    limits: Limits,
    shutdown: Shutdown,
) {
    let limits = Arc::new(limits);
    let places = Arc::new(Semaphore::new(limits.connections));
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(
            listener,
            Arc::clone(&service),
            Arc::clone(&limits),
            Arc::clone(&places),
            shutdown.clone(),
        ));
    }
    while accepting.join_next().await.is_some() {}
}

/// Serves one connection: a socket pair in tests, a socket from elsewhere.
pub async fn serve_connection<S: Service>(
    socket: UnixStream,
    service: Arc<S>,
    limits: Limits,
    shutdown: Shutdown,
) {
    connection::run(socket, &*service, &limits, &shutdown).await;
}

async fn accept<S: Service>(
    listener: BoundListener,
    service: Arc<S>,
    limits: Arc<Limits>,
    places: Arc<Semaphore>,
    shutdown: Shutdown,
) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = next(&listener, &places) => accepted,
            Some(_) = connections.join_next() => continue,
            () = shutdown.asked() => break,
        };
        match accepted {
            Ok((socket, place)) => {
                let (service, limits) = (Arc::clone(&service), Arc::clone(&limits));
                let shutdown = shutdown.clone();
                connections.spawn(async move {
                    connection::run(socket, &*service, &limits, &shutdown).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.drain_timeout, drained)
        .await
        .is_err()
    {
        tracing::warn!("requests were still running at shutdown");
    }
}

async fn next(
    listener: &BoundListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(UnixStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places)
        .acquire_owned()
        .await
        .map_err(std::io::Error::other)?;
    let socket = listener.accept().await?;
    Ok((socket, place))
}
