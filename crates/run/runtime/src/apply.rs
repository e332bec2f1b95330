//! What runs in a container's init, from the parked state to the user's
//! program.
//!
//! Called by the supervisor's init and exec children alone: processes with
//! one thread, in the container's namespaces, still with the runtime's
//! powers. Every path is resolved below the container's own root; the host is
//! reached through descriptors that came with the plan. Nothing here may
//! leave a descriptor or a right to the user's program that the plan does not
//! name.

mod console;
mod devices;
mod inside;
mod mounts;
mod process;
mod protect;
mod reaper;
mod root;
mod users;

use std::os::fd::OwnedFd;

pub use root::isolate_mounts;

use crate::plan::{CgroupNamespace, Failure, FirstProcess, Plan, ProcessPlan};

/// How the process reports to its supervisor.
pub trait Report {
    /// Hands over the terminal's master side.
    fn console(&mut self, master: OwnedFd) -> Result<(), Failure>;
}

/// Becomes the container that `plan` describes; returns only when it failed.
///
/// `descriptors` are those that came with the plan, in order; standard streams
/// are in place.
pub fn run_container(plan: &Plan, descriptors: Vec<OwnedFd>, report: &mut dyn Report) -> Failure {
    let prepared = match prepare_container(plan, descriptors, report) {
        Ok(prepared) => prepared,
        Err(failure) => return failure,
    };
    match plan.first_process {
        FirstProcess::Program => prepared.execute(),
        FirstProcess::Reaper => reaper::run(prepared),
    }
}

fn prepare_container(
    plan: &Plan,
    descriptors: Vec<OwnedFd>,
    report: &mut dyn Report,
) -> Result<process::Prepared, Failure> {
    let descriptors = Descriptors(descriptors);
    if plan.cgroup_namespace == CgroupNamespace::New {
        root::new_cgroup_namespace()?;
    }
    root::enter(descriptors.get(plan.root.mount)?)?;
    mounts::make_all(&plan.mounts, &descriptors)?;
    devices::make_all(&plan.devices, &descriptors)?;
    if plan.dev_links {
        devices::make_links()?;
    }
    console::set_up(&plan.process, report, console::Place::Container)?;
    protect::set_sysctls(&plan.sysctls)?;
    protect::make_readonly(&plan.readonly_paths)?;
    protect::mask(&plan.masked_paths)?;
    root::set_names(plan.hostname.as_deref(), plan.domainname.as_deref())?;
    process::make_directory(&plan.process)?;
    root::finish(&plan.root)?;
    drop(descriptors);
    process::run_hooks(&plan.start_hooks)?;
    process::prepare(&plan.process)
}

/// Becomes a program inside a container whose namespaces were joined;
/// returns only when it failed.
pub fn run_exec(plan: &ProcessPlan, report: &mut dyn Report) -> Failure {
    let prepared =
        console::set_up(plan, report, console::Place::Exec).and_then(|()| process::prepare(plan));
    match prepared {
        Ok(prepared) => prepared.execute(),
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
