//! Images.

use std::path::Path;

use carrack_images::{HistoryEntry, Inspection, Removed, Summary};
use carrack_oci::Reference;
use serde_json::{Map, Value, json};

use super::{with, without};
use crate::version::{ApiVersion, v};

/// A line of `GET /images/json`. `containers` is how many use it, where that
/// was counted.
pub(crate) fn line(
    summary: &Summary,
    shared: bool,
    containers: Option<i64>,
    version: ApiVersion,
) -> Value {
    let image = &summary.image;
    let labels = &image.config().labels;
    let shared_size = if shared {
        i64::try_from(summary.shared_size).unwrap_or(i64::MAX)
    } else {
        -1
    };
    let mut value = json!({
        "Containers": containers.unwrap_or(-1),
        "Created": image.created().map_or(0, |created| created.as_second()),
        "Id": image.id().as_str(),
        "Labels": Some(labels).filter(|labels| !labels.is_empty()),
        "ParentId": summary.parent.as_ref().map_or("", |parent| parent.as_str()),
        "RepoDigests": names(&summary.digests),
        "RepoTags": names(&summary.tags),
        "SharedSize": shared_size,
        "Size": summary.size,
    });
    if version < v(44) {
        with(&mut value, "VirtualSize", summary.size);
        if version < v(43) && summary.tags.is_empty() && summary.digests.is_empty() {
            // What older clients know a nameless image by.
            with(&mut value, "RepoTags", json!(["<none>:<none>"]));
            with(&mut value, "RepoDigests", json!(["<none>@<none>"]));
        }
    }
    value
}

fn names(references: &[Reference]) -> Vec<String> {
    references.iter().map(Reference::familiar).collect()
}

/// `GET /images/{name}/json`
pub(crate) fn inspect(inspection: &Inspection, root: &Path, version: ApiVersion) -> Value {
    let (image, config) = (&inspection.image, &inspection.config);
    let text = |name: &str| {
        config
            .other
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let diff_ids: Vec<&str> = image
        .layers()
        .iter()
        .map(|layer| layer.diff_id.as_str())
        .collect();
    let mut value = json!({
        "Id": image.id().as_str(),
        "RepoTags": names(&inspection.tags),
        "RepoDigests": names(&inspection.digests),
        "Parent": inspection.parent.as_ref().map_or("", |parent| parent.as_str()),
        "Comment": comment(inspection),
    });
    if let Some(created) = &config.created {
        with(&mut value, "Created", created.as_str());
    }
    if version < v(45) {
        with(&mut value, "Container", text("container"));
        let container_config = config.other.get("container_config").cloned();
        with(
            &mut value,
            "ContainerConfig",
            container_config.unwrap_or_else(|| json!({})),
        );
    }
    let platform = image.platform();
    let rest = [
        ("DockerVersion", json!(text("docker_version"))),
        ("Author", json!(config.author.clone().unwrap_or_default())),
        ("Config", run_config(inspection, version)),
        ("Architecture", json!(platform.architecture)),
    ];
    for (name, member) in rest {
        with(&mut value, name, member);
    }
    if let Some(variant) = &platform.variant {
        with(&mut value, "Variant", variant.as_str());
    }
    with(
        &mut value,
        "Os",
        if platform.os.is_empty() {
            "linux"
        } else {
            platform.os.as_str()
        },
    );
    with(&mut value, "Size", image.size());
    if version < v(44) {
        with(&mut value, "VirtualSize", image.size());
    }
    with(&mut value, "GraphDriver", graph_driver(inspection, root));
    let mut rootfs = json!({"Type": "layers"});
    if !diff_ids.is_empty() {
        with(&mut rootfs, "Layers", json!(diff_ids));
    }
    with(&mut value, "RootFS", rootfs);
    let tagged = inspection.last_tagged.map(|time| time.to_string());
    let tagged = tagged.unwrap_or_else(|| "0001-01-01T00:00:00Z".to_owned());
    with(&mut value, "Metadata", json!({"LastTagTime": tagged}));
    if let Some(manifest) = inspection.manifest.as_ref().filter(|_| version >= v(48)) {
        with(
            &mut value,
            "Descriptor",
            json!({
                "mediaType": manifest.media_type,
                "digest": manifest.digest.as_str(),
                "size": manifest.size,
            }),
        );
    }
    value
}

/// The image's own comment, else that of its last step.
fn comment(inspection: &Inspection) -> &str {
    let config = &inspection.config;
    let own = config.comment.as_deref().filter(|text| !text.is_empty());
    let last = config.history.last();
    own.or_else(|| last?.comment.as_deref()).unwrap_or_default()
}

/// The image's config with every member that Docker always shows. Since 1.50
/// those of a container alone are left out.
fn run_config(inspection: &Inspection, version: ApiVersion) -> Value {
    let own = serde_json::to_value(&inspection.config.config).unwrap_or_default();
    let mut value = json!({
        "Hostname": "", "Domainname": "", "User": "", "AttachStdin": false,
        "AttachStdout": false, "AttachStderr": false, "ExposedPorts": null, "Tty": false,
        "OpenStdin": false, "StdinOnce": false, "Env": null, "Cmd": null, "Image": "",
        "Volumes": null, "WorkingDir": "", "Entrypoint": null, "OnBuild": null, "Labels": null,
    });
    if let (Value::Object(value), Value::Object(own)) = (&mut value, own) {
        value.extend(own);
        if value.get("ExposedPorts").is_some_and(Value::is_null) {
            value.shift_remove("ExposedPorts");
        }
    }
    if version >= v(50) {
        let of_containers = [
            "Hostname",
            "Domainname",
            "AttachStdin",
            "AttachStdout",
            "AttachStderr",
            "Tty",
            "OpenStdin",
            "StdinOnce",
            "Image",
            "NetworkDisabled",
            "MacAddress",
            "StopTimeout",
        ];
        without(&mut value, &of_containers);
    }
    value
}

fn graph_driver(inspection: &Inspection, root: &Path) -> Value {
    let path = |chain: &carrack_oci::ChainId| {
        let layer = root.join("snapshots").join(chain.hex()).join("fs");
        layer.display().to_string()
    };
    let mut paths: Vec<String> = inspection.image.chain_from_top().map(path).collect();
    let mut data = Map::new();
    if !paths.is_empty() {
        let upper = paths.remove(0);
        if !paths.is_empty() {
            data.insert("LowerDir".to_owned(), json!(paths.join(":")));
        }
        // Docker's own names beside a layer; nothing is mounted for an image.
        let beside = |name: &str| json!(Path::new(&upper).with_file_name(name));
        data.insert("MergedDir".to_owned(), beside("merged"));
        data.insert("WorkDir".to_owned(), beside("work"));
        data.insert("UpperDir".to_owned(), json!(upper));
    }
    json!({"Data": data, "Name": "overlay2"})
}

/// A line of `GET /images/{name}/history`.
pub(crate) fn history_line(entry: &HistoryEntry) -> Value {
    let tags = Some(names(&entry.tags)).filter(|tags| !tags.is_empty());
    json!({
        "Comment": entry.comment,
        "Created": entry.created.map_or(0, |created| created.as_second()),
        "CreatedBy": entry.created_by,
        "Id": entry.id.as_ref().map_or("<missing>", |id| id.as_str()),
        "Size": entry.size,
        "Tags": tags,
    })
}

/// What a removal did.
pub(crate) fn removed(lines: &[Removed]) -> Vec<Value> {
    let encoded = lines.iter().map(|line| match line {
        Removed::Untagged(reference) => json!({"Untagged": reference.familiar()}),
        Removed::Deleted(id) => json!({"Deleted": id.as_str()}),
        Removed::DeletedLayer(chain) => json!({"Deleted": chain.as_str()}),
    });
    encoded.collect()
}
