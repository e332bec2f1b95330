//! From a mounted root to the user's program: identity, powers, filter, exec.

use std::ffi::CString;
use std::os::fd::AsFd;

use carrack_sys::identity::{self, CapabilitySets, SchedulingAttributes};
use carrack_sys::process::StringVector;
use carrack_sys::seccomp::Instruction;
use carrack_sys::{descriptors, signals};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Signal, Uid};

use super::Tried;
use super::inside::{self, Missing};
use super::users::{self, Found};
use crate::capability;
use crate::plan::{Failure, HookPlan, ProcessPlan};

/// Where a program is looked for when the environment names no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A process about to give up its powers and execute. All that could fail for
/// a reason that the filter or the limits bring about is done.
pub(super) struct Prepared {
    plan: ProcessPlan,
    user: Found,
    program: CString,
    arguments: StringVector,
    environment: StringVector,
    filter: Vec<Instruction>,
    groups: Vec<Gid>,
}

/// Makes the working directory where Docker makes a missing one.
pub(super) fn make_directory(plan: &ProcessPlan) -> Result<(), Failure> {
    if plan.make_directory {
        inside::locate_or_make(&plan.directory, Missing::Directory)?;
    }
    Ok(())
}

/// Everything up to the point of no return.
pub(super) fn prepare(plan: &ProcessPlan) -> Result<Prepared, Failure> {
    if let Some(score) = plan.oom_score_adj {
        let file = inside::open("/proc/self/oom_score_adj", OFlags::WRONLY)
            .or_else(|_| inside::open("/proc/thread-self/oom_score_adj", OFlags::WRONLY))
            .tried(|| "open oom_score_adj".to_owned())?;
        rustix::io::write(file, score.to_string().as_bytes())
            .tried(|| format!("set oom_score_adj to {score}"))?;
    }
    // Without a keyring of its own the session would share the daemon's; a
    // kernel without keyrings has nothing to share.
    let _no_keyrings = identity::join_new_session_keyring();
    let user = users::find(&plan.user)?;
    own_streams(&user);
    rustix::process::umask(Mode::from_raw_mode(plan.umask.unwrap_or(0o022)));
    set_scheduling(plan)?;
    enter_directory(plan)?;
    let environment = environment(plan, &user);
    let program = find_program(plan, &environment)?;
    let filter = plan
        .seccomp
        .as_ref()
        .map_or_else(Vec::new, |s| instructions(&s.program));
    if plan.seccomp.is_some() && filter.is_empty() {
        return Err(Failure::other("the seccomp program is malformed"));
    }
    let groups = user.groups.iter().copied().map(Gid::from_raw).collect();
    let strings =
        |list: &[String]| StringVector::new(list).tried(|| "copy the arguments".to_owned());
    Ok(Prepared {
        arguments: strings(&plan.arguments)?,
        environment: strings(&environment)?,
        plan: plan.clone(),
        user,
        program,
        filter,
        groups,
    })
}

impl Prepared {
    /// The program's plan.
    pub(super) fn plan(&self) -> &ProcessPlan {
        &self.plan
    }

    /// Gives up powers and executes; returns only with the reason it failed.
    pub(super) fn execute(self) -> Failure {
        if let Err(failure) = self.give_up_powers() {
            return failure;
        }
        self.exec()
    }

    fn exec(&self) -> Failure {
        signals::reset_all();
        let error = carrack_sys::process::execve(&self.program, &self.arguments, &self.environment);
        let errno = error.raw_os_error().unwrap_or(0);
        Failure {
            action: format!("exec: {:?}", self.plan.arguments[0]),
            errno,
            exit_code: match errno {
                libc::ENOENT | libc::ENOTDIR => 127,
                _ => 126,
            },
        }
    }

    /// Limits, filter, identity and capabilities, in the order that needs
    /// each power last where it is still there.
    pub(super) fn give_up_powers(&self) -> Result<(), Failure> {
        let plan = &self.plan;
        descriptors::close_from(3, descriptors::Closing::OnExec)
            .tried(|| "close descriptors at exec".to_owned())?;
        for &(number, soft, hard) in &plan.limits {
            identity::set_resource_limit(number, soft, hard)
                .tried(|| format!("set resource limit {number} to {soft}:{hard}"))?;
        }
        // Without no_new_privs the filter needs CAP_SYS_ADMIN, so it comes
        // before the capabilities go.
        if !plan.no_new_privileges {
            self.load_filter()?;
        }
        self.become_user()?;
        if plan.no_new_privileges {
            rustix::thread::set_no_new_privs(true).tried(|| "set no_new_privs".to_owned())?;
            self.load_filter()?;
        }
        Ok(())
    }

    fn load_filter(&self) -> Result<(), Failure> {
        match &self.plan.seccomp {
            None => Ok(()),
            Some(plan) => carrack_sys::seccomp::load_filter(&self.filter, plan.flags)
                .tried(|| "load the seccomp filter".to_owned()),
        }
    }

    fn become_user(&self) -> Result<(), Failure> {
        let wanted = &self.plan.capabilities;
        for number in 0..capability::COUNT {
            if wanted.bounding & (1 << number) == 0 {
                match identity::drop_bounding(number) {
                    Err(error) if error.raw_os_error() != Some(libc::EINVAL) => {
                        return Err(error).tried(|| "drop bounding capabilities".to_owned());
                    }
                    // EINVAL: a kernel that does not know the capability.
                    _ => {}
                }
            }
        }
        rustix::thread::set_keep_capabilities(true).tried(|| "keep capabilities".to_owned())?;
        rustix::thread::set_thread_groups(&self.groups)
            .tried(|| "set supplementary groups".to_owned())?;
        let gid = Gid::from_raw(self.user.gid);
        rustix::thread::set_thread_res_gid(gid, gid, gid)
            .tried(|| format!("set group id {}", self.user.gid))?;
        let uid = Uid::from_raw(self.user.uid);
        rustix::thread::set_thread_res_uid(uid, uid, uid)
            .tried(|| format!("set user id {}", self.user.uid))?;
        rustix::thread::set_keep_capabilities(false).tried(|| "release capabilities".to_owned())?;
        identity::set_capabilities(CapabilitySets {
            effective: wanted.effective & wanted.permitted,
            permitted: wanted.permitted,
            inheritable: wanted.inheritable,
        })
        .tried(|| "set capabilities".to_owned())?;
        // A kernel clears the ambient set by itself where it must; what is
        // left is raised one by one.
        for number in 0..capability::COUNT {
            if wanted.ambient & wanted.inheritable & wanted.permitted & (1 << number) != 0 {
                identity::raise_ambient(number)
                    .tried(|| "raise ambient capabilities".to_owned())?;
            }
        }
        // Changing ids clears the death signal, so it is set last: a program
        // without its supervisor must not live on.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
            .tried(|| "set the parent's death signal".to_owned())
    }
}

/// The user may reopen its own streams through `/dev/stdout`.
fn own_streams(user: &Found) {
    if user.uid == 0 && user.gid == 0 {
        return;
    }
    for stream in [
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    ] {
        let owned = rustix::fs::fstat(stream).map(|status| FileType::from_raw_mode(status.st_mode));
        let null = rustix::fs::fstat(stream).is_ok_and(|s| s.st_rdev == rustix::fs::makedev(1, 3));
        if matches!(owned, Ok(FileType::Fifo | FileType::CharacterDevice)) && !null {
            // A stream that cannot be given away still works as it is.
            let _kept = rustix::fs::fchown(stream, Some(Uid::from_raw(user.uid)), None);
        }
    }
}

fn set_scheduling(plan: &ProcessPlan) -> Result<(), Failure> {
    if let Some(domain) = plan.personality {
        identity::set_personality(domain).tried(|| "set the personality".to_owned())?;
    }
    if let Some((class, priority)) = plan.io_priority {
        identity::set_io_priority(class, priority).tried(|| "set the I/O priority".to_owned())?;
    }
    if let Some(s) = plan.scheduling {
        identity::set_scheduling(&SchedulingAttributes {
            size: 0,
            policy: s.policy,
            flags: s.flags,
            nice: s.nice,
            priority: s.priority,
            runtime_ns: s.runtime_ns,
            deadline_ns: s.deadline_ns,
            period_ns: s.period_ns,
        })
        .tried(|| "set the scheduling policy".to_owned())?;
    }
    Ok(())
}

/// Enters the working directory and makes sure that it is inside: a
/// descriptor of the host, leaked and named by `/proc/self/fd/N`, would show
/// as unreachable (CVE-2024-21626).
fn enter_directory(plan: &ProcessPlan) -> Result<(), Failure> {
    let at = &plan.directory;
    let directory = inside::open(at, OFlags::PATH | OFlags::DIRECTORY)
        .tried(|| format!("chdir to cwd ({at:?}) set in config.json failed"))?;
    rustix::process::fchdir(directory.as_fd())
        .tried(|| format!("chdir to cwd ({at:?}) set in config.json failed"))?;
    let now =
        rustix::process::getcwd(Vec::new()).tried(|| "read the working directory".to_owned())?;
    if now.as_bytes().starts_with(b"/") {
        Ok(())
    } else {
        Err(Failure::other(
            "the working directory is outside of the container",
        ))
    }
}

fn environment(plan: &ProcessPlan, user: &Found) -> Vec<String> {
    let mut environment = plan.environment.clone();
    if !environment.iter().any(|e| e.starts_with("HOME=")) {
        environment.push(format!("HOME={}", user.home));
    }
    environment
}

/// Finds the program as execvp(3) would, and says why not in the words that
/// Docker's clients turn into 126 and 127.
fn find_program(plan: &ProcessPlan, environment: &[String]) -> Result<CString, Failure> {
    let name = &plan.arguments[0];
    if name.contains('/') {
        executable(name).map_err(|errno| not_executable(name, errno))?;
        return path(name);
    }
    let search = environment
        .iter()
        .rev()
        .find_map(|e| e.strip_prefix("PATH="))
        .unwrap_or(DEFAULT_PATH);
    let mut denied = None;
    for directory in search.split(':') {
        let candidate = match directory {
            "" => format!("./{name}"),
            directory => format!("{directory}/{name}"),
        };
        match executable(&candidate) {
            Ok(()) => return path(&candidate),
            Err(Errno::ACCESS | Errno::ISDIR) => denied = Some(Errno::ACCESS),
            Err(_) => {}
        }
    }
    match denied {
        Some(errno) => Err(not_executable(name, errno)),
        None => Err(Failure {
            action: format!("exec: {name:?}: executable file not found in $PATH"),
            errno: 0,
            exit_code: 127,
        }),
    }
}

fn path(name: &str) -> Result<CString, Failure> {
    CString::new(name).map_err(|_| Failure::other("the program's name holds a NUL byte"))
}

/// Whether a file may be executed at all; whether *this* user may, exec says.
fn executable(candidate: &str) -> Result<(), Errno> {
    let status = rustix::fs::stat(candidate)?;
    match FileType::from_raw_mode(status.st_mode) {
        FileType::Directory => Err(Errno::ISDIR),
        FileType::RegularFile if status.st_mode & 0o111 != 0 => Ok(()),
        _ => Err(Errno::ACCESS),
    }
}

fn not_executable(name: &str, errno: Errno) -> Failure {
    let (action, exit_code) = match errno {
        Errno::ISDIR => (
            format!("exec: {name:?}: is a directory: permission denied"),
            126,
        ),
        Errno::ACCESS => (format!("exec: {name:?}: permission denied"), 126),
        Errno::NOENT | Errno::NOTDIR => (
            format!("exec: {name:?}: stat {name}: no such file or directory"),
            127,
        ),
        other => {
            return Failure {
                action: format!("exec: {name:?}"),
                errno: other.raw_os_error(),
                exit_code: 126,
            };
        }
    };
    Failure {
        action,
        errno: 0,
        exit_code,
    }
}

/// Eight bytes an instruction, in native order.
fn instructions(program: &[u8]) -> Vec<Instruction> {
    let (chunks, rest) = program.as_chunks::<8>();
    if !rest.is_empty() {
        return Vec::new();
    }
    chunks
        .iter()
        .map(|b| Instruction {
            code: u16::from_ne_bytes([b[0], b[1]]),
            jump_true: b[2],
            jump_false: b[3],
            operand: u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
        })
        .collect()
}

/// Runs `startContainer` hooks inside the container, one after the other.
pub(super) fn run_hooks(hooks: &[HookPlan]) -> Result<(), Failure> {
    hooks.iter().try_for_each(run_hook)
}

fn run_hook(hook: &HookPlan) -> Result<(), Failure> {
    let name = CString::new(hook.path.as_str())
        .map_err(|_| Failure::other("a hook's path holds a NUL byte"))?;
    let strings =
        |list: &[String]| StringVector::new(list).tried(|| "copy a hook's arguments".to_owned());
    let arguments = strings(&hook.arguments)?;
    let environment = strings(&hook.environment)?;
    let (input, feed) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .tried(|| "make a hook's pipe".to_owned())?;
    let cloned = carrack_sys::process::clone3(&carrack_sys::process::CloneArgs::default())
        .tried(|| format!("run hook {}", hook.path))?;
    let pidfd = match cloned {
        carrack_sys::process::Cloned::Child => {
            let _input = rustix::stdio::dup2_stdin(&input);
            let _close = descriptors::close_from(3, descriptors::Closing::OnExec);
            signals::reset_all();
            let _error = carrack_sys::process::execve(&name, &arguments, &environment);
            carrack_sys::process::exit_now(127)
        }
        carrack_sys::process::Cloned::Parent { pidfd, .. } => pidfd,
    };
    drop(input);
    // A hook may end without reading its state; SIGPIPE is ignored here.
    let _unread = rustix::io::write(&feed, hook.state.as_bytes());
    drop(feed);
    let code = wait_bounded(&pidfd, hook)?;
    if code == 0 {
        Ok(())
    } else {
        Err(Failure::other(format!(
            "hook {} exited with {code}",
            hook.path
        )))
    }
}

fn wait_bounded(pidfd: &rustix::fd::OwnedFd, hook: &HookPlan) -> Result<i32, Failure> {
    use rustix::event::{PollFd, PollFlags, Timespec};
    let timeout = Timespec {
        tv_sec: i64::from(hook.timeout_s),
        tv_nsec: 0,
    };
    let mut polled = [PollFd::new(pidfd, PollFlags::IN)];
    let timeout = (hook.timeout_s > 0).then_some(&timeout);
    let ended = rustix::event::poll(&mut polled, timeout)
        .tried(|| format!("wait for hook {}", hook.path))?;
    if ended == 0 {
        let _ended_meanwhile = rustix::process::pidfd_send_signal(pidfd, Signal::KILL);
    }
    let status = rustix::process::waitid(
        rustix::process::WaitId::PidFd(pidfd.as_fd()),
        rustix::process::WaitIdOptions::EXITED,
    )
    .tried(|| format!("wait for hook {}", hook.path))?;
    if ended == 0 {
        return Err(Failure::other(format!(
            "hook {} did not end within {} s",
            hook.path, hook.timeout_s
        )));
    }
    Ok(status.map_or(255, carrack_sys::process::exit_code))
}
