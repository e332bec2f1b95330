//! Corners in which clients of Docker's notice a difference.

use http::Method;
use serde_json::{Value, json};

use super::Bench;

/// Escapes a query's value.
fn escaped(value: &Value) -> String {
    let text = value.to_string();
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_honoured_is_refused() {
    let Some(bench) = Bench::open().await else {
        return;
    };
    bench.import().await;
    let body = r#"{"Image":"busybox","HostConfig":{"CgroupParent":"/mine"}}"#;
    let refused = bench
        .refused(Method::POST, "/containers/create", body)
        .await;
    let sentence = carrack_docker::not_yet::sentence("cgroup-parent");
    assert_eq!(refused, (501, sentence.to_owned()));
    let (_, info) = bench.get("/info").await;
    let is_confined =
        std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text[0] == b'Y');
    let warnings = info["Warnings"].to_string();
    assert_eq!(warnings.contains("AppArmor"), is_confined);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn info_depends_on_the_version() {
    let Some(bench) = Bench::open().await else {
        return;
    };
    let (_, new) = bench.get("/info").await;
    assert_eq!(new["FirewallBackend"]["Driver"], "nftables");
    assert_eq!(new["CDISpecDirs"], json!([]));
    assert_eq!(new["BridgeNfIptables"], Value::Null);
    assert_eq!(new["RuncCommit"]["Expected"], Value::Null);
    let status = &new["Runtimes"]["carrack"]["status"];
    assert!(status["org.opencontainers.runtime-spec.features"].is_string());
    let (_, old) = bench.get("/v1.43/info").await;
    assert_eq!(old["FirewallBackend"], Value::Null);
    assert_eq!(old["BridgeNfIptables"], false);
    assert_eq!(old["Runtimes"]["carrack"]["status"], Value::Null);
    assert!(old["RuncCommit"]["Expected"].is_string());
    let (_, oldest) = bench.get("/v1.24/info").await;
    assert_eq!(oldest["SecurityOptions"][0], "seccomp");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_the_past() {
    let Some(bench) = Bench::open().await else {
        return;
    };
    let refused = bench
        .refused(Method::GET, "/events?since=20&until=10", "")
        .await;
    assert_eq!(
        refused,
        (
            400,
            "`since` time (20) cannot be after `until` time (10)".to_owned()
        )
    );
    let path = "/volumes/missing?force=1";
    assert_eq!(bench.ask(Method::DELETE, path, "").await.0, 204);
    let filters = escaped(&json!({"driver": ["x"]}));
    let path = format!("/networks/prune?filters={filters}");
    let refused = bench.refused(Method::POST, &path, "").await;
    assert_eq!(refused, (400, "invalid filter 'driver'".to_owned()));
    assert_eq!(bench.post("/networks/prune", "").await.0, 200);
    bench.post("/volumes/create", r#"{"Name":"v1"}"#).await;

    let now = jiff::Timestamp::now().as_second() + 1;
    let response = bench
        .send(Method::GET, &format!("/events?until={now}"), "")
        .await;
    let text = String::from_utf8(response.collect().await.to_vec()).expect("UTF-8");
    let told: Vec<String> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .map(|event| format!("{} {}", event["Type"], event["Action"]).replace('"', ""))
        .collect();
    assert_eq!(told, ["network prune", "volume create"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_is_joined_is_an_id() {
    let Some(bench) = Bench::open().await else {
        return;
    };
    bench.import().await;
    let body = r#"{"Image":"busybox","HostConfig":{"IpcMode":"shareable"}}"#;
    let (_, first) = bench.post("/containers/create?name=first", body).await;
    let body = r#"{"Image":"busybox","HostConfig":{"NetworkMode":"container:first","PidMode":"container:/first","IpcMode":"container:first"}}"#;
    let (status, made) = bench.post("/containers/create?name=second", body).await;
    assert_eq!(status, 201, "{made}");
    let (_, second) = bench.get("/containers/second/json").await;
    let wanted = format!("container:{}", first["Id"].as_str().expect("an id"));
    for mode in ["NetworkMode", "PidMode", "IpcMode"] {
        assert_eq!(second["HostConfig"][mode], wanted.as_str(), "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_name_what_the_client_wrote() {
    let Some(bench) = Bench::open().await else {
        return;
    };
    bench.import().await;
    let body = r#"{"Image":"busybox","HostConfig":{"PortBindings":{"80/tcp":[]}}}"#;
    for name in ["one", "two"] {
        let path = format!("/containers/create?name={name}");
        assert_eq!(bench.post(&path, body).await.0, 201);
    }
    let refused = |path: &'static str| bench.refused(Method::POST, path, "");
    let (status, message) = refused("/containers/one/rename?name=two").await;
    assert!(
        status == 409
            && message.starts_with("Error when allocating new name: Conflict. The container name"),
        "{message}"
    );
    assert_eq!(
        refused("/containers/one/rename?name=a%2Fb").await,
        (400, "Error when allocating new name: Invalid container name (/a/b), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed".to_owned())
    );
    assert_eq!(
        refused("/containers/one/attach?detachKeys=nope").await,
        (400, "Invalid detach keys (nope) provided".to_owned())
    );
    // A filter alone does not show what does not run.
    for filter in ["exited", "publish"] {
        let filters = escaped(&json!({filter: ["0"]}));
        let (status, listed) = bench
            .get(&format!("/containers/json?filters={filters}"))
            .await;
        assert!(status == 400 || listed == json!([]), "{filter} {listed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_of_another_platform_is_not_found() {
    let Some(bench) = Bench::open().await else {
        return;
    };
    bench.import().await;
    let platform =
        |architecture: &str| escaped(&json!({"os": "linux", "architecture": architecture}));
    let own = carrack_oci::Platform::current().architecture;
    let (own, other) = (platform(&own), platform("s390x"));
    for path in ["json", "history", "get"] {
        let of = |version: &str, platform: &str| {
            format!("{version}/images/busybox/{path}?platform={platform}")
        };
        assert_eq!(bench.get(&of("", &own)).await.0, 200, "{path}");
        let (status, message) = bench.refused(Method::GET, &of("", &other), "").await;
        assert!(
            status == 404 && message.contains("was found but"),
            "{path} {status} {message}"
        );
        assert_eq!(bench.get(&of("", "%7B%7D")).await.0, 400, "{path}");
        // Older versions did not know it.
        assert_eq!(bench.get(&of("/v1.47", &other)).await.0, 200, "{path}");
    }
    let path = format!("/images/busybox?platforms={other}");
    assert_eq!(bench.ask(Method::DELETE, &path, "").await.0, 404);
    let path = format!("/images/busybox?platforms={own}&platforms={other}");
    assert_eq!(bench.ask(Method::DELETE, &path, "").await.0, 400);

    let (_, listed) = bench.get("/images/json").await;
    assert_eq!(listed[0]["Containers"], 0);
    bench
        .post("/containers/create", r#"{"Image":"busybox"}"#)
        .await;
    let (_, listed) = bench.get("/images/json").await;
    assert_eq!(listed[0]["Containers"], 1);
    let (_, listed) = bench.get("/v1.50/images/json").await;
    assert_eq!(listed[0]["Containers"], -1);
    let path = format!("/images/busybox?force=1&platforms={own}");
    let (status, _) = bench.ask(Method::DELETE, &path, "").await;
    assert_eq!(status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comment_is_the_last_steps() {
    let Some(bench) = Bench::open().await else {
        return;
    };
    bench.import().await;
    let (_, image) = bench.get("/images/busybox/json").await;
    let (_, history) = bench.get("/images/busybox/history").await;
    assert_ne!(history[0]["Comment"], "");
    assert_eq!(image["Comment"], history[0]["Comment"]);
}

/// A tar archive of one file that belongs to 7:7.
fn archive(name: &str, content: &str) -> Vec<u8> {
    let mut header = [0u8; 512];
    let mut put =
        |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000007\0");
    put(116, "0000007\0");
    put(124, &format!("{:011o}\0", content.len()));
    put(136, "00000000000\0");
    // Blanks stand for the sum itself.
    put(148, "        0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut bytes = header.to_vec();
    bytes.extend_from_slice(content.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(512) + 1024, 0);
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_given_to_a_user_by_name() {
    let Some(bench) = Bench::open().await else {
        return;
    };
    bench.import().await;
    let body = r#"{"Image":"busybox","User":"www:video"}"#;
    bench.post("/containers/create?name=cp", body).await;
    let put = async |parameters: &str, name: &str, content: &str| {
        let path = format!("/containers/cp/archive?path=%2F{parameters}");
        bench.ask(Method::PUT, &path, archive(name, content)).await
    };
    let (status, refused) = put("&copyUIDGID=1", "mine", "x").await;
    assert_eq!(
        (status, refused["message"].as_str()),
        (
            400,
            Some(
                "failed to look up user \"www:video\" in container: unable to find user www: no matching entries in passwd file"
            )
        )
    );
    for (name, content) in [
        ("etc/passwd", "root:x:0:0::/:/\nwww:x:33:34::/:/\n"),
        ("etc/group", "video:x:44:\n"),
    ] {
        assert_eq!(put("", name, content).await.0, 200);
    }
    assert_eq!(put("&copyUIDGID=1", "mine", "x").await.0, 200);
    assert_eq!(put("", "theirs", "x").await.0, 200);
    for (name, owner) in [("mine", "33 44"), ("theirs", "7 7")] {
        let path = format!("/containers/cp/archive?path=%2F{name}");
        let response = bench.send(Method::GET, &path, "").await;
        let bytes = response.collect().await;
        let number = |at: usize| {
            let text = String::from_utf8_lossy(&bytes[at..at + 7]).into_owned();
            u32::from_str_radix(text.trim_end_matches('\0'), 8).expect("octal")
        };
        assert_eq!(format!("{} {}", number(108), number(116)), owner, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_without_a_log() {
    let Some(bench) = Bench::open().await else {
        return;
    };
    bench.import().await;
    let body =
        r#"{"Image":"busybox","HostConfig":{"LogConfig":{"Type":"none"},"Binds":["vol:/v"]}}"#;
    let (status, made) = bench.post("/containers/create?name=mute", body).await;
    assert_eq!(status, 201, "{made}");
    let refused = bench
        .refused(Method::GET, "/containers/mute/logs?stdout=1", "")
        .await;
    assert_eq!(
        refused,
        (
            501,
            "configured logging driver does not support reading".to_owned()
        )
    );
    let (_, inspected) = bench.get("/containers/mute/json").await;
    assert_eq!(inspected["Mounts"][0]["Mode"], "z");
}
