//! fstab-style mount options: `config.md` "Linux mount options", mount(8).

use carrack_sys::mount as attr;

use super::PlanError;

/// What a list of options means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parsed {
    /// Bind, alone or with what is mounted below.
    pub(super) bind: Option<Bind>,
    /// `MOUNT_ATTR_…` bits to set and to clear.
    pub(super) set: u64,
    pub(super) clear: u64,
    /// The same for the mounts below, options with an `r` before them.
    pub(super) set_below: u64,
    pub(super) clear_below: u64,
    /// `MS_…` propagation, 0 if not said.
    pub(super) propagation: u64,
    pub(super) propagation_below: bool,
    pub(super) copy_up: bool,
    /// An idmapped mount: alone or with what is below.
    pub(super) id_map: Option<Bind>,
    /// Everything else, for the file system.
    pub(super) parameters: Vec<(String, Option<String>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bind {
    One,
    Recursive,
}

pub(super) const MS_UNBINDABLE: u64 = 1 << 17;
pub(super) const MS_PRIVATE: u64 = 1 << 18;
pub(super) const MS_SLAVE: u64 = 1 << 19;
pub(super) const MS_SHARED: u64 = 1 << 20;
pub(super) const MS_REC: u64 = 1 << 14;

/// Options that are known whatever the file system is.
pub const MOUNT_OPTIONS: &[&str] = &[
    "async",
    "atime",
    "bind",
    "defaults",
    "dev",
    "diratime",
    "exec",
    "idmap",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "private",
    "ratime",
    "rbind",
    "rdev",
    "rdiratime",
    "relatime",
    "remount",
    "rexec",
    "ridmap",
    "rnoatime",
    "rnodev",
    "rnodiratime",
    "rnoexec",
    "rnosuid",
    "ro",
    "rprivate",
    "rrelatime",
    "rro",
    "rrw",
    "rshared",
    "rslave",
    "rsuid",
    "runbindable",
    "rw",
    "shared",
    "slave",
    "strictatime",
    "suid",
    "tmpcopyup",
];

/// Bits to set and to clear of one attribute option.
fn attribute(name: &str) -> Option<(u64, u64)> {
    Some(match name {
        "ro" => (attr::ATTR_RDONLY, 0),
        "rw" => (0, attr::ATTR_RDONLY),
        "nosuid" => (attr::ATTR_NOSUID, 0),
        "suid" => (0, attr::ATTR_NOSUID),
        "nodev" => (attr::ATTR_NODEV, 0),
        "dev" => (0, attr::ATTR_NODEV),
        "noexec" => (attr::ATTR_NOEXEC, 0),
        "exec" => (0, attr::ATTR_NOEXEC),
        "noatime" => (attr::ATTR_NOATIME, attr::ATTR_ATIME_MASK),
        "strictatime" => (attr::ATTR_STRICTATIME, attr::ATTR_ATIME_MASK),
        // Zero under the mask is relatime, the kernel's default.
        "relatime" | "atime" | "nostrictatime" | "norelatime" => (0, attr::ATTR_ATIME_MASK),
        "nodiratime" => (attr::ATTR_NODIRATIME, 0),
        "diratime" => (0, attr::ATTR_NODIRATIME),
        "nosymfollow" => (attr::ATTR_NOSYMFOLLOW, 0),
        "symfollow" => (0, attr::ATTR_NOSYMFOLLOW),
        _ => return None,
    })
}

fn propagation(name: &str) -> Option<(u64, bool)> {
    let (kind, below) = match name.strip_prefix('r') {
        Some(kind @ ("shared" | "slave" | "private" | "unbindable")) => (kind, true),
        _ => (name, false),
    };
    let bits = match kind {
        "shared" => MS_SHARED,
        "slave" => MS_SLAVE,
        "private" => MS_PRIVATE,
        "unbindable" => MS_UNBINDABLE,
        _ => return None,
    };
    Some((bits, below))
}

/// `linux.rootfsPropagation` as `MS_…` bits.
pub(super) fn root_propagation(name: Option<&str>) -> Result<u64, PlanError> {
    let Some(name) = name.filter(|n| !n.is_empty()) else {
        return Ok(0);
    };
    match propagation(name) {
        Some((bits, below)) => Ok(bits | if below { MS_REC } else { 0 }),
        None => Err(PlanError::invalid(
            "linux.rootfsPropagation",
            format!("{name} is none of shared, slave, private, unbindable"),
        )),
    }
}

/// Reads options in order; a later one overrides an earlier one.
pub(super) fn parse(options: &[String]) -> Result<Parsed, PlanError> {
    let mut parsed = Parsed::default();
    for option in options {
        match option.as_str() {
            "bind" => {
                parsed.bind.get_or_insert(Bind::One);
            }
            "rbind" => parsed.bind = Some(Bind::Recursive),
            "idmap" => parsed.id_map = Some(Bind::One),
            "ridmap" => parsed.id_map = Some(Bind::Recursive),
            "tmpcopyup" => parsed.copy_up = true,
            // Words of mount(8) and Docker that mean nothing here.
            "defaults" | "remount" | "async" | "nomand" | "silent" | "" => {}
            name => parse_other(name, &mut parsed)?,
        }
    }
    Ok(parsed)
}

fn parse_other(name: &str, parsed: &mut Parsed) -> Result<(), PlanError> {
    if let Some((set, clear)) = attribute(name) {
        parsed.clear = (parsed.clear & !set) | clear;
        parsed.set = (parsed.set & !clear) | set;
    } else if let Some((bits, below)) = propagation(name) {
        parsed.propagation = bits;
        parsed.propagation_below = below;
    } else if let Some((set, clear)) = name.strip_prefix('r').and_then(attribute) {
        parsed.clear_below = (parsed.clear_below & !set) | clear;
        parsed.set_below = (parsed.set_below & !clear) | set;
    } else if name.contains('\0') {
        return Err(PlanError::invalid("mounts.options", "holds a NUL byte"));
    } else {
        parsed.parameters.push(match name.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (name.to_owned(), None),
        });
    }
    Ok(())
}
