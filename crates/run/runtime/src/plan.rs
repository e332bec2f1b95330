//! What a container's init does, step by step, as plain data.
//!
//! A plan crosses from the daemon to the supervisor's init in the versioned
//! protocol of `run/supervision`; a field that is added goes to the end of its
//! struct and is guarded by the protocol's version. Descriptors are named by
//! their position among those that were sent with the plan.

mod bytes;

use serde::{Deserialize, Serialize};

/// Position of a descriptor among those sent with a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescriptorIndex(pub u8);

/// Everything that the init of a new container does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The root file system, a detached mount.
    pub root: RootPlan,
    /// Host name to set.
    pub hostname: Option<String>,
    /// NIS domain name to set.
    pub domainname: Option<String>,
    /// Whether the cgroup namespace is made new, rooted in the leaf.
    pub cgroup_namespace: CgroupNamespace,
    /// Mounts, in order.
    pub mounts: Vec<MountPlan>,
    /// Device nodes, made after the mounts.
    pub devices: Vec<DevicePlan>,
    /// Whether `/dev` gets the usual links (`fd`, `stdin`, `ptmx`, …).
    pub dev_links: bool,
    /// Kernel parameters: path below `/proc/sys` and value.
    pub sysctls: Vec<(String, String)>,
    /// Paths made read-only.
    pub readonly_paths: Vec<String>,
    /// Paths made unreadable.
    pub masked_paths: Vec<String>,
    /// Programs run inside before the user's.
    pub start_hooks: Vec<HookPlan>,
    /// What process 1 is.
    pub first_process: FirstProcess,
    /// The user's program.
    pub process: ProcessPlan,
    /// Programs of the host run in the container's namespaces once everything
    /// is mounted, before `pivot_root`.
    pub create_hooks: Vec<HookPlan>,
}

impl Plan {
    /// The same plan without what is large and of no use once it was sent:
    /// a supervisor keeps it for the life of its container.
    #[must_use]
    pub fn without_bulk(mut self) -> Self {
        self.mounts = Vec::new();
        self.devices = Vec::new();
        self.process.environment = Vec::new();
        self.process.arguments = Vec::new();
        self.process.seccomp = None;
        self.masked_paths = Vec::new();
        self.readonly_paths = Vec::new();
        self.create_hooks = Vec::new();
        self.start_hooks = Vec::new();
        self
    }

    /// Sets the state that hooks inside the container are given, made by
    /// [`crate::hooks::state`] without a process id.
    pub fn set_hook_state(&mut self, state: &str) {
        for hook in self.create_hooks.iter_mut().chain(&mut self.start_hooks) {
            state.clone_into(&mut hook.state);
        }
    }

    /// Whether the plan stays within namespaces that are the container's own,
    /// `CLONE_NEW…` bits: a name, a kernel parameter or a root set in the
    /// host's would change the host.
    pub fn check(&self, own_namespaces: u64) -> Result<(), Failure> {
        let own = |bit: i32| own_namespaces & bit as u64 != 0;
        if !own(libc::CLONE_NEWNS) {
            return Err(Failure::other(
                "a container needs a mount namespace of its own",
            ));
        }
        if (self.hostname.is_some() || self.domainname.is_some()) && !own(libc::CLONE_NEWUTS) {
            return Err(Failure::other(
                "a host name needs a UTS namespace of the container's own",
            ));
        }
        for (path, _) in &self.sysctls {
            if !crate::sysctl::namespace(path).is_some_and(own) {
                return Err(Failure::other(format!(
                    "sysctl {path} is not in a namespace of the container's own"
                )));
            }
        }
        Ok(())
    }
}

/// The root file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootPlan {
    /// A detached mount.
    pub mount: DescriptorIndex,
    /// Made read-only once everything is in place.
    pub readonly: bool,
    /// `MS_…` propagation bits of the root, applied last; 0 is private.
    pub propagation: u64,
    /// Where it is mounted until `pivot_root`; only hooks see it there.
    pub staging: Option<String>,
}

/// Whether the container sees its cgroup as the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CgroupNamespace {
    /// A new namespace.
    New,
    /// As it is.
    Keep,
}

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPlan {
    /// Absolute path inside; missing parts are made, symlinks are followed
    /// inside the root alone.
    pub destination: String,
    /// What is mounted.
    pub source: MountSource,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A detached mount whose attributes are set already.
    Descriptor(DescriptorIndex),
    /// A new instance of a file system.
    FileSystem(FileSystemPlan),
    /// The v1 hierarchies side by side: a tmpfs with a bind of each.
    CgroupHierarchies {
        /// Directory name and detached mount of each hierarchy's leaf.
        hierarchies: Vec<(String, DescriptorIndex)>,
        /// Links: name and target.
        links: Vec<(String, String)>,
        /// Whether all of it is read-only.
        readonly: bool,
    },
}

/// A new instance of a file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSystemPlan {
    /// `proc`, `tmpfs`, ….
    pub kind: String,
    /// Device or name.
    pub source: String,
    /// Parameters: with a value or as a flag.
    pub parameters: Vec<(String, Option<String>)>,
    /// `MOUNT_ATTR_…` bits.
    pub attributes: u64,
    /// `MS_…` propagation bits; 0 leaves them.
    pub propagation: u64,
    /// Whether what the directory holds is copied into the new one.
    pub copy_up: bool,
}

/// A device node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DevicePlan {
    /// Absolute path inside.
    pub path: String,
    /// What it is.
    pub kind: DeviceKind,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// The host's node as a detached mount, where a user namespace forbids
    /// to make one.
    pub bind: Option<DescriptorIndex>,
}

/// Kinds of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceKind {
    /// Character device.
    Character,
    /// Block device.
    Block,
    /// Named pipe.
    Fifo,
}

/// A program run inside the container before the user's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookPlan {
    /// Absolute path.
    pub path: String,
    /// `argv`.
    pub arguments: Vec<String>,
    /// Environment.
    pub environment: Vec<String>,
    /// Bound of its run in seconds; 0 is none.
    pub timeout_s: u32,
    /// State document given on its standard input, without the process id.
    pub state: String,
}

/// What process 1 of the container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FirstProcess {
    /// The user's program.
    Program,
    /// A small init that forwards signals and reaps; the program is its child.
    Reaper,
}

/// A program: of a container, or added by an exec.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessPlan {
    /// `argv`.
    pub arguments: Vec<String>,
    /// Environment.
    pub environment: Vec<String>,
    /// Working directory, absolute.
    pub directory: String,
    /// Whether a missing working directory is made.
    pub make_directory: bool,
    /// Who it runs as.
    pub user: UserPlan,
    /// File mode creation mask.
    pub umask: Option<u32>,
    /// Capability sets as bits.
    pub capabilities: CapabilityPlan,
    /// `PR_SET_NO_NEW_PRIVS`.
    pub no_new_privileges: bool,
    /// System call filter.
    pub seccomp: Option<SeccompPlan>,
    /// `RLIMIT_…` number, soft, hard.
    pub limits: Vec<(u32, u64, u64)>,
    /// `/proc/self/oom_score_adj`.
    pub oom_score_adj: Option<i32>,
    /// Standard input is `/dev/null`.
    pub null_stdin: bool,
    /// A pseudo-terminal is the standard streams.
    pub terminal: Option<TerminalSize>,
    /// `personality(2)`.
    pub personality: Option<u64>,
    /// `ioprio_set(2)`: class and priority.
    pub io_priority: Option<(u8, u8)>,
    /// `sched_setattr(2)`.
    pub scheduling: Option<SchedulingPlan>,
    /// Descriptors from 3 on that the program gets as they are.
    pub preserved_descriptors: u32,
}

/// Size of a terminal; zeros leave the kernel's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Rows.
    pub rows: u16,
    /// Columns.
    pub columns: u16,
}

/// Who a program runs as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UserPlan {
    /// Numbers, used as they are.
    Ids {
        /// User.
        uid: u32,
        /// Group.
        gid: u32,
        /// Supplementary groups.
        groups: Vec<u32>,
    },
    /// Docker's `user[:group]` and further groups, looked up in the
    /// container's `/etc/passwd` and `/etc/group`.
    Named {
        /// `user[:group]`; empty is root.
        user: String,
        /// Names or numbers.
        groups: Vec<String>,
    },
}

/// Five sets of bits, bit n for capability n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapabilityPlan {
    /// Upper bound.
    pub bounding: u64,
    /// Checked.
    pub effective: u64,
    /// May be made effective.
    pub permitted: u64,
    /// Kept through an exec.
    pub inheritable: u64,
    /// Kept through an exec by another user than root.
    pub ambient: u64,
}

/// A classic BPF program, compiled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeccompPlan {
    /// Eight bytes an instruction, `struct sock_filter` in native order.
    #[serde(with = "bytes")]
    pub program: Vec<u8>,
    /// `SECCOMP_FILTER_FLAG_…` bits.
    pub flags: u32,
}

/// Scheduling attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchedulingPlan {
    /// `SCHED_…` number.
    pub policy: u32,
    /// `SCHED_FLAG_…` bits.
    pub flags: u64,
    /// Nice value.
    pub nice: i32,
    /// Real-time priority.
    pub priority: u32,
    /// Deadline runtime, nanoseconds.
    pub runtime_ns: u64,
    /// Deadline, nanoseconds.
    pub deadline_ns: u64,
    /// Deadline period, nanoseconds.
    pub period_ns: u64,
}

/// Why a start or an exec failed, said by the process that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What was tried, as a clause: `mount proc at /proc`.
    pub action: String,
    /// `errno`, 0 where none fits.
    pub errno: i32,
    /// The status that Docker's clients expect: 127 not found, 126 not
    /// executable, 125 all else.
    pub exit_code: i32,
}

impl Failure {
    /// The sentence for people: what was tried and why it failed.
    pub fn sentence(&self) -> String {
        if self.errno == 0 {
            self.action.clone()
        } else {
            format!("{}: {}", self.action, errno_text(self.errno))
        }
    }
}

/// An `errno`'s text in the words that clients match, lower-case.
fn errno_text(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.to_lowercase()
}
