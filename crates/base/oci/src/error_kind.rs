//! What class of failure an error is: the one vocabulary between mechanisms
//! and façades.

/// Class of a failure; a façade maps it to its protocol's code in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// What was named does not exist.
    NotFound,
    /// It exists already, or is in a state that forbids the operation.
    Conflict,
    /// The request itself is wrong; trying again does not help.
    InvalidInput,
    /// Who asks is not known.
    Unauthorized,
    /// Who asks may not do this.
    Forbidden,
    /// A bound on size was passed.
    TooLarge,
    /// Carrack does not do this, or not yet.
    Unsupported,
    /// Not now; trying again later may help.
    Unavailable,
    /// It is already as asked.
    NotModified,
    /// Disk, memory, descriptors, addresses or ports ran out.
    Exhausted,
    /// Whoever asked went away.
    Cancelled,
    /// A failure inside Carrack or of the machine.
    Internal,
}
