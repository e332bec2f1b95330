//! The one container lifecycle, owner-tagged: create, start, exec, logs, events, stats
#![forbid(unsafe_code)]
