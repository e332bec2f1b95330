//! Finds what is wrong with a JSON text and says it as Go's `encoding/json`
//! does: clients were seen to match its sentences.
//!
//! Only called for texts that were refused already. Iterative, so that depth
//! costs a byte a level.

/// What is wrong with `text`; nothing when it is well-formed.
pub(crate) fn syntax_error(text: &[u8]) -> Option<String> {
    let mut scanner = Scanner { text, at: 0 };
    scanner.document().err().map(|wrong| wrong.sentence())
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

enum Wrong {
    End,
    Character(u8, &'static str),
    Literal(u8, &'static str, u8),
}

impl Wrong {
    fn sentence(&self) -> String {
        match self {
            Self::End => "unexpected EOF".to_owned(),
            Self::Character(byte, context) => {
                format!("invalid character {} {context}", quoted(*byte))
            }
            Self::Literal(byte, literal, expected) => format!(
                "invalid character {} in literal {literal} (expecting {})",
                quoted(*byte),
                quoted(*expected)
            ),
        }
    }
}

/// Go's `quoteChar`.
fn quoted(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        _ => format!("'{}'", char::from(byte).escape_default()),
    }
}

#[derive(Clone, Copy)]
enum Level {
    Object,
    Array,
}

impl Scanner<'_> {
    fn document(&mut self) -> Result<(), Wrong> {
        let mut levels = Vec::new();
        loop {
            // A value begins here.
            match self.next()? {
                b'{' => {
                    if self.peek()? == b'}' {
                        self.at += 1;
                    } else {
                        self.key()?;
                        levels.push(Level::Object);
                        continue;
                    }
                }
                b'[' => {
                    if self.peek()? == b']' {
                        self.at += 1;
                    } else {
                        levels.push(Level::Array);
                        continue;
                    }
                }
                first => self.scalar(first)?,
            }
            // A value ended: so may what holds it.
            loop {
                let Some(level) = levels.last().copied() else {
                    return Ok(());
                };
                match (self.next()?, level) {
                    (b',', Level::Object) => {
                        self.key()?;
                        break;
                    }
                    (b',', Level::Array) => break,
                    (b'}', Level::Object) | (b']', Level::Array) => {
                        levels.pop();
                    }
                    (other, Level::Object) => {
                        return Err(Wrong::Character(other, "after object key:value pair"));
                    }
                    (other, Level::Array) => {
                        return Err(Wrong::Character(other, "after array element"));
                    }
                }
            }
        }
    }

    /// A key and its colon.
    fn key(&mut self) -> Result<(), Wrong> {
        match self.next()? {
            b'"' => self.string()?,
            other => {
                return Err(Wrong::Character(
                    other,
                    "looking for beginning of object key string",
                ));
            }
        }
        match self.next()? {
            b':' => Ok(()),
            other => Err(Wrong::Character(other, "after object key")),
        }
    }

    fn scalar(&mut self, first: u8) -> Result<(), Wrong> {
        match first {
            b'"' => self.string(),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            b'-' | b'0'..=b'9' => self.number(first),
            other => Err(Wrong::Character(other, "looking for beginning of value")),
        }
    }

    fn literal(&mut self, literal: &'static str) -> Result<(), Wrong> {
        for expected in literal.bytes().skip(1) {
            let byte = self.raw()?;
            if byte != expected {
                return Err(Wrong::Literal(byte, literal, expected));
            }
        }
        Ok(())
    }

    fn string(&mut self) -> Result<(), Wrong> {
        loop {
            match self.raw()? {
                b'"' => return Ok(()),
                b'\\' => self.escape()?,
                byte if byte < 0x20 => {
                    return Err(Wrong::Character(byte, "in string literal"));
                }
                _ => {}
            }
        }
    }

    fn escape(&mut self) -> Result<(), Wrong> {
        match self.raw()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(()),
            b'u' => {
                for _ in 0..4 {
                    let byte = self.raw()?;
                    if !byte.is_ascii_hexdigit() {
                        return Err(Wrong::Character(
                            byte,
                            r"in \u hexadecimal character escape",
                        ));
                    }
                }
                Ok(())
            }
            byte => Err(Wrong::Character(byte, "in string escape code")),
        }
    }

    fn number(&mut self, first: u8) -> Result<(), Wrong> {
        let first = if first == b'-' { self.raw()? } else { first };
        match first {
            b'0' => {}
            b'1'..=b'9' => self.digits(),
            other => return Err(Wrong::Character(other, "in numeric literal")),
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digit("after decimal point in numeric literal")?;
            self.digits();
        }
        if let Some(b'e' | b'E') = self.text.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.text.get(self.at) {
                self.at += 1;
            }
            self.digit("in exponent of numeric literal")?;
            self.digits();
        }
        Ok(())
    }

    fn digit(&mut self, context: &'static str) -> Result<(), Wrong> {
        match self.raw()? {
            b'0'..=b'9' => Ok(()),
            other => Err(Wrong::Character(other, context)),
        }
    }

    fn digits(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
    }

    /// The next byte.
    fn raw(&mut self) -> Result<u8, Wrong> {
        let byte = *self.text.get(self.at).ok_or(Wrong::End)?;
        self.at += 1;
        Ok(byte)
    }

    /// The next byte that is no blank.
    fn next(&mut self) -> Result<u8, Wrong> {
        let byte = self.peek()?;
        self.at += 1;
        Ok(byte)
    }

    fn peek(&mut self) -> Result<u8, Wrong> {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.text.get(self.at) {
            self.at += 1;
        }
        self.text.get(self.at).copied().ok_or(Wrong::End)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let got = syntax_error(text.as_bytes()).unwrap_or_else(|| "ok".to_owned());
        assert_eq!(got, expected, "{text}");
    }

    /// Every sentence here was recorded from dockerd 20.10.
    #[test]
    fn sentences() {
        check(
            "foo",
            "invalid character 'o' in literal false (expecting 'a')",
        );
        check(
            "{i",
            "invalid character 'i' looking for beginning of object key string",
        );
        check(
            r#"{"Image":"busybox",}"#,
            "invalid character '}' looking for beginning of object key string",
        );
        check(r#"{"Image":"busybox""#, "unexpected EOF");
        check(r#"{"Image":"busy"#, "unexpected EOF");
        check(
            r#"{"Image" "busy"}"#,
            "invalid character '\"' after object key",
        );
        check(
            r#"{"Image":tru}"#,
            "invalid character '}' in literal true (expecting 'e')",
        );
        check(r#"{"Image":nul"#, "unexpected EOF");
        check(
            r#"{"Image":01}"#,
            "invalid character '1' after object key:value pair",
        );
        check(
            r#"{"Image":"a\qb"}"#,
            "invalid character 'q' in string escape code",
        );
        check(
            "abc",
            "invalid character 'a' looking for beginning of value",
        );
    }

    #[test]
    fn others() {
        check(r#"{"a":[1,2.5e-3,"x",{},[],null]}"#, "ok");
        check("[1 2]", "invalid character '2' after array element");
        check(
            "[1,]",
            "invalid character ']' looking for beginning of value",
        );
        check("-x", "invalid character 'x' in numeric literal");
        check(
            "1.x",
            "invalid character 'x' after decimal point in numeric literal",
        );
        check(
            "1ex",
            "invalid character 'x' in exponent of numeric literal",
        );
        check(
            r#""\u00g0""#,
            r"invalid character 'g' in \u hexadecimal character escape",
        );
        check("\"a\nb\"", r"invalid character '\n' in string literal");
        check(
            "'",
            r"invalid character '\'' looking for beginning of value",
        );
        check("", "unexpected EOF");
    }

    #[test]
    fn depth_costs_nothing() {
        let deep = "[".repeat(2_000_000);
        check(&deep, "unexpected EOF");
        let closed = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        check(&closed, "ok");
    }
}
