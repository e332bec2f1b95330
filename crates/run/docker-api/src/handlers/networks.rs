//! Networks: those that are there by themselves.

use http::StatusCode;
use serde_json::json;

use crate::call::{Answer, Call, empty, ok};
use crate::wire;

/// `GET /networks`
pub(crate) async fn list(call: Call) -> Answer {
    let mut networks = call.engine.networks(&call.query.filters()?)?;
    if call.version >= crate::version::v(28) {
        // Only inspect says who is on a network.
        networks
            .iter_mut()
            .for_each(|network| network.containers.clear());
    }
    let lines: Vec<_> = networks
        .iter()
        .map(|network| wire::network::network(network, call.version))
        .collect();
    ok(&lines)
}

/// `GET /networks/{name}`
pub(crate) async fn inspect(call: Call) -> Answer {
    let network = call.engine.network(call.name())?;
    ok(&wire::network::network(&network, call.version))
}

/// `DELETE /networks/{name}`
pub(crate) async fn remove(call: Call) -> Answer {
    call.engine.remove_network(call.name())?;
    empty(StatusCode::NO_CONTENT)
}

/// `POST /networks/prune`: those that are there by themselves stay.
pub(crate) async fn prune(call: Call) -> Answer {
    call.engine.prune_networks(&call.query.filters()?)?;
    ok(&json!({"NetworksDeleted": null}))
}
