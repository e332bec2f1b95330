//! Where the microseconds of one path go: `CARRACK_TRACE=start`.
//!
//! A path marks its steps as it passes them and writes one line at its end:
//!
//! ```text
//! carrack-trace start 4f1d… names=31 images=12 sandbox=9 mount=1102 record=840 plan=95 total=2093
//! ```
//!
//! Each figure is the time in microseconds since the mark before it. `xtask bench
//! start --trace` reads these lines. When the path is not traced a mark costs one
//! branch: nothing is read, kept or written.

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::time::Instant;

/// Most marks kept of one path; later ones are counted in the total alone.
const MARKS_MAX: usize = 32;

/// The marks of one path that is being passed.
#[derive(Debug)]
pub struct PathTrace {
    /// None when this path is not traced.
    marks: Option<Marks>,
}

#[derive(Debug)]
struct Marks {
    path: &'static str,
    start: Instant,
    last: Instant,
    steps: Vec<(&'static str, u128)>,
}

impl PathTrace {
    /// Begins the path called `path`; it is traced when `CARRACK_TRACE` names it.
    pub fn begin(path: &'static str) -> Self {
        Self::begin_if(traced(path), path)
    }

    fn begin_if(on: bool, path: &'static str) -> Self {
        let marks = on.then(|| {
            let now = Instant::now();
            Marks {
                path,
                start: now,
                last: now,
                steps: Vec::with_capacity(MARKS_MAX),
            }
        });
        Self { marks }
    }

    /// Says that the step called `step` has just been done.
    pub fn mark(&mut self, step: &'static str) {
        let Some(marks) = &mut self.marks else { return };
        let now = Instant::now();
        if marks.steps.len() < MARKS_MAX {
            marks
                .steps
                .push((step, now.duration_since(marks.last).as_micros()));
        }
        marks.last = now;
    }

    /// Ends the path and writes its line to standard error.
    pub fn end(self, id: &str) {
        if let Some(line) = self.line(id) {
            eprintln!("{line}");
        }
    }

    fn line(self, id: &str) -> Option<String> {
        let marks = self.marks?;
        let mut line = format!("carrack-trace {} {id}", marks.path);
        for (step, us) in &marks.steps {
            // Writing to a String does not fail.
            let _infallible = write!(line, " {step}={us}");
        }
        let _infallible = write!(line, " total={}", marks.start.elapsed().as_micros());
        Some(line)
    }
}

/// Whether `CARRACK_TRACE`, a list of names with commas, has this one.
fn traced(path: &str) -> bool {
    static NAMES: OnceLock<Vec<String>> = OnceLock::new();
    NAMES
        .get_or_init(|| {
            let value = std::env::var("CARRACK_TRACE").unwrap_or_default();
            value
                .split(',')
                .map(|n| n.trim().to_owned())
                .filter(|n| !n.is_empty())
                .collect()
        })
        .iter()
        .any(|n| n == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_the_steps_in_order() {
        let mut trace = PathTrace::begin_if(true, "start");
        trace.mark("names");
        trace.mark("mount");
        let line = trace.line("abc").unwrap();
        let words: Vec<&str> = line
            .split(' ')
            .map(|w| w.split('=').next().unwrap())
            .collect();
        assert_eq!(
            words,
            ["carrack-trace", "start", "abc", "names", "mount", "total"]
        );
    }

    #[test]
    fn a_path_that_is_not_traced_says_nothing() {
        let mut trace = PathTrace::begin_if(false, "start");
        trace.mark("names");
        assert_eq!(trace.line("abc"), None);
    }

    #[test]
    fn marks_are_bounded() {
        let mut trace = PathTrace::begin_if(true, "start");
        for _ in 0..MARKS_MAX * 2 {
            trace.mark("again");
        }
        assert_eq!(
            trace.line("x").unwrap().matches("again=").count(),
            MARKS_MAX
        );
    }
}
