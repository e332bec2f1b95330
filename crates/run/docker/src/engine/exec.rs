//! Programs added to a running container.

use std::os::fd::OwnedFd;

use carrack_containers::{
    AttachRequest, ContainerId, ExecRequest, ExecState, Phase, RootfsAccess, UserRequest,
};
use carrack_oci::runtime::{ConsoleSize, Process};

use crate::spec::{exec_capabilities, exec_environment};
use crate::{Error, Result};

use super::{Engine, KeysOf};

/// What an exec is asked to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecOptions {
    /// Program and arguments.
    pub cmd: Vec<String>,
    /// Variables over the container's.
    pub env: Vec<String>,
    /// Where it starts; empty is the container's.
    pub working_dir: String,
    /// Who it runs as; empty is the container's.
    pub user: String,
    /// A pseudo-terminal is its standard streams.
    pub tty: bool,
    /// Its first size, rows and columns.
    pub console_size: Option<(u16, u16)>,
    /// Every capability.
    pub privileged: bool,
    /// The client will send standard input.
    pub attach_stdin: bool,
    /// The client wants standard output.
    pub attach_stdout: bool,
    /// The client wants standard error.
    pub attach_stderr: bool,
    /// Keys that detach, as they were written.
    pub detach_keys: String,
}

/// What is needed to start one.
#[derive(Clone, Debug)]
pub struct ExecStart {
    /// What it was asked to be.
    pub options: ExecOptions,
    /// Its container.
    pub container: ContainerId,
}

/// An exec as inspect shows it.
#[derive(Clone, Debug)]
pub struct ExecView {
    /// What it was asked to be.
    pub options: ExecOptions,
    /// Its container.
    pub container: ContainerId,
    /// What it is doing.
    pub state: ExecState,
}

impl Engine {
    /// Records an exec of a running container: its id.
    pub async fn exec_create(&self, reference: &str, options: ExecOptions) -> Result<String> {
        if options.cmd.is_empty() {
            return Err(Error::rule("No exec command specified"));
        }
        Self::detach_keys(KeysOf::Exec, &options.detach_keys)?;
        let texts = options.cmd.iter().chain(&options.env);
        let fixed = [&options.working_dir, &options.user];
        if texts.chain(fixed).any(|text| text.contains('\0')) {
            return Err(Error::rule("an exec's words must not hold a NUL"));
        }
        if options.env.iter().any(|variable| variable.starts_with('=')) {
            return Err(Error::rule("invalid environment variable: it has no name"));
        }
        if !options.working_dir.is_empty() && !options.working_dir.starts_with('/') {
            return Err(Error::rule(format!(
                "the working directory '{}' is invalid, it needs to be an absolute path",
                options.working_dir
            )));
        }
        let slot = self.slots.find(reference)?;
        if slot.restart_state().waiting {
            return Err(Error::Restarting(slot.id.clone()));
        }
        let view = self
            .containers
            .get(&slot.id)
            .ok_or_else(|| Error::NoSuchContainer(reference.to_owned()))?;
        if !options.user.is_empty() && view.state.phase == Phase::Running {
            self.check_user(&slot.id, &options.user).await?;
        }
        let own = view.new.spec.process.clone().unwrap_or_default();
        let user = if options.user.is_empty() {
            view.new.user.clone()
        } else {
            UserRequest {
                user: options.user.clone(),
                additional_groups: Vec::new(),
            }
        };
        let privileged = options.privileged || slot.record().host_config.privileged;
        let process = Process {
            terminal: options.tty,
            console_size: options
                .console_size
                .map(|(height, width)| ConsoleSize { height, width }),
            args: options.cmd.clone(),
            env: exec_environment(&own.env, &options.env, options.tty),
            cwd: if options.working_dir.is_empty() {
                own.cwd
            } else {
                options.working_dir.clone()
            },
            capabilities: if privileged {
                Some(exec_capabilities(&self.host))
            } else {
                own.capabilities
            },
            no_new_privileges: own.no_new_privileges,
            oom_score_adj: own.oom_score_adj,
            ..Process::default()
        };
        let request = ExecRequest {
            process,
            user,
            open_stdin: options.attach_stdin,
            privileged: options.privileged,
        };
        let action = format!("exec_create: {}", options.cmd.join(" "));
        let exec = self.containers.exec_create(&slot.id, request).await?;
        slot.add_exec(exec.clone(), options, |e| {
            self.containers.exec_get(e).is_some()
        });
        self.container_event(&slot.id, &slot.record(), &action, &[("execID", &exec)]);
        Ok(exec)
    }

    /// Checks whether an exec may be started, before the head of the response
    /// is written.
    pub fn check_exec(&self, exec: &str) -> Result<ExecStart> {
        let view = self.exec(exec)?;
        if view.state.started {
            return Err(match view.state.exit_code {
                None => Error::ExecRunning(exec.to_owned()),
                Some(_) => Error::ExecRan(exec.to_owned()),
            });
        }
        let container = self.container(view.container.as_str())?;
        match container.view.state.phase {
            Phase::Running => Ok(ExecStart {
                options: view.options,
                container: view.container,
            }),
            Phase::Paused => Err(carrack_containers::Error::Paused(view.container).into()),
            _ => Err(carrack_containers::Error::NotRunning(view.container).into()),
        }
    }

    /// Starts an exec; with a socket, whose head was written, its streams go
    /// there.
    pub async fn exec_start(
        &self,
        exec: &str,
        attach: Option<(AttachRequest, OwnedFd)>,
    ) -> Result<()> {
        let started = self.containers.exec_start(exec, attach).await;
        started.map_err(|error| match error {
            // Two clients at once.
            carrack_containers::Error::ExecStarted(exec) => Error::ExecRunning(exec),
            error => error.into(),
        })
    }

    /// Gives an exec that will be started another first size of its terminal,
    /// rows and columns.
    pub fn exec_set_size(&self, exec: &str, (height, width): (u16, u16)) -> Result<()> {
        let size = ConsoleSize { height, width };
        Ok(self.containers.exec_set_console_size(exec, size)?)
    }

    /// Refuses a user that the container does not know: a client learns of it
    /// before it has attached.
    async fn check_user(&self, container: &ContainerId, user: &str) -> Result<()> {
        let (root, user) = (
            self.containers
                .rootfs(container, RootfsAccess::Read)
                .await?,
            user.to_owned(),
        );
        let found = tokio::task::spawn_blocking(move || root.look_up_user(&user)).await?;
        found.map(drop).map_err(Error::rule)
    }

    /// An exec, with what its supervisor has told of it.
    pub async fn settled_exec(&self, exec: &str) -> Result<ExecView> {
        self.containers.exec_settle(exec).await;
        self.exec(exec)
    }

    /// An exec.
    pub fn exec(&self, exec: &str) -> Result<ExecView> {
        let missing = || Error::NoSuchExec(exec.to_owned());
        let (container, _, state) = self.containers.exec_get(exec).ok_or_else(missing)?;
        let slot = self.slots.get(&container).ok_or_else(missing)?;
        Ok(ExecView {
            options: slot.exec(exec),
            container,
            state,
        })
    }

    /// Changes the size of an exec's terminal.
    pub async fn exec_resize(&self, exec: &str, rows: u16, columns: u16) -> Result<()> {
        self.exec(exec)?;
        Ok(self.containers.exec_resize(exec, rows, columns).await?)
    }

    /// The command line of an exec, for events.
    pub(super) fn exec_command(&self, exec: &str) -> String {
        let found = self.containers.exec_get(exec);
        found.map_or_else(String::new, |(_, request, _)| {
            request.process.args.join(" ")
        })
    }
}
