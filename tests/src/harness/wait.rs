//! Waiting on a condition, with a bound; never a bare sleep.

use std::time::{Duration, Instant};

/// Pause between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Calls `look` until it gives a value, for at most `bound`; then fails with
/// `what` and the last reason.
///
/// # Panics
/// When the bound is passed.
#[track_caller]
pub fn until<T>(what: &str, bound: Duration, look: impl FnMut() -> Result<T, String>) -> T {
    try_until(bound, look).unwrap_or_else(|why| panic!("{what}: not within {bound:?}; last: {why}"))
}

/// The same, giving the last reason back instead of failing.
///
/// # Errors
/// The last reason, when the bound is passed.
pub fn try_until<T, E>(bound: Duration, mut look: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let end = Instant::now() + bound;
    loop {
        match look() {
            Ok(value) => return Ok(value),
            Err(why) if Instant::now() >= end => return Err(why),
            Err(_) => std::thread::sleep(LOOK_EVERY),
        }
    }
}
