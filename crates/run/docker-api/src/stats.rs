//! What a container uses, once or every second.

use std::time::Duration;

use carrack_cgroup::Stats;
use carrack_cgroup::stats::BlockEntry;
use carrack_containers::ContainerStats;
use carrack_docker::Container;
use carrack_serve::Response;
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::api::{Answer, Api, Call, json};
use crate::wire;

/// Between two measures of a stream, as Docker's daemon has it.
const INTERVAL: Duration = Duration::from_secs(1);

pub(crate) async fn stats(api: &Api, call: &Call) -> Answer {
    let container = api.engine.container(call.name())?;
    let v2 = api.engine.host().cgroup_v2;
    let memory = api.engine.host().memory_bytes;
    let describe = move |now: Option<&ContainerStats>, before: Option<&ContainerStats>, c: &Container| {
        describe(now, before, c, v2, memory)
    };
    if !call.query.flag_or("stream", true) {
        let first = api.engine.stats(&container).await?;
        // A rate needs two measures; `one-shot` says that one will do.
        let (now, before) = if call.query.flag("one-shot") || first.is_none() {
            (first, None)
        } else {
            tokio::time::sleep(INTERVAL).await;
            (api.engine.stats(&container).await?, first)
        };
        return json(StatusCode::OK, &describe(now.as_ref(), before.as_ref(), &container));
    }
    let (response, sender) = Response::stream(StatusCode::OK, "application/json");
    let engine = std::sync::Arc::clone(&api.engine);
    let shutdown = api.shutdown.clone();
    tokio::spawn(async move {
        let mut before = None;
        loop {
            // One that was removed ends the stream.
            let Ok(container) = engine.container(container.id().as_str()) else {
                break;
            };
            let Ok(now) = engine.stats(&container).await else {
                break;
            };
            let mut line = describe(now.as_ref(), before.as_ref(), &container).to_string();
            line.push('\n');
            if sender.send(line).await.is_err() {
                return;
            }
            before = now;
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = sender.closed() => return,
                () = shutdown.asked() => break,
            }
        }
        let _gone = sender.finish().await;
    });
    Ok(response)
}

fn describe(
    now: Option<&ContainerStats>,
    before: Option<&ContainerStats>,
    container: &Container,
    v2: bool,
    machine_memory: u64,
) -> Value {
    let head = json!({
        "name": format!("/{}", container.record.name),
        "id": container.id().as_str(),
    });
    let mut value = json!({
        "read": wire::time(now.map(|s| s.read_at)),
        "preread": wire::time(before.map(|s| s.read_at)),
        "pids_stats": {},
        "blkio_stats": {
            "io_service_bytes_recursive": null,
            "io_serviced_recursive": null,
            "io_queue_recursive": null,
            "io_service_time_recursive": null,
            "io_wait_time_recursive": null,
            "io_merged_recursive": null,
            "io_time_recursive": null,
            "sectors_recursive": null,
        },
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": cpu(now, v2),
        "precpu_stats": cpu(before, v2),
        "memory_stats": {},
    });
    value["name"] = head["name"].clone();
    value["id"] = head["id"].clone();
    let Some(now) = now else {
        return value;
    };
    let group = &now.cgroup;
    value["pids_stats"] = json!({
        "current": group.pids.current,
        "limit": group.pids.limit.unwrap_or(u64::MAX),
    });
    let entries = |list: &[BlockEntry]| {
        list.iter()
            .map(|e| json!({"major": e.major, "minor": e.minor, "op": e.operation.as_str(), "value": e.value}))
            .collect::<Vec<_>>()
    };
    value["blkio_stats"]["io_service_bytes_recursive"] = entries(&group.block_io.bytes).into();
    value["blkio_stats"]["io_serviced_recursive"] = entries(&group.block_io.operations).into();
    value["memory_stats"] = memory(group, machine_memory, v2);
    if !now.interfaces.is_empty() {
        let interfaces: Map<String, Value> = now
            .interfaces
            .iter()
            .map(|i| {
                let counters = json!({
                    "rx_bytes": i.rx_bytes, "rx_packets": i.rx_packets,
                    "rx_errors": i.rx_errors, "rx_dropped": i.rx_dropped,
                    "tx_bytes": i.tx_bytes, "tx_packets": i.tx_packets,
                    "tx_errors": i.tx_errors, "tx_dropped": i.tx_dropped,
                });
                (i.name.clone(), counters)
            })
            .collect();
        value["networks"] = interfaces.into();
    }
    value
}

fn cpu(stats: Option<&ContainerStats>, v2: bool) -> Value {
    let Some(stats) = stats else {
        return json!({
            "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
            "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
        });
    };
    let cpu = &stats.cgroup.cpu;
    let mut usage = json!({
        "total_usage": cpu.total_ns,
        "usage_in_kernelmode": cpu.system_ns,
        "usage_in_usermode": cpu.user_ns,
    });
    if !v2 {
        usage["percpu_usage"] = cpu.per_cpu_ns.clone().into();
    }
    json!({
        "cpu_usage": usage,
        "system_cpu_usage": stats.system_cpu_ns,
        "online_cpus": stats.online_cpus,
        "throttling_data": {
            "periods": cpu.throttling.periods,
            "throttled_periods": cpu.throttling.throttled_periods,
            "throttled_time": cpu.throttling.throttled_ns,
        },
    })
}

fn memory(stats: &Stats, machine_memory: u64, v2: bool) -> Value {
    let memory = &stats.memory;
    let limit = memory.limit.unwrap_or(u64::MAX).min(machine_memory);
    let mut value = json!({
        "usage": memory.usage,
        "stats": memory.detail,
        "limit": limit,
    });
    if !v2 {
        value["max_usage"] = memory.max_usage.into();
        value["failcnt"] = memory.failures.into();
    }
    value
}
