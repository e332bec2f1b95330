//! `state`.

use serde_json::json;

use super::Call;
use crate::record::{Found, Status};
use crate::{Error, Result, output};

pub(super) fn state(call: &Call<'_>) -> Result<u8> {
    let [id] = call.parsed.exactly("state", 1)? else {
        return Err(Error::InvalidId);
    };
    let found = Found::new(&call.global.root, id)?;
    output::line(format_args!("{:#}", document(&found)))?;
    Ok(0)
}

/// What runc's callers read of a container.
pub(super) fn document(found: &Found) -> serde_json::Value {
    let (record, status) = (&found.record, found.status());
    let pid = if status == Status::Stopped {
        0
    } else {
        record.pid
    };
    json!({
        "ociVersion": carrack_oci::runtime::SPEC_VERSION,
        "id": record.id,
        "pid": pid,
        "status": status.as_str(),
        "bundle": record.bundle,
        "rootfs": record.rootfs,
        "created": record.created.to_string(),
        "annotations": record.annotations,
        "owner": owner(record.owner),
    })
}

/// A user's name, or the number of one without.
pub(super) fn owner(uid: u32) -> String {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number: u32 = fields.nth(1)?.parse().ok()?;
        (number == uid).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| format!("#{uid}"))
}
