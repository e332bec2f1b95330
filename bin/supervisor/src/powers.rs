//! What a supervisor is able to do while its container runs.
//!
//! An exec may be given every capability there is (`docker exec --privileged`),
//! and a process cannot give what it does not have, so what is permitted and
//! the bounding set stay what the daemon was given. Effective is what the
//! supervisor itself needs; a fork that joins the container takes back the
//! rest. For the same reason there is no seccomp filter: it would be inherited
//! by every exec, and none that denies anything fits one that may do all.

use std::io;

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

/// Signals to processes of other users; sockets, pipes and descriptors in
/// flight beyond what the kernel allows one user, as all supervisors are one.
const AT_REST: CapabilitySet = CapabilitySet::KILL.union(CapabilitySet::SYS_RESOURCE);

/// Lays down what only the making of containers and execs needs.
pub(crate) fn lay_down() -> io::Result<()> {
    let mut sets = capabilities(None)?;
    sets.effective = sets.permitted & AT_REST;
    Ok(set_capabilities(None, sets)?)
}

/// Takes all of it up again.
pub(crate) fn take_up() -> io::Result<()> {
    let mut sets = capabilities(None)?;
    sets.effective = sets.permitted;
    Ok(set_capabilities(None, sets)?)
}
