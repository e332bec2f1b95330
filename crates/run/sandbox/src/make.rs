//! Making sandboxes, one or a batch.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use carrack_cgroup::{Leaf, LeafName, V2Membership};
use carrack_network::Endpoint;
use carrack_supervision::{CloneNamespaces, Event, Prepare, Request};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::link::{Link, LinkEvent};
use crate::pool::Inner;
use crate::{NamespaceSource, NetworkSource, SandboxError, SandboxId, SandboxRequest};

/// How long a supervisor may take to make its namespaces: milliseconds, but
/// for a machine in deep trouble.
const ANSWER_BOUND: Duration = Duration::from_secs(20);

const NEWPID: u64 = libc::CLONE_NEWPID as u64;
const NEWNET: u64 = libc::CLONE_NEWNET as u64;
const NEWIPC: u64 = libc::CLONE_NEWIPC as u64;
const NEWUTS: u64 = libc::CLONE_NEWUTS as u64;
const NEWNS: u64 = libc::CLONE_NEWNS as u64;
const NEWUSER: u64 = libc::CLONE_NEWUSER as u64;
const NEWTIME: u64 = 0x80;

/// A sandbox that is ready for a container.
#[derive(Debug)]
pub struct Sandbox {
    /// Its name.
    pub id: SandboxId,
    /// The supervisor's process id.
    pub supervisor_pid: i32,
    /// The connection to its supervisor.
    pub link: Link,
    /// Its control group.
    pub leaf: Leaf,
    /// Process id of the parked init on the host.
    pub init_pid: u32,
    /// Its place on the bridge.
    pub endpoint: Option<Endpoint>,
    /// Its network namespace, if it is a new one.
    pub netns: Option<OwnedFd>,
}

/// A sandbox whose init may not be parked yet.
struct Begun {
    id: SandboxId,
    supervisor_pid: i32,
    link: Link,
    leaf: Leaf,
}

impl Inner {
    /// Makes `count` sandboxes of one kind. Each may fail alone.
    pub(crate) async fn make(
        self: &Arc<Self>,
        request: &SandboxRequest,
        count: usize,
    ) -> Vec<Result<Sandbox, SandboxError>> {
        let mut results = Vec::with_capacity(count);
        let mut begun = Vec::with_capacity(count);
        for _ in 0..count {
            match self.begin(request) {
                Ok(sandbox) => begun.push(sandbox),
                Err(error) => results.push(Err(error)),
            }
        }
        let mut parked = Vec::with_capacity(begun.len());
        for sandbox in begun {
            match self.await_parked(sandbox).await {
                Ok(sandbox) => parked.push(sandbox),
                Err(error) => results.push(Err(error)),
            }
        }
        results.extend(self.connect(request, parked).await);
        results
    }

    /// Starts a supervisor and asks it to make the namespaces.
    fn begin(self: &Arc<Self>, request: &SandboxRequest) -> Result<Begun, SandboxError> {
        let id = SandboxId::random();
        let cgroup_error = |source| SandboxError::Cgroup {
            id: id.clone(),
            source,
        };
        let name = LeafName::new(id.as_str()).map_err(cgroup_error)?;
        let leaf = self
            .config
            .cgroup
            .create_leaf(&name)
            .map_err(cgroup_error)?;
        let spawned = leaf
            .set_default_devices()
            .map_err(cgroup_error)
            .and_then(|()| self.spawn(&id));
        let (supervisor_pid, link) = match spawned {
            Ok(spawned) => spawned,
            Err(error) => {
                self.give_up(id, None, leaf);
                return Err(error);
            }
        };
        if let NetworkSource::Join(netns) = &request.network {
            self.tenants.move_in(&id, netns);
        }
        if let Err(error) = self.ask(&id, &link, &leaf, request) {
            drop(link);
            self.give_up(id, Some(supervisor_pid), leaf);
            return Err(error);
        }
        Ok(Begun {
            id,
            supervisor_pid,
            link,
            leaf,
        })
    }

    fn spawn(&self, id: &SandboxId) -> Result<(i32, Link), SandboxError> {
        let spawn = || -> std::io::Result<(i32, Link)> {
            let flags = SocketFlags::CLOEXEC;
            let (ours, theirs) =
                rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
            let listener =
                rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
            let address = rustix::net::SocketAddrUnix::new(self.socket_path(id))?;
            rustix::net::bind(&listener, &address)?;
            rustix::net::listen(&listener, 4)?;
            let stderr = rustix::fs::openat(
                CWD,
                "/dev/null",
                OFlags::RDWR | OFlags::CLOEXEC,
                Mode::empty(),
            )?;
            // Before the spawn: nothing that can fail comes after it.
            let link = Link::new(ours)?;
            let descriptors = [theirs.as_fd(), listener.as_fd(), stderr.as_fd()];
            let pid = carrack_sys::process::spawn(
                self.program.as_fd(),
                &[c"carrack-supervisor"],
                &descriptors,
            )?;
            Ok((pid, link))
        };
        spawn().map_err(|source| SandboxError::Spawn {
            id: id.clone(),
            source,
        })
    }

    fn ask(
        &self,
        id: &SandboxId,
        link: &Link,
        leaf: &Leaf,
        request: &SandboxRequest,
    ) -> Result<(), SandboxError> {
        let mut made = NEWNS;
        let mut joined = Vec::new();
        let mut files: Vec<BorrowedFd<'_>> = Vec::new();
        let network = match &request.network {
            NetworkSource::Bridge | NetworkSource::Loopback => &NamespaceSource::New,
            NetworkSource::Host => &NamespaceSource::Host,
            NetworkSource::Join(file) => &NamespaceSource::Join(Arc::clone(file)),
        };
        for (bit, source) in [
            (NEWNET, network),
            (NEWPID, &request.pid),
            (NEWIPC, &request.ipc),
            (NEWUTS, &request.uts),
        ] {
            match source {
                NamespaceSource::New => made |= bit,
                NamespaceSource::Host => {}
                NamespaceSource::Join(_) => joined.push(bit),
            }
        }
        // The descriptors in the order of `joined`.
        if let NetworkSource::Join(file) = &request.network {
            files.push(file.as_fd());
        }
        for source in [&request.pid, &request.ipc, &request.uts] {
            if let NamespaceSource::Join(file) = source {
                files.push(file.as_fd());
            }
        }
        if request.user.is_some() {
            made |= NEWUSER;
        }
        if request.time_offsets.is_some() {
            made |= NEWTIME;
        }
        let attach = leaf
            .attach_files(V2Membership::Inherited)
            .map_err(|source| SandboxError::Cgroup {
                id: id.clone(),
                source,
            })?;
        files.extend(attach.iter().map(AsFd::as_fd));
        let born_in = leaf.v2_dir_fd();
        files.extend(born_in);
        let prepare = Prepare {
            sandbox: id.as_str().to_owned(),
            namespaces: CloneNamespaces { made },
            joined,
            attach_files: u8::try_from(attach.len()).unwrap_or(u8::MAX),
            into_cgroup: born_in.is_some(),
            uid_map: request
                .user
                .as_ref()
                .map_or_else(String::new, |m| m.uid.clone()),
            gid_map: request
                .user
                .as_ref()
                .map_or_else(String::new, |m| m.gid.clone()),
            time_offsets: request.time_offsets.clone().unwrap_or_default(),
        };
        link.send(&Request::Prepare(prepare), &files)
            .map_err(|source| SandboxError::Link {
                id: id.clone(),
                source,
            })
    }

    async fn await_parked(self: &Arc<Self>, mut begun: Begun) -> Result<Sandbox, SandboxError> {
        let answer = tokio::time::timeout(ANSWER_BOUND, async {
            loop {
                match begun.link.next().await {
                    LinkEvent::Event(Event::Prepared { pid }) => return Ok(pid),
                    LinkEvent::Event(Event::PrepareFailed(failure)) => {
                        return Err(SandboxError::Namespaces {
                            id: begun.id.clone(),
                            failure,
                        });
                    }
                    LinkEvent::Event(_) | LinkEvent::HandedBack(..) => {}
                    LinkEvent::Closed => {
                        return Err(SandboxError::NoAnswer {
                            id: begun.id.clone(),
                        });
                    }
                }
            }
        })
        .await
        .unwrap_or_else(|_| {
            Err(SandboxError::NoAnswer {
                id: begun.id.clone(),
            })
        });
        let Begun {
            id,
            supervisor_pid,
            link,
            leaf,
        } = begun;
        match answer {
            Ok(init_pid) => Ok(Sandbox {
                id,
                supervisor_pid,
                link,
                leaf,
                init_pid,
                endpoint: None,
                netns: None,
            }),
            Err(error) => {
                drop(link);
                self.give_up(id, Some(supervisor_pid), leaf);
                Err(error)
            }
        }
    }

    /// Gives a batch its network.
    async fn connect(
        self: &Arc<Self>,
        request: &SandboxRequest,
        mut parked: Vec<Sandbox>,
    ) -> Vec<Result<Sandbox, SandboxError>> {
        if !matches!(
            request.network,
            NetworkSource::Bridge | NetworkSource::Loopback
        ) {
            return parked.into_iter().map(Ok).collect();
        }
        let bridge = matches!(request.network, NetworkSource::Bridge);
        let networks = self.config.networks.clone();
        let opened = tokio::task::spawn_blocking(move || {
            for sandbox in &mut parked {
                sandbox.netns = std::fs::File::open(format!("/proc/{}/ns/net", sandbox.init_pid))
                    .ok()
                    .map(OwnedFd::from);
            }
            let outcome = attach(networks.as_deref(), bridge, &mut parked);
            (parked, outcome)
        })
        .await;
        let Ok((parked, outcome)) = opened else {
            return vec![Err(SandboxError::NoBridge)];
        };
        let mut results = Vec::with_capacity(parked.len());
        for (sandbox, outcome) in parked.into_iter().zip(outcome) {
            match outcome {
                Ok(()) => results.push(Ok(sandbox)),
                Err(error) => {
                    self.discard(sandbox);
                    results.push(Err(error));
                }
            }
        }
        results
    }
}

/// Blocking: netlink and nftables.
fn attach(
    networks: Option<&carrack_network::Networks>,
    bridge: bool,
    sandboxes: &mut [Sandbox],
) -> Vec<Result<(), SandboxError>> {
    let Some(networks) = networks else {
        return sandboxes
            .iter()
            .map(|_| {
                if bridge {
                    Err(SandboxError::NoBridge)
                } else {
                    Ok(())
                }
            })
            .collect();
    };
    let spaces: Option<Vec<BorrowedFd<'_>>> = sandboxes
        .iter()
        .map(|s| s.netns.as_ref().map(AsFd::as_fd))
        .collect();
    let Some(spaces) = spaces else {
        return sandboxes
            .iter()
            .map(|s| Err(SandboxError::NoAnswer { id: s.id.clone() }))
            .collect();
    };
    if bridge {
        let endpoints = networks.prepare(&spaces);
        sandboxes
            .iter_mut()
            .zip(endpoints)
            .map(|(sandbox, endpoint)| match endpoint {
                Ok(endpoint) => {
                    sandbox.endpoint = Some(endpoint);
                    Ok(())
                }
                Err(source) => Err(SandboxError::Network {
                    id: sandbox.id.clone(),
                    source,
                }),
            })
            .collect()
    } else {
        networks
            .prepare_loopback(&spaces)
            .into_iter()
            .zip(sandboxes)
            .map(|(done, sandbox)| {
                done.map_err(|source| SandboxError::Network {
                    id: sandbox.id.clone(),
                    source,
                })
            })
            .collect()
    }
}
