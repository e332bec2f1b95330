//! What a supervisor costs while its container idles.

use crate::harness::{Setup, can_run};
use crate::rootfs::read;
use crate::streams::{own_kib, private_kib};

/// Private memory of the static program from one sealed memfd, with a
/// container that idles: clean and dirty together.
const MAX_PRIVATE_KIB: u64 = 200;

#[test]
fn a_supervisor_does_not_grow_with_use() {
    if !can_run() {
        return;
    }
    let mut container = Setup::new("sleep 100").start();
    for _ in 0..20 {
        container.sh("seq 1 2000");
    }
    let before = own_kib(container.child.id());
    for _ in 0..60 {
        container.sh("seq 1 2000");
    }
    let after = own_kib(container.child.id());
    assert!(after <= before + 64, "{before} KiB to {after} KiB");
}

/// The figure is that of the program as it is shipped, whose path is given in
/// CARRACK_TEST_SUPERVISOR; cargo's own build is dynamically linked.
#[test]
fn an_idle_supervisor_is_small() {
    if !can_run() {
        return;
    }
    if std::env::var_os("CARRACK_TEST_SUPERVISOR").is_none() {
        println!("SKIP: needs the static supervisor in CARRACK_TEST_SUPERVISOR");
        return;
    }
    // Another one shares the text, as on a machine with more than one container.
    let other = Setup::new("sleep 100").start();
    let container = Setup::new("sleep 100").start();
    let pid = container.child.id();
    let private = private_kib(pid);
    println!("private {private} KiB");
    println!("{}", read(format!("/proc/{pid}/smaps_rollup")));
    if std::env::var_os("CARRACK_TEST_SMAPS").is_some() {
        println!("{}", read(format!("/proc/{pid}/smaps")));
    }
    assert!(private <= MAX_PRIVATE_KIB, "{private} KiB");
    drop(other);
}
