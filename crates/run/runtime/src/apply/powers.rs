//! The last steps before a program: limits, identity, capabilities, filter.

use carrack_sys::disposition::{self, Disposition};
use carrack_sys::identity::{self, CapabilitySets};
use carrack_sys::signals::{self, MaskChange};
use carrack_sys::{descriptors, limits};
use rustix::process::{DumpableBehavior, Gid, Signal, Uid};

use super::process::Prepared;
use super::{Report, Tried};
use crate::plan::Failure;
use crate::{capability, limit};

/// What a process does once its powers are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It executes the program, which ends every capability that the plan does
    /// not name.
    Execute,
    /// It goes on as it is.
    Stay,
}

impl Prepared<'_> {
    /// Gives up powers and executes; returns only with the reason it failed.
    pub(super) fn execute(&self, report: &dyn Report) -> Failure {
        match self.give_up_powers(Next::Execute, report) {
            Err(failure) => failure,
            Ok(()) => self.exec(),
        }
    }

    /// Limits, identity, capabilities and at the very end the filter, which
    /// need allow nothing but what the program itself does: after it comes
    /// `execve` and nothing else.
    ///
    /// Without `no_new_privs` the filter needs CAP_SYS_ADMIN, so that stays in
    /// the permitted set up to the exec. There it ends: the kernel computes the
    /// new sets from the bounding, inheritable and ambient ones alone, which
    /// are final by then (capabilities(7)).
    pub(super) fn give_up_powers(&self, next: Next, report: &dyn Report) -> Result<(), Failure> {
        let first = 3 + self.plan.preserved_descriptors;
        descriptors::close_from(first, descriptors::Closing::OnExec)
            .tried(|| "close descriptors at exec".to_owned())?;
        for &(number, soft, hard) in &self.plan.limits {
            set_limit(number, soft, hard)?;
        }
        self.drop_bounding()?;
        self.become_user()?;
        if self.plan.no_new_privileges {
            rustix::thread::set_no_new_privs(true).tried(|| "set no_new_privs".to_owned())?;
        }
        let for_filter = match (&self.plan.seccomp, next) {
            (Some(_), Next::Execute) if !self.plan.no_new_privileges => capability::SYS_ADMIN,
            (Some(_), Next::Stay) => {
                // It executes nothing, so this takes nothing from it; and a
                // filter may refuse the call that would drop a capability.
                rustix::thread::set_no_new_privs(true).tried(|| "set no_new_privs".to_owned())?;
                0
            }
            _ => 0,
        };
        self.set_capabilities(for_filter)?;
        self.raise_ambient()?;
        stay_guarded(report)?;
        if next == Next::Execute {
            // The supervisor leaves every signal at its default but this one,
            // which the standard library ignores.
            disposition::set(libc::SIGPIPE, Disposition::Default)
                .tried(|| "reset SIGPIPE".to_owned())?;
            signals::set_mask(MaskChange::UnblockAll);
        }
        if let Some(seccomp) = &self.plan.seccomp {
            carrack_sys::seccomp::load_filter(&self.filter, seccomp.flags)
                .tried(|| "load the seccomp filter".to_owned())?;
        }
        Ok(())
    }

    fn drop_bounding(&self) -> Result<(), Failure> {
        let dropped = !self.plan.capabilities.bounding;
        // Beyond those that have a name here too: a newer kernel's would stay.
        for number in (0..u64::BITS).filter(|n| dropped & (1 << n) != 0) {
            match identity::drop_bounding(number) {
                Ok(()) => {}
                // The kernel does not know it, nor any above.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
                Err(error) => {
                    return Err(error).tried(|| "drop bounding capabilities".to_owned());
                }
            }
        }
        Ok(())
    }

    fn become_user(&self) -> Result<(), Failure> {
        rustix::thread::set_keep_capabilities(true).tried(|| "keep capabilities".to_owned())?;
        rustix::thread::set_thread_groups(&self.groups)
            .tried(|| "set supplementary groups".to_owned())?;
        let gid = Gid::from_raw(self.user.gid);
        rustix::thread::set_thread_res_gid(gid, gid, gid)
            .tried(|| format!("set group id {}", self.user.gid))?;
        let uid = Uid::from_raw(self.user.uid);
        rustix::thread::set_thread_res_uid(uid, uid, uid)
            .tried(|| format!("set user id {}", self.user.uid))?;
        rustix::thread::set_keep_capabilities(false).tried(|| "release capabilities".to_owned())
    }

    fn set_capabilities(&self, more: u64) -> Result<(), Failure> {
        let wanted = &self.plan.capabilities;
        identity::set_capabilities(CapabilitySets {
            effective: (wanted.effective & wanted.permitted) | more,
            permitted: wanted.permitted | more,
            inheritable: wanted.inheritable,
        })
        .tried(|| "set capabilities".to_owned())
    }

    fn raise_ambient(&self) -> Result<(), Failure> {
        let wanted = &self.plan.capabilities;
        let raised = wanted.ambient & wanted.inheritable & wanted.permitted;
        for number in (0..capability::COUNT).filter(|n| raised & (1 << n) != 0) {
            identity::raise_ambient(number).tried(|| "raise ambient capabilities".to_owned())?;
        }
        Ok(())
    }
}

/// A change of identity took two guards away: nobody of the container may look
/// into this process before it executes, and it must not outlive its
/// supervisor.
fn stay_guarded(report: &dyn Report) -> Result<(), Failure> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .tried(|| "protect the process".to_owned())?;
    if !report.dies_with_parent() {
        return Ok(());
    }
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .tried(|| "set the parent's death signal".to_owned())?;
    if report.is_orphaned() {
        return Err(Failure::other("the supervisor is gone"));
    }
    Ok(())
}

/// Sets a limit; a hard limit above the present one needs a capability that
/// root lacks on some machines.
fn set_limit(number: u32, soft: u64, hard: u64) -> Result<(), Failure> {
    let Err(error) = identity::set_resource_limit(number, soft, hard) else {
        return Ok(());
    };
    let name = limit::name(number);
    let present = limits::resource_limit(number).map_or(u64::MAX, |(_, hard)| hard);
    if error.raw_os_error() == Some(libc::EPERM) && hard > present {
        return Err(Failure::other(format!(
            "set {name} to {soft}:{hard}: the hard limit of this machine is {present}, \
             and raising it needs CAP_SYS_RESOURCE, which is missing here"
        )));
    }
    Err(error).tried(|| format!("set {name} to {soft}:{hard}"))
}
