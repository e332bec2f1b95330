//! Parsing a request's head, and deciding how its body is framed.
//!
//! Pure. Whatever two implementations could read in two ways is refused
//! (RFC 9112 sections 2.2, 5.1, 6.1, 6.3): both lengths, a repeated length,
//! an unknown coding, folded lines, LF alone, whitespace before a colon.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};

use crate::limits::HEADERS_MAX;

/// A parsed head.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) framing: Framing,
    pub(crate) keep_alive: bool,
    pub(crate) expects_continue: bool,
}

/// How the body of a request is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none.
    None,
    /// `Content-Length`, not zero.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// Why a head is refused; the connection is closed after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeadError {
    /// Not HTTP/1.x, or malformed.
    #[error("malformed request: {0}")]
    Malformed(&'static str),
    /// More bytes or fields than allowed.
    #[error("request header fields too large")]
    TooLarge,
    /// A version other than 1.0 and 1.1.
    #[error("unsupported HTTP version")]
    Version,
    /// An `Expect` other than `100-continue`.
    #[error("unsupported expectation")]
    Expectation,
    /// A transfer coding other than `chunked`.
    #[error("unsupported transfer encoding")]
    Coding,
}

impl HeadError {
    /// Status of the answer.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::Coding => StatusCode::NOT_IMPLEMENTED,
        }
    }
}

/// Parses the head at the front of `bytes`: the head and its length, or
/// nothing when it is not complete.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, HeadError> {
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut raw = httparse::Request::new(&mut fields);
    let length = match raw.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooLarge),
        Err(httparse::Error::Version) => return Err(HeadError::Version),
        Err(_) => return Err(HeadError::Malformed("invalid request line or field")),
    };
    refuse_bare_line_feeds(&bytes[..length])?;

    let invariant = HeadError::Malformed("incomplete request line");
    let method = Method::from_bytes(raw.method.ok_or(invariant)?.as_bytes())
        .map_err(|_| HeadError::Malformed("invalid method"))?;
    let uri: Uri = raw
        .path
        .ok_or(invariant)?
        .parse()
        .map_err(|_| HeadError::Malformed("invalid request target"))?;
    let version = match raw.version.ok_or(invariant)? {
        0 => Version::HTTP_10,
        _ => Version::HTTP_11,
    };
    let mut headers = HeaderMap::with_capacity(raw.headers.len());
    for field in raw.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes())
            .map_err(|_| HeadError::Malformed("invalid field name"))?;
        let value = HeaderValue::from_bytes(field.value)
            .map_err(|_| HeadError::Malformed("invalid field value"))?;
        headers.append(name, value);
    }
    require_one_host(version, &headers)?;
    let head = Head {
        framing: framing(version, &headers)?,
        keep_alive: keep_alive(version, &headers),
        expects_continue: expects_continue(version, &headers)?,
        method,
        uri,
        version,
        headers,
    };
    Ok(Some((head, length)))
}

/// `httparse` takes LF for CRLF; others do not.
fn refuse_bare_line_feeds(head: &[u8]) -> Result<(), HeadError> {
    let mut before = 0;
    for &byte in head {
        if byte == b'\n' && before != b'\r' {
            return Err(HeadError::Malformed("line feed without carriage return"));
        }
        before = byte;
    }
    Ok(())
}

fn require_one_host(version: Version, headers: &HeaderMap) -> Result<(), HeadError> {
    match headers.get_all(header::HOST).iter().count() {
        1 => Ok(()),
        0 if version == Version::HTTP_10 => Ok(()),
        0 => Err(HeadError::Malformed("missing required Host header")),
        _ => Err(HeadError::Malformed("more than one Host header")),
    }
}

fn framing(version: Version, headers: &HeaderMap) -> Result<Framing, HeadError> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (lengths.next(), codings.next()) {
        (None, None) => Ok(Framing::None),
        (Some(_), Some(_)) => Err(HeadError::Malformed(
            "both Content-Length and Transfer-Encoding",
        )),
        (Some(length), None) => {
            if lengths.next().is_some() {
                return Err(HeadError::Malformed("more than one Content-Length"));
            }
            parse_length(length.as_bytes()).map(|length| match length {
                0 => Framing::None,
                length => Framing::Length(length),
            })
        }
        (None, Some(coding)) => {
            if version == Version::HTTP_10 {
                return Err(HeadError::Malformed("Transfer-Encoding in HTTP/1.0"));
            }
            if codings.next().is_some() {
                return Err(HeadError::Malformed("more than one Transfer-Encoding"));
            }
            if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Err(HeadError::Coding);
            }
            Ok(Framing::Chunked)
        }
    }
}

/// Digits alone; `u64::from_str` would take a plus sign.
fn parse_length(value: &[u8]) -> Result<u64, HeadError> {
    let invalid = HeadError::Malformed("invalid Content-Length");
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(invalid);
    }
    let text = std::str::from_utf8(value).map_err(|_| invalid)?;
    text.parse().map_err(|_| invalid)
}

fn keep_alive(version: Version, headers: &HeaderMap) -> bool {
    if has_token(headers, &header::CONNECTION, "close") {
        return false;
    }
    version == Version::HTTP_11 || has_token(headers, &header::CONNECTION, "keep-alive")
}

fn expects_continue(version: Version, headers: &HeaderMap) -> Result<bool, HeadError> {
    match headers.get(header::EXPECT) {
        None => Ok(false),
        Some(value) if value.as_bytes().eq_ignore_ascii_case(b"100-continue") => {
            Ok(version == Version::HTTP_11)
        }
        Some(_) => Err(HeadError::Expectation),
    }
}

/// Whether a comma-separated field holds `token`, in any case.
pub(crate) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Head, HeadError> {
        parse(text.as_bytes()).map(|head| head.expect("complete").0)
    }

    fn refused(text: &str) -> HeadError {
        parsed(text).map(|head| head.framing).expect_err(text)
    }

    #[test]
    fn framings() {
        let head = |fields: &str| {
            parsed(&format!("POST /a HTTP/1.1\r\nHost: d\r\n{fields}\r\n"))
                .expect("well-formed")
                .framing
        };
        assert_eq!(head(""), Framing::None);
        assert_eq!(head("Content-Length: 0\r\n"), Framing::None);
        assert_eq!(head("Content-Length: 12\r\n"), Framing::Length(12));
        assert_eq!(head("Transfer-Encoding: Chunked\r\n"), Framing::Chunked);
    }

    #[test]
    fn keep_alive_by_version() {
        let alive = |line: &str| parsed(&format!("GET / {line}\r\n")).expect("ok").keep_alive;
        assert!(alive("HTTP/1.1\r\nHost: d\r\n"));
        assert!(!alive("HTTP/1.1\r\nHost: d\r\nConnection: x, Close\r\n"));
        assert!(!alive("HTTP/1.0\r\n"));
        assert!(alive("HTTP/1.0\r\nConnection: keep-alive\r\n"));
    }

    #[test]
    fn smuggling_is_refused() {
        let post = |fields: &str| refused(&format!("POST / HTTP/1.1\r\nHost: d\r\n{fields}\r\n"));
        let malformed = [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: 5, 5\r\n",
            "Content-Length: 0x5\r\n",
            "Content-Length: -1\r\n",
            "Content-Length:\r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Content-Length : 5\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "X: a\r\n folded: b\r\n",
            "X: a\r\n\tfolded\r\n",
            "X: a\nY: b\r\n",
            "X: a\0b\r\n",
            "X: a\rb\r\n",
            "Host: e\r\n",
            ": x\r\n",
            "X\r\n",
        ];
        for fields in malformed {
            assert!(
                matches!(post(fields), HeadError::Malformed(_)),
                "{fields:?}"
            );
        }
        assert_eq!(
            post("Transfer-Encoding: gzip, chunked\r\n"),
            HeadError::Coding
        );
        assert_eq!(post("Transfer-Encoding: xchunked\r\n"), HeadError::Coding);
        assert_eq!(post("Transfer-Encoding: identity\r\n"), HeadError::Coding);
        assert_eq!(post("Expect: cake\r\n"), HeadError::Expectation);
        assert!(matches!(
            refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
            HeadError::Malformed(_)
        ));
        assert!(matches!(
            refused("GET / HTTP/1.1\r\n\r\n"),
            HeadError::Malformed(_)
        ));
        assert_eq!(
            refused("GET / HTTP/2.0\r\nHost: d\r\n\r\n"),
            HeadError::Version
        );
        assert!(matches!(
            refused("GET /\0 HTTP/1.1\r\nHost: d\r\n\r\n"),
            HeadError::Malformed(_)
        ));
        let many = format!(
            "GET / HTTP/1.1\r\nHost: d\r\n{}\r\n",
            "A: b\r\n".repeat(HEADERS_MAX)
        );
        assert_eq!(refused(&many), HeadError::TooLarge);
    }
}
