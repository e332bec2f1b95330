//! Clients that attach to a container or wait for it.
//!
//! Everything that can be refused is refused before the façade writes the
//! head of its response; the socket comes here afterwards.

use std::os::fd::OwnedFd;

use carrack_containers::{
    AttachRequest, ContainerId, ExpectedClient, Hold, Phase, WaitCondition, WaitReply,
};

use crate::{Error, Result};

use super::Engine;

/// Longest `detachKeys`, keys.
const DETACH_KEYS_MAX: usize = 32;

/// What a client attaches to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttachOptions {
    /// Its bytes go to standard input.
    pub stdin: bool,
    /// It gets standard output.
    pub stdout: bool,
    /// It gets standard error.
    pub stderr: bool,
}

/// Whose detach keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeysOf {
    /// An attach's.
    Attach,
    /// An exec's.
    Exec,
}

impl Engine {
    /// Checks whether a client may attach; which container it is, and whether
    /// it has a terminal.
    pub fn check_attach(&self, reference: &str) -> Result<(ContainerId, bool)> {
        let container = self.container(reference)?;
        let id = container.id().clone();
        if container.view.state.phase == Phase::Paused {
            return Err(Error::Paused(id, "attach"));
        }
        if container.restart.waiting {
            return Err(Error::Restarting(id));
        }
        Ok((id, container.view.new.stdio.terminal))
    }

    /// Lets a start wait for a client whose head is about to be written; see
    /// [`Containers::expect_client`].
    ///
    /// [`Containers::expect_client`]: carrack_containers::Containers::expect_client
    pub fn expect_client(&self, id: &ContainerId) -> Result<ExpectedClient> {
        Ok(self.containers.expect_client(id)?)
    }

    /// Gives an attached client's socket away; the head was written.
    pub async fn attach(
        &self,
        id: &ContainerId,
        request: AttachRequest,
        socket: OwnedFd,
    ) -> Result<()> {
        self.attached(id);
        Ok(self.containers.attach(id, request, socket).await?)
    }

    /// Attaches a client that wants the log first; see [`Containers::hold`].
    ///
    /// [`Containers::hold`]: carrack_containers::Containers::hold
    pub async fn hold(
        &self,
        id: &ContainerId,
        request: &AttachRequest,
        socket: &OwnedFd,
    ) -> Result<Option<Hold>> {
        let hold = self.containers.hold(id, request, socket).await?;
        if hold.is_some() {
            self.attached(id);
        }
        Ok(hold)
    }

    /// Keeps a client for a start to come. Gives its socket back when the
    /// container was started meanwhile.
    pub fn attach_before_start(
        &self,
        id: &ContainerId,
        request: &AttachRequest,
        socket: OwnedFd,
    ) -> Result<Option<OwnedFd>> {
        let back = self.containers.attach_before_start(id, request, socket)?;
        if back.is_none() {
            self.attached(id);
        }
        Ok(back)
    }

    fn attached(&self, id: &ContainerId) {
        if let Some(slot) = self.slots.get(id) {
            self.container_event(id, &slot.record(), "attach", &[]);
        }
    }

    /// Which container a waiting client means.
    pub fn check_wait(&self, reference: &str) -> Result<ContainerId> {
        Ok(self.container(reference)?.id().clone())
    }

    /// Gives a waiting client's socket away; the head was written.
    pub async fn hand_over_wait(
        &self,
        id: &ContainerId,
        condition: WaitCondition,
        socket: OwnedFd,
        reply: WaitReply,
    ) -> Result<()> {
        let handed = self.containers.hand_over_wait(id, condition, socket, reply);
        Ok(handed.await?)
    }

    /// The keys that detach, as bytes: `ctrl-p,ctrl-q`; Docker's own when
    /// nothing is said. `what` is how Docker calls them in its refusal, which
    /// differs between attach and exec.
    pub fn detach_keys(what: KeysOf, text: &str) -> Result<Vec<u8>> {
        if text.is_empty() {
            return Ok(vec![16, 17]);
        }
        let invalid = || {
            let what = match what {
                KeysOf::Attach => "detach",
                KeysOf::Exec => "escape",
            };
            Error::rule(format!("Invalid {what} keys ({text}) provided"))
        };
        let keys: Option<Vec<u8>> = text.split(',').map(key).collect();
        keys.filter(|keys| keys.len() <= DETACH_KEYS_MAX)
            .ok_or_else(invalid)
    }
}

/// One key: a character, or `ctrl-` and one of `a`–`z` and `@[\]^_`.
fn key(text: &str) -> Option<u8> {
    let mut bytes = text.bytes();
    if let (Some(byte), None) = (bytes.next(), bytes.next()) {
        return byte.is_ascii().then_some(byte);
    }
    let rest = text.strip_prefix("ctrl-")?;
    match rest.as_bytes() {
        [letter @ b'a'..=b'z'] => Some(letter - b'a' + 1),
        [b'@'] => Some(0),
        [sign @ b'['..=b'_'] => Some(sign - b'[' + 27),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        let keys =
            |text: &str| Engine::detach_keys(KeysOf::Exec, text).map_err(|error| error.to_string());
        assert_eq!(keys(""), Ok(vec![16, 17]));
        assert_eq!(keys("ctrl-a,d"), Ok(vec![1, b'd']));
        assert_eq!(keys("ctrl-@,ctrl-[,ctrl-_"), Ok(vec![0, 27, 31]));
        for bad in [
            "foo-bar",
            "ctrl-",
            "ctrl-A1",
            "a,",
            "ctrl-ä",
            &"a,".repeat(40),
        ] {
            let sentence = format!("Invalid escape keys ({bad}) provided");
            assert_eq!(keys(bad), Err(sentence));
            let attach = Engine::detach_keys(KeysOf::Attach, bad).expect_err("bad");
            assert_eq!(
                attach.to_string(),
                format!("Invalid detach keys ({bad}) provided")
            );
        }
    }
}
