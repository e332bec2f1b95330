//! Tests with real packets, each in netns of its own.

mod connectivity;
mod firewall;
mod lifecycle;
mod measure;
mod publish;
pub(crate) mod world;
