//! Device nodes: the defaults and the spec's own.

use carrack_oci::runtime::LinuxDevice;

use super::{PlanError, Sources, UserNamespace};
use crate::device;
use crate::plan::{DeviceKind, DevicePlan};
use crate::sources::SourceRequest;

pub(super) fn plan(
    wanted: &[LinuxDevice],
    defaults: bool,
    user_namespace: UserNamespace,
    sources: &mut Sources,
) -> Result<Vec<DevicePlan>, PlanError> {
    let mut devices: Vec<DevicePlan> = Vec::new();
    if defaults {
        devices.extend(device::defaults());
    }
    for device in wanted {
        let planned = one(device)?;
        devices.retain(|d| d.path != planned.path);
        devices.push(planned);
    }
    if user_namespace == UserNamespace::Own {
        for device in &mut devices {
            if device.kind != DeviceKind::Fifo {
                device.bind = Some(sources.add(SourceRequest::Node(device.path.clone()))?);
            }
        }
    }
    Ok(devices)
}

fn one(device: &LinuxDevice) -> Result<DevicePlan, PlanError> {
    if !device.path.starts_with('/') {
        return Err(PlanError::invalid(
            "linux.devices",
            format!("{:?} is not absolute", device.path),
        ));
    }
    let kind = match device.kind.as_str() {
        "c" | "u" => DeviceKind::Character,
        "b" => DeviceKind::Block,
        "p" => DeviceKind::Fifo,
        other => {
            return Err(PlanError::invalid(
                "linux.devices",
                format!("{other:?} is no kind of device; c, b, u and p are"),
            ));
        }
    };
    let number = |value: i64| {
        u32::try_from(value).map_err(|_| {
            PlanError::invalid(
                "linux.devices",
                format!("{}: number {value} is out of range", device.path),
            )
        })
    };
    let (major, minor) = match kind {
        DeviceKind::Fifo => (0, 0),
        _ => (number(device.major)?, number(device.minor)?),
    };
    Ok(DevicePlan {
        path: device.path.clone(),
        kind,
        major,
        minor,
        mode: device.file_mode.unwrap_or(0o666) & 0o7777,
        uid: device.uid.unwrap_or(0),
        gid: device.gid.unwrap_or(0),
        bind: None,
    })
}
