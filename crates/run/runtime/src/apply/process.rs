//! From a mounted root to a program that is ready to be executed.

use std::ffi::CString;
use std::os::fd::AsFd;

use carrack_sys::identity::{self, SchedulingAttributes};
use carrack_sys::process::StringVector;
use carrack_sys::seccomp::Instruction;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use super::Tried;
use super::inside::{Links, Missing, Root};
use super::users::{self, Found, Home};
use crate::plan::{Failure, ProcessPlan};

/// Where a program is looked for when the environment names no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A process about to give up its powers and execute. All that could fail for
/// a reason that the filter or the limits bring about is done.
pub(super) struct Prepared<'p> {
    pub(super) plan: &'p ProcessPlan,
    pub(super) user: Found,
    pub(super) groups: Vec<Gid>,
    pub(super) filter: Vec<Instruction>,
    program: CString,
    arguments: StringVector,
    environment: StringVector,
}

/// A session of its own, also of keys: else it would share the daemon's.
pub(super) fn start_session() {
    // A process that was just forked leads none.
    let _leads_already = rustix::process::setsid();
    // A kernel without keyrings has nothing to share.
    let _no_keyrings = identity::join_new_session_keyring();
}

/// Makes the working directory where Docker makes a missing one.
pub(super) fn make_directory(root: &Root, plan: &ProcessPlan) -> Result<(), Failure> {
    if plan.make_directory {
        root.locate_or_make(&plan.directory, Missing::Directory)?;
    }
    Ok(())
}

/// Everything up to the point of no return. The calling process' root is the
/// container's.
pub(super) fn prepare<'p>(root: &Root, plan: &'p ProcessPlan) -> Result<Prepared<'p>, Failure> {
    let home = if plan.environment.iter().any(|e| e.starts_with("HOME=")) {
        Home::Known
    } else {
        Home::Wanted
    };
    let user = users::find(root, &plan.user, home)?;
    own_streams(&user);
    rustix::process::umask(Mode::from_raw_mode(plan.umask.unwrap_or(0o022)));
    set_scheduling(plan)?;
    enter_directory(root, plan)?;
    let home_entry = format!("HOME={}", user.home);
    let mut environment: Vec<&str> = plan.environment.iter().map(String::as_str).collect();
    if home == Home::Wanted {
        environment.push(&home_entry);
    }
    let program = find_program(plan, &environment)?;
    let filter = plan
        .seccomp
        .as_ref()
        .map_or_else(Vec::new, |s| instructions(&s.program));
    if plan.seccomp.is_some() && filter.is_empty() {
        return Err(Failure::other("the seccomp program is malformed"));
    }
    let groups = user.groups.iter().copied().map(Gid::from_raw).collect();
    let copied = || "copy the arguments".to_owned();
    let environment = StringVector::new(&environment).tried(copied)?;
    Ok(Prepared {
        arguments: StringVector::new(&plan.arguments).tried(copied)?,
        environment,
        plan,
        user,
        groups,
        filter,
        program,
    })
}

impl Prepared<'_> {
    /// Executes the program; returns only with the reason it failed.
    pub(super) fn exec(&self) -> Failure {
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
        let Ok(status) = rustix::fs::fstat(stream) else {
            continue;
        };
        let is_null = status.st_rdev == rustix::fs::makedev(1, 3);
        let kind = FileType::from_raw_mode(status.st_mode);
        if matches!(kind, FileType::Fifo | FileType::CharacterDevice) && !is_null {
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
fn enter_directory(root: &Root, plan: &ProcessPlan) -> Result<(), Failure> {
    let at = &plan.directory;
    let directory = root
        .open(at, OFlags::PATH | OFlags::DIRECTORY, Links::Follow)
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

/// Finds the program as execvp(3) would, and says why not in the words that
/// Docker's clients turn into 126 and 127.
fn find_program(plan: &ProcessPlan, environment: &[&str]) -> Result<CString, Failure> {
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
