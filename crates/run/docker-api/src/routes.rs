//! What there is, by method and path.

use carrack_serve::{BodyBound, Router};
use http::Method;

use crate::body::MAX_JSON_BYTES;

/// Body of an image archive or of files copied in: whatever the disk holds;
/// it is streamed and unpacked within limits of its own.
const ARCHIVE: BodyBound = BodyBound::Bytes(u64::MAX);
const JSON: BodyBound = BodyBound::Bytes(MAX_JSON_BYTES as u64);

/// One operation of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Ping,
    Version,
    Info,
    Events,
    DiskUsage,
    ContainerList,
    ContainerCreate,
    ContainerInspect,
    ContainerTop,
    ContainerLogs,
    ContainerStats,
    ContainerResize,
    ContainerStart,
    ContainerStop,
    ContainerRestart,
    ContainerKill,
    ContainerUpdate,
    ContainerRename,
    ContainerPause,
    ContainerUnpause,
    ContainerAttach,
    ContainerWait,
    ContainerRemove,
    ContainerPrune,
    ArchiveHead,
    ArchiveGet,
    ArchivePut,
    ExecCreate,
    ExecStart,
    ExecResize,
    ExecInspect,
    ImageList,
    ImageLoad,
    ImageSave,
    ImageSaveOne,
    ImageCreate,
    ImageInspect,
    ImageHistory,
    ImageTag,
    ImageRemove,
    ImagePrune,
    VolumeList,
    VolumeCreate,
    VolumeInspect,
    VolumeRemove,
    VolumePrune,
    NetworkList,
    NetworkInspect,
    NetworkRemove,
    NetworkPrune,
    BuildPrune,
    PluginList,
    /// 501 with the sentence of this entry of `docs/not-yet.md`.
    NotYet(&'static str),
    /// Swarm's: 503 as a daemon outside of a swarm answers.
    Swarm,
    SwarmLeave,
}

/// All routes.
pub(crate) fn router() -> Router<Route> {
    use Route as R;
    let mut router = Router::new();
    let mut add = |method: &Method, path: &'static str, route: Route| {
        let bound = match route {
            R::ImageLoad | R::ImageCreate | R::ArchivePut => ARCHIVE,
            // What is refused anyway is refused whatever it sends.
            R::NotYet(_) | R::Swarm | R::SwarmLeave => ARCHIVE,
            _ => JSON,
        };
        router.add(method.clone(), path, bound, route);
    };
    let (get, head, post, put, delete) =
        (&Method::GET, &Method::HEAD, &Method::POST, &Method::PUT, &Method::DELETE);
    add(get, "/_ping", R::Ping);
    add(head, "/_ping", R::Ping);
    add(get, "/version", R::Version);
    add(get, "/info", R::Info);
    add(get, "/events", R::Events);
    add(get, "/system/df", R::DiskUsage);

    add(get, "/containers/json", R::ContainerList);
    add(post, "/containers/create", R::ContainerCreate);
    add(post, "/containers/prune", R::ContainerPrune);
    add(get, "/containers/{id}/json", R::ContainerInspect);
    add(get, "/containers/{id}/top", R::ContainerTop);
    add(get, "/containers/{id}/logs", R::ContainerLogs);
    add(get, "/containers/{id}/stats", R::ContainerStats);
    add(get, "/containers/{id}/changes", R::NotYet("changes"));
    add(get, "/containers/{id}/export", R::NotYet("export"));
    add(post, "/containers/{id}/resize", R::ContainerResize);
    add(post, "/containers/{id}/start", R::ContainerStart);
    add(post, "/containers/{id}/stop", R::ContainerStop);
    add(post, "/containers/{id}/restart", R::ContainerRestart);
    add(post, "/containers/{id}/kill", R::ContainerKill);
    add(post, "/containers/{id}/update", R::ContainerUpdate);
    add(post, "/containers/{id}/rename", R::ContainerRename);
    add(post, "/containers/{id}/pause", R::ContainerPause);
    add(post, "/containers/{id}/unpause", R::ContainerUnpause);
    add(post, "/containers/{id}/attach", R::ContainerAttach);
    add(get, "/containers/{id}/attach/ws", R::NotYet("websocket"));
    add(post, "/containers/{id}/wait", R::ContainerWait);
    add(delete, "/containers/{id}", R::ContainerRemove);
    add(head, "/containers/{id}/archive", R::ArchiveHead);
    add(get, "/containers/{id}/archive", R::ArchiveGet);
    add(put, "/containers/{id}/archive", R::ArchivePut);
    add(get, "/containers/{id}/checkpoints", R::NotYet("checkpoint"));
    add(post, "/containers/{id}/checkpoints", R::NotYet("checkpoint"));
    add(delete, "/containers/{id}/checkpoints/{name}", R::NotYet("checkpoint"));
    add(post, "/containers/{id}/exec", R::ExecCreate);
    add(post, "/exec/{id}/start", R::ExecStart);
    add(post, "/exec/{id}/resize", R::ExecResize);
    add(get, "/exec/{id}/json", R::ExecInspect);

    add(get, "/images/json", R::ImageList);
    add(get, "/images/search", R::NotYet("search"));
    add(get, "/images/get", R::ImageSave);
    add(post, "/images/load", R::ImageLoad);
    add(post, "/images/create", R::ImageCreate);
    add(post, "/images/prune", R::ImagePrune);
    add(get, "/images/{name:.*}/json", R::ImageInspect);
    add(get, "/images/{name:.*}/history", R::ImageHistory);
    add(get, "/images/{name:.*}/get", R::ImageSaveOne);
    add(post, "/images/{name:.*}/tag", R::ImageTag);
    add(post, "/images/{name:.*}/push", R::NotYet("push"));
    add(delete, "/images/{name:.*}", R::ImageRemove);
    add(get, "/distribution/{name:.*}/json", R::NotYet("pull"));
    add(post, "/commit", R::NotYet("commit"));
    add(post, "/auth", R::NotYet("login"));

    add(get, "/volumes", R::VolumeList);
    add(post, "/volumes/create", R::VolumeCreate);
    add(post, "/volumes/prune", R::VolumePrune);
    add(get, "/volumes/{name}", R::VolumeInspect);
    add(put, "/volumes/{name}", R::NotYet("cluster-volume"));
    add(delete, "/volumes/{name}", R::VolumeRemove);

    add(get, "/networks", R::NetworkList);
    add(post, "/networks/create", R::NotYet("network"));
    add(post, "/networks/prune", R::NetworkPrune);
    add(get, "/networks/{name}", R::NetworkInspect);
    add(delete, "/networks/{name}", R::NetworkRemove);
    add(post, "/networks/{name}/connect", R::NotYet("connect"));
    add(post, "/networks/{name}/disconnect", R::NotYet("disconnect"));

    add(post, "/build", R::NotYet("build"));
    add(post, "/build/prune", R::BuildPrune);
    add(post, "/build/cancel", R::NotYet("build"));
    add(post, "/session", R::NotYet("build"));
    add(post, "/grpc", R::NotYet("build"));

    add(get, "/plugins", R::PluginList);
    for method in [get, post, delete] {
        for path in ["/swarm", "/nodes", "/services", "/tasks", "/secrets", "/configs"] {
            add(method, path, R::Swarm);
        }
    }
    add(post, "/swarm/leave", R::SwarmLeave);
    for path in [
        "/swarm/{rest:.*}",
        "/nodes/{rest:.*}",
        "/services/{rest:.*}",
        "/tasks/{rest:.*}",
        "/secrets/{rest:.*}",
        "/configs/{rest:.*}",
    ] {
        for method in [get, post, delete] {
            add(method, path, R::Swarm);
        }
    }
    router
}
