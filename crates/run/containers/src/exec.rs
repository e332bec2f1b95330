//! Programs added to a running container.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use carrack_runtime::plan::CgroupNamespace;
use carrack_runtime::planner::{Context, UserNamespace, process_plan};
use carrack_sandbox::Sender;
use carrack_supervision::{Request, Target};
use tokio::sync::oneshot;

use crate::attach::{attach_message, send};
use crate::entry::{Entry, Exec, Inner};
use crate::run::LOST_CODE;
use crate::{
    AttachRequest, ContainerEventKind, ContainerId, Containers, Error, ExecRequest, ExecState,
    NewContainer, Phase, Result, SeccompRequest, spec,
};

/// Execs of one container on record; beyond, the oldest that ended go.
const MAX_EXECS: usize = 1000;

/// How long a supervisor may take to answer: microseconds, in health.
const SETTLE_BOUND: Duration = Duration::from_secs(1);

impl Containers {
    /// Records an exec; it is not started. It lives as long as its container
    /// and the daemon.
    pub async fn exec_create(&self, id: &ContainerId, request: ExecRequest) -> Result<String> {
        let entry = self.entry(id)?;
        let exec = carrack_sys::random::hex_id();
        let forgotten = {
            let mut inner = entry.lock();
            match inner.state.phase {
                Phase::Running => {}
                Phase::Paused => return Err(Error::Paused(id.clone())),
                _ => return Err(Error::NotRunning(id.clone())),
            }
            let forgotten = if inner.execs.len() >= MAX_EXECS {
                let oldest = inner
                    .execs
                    .iter()
                    .filter(|(_, e)| !e.state.running && e.starting.is_none())
                    .min_by_key(|(_, e)| e.serial)
                    .map(|(exec, _)| exec.clone())
                    .ok_or_else(|| Error::TooMany {
                        id: id.clone(),
                        what: "execs",
                        bound: MAX_EXECS,
                    })?;
                inner.execs.remove(&oldest);
                Some(oldest)
            } else {
                None
            };
            let serial = next_serial(&inner);
            inner.execs.insert(
                exec.clone(),
                Exec {
                    request: Arc::new(request),
                    state: ExecState::default(),
                    starting: None,
                    serial,
                },
            );
            forgotten
        };
        let mut execs = self.0.execs.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(forgotten) = forgotten {
            execs.remove(&forgotten);
        }
        execs.insert(exec.clone(), id.clone());
        Ok(exec)
    }

    /// Gives an exec that was not started yet another first size of its
    /// terminal.
    pub fn exec_set_console_size(
        &self,
        exec: &str,
        size: carrack_oci::runtime::ConsoleSize,
    ) -> Result<()> {
        let entry = self.entry(&self.exec_container(exec)?)?;
        if let Some(found) = entry.lock().execs.get_mut(exec) {
            Arc::make_mut(&mut found.request).process.console_size = Some(size);
        }
        Ok(())
    }

    /// An exec as it is now.
    pub fn exec_get(&self, exec: &str) -> Option<(ContainerId, Arc<ExecRequest>, ExecState)> {
        let id = self.exec_container(exec).ok()?;
        let entry = self.entry(&id).ok()?;
        let inner = entry.lock();
        let found = inner.execs.get(exec)?;
        Some((id, Arc::clone(&found.request), found.state.clone()))
    }

    /// Waits until what the supervisor has told of an exec is known here.
    ///
    /// A client that saw the end of an exec's stream asks for its code at
    /// once; the news of the end was sent before, but may not be read yet.
    pub async fn exec_settle(&self, exec: &str) {
        let Ok(id) = self.exec_container(exec) else {
            return;
        };
        let Ok(entry) = self.entry(&id) else {
            return;
        };
        let asked = {
            let mut inner = entry.lock();
            let pending = inner
                .execs
                .get(exec)
                .is_some_and(|e| e.state.started && e.state.exit_code.is_none());
            match &inner.run {
                Some(run) if pending => {
                    let sender = Arc::clone(&run.sender);
                    let (tell, told) = oneshot::channel();
                    let number = inner.next_sync;
                    inner.next_sync += 1;
                    inner.syncs.insert(number, tell);
                    Some((sender, number, told))
                }
                _ => None,
            }
        };
        if let Some((sender, number, told)) = asked {
            if sender.send(&Request::Sync(number), &[]).is_ok() {
                // A supervisor of an older protocol does not answer.
                let _bounded = tokio::time::timeout(SETTLE_BOUND, told).await;
            }
            entry.lock().syncs.remove(&number);
        }
    }

    fn exec_container(&self, exec: &str) -> Result<ContainerId> {
        self.0
            .execs
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(exec)
            .cloned()
            .ok_or_else(|| Error::ExecNotFound(exec.to_owned()))
    }

    /// Starts an exec; returns when its program runs, or could not. With a
    /// socket, whose response head was sent, the streams go there: the reason
    /// of a failure too.
    pub async fn exec_start(
        &self,
        exec: &str,
        attach: Option<(AttachRequest, OwnedFd)>,
    ) -> Result<()> {
        let id = self.exec_container(exec)?;
        let entry = self.entry(&id)?;
        let (request, new, sender, started) = {
            let mut inner = entry.lock();
            let sender = match (&inner.run, inner.state.phase) {
                (Some(run), Phase::Running) => Arc::clone(&run.sender),
                (_, Phase::Paused) => return Err(Error::Paused(id.clone())),
                _ => return Err(Error::NotRunning(id.clone())),
            };
            let new = Arc::clone(&inner.new);
            let found = inner
                .execs
                .get_mut(exec)
                .ok_or_else(|| Error::ExecNotFound(exec.to_owned()))?;
            if found.state.started {
                return Err(Error::ExecStarted(exec.to_owned()));
            }
            found.state.started = true;
            let (tell, started) = oneshot::channel();
            found.starting = Some(tell);
            (Arc::clone(&found.request), new, sender, started)
        };
        let sent = self.send_exec(exec, &entry, &new, &request, &sender, attach);
        if let Err(error) = sent {
            if let Some(found) = entry.lock().execs.get_mut(exec) {
                found.starting = None;
                found.state.exit_code = Some(error.exit_code());
            }
            return Err(error);
        }
        match started.await {
            Ok(Ok(_pid)) => Ok(()),
            Ok(Err(failure)) => Err(Error::Exec(failure)),
            Err(_) => Err(Error::SupervisorLost(id)),
        }
    }

    /// Plans an exec and asks the supervisor to start it.
    fn send_exec(
        &self,
        exec: &str,
        entry: &Entry,
        new: &NewContainer,
        request: &ExecRequest,
        sender: &Sender,
        attach: Option<(AttachRequest, OwnedFd)>,
    ) -> Result<()> {
        let terminal = request.process.terminal;
        let mut process = request.process.clone();
        if process.capabilities.is_none() {
            process.capabilities = new
                .spec
                .process
                .as_ref()
                .and_then(|p| p.capabilities.clone());
        }
        let filter = if request.privileged {
            SeccompRequest::Unconfined
        } else {
            new.seccomp.clone()
        };
        let context = Context {
            available_capabilities: self.0.available_capabilities,
            seccomp: spec::seccomp(&self.0, new, &filter)?,
            user: Some(spec::user(&request.user)),
            cgroup: carrack_runtime::planner::CgroupView::V2(String::new()),
            cgroup_namespace: CgroupNamespace::Keep,
            first_process: carrack_runtime::plan::FirstProcess::Program,
            user_namespace: UserNamespace::Shared,
        };
        let mut plan = process_plan(&process, &context)?;
        plan.null_stdin = !request.open_stdin && !terminal;
        plan.limits = match &new.spec.process {
            Some(own) => {
                let mut own = own.clone();
                spec::limit_open_files(&mut own, self.0.config.open_files);
                process_plan(&own, &context)?.limits
            }
            None => Vec::new(),
        };
        let (attach, socket) = match attach {
            Some((attach, socket)) => (Some(attach), Some(socket)),
            None => (None, None),
        };
        let target = Target::Exec(exec.to_owned());
        let message = Request::Exec(Box::new(carrack_supervision::Exec {
            exec: exec.to_owned(),
            open_stdin: request.open_stdin,
            attach: attach.map(|attach| attach_message(target, attach, !terminal)),
            process: plan,
        }));
        let descriptors: Vec<_> = socket.iter().map(AsFd::as_fd).collect();
        sender
            .send(&message, &descriptors)
            .map_err(|source| Error::Link {
                id: entry.id.clone(),
                source,
            })
    }

    /// Changes the size of an exec's terminal.
    pub async fn exec_resize(&self, exec: &str, rows: u16, columns: u16) -> Result<()> {
        let id = self.exec_container(exec)?;
        let entry = self.entry(&id)?;
        let sender = {
            let inner = entry.lock();
            let running = inner.execs.get(exec).is_some_and(|e| e.state.running);
            match &inner.run {
                Some(run) if running => Arc::clone(&run.sender),
                _ => return Err(Error::ExecNotRunning(exec.to_owned())),
            }
        };
        let target = Target::Exec(exec.to_owned());
        send(
            &entry,
            &sender,
            &Request::Resize {
                target,
                rows,
                columns,
            },
        )
    }

    /// Notes the end of an exec. Supervisors tell the latest again on every
    /// connection: what is known already is no news, and one that is not known
    /// was an earlier daemon's, whose client may still ask for its code.
    pub(crate) fn exec_exited(&self, entry: &Entry, id: String, code: i32) {
        let mut inner = entry.lock();
        let serial = next_serial(&inner) + 1;
        if let Some(found) = inner.execs.get_mut(&id) {
            let is_news = found.state.running || found.state.exit_code != Some(code);
            found.state.running = false;
            found.state.pid = 0;
            found.state.exit_code = Some(code);
            drop(inner);
            if is_news {
                let kind = ContainerEventKind::ExecExited { exec: id, code };
                self.announce(&entry.id, kind);
            }
            return;
        }
        let exec = Exec {
            request: Arc::new(ExecRequest::default()),
            state: ExecState {
                started: true,
                exit_code: Some(code),
                ..ExecState::default()
            },
            starting: None,
            serial,
        };
        inner.execs.insert(id.clone(), exec);
        drop(inner);
        let mut execs = self.0.execs.write().unwrap_or_else(PoisonError::into_inner);
        execs.insert(id, entry.id.clone());
    }

    /// Brings what is known of a container's execs together with those that
    /// its supervisor says run, after a time without a connection.
    ///
    /// One that runs and is not known was started through an earlier daemon:
    /// its client will ask for its code. One that is known and does not run
    /// ended unheard.
    pub(crate) fn settle_execs(&self, entry: &Entry, running: &[(String, u32)]) {
        let mut inner = entry.lock();
        for (id, exec) in &mut inner.execs {
            if exec.state.running && !running.iter().any(|(other, _)| other == id) {
                exec.state.running = false;
                exec.state.pid = 0;
                exec.state.exit_code.get_or_insert(LOST_CODE);
            }
        }
        let mut serial = next_serial(&inner);
        for (id, pid) in running {
            let found = inner.execs.entry(id.clone()).or_insert_with(|| {
                serial += 1;
                Exec {
                    request: Arc::new(ExecRequest::default()),
                    state: ExecState::default(),
                    starting: None,
                    serial,
                }
            });
            found.state.started = true;
            found.state.running = true;
            found.state.pid = *pid;
            if let Some(tell) = found.starting.take() {
                // The client may be gone; the exec runs all the same.
                let _gone = tell.send(Ok(*pid));
            }
        }
        for exec in inner.execs.values_mut() {
            // Whether these start is told later or never: nobody waits for it.
            exec.starting = None;
        }
        drop(inner);
        let mut execs = self.0.execs.write().unwrap_or_else(PoisonError::into_inner);
        for (id, _) in running {
            execs.insert(id.clone(), entry.id.clone());
        }
    }

    /// Forgets the execs of a container.
    pub(crate) fn forget_execs(&self, execs: impl IntoIterator<Item = String>) {
        let mut known = self.0.execs.write().unwrap_or_else(PoisonError::into_inner);
        for exec in execs {
            known.remove(&exec);
        }
    }
}

fn next_serial(inner: &Inner) -> u64 {
    let serials = inner.execs.values().map(|exec| exec.serial + 1);
    serials.max().unwrap_or(0)
}
