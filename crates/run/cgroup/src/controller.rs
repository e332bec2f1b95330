//! Controllers, and which hierarchy kind carries each: plain values.

/// Which of the kernel's two interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// One hierarchy a controller, `cgroup`.
    V1,
    /// The unified hierarchy, `cgroup2`.
    V2,
}

/// A controller that Carrack knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Controller {
    /// CPU time.
    Cpu,
    /// CPU accounting; part of `cpu` on v2.
    Cpuacct,
    /// Placement.
    Cpuset,
    /// Memory and swap.
    Memory,
    /// Device access; an eBPF program on v2.
    Devices,
    /// Pausing; part of the core on v2.
    Freezer,
    /// Block devices: `blkio` on v1, `io` on v2.
    Io,
    /// Number of tasks.
    Pids,
    /// Huge pages.
    Hugetlb,
    /// Class of packets, v1 alone.
    NetCls,
    /// Priority of packets, v1 alone.
    NetPrio,
    /// `perf` by group; implicit on v2.
    PerfEvent,
    /// RDMA handles and objects.
    Rdma,
    /// Scalar resources of the architecture.
    Misc,
}

impl Controller {
    /// All of them, in the order in which groups are made.
    pub const ALL: [Self; 14] = [
        Self::Cpu,
        Self::Cpuacct,
        Self::Cpuset,
        Self::Memory,
        Self::Devices,
        Self::Freezer,
        Self::Io,
        Self::Pids,
        Self::Hugetlb,
        Self::NetCls,
        Self::NetPrio,
        Self::PerfEvent,
        Self::Rdma,
        Self::Misc,
    ];

    /// The name in mount options and file names.
    #[must_use]
    pub fn name(self, version: Version) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cpuacct => "cpuacct",
            Self::Cpuset => "cpuset",
            Self::Memory => "memory",
            Self::Devices => "devices",
            Self::Freezer => "freezer",
            Self::Io => match version {
                Version::V1 => "blkio",
                Version::V2 => "io",
            },
            Self::Pids => "pids",
            Self::Hugetlb => "hugetlb",
            Self::NetCls => "net_cls",
            Self::NetPrio => "net_prio",
            Self::PerfEvent => "perf_event",
            Self::Rdma => "rdma",
            Self::Misc => "misc",
        }
    }

    /// The controller called `name`, if it is one of ours.
    #[must_use]
    pub fn from_name(name: &str, version: Version) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|controller| controller.name(version) == name)
    }
}

/// A set of controllers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ControllerSet(u16);

impl ControllerSet {
    /// Adds one.
    pub fn insert(&mut self, controller: Controller) {
        self.0 |= 1 << controller as u8;
    }

    /// Whether it is there.
    #[must_use]
    pub fn contains(self, controller: Controller) -> bool {
        self.0 & (1 << controller as u8) != 0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its members, in the order of [`Controller::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Controller> {
        Controller::ALL
            .into_iter()
            .filter(move |controller| self.contains(*controller))
    }

    /// The members that `other` lacks.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The members of both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl FromIterator<Controller> for ControllerSet {
    fn from_iter<I: IntoIterator<Item = Controller>>(controllers: I) -> Self {
        let mut set = Self::default();
        for controller in controllers {
            set.insert(controller);
        }
        set
    }
}

/// Where each controller is found on a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Controllers on v1 hierarchies.
    pub v1: ControllerSet,
    /// Controllers that the v2 hierarchy carries.
    pub v2: ControllerSet,
    /// Whether a v2 hierarchy is mounted at all.
    pub unified: bool,
}

impl Layout {
    /// Which interface serves a controller; `None` when the kernel lacks it.
    #[must_use]
    pub fn version_of(&self, controller: Controller) -> Option<Version> {
        if self.v1.contains(controller) {
            Some(Version::V1)
        } else if self.v2.contains(controller) || (self.unified && self.implied(controller)) {
            Some(Version::V2)
        } else {
            None
        }
    }

    /// The version that `docker info` reports: 2 only for a pure v2 machine.
    #[must_use]
    pub fn version(&self) -> Version {
        if self.unified && self.v1.is_empty() {
            Version::V2
        } else {
            Version::V1
        }
    }

    /// What v2 has without naming it in `cgroup.controllers`.
    fn implied(&self, controller: Controller) -> bool {
        match controller {
            Controller::Cpuacct => self.v2.contains(Controller::Cpu),
            Controller::Devices | Controller::Freezer => true,
            _ => false,
        }
    }
}
