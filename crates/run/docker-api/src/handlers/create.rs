//! `POST /containers/create`.

use carrack_docker::config::{CreateRequest, HostConfig};
use carrack_docker::engine::CreateOptions;
use http::StatusCode;
use serde_json::json;

use crate::call::{Answer, Call, json};
use crate::error::ApiError;
use crate::json::{decode_error, read_required};
use crate::version::{ApiVersion, v};

/// Makes a container.
pub(crate) async fn create(mut call: Call) -> Answer {
    let document = read_required(&mut call.request).await?;
    let mut request = CreateRequest::from_json(document).map_err(decode_error)?;
    adapt(
        &mut request.host_config,
        call.version,
        call.engine.host().cgroup_v2,
    );
    let mut warnings = Vec::new();
    take_mac_address(&mut request, call.version, &mut warnings)?;
    let options = CreateOptions {
        name: call.query.given("name").map(str::to_owned),
        platform: call.query.given("platform").map(str::to_owned),
        read_only_is_shallow: call.version < v(44),
    };
    let created = call.engine.create(request, options).await?;
    warnings.extend(created.warnings);
    let body = json!({"Id": created.id.as_str(), "Warnings": warnings});
    json(StatusCode::CREATED, &body)
}

/// What older clients mean by what they send, and fields that they did not
/// have.
fn adapt(host: &mut HostConfig, version: ApiVersion, cgroup_v2: bool) {
    if version < v(25) {
        // Sent by clients before auto-removal was the engine's.
        host.auto_remove = false;
    }
    if version < v(40) && host.ipc_mode.is_empty() {
        "shareable".clone_into(&mut host.ipc_mode);
    }
    if version < v(41) && host.cgroupns_mode.is_empty() && !cgroup_v2 {
        "host".clone_into(&mut host.cgroupns_mode);
    }
    if version < v(44) {
        for mount in host.mounts.iter_mut().flatten() {
            if let Some(options) = &mut mount.bind_options {
                options.read_only_non_recursive = false;
                options.read_only_force_recursive = false;
            }
        }
    }
    if version < v(42) {
        // Zero was how clients said "as it is".
        host.console_size = [0, 0];
        for mount in host.mounts.iter_mut().flatten() {
            if let Some(options) = &mut mount.bind_options {
                options.create_mountpoint = false;
            }
        }
    }
    if version < v(43) {
        host.annotations = None;
    }
}

/// A hardware address is the bridge's to give: the default network derives it
/// from the address.
fn take_mac_address(
    request: &mut CreateRequest,
    version: ApiVersion,
    warnings: &mut Vec<String>,
) -> Result<(), ApiError> {
    let endpoints = request.networking_config.endpoints_config.iter().flatten();
    let of_endpoints = endpoints.map(|(_, endpoint)| endpoint.mac_address.as_str());
    let mut asked = of_endpoints.chain([request.config.mac_address.as_str()]);
    let Some(address) = asked.find(|address| !address.is_empty()).map(str::to_owned) else {
        return Ok(());
    };
    if address.parse::<carrack_network::MacAddress>().is_err() {
        return Err(ApiError::bad_request(format!(
            "{address} is not a valid mac address"
        )));
    }
    if version >= v(44) && !request.config.mac_address.is_empty() {
        warnings.push("The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead.".to_owned());
    }
    warnings.push(carrack_docker::not_yet::sentence("mac-address").to_owned());
    Ok(())
}
