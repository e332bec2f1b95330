//! `--console-socket`: the terminal's master goes to whoever listens there.

use std::path::PathBuf;

use crate::{Error, Result};

/// How a program's terminal is kept.
#[derive(Debug)]
pub(crate) enum Console {
    /// It has none.
    None,
    /// Somebody else keeps it.
    Socket(PathBuf),
    /// This process does, while it waits.
    Own,
}

/// Whether the command waits for the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stays {
    /// It does.
    Yes,
    /// It ends as soon as the program is there.
    No,
}

impl Console {
    /// What the flags come to, in runc's words where they do not fit.
    pub(crate) fn new(terminal: bool, socket: Option<&str>, stays: Stays) -> Result<Self> {
        match (terminal, socket.filter(|path| !path.is_empty()), stays) {
            (true, Some(path), Stays::No) => Ok(Self::Socket(path.into())),
            (true, None, Stays::Yes) => Ok(Self::Own),
            (false, None, _) => Ok(Self::None),
            (true, None, Stays::No) => Err(Error::Usage(
                "cannot allocate tty if runc will detach without setting console socket".to_owned(),
            )),
            (_, Some(_), _) => Err(Error::Usage(
                "cannot use console socket if runc will not detach or allocate tty".to_owned(),
            )),
        }
    }
}
