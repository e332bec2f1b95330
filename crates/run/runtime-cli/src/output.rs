//! Standard output, whose reader may have seen enough.

use std::fmt::Display;
use std::io::{self, Write};

use crate::{Error, Result};

/// Writes a line. One that nobody reads any more is no failure.
pub(crate) fn line(text: impl Display) -> Result<()> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::file("write", "standard output", error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
