//! Logs, request numbers, and the trace of one path.
//!
//! `bin/carrack` calls [`init`] once; everyone else only uses `tracing` macros,
//! [`RequestId`] and [`PathTrace`]. Nothing here may block on the path of a start,
//! and no secret may be given to it: what is logged is written as it is.
#![forbid(unsafe_code)]

mod logging;
mod path_trace;
mod request_id;

pub use logging::{Format, InitError, init};
pub use path_trace::PathTrace;
pub use request_id::RequestId;
