//! The engine as the verbs see it: requests in the Docker Engine API, answers
//! as JSON, errors in docker's words.
//!
//! Requests name the newest version that this client speaks; an older engine
//! refuses the first one and says what it speaks, and the request is sent
//! again. Carrack itself is therefore never asked for its version first.

pub(crate) mod frames;
pub(crate) mod host;

use std::io::Read;

use carrack_outbound::{Client, Hijacked, InFlight, Method, OutboundError, Request, Response};
use serde_json::Value;

use crate::flags::Filters;

/// The newest version of the API that this client speaks.
pub(crate) const NEWEST_VERSION: &str = "1.51";
/// The oldest version that it goes down to.
const OLDEST_VERSION: &str = "1.24";
/// The most bytes of a JSON answer that are held in memory.
pub(crate) const ANSWER_BYTES: usize = 256 * 1024 * 1024;
/// The most bytes of an error's body that are read.
const ERROR_BYTES: usize = 1024 * 1024;
/// The version that was asked for when the user pins none.
const PINNED_VERSION: &str = "DOCKER_API_VERSION";

/// Why the engine did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// It answered with an error.
    #[error("Error response from daemon: {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Its sentence.
        message: String,
    },
    /// Nobody listens, or not for this user.
    #[error("Cannot connect to the Carrack daemon at {host}. Is the carrack daemon running?")]
    Unreachable {
        /// Where it was looked for.
        host: String,
    },
    /// The socket may not be opened.
    #[error(
        "permission denied while trying to connect to the Carrack daemon socket at {host}: {source}"
    )]
    Denied {
        /// Where it was looked for.
        host: String,
        /// The connector's reason.
        source: OutboundError,
    },
    /// The exchange broke off.
    #[error("error during connect: {what}: {reason}")]
    Broken {
        /// What was asked.
        what: String,
        /// What the connector says, with its causes.
        reason: String,
    },
    /// The answer is not what the API says.
    #[error("the engine's answer cannot be read: {0}")]
    BadAnswer(#[from] serde_json::Error),
}

impl EngineError {
    /// Whether the engine knows no such thing.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// A connection to one engine.
#[derive(Debug)]
pub(crate) struct Engine {
    client: Client,
    host: String,
    version: String,
    negotiated: bool,
}

impl Engine {
    /// The engine at `host`; nothing is opened yet.
    pub(crate) fn new(host: &host::Host) -> Self {
        let pinned = std::env::var(PINNED_VERSION)
            .ok()
            .filter(|version| !version.is_empty());
        Self {
            client: Client::new(
                host.path.clone(),
                concat!("carrack/", env!("CARGO_PKG_VERSION")),
            ),
            host: host.text.clone(),
            negotiated: pinned.is_some(),
            version: pinned.map_or_else(
                || NEWEST_VERSION.to_owned(),
                |v| v.trim_start_matches('v').to_owned(),
            ),
        }
    }

    /// A second engine object for another thread, at the version agreed so
    /// far.
    pub(crate) fn another(&self) -> Self {
        Self {
            client: Client::new(
                self.client.path(),
                concat!("carrack/", env!("CARGO_PKG_VERSION")),
            ),
            host: self.host.clone(),
            version: self.version.clone(),
            negotiated: self.negotiated,
        }
    }

    /// The version that requests name now.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Whether the agreed version is at least `minor` of 1.
    pub(crate) fn speaks(&self, minor: u32) -> bool {
        minor_of(&self.version) >= minor
    }

    fn outbound(&self, what: &str, error: OutboundError) -> EngineError {
        match error {
            OutboundError::Connect { ref source, .. }
                if source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                EngineError::Denied {
                    host: self.host.clone(),
                    source: error,
                }
            }
            OutboundError::Connect { .. } => EngineError::Unreachable {
                host: self.host.clone(),
            },
            OutboundError::UploadSource { source } => EngineError::Broken {
                what: what.to_owned(),
                reason: source.to_string(),
            },
            error => EngineError::Broken {
                what: what.to_owned(),
                reason: chain(&error),
            },
        }
    }

    /// Sends a request; its answer has a status below 400, or is the 304 that
    /// says that nothing had to be done.
    pub(crate) fn call(&mut self, ask: Ask<'_>) -> Result<Response, EngineError> {
        loop {
            let what = format!("{} {}", ask.method, ask.path);
            let mut request = Request::new(
                ask.method.clone(),
                format!("/v{}{}", self.version, ask.target()),
            );
            if let Some(body) = &ask.body {
                request = request.json(body.clone());
            }
            if ask.upgrade {
                request = request.upgrade("tcp");
            }
            let response = self
                .client
                .send(request)
                .map_err(|error| self.outbound(&what, error))?;
            if response.status().as_u16() < 400 {
                self.negotiated = true;
                return Ok(response);
            }
            let error = self.refusal(response)?;
            if !self.negotiated
                && ask.method == Method::HEAD
                && matches!(error, EngineError::Refused { status: 400, .. })
            {
                // An answer to HEAD has no body to say why: ask so that it has.
                let ping = self.call(Ask::get("/_ping"))?;
                self.finish(ping)?;
                continue;
            }
            if !self.negotiated && self.go_down(&error) {
                continue;
            }
            return Err(error);
        }
    }

    /// Sends a request and leaves its answer for later; the version must have
    /// been agreed on by an answer before.
    pub(crate) fn begin(&mut self, ask: &Ask<'_>) -> Result<InFlight, EngineError> {
        let mut request = Request::new(
            ask.method.clone(),
            format!("/v{}{}", self.version, ask.target()),
        );
        if ask.upgrade {
            request = request.upgrade("tcp");
        }
        self.client
            .begin(&request)
            .map_err(|error| self.outbound(ask.path, error))
    }

    /// Reads the head of such an answer.
    pub(crate) fn complete(&mut self, sent: InFlight) -> Result<Response, EngineError> {
        let response = sent
            .receive()
            .map_err(|error| self.outbound("the answer", error))?;
        if response.status().as_u16() < 400 {
            return Ok(response);
        }
        Err(self.refusal(response)?)
    }

    /// The raw connection after an upgrade.
    pub(crate) fn hijack(&self, response: Response) -> Result<Hijacked, EngineError> {
        response
            .hijack()
            .map_err(|error| self.outbound("the upgrade", error))
    }

    /// Sends what `source` gives; the version is agreed before, as a source
    /// gives its bytes once.
    pub(crate) fn upload(
        &mut self,
        ask: &Ask<'_>,
        source: Box<dyn Read + Send>,
    ) -> Result<Response, EngineError> {
        if !self.negotiated {
            let ping = self.call(Ask::get("/_ping"))?;
            self.finish(ping)?;
        }
        let what = format!("{} {}", ask.method, ask.path);
        let target = format!("/v{}{}", self.version, ask.target());
        let request = Request::new(ask.method.clone(), target).stream("application/x-tar", source);
        let response = self
            .client
            .send(request)
            .map_err(|error| self.outbound(&what, error))?;
        if response.status().as_u16() < 400 {
            return Ok(response);
        }
        Err(self.refusal(response)?)
    }

    /// The sentence of an answer with an error's status.
    fn refusal(&mut self, response: Response) -> Result<EngineError, EngineError> {
        let status = response.status().as_u16();
        let is_json = response
            .head
            .field("content-type")
            .is_some_and(|kind| kind.starts_with("application/json"));
        let body = self
            .client
            .read(response, ERROR_BYTES)
            .map_err(|error| self.outbound("the answer", error))?;
        let text = String::from_utf8_lossy(&body).trim().to_owned();
        let message = match serde_json::from_str::<Value>(&text) {
            Ok(Value::Object(object)) if is_json => match object.get("message") {
                Some(Value::String(message)) if !message.is_empty() => message.trim().to_owned(),
                _ => format!("API returned a {status} but provided no error-message"),
            },
            _ if text.is_empty() => format!(
                "request returned {status} without a message; check if the server supports the requested API version"
            ),
            _ => text,
        };
        Ok(EngineError::Refused { status, message })
    }

    /// Takes the version that a refusal names, if that is what it is about.
    fn go_down(&mut self, error: &EngineError) -> bool {
        let EngineError::Refused {
            status: 400,
            message,
        } = error
        else {
            return false;
        };
        let Some(supported) = supported_version(message) else {
            return false;
        };
        if minor_of(supported) < minor_of(OLDEST_VERSION)
            || minor_of(supported) >= minor_of(&self.version)
        {
            return false;
        }
        self.version = supported.to_owned();
        self.negotiated = true;
        true
    }

    /// Reads a body whole and keeps its connection.
    pub(crate) fn finish(&mut self, response: Response) -> Result<Vec<u8>, EngineError> {
        self.client
            .read(response, ANSWER_BYTES)
            .map_err(|error| self.outbound("the answer", error))
    }

    /// Sends a request whose answer is of no interest.
    pub(crate) fn tell(&mut self, ask: Ask<'_>) -> Result<(), EngineError> {
        let response = self.call(ask)?;
        self.finish(response).map(|_| ())
    }

    /// Sends a request and reads its answer as JSON.
    pub(crate) fn ask(&mut self, ask: Ask<'_>) -> Result<Value, EngineError> {
        let bytes = self.ask_raw(ask)?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// Sends a request and reads its answer as it is.
    pub(crate) fn ask_raw(&mut self, ask: Ask<'_>) -> Result<Vec<u8>, EngineError> {
        let response = self.call(ask)?;
        self.finish(response)
    }
}

fn minor_of(version: &str) -> u32 {
    version
        .strip_prefix("1.")
        .and_then(|minor| minor.parse().ok())
        .unwrap_or(0)
}

/// The version that an engine names when it is asked for a newer one:
/// `client version 1.51 is too new. Maximum supported API version is 1.41`.
fn supported_version(message: &str) -> Option<&str> {
    if !message.contains("is too new") {
        return None;
    }
    let version = message.rsplit(' ').next()?.trim_end_matches('.');
    (minor_of(version) > 0).then_some(version)
}

/// A request to be sent.
pub(crate) struct Ask<'a> {
    method: Method,
    path: &'a str,
    query: String,
    body: Option<Vec<u8>>,
    upgrade: bool,
}

impl<'a> Ask<'a> {
    fn new(method: Method, path: &'a str) -> Self {
        Self {
            method,
            path,
            query: String::new(),
            body: None,
            upgrade: false,
        }
    }

    /// A `GET` of a path below the version.
    pub(crate) fn get(path: &'a str) -> Self {
        Self::new(Method::GET, path)
    }

    /// A `HEAD`.
    pub(crate) fn head(path: &'a str) -> Self {
        Self::new(Method::HEAD, path)
    }

    /// A `POST`.
    pub(crate) fn post(path: &'a str) -> Self {
        Self::new(Method::POST, path)
    }

    /// A `PUT`.
    pub(crate) fn put(path: &'a str) -> Self {
        Self::new(Method::PUT, path)
    }

    /// A `DELETE`.
    pub(crate) fn delete(path: &'a str) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// With a parameter.
    pub(crate) fn with(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.query
            .push(if self.query.is_empty() { '?' } else { '&' });
        self.query.push_str(name);
        self.query.push('=');
        escape(value.as_ref(), &mut self.query);
        self
    }

    /// With a parameter where there is a value.
    pub(crate) fn with_some(self, name: &str, value: Option<impl AsRef<str>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// With a parameter set to 1 where it holds.
    pub(crate) fn with_if(self, name: &str, holds: bool) -> Self {
        if holds { self.with(name, "1") } else { self }
    }

    /// With filters, if there are any.
    pub(crate) fn filtered(self, filters: &Filters) -> Self {
        self.with_some("filters", filters.to_query())
    }

    /// With a JSON body.
    pub(crate) fn body(mut self, body: Vec<u8>) -> Self {
        self.body = Some(body);
        self
    }

    /// With a JSON document as its body.
    pub(crate) fn json(self, value: &Value) -> Self {
        self.body(value.to_string().into_bytes())
    }

    /// Asking for the raw connection.
    pub(crate) fn upgraded(mut self) -> Self {
        self.upgrade = true;
        self
    }

    fn target(&self) -> String {
        format!("{}{}", self.path, self.query)
    }
}

/// Percent-encodes all but unreserved characters.
fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

/// A name as one segment of a path; slashes of references stay.
pub(crate) fn segment(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for (at, part) in name.split('/').enumerate() {
        if at > 0 {
            out.push('/');
        }
        // A dot segment would name another path than the one that was meant.
        if part == "." || part == ".." {
            out.push_str(&part.replace('.', "%2E"));
            continue;
        }
        for (at, piece) in part.split(':').enumerate() {
            if at > 0 {
                out.push(':');
            }
            escape(piece, &mut out);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_engine_names_its_version() {
        let sentence = "client version 1.51 is too new. Maximum supported API version is 1.41";
        assert_eq!(supported_version(sentence), Some("1.41"));
        assert_eq!(
            supported_version(
                "client version 1.51 is too new. Maximum supported API version is evil"
            ),
            None
        );
        assert_eq!(supported_version("no such container"), None);
    }

    /// An engine that speaks 1.41 and refuses what is newer, and what it was
    /// asked.
    fn older_engine() -> (
        tempfile::TempDir,
        Engine,
        std::thread::JoinHandle<Vec<String>>,
    ) {
        use std::io::{BufRead, BufReader, Write};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            let mut lines = BufReader::new(stream.try_clone().unwrap())
                .lines()
                .map_while(Result::ok);
            while let Some(first) = lines.next() {
                while lines.next().is_some_and(|line| !line.is_empty()) {}
                let body = if first.contains("/v1.51/") {
                    "{\"message\":\"client version 1.51 is too new. Maximum supported API version is 1.41\"}"
                } else {
                    "{}"
                };
                let status = if first.contains("/v1.51/") {
                    "400 Bad Request"
                } else {
                    "200 OK"
                };
                let shown = if first.starts_with("HEAD") { "" } else { body };
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                (&stream)
                    .write_all(format!("{head}{shown}").as_bytes())
                    .unwrap();
                asked.push(first);
            }
            asked
        });
        let text = format!("unix://{}", path.display());
        let engine = Engine::new(&host::Host { path, text });
        (folder, engine, server)
    }

    #[test]
    fn an_older_engine_is_met_at_its_version() {
        let (_folder, mut engine, server) = older_engine();
        engine.tell(Ask::get("/info")).unwrap();
        engine.tell(Ask::post("/containers/x/start")).unwrap();
        drop(engine);
        assert_eq!(
            server.join().unwrap(),
            [
                "GET /v1.51/info HTTP/1.1",
                "GET /v1.41/info HTTP/1.1",
                "POST /v1.41/containers/x/start HTTP/1.1"
            ]
        );
    }

    #[test]
    fn a_refused_head_is_asked_again_with_words() {
        let (_folder, mut engine, server) = older_engine();
        engine
            .tell(Ask::head("/containers/x/archive").with("path", "/"))
            .unwrap();
        drop(engine);
        assert_eq!(
            server.join().unwrap(),
            [
                "HEAD /v1.51/containers/x/archive?path=%2F HTTP/1.1",
                "GET /v1.51/_ping HTTP/1.1",
                "GET /v1.41/_ping HTTP/1.1",
                "HEAD /v1.41/containers/x/archive?path=%2F HTTP/1.1",
            ]
        );
    }

    #[test]
    fn nobody_at_the_socket_is_said_so() {
        let host = host::Host {
            path: "/nonexistent".into(),
            text: "unix:///nonexistent".to_owned(),
        };
        let error = Engine::new(&host).tell(Ask::get("/info")).unwrap_err();
        assert!(matches!(error, EngineError::Unreachable { .. }), "{error}");
    }

    #[test]
    fn names_and_parameters_cannot_leave_their_place() {
        assert_eq!(segment("a b?c#d"), "a%20b%3Fc%23d");
        assert_eq!(segment("../../info"), "%2E%2E/%2E%2E/info");
        assert_eq!(segment("localhost:5000/a/b:tag"), "localhost:5000/a/b:tag");
        assert_eq!(
            Ask::get("/x").with("a", "1&b=2\r\n").target(),
            "/x?a=1%26b%3D2%0D%0A"
        );
    }
}
