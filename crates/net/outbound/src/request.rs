//! A request as the caller states it, and its bytes.

use std::io::Read;

use http::Method;

use crate::OutboundError;

/// What follows the head of a request.
pub enum Payload {
    /// Nothing; the head says so where a length is expected.
    Empty,
    /// A JSON document, sent with its length in the same write as the head.
    Json(Vec<u8>),
    /// Bytes of any type from a reader, sent in chunks by a thread of their
    /// own, so that the answer can be read meanwhile.
    Stream {
        /// The media type.
        content_type: &'static str,
        /// Where the bytes come from.
        source: Box<dyn Read + Send>,
    },
}

/// One request. `target` is the path with its query, already escaped.
pub struct Request {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// What follows the head.
    pub payload: Payload,
    /// The protocol to ask an upgrade to, as in `Upgrade: tcp`.
    pub upgrade: Option<&'static str>,
}

impl Request {
    /// A request without a body.
    #[must_use]
    pub fn new(method: Method, target: impl Into<String>) -> Self {
        Self {
            method,
            target: target.into(),
            payload: Payload::Empty,
            upgrade: None,
        }
    }

    /// A `GET`.
    #[must_use]
    pub fn get(target: impl Into<String>) -> Self {
        Self::new(Method::GET, target)
    }

    /// A `POST` without a body.
    #[must_use]
    pub fn post(target: impl Into<String>) -> Self {
        Self::new(Method::POST, target)
    }

    /// A `DELETE`.
    #[must_use]
    pub fn delete(target: impl Into<String>) -> Self {
        Self::new(Method::DELETE, target)
    }

    /// With a JSON body.
    #[must_use]
    pub fn json(mut self, body: Vec<u8>) -> Self {
        self.payload = Payload::Json(body);
        self
    }

    /// With a body that streams from `source`.
    #[must_use]
    pub fn stream(mut self, content_type: &'static str, source: Box<dyn Read + Send>) -> Self {
        self.payload = Payload::Stream {
            content_type,
            source,
        };
        self
    }

    /// Asking for an upgrade of the connection.
    #[must_use]
    pub fn upgrade(mut self, protocol: &'static str) -> Self {
        self.upgrade = Some(protocol);
        self
    }

    /// The request in an error's words.
    pub(crate) fn what(&self) -> String {
        let path = self.target.split('?').next().unwrap_or_default();
        format!("{} {path}", self.method)
    }

    /// The head, and the body where it is at hand: one write for both.
    pub(crate) fn encode(&self, agent: &str) -> Result<Vec<u8>, OutboundError> {
        // A target comes from names that people type: a line feed in it would
        // be a second request.
        if !self.target.starts_with('/') || self.target.bytes().any(|b| b <= b' ' || b == 0x7f) {
            return Err(OutboundError::InvalidRequest {
                what: "the request's target",
            });
        }
        let body_bytes = if let Payload::Json(body) = &self.payload {
            body.len()
        } else {
            0
        };
        let mut out = Vec::with_capacity(256 + self.target.len() + body_bytes);
        for part in [
            self.method.as_str(),
            " ",
            &self.target,
            " HTTP/1.1\r\nHost: api\r\nUser-Agent: ",
            agent,
            "\r\n",
        ] {
            out.extend_from_slice(part.as_bytes());
        }
        if let Some(protocol) = self.upgrade {
            out.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: ");
            out.extend_from_slice(protocol.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        match &self.payload {
            Payload::Empty => {
                if self.method != Method::GET && self.method != Method::HEAD {
                    out.extend_from_slice(b"Content-Length: 0\r\n");
                }
                out.extend_from_slice(b"\r\n");
            }
            Payload::Json(body) => {
                out.extend_from_slice(b"Content-Type: application/json\r\nContent-Length: ");
                out.extend_from_slice(body.len().to_string().as_bytes());
                out.extend_from_slice(b"\r\n\r\n");
                out.extend_from_slice(body);
            }
            Payload::Stream { content_type, .. } => {
                out.extend_from_slice(b"Content-Type: ");
                out.extend_from_slice(content_type.as_bytes());
                out.extend_from_slice(b"\r\nTransfer-Encoding: chunked\r\n\r\n");
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_and_json_body_are_one_buffer() {
        let bytes = Request::post("/x?a=b")
            .json(b"{}".to_vec())
            .encode("t/1")
            .unwrap();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "POST /x?a=b HTTP/1.1\r\nHost: api\r\nUser-Agent: t/1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
        );
    }

    #[test]
    fn a_target_cannot_smuggle_a_second_request() {
        for hostile in ["/a b", "/a\r\nX: y", "/a\nGET /", "", "a", "/\u{7f}", "/\0"] {
            assert!(Request::get(hostile).encode("t").is_err(), "{hostile:?}");
        }
    }
}
