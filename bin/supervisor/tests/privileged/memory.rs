//! What a supervisor costs while its container idles.

use crate::harness::{Setup, can_run};
use crate::streams::private_kib;

/// The figure for the static program from one sealed memfd is in
/// `docs/benchmarks.md`; this one, dynamically linked and not optimised, only
/// guards against growth.
#[test]
fn a_supervisor_does_not_grow_with_use() {
    if !can_run() {
        return;
    }
    let mut container = Setup::new("sleep 100").start();
    for _ in 0..20 {
        container.sh("seq 1 2000");
    }
    let before = private_kib(container.child.id());
    for _ in 0..60 {
        container.sh("seq 1 2000");
    }
    let after = private_kib(container.child.id());
    assert!(after <= before + 64, "{before} KiB to {after} KiB");
}
