//! Making processes: `clone3`, `posix_spawn` of a descriptor, `execve`.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::{io, ptr};

/// New namespaces and placements of a [`clone3`] child, `clone(2)`.
#[derive(Debug, Default)]
pub struct CloneArgs<'fd> {
    /// `CLONE_NEW…` and `CLONE_PARENT` bits; nothing that shares memory.
    pub flags: u64,
    /// A cgroup v2 directory that the child is born in (Linux 5.7).
    pub into_cgroup: Option<BorrowedFd<'fd>>,
}

/// Which side of [`clone3`] returned.
#[derive(Debug)]
pub enum Cloned {
    /// The caller; the child's id and a descriptor of it.
    Parent {
        /// As the caller's pid namespace counts.
        pid: i32,
        /// Readable when the child ended.
        pidfd: OwnedFd,
    },
    /// The child.
    Child,
}

/// `struct clone_args` of `<linux/sched.h>`, 88 bytes (Linux 5.7).
#[repr(C)]
#[derive(Default)]
struct KernelCloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Bits that would make the child share the caller's memory or thread.
const SHARING_FLAGS: u64 =
    (libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_THREAD) as u64 | libc::CLONE_SETTLS as u64;

/// Forks with namespaces, without libc's fork handlers.
///
/// Call it from a process that has **one thread**: the child may then go on
/// to use the allocator. Flags that share memory are refused with `EINVAL`.
/// An error is `clone(2)`'s.
pub fn clone3(args: &CloneArgs<'_>) -> io::Result<Cloned> {
    if args.flags & SHARING_FLAGS != 0 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mut pidfd: RawFd = -1;
    let mut kernel = KernelCloneArgs {
        flags: args.flags | libc::CLONE_PIDFD as u64,
        pidfd: ptr::from_mut(&mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..KernelCloneArgs::default()
    };
    if args.flags & libc::CLONE_PARENT as u64 != 0 {
        // The kernel takes the signal from the parent that is shared.
        kernel.exit_signal = 0;
    }
    if let Some(cgroup) = args.into_cgroup {
        kernel.flags |= CLONE_INTO_CGROUP;
        kernel.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: `kernel` is a live, fully initialised clone_args of the size
    // passed; `pidfd` outlives the call and is the only memory that the kernel
    // writes; without CLONE_VM the child has its own copy of this stack, so no
    // stack needs to be given.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            ptr::from_mut(&mut kernel),
            size_of::<KernelCloneArgs>(),
        )
    };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Cloned::Child),
        pid => {
            // SAFETY: with CLONE_PIDFD a successful call stored a new
            // descriptor, owned by nobody else.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            let pid =
                i32::try_from(pid).map_err(|_| io::Error::from_raw_os_error(libc::EOVERFLOW))?;
            Ok(Cloned::Parent { pid, pidfd })
        }
    }
}

/// `CLONE_INTO_CGROUP` of `<linux/sched.h>`.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Starts the program behind `program` (a sealed memfd, say) as a child.
///
/// `arguments` holds `argv`, `descriptors` what becomes descriptor 0, 1, 2, …
/// of the child; all others must be close-on-exec. The environment is empty.
/// Safe in a process with threads: `posix_spawn(3)` shares memory until the
/// exec instead of copying page tables. Returns the child's process id.
pub fn spawn(
    program: BorrowedFd<'_>,
    arguments: &[&CStr],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<i32> {
    let path = std::ffi::CString::new(format!("/proc/self/fd/{}", program.as_raw_fd()))?;
    let mut argv: Vec<*mut libc::c_char> =
        arguments.iter().map(|a| a.as_ptr().cast_mut()).collect();
    argv.push(ptr::null_mut());
    let envp: [*mut libc::c_char; 1] = [ptr::null_mut()];
    let mut actions = FileActions::new()?;
    // A source below the number of targets could be overwritten before its
    // turn: move all of them above first.
    let base =
        i32::try_from(descriptors.len()).map_err(|_| io::Error::from_raw_os_error(libc::EMFILE))?;
    let mut lifted = Vec::with_capacity(descriptors.len());
    for descriptor in descriptors {
        lifted.push(rustix::io::fcntl_dupfd_cloexec(descriptor, base.max(3))?);
    }
    for (target, source) in lifted.iter().enumerate() {
        actions.add_dup2(
            source.as_raw_fd(),
            i32::try_from(target).unwrap_or(i32::MAX),
        )?;
    }
    let mut pid: libc::pid_t = 0;
    // SAFETY: every pointer is to live memory for the length of the call:
    // `path` and the strings of `argv` are NUL-terminated, both vectors end
    // with a null pointer, `actions` is initialised, attributes may be null.
    let error = unsafe {
        libc::posix_spawn(
            ptr::from_mut(&mut pid),
            path.as_ptr(),
            actions.as_ptr(),
            ptr::null(),
            argv.as_ptr(),
            envp.as_ptr(),
        )
    };
    if error == 0 {
        Ok(pid)
    } else {
        Err(io::Error::from_raw_os_error(error))
    }
}

/// An initialised `posix_spawn_file_actions_t`, destroyed on drop.
struct FileActions(libc::posix_spawn_file_actions_t);

impl FileActions {
    fn new() -> io::Result<Self> {
        let mut raw = std::mem::MaybeUninit::uninit();
        // SAFETY: `raw` is memory of the right type for the call to fill.
        let error = unsafe { libc::posix_spawn_file_actions_init(raw.as_mut_ptr()) };
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        // SAFETY: the call above succeeded, so the value is initialised.
        Ok(Self(unsafe { raw.assume_init() }))
    }

    fn add_dup2(&mut self, source: RawFd, target: RawFd) -> io::Result<()> {
        // SAFETY: `self.0` is initialised for as long as `self` lives.
        let error = unsafe {
            libc::posix_spawn_file_actions_adddup2(ptr::from_mut(&mut self.0), source, target)
        };
        if error == 0 {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(error))
        }
    }

    fn as_ptr(&self) -> *const libc::posix_spawn_file_actions_t {
        ptr::from_ref(&self.0)
    }
}

impl Drop for FileActions {
    fn drop(&mut self) {
        // SAFETY: initialised in `new`, destroyed once.
        unsafe { libc::posix_spawn_file_actions_destroy(ptr::from_mut(&mut self.0)) };
    }
}

/// `argv` or `envp` in the form that the kernel reads, made ahead so that
/// nothing is allocated between the last check and the exec.
#[derive(Debug)]
pub struct StringVector {
    strings: Vec<std::ffi::CString>,
    pointers: Vec<*const libc::c_char>,
}

impl StringVector {
    /// Fails when a string holds a NUL byte.
    pub fn new<S: AsRef<[u8]>>(strings: &[S]) -> io::Result<Self> {
        let strings = strings
            .iter()
            .map(|s| std::ffi::CString::new(s.as_ref()))
            .collect::<Result<Vec<_>, _>>()?;
        // The heap block of each CString stays where it is when the vector
        // that owns it moves.
        let mut pointers: Vec<*const libc::c_char> = strings.iter().map(|s| s.as_ptr()).collect();
        pointers.push(ptr::null());
        Ok(Self { strings, pointers })
    }

    /// Number of strings.
    pub fn len(&self) -> usize {
        self.strings.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.strings.is_empty()
    }
}

/// Replaces the calling process; returns only with an error, `execve(2)`'s.
pub fn execve(path: &CStr, arguments: &StringVector, environment: &StringVector) -> io::Error {
    // SAFETY: `path` is NUL-terminated; both vectors end with a null pointer
    // and hold pointers to NUL-terminated strings that they own.
    unsafe {
        libc::execve(
            path.as_ptr(),
            arguments.pointers.as_ptr(),
            environment.pointers.as_ptr(),
        )
    };
    io::Error::last_os_error()
}

/// Sends a signal by number, real-time ones too, `pidfd_send_signal(2)`.
pub fn pidfd_signal(pidfd: BorrowedFd<'_>, signal: i32) -> rustix::io::Result<()> {
    // SAFETY: takes plain numbers and a null siginfo, which asks for the
    // default one.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        let error = io::Error::last_os_error();
        Err(rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::INVAL))
    }
}

/// Ends the process at once, without destructors or exit handlers.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: `_exit` takes any value and does not return.
    unsafe { libc::_exit(status) }
}

/// How a child ended, in Docker's numbers: its status, or 128 + signal.
pub fn exit_code(status: rustix::process::WaitIdStatus) -> i32 {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 255,
    }
}

/// Leaves namespaces for new ones, `unshare(2)`: `CLONE_NEW…` bits alone.
///
/// Flags that take shared descriptors or directories apart are refused with
/// `EINVAL`: they would break assumptions of the standard library.
pub fn unshare(namespaces: u64) -> io::Result<()> {
    const NAMESPACES: u64 = (libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | 0x80) as u64;
    let flags = i32::try_from(namespaces)
        .ok()
        .filter(|_| namespaces & !NAMESPACES == 0)
        .ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
    // SAFETY: takes plain numbers; what is unshared is checked above to be
    // namespaces alone.
    if unsafe { libc::unshare(flags) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
