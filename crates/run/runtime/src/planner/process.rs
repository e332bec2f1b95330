//! `process` to a process plan.

use carrack_oci::runtime::{Capabilities, IoPriority, Personality, Process, Scheduler};

use super::{Context, PlanError};
use crate::plan::{CapabilityPlan, ProcessPlan, SchedulingPlan, TerminalSize, UserPlan};
use crate::{capability, limit};

pub(super) fn plan(process: &Process, context: &Context) -> Result<ProcessPlan, PlanError> {
    if process.args.is_empty() || process.args[0].is_empty() {
        return Err(PlanError::invalid("process.args", "no command specified"));
    }
    if !process.cwd.starts_with('/') {
        return Err(PlanError::invalid("process.cwd", "is not absolute"));
    }
    for text in process
        .args
        .iter()
        .chain(&process.env)
        .chain([&process.cwd])
    {
        if text.contains('\0') {
            return Err(PlanError::invalid("process", "a string holds a NUL byte"));
        }
    }
    if process
        .selinux_label
        .as_deref()
        .is_some_and(|l| !l.is_empty())
    {
        return Err(PlanError::unsupported(
            "process.selinuxLabel",
            "SELinux is not supported",
        ));
    }
    if process
        .apparmor_profile
        .as_deref()
        .is_some_and(|p| !matches!(p, "" | "unconfined"))
    {
        return Err(PlanError::unsupported(
            "process.apparmorProfile",
            "AppArmor is not supported",
        ));
    }
    if process.exec_cpu_affinity.is_some() {
        return Err(PlanError::unsupported(
            "process.execCPUAffinity",
            "CPU affinity of an exec is not supported",
        ));
    }
    let own = &process.user;
    if own
        .additional_gids
        .iter()
        .chain([&own.uid, &own.gid])
        .any(|id| *id == u32::MAX)
    {
        return Err(PlanError::invalid(
            "process.user",
            format!("{} is nobody's id", u32::MAX),
        ));
    }
    let user = context.user.clone().unwrap_or_else(|| UserPlan::Ids {
        uid: process.user.uid,
        gid: process.user.gid,
        groups: process.user.additional_gids.clone(),
    });
    Ok(ProcessPlan {
        arguments: process.args.clone(),
        environment: process.env.clone(),
        directory: process.cwd.clone(),
        make_directory: false,
        user,
        umask: process.user.umask,
        capabilities: capabilities(
            process.capabilities.as_ref(),
            context.available_capabilities,
        )?,
        no_new_privileges: process.no_new_privileges,
        seccomp: context.seccomp.clone(),
        limits: limits(process)?,
        oom_score_adj: oom_score(process.oom_score_adj)?,
        null_stdin: false,
        terminal: process.terminal.then(|| {
            process
                .console_size
                .map_or_else(TerminalSize::default, |size| TerminalSize {
                    rows: size.height,
                    columns: size.width,
                })
        }),
        personality: None,
        io_priority: process.io_priority.as_ref().map(io_priority).transpose()?,
        scheduling: process.scheduler.as_ref().map(scheduling).transpose()?,
        preserved_descriptors: 0,
    })
}

fn oom_score(value: Option<i32>) -> Result<Option<i32>, PlanError> {
    match value {
        Some(value) if !(-1000..=1000).contains(&value) => Err(PlanError::invalid(
            "process.oomScoreAdj",
            format!("{value} is not between -1000 and 1000"),
        )),
        value => Ok(value),
    }
}

fn capabilities(
    wanted: Option<&Capabilities>,
    available: u64,
) -> Result<CapabilityPlan, PlanError> {
    let Some(wanted) = wanted else {
        return Ok(CapabilityPlan::default());
    };
    let bits = |names: &[String]| -> Result<u64, PlanError> {
        names.iter().try_fold(0, |bits, name| {
            let number = capability::number(name).ok_or_else(|| {
                PlanError::invalid(
                    "process.capabilities",
                    format!("unknown capability {name:?}"),
                )
            })?;
            Ok(bits | ((1 << number) & available))
        })
    };
    Ok(CapabilityPlan {
        bounding: bits(&wanted.bounding)?,
        effective: bits(&wanted.effective)?,
        permitted: bits(&wanted.permitted)?,
        inheritable: bits(&wanted.inheritable)?,
        ambient: bits(&wanted.ambient)?,
    })
}

fn limits(process: &Process) -> Result<Vec<(u32, u64, u64)>, PlanError> {
    let mut seen = 0_u32;
    process
        .rlimits
        .iter()
        .map(|limit| {
            let number = limit::number(&limit.kind).ok_or_else(|| {
                PlanError::invalid("process.rlimits", format!("unknown limit {:?}", limit.kind))
            })?;
            if seen & (1 << number) != 0 {
                return Err(PlanError::invalid(
                    "process.rlimits",
                    format!("{} is given twice", limit.kind),
                ));
            }
            seen |= 1 << number;
            if limit.soft > limit.hard {
                return Err(PlanError::invalid(
                    "process.rlimits",
                    format!(
                        "{}: soft limit {} is above hard limit {}",
                        limit.kind, limit.soft, limit.hard
                    ),
                ));
            }
            Ok((number, limit.soft, limit.hard))
        })
        .collect()
}

fn io_priority(wanted: &IoPriority) -> Result<(u8, u8), PlanError> {
    let class = match wanted.class.as_str() {
        "IOPRIO_CLASS_RT" => 1,
        "IOPRIO_CLASS_BE" => 2,
        "IOPRIO_CLASS_IDLE" => 3,
        other => {
            return Err(PlanError::invalid(
                "process.ioPriority",
                format!("unknown class {other:?}"),
            ));
        }
    };
    match u8::try_from(wanted.priority) {
        Ok(priority @ 0..=7) => Ok((class, priority)),
        _ => Err(PlanError::invalid(
            "process.ioPriority",
            "priority is not between 0 and 7",
        )),
    }
}

fn scheduling(wanted: &Scheduler) -> Result<SchedulingPlan, PlanError> {
    let policy = match wanted.policy.as_str() {
        "SCHED_OTHER" => 0,
        "SCHED_FIFO" => 1,
        "SCHED_RR" => 2,
        "SCHED_BATCH" => 3,
        "SCHED_ISO" => 4,
        "SCHED_IDLE" => 5,
        "SCHED_DEADLINE" => 6,
        other => {
            return Err(PlanError::invalid(
                "process.scheduler",
                format!("unknown policy {other:?}"),
            ));
        }
    };
    let flags = wanted.flags.iter().try_fold(0, |bits, flag| {
        let bit = match flag.as_str() {
            "SCHED_FLAG_RESET_ON_FORK" => 0x01,
            "SCHED_FLAG_RECLAIM" => 0x02,
            "SCHED_FLAG_DL_OVERRUN" => 0x04,
            "SCHED_FLAG_KEEP_POLICY" => 0x08,
            "SCHED_FLAG_KEEP_PARAMS" => 0x10,
            "SCHED_FLAG_UTIL_CLAMP_MIN" => 0x20,
            "SCHED_FLAG_UTIL_CLAMP_MAX" => 0x40,
            other => {
                return Err(PlanError::invalid(
                    "process.scheduler",
                    format!("unknown flag {other:?}"),
                ));
            }
        };
        Ok(bits | bit)
    })?;
    Ok(SchedulingPlan {
        policy,
        flags,
        nice: wanted.nice,
        priority: u32::try_from(wanted.priority)
            .map_err(|_| PlanError::invalid("process.scheduler", "priority is negative"))?,
        runtime_ns: wanted.runtime,
        deadline_ns: wanted.deadline,
        period_ns: wanted.period,
    })
}

/// `personality(2)` of `linux.personality`.
pub(super) fn personality(wanted: Option<&Personality>) -> Result<Option<u64>, PlanError> {
    const PER_LINUX32: u64 = 8;
    match wanted.map(|p| p.domain.as_str()) {
        None => Ok(None),
        Some("LINUX") => Ok(Some(0)),
        Some("LINUX32") => Ok(Some(PER_LINUX32)),
        Some(other) => Err(PlanError::invalid(
            "linux.personality",
            format!("unknown domain {other:?}"),
        )),
    }
}
