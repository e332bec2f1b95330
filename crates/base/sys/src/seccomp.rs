//! Loading a classic BPF filter, `seccomp(2)`.

use std::io;

/// One instruction, `struct sock_filter` of `<linux/filter.h>`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Jump if true.
    pub jump_true: u8,
    /// Jump if false.
    pub jump_false: u8,
    /// Operand.
    pub operand: u32,
}

#[repr(C)]
struct Program {
    length: u16,
    instructions: *const Instruction,
}

const SECCOMP_SET_MODE_FILTER: libc::c_ulong = 1;

/// Loads a filter for the calling thread and its children.
///
/// Needs `no_new_privs` or CAP_SYS_ADMIN in the own user namespace. `flags`
/// are `SECCOMP_FILTER_FLAG_…` bits that return no descriptor. `EINVAL` for a
/// program that is empty, too long or malformed.
pub fn load_filter(instructions: &[Instruction], flags: u32) -> io::Result<()> {
    let length = u16::try_from(instructions.len())
        .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let program = Program {
        length,
        instructions: instructions.as_ptr(),
    };
    // SAFETY: `program` has the layout of sock_fprog and points to `length`
    // live instructions; the kernel copies them during the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            SECCOMP_SET_MODE_FILTER,
            libc::c_ulong::from(flags),
            std::ptr::from_ref(&program),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
