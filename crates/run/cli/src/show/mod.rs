//! How things look: sizes, durations, moments, tables, listings.

pub(crate) mod listing;
pub(crate) mod table;
pub(crate) mod time;
pub(crate) mod units;
