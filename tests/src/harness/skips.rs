//! The checked-in list of tests that may be left out: `tests/skips.txt`.
//!
//! One line a test: its name, two spaces, the reason. `ceiling: N` bounds how
//! many there may be, so that the list grows only by a change that a reader sees.

use std::fs;

use super::tests_dir;

/// Entries of `tests/skips.txt`: name and reason.
///
/// # Panics
/// When the file cannot be read, a line has no reason, or the ceiling is passed.
pub fn list() -> Vec<(String, String)> {
    let path = tests_dir().join("skips.txt");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut ceiling = 0;
    let mut entries = Vec::new();
    for line in text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
    {
        if let Some(n) = line.strip_prefix("ceiling:") {
            ceiling = n.trim().parse().expect("ceiling: a number");
            continue;
        }
        let (name, reason) = line
            .split_once("  ")
            .unwrap_or_else(|| panic!("{line}: no reason after two spaces"));
        entries.push((name.to_owned(), reason.trim().to_owned()));
    }
    assert!(
        entries.len() <= ceiling,
        "tests/skips.txt has {} entries and a ceiling of {ceiling}",
        entries.len()
    );
    entries
}

/// Whether the test `name` is on the list; says so on standard output.
///
/// With `CARRACK_E2E_TRY_SKIPPED=1` nothing is skipped, to see what works by now.
pub fn skipped(name: &str) -> bool {
    if std::env::var_os("CARRACK_E2E_TRY_SKIPPED").is_some() {
        return false;
    }
    let Some((_, reason)) = list().into_iter().find(|(n, _)| n == name) else {
        return false;
    };
    println!("SKIP: {name}: {reason}");
    true
}
