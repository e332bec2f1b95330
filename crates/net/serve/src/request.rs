//! A request as handlers see it.

use http::{HeaderMap, HeaderName, Method, Uri, Version};

use crate::body::Body;
use crate::head;

/// One request. The body has not been read.
#[derive(Debug)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// Target, in origin form or absolute form.
    pub uri: Uri,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// Header fields.
    pub headers: HeaderMap,
    /// Who is on the other side of the socket.
    pub peer: PeerCredentials,
    /// The body, unread.
    pub body: Body,
}

/// Who connected, as the kernel saw it at connect: `SO_PEERCRED`, `unix(7)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerCredentials {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// Process id in our pid namespace; absent when it is not visible.
    pub pid: Option<i32>,
}

impl Request {
    /// A request made in memory, for tests of façades.
    pub fn in_memory(method: Method, uri: Uri, body: impl Into<bytes::Bytes>) -> Self {
        Self {
            method,
            uri,
            version: Version::HTTP_11,
            headers: HeaderMap::new(),
            peer: PeerCredentials::default(),
            body: Body::in_memory(body.into()),
        }
    }

    /// Path of the target, percent-encoded as it came.
    pub fn path(&self) -> &str {
        self.uri.path()
    }

    /// Query of the target without the question mark, or nothing.
    pub fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }

    /// Whether a comma-separated header field holds `token`, in any case.
    pub fn has_token(&self, name: &HeaderName, token: &str) -> bool {
        head::has_token(&self.headers, name, token)
    }
}
