//! Block devices: weights and rates.

use std::collections::BTreeMap;

use carrack_oci::runtime::{BlockIo, ThrottleDevice};

use super::{Absent, Planner, invalid, unsupported};
use crate::{Controller, Error, Version};

const WEIGHT_MIN: u16 = 10;
const WEIGHT_MAX: u16 = 1000;

/// A weight of 10–1,000 as one of `io.weight`, 1–10,000 (runc's line).
#[must_use]
pub fn bfq_to_io_weight(weight: u16) -> u64 {
    if weight == 0 {
        return 0;
    }
    1 + (u64::from(weight.max(WEIGHT_MIN)) - u64::from(WEIGHT_MIN)) * 9999 / 990
}

/// The four rates: v1's file, v2's key in `io.max`, and which list they are.
#[must_use]
pub fn throttle_keys(block_io: &BlockIo) -> [(&'static str, &'static str, &[ThrottleDevice]); 4] {
    [
        (
            "blkio.throttle.read_bps_device",
            "rbps",
            &block_io.throttle_read_bps_device,
        ),
        (
            "blkio.throttle.write_bps_device",
            "wbps",
            &block_io.throttle_write_bps_device,
        ),
        (
            "blkio.throttle.read_iops_device",
            "riops",
            &block_io.throttle_read_iops_device,
        ),
        (
            "blkio.throttle.write_iops_device",
            "wiops",
            &block_io.throttle_write_iops_device,
        ),
    ]
}

impl Planner<'_> {
    pub(super) fn block_io(&mut self, block_io: &BlockIo) -> Result<(), Error> {
        if *block_io == BlockIo::default() {
            return Ok(());
        }
        match self.version(Controller::Io)? {
            Version::V1 => self.block_io_v1(block_io),
            Version::V2 => self.block_io_v2(block_io),
        }
    }

    fn block_io_v1(&mut self, block_io: &BlockIo) -> Result<(), Error> {
        if let Some(weight) = weight(block_io.weight)? {
            self.push(
                Controller::Io,
                "blkio.bfq.weight",
                weight,
                instead("blkio.weight", weight),
            );
        }
        if let Some(leaf) = weight(block_io.leaf_weight)? {
            self.write(Controller::Io, "blkio.leaf_weight", leaf);
        }
        for device in &block_io.weight_device {
            let name = device_number(device.major, device.minor)?;
            if let Some(weight) = weight(device.weight)? {
                let value = format!("{name} {weight}");
                self.push(
                    Controller::Io,
                    "blkio.bfq.weight_device",
                    &value,
                    instead("blkio.weight_device", &value),
                );
            }
            if let Some(leaf) = weight(device.leaf_weight)? {
                self.write(
                    Controller::Io,
                    "blkio.leaf_weight_device",
                    format!("{name} {leaf}"),
                );
            }
        }
        for (file, _, devices) in throttle_keys(block_io) {
            for device in devices {
                let name = device_number(device.major, device.minor)?;
                self.write(Controller::Io, file, format!("{name} {}", device.rate));
            }
        }
        Ok(())
    }

    fn block_io_v2(&mut self, block_io: &BlockIo) -> Result<(), Error> {
        let leaf = weight(block_io.leaf_weight)?.is_some()
            || block_io
                .weight_device
                .iter()
                .any(|device| device.leaf_weight.is_some_and(|weight| weight != 0));
        if leaf {
            return Err(unsupported(
                "the leaf weight of block devices",
                "it is of cgroup v1",
            ));
        }
        if let Some(weight) = weight(block_io.weight)? {
            self.push(
                Controller::Io,
                "io.bfq.weight",
                weight,
                instead("io.weight", bfq_to_io_weight(weight)),
            );
        }
        for device in &block_io.weight_device {
            let name = device_number(device.major, device.minor)?;
            if let Some(weight) = weight(device.weight)? {
                self.push(
                    Controller::Io,
                    "io.bfq.weight",
                    format!("{name} {weight}"),
                    instead("io.weight", format!("{name} {}", bfq_to_io_weight(weight))),
                );
            }
        }
        // All rates of a device go in one line.
        let mut lines: BTreeMap<(i64, i64), String> = BTreeMap::new();
        for (_, key, devices) in throttle_keys(block_io) {
            for device in devices {
                let line = match lines.entry((device.major, device.minor)) {
                    std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                    std::collections::btree_map::Entry::Vacant(entry) => {
                        entry.insert(device_number(device.major, device.minor)?)
                    }
                };
                // 0 lifts the limit on v1; v2 has a word for it.
                *line += &match device.rate {
                    0 => format!(" {key}=max"),
                    rate => format!(" {key}={rate}"),
                };
            }
        }
        for line in lines.into_values() {
            self.write(Controller::Io, "io.max", line);
        }
        Ok(())
    }
}

fn instead(file: &str, value: impl ToString) -> Absent {
    Absent::Instead {
        file: file.to_owned(),
        value: value.to_string(),
    }
}

fn weight(weight: Option<u16>) -> Result<Option<u16>, Error> {
    match weight {
        None | Some(0) => Ok(None),
        Some(weight) if (WEIGHT_MIN..=WEIGHT_MAX).contains(&weight) => Ok(Some(weight)),
        Some(_) => Err(invalid("blockIO.weight", "it must be 10 to 1000")),
    }
}

fn device_number(major: i64, minor: i64) -> Result<String, Error> {
    match (u32::try_from(major), u32::try_from(minor)) {
        (Ok(major), Ok(minor)) => Ok(format!("{major}:{minor}")),
        _ => Err(invalid(
            "blockIO device",
            "major and minor must be numbers of a device",
        )),
    }
}
