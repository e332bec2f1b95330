//! Requests that no docker command sends, written by hand on the API's socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use carrack_tests::{Engine, Inventory, Kind, shared};

/// Longest wait for an answer.
const ANSWER_BOUND: Duration = Duration::from_secs(10);

/// Sends raw bytes and gives the status code and what follows the status line.
fn ask(engine: &Engine, request: &[u8]) -> (u16, String) {
    let mut socket = UnixStream::connect(engine.socket()).unwrap();
    socket.set_read_timeout(Some(ANSWER_BOUND)).unwrap();
    // A server may answer and close before it has read everything.
    let _cut = socket.write_all(request);
    let mut answer = Vec::new();
    let mut buf = [0; 4096];
    loop {
        match socket.read(&mut buf) {
            Ok(0) | Err(_) => break,
            Ok(n) => answer.extend_from_slice(&buf[..n]),
        }
        let text = String::from_utf8_lossy(&answer);
        if text.contains("\r\n\r\n")
            && (text.contains("\n}") || text.ends_with("}\n") || text.ends_with('}'))
        {
            break;
        }
    }
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text
        .split(' ')
        .nth(1)
        .and_then(|s| s.parse().ok())
        .unwrap_or(0);
    (status, text)
}

fn post(path: &str, content_type: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Asks, and demands the status, a part of the answer, and nothing left behind.
#[track_caller]
fn check(request: &[u8], status: u16, part: &str) {
    let engine = shared();
    let before = Inventory::at_rest(&engine);
    let (got, text) = ask(&engine, request);
    assert_eq!(got, status, "{text}");
    assert!(text.contains(part), "{part:?} is not in {text}");
    let left = Inventory::settled(&engine, &before);
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
fn json_that_is_none() {
    // dockerd 20.10 answers 500 here; later ones this.
    if Kind::from_env() == Kind::Carrack {
        let part = "invalid JSON: invalid character 'i' looking for beginning of object key string";
        check(
            &post("/containers/create", "application/json", "{invalid"),
            400,
            part,
        );
    }
}

#[test]
fn a_content_type_that_is_not_json() {
    if Kind::from_env() == Kind::Carrack {
        let part = "unsupported Content-Type header (text/plain): must be 'application/json'";
        check(&post("/containers/create", "text/plain", "{}"), 400, part);
    }
}

#[test]
fn a_second_value_after_the_json() {
    if Kind::from_env() == Kind::Carrack {
        check(
            &post("/containers/create", "application/json", "{} {}"),
            400,
            "unexpected content after JSON",
        );
    }
}

#[test]
fn an_empty_body() {
    if Kind::from_env() == Kind::Dockerd {
        return;
    }
    let engine = shared();
    let (status, text) = ask(&engine, &post("/containers/create", "application/json", ""));
    assert!((400..500).contains(&status), "{text}");
}

#[test]
fn versions_out_of_range() {
    check(
        b"GET /v1.99/info HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n",
        400,
        "client version 1.99 is too new. Maximum supported API version is ",
    );
    if Kind::from_env() == Kind::Carrack {
        check(
            b"GET /v1.10/info HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n",
            400,
            "client version 1.10 is too old. Minimum supported API version is 1.24",
        );
    }
}

#[test]
fn a_path_that_is_none() {
    check(
        b"GET /no/such/page HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n",
        404,
        "page not found",
    );
}

#[test]
fn swarm_answers_as_dockerd_does_without_it() {
    check(
        b"GET /services HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n",
        503,
        "This node is not a swarm manager",
    );
}

#[test]
fn a_body_too_large() {
    if Kind::from_env() == Kind::Dockerd {
        return;
    }
    // 64 MiB of JSON are announced; the answer comes before they are read.
    let head = "POST /containers/create HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 67108864\r\n\r\n{\"Image\":\"";
    let mut request = head.as_bytes().to_vec();
    request.resize(head.len() + (8 << 20), b'a');
    check(&request, 413, "too large");
}

#[test]
fn headers_without_end() {
    let engine = shared();
    let mut request = b"GET /info HTTP/1.1\r\nHost: d\r\n".to_vec();
    for n in 0..20_000 {
        request.extend_from_slice(
            format!("X-{n}: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n")
                .as_bytes(),
        );
    }
    let (status, text) = ask(&engine, &request);
    assert!(matches!(status, 0 | 400 | 413 | 431), "{status} {text}");
    assert_eq!(engine.sh("docker ps -q").code, 0);
}

#[test]
fn not_http_at_all() {
    let engine = shared();
    let (status, text) = ask(
        &engine,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    );
    assert!(matches!(status, 0 | 400), "{status} {text}");
    assert_eq!(engine.sh("docker ps -q").code, 0);
}

#[test]
fn logs_of_no_stream() {
    let mut engine = shared();
    engine.image("busybox");
    engine.sh("docker create --name l1 busybox true").ok();
    let (status, text) = ask(
        &engine,
        b"GET /containers/l1/logs HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(status, 400, "{text}");
    assert!(
        text.contains("you must choose at least one stream"),
        "{text}"
    );
    engine.sweep();
}

#[test]
fn sizes_of_a_terminal_that_are_none() {
    let mut engine = shared();
    engine.image("busybox");
    engine.sh("docker run -d -t --name r1 busybox sh").ok();
    let (status, text) = ask(
        &engine,
        &post("/containers/r1/resize?h=&w=80", "application/json", ""),
    );
    assert_eq!(status, 400, "{text}");
    engine.sweep();
}
