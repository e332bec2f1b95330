//! What each route does: decode, ask the engine, encode. A function a route.

pub(crate) mod absent;
pub(crate) mod archive;
pub(crate) mod attach;
pub(crate) mod containers;
pub(crate) mod create;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod images;
pub(crate) mod logs;
pub(crate) mod networks;
pub(crate) mod platform;
pub(crate) mod stats;
pub(crate) mod system;
pub(crate) mod transfer;
pub(crate) mod update;
pub(crate) mod volumes;
pub(crate) mod wait;
