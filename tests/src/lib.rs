//! The harness of the end-to-end tests.
//!
//! A test gets an [`Engine`]: the built program in a [`World`] of its own (a
//! fresh set of namespaces, control groups and directories), driven from outside
//! by the unmodified `docker` command. After each test an [`Inventory`] of the
//! world is compared with the one taken before: mounts, network namespaces,
//! links, control groups, processes, nftables elements, the daemon's descriptors
//! and files. Whatever is left over fails the test and is named.
//!
//! Most tests are `.case` files ([`case`] has their form). The same cases run
//! against dockerd with `CARRACK_E2E_ENGINE=dockerd`, which is how a case is
//! shown to be right before it is held against Carrack.
#![forbid(unsafe_code)]

pub mod harness;

pub use harness::case;
pub use harness::engine::{Engine, Kind, Options, Own, Shared, own, shared};
pub use harness::inventory::Inventory;
pub use harness::run_case;
pub use harness::shell::{Output, Terminal};
pub use harness::skips::skipped;
pub use harness::wait::until;
pub use harness::world::World;
pub use harness::{carrack_bin, next_carrack_bin};

/// Declares one `#[test]` for each `.case` file of a folder under `tests/`.
///
/// `cases!("docker_cli/run": env, user);` runs `tests/docker_cli/run/env.case`
/// and `user.case`. `every_case_is_declared` fails when a file is in no list.
#[macro_export]
macro_rules! cases {
    ($folder:literal: $($name:ident),+ $(,)?) => {
        $(
            #[test]
            fn $name() {
                $crate::run_case(concat!($folder, "/", stringify!($name)));
            }
        )+
        /// What [`cases!`] declared here, for the test of completeness.
        pub(crate) const DECLARED: (&str, &[&str]) = ($folder, &[$(stringify!($name)),+]);
    };
}
