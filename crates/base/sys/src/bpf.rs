//! Programs of the device controller on cgroup v2: the few commands of
//! `bpf(2)` that load one and hang it on a group.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// One instruction, `struct bpf_insn` of `<linux/bpf.h>`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BpfInstruction {
    /// Class, operation and source.
    pub code: u8,
    /// Destination register in the low half, source register in the high one.
    pub registers: u8,
    /// Jump distance or memory offset.
    pub offset: i16,
    /// Operand.
    pub immediate: i32,
}

/// Most programs that one group is asked for; the kernel's own bound is 64.
pub const ATTACHED_LIMIT: usize = 64;

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_ATTACH: libc::c_long = 8;
const BPF_PROG_DETACH: libc::c_long = 9;
const BPF_PROG_GET_FD_BY_ID: libc::c_long = 13;
const BPF_PROG_QUERY: libc::c_long = 16;

const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;
const BPF_F_REPLACE: u32 = 4;

#[repr(C)]
#[derive(Default)]
struct LoadAttributes {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    program_flags: u32,
    name: [u8; 16],
}

#[repr(C)]
#[derive(Default)]
struct AttachAttributes {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
    replaced: u32,
    padding: u32,
}

#[repr(C)]
#[derive(Default)]
struct QueryAttributes {
    target: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    id_count: u32,
    padding: u32,
}

#[repr(C)]
#[derive(Default)]
struct IdAttributes {
    id: u32,
    next_id: u32,
    open_flags: u32,
    padding: u32,
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

/// # Safety
/// `A` is a `repr(C)` prefix of `union bpf_attr` for `command`, and every
/// address in it points to memory that lives through the call and is as long
/// as the count beside it says.
unsafe fn bpf<A>(command: libc::c_long, attributes: &mut A) -> io::Result<i64> {
    // SAFETY: `attributes` is a live, exclusive, initialised object of the
    // size given; the rest is the caller's promise.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attributes),
            size_of::<A>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// # Safety
/// `value` is a descriptor that the kernel has just returned to the caller
/// alone.
unsafe fn owned(value: i64) -> io::Result<OwnedFd> {
    let number = i32::try_from(value).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: the caller promises that nobody else owns the number.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Loads a device program: the kernel verifies and compiles it.
///
/// `EINVAL` or `EACCES` when the verifier refuses it, `EPERM` without CAP_BPF
/// or CAP_SYS_ADMIN.
pub fn load_device_program(instructions: &[BpfInstruction]) -> io::Result<OwnedFd> {
    let mut attributes = LoadAttributes {
        program_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        instruction_count: u32::try_from(instructions.len())
            .map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?,
        instructions: instructions.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        name: *b"carrack_devices\0",
        ..LoadAttributes::default()
    };
    // SAFETY: the structure is the prefix of the PROG_LOAD member; the
    // instructions are borrowed for the call and `instruction_count` long; the
    // license is a static string that ends in NUL; there is no log buffer.
    let fd = unsafe { bpf(BPF_PROG_LOAD, &mut attributes) }?;
    // SAFETY: PROG_LOAD returns a new descriptor.
    unsafe { owned(fd) }
}

/// Hangs a device program on a v2 group, beside what is there (the access
/// must please all) or in place of `replaced`.
pub fn attach_device_program(
    group: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    replaced: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let mut attributes = AttachAttributes {
        target: raw(group),
        program: raw(program),
        attach_type: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI | replaced.map_or(0, |_| BPF_F_REPLACE),
        replaced: replaced.map_or(0, raw),
        padding: 0,
    };
    // SAFETY: the structure is the prefix of the PROG_ATTACH member and holds
    // no address.
    unsafe { bpf(BPF_PROG_ATTACH, &mut attributes) }.map(drop)
}

/// Takes a device program off a group.
pub fn detach_device_program(group: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attributes = AttachAttributes {
        target: raw(group),
        program: raw(program),
        attach_type: BPF_CGROUP_DEVICE,
        ..AttachAttributes::default()
    };
    // SAFETY: as for PROG_ATTACH, whose structure PROG_DETACH shares.
    unsafe { bpf(BPF_PROG_DETACH, &mut attributes) }.map(drop)
}

/// The device programs that hang on this group itself, not on its ancestors.
pub fn device_programs(group: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    let mut ids = [0_u32; ATTACHED_LIMIT];
    let mut attributes = QueryAttributes {
        target: raw(group),
        attach_type: BPF_CGROUP_DEVICE,
        ids: ids.as_mut_ptr() as u64,
        id_count: ATTACHED_LIMIT as u32,
        ..QueryAttributes::default()
    };
    // SAFETY: the structure is the prefix of the PROG_QUERY member; `ids` has
    // room for `id_count` numbers and is not touched otherwise until the
    // call has returned.
    unsafe { bpf(BPF_PROG_QUERY, &mut attributes) }?;
    let found = (attributes.id_count as usize).min(ATTACHED_LIMIT);
    ids[..found].iter().map(|id| program_by_id(*id)).collect()
}

fn program_by_id(id: u32) -> io::Result<OwnedFd> {
    let mut attributes = IdAttributes {
        id,
        ..IdAttributes::default()
    };
    // SAFETY: the structure is the prefix of the GET_FD_BY_ID member and holds
    // no address.
    let fd = unsafe { bpf(BPF_PROG_GET_FD_BY_ID, &mut attributes) }?;
    // SAFETY: GET_FD_BY_ID returns a new descriptor.
    unsafe { owned(fd) }
}

/// Puts `program` in the place of every device program that hangs on `group`.
///
/// The new one is in force before an old one goes, so no moment is without
/// rules.
pub fn replace_device_programs(group: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let old = device_programs(group)?;
    let mut old = old.iter();
    attach_device_program(group, program, old.next().map(AsFd::as_fd))?;
    old.try_for_each(|program| detach_device_program(group, program.as_fd()))
}
