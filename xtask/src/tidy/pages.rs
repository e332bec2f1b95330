//! Pages, tests' lists and the tree say the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::workspace::Crate;

/// Most lines of the map: one that is longer is not read.
const ARCHITECTURE_LINES_MAX: usize = 300;

/// Findings between pages and tree.
pub(super) fn check(crates: &[Crate], root: &Path) -> Result<Vec<String>> {
    let read =
        |name: &str| fs::read_to_string(root.join(name)).with_context(|| format!("reading {name}"));
    let mut found = architecture(crates, &read("ARCHITECTURE.md")?);
    found.extend(decisions(&names(&root.join("docs/adr"))?));
    found.extend(skips(&read("tests/skips.txt")?));
    found.extend(cases(&root.join("tests"))?);
    if root.join("docs/not-yet.md").exists() {
        found.extend(not_yet(
            &read("docs/not-yet.md")?,
            &all_rust(&root.join("crates"))?,
        ));
    }
    for (path, text) in crate::pages::all()? {
        if fs::read_to_string(root.join(path)).unwrap_or_default() != text {
            found.push(format!(
                "{path}: is generated and out of date; run `cargo run -q -p xtask -- pages`"
            ));
        }
    }
    Ok(found)
}

/// One row for each crate in the map, none for a crate that is not there.
fn architecture(crates: &[Crate], text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let rows: Vec<&str> = text
        .lines()
        .filter_map(|l| {
            l.strip_prefix("| `")?
                .split_once("` |")
                .map(|(name, _)| name)
        })
        .filter(|name| name.contains('/') || matches!(*name, "tests" | "xtask"))
        .filter(|name| !name.contains([' ', '.', ':']) && !name.starts_with('/'))
        .collect();
    for member in crates {
        let count = rows.iter().filter(|r| **r == member.short()).count();
        if count != 1 {
            found.push(format!(
                "ARCHITECTURE.md: {count} rows that begin with | `{}` |; there is one a crate",
                member.short()
            ));
        }
    }
    for row in rows {
        if !crates.iter().any(|c| c.short() == row) {
            found.push(format!(
                "ARCHITECTURE.md: has a row for {row}, which is no crate"
            ));
        }
    }
    let lines = text.lines().count();
    if lines > ARCHITECTURE_LINES_MAX {
        found.push(format!(
            "ARCHITECTURE.md: {lines} lines, and at most {ARCHITECTURE_LINES_MAX} are read"
        ));
    }
    found
}

/// Decisions are numbered from 001 on without a gap.
fn decisions(files: &BTreeSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    for (index, file) in files.iter().filter(|f| f.ends_with(".md")).enumerate() {
        let wanted = format!("{:03}-", index + 1);
        if !file.starts_with(&wanted) {
            found.push(format!("docs/adr/{file}: the next number is {wanted}"));
        }
    }
    found
}

/// The list of skipped tests stays under its ceiling, each with a reason.
fn skips(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut ceiling, mut count) = (0, 0);
    for line in text
        .lines()
        .filter(|l| !l.trim().is_empty() && !l.starts_with('#'))
    {
        if let Some(number) = line.strip_prefix("ceiling:") {
            ceiling = number.trim().parse().unwrap_or(0);
        } else {
            count += 1;
            if !line.contains("  ") {
                found.push(format!(
                    "tests/skips.txt: {line}: no reason after two spaces"
                ));
            }
        }
    }
    if count > ceiling {
        found.push(format!(
            "tests/skips.txt: {count} tests are skipped, the ceiling is {ceiling}"
        ));
    }
    found
}

/// Every `.case` file is in a `cases!` list: one that is not never runs.
fn cases(tests: &Path) -> Result<Vec<String>> {
    let rust = all_rust(tests)?;
    let declared: BTreeSet<String> = declared_cases(&rust).collect();
    let mut present = BTreeSet::new();
    let mut queue = vec![tests.to_owned()];
    while let Some(dir) = queue.pop() {
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.is_dir() {
                queue.push(path);
            } else if path.extension().is_some_and(|e| e == "case") {
                let name = path.strip_prefix(tests).unwrap_or(&path).with_extension("");
                present.insert(name.to_string_lossy().into_owned());
            }
        }
    }
    Ok(present
        .difference(&declared)
        .map(|name| format!("tests/{name}.case: is in no cases! list, so it never runs"))
        .collect())
}

fn declared_cases(rust: &str) -> impl Iterator<Item = String> {
    rust.split("cases!(\"").skip(1).flat_map(|rest| {
        let (folder, rest) = rest.split_once('"').unwrap_or((rest, ""));
        let list = rest
            .split(')')
            .next()
            .unwrap_or_default()
            .trim_start_matches(':');
        let folder = folder.to_owned();
        let names: Vec<String> = list
            .split(',')
            .map(|n| format!("{folder}/{}", n.trim().trim_start_matches("r#")))
            .collect();
        names
    })
}

/// Each entry of the page of what is not there yet is answered somewhere: the
/// program reads the sentences from the page and names an entry in quotes.
fn not_yet(page: &str, rust: &str) -> Vec<String> {
    page.lines()
        .filter_map(|line| line.strip_prefix("- "))
        .filter_map(|entry| {
            let names: Vec<&str> = entry
                .split(": ")
                .next()?
                .split('`')
                .skip(1)
                .step_by(2)
                .collect();
            let said = names
                .iter()
                .any(|name| rust.contains(&format!("\"{name}\"")));
            (!said).then(|| {
                format!(
                    "docs/not-yet.md: nothing answers with the entry of {}",
                    names.join(", ")
                )
            })
        })
        .collect()
}

/// The text of all Rust files below a folder, one after the other.
fn all_rust(folder: &Path) -> Result<String> {
    let mut text = String::new();
    let mut queue = vec![folder.to_owned()];
    while let Some(dir) = queue.pop() {
        for entry in fs::read_dir(&dir).with_context(|| format!("reading {}", dir.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                queue.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                text.push_str(&fs::read_to_string(&path)?);
            }
        }
    }
    Ok(text)
}

fn names(folder: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        names.insert(entry?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_without_a_row_and_a_row_without_a_crate() {
        let oci = Crate {
            name: "carrack-oci".into(),
            folder: "crates/base/oci".into(),
            dependencies: Vec::new(),
        };
        let found = architecture(&[oci], "| `base/gone` | x |\n| `/run` | y |\n");
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn numbers_of_decisions() {
        let files = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        assert!(decisions(&files(&["001-a.md", "002-b.md"])).is_empty());
        assert_eq!(decisions(&files(&["001-a.md", "003-b.md"])).len(), 1);
        assert_eq!(decisions(&files(&["001-a.md", "001-b.md"])).len(), 1);
    }

    #[test]
    fn skips_have_reasons_and_a_ceiling() {
        assert!(skips("ceiling: 1\na/b  because\n").is_empty());
        assert_eq!(skips("ceiling: 0\na/b  because\n").len(), 1);
        assert_eq!(skips("ceiling: 1\na/b\n").len(), 1);
    }

    #[test]
    fn entries_of_what_is_not_there_yet() {
        let page = "# x\n\n- `pull`, `push`: no registries yet\n- `fly`: no wings\n";
        let found = not_yet(page, "find(\"push\")");
        assert_eq!(
            found,
            ["docs/not-yet.md: nothing answers with the entry of fly"]
        );
    }

    #[test]
    fn lists_of_cases() {
        let names: Vec<String> =
            declared_cases("x!(); carrack_tests::cases!(\"a/b\": one, two);").collect();
        assert_eq!(names, ["a/b/one", "a/b/two"]);
    }
}
