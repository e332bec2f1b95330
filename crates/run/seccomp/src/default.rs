//! The default profile: Docker's meaning of it, in our own order.
//!
//! Source: moby/profiles `seccomp/default_linux.go`, as of summer 2026, with
//! the later allow-list of socket families. Refused is what is not named
//! here: with `EPERM`, so that programs see a lack of permission. What that
//! keeps from a container without further capabilities is above all
//! `io_uring_*`, the keyring (`add_key`, `keyctl`, `request_key`),
//! `userfaultfd`, `bpf`, `perf_event_open`, everything that mounts or enters
//! a namespace, modules, `kexec_*`, `swapon`, clocks, and NUMA policy.

use std::sync::LazyLock;

use carrack_oci::runtime::{SeccompAction, SeccompArg, SeccompOperator, SeccompSyscall};

use crate::profile::{Architectures, Condition, Rule};
use crate::{CapabilitySet, KernelVersion, Profile};

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// Files and directories by name, and their attributes.
const NAMES: &str = "
    access chdir chmod chown chown32 creat faccessat faccessat2 fchdir fchmod fchmodat fchmodat2
    fchown fchown32 fchownat fgetxattr flistxattr fremovexattr fsetxattr fstat fstat64 fstatat64
    fstatfs fstatfs64 futimesat getcwd getdents getdents64 getxattr getxattrat lchown lchown32
    lgetxattr link linkat listmount listxattr listxattrat llistxattr lremovexattr lsetxattr lstat
    lstat64 mkdir mkdirat mknod mknodat name_to_handle_at newfstatat open openat openat2 readlink
    readlinkat removexattr removexattrat rename renameat renameat2 rmdir setxattr setxattrat stat
    stat64 statfs statfs64 statmount statx symlink symlinkat truncate truncate64 umask unlink
    unlinkat utime utimensat utimensat_time64 utimes";

/// Descriptors and what is read and written through them.
const DESCRIPTORS: &str = "
    _llseek _newselect close close_range copy_file_range dup dup2 dup3 epoll_create epoll_create1
    epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2
    fadvise64 fadvise64_64 fallocate fanotify_mark fcntl fcntl64 fdatasync flock fsync ftruncate
    ftruncate64 inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy
    io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit ioctl lseek pipe pipe2 poll
    ppoll ppoll_time64 pread64 preadv preadv2 pselect6 pselect6_time64 pwrite64 pwritev pwritev2
    read readahead readv select sendfile sendfile64 signalfd signalfd4 splice sync sync_file_range
    syncfs tee timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64
    vmsplice write writev";

/// Memory, also shared.
const MEMORY: &str = "
    brk cachestat madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock
    mlock2 mlockall mmap mmap2 mprotect mremap mseal msync munlock munlockall munmap pkey_alloc
    pkey_free pkey_mprotect remap_file_pages";

/// Processes and threads, their scheduling and limits. `clone` and `clone3`
/// have rules of their own.
const PROCESSES: &str = "
    execve execveat exit exit_group fork get_robust_list get_thread_area getcpu getpgid getpgrp
    getpid getppid getpriority getrlimit getrusage getsid gettid ioprio_get ioprio_set pidfd_open
    prctl prlimit64 process_mrelease riscv_hwprobe rseq sched_get_priority_max
    sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler
    sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr
    sched_setparam sched_setscheduler sched_yield set_robust_list set_thread_area set_tid_address
    setpgid setpriority setrlimit setsid sysinfo times ugetrlimit uname uretprobe vfork wait4
    waitid waitpid";

/// Who a process is, and what it gives up.
const IDENTITY: &str = "
    capget capset getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32
    getresgid getresgid32 getresuid getresuid32 getuid getuid32 landlock_add_rule
    landlock_create_ruleset landlock_restrict_self seccomp setfsgid setfsgid32 setfsuid setfsuid32
    setgid setgid32 setgroups setgroups32 setregid setregid32 setresgid setresgid32 setresuid
    setresuid32 setreuid setreuid32 setuid setuid32";

/// Signals, waiting and time. Setting the clock fails without the capability:
/// `adjtimex` only reads it then.
const SIGNALS_AND_TIME: &str = "
    adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime
    clock_gettime64 clock_nanosleep clock_nanosleep_time64 futex futex_requeue futex_time64
    futex_wait futex_waitv futex_wake getitimer getrandom gettimeofday kill nanosleep pause
    pidfd_send_signal restart_syscall rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo
    rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo setitimer
    sigaltstack sigprocmask sigreturn tgkill time timer_create timer_delete timer_getoverrun
    timer_gettime timer_gettime64 timer_settime timer_settime64 tkill";

/// Sockets and System V and POSIX IPC. `socket` has rules of its own; behind
/// `socketcall` of i386 its arguments are out of a filter's sight.
const SOCKETS_AND_IPC: &str = "
    accept accept4 bind connect getpeername getsockname getsockopt ipc listen mq_getsetattr
    mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64
    mq_unlink msgctl msgget msgrcv msgsnd recv recvfrom recvmmsg recvmmsg_time64 recvmsg semctl
    semget semop semtimedop semtimedop_time64 send sendmmsg sendmsg sendto setsockopt shmat shmctl
    shmdt shmget shutdown socketcall socketpair";

/// What a capability allows.
const BY_CAPABILITY: &[(&str, &str)] = &[
    ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    (
        "CAP_SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie
         lsm_get_self_attr lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount
         open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog
         umount umount2 unshare",
    ),
    ("CAP_SYS_BOOT", "reboot"),
    ("CAP_SYS_CHROOT", "chroot"),
    ("CAP_SYS_MODULE", "delete_module finit_module init_module"),
    ("CAP_SYS_PACCT", "acct"),
    (
        "CAP_SYS_PTRACE",
        "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
    ),
    ("CAP_SYS_RAWIO", "ioperm iopl"),
    (
        "CAP_SYS_TIME",
        "clock_settime clock_settime64 settimeofday stime",
    ),
    ("CAP_SYS_TTY_CONFIG", "vhangup"),
    (
        "CAP_SYS_NICE",
        "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    ),
    ("CAP_SYSLOG", "syslog"),
    ("CAP_BPF", "bpf"),
    ("CAP_PERFMON", "perf_event_open"),
];

/// What only some architectures have.
const BY_ARCHITECTURE: &[(&[&str], &str)] = &[
    (
        &["arm", "arm64"],
        "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2",
    ),
    (&["amd64", "x32"], "arch_prctl"),
    (&["amd64", "x32", "x86"], "modify_ldt"),
];

/// Since 4.8 a seccomp filter is also asked after a tracer changed the call,
/// so that tracing is no way around it.
const TRACING: &str = "process_vm_readv process_vm_writev ptrace";
const TRACING_SINCE: KernelVersion = KernelVersion {
    kernel: 4,
    major: 8,
};

/// The families 1 (`AF_UNIX`) to 11 (`AF_ROSE`) are below this one.
const FIRST_REFUSED_FAMILY: u64 = 12;
/// Families above: without those that kernels no longer have, and without
/// `AF_ALG` (38: the kernel's ciphers) and `AF_VSOCK` (40: the hypervisor).
///
/// Named one by one, not as "greater than 40": the comparison has 64 bits,
/// the family 32, and 2^32 + 38 would pass it and be `AF_ALG`.
const FAMILIES: &[u64] = &[
    13, 14, 15, 16, 17, 18, 21, 22, 24, 26, 27, 28, 29, 30, 31, 32, 33, 35, 36, 39, 41, 42, 43, 44,
    45,
];

/// `personality(2)`: `PER_LINUX`, `PER_LINUX32`, each also with
/// `UNAME26`, and the question which one it is.
const PERSONALITIES: &[u64] = &[0, 0x0008, 0x2_0000, 0x2_0008, 0xFFFF_FFFF];

/// `CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}` of `linux/sched.h`.
const NEW_NAMESPACES: u64 = 0x7E02_0000;

/// Docker's default profile.
pub fn default_profile() -> &'static Profile {
    static PROFILE: LazyLock<Profile> = LazyLock::new(build);
    &PROFILE
}

fn build() -> Profile {
    let always = [
        NAMES,
        DESCRIPTORS,
        MEMORY,
        PROCESSES,
        IDENTITY,
        SIGNALS_AND_TIME,
        SOCKETS_AND_IPC,
    ];
    let mut rules: Vec<Rule> = always.iter().map(|names| allow(names)).collect();
    rules.push(Rule {
        includes: Condition {
            min_kernel: Some(TRACING_SINCE),
            ..Condition::default()
        },
        ..allow(TRACING)
    });
    rules.push(allow_if(
        "socket",
        SeccompOperator::Less,
        FIRST_REFUSED_FAMILY,
        0,
    ));
    for (name, values) in [("socket", FAMILIES), ("personality", PERSONALITIES)] {
        rules.extend(
            values
                .iter()
                .map(|&value| allow_if(name, SeccompOperator::Equal, value, 0)),
        );
    }
    rules.extend(BY_ARCHITECTURE.iter().map(|(arches, names)| Rule {
        includes: Condition {
            arches: arches.iter().map(ToString::to_string).collect(),
            ..Condition::default()
        },
        ..allow(names)
    }));
    rules.extend(BY_CAPABILITY.iter().map(|(capability, names)| Rule {
        includes: having(capability),
        ..allow(names)
    }));
    rules.push(Rule {
        excludes: having("CAP_SYS_ADMIN"),
        ..allow_if("clone", SeccompOperator::MaskedEqual, NEW_NAMESPACES, 0)
    });
    // Its flags are behind a pointer. ENOSYS makes a C library use `clone`.
    rules.push(Rule {
        excludes: having("CAP_SYS_ADMIN"),
        ..rule("clone3", SeccompAction::Errno, Some(ENOSYS), Vec::new())
    });
    Profile {
        default_action: SeccompAction::Errno,
        default_errno: Some(EPERM),
        architectures: Architectures::Mapped(vec![
            entry("SCMP_ARCH_X86_64", &["SCMP_ARCH_X86", "SCMP_ARCH_X32"]),
            entry("SCMP_ARCH_AARCH64", &["SCMP_ARCH_ARM"]),
        ]),
        flags: Vec::new(),
        listener_path: None,
        listener_metadata: None,
        rules,
    }
}

fn allow(names: &str) -> Rule {
    rule(names, SeccompAction::Allow, None, Vec::new())
}

fn allow_if(name: &str, op: SeccompOperator, value: u64, value_two: u64) -> Rule {
    let first_argument = SeccompArg {
        index: 0,
        value,
        value_two,
        op,
    };
    rule(name, SeccompAction::Allow, None, vec![first_argument])
}

fn rule(names: &str, action: SeccompAction, errno_ret: Option<u32>, args: Vec<SeccompArg>) -> Rule {
    Rule {
        call: SeccompSyscall {
            names: names.split_whitespace().map(str::to_owned).collect(),
            action,
            errno_ret,
            args,
        },
        includes: Condition::default(),
        excludes: Condition::default(),
    }
}

fn having(capability: &str) -> Condition {
    Condition {
        capabilities: CapabilitySet::from_names([capability]),
        ..Condition::default()
    }
}

fn entry(architecture: &str, subs: &[&str]) -> (String, Vec<String>) {
    (
        architecture.to_owned(),
        subs.iter().map(ToString::to_string).collect(),
    )
}
