//! A sample of `GET /containers/{id}/stats`.

use std::collections::BTreeMap;

use carrack_containers::ContainerStats;
use carrack_docker::Container;
use serde_json::{Map, Value, json};

use super::{time, with};

/// Encodes a sample beside the one before it, so that a client can say how
/// much CPU was used between the two. Without a sample (the container does
/// not run) everything is zero, as Docker has it.
pub(crate) fn sample(
    container: &Container,
    now: Option<&ContainerStats>,
    before: Option<&ContainerStats>,
    memory_bytes: u64,
) -> Value {
    let mut value = json!({
        "read": time::optional(now.map(|now| now.read_at)),
        "preread": time::optional(before.map(|before| before.read_at)),
        "pids_stats": pids(now),
        "blkio_stats": block_io(now),
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": cpu(now),
        "precpu_stats": cpu(before),
        "memory_stats": memory(now, memory_bytes),
        "name": format!("/{}", container.record.name),
        "id": container.id().as_str(),
    });
    if let Some(now) = now.filter(|now| !now.interfaces.is_empty()) {
        with(&mut value, "networks", networks(now));
    }
    value
}

fn pids(now: Option<&ContainerStats>) -> Value {
    let Some(now) = now else {
        return json!({});
    };
    let pids = &now.cgroup.pids;
    let mut value = json!({"current": pids.current});
    if let Some(limit) = pids.limit {
        with(&mut value, "limit", limit);
    }
    value
}

fn cpu(sample: Option<&ContainerStats>) -> Value {
    let Some(sample) = sample else {
        return json!({
            "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
            "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
        });
    };
    let cpu = &sample.cgroup.cpu;
    let mut usage = json!({"total_usage": cpu.total_ns});
    if !cpu.per_cpu_ns.is_empty() {
        with(&mut usage, "percpu_usage", json!(cpu.per_cpu_ns));
    }
    with(&mut usage, "usage_in_kernelmode", cpu.system_ns);
    with(&mut usage, "usage_in_usermode", cpu.user_ns);
    json!({
        "cpu_usage": usage,
        "system_cpu_usage": sample.system_cpu_ns,
        "online_cpus": sample.online_cpus,
        "throttling_data": {
            "periods": cpu.throttling.periods,
            "throttled_periods": cpu.throttling.throttled_periods,
            "throttled_time": cpu.throttling.throttled_ns,
        },
    })
}

fn memory(now: Option<&ContainerStats>, memory_bytes: u64) -> Value {
    let Some(now) = now else {
        return json!({});
    };
    let memory = &now.cgroup.memory;
    let mut value = json!({"usage": memory.usage});
    if memory.max_usage > 0 {
        with(&mut value, "max_usage", memory.max_usage);
    }
    with(&mut value, "stats", json!(memory.detail));
    if memory.failures > 0 {
        with(&mut value, "failcnt", memory.failures);
    }
    let limit = memory
        .limit
        .map_or(memory_bytes, |limit| limit.min(memory_bytes));
    with(&mut value, "limit", limit);
    value
}

fn block_io(now: Option<&ContainerStats>) -> Value {
    let entries = |list: Option<&[carrack_cgroup::stats::BlockEntry]>| -> Value {
        list.map_or(Value::Null, |list| {
            let encoded = list.iter().map(|entry| {
                json!({
                    "major": entry.major,
                    "minor": entry.minor,
                    "op": entry.operation.as_str(),
                    "value": entry.value,
                })
            });
            Value::Array(encoded.collect())
        })
    };
    let block_io = now.map(|now| &now.cgroup.block_io);
    json!({
        "io_service_bytes_recursive": entries(block_io.map(|io| io.bytes.as_slice())),
        "io_serviced_recursive": entries(block_io.map(|io| io.operations.as_slice())),
        "io_queue_recursive": null,
        "io_service_time_recursive": null,
        "io_wait_time_recursive": null,
        "io_merged_recursive": null,
        "io_time_recursive": null,
        "sectors_recursive": null,
    })
}

fn networks(now: &ContainerStats) -> Map<String, Value> {
    let by_name: BTreeMap<_, _> = now
        .interfaces
        .iter()
        .map(|each| (&each.name, each))
        .collect();
    let encoded = by_name.into_iter().map(|(name, each)| {
        let value = json!({
            "rx_bytes": each.rx_bytes,
            "rx_packets": each.rx_packets,
            "rx_errors": each.rx_errors,
            "rx_dropped": each.rx_dropped,
            "tx_bytes": each.tx_bytes,
            "tx_packets": each.tx_packets,
            "tx_errors": each.tx_errors,
            "tx_dropped": each.tx_dropped,
        });
        (name.clone(), value)
    });
    encoded.collect()
}
