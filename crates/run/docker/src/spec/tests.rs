//! Requests as files, what becomes of them as files beside: `testdata/NAME.json`
//! → `NAME.txt`. `UPDATE_EXPECT=1` writes the answers anew.

use std::path::Path;

use carrack_containers::ContainerId;
use carrack_oci::config::ContainerConfig as ImageContainerConfig;
use expect_test::expect_file;
use serde_json::Value;

use super::*;
use crate::config::CreateRequest;
use crate::mounts::{MountError, MountRequest, PointKind, parse_bind, plan};
use crate::validate::{check_request, merge_image};

struct MadeUp;

impl DeviceNodes for MadeUp {
    fn node(&self, path: &str) -> std::io::Result<DeviceNode> {
        let (kind, major, minor) = match path {
            "/dev/fuse" => ('c', 10, 229),
            "/dev/sda" => ('b', 8, 0),
            _ => return Err(std::io::ErrorKind::NotFound.into()),
        };
        Ok(DeviceNode {
            kind,
            major,
            minor,
            mode: 0o666,
            uid: 0,
            gid: 6,
        })
    }

    fn below(&self, path: &str, _: usize) -> std::io::Result<Option<Vec<(String, DeviceNode)>>> {
        if path != "/dev" {
            return Ok(None);
        }
        let nodes = ["/dev/fuse", "/dev/sda"].map(|path| Ok((path.to_owned(), self.node(path)?)));
        let mut nodes = nodes.into_iter().collect::<std::io::Result<Vec<_>>>()?;
        nodes.push(("/dev/pts/0".to_owned(), nodes[0].1));
        Ok(Some(nodes))
    }
}

fn id(digit: char) -> ContainerId {
    ContainerId::parse(&digit.to_string().repeat(64)).expect("64 digits")
}

fn find(name: &str) -> Result<Joined, Invalid> {
    if name == "other" {
        Ok(Joined {
            id: id('b'),
            hostname: "other-host".into(),
            shares_ipc: true,
        })
    } else {
        Err(Invalid::rule(format!("No such container: {name}")))
    }
}

fn translated(document: Value) -> Result<(NewContainer, Vec<String>), String> {
    let mut request = CreateRequest::from_json(document).map_err(|error| error.to_string())?;
    let facts = crate::host::example();
    let text = |error: Invalid| error.to_string();
    let mut warnings = check_request(&mut request, &facts).map_err(text)?;
    let image: ImageContainerConfig = serde_json::from_value(serde_json::json!({
        "Env": ["PATH=/bin"], "Cmd": ["sh"], "Labels": {"from": "image"}, "Volumes": {"/data": {}},
    }))
    .expect("an image config");
    merge_image(&mut request.config, &image, &mut warnings).map_err(text)?;
    fill_defaults(&mut request.host_config, &facts);
    let mount_request = MountRequest {
        config: &request.config,
        host_config: &request.host_config,
        read_only_is_shallow: false,
    };
    let points_of = |name: &str| {
        find(name)?;
        let shared = parse_bind("shared:/shared", "")?;
        Ok::<_, Invalid>(vec![shared])
    };
    let mut mounts = plan(&mount_request, points_of).map_err(text)?;
    for point in &mut mounts {
        if point.kind == PointKind::Volume {
            let name = if point.volume.is_empty() {
                "anonymous"
            } else {
                &point.volume
            };
            point.source = format!("/volumes/{name}/_data");
        }
    }
    let around = Surroundings {
        host: &facts,
        devices: &MadeUp,
        find: &find,
    };
    let id = id('a');
    let new = Request {
        id: &id,
        name: "web",
        config: &request.config,
        host_config: &request.host_config,
        mounts: &mounts,
        chain: Vec::new(),
    };
    let new = translate(new, &around).map_err(text)?;
    Ok((new, warnings))
}

/// What a default request gives is left out of the others' answers, so that
/// each shows what its own words do.
fn shown(document: Value) -> String {
    let plain = serde_json::json!({"Image": "busybox"});
    let is_plain = document == plain;
    match translated(document) {
        Err(error) => format!("error: {error}\n"),
        Ok((new, warnings)) => {
            let mut value = serde_json::to_value(&new).expect("JSON");
            if !is_plain {
                let base = translated(plain).expect("the plain request is good").0;
                subtract(&mut value, &serde_json::to_value(&base).expect("JSON"));
            }
            let warnings: String = warnings
                .iter()
                .map(|text| format!("warning: {text}\n"))
                .collect();
            format!(
                "{warnings}{}\n",
                serde_json::to_string_pretty(&value).expect("JSON")
            )
        }
    }
}

/// Removes members that are as in `base`; empty objects go with them.
fn subtract(value: &mut Value, base: &Value) {
    let (Value::Object(value), Value::Object(base)) = (value, base) else {
        return;
    };
    value.retain(|key, member| {
        let Some(before) = base.get(key) else {
            return true;
        };
        let differs = member != before;
        subtract(member, before);
        differs
    });
}

#[test]
fn requests() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/spec");
    let mut names: Vec<_> = std::fs::read_dir(&directory)
        .expect("testdata")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .collect();
    names.sort();
    assert!(names.len() > 10, "testdata is missing");
    for path in names {
        let text = std::fs::read_to_string(&path).expect("a request");
        let document = serde_json::from_str(&text).expect("JSON");
        expect_file![path.with_extension("txt")].assert_eq(&shown(document));
    }
}

#[test]
fn a_mount_error_is_a_refusal() {
    let refused = translated(serde_json::json!({"Image": "a", "HostConfig": {"Binds": ["x"]}}));
    let bare = MountError::Specification("x".into()).to_string();
    assert!(refused.expect_err("refused").starts_with(&bare));
}
