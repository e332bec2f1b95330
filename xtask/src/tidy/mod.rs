//! What no compiler checks: which room may know which, what is absent, and that
//! pages say what is there.
//!
//! Run by `./test tidy` and by this crate's own test. Every message names the
//! place and says what to do about it.

mod graph;
mod pages;
mod source;
mod workspace;

use anyhow::{Result, bail};

/// Runs all checks and prints what they found.
pub(crate) fn run() -> Result<()> {
    let found = findings()?;
    for finding in &found {
        println!("tidy: {finding}");
    }
    if !found.is_empty() {
        bail!("{} findings", found.len());
    }
    println!("tidy: all of it holds");
    Ok(())
}

fn findings() -> Result<Vec<String>> {
    let crates = workspace::crates()?;
    let sources = workspace::sources(&crates)?;
    let mut found = graph::check(&crates);
    found.extend(source::check(&crates, &sources));
    found.extend(pages::check(&crates, crate::root())?);
    Ok(found)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_workspace_is_tidy() {
        let found = super::findings().unwrap();
        assert!(found.is_empty(), "\n{}", found.join("\n"));
    }
}
