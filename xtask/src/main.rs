//! Chores: test images, tidy, benches.

fn main() {}
