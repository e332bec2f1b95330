//! What can be wrong with a profile.

use carrack_oci::ErrorKind;

/// A profile that cannot be read, or cannot become a program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is not a profile.
    #[error("decoding seccomp profile failed")]
    Decode(#[source] serde_json::Error),
    /// A profile text above [`crate::MAX_PROFILE_BYTES`].
    #[error("seccomp profile of {size} bytes is larger than {limit}")]
    ProfileTooLarge {
        /// Bytes given.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Both of two ways to say the same thing.
    #[error(
        "both '{first}' and '{second}' are specified in the seccomp profile, use either '{first}' or '{second}'"
    )]
    Ambiguous {
        /// One key.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// A rule without a name of a call.
    #[error("a rule of the seccomp profile names no system call")]
    NoName,
    /// `minKernel` is not `<kernel>.<major>`.
    #[error("invalid kernel version {version:?}, expected \"<kernel>.<major>\"")]
    KernelVersion {
        /// What was given.
        version: String,
    },
    /// An architecture that the runtime specification does not have.
    #[error("unknown seccomp architecture {name:?}")]
    Architecture {
        /// What was given.
        name: String,
    },
    /// A flag that is not one of `seccomp(2)`, or not for a container.
    #[error("unknown seccomp flag {name:?}")]
    Flag {
        /// What was given.
        name: String,
    },
    /// A condition on a seventh argument.
    #[error("seccomp rule of {call} has a condition on argument {index}, there are 0 to 5")]
    Argument {
        /// System call.
        call: String,
        /// What was given.
        index: u32,
    },
    /// An `errnoRet` that the kernel cannot return.
    #[error("seccomp errnoRet {value} is larger than {limit}")]
    Errno {
        /// What was given.
        value: u32,
        /// Largest allowed.
        limit: u32,
    },
    /// Two rules for the same call and the same condition, with two actions.
    #[error("seccomp rules of {call} contradict each other")]
    Contradiction {
        /// System call.
        call: String,
    },
    /// `SCMP_ACT_NOTIFY` where it would stop the container from starting.
    #[error("SCMP_ACT_NOTIFY cannot be used {place}")]
    Notify {
        /// Where.
        place: &'static str,
    },
    /// More rules for a call, or in all, than a program could hold.
    #[error("seccomp profile has more than {limit} rules {scope}")]
    TooManyRules {
        /// Of what.
        scope: String,
        /// Largest allowed.
        limit: usize,
    },
    /// The program would be longer than the kernel takes.
    #[error("seccomp filter needs {length} instructions, the kernel takes {limit}")]
    ProgramTooLong {
        /// Instructions needed.
        length: usize,
        /// Instructions allowed, `BPF_MAXINSNS`.
        limit: usize,
    },
}

impl Error {
    /// Class of the failure: the profile is always to blame.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::ProfileTooLarge { .. }
            | Self::TooManyRules { .. }
            | Self::ProgramTooLong { .. } => ErrorKind::TooLarge,
            _ => ErrorKind::InvalidInput,
        }
    }
}
