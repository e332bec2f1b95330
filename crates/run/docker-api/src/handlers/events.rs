//! `GET /events`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use carrack_docker::events::{Event, Subject, Subscription, passes};
use carrack_docker::filters::Filters;
use carrack_serve::{Response, StreamSender};
use http::StatusCode;
use tokio::sync::broadcast::error::RecvError;

use crate::call::{Answer, Call};
use crate::error::ApiError;
use crate::handlers::logs::parse_time;
use crate::version::v;
use crate::wire;

/// Which events a client wants.
struct Wanted {
    filters: Filters,
    since_ns: Option<i64>,
    until: Option<SystemTime>,
    /// Whether the client knows that images are created.
    creations: bool,
}

/// What happened and what happens.
pub(crate) async fn events(call: Call) -> Answer {
    let time = |name: &str| {
        parse_time(call.query.get(name)).map_err(|text| {
            ApiError::bad_request(format!(
                "strconv.ParseInt: parsing {text:?}: invalid syntax"
            ))
        })
    };
    let (since, until) = (time("since")?, time("until")?);
    if let (since, Some(until)) = (since.unwrap_or(SystemTime::UNIX_EPOCH), until)
        && until < since
    {
        return Err(ApiError::bad_request(format!(
            "`since` time ({}) cannot be after `until` time ({})",
            call.query.get("since"),
            call.query.get("until")
        )));
    }
    let wanted = Wanted {
        filters: call.query.filters()?,
        // An end alone asks for everything before it.
        since_ns: since.map(nanos).or(until.map(|_| 0)),
        until,
        creations: call.version >= v(46),
    };
    // Before the head is out, so that a client misses nothing after it.
    let subscription = call.engine.events().subscribe();
    let (response, sender) = Response::stream(StatusCode::OK, "application/json");
    tokio::spawn(forward(subscription, wanted, sender));
    Ok(response)
}

async fn forward(subscription: Subscription, wanted: Wanted, sender: StreamSender) {
    let Subscription {
        kept,
        mut following,
    } = subscription;
    let until_ns = wanted.until.map(nanos);
    let is_wanted = |event: &Event| {
        until_ns.is_none_or(|until| event.at_ns <= until)
            && (wanted.creations || event.subject != Subject::Image || event.action != "create")
            && passes(event, &wanted.filters)
    };
    if let Some(since) = wanted.since_ns {
        for event in kept.iter().filter(|event| event.at_ns >= since) {
            if is_wanted(event) && send(event, &sender).await.is_err() {
                return;
            }
        }
    }
    let left = wanted
        .until
        .map(|until| until.duration_since(SystemTime::now()).unwrap_or_default());
    // Without an end it is the client's leaving that ends it.
    let end = tokio::time::sleep(left.unwrap_or(FAR));
    tokio::pin!(end);
    loop {
        let event: Arc<Event> = tokio::select! {
            () = &mut end => break,
            () = sender.closed() => return,
            event = following.recv() => match event {
                Ok(event) => event,
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => break,
            },
        };
        if is_wanted(&event) && send(&event, &sender).await.is_err() {
            return;
        }
    }
    let _client_left = sender.finish().await;
}

/// Longer than anybody listens.
const FAR: Duration = Duration::from_secs(10 * 365 * 86_400);

async fn send(event: &Event, sender: &StreamSender) -> Result<(), carrack_serve::StreamClosed> {
    let mut line = wire::event::event(event).to_string();
    line.push('\n');
    sender.send(line).await
}

fn nanos(time: SystemTime) -> i64 {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
