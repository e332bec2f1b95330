//! New limits and restart policies for containers that exist.

use std::sync::Arc;

use carrack_containers::Phase;

use crate::config::{HostConfig, Resources, RestartPolicy};
use crate::restart::Policy;
use crate::spec;
use crate::validate::{At, check_resources};
use crate::{Error, Result};

use super::{Engine, Machine};

/// What is to change; zero and absent leave things as they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UpdateRequest {
    /// Limits.
    pub resources: Resources,
    /// Restart policy.
    pub restart_policy: RestartPolicy,
}

impl Engine {
    /// Changes limits and restart policy, on disk and of the running
    /// container: what was left out of what was asked for.
    pub async fn update(
        self: &Arc<Self>,
        reference: &str,
        mut request: UpdateRequest,
    ) -> Result<Vec<String>> {
        let slot = self.slots.find(reference)?;
        let record = slot.record();
        let refused = |error| Error::Update {
            id: slot.id.clone(),
            source: Box::new(error),
        };
        let changes_policy = !request.restart_policy.name.is_empty();
        if changes_policy {
            let policy = Policy::parse(&request.restart_policy)
                .map_err(|error| Error::Invalid(error.into()))?;
            if record.host_config.auto_remove && policy != Policy::No {
                return Err(refused(Error::UpdateConflict(
                    "Restart policy cannot be updated because AutoRemove is enabled for the container",
                )));
            }
        }
        // Zero, −1 and below are all "unlimited" here.
        if let Some(limit) = &mut request.resources.pids_limit {
            *limit = (*limit).max(0);
        }
        let mut warnings = Vec::new();
        check_resources(
            &mut request.resources,
            &self.host,
            At::Update,
            &mut warnings,
        )?;
        let view = self.containers.get(&slot.id);
        let phase = view.map_or(Phase::Removing, |view| view.state.phase);
        if matches!(phase, Phase::Removing | Phase::Dead) {
            return Err(refused(Error::UpdateConflict(
                "container is marked for removal and cannot be \"update\"",
            )));
        }
        let mut updated = (*record).clone();
        merge(&mut updated.host_config, &request).map_err(refused)?;
        if changes_policy {
            updated.host_config.restart_policy = request.restart_policy.clone();
        }
        let limits = spec::resources(&updated.host_config.resources, &Machine)?;
        let data = serde_json::to_value(&updated).map_err(Error::Record)?;
        let recorded = limits.clone();
        let change = move |new: &mut carrack_containers::NewContainer| {
            new.owner_data = data;
            if let Some(own) = new
                .spec
                .linux
                .as_mut()
                .and_then(|linux| linux.resources.as_mut())
            {
                let devices = std::mem::take(&mut own.devices);
                *own = recorded;
                own.devices = devices;
            }
        };
        self.containers.update(&slot.id, limits, change).await?;
        let record = slot.change(|record| record.host_config = updated.host_config);
        self.container_event(&slot.id, &record, "update", &[]);
        Ok(warnings)
    }
}

/// Takes over what is set.
fn merge(host: &mut HostConfig, request: &UpdateRequest) -> Result<()> {
    let (own, asked) = (&mut host.resources, &request.resources);
    if asked.memory > 0
        && asked.memory_swap == 0
        && own.memory_swap > 0
        && asked.memory > own.memory_swap
    {
        return Err(Error::UpdateConflict(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        ));
    }
    let conflicts = [
        (
            asked.nano_cpus > 0 && own.cpu_period > 0,
            "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set",
        ),
        (
            asked.nano_cpus > 0 && own.cpu_quota > 0,
            "Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set",
        ),
        (
            asked.cpu_period > 0 && own.nano_cpus > 0,
            "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set",
        ),
        (
            asked.cpu_quota > 0 && own.nano_cpus > 0,
            "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set",
        ),
    ];
    if let Some((_, sentence)) = conflicts.iter().find(|(excluded, _)| *excluded) {
        return Err(Error::UpdateConflict(sentence));
    }
    let set = |own: &mut i64, asked: i64| {
        if asked != 0 {
            *own = asked;
        }
    };
    set(&mut own.memory, asked.memory);
    set(&mut own.memory_swap, asked.memory_swap);
    set(&mut own.memory_reservation, asked.memory_reservation);
    set(&mut own.cpu_shares, asked.cpu_shares);
    set(&mut own.nano_cpus, asked.nano_cpus);
    set(&mut own.cpu_period, asked.cpu_period);
    set(&mut own.cpu_quota, asked.cpu_quota);
    set(&mut own.cpu_realtime_period, asked.cpu_realtime_period);
    set(&mut own.cpu_realtime_runtime, asked.cpu_realtime_runtime);
    if asked.blkio_weight != 0 {
        own.blkio_weight = asked.blkio_weight;
    }
    if !asked.cpuset_cpus.is_empty() {
        own.cpuset_cpus.clone_from(&asked.cpuset_cpus);
    }
    if !asked.cpuset_mems.is_empty() {
        own.cpuset_mems.clone_from(&asked.cpuset_mems);
    }
    if let Some(limit) = asked.pids_limit {
        own.pids_limit = Some(limit);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::from_json;
    use serde_json::{Value, json};

    fn check(own: Value, asked: Value, expected: &str) {
        let mut host: HostConfig = from_json(own.clone()).expect("a host config");
        let request = UpdateRequest {
            resources: from_json(asked.clone()).expect("resources"),
            ..UpdateRequest::default()
        };
        let got = match merge(&mut host, &request) {
            Ok(()) => "ok".to_owned(),
            Err(error) => {
                assert_eq!(error.kind(), carrack_oci::ErrorKind::Conflict);
                error.to_string()
            }
        };
        assert_eq!(got, expected, "{own} {asked}");
    }

    #[test]
    fn what_excludes_each_other() {
        let cpus = json!({"NanoCpus": 1_000_000_000});
        check(
            json!({"CpuPeriod": 5000}),
            cpus.clone(),
            "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set",
        );
        check(
            json!({"CpuQuota": 5000}),
            cpus.clone(),
            "Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set",
        );
        check(
            cpus.clone(),
            json!({"CpuPeriod": 5000}),
            "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set",
        );
        check(
            cpus.clone(),
            json!({"CpuQuota": 5000}),
            "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set",
        );
        check(
            json!({"Memory": 10_000_000, "MemorySwap": 20_000_000}),
            json!({"Memory": 30_000_000}),
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        );
        check(cpus, json!({"NanoCpus": 5, "PidsLimit": -1}), "ok");
    }
}
