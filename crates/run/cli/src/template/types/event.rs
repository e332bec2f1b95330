//! What `events` decodes.

use super::*;

/// `*events.Message`, on an empty one of which docker tries a format.
pub(crate) const EVENT_POINTER: &Type = &Type::Pointer(EVENT);

/// `events.Message`
pub(crate) const EVENT: &Type = &structure(
    "events.Message",
    &[
        renamed("Status", "status", TEXT).filled(),
        renamed("ID", "id", TEXT).filled(),
        renamed("From", "from", TEXT).filled(),
        field("Type", &Type::Text("events.Type")),
        field("Action", &Type::Text("events.Action")),
        field(
            "Actor",
            &structure(
                "events.Actor",
                &[field("ID", TEXT), field("Attributes", TEXT_MAP)],
            ),
        ),
        renamed("Scope", "scope", TEXT).filled(),
        renamed("Time", "time", INT64).filled(),
        renamed("TimeNano", "timeNano", INT64).filled(),
    ],
);
