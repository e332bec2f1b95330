//! The supervisor: parent of one container.

fn main() {}
