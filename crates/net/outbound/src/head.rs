//! The head of an answer: parsed within bounds, reduced to what framing needs.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

/// Bounds of one exchange.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most bytes that an answer's head may take.
    pub head_bytes: usize,
    /// The most fields that an answer's head may have.
    pub head_fields: usize,
    /// How long connecting may take, in milliseconds.
    pub connect_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 64 * 1024,
            head_fields: 100,
            connect_ms: 10_000,
        }
    }
}

/// The head of an answer.
#[derive(Debug, Clone)]
pub struct ResponseHead {
    /// The status.
    pub status: StatusCode,
    /// The fields.
    pub fields: HeaderMap,
}

/// How the end of a body is known (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none, or this many bytes are left.
    Length(u64),
    /// A chunk at a time.
    Chunked,
    /// Until the server closes.
    UntilClose,
}

impl ResponseHead {
    /// Parses a head from the start of `bytes`; `None` when it is not whole.
    /// Gives the head and how many bytes it took, or the reason why it is not
    /// one.
    pub(crate) fn parse(bytes: &[u8], limits: Limits) -> Result<Option<(Self, usize)>, String> {
        let mut storage = vec![httparse::EMPTY_HEADER; limits.head_fields];
        let mut parsed = httparse::Response::new(&mut storage);
        let taken = match parsed.parse(bytes).map_err(|error| error.to_string())? {
            httparse::Status::Complete(taken) => taken,
            httparse::Status::Partial => return Ok(None),
        };
        let status = StatusCode::from_u16(parsed.code.unwrap_or_default())
            .map_err(|error| error.to_string())?;
        let mut fields = HeaderMap::with_capacity(parsed.headers.len());
        for field in parsed.headers.iter() {
            let name =
                HeaderName::from_bytes(field.name.as_bytes()).map_err(|error| error.to_string())?;
            let value = HeaderValue::from_bytes(field.value).map_err(|error| error.to_string())?;
            fields.append(name, value);
        }
        Ok(Some((Self { status, fields }, taken)))
    }

    /// A field's value where it is text.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).and_then(|value| value.to_str().ok())
    }

    fn lists(&self, name: http::header::HeaderName, token: &str) -> bool {
        self.fields
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|item| item.trim().eq_ignore_ascii_case(token))
    }

    /// Whether the connection may carry another exchange after this one.
    pub(crate) fn keeps_alive(&self) -> bool {
        !self.lists(http::header::CONNECTION, "close")
    }

    /// How the body's end is known, for an answer to `method`.
    pub(crate) fn framing(&self, method: &Method) -> Result<Framing, String> {
        if *method == Method::HEAD
            || self.status.is_informational()
            || self.status == StatusCode::NO_CONTENT
            || self.status == StatusCode::NOT_MODIFIED
        {
            return Ok(Framing::Length(0));
        }
        if self.fields.contains_key(http::header::TRANSFER_ENCODING) {
            // Chunked is the only coding that is asked for; anything else
            // could not be told from it by an intermediary.
            return if self.lists(http::header::TRANSFER_ENCODING, "chunked") {
                Ok(Framing::Chunked)
            } else {
                Err("a transfer coding other than chunked".to_owned())
            };
        }
        let mut length = None;
        for value in self.fields.get_all(http::header::CONTENT_LENGTH) {
            let text = value
                .to_str()
                .map_err(|_| "a content length that is no number".to_owned())?;
            let bytes = text.trim();
            if bytes.is_empty() || !bytes.bytes().all(|b| b.is_ascii_digit()) {
                return Err("a content length that is no number".to_owned());
            }
            let bytes: u64 = bytes
                .parse()
                .map_err(|_| "a content length that is too large".to_owned())?;
            if length.is_some_and(|before| before != bytes) {
                return Err("two content lengths".to_owned());
            }
            length = Some(bytes);
        }
        Ok(length.map_or(Framing::UntilClose, Framing::Length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(head: &str) -> Result<Framing, String> {
        let (head, _) =
            ResponseHead::parse(head.as_bytes(), Limits::default())?.ok_or("partial")?;
        head.framing(&Method::GET)
    }

    #[test]
    fn framing_follows_the_head() {
        assert_eq!(
            framing("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
            Ok(Framing::Length(5))
        );
        assert_eq!(
            framing("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"),
            Ok(Framing::Chunked)
        );
        assert_eq!(framing("HTTP/1.1 200 OK\r\n\r\n"), Ok(Framing::UntilClose));
        assert_eq!(
            framing("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"),
            Ok(Framing::Length(0))
        );
    }

    #[test]
    fn hostile_heads_are_refused() {
        for hostile in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "SSH-2.0-OpenSSH\r\n\r\n",
            "HTTP/1.1 99 Low\r\n\r\n",
        ] {
            assert!(framing(hostile).is_err(), "{hostile:?}");
        }
    }

    #[test]
    fn too_many_fields_are_refused() {
        let head = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(101));
        assert!(framing(&head).is_err());
    }
}
