//! Rules of limits, at create and at update.

use crate::config::Resources;
use crate::host::HostFacts;

use super::Invalid;

/// Less memory than this starts nothing.
const MEMORY_MIN_BYTES: i64 = 6 << 20;

/// When limits are checked: an update may set swap alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// A new container.
    Create,
    /// An existing one; what is zero stays as it is.
    Update,
}

/// Checks limits. What the machine cannot do is taken out and warned of.
pub fn check_resources(
    resources: &mut Resources,
    host: &HostFacts,
    at: At,
    warnings: &mut Vec<String>,
) -> Result<(), Invalid> {
    check_memory(resources, host, at, warnings)?;
    check_cpu(resources, host)?;
    check_cpuset(resources, host)?;
    check_block_io(resources, host, warnings)?;
    if resources.io_maximum_bandwidth != 0 || resources.io_maximum_iops != 0 {
        return Err(Invalid::rule(
            "invalid option: QoS settings are not supported on linux",
        ));
    }
    if resources.cpu_percent > 0 {
        warnings.push("linux does not support CPU percent. Percent discarded.".to_owned());
        resources.cpu_percent = 0;
    }
    let requests = resources.device_requests.iter().flatten();
    if let Some(request) = requests.into_iter().next() {
        let wanted: Vec<_> = request.capabilities.iter().flatten().collect();
        return Err(Invalid::rule(format!(
            "could not select device driver {:?} with capabilities: {wanted:?}",
            request.driver
        )));
    }
    Ok(())
}

fn check_memory(
    resources: &mut Resources,
    host: &HostFacts,
    at: At,
    warnings: &mut Vec<String>,
) -> Result<(), Invalid> {
    let (memory, swap) = (resources.memory, resources.memory_swap);
    if memory != 0 && memory < MEMORY_MIN_BYTES {
        return Err(Invalid::rule("Minimum memory limit allowed is 6MB"));
    }
    if memory > 0 && swap != -1 && !host.swap_limit {
        warnings.push("Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.".to_owned());
        resources.memory_swap = -1;
    }
    if memory > 0 && swap > 0 && swap < memory {
        return Err(Invalid::rule(
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ));
    }
    if memory == 0 && swap > 0 && at == At::Create {
        return Err(Invalid::rule(
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        ));
    }
    // −1 means "the host's", which is what none means.
    if resources.memory_swappiness == Some(-1) {
        resources.memory_swappiness = None;
    }
    if resources.memory_swappiness.is_some() && host.cgroup_v2 {
        warnings.push("Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.".to_owned());
        resources.memory_swappiness = None;
    }
    if let Some(swappiness) = resources.memory_swappiness
        && !(0..=100).contains(&swappiness)
    {
        return Err(Invalid::rule(format!(
            "Invalid value: {swappiness}, valid memory swappiness range is 0-100"
        )));
    }
    let reservation = resources.memory_reservation;
    if reservation != 0 && reservation < MEMORY_MIN_BYTES {
        return Err(Invalid::rule("Minimum memory reservation allowed is 6MB"));
    }
    if memory > 0 && memory < reservation {
        return Err(Invalid::rule(
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        ));
    }
    if resources.oom_kill_disable == Some(true) {
        if host.cgroup_v2 {
            warnings.push(
                "Your kernel does not support OomKillDisable. OomKillDisable discarded.".to_owned(),
            );
            resources.oom_kill_disable = None;
        } else if memory == 0 {
            warnings.push("OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.".to_owned());
        }
    }
    Ok(())
}

/// A hundredth of a CPU: a quota of 1 ms, the least that the kernel takes.
const LEAST_NANO_CPUS: i64 = 10_000_000;

fn check_cpu(resources: &Resources, host: &HostFacts) -> Result<(), Invalid> {
    if resources.nano_cpus > 0 && resources.cpu_period > 0 {
        return Err(Invalid::rule(
            "Conflicting options: Nano CPUs and CPU Period cannot both be set",
        ));
    }
    if resources.nano_cpus > 0 && resources.cpu_quota > 0 {
        return Err(Invalid::rule(
            "Conflicting options: Nano CPUs and CPU Quota cannot both be set",
        ));
    }
    let most = i64::from(host.cpus) * 1_000_000_000;
    let too_few = (1..LEAST_NANO_CPUS).contains(&resources.nano_cpus);
    if too_few || !(0..=most).contains(&resources.nano_cpus) {
        let cpus = host.cpus;
        return Err(Invalid::rule(format!(
            "range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
        )));
    }
    if resources.cpu_shares < 0 {
        return Err(Invalid::rule(format!(
            "invalid CPU shares ({}): value must be a positive integer",
            resources.cpu_shares
        )));
    }
    if resources.cpu_period != 0 && !(1_000..=1_000_000).contains(&resources.cpu_period) {
        return Err(Invalid::rule(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ));
    }
    if resources.cpu_quota > 0 && resources.cpu_quota < 1000 {
        return Err(Invalid::rule(
            "CPU cfs quota can not be less than 1ms (i.e. 1000)",
        ));
    }
    let (period, runtime) = (
        resources.cpu_realtime_period,
        resources.cpu_realtime_runtime,
    );
    if (period != 0 || runtime != 0) && !host.cpu_realtime {
        return Err(Invalid::rule(
            "kernel does not support CPU real-time scheduler",
        ));
    }
    if period != 0 && runtime > period {
        return Err(Invalid::rule(
            "cpu real-time runtime cannot be higher than cpu real-time period",
        ));
    }
    Ok(())
}

fn check_cpuset(resources: &Resources, host: &HostFacts) -> Result<(), Invalid> {
    let (cpus, mems) = (&resources.cpuset_cpus, &resources.cpuset_mems);
    let has = host.has_cpus(cpus).map_err(|reason| {
        Invalid::rule(format!("Invalid value {cpus} for cpuset cpus: {reason}"))
    })?;
    if !has {
        return Err(Invalid::rule(format!(
            "Requested CPUs are not available - requested {cpus}, available: {}",
            host.cpuset_cpus
        )));
    }
    let has = host.has_mems(mems).map_err(|reason| {
        Invalid::rule(format!("Invalid value {mems} for cpuset mems: {reason}"))
    })?;
    if !has {
        return Err(Invalid::rule(format!(
            "Requested memory nodes are not available - requested {mems}, available: {}",
            host.cpuset_mems
        )));
    }
    Ok(())
}

fn check_block_io(
    resources: &mut Resources,
    host: &HostFacts,
    warnings: &mut Vec<String>,
) -> Result<(), Invalid> {
    if resources.blkio_weight > 0 && !host.blkio_weight {
        warnings.push("Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.".to_owned());
        resources.blkio_weight = 0;
    }
    let weight = resources.blkio_weight;
    if weight != 0 && !(10..=1000).contains(&weight) {
        return Err(Invalid::rule("Range of blkio weight is from 10 to 1000"));
    }
    let weights = resources.blkio_weight_device.as_ref();
    if weights.is_some_and(|list| !list.is_empty()) && !host.blkio_weight_device {
        warnings.push("Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.".to_owned());
        resources.blkio_weight_device = Some(Vec::new());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::from_json;
    use serde_json::json;

    fn check(asked: serde_json::Value, sentence: &str) {
        let mut resources: Resources = from_json(asked.clone()).expect("resources");
        let mut warnings = Vec::new();
        let facts = crate::host::example();
        let outcome = check_resources(&mut resources, &facts, At::Create, &mut warnings);
        let text = match outcome {
            Ok(()) => format!("ok {}", warnings.join(" | ")),
            Err(error) => error.to_string(),
        };
        assert_eq!(text.trim_end(), sentence, "{asked}");
    }

    #[test]
    fn memory() {
        check(json!({}), "ok");
        check(
            json!({"Memory": 1000}),
            "Minimum memory limit allowed is 6MB",
        );
        check(json!({"Memory": -1}), "Minimum memory limit allowed is 6MB");
        check(json!({"Memory": 6291456}), "ok");
        check(
            json!({"MemorySwap": 100}),
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        );
        check(
            json!({"Memory": 10000000, "MemorySwap": 100}),
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        );
        check(
            json!({"MemoryReservation": 100}),
            "Minimum memory reservation allowed is 6MB",
        );
        check(
            json!({"Memory": 10000000, "MemoryReservation": 20000000}),
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        );
        check(
            json!({"MemorySwappiness": 200}),
            "Invalid value: 200, valid memory swappiness range is 0-100",
        );
        check(json!({"MemorySwappiness": -1}), "ok");
        check(
            json!({"OomKillDisable": true}),
            "ok OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.",
        );
    }

    #[test]
    fn cpu() {
        let range = "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available";
        check(json!({"NanoCpus": 100_000_000_000i64}), range);
        check(json!({"NanoCpus": -1}), range);
        check(json!({"NanoCpus": i64::MAX}), range);
        check(
            json!({"NanoCpus": 1_000_000_000, "CpuQuota": 1000}),
            "Conflicting options: Nano CPUs and CPU Quota cannot both be set",
        );
        check(
            json!({"CpuQuota": 500}),
            "CPU cfs quota can not be less than 1ms (i.e. 1000)",
        );
        check(
            json!({"CpuPeriod": 500}),
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        );
        check(
            json!({"CpuShares": -1}),
            "invalid CPU shares (-1): value must be a positive integer",
        );
        check(
            json!({"CpuRealtimeRuntime": 5}),
            "kernel does not support CPU real-time scheduler",
        );
        check(
            json!({"CpusetCpus": "99"}),
            "Requested CPUs are not available - requested 99, available: 0-1",
        );
        check(
            json!({"CpusetCpus": "foo"}),
            "Invalid value foo for cpuset cpus: invalid format: foo",
        );
        check(
            json!({"CpusetMems": "99"}),
            "Requested memory nodes are not available - requested 99, available: 0",
        );
    }

    #[test]
    fn block_io_and_devices() {
        check(
            json!({"BlkioWeight": 5}),
            "ok Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.",
        );
        check(
            json!({"DeviceRequests": [{"Count": -1, "Capabilities": [["gpu"]]}]}),
            r#"could not select device driver "" with capabilities: [["gpu"]]"#,
        );
    }
}
