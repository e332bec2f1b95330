//! From `linux.resources` to a list of writes: pure.
//!
//! [`crate::Leaf::apply`] carries the list out. A property that this machine's
//! control groups cannot express is an error, except the few that the
//! specification marks "v1 only, ignored elsewhere": those are listed in
//! [`Plan::ignored`], so that a caller can warn.

mod block;
mod cpu;
mod memory;
mod other;

#[cfg(test)]
mod tests;

use carrack_oci::runtime::{DeviceRule, Resources};

pub use block::{bfq_to_io_weight, throttle_keys};
pub use cpu::shares_to_weight;

use crate::{Controller, Error, Layout, Version};

/// The group a file belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The group in the hierarchy of this controller.
    Controller(Controller),
    /// The group in the v2 hierarchy.
    Unified,
}

/// One value for one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Which group.
    pub target: Target,
    /// File name.
    pub file: String,
    /// What is written, in one call.
    pub value: String,
    /// What to do when the kernel has no such file.
    pub absent: Absent,
}

/// What to do when the kernel has no such file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absent {
    /// The limit cannot be met: an error.
    Refuse,
    /// Nothing is lost.
    Skip,
    /// Write this value to that file.
    Instead {
        /// File name.
        file: String,
        /// Value.
        value: String,
    },
}

/// A property that has no meaning on this machine and was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// Its name in the runtime specification.
    pub property: &'static str,
    /// Why.
    pub reason: &'static str,
}

/// What there is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In this order.
    pub writes: Vec<Write>,
    /// Device rules, in this order; empty leaves the devices as they are.
    pub devices: Vec<DeviceRule>,
    /// Left out.
    pub ignored: Vec<Ignored>,
    /// A new memory limit that is to be refused when more is in use, bytes.
    pub usage_bound: Option<u64>,
}

/// What is in force now, as far as the order of writes depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Current {
    /// Memory limit, bytes; `None` is unlimited, as in a fresh leaf.
    pub memory_limit: Option<u64>,
    /// CPU quota, microseconds a period; `None` is unlimited.
    pub cpu_quota_us: Option<u64>,
    /// CPU period, microseconds.
    pub cpu_period_us: Option<u64>,
}

/// Decides what to write for `resources` on a machine of that `layout`.
pub fn plan(resources: &Resources, layout: &Layout, current: &Current) -> Result<Plan, Error> {
    let mut planner = Planner {
        layout,
        current,
        plan: Plan::default(),
    };
    if let Some(cpu) = &resources.cpu {
        planner.cpu(cpu)?;
    }
    if let Some(memory) = &resources.memory {
        planner.memory(memory)?;
    }
    if let Some(pids) = &resources.pids {
        planner.pids(*pids)?;
    }
    if let Some(block_io) = &resources.block_io {
        planner.block_io(block_io)?;
    }
    for limit in &resources.hugepage_limits {
        planner.hugetlb(limit)?;
    }
    if let Some(network) = &resources.network {
        planner.network(network)?;
    }
    for (device, limit) in &resources.rdma {
        planner.rdma(device, limit)?;
    }
    for (file, value) in &resources.unified {
        planner.unified(file, value)?;
    }
    planner.devices(&resources.devices)?;
    Ok(planner.plan)
}

struct Planner<'a> {
    layout: &'a Layout,
    current: &'a Current,
    plan: Plan,
}

impl Planner<'_> {
    fn version(&self, controller: Controller) -> Result<Version, Error> {
        self.layout
            .version_of(controller)
            .ok_or(Error::NoController(controller))
    }

    fn push(
        &mut self,
        controller: Controller,
        file: impl Into<String>,
        value: impl ToString,
        absent: Absent,
    ) {
        self.plan.writes.push(Write {
            target: Target::Controller(controller),
            file: file.into(),
            value: value.to_string(),
            absent,
        });
    }

    fn write(&mut self, controller: Controller, file: impl Into<String>, value: impl ToString) {
        self.push(controller, file, value, Absent::Refuse);
    }

    fn ignore(&mut self, property: &'static str, reason: &'static str) {
        self.plan.ignored.push(Ignored { property, reason });
    }

    fn devices(&mut self, rules: &[DeviceRule]) -> Result<(), Error> {
        if rules.is_empty() {
            return Ok(());
        }
        let version = self.version(Controller::Devices)?;
        crate::device::check(rules, version)?;
        self.plan.devices = rules.to_vec();
        Ok(())
    }
}

fn invalid(what: &'static str, reason: impl Into<String>) -> Error {
    Error::Invalid {
        what,
        reason: reason.into(),
    }
}

fn unsupported(what: impl Into<String>, reason: impl Into<String>) -> Error {
    Error::Unsupported {
        what: what.into(),
        reason: reason.into(),
    }
}
