//! Resource limits by number.

use std::io;

/// A limit, soft and hard, `getrlimit(2)`; `u64::MAX` is unlimited.
pub fn resource_limit(resource: u32) -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is live and exclusive for the call, which fills it; no
    // new limit is given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            resource,
            std::ptr::null::<libc::rlimit64>(),
            std::ptr::from_mut(&mut limit),
        )
    };
    if result == 0 {
        Ok((limit.rlim_cur, limit.rlim_max))
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_limits_are_read() {
        let (soft, hard) = resource_limit(libc::RLIMIT_NOFILE).unwrap();
        assert!(soft <= hard && hard > 0);
        assert!(resource_limit(4711).is_err());
    }
}
