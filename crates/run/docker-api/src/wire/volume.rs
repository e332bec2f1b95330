//! A volume.

use carrack_volumes::Volume;
use serde_json::{Value, json};

use super::time;

/// Encodes a volume.
pub(crate) fn volume(volume: &Volume) -> Value {
    let labels = Some(volume.labels()).filter(|labels| !labels.is_empty());
    let options = Some(volume.options()).filter(|options| !options.is_empty());
    // Docker has whole seconds here.
    json!({
        "CreatedAt": time::rfc3339(time::seconds(volume.created()), 0),
        "Driver": "local",
        "Labels": labels,
        "Mountpoint": volume.mountpoint().display().to_string(),
        "Name": volume.name().as_str(),
        "Options": options,
        "Scope": "local",
    })
}
