//! What daemon and supervisor say to each other.
//!
//! A comment names the descriptors that come with a message, in order.

use std::net::SocketAddr;

use carrack_runtime::plan::{Failure, Plan, ProcessPlan};
use serde::{Deserialize, Serialize};

/// Version of the protocol, in every frame's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProtocolVersion(pub u16);

/// From the daemon to a supervisor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// Make the namespaces and park an init in them. The first request.
    /// Descriptors: see [`Prepare`].
    Prepare(Prepare),
    /// Become a container. Descriptors: the container's directory, then those
    /// of the plan.
    Start(Box<Start>),
    /// Attach a client. Descriptor: its socket.
    Attach(Attach),
    /// Tell a waiting client of the end. Descriptor: its socket.
    AwaitExit(AwaitExit),
    /// Run a program inside. Descriptors: the client's socket, if
    /// `attach` is set.
    Exec(Box<Exec>),
    /// Change the size of a terminal.
    Resize {
        /// Whose.
        target: Target,
        /// Rows.
        rows: u16,
        /// Columns.
        columns: u16,
    },
    /// Send a signal to a first process; never to a recycled id.
    Signal {
        /// Whose.
        target: Target,
        /// Number.
        signal: i32,
    },
    /// Relay connections of the host's loopback. Descriptors: a bound socket
    /// for each entry.
    Relay(Relays),
    /// The end is on record: waiting clients may be told.
    ExitRecorded,
    /// All is done; those who wait for the removal are told, and the
    /// supervisor ends. Kills an init that is still parked or running.
    Release,
    /// Answer with the same number, behind all events so far.
    Sync(u64),
    /// The container stays though it is released: give back those who wait for
    /// its removal, one [`Event::HandedBack`] each.
    HandBack,
    /// Let output go to the client that was attached with this number in
    /// [`Attach::held`].
    LetGo(u64),
}

impl Request {
    /// The version of the protocol that brought it.
    #[must_use]
    pub fn since(&self) -> ProtocolVersion {
        match self {
            #[cfg(feature = "next-protocol")]
            Self::Resize { .. } => ProtocolVersion(2),
            _ => ProtocolVersion(1),
        }
    }
}

/// From a supervisor to the daemon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// First on every connection.
    Hello(Hello),
    /// An init is parked.
    Prepared {
        /// Its id on the host.
        pid: u32,
    },
    /// Making the namespaces failed; the supervisor ends.
    PrepareFailed(Failure),
    /// The program executes.
    Started {
        /// Its id on the host.
        pid: u32,
        /// Unix time, nanoseconds.
        at_ns: u64,
    },
    /// The start failed; the supervisor ends.
    StartFailed(Failure),
    /// The container ended and all its output is on record.
    Exited {
        /// 0 to 255.
        code: i32,
        /// Unix time, nanoseconds.
        at_ns: u64,
    },
    /// An exec's program executes.
    ExecStarted {
        /// Which.
        exec: String,
        /// Its id on the host.
        pid: u32,
    },
    /// An exec failed to start.
    ExecFailed {
        /// Which.
        exec: String,
        /// Why.
        failure: Failure,
    },
    /// An exec ended.
    ExecExited {
        /// Which.
        exec: String,
        /// 0 to 255.
        code: i32,
    },
    /// A client left by its detach keys.
    Detached(Target),
    /// A request could not be done, and no event of its own says so.
    Refused {
        /// What was asked.
        request: String,
        /// Why not.
        reason: String,
    },
    /// The root file system is no longer mounted: the container may be started
    /// again.
    Released,
    /// The answer to [`Request::Sync`].
    Synced(u64),
    /// A client that waits for the removal is the daemon's again. Descriptor:
    /// its socket.
    HandedBack(AwaitExit),
    /// A client is attached and held back.
    Held {
        /// The number of [`Attach::held`].
        number: u64,
        /// Unix time, nanoseconds: what is in the log up to here is not sent to
        /// the client, everything later is.
        at_ns: u64,
    },
}

/// How a supervisor introduces itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The sandbox, as its directory is named.
    pub sandbox: String,
    /// The container, empty while parked.
    pub container: String,
    /// Where it stands.
    pub state: RunState,
    /// The supervisor's own process id.
    pub supervisor_pid: u32,
    /// Execs that run: identity and process id.
    pub execs: Vec<(String, u32)>,
}

/// Where a supervisor stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunState {
    /// No namespaces yet.
    Fresh,
    /// An init is parked.
    Parked {
        /// Its id on the host.
        pid: u32,
    },
    /// The container runs.
    Running {
        /// Its id on the host.
        pid: u32,
        /// Unix time, nanoseconds.
        started_ns: u64,
    },
    /// The container ended.
    Exited {
        /// Its id on the host.
        pid: u32,
        /// 0 to 255.
        code: i32,
        /// Unix time, nanoseconds.
        started_ns: u64,
        /// Unix time, nanoseconds.
        ended_ns: u64,
    },
}

/// Which namespaces are made; each kind is new, joined or shared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloneNamespaces {
    /// `CLONE_NEW…` bits made at the fork.
    pub made: u64,
}

/// The making of a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepare {
    /// Name of the sandbox.
    pub sandbox: String,
    /// What is new.
    pub namespaces: CloneNamespaces,
    /// What is joined: the namespace's `CLONE_NEW…` bit each. Descriptors:
    /// one namespace file each, first.
    pub joined: Vec<u64>,
    /// Files that a process writes `0` to, to attach itself to the leaf.
    /// Descriptors: that many, next.
    pub attach_files: u8,
    /// Whether a cgroup v2 directory to be born in comes last.
    pub into_cgroup: bool,
    /// Lines of the new user namespace's `uid_map`; empty without one.
    pub uid_map: String,
    /// Lines of its `gid_map`.
    pub gid_map: String,
    /// `/proc/PID/timens_offsets` lines of a new time namespace.
    pub time_offsets: String,
}

/// The start of a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// The container.
    pub container: String,
    /// Its streams.
    pub streams: Streams,
    /// Its log, in the directory that comes first.
    pub log: Option<LogFile>,
    /// What init does.
    pub plan: Plan,
}

/// Standard streams of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streams {
    /// A pseudo-terminal.
    pub terminal: bool,
    /// Standard input stays open.
    pub open_stdin: bool,
    /// Standard input closes when its first client leaves.
    pub stdin_once: bool,
}

/// A log of JSON lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFile {
    /// Name in the container's directory; rotated ones get `.1`, `.2`, ….
    pub name: String,
    /// Bytes after which it is rotated; `u64::MAX` never.
    pub max_size_bytes: u64,
    /// Files kept, at least one.
    pub max_files: u32,
}

/// Whose streams, terminal or process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Target {
    /// The container's own.
    Container,
    /// An exec's.
    Exec(String),
}

/// A client's socket joins a container's streams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// Whose streams.
    pub target: Target,
    /// Forward its bytes.
    pub stdin: bool,
    /// Send standard output.
    pub stdout: bool,
    /// Send standard error.
    pub stderr: bool,
    /// Bytes that it sent already.
    pub read_ahead: Vec<u8>,
    /// Keys that detach; empty is none.
    pub detach_keys: Vec<u8>,
    /// Output is multiplexed in frames, as there is no terminal.
    pub framed: bool,
    /// Keep its output back until [`Request::LetGo`] of this number: the
    /// daemon sends it what the log has, first. A client that is held when the
    /// daemon goes is cut off, as it missed some.
    pub held: Option<u64>,
}

/// A client waits for the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwaitExit {
    /// Answer after [`Request::Release`] instead of at the end.
    pub removed: bool,
    /// Bytes before the code in decimal.
    pub before: Vec<u8>,
    /// Bytes after it.
    pub after: Vec<u8>,
}

/// A program run inside a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exec {
    /// Its identity.
    pub exec: String,
    /// Keep standard input open.
    pub open_stdin: bool,
    /// How the client is attached, if there is one.
    pub attach: Option<Attach>,
    /// The program.
    pub process: ProcessPlan,
}

/// Loopback relays of published ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relays {
    /// One for each socket.
    pub entries: Vec<RelayEntry>,
}

/// One relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayEntry {
    /// Kind of the socket.
    pub protocol: RelayProtocol,
    /// Where it leads, inside the container.
    pub target: SocketAddr,
}

/// Kinds of relayed sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RelayProtocol {
    /// A listening stream socket.
    Tcp,
    /// A bound datagram socket.
    Udp,
    /// A bound socket that only reserves its port.
    Reserve,
}
