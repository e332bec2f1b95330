//! `carrack daemon`: the engine.

use std::path::PathBuf;

use clap::Parser;

/// Run the engine
///
/// Several engines run side by side: the names of their bridge, firewall table
/// and cgroup come from the exec root.
#[derive(Debug, Parser)]
#[command(name = "carrack daemon", bin_name = "carrack daemon", max_term_width = 100)]
pub(crate) struct Flags {
    /// Directory of what outlives a reboot: images, containers, volumes
    #[arg(long, value_name = "DIR", default_value = "/var/lib/carrack", env = "CARRACK_DATA_ROOT")]
    pub(crate) data_root: PathBuf,

    /// Directory of what does not: sockets, mounts, the sandboxes' state
    #[arg(long, value_name = "DIR", default_value = "/run/carrack", env = "CARRACK_EXEC_ROOT")]
    pub(crate) exec_root: PathBuf,

    /// Socket to listen on, unix://PATH; may be given several times
    /// [default: unix://EXEC_ROOT/carrack.sock]
    #[arg(short = 'H', long = "host", value_name = "HOST")]
    pub(crate) hosts: Vec<String>,

    /// Bridge of the default network [default: made, and named after the exec root]
    #[arg(long, value_name = "NAME")]
    pub(crate) bridge: Option<String>,

    /// Address of that bridge and its subnet, as 172.31.0.1/16 [default: a free one]
    #[arg(long, value_name = "CIDR")]
    pub(crate) bip: Option<String>,

    /// Cgroup under which the containers' are made [default: named after the exec root]
    #[arg(long, value_name = "PATH")]
    pub(crate) cgroup_parent: Option<String>,

    /// How many sandboxes are kept ready to start a container in; 0 makes each when it is needed
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(crate) pool: usize,
}

/// Runs the engine until it is told to stop.
pub(crate) fn run() -> anyhow::Result<()> {
    // The word `daemon` stands where clap expects the program's name.
    let flags = Flags::parse_from(std::env::args_os().skip(1));
    anyhow::bail!("the engine is not wired into this program yet; it would have run on {}", flags.data_root.display())
}
