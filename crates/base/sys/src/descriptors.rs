//! Sets of descriptors: closing ranges, passing them over a unix socket.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

/// Descriptors in one message; the kernel's `SCM_MAX_FD` is 253.
pub const MAX_PASSED: usize = 250;

const ANCILLARY_BYTES: usize = rustix::cmsg_space!(ScmRights(MAX_PASSED));

/// What happens to a range of descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// Now.
    Now,
    /// At the next exec.
    OnExec,
}

/// A copy, close-on-exec, of a descriptor that this process was started with;
/// the original stays open. `EBADF` when there is none of that number.
pub fn inherited(number: u32) -> io::Result<OwnedFd> {
    let number = i32::try_from(number).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: `fcntl` takes any number, open or not, and only makes a copy.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made `copy`, so nobody else owns it.
    Ok(unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(copy) })
}

/// Closes every descriptor from `first` up, `close_range(2)` (Linux 5.9;
/// `CLOSE_RANGE_CLOEXEC` 5.11).
///
/// With [`Closing::Now`] it is for a child between fork and exec: owned
/// descriptors elsewhere in the program would be left dangling.
pub fn close_from(first: u32, closing: Closing) -> io::Result<()> {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 1 << 2;
    let flags = match closing {
        Closing::Now => 0,
        Closing::OnExec => CLOSE_RANGE_CLOEXEC,
    };
    close_range(first, libc::c_uint::MAX, flags)
}

/// Closes every descriptor from `first` to `last`, both included; see
/// [`close_from`] for what it means for owners.
pub fn close_between(first: u32, last: u32) -> io::Result<()> {
    close_range(first, last, 0)
}

fn close_range(first: u32, last: u32, flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: takes plain numbers; the callers' docs say what closing means
    // for owned descriptors elsewhere in the program.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Sends bytes and descriptors in one message; returns the bytes taken, which
/// may be fewer than given. The descriptors go with the first byte.
/// `EINVAL` for more than [`MAX_PASSED`] descriptors.
pub fn send_with(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    if descriptors.len() > MAX_PASSED {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mut space = [MaybeUninit::uninit(); ANCILLARY_BYTES];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    let slices = [IoSlice::new(bytes)];
    Ok(rustix::net::sendmsg(
        socket,
        &slices,
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?)
}

/// Receives bytes and, close-on-exec, the descriptors that came with them.
/// Zero bytes is the end of the stream.
pub fn receive_with(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); ANCILLARY_BYTES];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(buffer)];
    let received =
        rustix::net::recvmsg(socket, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Ok(received.bytes)
}
