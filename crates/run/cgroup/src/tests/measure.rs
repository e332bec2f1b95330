//! What a leaf costs; printed with `--nocapture`, never asserted.

use std::time::{Duration, Instant};

use super::world::World;

const RUNS: usize = 100;

#[test]
fn cost_of_a_leaf() {
    let Some(world) = World::new() else { return };
    let mut steps: [(&str, Vec<Duration>); 5] = [
        ("create", Vec::new()),
        ("default devices", Vec::new()),
        ("attach files", Vec::new()),
        ("stats", Vec::new()),
        ("remove", Vec::new()),
    ];
    for run in 0..RUNS {
        let mut last = Instant::now();
        let mut took = |steps: &mut [(&str, Vec<Duration>); 5], index: usize| {
            let now = Instant::now();
            steps[index].1.push(now - last);
            last = now;
        };
        let leaf = world.leaf(&format!("m{run}"));
        took(&mut steps, 0);
        leaf.set_default_devices().unwrap();
        took(&mut steps, 1);
        leaf.attach_files(crate::V2Membership::Inherited).unwrap();
        took(&mut steps, 2);
        leaf.stats().unwrap();
        took(&mut steps, 3);
        leaf.remove().unwrap();
        took(&mut steps, 4);
    }
    for (name, mut times) in steps {
        times.sort_unstable();
        println!(
            "{name}: median {:?}, max {:?}",
            times[RUNS / 2],
            times[RUNS - 1]
        );
    }
}
