//! The verbs, and the table in which they are found.
//!
//! The table is static: finding a verb compares a few names, and nothing else
//! of the other verbs is touched. Help and completion read it whole.

mod attach;
mod copy;
mod exec;
mod images;
mod inspect;
mod lifecycle;
mod listing;
mod logs;
mod networks;
mod observe;
mod prune;
mod run;
mod start;
mod stats;
mod system;
mod transfer;
mod usage;
mod volumes;

use serde_json::Value;

use crate::failure::Outcome;
use crate::flags::{Flag, Order, Parsed};
use crate::session::Session;

/// How many arguments a verb takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arity {
    None,
    Exactly(usize),
    AtLeast(usize),
    AtMost(usize),
    Between(usize, usize),
}

/// Where a verb is shown in the help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Among those that everybody needs.
    Common,
    /// Among the others.
    Plain,
    /// Below its management command alone.
    Managed,
}

/// A verb.
pub(crate) struct Verb {
    /// Every name it has; the first is the full one.
    pub(crate) names: &'static [&'static str],
    pub(crate) place: Place,
    /// What follows the name in its usage.
    pub(crate) usage: &'static str,
    /// One line about it.
    pub(crate) about: &'static str,
    pub(crate) arity: Arity,
    pub(crate) order: Order,
    /// Its flags, in groups with titles.
    pub(crate) flags: &'static [(&'static str, &'static [Flag])],
    pub(crate) run: fn(&mut Session, &Parsed) -> Outcome,
}

impl Verb {
    /// All its flags.
    pub(crate) fn all_flags(&self) -> impl Iterator<Item = &'static Flag> + Clone {
        self.flags.iter().flat_map(|(_, flags)| flags.iter())
    }

    /// The name without its management command, if it has one: `run`.
    pub(crate) fn short_name(&self) -> Option<&'static str> {
        self.names.iter().copied().find(|name| !name.contains(' '))
    }
}

/// Every verb, in the order of the help.
pub(crate) static VERBS: &[&Verb] = &[
    &run::RUN,
    &exec::EXEC,
    &listing::PS,
    &images::IMAGES,
    &system::VERSION,
    &system::INFO,
    &attach::ATTACH,
    &copy::CP,
    &run::CREATE,
    &observe::EVENTS,
    &images::HISTORY,
    &transfer::IMPORT,
    &inspect::INSPECT,
    &lifecycle::KILL,
    &transfer::LOAD,
    &logs::LOGS,
    &lifecycle::PAUSE,
    &observe::PORT,
    &lifecycle::RENAME,
    &lifecycle::RESTART,
    &lifecycle::RM,
    &images::RMI,
    &transfer::SAVE,
    &start::START,
    &stats::STATS,
    &lifecycle::STOP,
    &images::TAG,
    &observe::TOP,
    &lifecycle::UNPAUSE,
    &lifecycle::UPDATE,
    &lifecycle::WAIT,
    &inspect::CONTAINER_INSPECT,
    &inspect::IMAGE_INSPECT,
    &inspect::NETWORK_INSPECT,
    &inspect::VOLUME_INSPECT,
    &prune::CONTAINER_PRUNE,
    &prune::IMAGE_PRUNE,
    &prune::NETWORK_PRUNE,
    &prune::VOLUME_PRUNE,
    &prune::SYSTEM_PRUNE,
    &networks::NETWORK_LS,
    &volumes::VOLUME_CREATE,
    &volumes::VOLUME_LS,
    &volumes::VOLUME_RM,
    &usage::DF,
];

/// Management commands, and what they manage.
pub(crate) static MANAGEMENT: &[(&str, &str)] = &[
    ("container", "Manage containers"),
    ("image", "Manage images"),
    ("network", "Manage networks"),
    ("system", "Manage the engine"),
    ("volume", "Manage volumes"),
];

/// The verb of a name such as `run` or `container run`.
pub(crate) fn find(name: &str) -> Option<&'static Verb> {
    VERBS
        .iter()
        .copied()
        .find(|verb| verb.names.contains(&name))
}

/// A field of an answer by its path, null where there is none.
pub(crate) fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(value, |value, name| &value[name])
}

/// A text of an answer, empty where there is none.
pub(crate) fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    at(value, path).as_str().unwrap_or_default()
}

/// A number of an answer, 0 where there is none.
pub(crate) fn number(value: &Value, path: &str) -> i64 {
    at(value, path).as_i64().unwrap_or(0)
}

/// The elements of a list in an answer, none where there is no list.
pub(crate) fn items<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    let value = if path.is_empty() {
        value
    } else {
        at(value, path)
    };
    value.as_array().map_or(&[], Vec::as_slice)
}
