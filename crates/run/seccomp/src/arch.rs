//! The architectures that a filter can tell apart.

use crate::table::{ROWS, Row};

/// Architecture of the machine that a program is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arch {
    /// x86_64, which also runs i386 and x32 programs.
    X86_64,
    /// arm64, which also runs 32-bit arm programs.
    Aarch64,
}

impl Arch {
    /// The architecture that this program was built for.
    ///
    /// `None` where Carrack has no table of system calls; a filter cannot be
    /// made there, and a container that asks for one must be refused.
    pub const fn native() -> Option<Self> {
        if cfg!(target_arch = "x86_64") {
            Some(Self::X86_64)
        } else if cfg!(target_arch = "aarch64") {
            Some(Self::Aarch64)
        } else {
            None
        }
    }

    /// Name in the `arches` conditions of Docker's profiles.
    pub(crate) const fn docker_name(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// Its own ABI.
    pub(crate) const fn abi(self) -> Abi {
        match self {
            Self::X86_64 => Abi::X86_64,
            Self::Aarch64 => Abi::Aarch64,
        }
    }

    /// The ABIs besides its own that its kernel serves.
    pub(crate) const fn foreign_abis(self) -> &'static [Abi] {
        match self {
            Self::X86_64 => &[Abi::X86, Abi::X32],
            Self::Aarch64 => &[Abi::Arm],
        }
    }
}

/// A calling convention with a table of numbers of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Abi {
    X86_64,
    X86,
    X32,
    Aarch64,
    Arm,
}

/// Set in every number of an x32 call; `__X32_SYSCALL_BIT`.
pub(crate) const X32_BIT: u32 = 1 << 30;

impl Abi {
    /// By its name in a profile. `None` for one that neither x86_64 nor arm64
    /// serves.
    pub(crate) fn from_scmp(name: &str) -> Option<Self> {
        Some(match name {
            "SCMP_ARCH_X86_64" => Self::X86_64,
            "SCMP_ARCH_X86" => Self::X86,
            "SCMP_ARCH_X32" => Self::X32,
            "SCMP_ARCH_AARCH64" => Self::Aarch64,
            "SCMP_ARCH_ARM" => Self::Arm,
            _ => return None,
        })
    }

    pub(crate) const fn scmp_name(self) -> &'static str {
        match self {
            Self::X86_64 => "SCMP_ARCH_X86_64",
            Self::X86 => "SCMP_ARCH_X86",
            Self::X32 => "SCMP_ARCH_X32",
            Self::Aarch64 => "SCMP_ARCH_AARCH64",
            Self::Arm => "SCMP_ARCH_ARM",
        }
    }

    /// `seccomp_data.arch`, `AUDIT_ARCH_…` of `linux/audit.h`. x32 has that
    /// of x86_64 and is told apart by the number.
    pub(crate) const fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xC000_003E,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xC000_00B7,
            Self::Arm => 0x4000_0028,
        }
    }

    /// Whether arguments are compared in their low 32 bits only, as
    /// libseccomp does for these.
    pub(crate) const fn is_narrow(self) -> bool {
        matches!(self, Self::X86 | Self::X32 | Self::Arm)
    }

    /// Number of the call, as it appears in `seccomp_data.nr`.
    pub(crate) fn number(self, call: Call) -> Option<u32> {
        let number = u32::try_from(call.0.1[self.column()]).ok()?;
        Some(match self {
            Self::X32 => number | X32_BIT,
            _ => number,
        })
    }

    /// For i386, whose socket and System V IPC calls also exist as one call
    /// with a selector: number of that call, and the selector.
    pub(crate) fn multiplexed(self, call: Call) -> Option<(u32, u64)> {
        if self != Self::X86 {
            return None;
        }
        let name = call.0.0;
        if let Some(selector) = selector(SOCKETCALL, name) {
            return Some((self.number(Call::find("socketcall")?)?, selector));
        }
        Some((self.number(Call::find("ipc")?)?, selector(IPC, name)?))
    }

    const fn column(self) -> usize {
        match self {
            Self::X86_64 => 0,
            Self::X86 => 1,
            Self::X32 => 2,
            Self::Aarch64 => 3,
            Self::Arm => 4,
        }
    }
}

/// A system call that some architecture has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call(&'static Row);

impl Call {
    /// By name. `None` for one that no architecture has.
    pub(crate) fn find(name: &str) -> Option<Self> {
        ROWS.binary_search_by(|row| row.0.cmp(name))
            .ok()
            .map(|index| Self(&ROWS[index]))
    }

    pub(crate) fn name(self) -> &'static str {
        self.0.0
    }
}

/// Every `SCMP_ARCH_…` of the runtime specification that this crate has no
/// table for; a profile may list them, a machine of ours never meets them.
pub(crate) const FOREIGN_SCMP: &[&str] = &[
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
];

/// Selectors of `socketcall(2)`, `linux/net.h`.
const SOCKETCALL: &[(&str, u64)] = &[
    ("socket", 1),
    ("bind", 2),
    ("connect", 3),
    ("listen", 4),
    ("accept", 5),
    ("getsockname", 6),
    ("getpeername", 7),
    ("socketpair", 8),
    ("send", 9),
    ("recv", 10),
    ("sendto", 11),
    ("recvfrom", 12),
    ("shutdown", 13),
    ("setsockopt", 14),
    ("getsockopt", 15),
    ("sendmsg", 16),
    ("recvmsg", 17),
    ("accept4", 18),
    ("recvmmsg", 19),
    ("sendmmsg", 20),
];

/// Selectors of `ipc(2)`, `linux/ipc.h`.
const IPC: &[(&str, u64)] = &[
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

fn selector(of: &[(&str, u64)], name: &str) -> Option<u64> {
    of.iter()
        .find(|(call, _)| *call == name)
        .map(|&(_, selector)| selector)
}
