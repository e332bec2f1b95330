//! Requests against an engine whose stores are real and in a temporary
//! directory: everything but starting a container, which needs a supervisor.

mod compat;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use carrack_cgroup::{GroupPath, Hierarchies};
use carrack_containers::{Containers, ContainersConfig};
use carrack_docker::engine::image_event_sink;
use carrack_docker::events::Events;
use carrack_docker::host::HostFacts;
use carrack_docker::{Engine, EngineConfig};
use carrack_sandbox::{SandboxConfig, Sandboxes};
use carrack_serve::{Request, Response, Service};
use http::{HeaderValue, Method, header};
use serde_json::Value;

use crate::api::Api;

/// An API over an engine of its own.
struct Bench {
    api: Api,
    /// Removed at the end.
    directory: tempfile::TempDir,
    parent: carrack_cgroup::Parent,
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _nothing_lives_in_it = self.parent.remove();
    }
}

impl Bench {
    /// Needs root: cgroups and the modes of volumes.
    async fn open() -> Option<Self> {
        if !carrack_sys::identity::is_root() {
            println!("SKIP: the engine's stores need root");
            return None;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        let name = directory
            .path()
            .file_name()
            .expect("a name")
            .to_string_lossy();
        let cgroups = Hierarchies::detect(Path::new("/sys/fs/cgroup")).expect("cgroups");
        let group = GroupPath::new(&format!("docker-api-{}", name.trim_start_matches('.')));
        let parent = cgroups.parent(&group.expect("a path")).expect("a parent");
        let state = carrack_state::State::open(&root.join("state.redb"), 1 << 20).expect("state");
        let snapshots = carrack_snapshots::Snapshots::open(root.join("snapshots"));
        let snapshots = Arc::new(snapshots.expect("snapshots"));
        let content = carrack_content::Store::open(&root.join("content")).expect("content");
        let events = Arc::new(Events::default());
        let sink = image_event_sink(Arc::clone(&events));
        let images =
            carrack_images::Images::open(state.clone(), content, Arc::clone(&snapshots), sink);
        let sandboxes = Sandboxes::open(SandboxConfig {
            sockets: root.join("supervisors"),
            cgroup: parent.clone(),
            networks: None,
            pool_size: 0,
            program: b"",
        });
        let architecture = carrack_seccomp::Arch::native().expect("a table");
        let kernel = carrack_seccomp::KernelVersion {
            kernel: 5,
            major: 4,
        };
        let containers = Containers::open(ContainersConfig {
            directory: root.join("containers"),
            state,
            snapshots,
            sandboxes: sandboxes.expect("sandboxes"),
            networks: None,
            seccomp: carrack_seccomp::Cache::new(kernel, architecture),
            cgroups,
            open_files: None,
        });
        let volumes = carrack_volumes::Volumes::open(&root.join("volumes")).expect("volumes");
        let engine = Engine::open(EngineConfig {
            containers: containers.await.expect("containers"),
            images: images.expect("images").0,
            volumes: volumes.volumes,
            networks: None,
            events,
            host: HostFacts::read(),
            data_root: root.to_owned(),
            engine_id: "id".to_owned(),
        });
        Some(Self {
            api: Api::new(engine),
            directory,
            parent,
        })
    }

    async fn send(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Response {
        let body = body.into();
        let uri = path.parse().expect("a path");
        let is_json = body.first() == Some(&b'{');
        let mut request = Request::in_memory(method, uri, body);
        if is_json {
            let json = HeaderValue::from_static("application/json");
            request.headers.insert(header::CONTENT_TYPE, json);
        }
        self.api.call(request).await
    }

    /// Status and body.
    async fn ask(&self, method: Method, path: &str, body: impl Into<Bytes>) -> (u16, Value) {
        let response = self.send(method, path, body).await;
        let status = response.status.as_u16();
        let bytes = response.collect().await;
        let value = serde_json::from_slice(&bytes).unwrap_or_default();
        (status, value)
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.ask(Method::GET, path, "").await
    }

    async fn post(&self, path: &str, body: &'static str) -> (u16, Value) {
        self.ask(Method::POST, path, body).await
    }

    /// Status and sentence.
    async fn refused(&self, method: Method, path: &str, body: &'static str) -> (u16, String) {
        let (status, value) = self.ask(method, path, body).await;
        let message = value["message"].as_str().unwrap_or_default();
        (status, message.to_owned())
    }

    /// An image of one empty directory, called `busybox`.
    async fn import(&self) {
        let path = "/images/create?fromSrc=-&repo=busybox&changes=CMD%20%5B%22sh%22%5D";
        // Two empty blocks: an archive without entries.
        let (status, value) = self.ask(Method::POST, path, vec![0u8; 1024]).await;
        assert_eq!(status, 200, "{value}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn negotiation() {
    let Some(bench) = Bench::open().await else {
        return;
    };
    for method in [Method::GET, Method::HEAD] {
        let response = bench.send(method, "/_ping", "").await;
        assert_eq!(response.status, 200);
        assert_eq!(response.headers["api-version"], "1.51");
        assert_eq!(response.headers["ostype"], "linux");
        assert_eq!(response.headers["docker-experimental"], "false");
        assert_eq!(response.headers["builder-version"], "1");
        assert_eq!(response.headers["swarm"], "inactive");
        assert_eq!(response.body_bytes(), Some(&b"OK"[..]));
    }
    let refused = |path: &'static str| bench.refused(Method::GET, path, "");
    assert_eq!(
        refused("/v1.52/version").await,
        (
            400,
            "client version 1.52 is too new. Maximum supported API version is 1.51".into()
        )
    );
    assert!(refused("/v1.23/version").await.1.contains("too old"));
    assert_eq!(refused("/v1.43/nope").await, (404, "page not found".into()));
    assert_eq!(refused("/").await, (404, "page not found".into()));
    assert_eq!(
        refused("/containers//json").await,
        (404, "page not found".into())
    );
    let (status, version) = bench.get("/v1.24/version").await;
    assert_eq!(
        (status, version["MinAPIVersion"].as_str()),
        (200, Some("1.24"))
    );
    let (_, info) = bench.get("/info").await;
    assert_eq!(
        (info["OSType"].as_str(), info["Images"].as_u64()),
        (Some("linux"), Some(0))
    );
    // An error has the headers too.
    let response = bench.send(Method::GET, "/containers/nope/json", "").await;
    assert_eq!(
        (response.status.as_u16(), &response.headers["api-version"]),
        (404, &"1.51".parse().expect("a value"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_yet() {
    let Some(bench) = Bench::open().await else {
        return;
    };
    let not_yet = carrack_docker::not_yet::sentence;
    let cases = [
        ("/build", "build"),
        ("/session", "build"),
        ("/grpc", "build"),
        ("/commit", "commit"),
        ("/auth", "login"),
        ("/images/create?fromImage=busybox", "pull"),
        ("/images/a/push", "push"),
        ("/networks/create", "network"),
        ("/networks/a/connect", "connect"),
        ("/containers/a/checkpoints", "checkpoint"),
    ];
    for (path, entry) in cases {
        let refused = bench.refused(Method::POST, path, "{}").await;
        assert_eq!(refused, (501, not_yet(entry).to_owned()), "{path}");
    }
    for path in [
        "/swarm",
        "/nodes",
        "/services/a",
        "/tasks",
        "/secrets",
        "/configs/a",
    ] {
        let (status, message) = bench.refused(Method::GET, path, "").await;
        assert!(
            status == 503 && message.starts_with("This node is not a swarm manager."),
            "{path}"
        );
    }
    assert_eq!(bench.refused(Method::POST, "/swarm/leave", "").await.0, 406);
    assert_eq!(bench.get("/plugins").await, (200, serde_json::json!([])));
    let (status, pruned) = bench.post("/build/prune", "").await;
    assert_eq!((status, pruned["SpaceReclaimed"].as_u64()), (200, Some(0)));
    let (status, pruned) = bench.post("/networks/prune", "").await;
    assert_eq!((status, &pruned["NetworksDeleted"]), (200, &Value::Null));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_is_never_started() {
    let Some(bench) = Bench::open().await else {
        return;
    };
    let refused = bench
        .refused(Method::POST, "/containers/create", r#"{"Image":"nope"}"#)
        .await;
    assert_eq!(refused, (404, "No such image: nope:latest".into()));
    bench.import().await;
    let body = r#"{"Image":"busybox","Cmd":["sleep","a b"],"Labels":{"x":"y"},"ExposedPorts":{"80/tcp":{}},
        "HostConfig":{"Binds":["vol:/v","/tmp:/t:ro"],"NetworkMode":"none","Memory":8388608}}"#;
    let (status, created) = bench.post("/containers/create?name=web", body).await;
    assert_eq!(status, 201, "{created}");
    let id = created["Id"].as_str().expect("an id").to_owned();
    assert_eq!(created["Warnings"], serde_json::json!([]));

    let (status, message) = bench
        .refused(Method::POST, "/containers/create?name=web", body)
        .await;
    assert!(
        status == 409 && message.starts_with("Conflict. The container name \"/web\""),
        "{message}"
    );
    for reference in ["web", "/web", &id, &id[..5]] {
        let path = format!("/containers/{}/json", reference.replace('/', "%2F"));
        let (status, inspected) = bench.get(&path).await;
        assert_eq!(
            (status, inspected["Name"].as_str()),
            (200, Some("/web")),
            "{reference}"
        );
    }
    let (_, inspected) = bench.get("/v1.43/containers/web/json?size=1").await;
    assert_eq!(inspected["State"]["Status"], "created");
    assert_eq!(inspected["State"]["StartedAt"], "0001-01-01T00:00:00Z");
    assert_eq!(inspected["HostConfig"]["MemorySwap"], 16_777_216);
    assert_eq!(inspected["HostConfig"]["Binds"][0], "vol:/v");
    assert_eq!(inspected["HostConfig"]["CapAdd"], Value::Null);
    assert_eq!(inspected["Config"]["Hostname"].as_str(), Some(&id[..12]));
    assert_eq!(inspected["Mounts"][1]["Name"], "vol");
    assert_eq!(inspected["Mounts"][0]["RW"], false);
    assert_eq!(inspected["SizeRw"], 0);
    assert!(inspected["NetworkSettings"]["Networks"]["none"].is_object());

    assert_eq!(bench.get("/containers/json").await.1, serde_json::json!([]));
    let (_, listed) = bench
        .get("/containers/json?all=TRUE&filters=%7B%22label%22%3A%5B%22x%3Dy%22%5D%7D")
        .await;
    assert_eq!(listed[0]["Command"], "sleep 'a b'");
    assert_eq!(listed[0]["Status"], "Created");
    assert_eq!(listed[0]["Image"], "busybox");

    let conflict = |path: &'static str| bench.refused(Method::POST, path, "");
    assert_eq!(conflict("/containers/web/stop").await.0, 304);
    assert_eq!(conflict("/containers/web/kill").await.0, 409);
    assert_eq!(conflict("/containers/web/pause").await.0, 409);
    assert_eq!(conflict("/containers/web/resize?h=1&w=1").await.0, 409);
    assert_eq!(
        conflict("/containers/web/resize").await,
        (400, "invalid resize height \"\": invalid syntax".into())
    );
    let (status, _) = bench
        .post("/containers/web/exec", r#"{"Cmd":["ls"]}"#)
        .await;
    assert_eq!(status, 409);
    let (status, message) = bench.refused(Method::GET, "/containers/web/logs", "").await;
    assert!(
        status == 400 && message.contains("must specify at least one"),
        "{message}"
    );
    assert_eq!(
        bench.refused(Method::DELETE, "/images/busybox", "").await.0,
        409
    );
    let (status, message) = bench.refused(Method::DELETE, "/volumes/vol", "").await;
    assert!(
        status == 409 && message.contains("volume is in use"),
        "{message}"
    );

    assert_eq!(
        bench.post("/containers/web/rename?name=shop", "").await.0,
        204
    );
    assert_eq!(bench.get("/containers/web/json").await.0, 404);
    assert_eq!(
        bench
            .post(
                "/containers/shop/update",
                r#"{"CpuShares":512,"RestartPolicy":{"Name":"always"}}"#
            )
            .await
            .0,
        200
    );
    let (_, inspected) = bench.get("/containers/shop/json").await;
    assert_eq!(inspected["HostConfig"]["CpuShares"], 512);
    assert_eq!(inspected["HostConfig"]["RestartPolicy"]["Name"], "always");
    assert_eq!(
        bench
            .ask(Method::DELETE, "/containers/shop?v=1", "")
            .await
            .0,
        204
    );
    assert_eq!(
        bench.ask(Method::DELETE, "/containers/shop", "").await.0,
        404
    );
    assert_eq!(
        bench.ask(Method::DELETE, "/volumes/vol", "").await.0,
        204,
        "named volumes stay"
    );
    assert_eq!(
        bench.ask(Method::DELETE, "/images/busybox", "").await.0,
        200
    );

    let (_, _) = bench.get("/events?since=0&until=1").await;
    let response = bench
        .send(Method::GET, "/events?since=0&until=1&filters=x", "")
        .await;
    assert_eq!(response.status, 400);
    assert_eq!(
        response.collect().await,
        "{\"message\":\"invalid filter\"}\n"
    );
    let left: Vec<_> = std::fs::read_dir(bench.directory.path().join("containers"))
        .expect("a directory")
        .collect();
    assert!(left.is_empty(), "nothing is left of it: {left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_create_leaves_nothing() {
    let Some(bench) = Bench::open().await else {
        return;
    };
    bench.import().await;
    let bodies = [
        r#"{"Image":"busybox","HostConfig":{"Memory":1000}}"#,
        r#"{"Image":"busybox","HostConfig":{"Binds":["fresh:/a","/etc:/a"]}}"#,
        r#"{"Image":"busybox","HostConfig":{"Binds":["fresh:/a"],"Devices":[{"PathOnHost":"/dev/nope"}]}}"#,
        r#"{"Image":"busybox","HostConfig":{"Binds":["fresh:/a"],"NetworkMode":"container:nope"}}"#,
        r#"{"Image":"busybox","HostConfig":{"Binds":["fresh:/a","b$d:/b"]}}"#,
        r#"{"Image":"busybox","HostConfig":{"VolumesFrom":["nope"]}}"#,
        r#"{"Image":"busybox","HostConfig":{"Mounts":[{"Type":"bind","Source":"/nonexistent","Target":"/x"}]}}"#,
    ];
    for body in bodies {
        let (status, message) = bench
            .refused(Method::POST, "/containers/create?name=no", body)
            .await;
        assert!(
            status == 400 && !message.is_empty(),
            "{body}: {status} {message}"
        );
        let (_, volumes) = bench.get("/volumes").await;
        assert_eq!(volumes["Volumes"], serde_json::json!([]), "{body}");
        assert_eq!(bench.get("/containers/no/json").await.0, 404, "{body}");
    }
    // The name is free again.
    let (status, _) = bench
        .post("/containers/create?name=no", r#"{"Image":"busybox"}"#)
        .await;
    assert_eq!(status, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn volumes_and_networks() {
    let Some(bench) = Bench::open().await else {
        return;
    };
    let (status, made) = bench
        .post("/volumes/create", r#"{"Name":"v1","Labels":{"a":"b"}}"#)
        .await;
    assert_eq!((status, made["Labels"]["a"].as_str()), (201, Some("b")));
    assert_eq!(
        bench.post("/volumes/create", "").await.0,
        201,
        "an empty body is an anonymous one"
    );
    let (_, listed) = bench
        .get("/volumes?filters=%7B%22name%22%3A%7B%22v1%22%3Atrue%7D%7D")
        .await;
    assert_eq!(listed["Volumes"].as_array().map(Vec::len), Some(1));
    let (_, pruned) = bench.post("/volumes/prune", "").await;
    assert_eq!(
        pruned["VolumesDeleted"].as_array().map(Vec::len),
        Some(1),
        "named ones are spared"
    );
    let (_, pruned) = bench.post("/v1.41/volumes/prune", "").await;
    assert_eq!(pruned["VolumesDeleted"], serde_json::json!(["v1"]));
    assert_eq!(
        bench.refused(Method::GET, "/volumes/nope", "").await,
        (404, "get nope: no such volume".into())
    );
    assert_eq!(
        bench
            .ask(Method::DELETE, "/volumes/nope?force=1", "")
            .await
            .0,
        204
    );

    let (_, networks) = bench.get("/networks").await;
    let names: Vec<_> = networks
        .as_array()
        .into_iter()
        .flatten()
        .map(|each| &each["Name"])
        .collect();
    assert_eq!(names, ["bridge", "host", "none"]);
    let id = networks[1]["Id"].as_str().expect("an id").to_owned();
    let (_, host) = bench.get(&format!("/networks/{}", &id[..12])).await;
    assert_eq!(host["Driver"], "host");
    assert_eq!(
        bench.refused(Method::DELETE, "/networks/host", "").await,
        (
            403,
            "host is a pre-defined network and cannot be removed".into()
        )
    );
    assert_eq!(
        bench.refused(Method::GET, "/networks/nope", "").await,
        (404, "network nope not found".into())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_beyond_their_bound() {
    let Some(bench) = Bench::open().await else {
        return;
    };
    let body = format!("{{\"Image\":\"{}\"}}", "x".repeat(5 << 20));
    let (status, value) = bench.ask(Method::POST, "/containers/create", body).await;
    assert_eq!(
        (status, value["message"].as_str()),
        (413, Some("request body too large"))
    );
    let body = vec![b'x'; 100 << 10];
    let (status, _) = bench.ask(Method::POST, "/containers/a/stop", body).await;
    assert_eq!(status, 413);
}
