//! The task that follows one supervisor from the start to the end.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use carrack_runtime::plan::Failure;
use carrack_sandbox::{Link, LinkEvent, SandboxId};
use carrack_supervision::{Event, Request, Target};

use crate::entry::{Entry, Run};
use crate::record::RunRecord;
use carrack_telemetry::PathTrace;

use crate::{ContainerEventKind, Containers, Phase, answer, attach, error, hold, rejoin, start};

/// How long a supervisor may take to unmount the root after its release.
const UNMOUNT_BOUND: Duration = Duration::from_secs(60);
/// Exit code of a container whose supervisor was lost: SIGKILL's.
pub(crate) const LOST_CODE: i32 = 137;

/// Unix nanoseconds as a moment.
pub(crate) fn time(at_ns: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(at_ns)
}

/// Begins to follow a supervisor.
pub(crate) fn follow(containers: Containers, entry: Arc<Entry>, link: Link) {
    tokio::spawn(async move { until_end(&containers, &entry, link).await });
}

async fn until_end(containers: &Containers, entry: &Arc<Entry>, mut link: Link) {
    loop {
        match link.next().await {
            LinkEvent::Event(Event::Exited { code, at_ns }) => {
                ended(containers, entry, code, time(at_ns), String::new()).await;
                break;
            }
            LinkEvent::Event(event) => handle(containers, entry, event),
            LinkEvent::HandedBack(reply, socket) => attach::keep_waiting(entry, reply, socket),
            LinkEvent::Closed => {
                if let Some(again) = rejoin::rejoin(containers, entry).await {
                    link = again;
                    continue;
                }
                tracing::warn!(container = %entry.id, "supervisor lost");
                lost(containers, entry).await;
                break;
            }
        }
    }
    release(containers, entry, link).await;
}

fn handle(containers: &Containers, entry: &Entry, event: Event) {
    match event {
        Event::ExecStarted { exec, pid } => {
            exec_started(entry, &exec, Ok(pid));
            containers.announce(&entry.id, ContainerEventKind::ExecStarted(exec));
        }
        Event::ExecFailed { exec, failure } => exec_started(entry, &exec, Err(failure)),
        Event::ExecExited { exec, code } => containers.exec_exited(entry, exec, code),
        Event::Held { number, at_ns } => hold::held(entry, number, time(at_ns)),
        Event::Synced(number) => {
            if let Some(waiting) = entry.lock().syncs.remove(&number) {
                // Whoever asked may have given up.
                let _gone = waiting.send(());
            }
        }
        Event::Detached(Target::Container) => {
            containers.announce(&entry.id, ContainerEventKind::Detached);
        }
        Event::Detached(Target::Exec(exec)) => {
            containers.announce(&entry.id, ContainerEventKind::ExecDetached(exec));
        }
        Event::Refused { request, reason } => {
            tracing::warn!(container = %entry.id, request, reason, "supervisor refused");
        }
        _ => {}
    }
}

/// Notes how the start of an exec went and tells who waits for it.
fn exec_started(entry: &Entry, exec: &str, outcome: Result<u32, Failure>) {
    let mut inner = entry.lock();
    let Some(found) = inner.execs.get_mut(exec) else {
        return;
    };
    match &outcome {
        Ok(pid) => {
            found.state.running = true;
            found.state.pid = *pid;
        }
        Err(failure) => found.state.exit_code = Some(error::exit_code(failure)),
    }
    if let Some(tell) = found.starting.take() {
        // The client may be gone; the exec runs all the same.
        let _gone = tell.send(outcome);
    }
}

/// Puts the end on record and tells everybody, the waiting clients last.
async fn ended(
    containers: &Containers,
    entry: &Arc<Entry>,
    code: i32,
    at: SystemTime,
    error: String,
) {
    let mut trace = PathTrace::begin("end");
    let (oom_killed, requested, ran_ms, auto_remove) = {
        let mut inner = entry.lock();
        let oom_killed = inner.run.as_ref().is_some_and(was_oom_killed);
        let ran = inner
            .state
            .started_at
            .and_then(|started| at.duration_since(started).ok())
            .unwrap_or_default();
        inner.state.phase = Phase::Exited;
        inner.state.pid = 0;
        inner.state.exit_code = code;
        inner.state.oom_killed = oom_killed;
        inner.state.error = error;
        inner.state.finished_at = Some(at);
        inner.state.ports.clear();
        let execs: Vec<_> = inner.execs.values_mut().collect();
        for exec in execs {
            if exec.state.running {
                exec.state.running = false;
                exec.state.pid = 0;
                exec.state.exit_code.get_or_insert(LOST_CODE);
            }
            exec.starting = None;
        }
        let ran_ms = u64::try_from(ran.as_millis()).unwrap_or(u64::MAX);
        (
            oom_killed,
            inner.end_requested,
            ran_ms,
            inner.new.auto_remove,
        )
    };
    trace.mark("state");
    // One that goes away with its end needs no record of it: a restarted
    // daemon removes it when it finds it ended.
    if !auto_remove && let Err(error) = containers.record_now(entry).await {
        tracing::error!(container = %entry.id, %error, "record the end");
        entry.lock().end_unrecorded = true;
    }
    trace.mark("record");
    take_back_ports(containers, entry);
    trace.mark("ports");
    entry.progress.send_modify(|p| {
        p.active = false;
        p.ended += 1;
        p.code = code;
    });
    if oom_killed {
        containers.announce(&entry.id, ContainerEventKind::OutOfMemory);
    }
    containers.announce(
        &entry.id,
        ContainerEventKind::Exited {
            code,
            oom_killed,
            requested,
            ran_ms,
        },
    );
    trace.mark("announce");
    if let Some(sender) = entry.sender() {
        let _lost = sender.send(&Request::ExitRecorded, &[]);
    }
    trace.mark("send");
    trace.end(entry.id.as_str());
}

fn was_oom_killed(run: &Run) -> bool {
    run.oom_file
        .as_ref()
        .and_then(|file| carrack_cgroup::oom_kills(file).ok())
        .is_some_and(|now| now > run.oom_before)
}

fn take_back_ports(containers: &Containers, entry: &Entry) {
    let ports = match &mut entry.lock().run {
        Some(run) => std::mem::take(&mut run.ports),
        None => Vec::new(),
    };
    if let Some(networks) = &containers.0.config.networks
        && !ports.is_empty()
        && let Err(error) = networks.unpublish(&ports)
    {
        tracing::warn!(container = %entry.id, %error, "take back ports");
    }
}

/// The supervisor is gone, and the container with it: its init dies with its
/// parent, and what could not is killed in its control group.
async fn lost(containers: &Containers, entry: &Arc<Entry>) {
    let sandbox = entry.lock().run.as_ref().map(|run| run.sandbox.clone());
    if let Some(sandbox) = sandbox
        && let Ok(leaf) = containers.0.config.sandboxes.leaf(&sandbox)
    {
        let killed = tokio::task::spawn_blocking(move || leaf.kill_all()).await;
        if !matches!(killed, Ok(Ok(()))) {
            tracing::warn!(container = %entry.id, "kill what is left of a lost container");
        }
    }
    let reason =
        "the container's supervisor was killed; the container was ended with it".to_owned();
    ended(containers, entry, LOST_CODE, SystemTime::now(), reason).await;
}

/// Lets go of the supervisor and cleans up; removes the container if it goes
/// away with its end.
pub(crate) async fn release(containers: &Containers, entry: &Arc<Entry>, link: Link) {
    let mut trace = PathTrace::begin("release");
    let (kept, auto_remove) = {
        let mut inner = entry.lock();
        let kept = std::mem::take(&mut inner.kept_at_end);
        (
            kept && inner.new.auto_remove,
            !kept && inner.new.auto_remove,
        )
    };
    if auto_remove {
        containers.remove_ended(entry);
    }
    let run = entry.lock().run.take();
    if !std::mem::take(&mut entry.lock().end_unrecorded) {
        RunRecord::remove(&entry.directory);
    }
    if kept {
        // An older supervisor tells them of this end instead.
        let _lost_or_old = link.send(&Request::HandBack, &[]);
    }
    let sandbox = run.as_ref().map(|run| run.sandbox.clone());
    let unmounted = until_unmounted(containers, entry, link, sandbox);
    if tokio::time::timeout(UNMOUNT_BOUND, unmounted)
        .await
        .is_err()
    {
        tracing::warn!(container = %entry.id, "supervisor does not unmount the root");
    }
    trace.mark("unmounted");
    start::unmount_shared_memory(&entry.directory);
    entry.progress.send_modify(|p| p.mounted = false);
    if let Some(Run {
        sandbox,
        supervisor_pid,
        endpoint,
        netns,
        oom_file,
        sender,
        ..
    }) = run
    {
        drop((oom_file, sender));
        containers
            .0
            .config
            .sandboxes
            .bury(&sandbox, supervisor_pid, endpoint.map(|e| e.id), netns)
            .await;
    }
    trace.mark("bury");
    if auto_remove {
        containers.delete_files(entry).await;
    }
    trace.mark("files");
    trace.end(entry.id.as_str());
}

/// Asks a supervisor to let go, and waits until it has unmounted the root: one
/// whose connection breaks meanwhile is asked again.
async fn until_unmounted(
    containers: &Containers,
    entry: &Arc<Entry>,
    mut link: Link,
    sandbox: Option<SandboxId>,
) {
    let _lost = link.send(&Request::Release, &[]);
    loop {
        match link.next().await {
            LinkEvent::Event(Event::Released) => return,
            LinkEvent::Event(_) => {}
            LinkEvent::HandedBack(reply, socket) => attach::keep_waiting(entry, reply, socket),
            LinkEvent::Closed => {
                let Some(sandbox) = &sandbox else { return };
                match containers.0.config.sandboxes.reconnect(sandbox).await {
                    Some(again) => link = again.link,
                    // It is gone, and its mounts with it.
                    None => return,
                }
                let _lost = link.send(&Request::Release, &[]);
            }
        }
    }
}

/// Answers clients that still wait in the daemon for a container that is gone.
pub(crate) fn answer_early(entry: &Entry) {
    let (waits, code) = {
        let mut inner = entry.lock();
        inner.early_attaches.clear();
        (
            std::mem::take(&mut inner.early_waits),
            inner.state.exit_code,
        )
    };
    for (_, reply, socket) in waits {
        answer::answer(socket, &reply, code);
    }
}
