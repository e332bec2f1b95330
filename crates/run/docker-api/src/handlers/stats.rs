//! `GET /containers/{name}/stats`.

use std::sync::Arc;
use std::time::Duration;

use carrack_containers::ContainerStats;
use carrack_docker::{Container, Engine};
use carrack_serve::{Response, StreamSender};
use http::StatusCode;
use serde_json::Value;

use crate::call::{Answer, Call, ok};
use crate::version::v;
use crate::wire;

/// Time between two samples, Docker's.
const INTERVAL: Duration = Duration::from_secs(1);

/// What a container uses: once, or every second.
pub(crate) async fn stats(call: Call) -> Answer {
    let container = call.engine.container(call.name())?;
    let one_shot = call.version >= v(41) && call.query.boolean("one-shot");
    if !call.query.boolean_or("stream", true) {
        let first = call.engine.stats(&container).await?;
        if one_shot || first.is_none() {
            return ok(&encode(&call.engine, &container, first.as_ref(), None));
        }
        // A client that asks once still wants to know the use of the CPU,
        // which takes two looks.
        tokio::time::sleep(INTERVAL).await;
        let second = call.engine.stats(&container).await?;
        return ok(&encode(
            &call.engine,
            &container,
            second.as_ref(),
            first.as_ref(),
        ));
    }
    let (response, sender) = Response::stream(StatusCode::OK, "application/json");
    tokio::spawn(every_second(Arc::clone(&call.engine), container, sender));
    Ok(response)
}

async fn every_second(engine: Arc<Engine>, container: Container, sender: StreamSender) {
    let mut before = None;
    loop {
        let now = match engine.stats(&container).await {
            Ok(now) => now,
            // It was removed.
            Err(_) => break,
        };
        let mut line = encode(&engine, &container, now.as_ref(), before.as_ref()).to_string();
        line.push('\n');
        if sender.send(line).await.is_err() {
            return;
        }
        before = now;
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = sender.closed() => return,
        }
        if engine.container(container.id().as_str()).is_err() {
            break;
        }
    }
    let _client_left = sender.finish().await;
}

fn encode(
    engine: &Engine,
    container: &Container,
    now: Option<&ContainerStats>,
    before: Option<&ContainerStats>,
) -> Value {
    wire::stats::sample(container, now, before, engine.host().memory_bytes)
}
