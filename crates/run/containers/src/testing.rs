//! A world for tests: containers below a directory of their own, and
//! supervisors that the test plays.

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use carrack_cgroup::{GroupPath, Hierarchies, Leaf, LeafName, Parent};
use carrack_sandbox::{SandboxConfig, SandboxId, Sandboxes};
use carrack_seccomp::{Arch, Cache, KernelVersion};
use carrack_snapshots::Snapshots;
use carrack_state::State;
use carrack_supervision::{Event, FrameReader, Hello, Request, RunState};

use crate::record::{RECORD_VERSION, Record, RunRecord};
use crate::{
    ContainerId, Containers, ContainersConfig, IpcMode, LogPolicy, NamespaceMode, Namespaces,
    NetworkMode, NetworkRequest, NewContainer, Owner, Phase, RootfsRequest, SeccompRequest, Stdio,
    UserRequest,
};

/// Longest wait for what takes milliseconds.
pub(crate) const BOUND: Duration = Duration::from_secs(20);

pub(crate) struct World {
    pub(crate) directory: tempfile::TempDir,
    state: State,
    parent: Parent,
    hierarchies: Hierarchies,
}

impl World {
    /// `None`, said aloud, without the rights for it.
    pub(crate) fn new(test: &str) -> Option<Self> {
        if !carrack_sys::identity::is_root() {
            println!("SKIP: {test}: needs root");
            return None;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let hierarchies = Hierarchies::detect("/sys/fs/cgroup".as_ref()).expect("cgroups");
        let name = format!("carrack-test-{}", SandboxId::random());
        let parent = hierarchies
            .parent(&GroupPath::new(&name).expect("a path"))
            .expect("a group");
        let state = State::open(&directory.path().join("state.redb"), 1 << 20).expect("state");
        Some(Self {
            directory,
            state,
            parent,
            hierarchies,
        })
    }

    fn sockets(&self) -> PathBuf {
        self.directory.path().join("supervisors")
    }

    pub(crate) fn directory_of(&self, id: &ContainerId) -> PathBuf {
        self.directory.path().join("containers").join(id.as_str())
    }

    /// What a daemon does when it starts, before it follows anything.
    pub(crate) async fn open(&self) -> Containers {
        let sandboxes = Sandboxes::open(SandboxConfig {
            sockets: self.sockets(),
            cgroup: self.parent.clone(),
            networks: None,
            pool_size: 0,
            program: b"",
        })
        .expect("sandboxes");
        let kernel = KernelVersion {
            kernel: 5,
            major: 4,
        };
        Containers::open(ContainersConfig {
            directory: self.directory.path().join("containers"),
            state: self.state.clone(),
            snapshots: Arc::new(
                Snapshots::open(self.directory.path().join("snapshots")).expect("snapshots"),
            ),
            sandboxes,
            networks: None,
            seccomp: Cache::new(kernel, Arch::native().expect("an architecture")),
            cgroups: self.hierarchies.clone(),
            open_files: None,
        })
        .await
        .expect("open")
    }

    /// A container on record, and the file that says that it runs.
    pub(crate) async fn running(&self, new: &NewContainer) -> Supervisor {
        let containers = self.open().await;
        containers.create(new.clone()).await.expect("create");
        let supervisor = self.supervisor(&new.id);
        RunRecord {
            version: RECORD_VERSION,
            sandbox: supervisor.id.as_str().to_owned(),
            supervisor_pid: 0,
            endpoint: None,
            ports: Vec::new(),
        }
        .write(&self.directory_of(&new.id))
        .expect("run record");
        supervisor
    }

    /// Puts a record there as it is.
    pub(crate) async fn record(&self, new: &NewContainer, state: crate::State) {
        let containers = self.open().await;
        std::fs::create_dir_all(self.directory_of(&new.id)).expect("directory");
        let record = Record {
            version: RECORD_VERSION,
            new: new.clone(),
            state,
            created_at: SystemTime::now(),
        };
        containers.put_record(record).await.expect("record");
    }

    /// A cgroup leaf for a sandbox; to be removed by the test.
    pub(crate) fn leaf(&self, supervisor: &Supervisor) -> Leaf {
        let name = LeafName::new(supervisor.id.as_str()).expect("a name");
        self.parent.create_leaf(&name).expect("a leaf")
    }

    fn supervisor(&self, container: &ContainerId) -> Supervisor {
        let id = SandboxId::random();
        let path = self.sockets().join(id.as_str());
        Supervisor {
            listener: UnixListener::bind(path).expect("bind"),
            id,
            container: container.clone(),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Err(error) = self.parent.remove() {
            println!("left behind: {error}");
        }
    }
}

/// A supervisor's listener.
pub(crate) struct Supervisor {
    pub(crate) id: SandboxId,
    listener: UnixListener,
    container: ContainerId,
}

/// A daemon's connection, as its supervisor has it.
pub(crate) struct Connection {
    socket: UnixStream,
    reader: FrameReader,
}

impl Supervisor {
    /// Takes a connection and says hello.
    pub(crate) fn accept(&self, execs: &[(&str, u32)]) -> Connection {
        let (socket, _) = self.listener.accept().expect("accept");
        socket.set_read_timeout(Some(BOUND)).expect("timeout");
        let connection = Connection {
            socket,
            reader: FrameReader::default(),
        };
        connection.tell(&Event::Hello(Hello {
            sandbox: self.id.as_str().to_owned(),
            container: self.container.as_str().to_owned(),
            state: RunState::Running {
                pid: 0,
                started_ns: 1,
            },
            supervisor_pid: 0,
            execs: execs
                .iter()
                .map(|(id, pid)| ((*id).to_owned(), *pid))
                .collect(),
        }));
        connection
    }

    /// Opens the containers of a world while this one answers.
    pub(crate) async fn adopted(self, world: &World, execs: &[(&str, u32)]) -> Adoption {
        let execs: Vec<(String, u32)> = execs
            .iter()
            .map(|(id, pid)| ((*id).to_owned(), *pid))
            .collect();
        let accepting = std::thread::spawn(move || {
            let execs: Vec<(&str, u32)> =
                execs.iter().map(|(id, pid)| (id.as_str(), *pid)).collect();
            let connection = self.accept(&execs);
            (self, connection)
        });
        let containers = world.open().await;
        let (supervisor, connection) = accepting.join().expect("accept");
        Adoption {
            containers,
            supervisor,
            connection,
        }
    }
}

/// A container that a daemon has taken over.
pub(crate) struct Adoption {
    pub(crate) containers: Containers,
    pub(crate) supervisor: Supervisor,
    pub(crate) connection: Connection,
}

impl Connection {
    pub(crate) fn tell(&self, event: &Event) {
        carrack_supervision::send(&self.socket, event, &[]).expect("send");
    }

    /// The next request; an error when the daemon left or says nothing.
    pub(crate) fn next(&mut self) -> io::Result<Request> {
        loop {
            if let Some(received) = self.reader.message().map_err(io::Error::other)? {
                return Ok(received.message);
            }
            if !self.reader.fill(&self.socket)? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Reads requests up to one that is looked for.
    pub(crate) fn until(&mut self, wanted: impl Fn(&Request) -> bool) -> Request {
        loop {
            let request = self.next().expect("a request");
            if wanted(&request) {
                return request;
            }
        }
    }
}

/// Tries until a condition holds.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let met = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    let met = tokio::time::timeout(BOUND, met).await;
    assert!(met.is_ok(), "{what}");
}

pub(crate) fn container() -> NewContainer {
    NewContainer {
        id: ContainerId::random(),
        owner: Owner::Docker,
        spec: carrack_oci::runtime::Spec::default(),
        user: UserRequest::default(),
        rootfs: RootfsRequest::default(),
        namespaces: Namespaces {
            network: NetworkMode::None,
            pid: NamespaceMode::Private,
            ipc: IpcMode::Private,
            uts: NamespaceMode::Private,
            cgroup: NamespaceMode::Private,
        },
        network: NetworkRequest::default(),
        seccomp: SeccompRequest::Unconfined,
        stdio: Stdio::default(),
        log: LogPolicy::None,
        init: false,
        shm_size_bytes: 1 << 20,
        stop_signal: libc::SIGTERM,
        stop_timeout_s: 10,
        auto_remove: false,
        owner_data: serde_json::Value::Null,
    }
}

pub(crate) fn phase(containers: &Containers, id: &ContainerId) -> Option<Phase> {
    containers.get(id).map(|view| view.state.phase)
}
