//! Compares output with the lines that a case expects.

use regex_lite::Regex;

/// One expected line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// The whole line, where `<id64>`, `<id12>`, `<num>`, `<ip>`, `<time>` and
    /// `<any>` stand for what differs from run to run.
    Exact(String),
    /// A regular expression that matches somewhere in the line.
    Regex(String),
    /// Any number of lines, also none.
    Rest,
}

/// Says what does not fit, or nothing.
pub(super) fn mismatch(expected: &[Line], text: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().map(|l| l.trim_end_matches('\r')).collect();
    let patterns: Vec<Option<Regex>> = expected.iter().map(compile).collect();
    if fits(&patterns, &lines) {
        return None;
    }
    let wanted: Vec<String> = expected.iter().map(show).collect();
    Some(format!(
        "expected:\n{}\n     got:\n{}",
        indent(&wanted.join("\n")),
        indent(&lines.join("\n"))
    ))
}

fn fits(patterns: &[Option<Regex>], lines: &[&str]) -> bool {
    match (patterns.split_first(), lines.split_first()) {
        (None, None) => true,
        (None, Some(_)) | (Some((Some(_), _)), None) => false,
        (Some((Some(regex), patterns)), Some((line, lines))) => {
            regex.is_match(line) && fits(patterns, lines)
        }
        (Some((None, patterns)), _) => (0..=lines.len()).any(|skip| fits(patterns, &lines[skip..])),
    }
}

fn compile(line: &Line) -> Option<Regex> {
    let source = match line {
        Line::Rest => return None,
        Line::Regex(source) => source.clone(),
        Line::Exact(text) => {
            let mut source = regex_lite::escape(text);
            for (token, class) in [
                ("<id64>", "[0-9a-f]{64}"),
                ("<id12>", "[0-9a-f]{12}"),
                ("<num>", "[0-9]+(\\.[0-9]+)?"),
                ("<ip>", "[0-9]+\\.[0-9]+\\.[0-9]+\\.[0-9]+"),
                (
                    "<time>",
                    "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(Z|[+-][0-9:]+)",
                ),
                ("<any>", ".*"),
            ] {
                source = source.replace(&regex_lite::escape(token), class);
            }
            format!("^{source}$")
        }
    };
    Some(Regex::new(&source).unwrap_or_else(|e| panic!("{source}: {e}")))
}

fn show(line: &Line) -> String {
    match line {
        Line::Exact(text) => text.clone(),
        Line::Regex(source) => format!("/{source}/"),
        Line::Rest => "…".to_owned(),
    }
}

fn indent(text: &str) -> String {
    text.lines()
        .map(|l| format!("       {l}"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(expected: &[Line], text: &str, fits: bool) {
        assert_eq!(
            mismatch(expected, text).is_none(),
            fits,
            "{:?}",
            mismatch(expected, text)
        );
    }

    #[test]
    fn exact_lines_and_tokens() {
        let line = |s: &str| vec![Line::Exact(s.into())];
        check(&line("a <num> b"), "a 12 b\n", true);
        check(&line("a <num> b"), "a x b\n", false);
        check(&line("<id12>"), "0123456789ab", true);
        check(&line("<id12>"), "0123456789abc", false);
        check(&line("dots. are dots"), "dotsx are dots", false);
        check(&[], "", true);
        check(&[], "more", false);
    }

    #[test]
    fn rest_stands_for_any_lines() {
        let lines = [Line::Exact("a".into()), Line::Rest, Line::Exact("z".into())];
        check(&lines, "a\nz\n", true);
        check(&lines, "a\nb\nc\nz\n", true);
        check(&lines, "a\nb\n", false);
        check(&[Line::Regex("^b+$".into())], "bbb", true);
    }
}
