//! The life cycle against supervisors that the test plays.

mod execs;
mod recovery;
mod roots;
