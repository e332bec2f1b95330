//! Against the machine's own control groups, and against a recorded v2 tree.

mod kernel;
mod measure;
mod recorded;
mod world;
