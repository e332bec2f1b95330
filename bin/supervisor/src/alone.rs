//! An init that waits for its start without a supervisor.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use carrack_runtime::apply::Report;
use carrack_runtime::plan::Failure;
use carrack_supervision::detached::{Start, Started};
use carrack_supervision::{FrameReader, Received};
use rustix::io::Errno;
use rustix::net::SocketFlags;

use crate::init::{ChannelReport, Word, failure, say};

/// Reports to the maker while there is one, then to whoever starts it.
pub(crate) struct AloneReport<'a> {
    maker: ChannelReport<'a>,
    listener: Option<OwnedFd>,
    /// The connection that brought the start.
    starter: Option<UnixStream>,
}

impl<'a> AloneReport<'a> {
    /// For an init: `listener` is where its start comes from.
    pub(crate) fn of_init(channel: &'a UnixStream, listener: OwnedFd) -> Self {
        Self {
            listener: Some(listener),
            ..Self::of_program(channel)
        }
    }

    /// For a program that is added, which starts at once.
    pub(crate) fn of_program(channel: &'a UnixStream) -> Self {
        Self {
            maker: ChannelReport(channel),
            listener: None,
            starter: None,
        }
    }

    /// What is to be told to the maker of a failure: nothing any more, if the
    /// one who asked for the start was told.
    pub(crate) fn failed(self, failure: Failure) -> Failure {
        if let Some(starter) = &self.starter {
            let told = Started::Failed(failure.clone());
            let _starter_gone = carrack_supervision::send(starter, &told, &[]);
        }
        failure
    }
}

impl Report for AloneReport<'_> {
    fn console(&mut self, master: OwnedFd) -> Result<(), Failure> {
        self.maker.console(master)
    }

    fn is_orphaned(&self) -> bool {
        false
    }

    fn dies_with_parent(&self) -> bool {
        false
    }

    fn created(&mut self) -> Result<(), Failure> {
        say(self.maker.0, &Word::Created)?;
        if let Some(listener) = self.listener.take() {
            self.starter = Some(await_start(&listener)?);
        }
        Ok(())
    }
}

/// The first connection that says so. The socket's mode says who may: its
/// owner, whom this process, in namespaces of its own, cannot tell.
fn await_start(listener: &OwnedFd) -> Result<UnixStream, Failure> {
    loop {
        let socket = match rustix::net::accept_with(listener, SocketFlags::CLOEXEC) {
            Ok(socket) => UnixStream::from(socket),
            Err(Errno::INTR | Errno::CONNABORTED) => continue,
            Err(errno) => return Err(failure("wait for the start", errno.raw_os_error())),
        };
        if says_start(&socket) {
            return Ok(socket);
        }
    }
}

fn says_start(socket: &UnixStream) -> bool {
    let mut reader = FrameReader::default();
    loop {
        match reader.message::<Start>() {
            Ok(Some(Received { message, .. })) => return message == Start::Now,
            Ok(None) => {}
            Err(_) => return false,
        }
        if !matches!(reader.fill(socket), Ok(true)) {
            return false;
        }
    }
}
