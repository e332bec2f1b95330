//! The supervisor's process.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;

use rustix::process::Pid;

/// A supervisor's process, executed from one sealed memfd as the daemon does.
pub(crate) struct Supervisor {
    pid: Pid,
    status: Option<i32>,
}

impl Supervisor {
    pub(crate) fn spawn(control: OwnedFd, listener: OwnedFd) -> Self {
        static PROGRAM: OnceLock<OwnedFd> = OnceLock::new();
        let program = PROGRAM.get_or_init(|| {
            use rustix::fs::{MemfdFlags, SealFlags};
            let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
            let memfd = rustix::fs::memfd_create("carrack-supervisor", flags).expect("memfd");
            let path = std::env::var("CARRACK_TEST_SUPERVISOR")
                .unwrap_or_else(|_| env!("CARGO_BIN_EXE_carrack-supervisor").to_owned());
            let bytes = std::fs::read(path).expect("program");
            let mut file = std::fs::File::from(memfd);
            file.write_all(&bytes).expect("write");
            let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
            rustix::fs::fcntl_add_seals(&file, seals).expect("seal");
            file.into()
        });
        let descriptors = [control.as_fd(), listener.as_fd(), rustix::stdio::stderr()];
        let pid =
            carrack_sys::process::spawn(program.as_fd(), &[c"carrack-supervisor"], &descriptors)
                .expect("supervisor");
        Self {
            pid: Pid::from_raw(pid).expect("id"),
            status: None,
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    pub(crate) fn kill(&self) {
        if self.status.is_none() {
            rustix::process::kill_process(self.pid, rustix::process::Signal::KILL).expect("kill");
        }
    }

    /// Waits for its end; its code as a shell would say it.
    pub(crate) fn wait(&mut self) -> i32 {
        *self.status.get_or_insert_with(|| {
            let id = rustix::process::WaitId::Pid(self.pid);
            let status = rustix::process::waitid(id, rustix::process::WaitIdOptions::EXITED);
            carrack_sys::process::exit_code(status.expect("wait").expect("status"))
        })
    }
}
