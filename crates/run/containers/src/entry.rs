//! A container in memory.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use carrack_network::{Endpoint, PortBinding};
use carrack_runtime::plan::Failure;
use carrack_sandbox::{SandboxId, Sender};
use tokio::sync::{oneshot, watch};

use rustix::fs::OFlags;

use crate::{
    AttachRequest, ContainerId, Error, ExecRequest, ExecState, NewContainer, Phase, Result, State,
    WaitCondition, WaitReply, first_process,
};

/// One container. Its mutex is held for moments and never across an await;
/// `operation` is what makes start, stop, update and remove take turns.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: ContainerId,
    pub(crate) directory: PathBuf,
    pub(crate) created_at: SystemTime,
    pub(crate) operation: Arc<tokio::sync::Mutex<()>>,
    /// Clients whose heads are on their way and who are not registered yet.
    pub(crate) expected: watch::Sender<usize>,
    /// Counts what waiters look at: see [`Progress`].
    pub(crate) progress: watch::Sender<Progress>,
    inner: Mutex<Inner>,
}

/// What waiters look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Whether a process runs, frozen or not.
    pub(crate) active: bool,
    /// Runs that ended.
    pub(crate) ended: u64,
    /// Exit code of the last one.
    pub(crate) code: i32,
    /// Whether it was removed.
    pub(crate) removed: bool,
    /// Whether the last run's root is still mounted.
    pub(crate) mounted: bool,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) new: Arc<NewContainer>,
    pub(crate) state: State,
    pub(crate) run: Option<Run>,
    /// The last end could not be recorded, so `run.json` stays.
    pub(crate) end_unrecorded: bool,
    /// Somebody asked for the end that comes.
    pub(crate) end_requested: bool,
    /// Signals meant to end it, over all runs.
    pub(crate) deadly_signals: u64,
    /// The end that comes is a restart's: it stays although it would go away.
    pub(crate) kept_at_end: bool,
    /// Clients that came before the start.
    pub(crate) early_attaches: Vec<(AttachRequest, OwnedFd)>,
    pub(crate) early_waits: Vec<(WaitCondition, WaitReply, OwnedFd)>,
    pub(crate) execs: HashMap<String, Exec>,
    /// Who waits until the supervisor's events so far are known, by number.
    pub(crate) syncs: HashMap<u64, oneshot::Sender<()>>,
    pub(crate) next_sync: u64,
    /// Who waits until a client is attached and held back, by number.
    pub(crate) holds: HashMap<u64, oneshot::Sender<SystemTime>>,
    pub(crate) next_hold: u64,
}

/// A run under way.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) sandbox: SandboxId,
    pub(crate) supervisor_pid: i32,
    pub(crate) sender: Arc<Sender>,
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) ports: Vec<PortBinding>,
    pub(crate) netns: Option<OwnedFd>,
    pub(crate) oom_file: Option<std::fs::File>,
    pub(crate) oom_before: u64,
}

/// An exec of a container.
#[derive(Debug)]
pub(crate) struct Exec {
    pub(crate) request: Arc<ExecRequest>,
    pub(crate) state: ExecState,
    /// Told how the start went.
    pub(crate) starting: Option<oneshot::Sender<std::result::Result<u32, Failure>>>,
    /// When it was made, to drop the oldest ones first.
    pub(crate) serial: u64,
}

impl Entry {
    pub(crate) fn new(
        new: NewContainer,
        state: State,
        created_at: SystemTime,
        directory: PathBuf,
    ) -> Arc<Self> {
        let progress = Progress {
            active: matches!(state.phase, Phase::Running | Phase::Paused),
            ended: u64::from(state.finished_at.is_some()),
            code: state.exit_code,
            ..Progress::default()
        };
        Arc::new(Self {
            id: new.id.clone(),
            directory,
            created_at,
            operation: Arc::default(),
            expected: watch::Sender::new(0),
            progress: watch::Sender::new(progress),
            inner: Mutex::new(Inner {
                new: Arc::new(new),
                state,
                run: None,
                end_unrecorded: false,
                end_requested: false,
                deadly_signals: 0,
                kept_at_end: false,
                early_attaches: Vec::new(),
                early_waits: Vec::new(),
                execs: HashMap::new(),
                syncs: HashMap::new(),
                next_sync: 0,
                holds: HashMap::new(),
                next_hold: 0,
            }),
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while holding it half changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The supervisor of the current run.
    pub(crate) fn sender(&self) -> Option<Arc<Sender>> {
        self.lock().run.as_ref().map(|run| Arc::clone(&run.sender))
    }

    /// Opens `/proc/PID/NAME` of the process that runs.
    pub(crate) fn open_of_first_process(&self, name: &str, flags: OFlags) -> Result<OwnedFd> {
        let (pid, supervisor) = {
            let inner = self.lock();
            let run = inner.run.as_ref().filter(|_| inner.state.pid != 0);
            let run = run.ok_or_else(|| Error::NotRunning(self.id.clone()))?;
            (inner.state.pid, run.supervisor_pid)
        };
        first_process::open(pid, supervisor, name, flags).map_err(|error| {
            if error.raw_os_error() == Some(libc::ESRCH) {
                Error::NotRunning(self.id.clone())
            } else {
                Error::file("open", &first_process::path(pid, name), error)
            }
        })
    }

    /// Whether a process runs, frozen or not.
    pub(crate) fn is_active(&self) -> bool {
        matches!(self.phase(), Phase::Running | Phase::Paused)
    }

    pub(crate) fn phase(&self) -> Phase {
        self.lock().state.phase
    }
}
