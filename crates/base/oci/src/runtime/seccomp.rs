//! `linux.seccomp`: a system call filter as data.

use serde::{Deserialize, Serialize};

use super::null_default;

/// A filter, resolved: no condition on capabilities or kernels is left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Seccomp {
    /// For calls that no rule names.
    pub default_action: SeccompAction,
    /// `errno` of the default action, where it returns one; absent is EPERM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_errno_ret: Option<u32>,
    /// Architectures besides the native one, `SCMP_ARCH_X86_64`.
    #[serde(
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub architectures: Vec<String>,
    /// `SECCOMP_FILTER_FLAG_…` names.
    #[serde(
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub flags: Vec<String>,
    /// Where a notification descriptor is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener_path: Option<String>,
    /// Opaque data sent with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener_metadata: Option<String>,
    /// Rules.
    #[serde(
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub syscalls: Vec<SeccompSyscall>,
}

/// A rule for some system calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SeccompSyscall {
    /// Names; one that the architecture lacks is passed over.
    #[serde(deserialize_with = "null_default")]
    pub names: Vec<String>,
    /// What happens.
    pub action: SeccompAction,
    /// `errno` or trace data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno_ret: Option<u32>,
    /// Conditions, all of which must hold.
    #[serde(
        deserialize_with = "null_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub args: Vec<SeccompArg>,
}

/// A condition on one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SeccompArg {
    /// 0 to 5.
    pub index: u32,
    /// Compared with; the mask for `SCMP_CMP_MASKED_EQ`.
    pub value: u64,
    /// Compared with under the mask, for `SCMP_CMP_MASKED_EQ`.
    #[serde(default)]
    pub value_two: u64,
    /// How.
    pub op: SeccompOperator,
}

/// Unsigned 64-bit comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeccompOperator {
    /// ≠
    #[serde(rename = "SCMP_CMP_NE")]
    NotEqual,
    /// <
    #[serde(rename = "SCMP_CMP_LT")]
    Less,
    /// ≤
    #[serde(rename = "SCMP_CMP_LE")]
    LessOrEqual,
    /// =
    #[serde(rename = "SCMP_CMP_EQ")]
    Equal,
    /// ≥
    #[serde(rename = "SCMP_CMP_GE")]
    GreaterOrEqual,
    /// >
    #[serde(rename = "SCMP_CMP_GT")]
    Greater,
    /// `(argument & value) = value_two`
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEqual,
}

/// What the kernel does with a call, `seccomp(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SeccompAction {
    /// Kill the thread.
    #[serde(rename = "SCMP_ACT_KILL", alias = "SCMP_ACT_KILL_THREAD")]
    KillThread,
    /// Kill the process.
    #[serde(rename = "SCMP_ACT_KILL_PROCESS")]
    KillProcess,
    /// SIGSYS.
    #[serde(rename = "SCMP_ACT_TRAP")]
    Trap,
    /// Fail with an `errno`.
    #[serde(rename = "SCMP_ACT_ERRNO")]
    #[default]
    Errno,
    /// Ask a user space listener.
    #[serde(rename = "SCMP_ACT_NOTIFY")]
    Notify,
    /// Tell a tracer.
    #[serde(rename = "SCMP_ACT_TRACE")]
    Trace,
    /// Log and allow.
    #[serde(rename = "SCMP_ACT_LOG")]
    Log,
    /// Allow.
    #[serde(rename = "SCMP_ACT_ALLOW")]
    Allow,
}
