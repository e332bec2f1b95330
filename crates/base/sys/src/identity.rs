//! What a process is: keyring, scheduling, I/O priority, execution domain,
//! resource limits by number.

use std::io;
use std::ptr;

fn check(result: libc::c_long) -> io::Result<()> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Whether the process is the superuser of its user namespace.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Gives the process a new anonymous session keyring, `keyctl(2)`.
pub fn join_new_session_keyring() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: a null name asks for an anonymous keyring; nothing is written.
    check(unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            KEYCTL_JOIN_SESSION_KEYRING,
            ptr::null::<libc::c_char>(),
        )
    })
}

/// Sets the execution domain, `personality(2)`.
pub fn set_personality(domain: u64) -> io::Result<()> {
    // SAFETY: takes a plain number.
    check(libc::c_long::from(unsafe { libc::personality(domain) }))
}

/// Sets the calling process' I/O priority, `ioprio_set(2)`: class 1 to 3 and
/// priority 0 to 7.
pub fn set_io_priority(class: u8, priority: u8) -> io::Result<()> {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    let value = (libc::c_int::from(class) << 13) | libc::c_int::from(priority);
    // SAFETY: takes plain numbers; 0 is the calling thread.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, value) })
}

/// Scheduling attributes, `struct sched_attr` of `<linux/sched/types.h>`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchedulingAttributes {
    /// Filled in by [`set_scheduling`].
    pub size: u32,
    /// `SCHED_…` number.
    pub policy: u32,
    /// `SCHED_FLAG_…` bits.
    pub flags: u64,
    /// For SCHED_OTHER and SCHED_BATCH.
    pub nice: i32,
    /// For SCHED_FIFO and SCHED_RR.
    pub priority: u32,
    /// SCHED_DEADLINE, nanoseconds.
    pub runtime_ns: u64,
    /// SCHED_DEADLINE, nanoseconds.
    pub deadline_ns: u64,
    /// SCHED_DEADLINE, nanoseconds.
    pub period_ns: u64,
}

/// Sets the calling thread's scheduling, `sched_setattr(2)`.
pub fn set_scheduling(attributes: &SchedulingAttributes) -> io::Result<()> {
    let mut attributes = *attributes;
    attributes.size = size_of::<SchedulingAttributes>() as u32;
    // SAFETY: `attributes` is a live sched_attr whose size field is right.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, ptr::from_ref(&attributes), 0) })
}

/// Sets a resource limit by its number, `setrlimit(2)`; `u64::MAX` is
/// unlimited.
pub fn set_resource_limit(resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit64 {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: `limit` is live; the old limit is not asked for.
    check(unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            resource,
            ptr::from_ref(&limit),
            ptr::null::<libc::rlimit64>(),
        )
    })
}

/// Drops a capability from the bounding set, `prctl(2)`.
pub fn drop_bounding(capability: u32) -> io::Result<()> {
    // SAFETY: takes plain numbers.
    check(libc::c_long::from(unsafe {
        libc::prctl(
            libc::PR_CAPBSET_DROP,
            libc::c_ulong::from(capability),
            0,
            0,
            0,
        )
    }))
}

/// Raises a capability into the ambient set, `prctl(2)`.
pub fn raise_ambient(capability: u32) -> io::Result<()> {
    // SAFETY: takes plain numbers.
    check(libc::c_long::from(unsafe {
        libc::prctl(
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_RAISE,
            libc::c_ulong::from(capability),
            0,
            0,
        )
    }))
}

/// The three capability sets of a thread as bits, `capabilities(7)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapabilitySets {
    /// Checked by the kernel.
    pub effective: u64,
    /// May be made effective.
    pub permitted: u64,
    /// Kept through an exec of a file with inheritable capabilities.
    pub inheritable: u64,
}

/// Sets the calling thread's capability sets, `capset(2)`.
pub fn set_capabilities(sets: CapabilitySets) -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    struct Data {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    const VERSION_3: u32 = 0x2008_0522;
    let header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let half = |shift: u32| Data {
        effective: (sets.effective >> shift) as u32,
        permitted: (sets.permitted >> shift) as u32,
        inheritable: (sets.inheritable >> shift) as u32,
    };
    let data = [half(0), half(32)];
    // SAFETY: header and the two data elements that version 3 reads are live.
    check(unsafe { libc::syscall(libc::SYS_capset, ptr::from_ref(&header), data.as_ptr()) })
}
