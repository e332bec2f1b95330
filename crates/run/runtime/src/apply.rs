//! What runs in a container's init, from the parked state to the user's
//! program.
//!
//! Called by the supervisor's init and exec children alone: processes with
//! one thread, in the container's namespaces, still with the runtime's
//! powers. Every path is resolved below the container's own root; the host is
//! reached through descriptors that came with the plan. Nothing here may
//! leave a descriptor or a right to the user's program that the plan does not
//! name.

mod ahead;
mod console;
mod copy_up;
mod devices;
mod hooks;
mod inside;
mod mounts;
mod powers;
mod process;
mod protect;
mod reaper;
mod root;
mod users;

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::Mode;

pub use ahead::Ahead;

use crate::plan::{CgroupNamespace, Failure, FirstProcess, Plan, ProcessPlan, UserPlan};
use devices::Dev;
use inside::Root;
use process::Prepared;
use protect::Protected;

/// How the process reports to its supervisor.
pub trait Report {
    /// Hands over the terminal's master side.
    fn console(&mut self, master: OwnedFd) -> Result<(), Failure>;

    /// Whether the supervisor ended. Asked right after the death signal was
    /// set, which a death before that moment does not send.
    fn is_orphaned(&self) -> bool;

    /// Whether the program ends with the process that made it.
    fn dies_with_parent(&self) -> bool {
        true
    }

    /// The container is made; returns when its program may start.
    fn created(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// The numbers of `user[:group]` in a root directory, for a daemon that gives
/// files to a container's user or wants to know one early. Reads hostile
/// files: bounded, and nothing of theirs is followed outside.
pub fn look_up_user(root: impl AsFd, user: &str) -> Result<(u32, u32), Failure> {
    let plan = UserPlan::Named {
        user: user.to_owned(),
        groups: Vec::new(),
    };
    let found = users::find(&Root::of_mount(root)?, &plan, users::Home::Known)?;
    Ok((found.uid, found.gid))
}

/// Attaches a bind of the host in a root directory as a start does, whatever it
/// has to make for it: for a daemon that puts together the root of a container
/// that does not run.
pub fn bind(root: impl AsFd, at: &str, source: &OwnedFd) -> Result<(), Failure> {
    mounts::bind(&Root::of_mount(root)?, at, source).map(drop)
}

/// What an init does before it is parked, in the container's namespaces: all
/// that does not depend on the plan.
pub fn park() -> Result<Ahead, Failure> {
    root::isolate_mounts()?;
    // Modes of what is made here are those of the plan.
    rustix::process::umask(Mode::empty());
    process::start_session();
    Ok(Ahead::make())
}

/// Becomes the container that `plan` describes; returns only when it failed.
///
/// `descriptors` are those that came with the plan, in order; standard streams
/// are in place, and [`park`] was called. See [`Plan::check`] for the
/// namespaces that the process must be in.
pub fn run_container(
    ahead: Ahead,
    plan: &Plan,
    descriptors: Vec<OwnedFd>,
    report: &mut dyn Report,
) -> Failure {
    match prepare_container(ahead, plan, descriptors, report) {
        Err(failure) => failure,
        Ok(prepared) => match plan.first_process {
            FirstProcess::Program => prepared.execute(report),
            FirstProcess::Reaper => reaper::run(&prepared, report),
        },
    }
}

fn prepare_container<'p>(
    mut ahead: Ahead,
    plan: &'p Plan,
    descriptors: Vec<OwnedFd>,
    report: &mut dyn Report,
) -> Result<Prepared<'p>, Failure> {
    let descriptors = Descriptors(descriptors);
    if plan.cgroup_namespace == CgroupNamespace::New {
        root::new_cgroup_namespace()?;
    }
    let mount = descriptors.get(plan.root.mount)?;
    root::attach(&plan.root, mount)?;
    let root = Root::of_mount(mount)?;
    let mounted = mounts::make_all(&root, &plan.mounts, &mut ahead, &descriptors)?;
    drop(ahead);
    devices::make_all(&root, &plan.devices, mounted.dev, &descriptors)?;
    if plan.dev_links && mounted.dev == Dev::Bare {
        devices::make_links(&root)?;
    }
    console::set_up(&root, &plan.process, report, console::Place::Container)?;
    let protected = Protected {
        root: &root,
        procfs: mounted.procfs.as_ref(),
    };
    protected.set_sysctls(&plan.sysctls)?;
    protected.make_readonly(&plan.readonly_paths)?;
    protected.mask(&plan.masked_paths)?;
    root::set_names(plan.hostname.as_deref(), plan.domainname.as_deref())?;
    process::make_directory(&root, &plan.process)?;
    hooks::run(&plan.create_hooks)?;
    root::pivot(mount)?;
    root::finish(&plan.root)?;
    drop(descriptors);
    // Whatever can be refused is refused before the container counts as made.
    let prepared = process::prepare(&root, &plan.process)?;
    report.created()?;
    hooks::run(&plan.start_hooks)?;
    Ok(prepared)
}

/// Becomes a program inside a container whose namespaces were joined;
/// returns only when it failed.
pub fn run_exec(plan: &ProcessPlan, report: &mut dyn Report) -> Failure {
    process::start_session();
    let prepared = Root::of_process().and_then(|root| {
        console::set_up(&root, plan, report, console::Place::Exec)?;
        process::prepare(&root, plan)
    });
    match prepared {
        Ok(prepared) => prepared.execute(report),
        Err(failure) => failure,
    }
}

/// The descriptors that came with a plan.
struct Descriptors(Vec<OwnedFd>);

impl Descriptors {
    fn get(&self, index: crate::plan::DescriptorIndex) -> Result<&OwnedFd, Failure> {
        self.0
            .get(usize::from(index.0))
            .ok_or_else(|| Failure::other("plan names a descriptor that was not sent"))
    }
}

impl Failure {
    /// A failure of the platform, with Docker's 125.
    pub fn other(action: impl Into<String>) -> Self {
        Self {
            action: action.into(),
            errno: 0,
            exit_code: 125,
        }
    }
}

/// Turns the kernel's answer into a [`Failure`] that says what was tried.
trait Tried<T> {
    fn tried(self, action: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T> Tried<T> for Result<T, rustix::io::Errno> {
    fn tried(self, action: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|errno| Failure {
            action: action(),
            errno: errno.raw_os_error(),
            exit_code: 125,
        })
    }
}

impl<T> Tried<T> for std::io::Result<T> {
    fn tried(self, action: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure {
            action: action(),
            errno: error.raw_os_error().unwrap_or(0),
            exit_code: 125,
        })
    }
}
