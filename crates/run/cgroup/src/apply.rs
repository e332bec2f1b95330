//! Carries a plan out: the only place that writes limits.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;

use carrack_oci::runtime::{DeviceRule, Resources};
use carrack_sys::bpf;
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::device::{self, V1File, V1Write};
use crate::leaf::missing;
use crate::plan::Absent;
use crate::{Controller, Current, Error, Ignored, Leaf, Plan, Target, Version, Write, file, plan};

impl Leaf {
    /// Puts limits into force; what is absent in `resources` stays as it is.
    ///
    /// Returns what has no meaning on this machine. Not atomic: after an error
    /// earlier limits of the list are in force.
    pub fn apply(&self, resources: &Resources) -> Result<Vec<Ignored>, Error> {
        let current = self.current(resources)?;
        let layout = self.parent.0.mounted.layout;
        let plan = plan::plan(resources, &layout, &current)?;
        self.carry_out(&plan)?;
        Ok(plan.ignored)
    }

    /// Writes a plan.
    pub fn carry_out(&self, plan: &Plan) -> Result<(), Error> {
        if let Some(limit) = plan.usage_bound {
            let usage = self.memory_usage()?;
            if limit < usage {
                return Err(Error::LimitBelowUsage { limit, usage });
            }
        }
        // Pairs of files bound each other (period and quota, quota and burst),
        // and which must go first depends on what is in force: what is found
        // invalid is tried once more when the others are written.
        let mut refused = Vec::new();
        for write in &plan.writes {
            match self.write_limit(write) {
                Err(Error::Refused { source, .. })
                    if Errno::from_io_error(&source) == Some(Errno::INVAL) =>
                {
                    refused.push(write);
                }
                result => result?,
            }
        }
        for write in refused {
            self.write_limit(write)?;
        }
        let in_force = self.has_default_devices.load(Ordering::Relaxed)
            && plan.devices == device::default_rules();
        if plan.devices.is_empty() || in_force {
            Ok(())
        } else {
            self.set_devices(&plan.devices)
        }
    }

    /// Docker's default device rules, for a leaf of the pool.
    pub fn set_default_devices(&self) -> Result<(), Error> {
        match self.version_of(Controller::Devices) {
            Some(Version::V1) => self.write_device_rules(device::default_v1_writes()),
            _ => self.set_devices(&device::default_rules()),
        }?;
        self.has_default_devices.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Puts exactly these device rules into force, in place of what was there.
    pub fn set_devices(&self, rules: &[DeviceRule]) -> Result<(), Error> {
        self.has_default_devices.store(false, Ordering::Relaxed);
        match self.version_of(Controller::Devices) {
            Some(Version::V1) => {
                device::check(rules, Version::V1)?;
                self.write_device_rules(&device::v1_writes(rules)?)
            }
            Some(Version::V2) => {
                let program = device::program(rules)?;
                let (index, group) = self
                    .unified()
                    .ok_or(Error::NoController(Controller::Devices))?;
                let attach = || {
                    let program = bpf::load_device_program(&program)?;
                    bpf::replace_device_programs(group, program.as_fd())
                };
                attach().map_err(|source| Error::DeviceProgram {
                    path: self.location(index),
                    source,
                })
            }
            None => Err(Error::NoController(Controller::Devices)),
        }
    }

    fn write_device_rules(&self, writes: &[V1Write]) -> Result<(), Error> {
        let directory = self.directory(Controller::Devices)?;
        let open = |which: V1File| {
            file::open(directory, which.name(), OFlags::WRONLY).map_err(|source| Error::Open {
                path: self.location_of(Controller::Devices).join(which.name()),
                source,
            })
        };
        let (allow, deny) = (open(V1File::Allow)?, open(V1File::Deny)?);
        for V1Write { file: which, value } in writes {
            let fd = match which {
                V1File::Allow => allow.as_fd(),
                V1File::Deny => deny.as_fd(),
            };
            file::write_to(fd, value).map_err(|source| refused(which.name(), value, source))?;
        }
        Ok(())
    }

    fn write_limit(&self, write: &Write) -> Result<(), Error> {
        let directory = match write.target {
            Target::Controller(controller) => self.directory(controller)?,
            Target::Unified => {
                self.unified()
                    .ok_or_else(|| Error::Unsupported {
                        what: write.file.clone(),
                        reason: "the cgroup v2 hierarchy is not mounted".to_owned(),
                    })?
                    .1
            }
        };
        match (
            file::write(directory, &write.file, &write.value),
            &write.absent,
        ) {
            (Ok(()), _) => Ok(()),
            (Err(source), Absent::Skip) if missing(&source) => Ok(()),
            (Err(source), Absent::Instead { file, value }) if missing(&source) => {
                write_one(directory, file, value)
            }
            (Err(source), _) => Err(refused(&write.file, &write.value, source)),
        }
    }

    /// What the order of writes depends on; read only where it matters.
    fn current(&self, resources: &Resources) -> Result<Current, Error> {
        let mut current = Current::default();
        if resources
            .memory
            .as_ref()
            .is_some_and(|memory| memory.swap.is_some())
        {
            current.memory_limit = self.memory_limit()?;
        }
        if resources
            .cpu
            .as_ref()
            .is_some_and(|cpu| cpu.quota.is_some() != cpu.period.is_some())
            && self.version_of(Controller::Cpu) == Some(Version::V2)
        {
            (current.cpu_quota_us, current.cpu_period_us) = self.cpu_bandwidth()?;
        }
        Ok(current)
    }
}

fn write_one(directory: BorrowedFd<'_>, file: &str, value: &str) -> Result<(), Error> {
    file::write(directory, file, value).map_err(|source| refused(file, value, source))
}

fn refused(file: &str, value: &str, source: io::Error) -> Error {
    Error::Refused {
        file: file.to_owned(),
        value: value.chars().take(128).collect(),
        source,
    }
}
