//! The table of routes.

use carrack_serve::{BodyBound, Router};
use http::Method;

use crate::call::Handler;
use crate::handlers::{
    absent, archive, attach, containers, create, events, exec, images, logs, networks, stats,
    system, transfer, update, volumes, wait,
};
use crate::json::BODY_BYTES_MAX;

/// Largest tar stream taken: an image archive or a copy, bytes. What it
/// unpacks to is bounded where it is unpacked.
const ARCHIVE_BYTES_MAX: u64 = 1 << 40;
/// A body that no route reads: read and thrown away up to this, bytes.
const IGNORED_BYTES_MAX: u64 = 64 * 1024;

const NONE: BodyBound = BodyBound::Bytes(IGNORED_BYTES_MAX);
const JSON: BodyBound = BodyBound::Bytes(BODY_BYTES_MAX as u64);
const ARCHIVE: BodyBound = BodyBound::Bytes(ARCHIVE_BYTES_MAX);

/// A handler as a plain function pointer.
macro_rules! to {
    ($handler:path) => {{
        let handler: Handler = |call| Box::pin($handler(call));
        handler
    }};
}

/// All routes. The order matters where a placeholder could take a word.
pub(crate) fn router() -> Router<Handler> {
    let mut router = Router::new();
    let mut get = |pattern, handler: Handler| {
        router.add(Method::GET, pattern, NONE, handler);
    };
    get("/_ping", to!(system::ping));
    get("/version", to!(system::version));
    get("/info", to!(system::info));
    get("/events", to!(events::events));
    get("/system/df", to!(system::disk_usage));
    get("/containers/json", to!(containers::list));
    get("/containers/{name}/json", to!(containers::inspect));
    get("/containers/{name}/top", to!(containers::top));
    get("/containers/{name}/logs", to!(logs::logs));
    get("/containers/{name}/stats", to!(stats::stats));
    get("/containers/{name}/archive", to!(archive::get));
    get("/containers/{name}/changes", to!(absent::changes));
    get("/containers/{name}/export", to!(absent::export));
    get("/containers/{name}/attach/ws", to!(absent::websocket));
    get("/containers/{name}/checkpoints", to!(absent::checkpoint));
    get("/exec/{name}/json", to!(exec::inspect));
    get("/images/json", to!(images::list));
    get("/images/search", to!(absent::search));
    get("/images/get", to!(transfer::save));
    get("/images/{name:.*}/get", to!(transfer::save_one));
    get("/images/{name:.*}/json", to!(images::inspect));
    get("/images/{name:.*}/history", to!(images::history));
    get("/volumes", to!(volumes::list));
    get("/volumes/{name}", to!(volumes::inspect));
    get("/networks", to!(networks::list));
    get("/networks/{name}", to!(networks::inspect));
    get("/distribution/{name:.*}/json", to!(absent::pull));
    get("/plugins", to!(absent::no_plugins));

    let mut head = |pattern, handler: Handler| {
        router.add(Method::HEAD, pattern, NONE, handler);
    };
    head("/_ping", to!(system::ping));
    head("/containers/{name}/archive", to!(archive::head));

    let mut post = |pattern, bound, handler: Handler| {
        router.add(Method::POST, pattern, bound, handler);
    };
    post("/containers/create", JSON, to!(create::create));
    post("/containers/prune", NONE, to!(containers::prune));
    post("/containers/{name}/start", NONE, to!(containers::start));
    post("/containers/{name}/stop", NONE, to!(containers::stop));
    post("/containers/{name}/restart", NONE, to!(containers::restart));
    post("/containers/{name}/kill", NONE, to!(containers::kill));
    post("/containers/{name}/pause", NONE, to!(containers::pause));
    post("/containers/{name}/unpause", NONE, to!(containers::unpause));
    post("/containers/{name}/rename", NONE, to!(containers::rename));
    post("/containers/{name}/resize", NONE, to!(containers::resize));
    post("/containers/{name}/update", JSON, to!(update::update));
    post("/containers/{name}/attach", NONE, to!(attach::attach));
    post("/containers/{name}/wait", NONE, to!(wait::wait));
    post("/containers/{name}/exec", JSON, to!(exec::create));
    post(
        "/containers/{name}/checkpoints",
        JSON,
        to!(absent::checkpoint),
    );
    post("/exec/{name}/start", JSON, to!(exec::start));
    post("/exec/{name}/resize", NONE, to!(exec::resize));
    post("/images/create", ARCHIVE, to!(transfer::create));
    post("/images/load", ARCHIVE, to!(transfer::load));
    post("/images/prune", NONE, to!(images::prune));
    post("/images/{name:.*}/tag", NONE, to!(images::tag));
    post("/images/{name:.*}/push", NONE, to!(absent::push));
    post("/volumes/create", JSON, to!(volumes::create));
    post("/volumes/prune", NONE, to!(volumes::prune));
    post("/networks/create", JSON, to!(absent::network));
    post("/networks/prune", NONE, to!(networks::prune));
    post("/networks/{name}/connect", JSON, to!(absent::connect));
    post("/networks/{name}/disconnect", JSON, to!(absent::disconnect));
    post("/commit", JSON, to!(absent::commit));
    post("/build", ARCHIVE, to!(absent::build));
    post("/build/prune", NONE, to!(absent::build_prune));
    post("/build/cancel", NONE, to!(absent::build));
    post("/session", NONE, to!(absent::build));
    post("/grpc", NONE, to!(absent::build));
    post("/auth", JSON, to!(absent::login));
    router.add(
        Method::PUT,
        "/containers/{name}/archive",
        ARCHIVE,
        to!(archive::put),
    );
    router.add(
        Method::PUT,
        "/volumes/{name}",
        JSON,
        to!(absent::cluster_volume),
    );
    router.add(
        Method::DELETE,
        "/containers/{name}",
        NONE,
        to!(containers::remove),
    );
    let checkpoint = "/containers/{name}/checkpoints/{checkpoint}";
    router.add(Method::DELETE, checkpoint, NONE, to!(absent::checkpoint));
    router.add(
        Method::DELETE,
        "/images/{name:.*}",
        NONE,
        to!(images::remove),
    );
    router.add(
        Method::DELETE,
        "/volumes/{name}",
        NONE,
        to!(volumes::remove),
    );
    router.add(
        Method::DELETE,
        "/networks/{name}",
        NONE,
        to!(networks::remove),
    );
    swarm(&mut router);
    router
}

/// Parts of Docker that need a swarm: this node is in none.
fn swarm(router: &mut Router<Handler>) {
    let roots = [
        "/swarm",
        "/nodes",
        "/services",
        "/tasks",
        "/secrets",
        "/configs",
    ];
    for root in roots {
        router.add(Method::GET, root, NONE, to!(absent::swarm));
    }
    router.add(Method::POST, "/swarm/leave", JSON, to!(absent::swarm_leave));
    let posts = [
        "/swarm/init",
        "/swarm/join",
        "/swarm/update",
        "/swarm/unlock",
        "/services/create",
        "/secrets/create",
        "/configs/create",
        "/nodes/{name}/update",
        "/services/{name}/update",
        "/secrets/{name}/update",
        "/configs/{name}/update",
    ];
    for pattern in posts {
        router.add(Method::POST, pattern, JSON, to!(absent::swarm));
    }
    let gets = [
        "/swarm/unlockkey",
        "/nodes/{name}",
        "/services/{name}",
        "/services/{name}/logs",
        "/tasks/{name}",
        "/tasks/{name}/logs",
        "/secrets/{name}",
        "/configs/{name}",
    ];
    for pattern in gets {
        router.add(Method::GET, pattern, NONE, to!(absent::swarm));
    }
    for pattern in [
        "/nodes/{name}",
        "/services/{name}",
        "/secrets/{name}",
        "/configs/{name}",
    ] {
        router.add(Method::DELETE, pattern, NONE, to!(absent::swarm));
    }
}
