//! The connection loop over a socket pair, with good and hostile clients.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use expect_test::{Expect, expect};
use http::{HeaderValue, Method, StatusCode, header};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::{
    BodyBound, Endpoint, Limits, ListenError, Matched, Request, Response, Router, Service,
    SocketGroup, bind, serve, serve_connection, shutdown,
};

/// Bound of every wait of these tests.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Copy)]
enum Route {
    Ok,
    Echo,
    Ignore,
    Panic,
    Count,
    Endless,
    Broken,
    Upgrade,
}

struct Example {
    router: Router<Route>,
    /// Told when an endless stream noticed that its client left.
    left: tokio::sync::mpsc::UnboundedSender<()>,
}

impl Service for Example {
    async fn call(&self, mut request: Request) -> Response {
        let Matched::Route { value, bound, .. } =
            self.router.find(&request.method, request.uri.path())
        else {
            return Response::empty(StatusCode::NOT_FOUND);
        };
        request.body.set_bound(bound.bytes());
        match value {
            Route::Ok => Response::bytes(StatusCode::OK, "text/plain", "OK"),
            Route::Echo => match request.body.collect(64).await {
                Ok(body) => Response::bytes(StatusCode::OK, "text/plain", body),
                Err(error) => {
                    Response::bytes(StatusCode::BAD_REQUEST, "text/plain", error.to_string())
                }
            },
            Route::Ignore => Response::empty(StatusCode::NO_CONTENT),
            Route::Panic => panic!("a handler's own mistake"),
            Route::Count => {
                let (response, sender) = Response::stream(StatusCode::OK, "text/plain");
                tokio::spawn(async move {
                    for piece in ["one ", "two ", "three"] {
                        sender.send(piece).await?;
                    }
                    sender.finish().await
                });
                response
            }
            Route::Broken => {
                let (response, sender) = Response::stream(StatusCode::OK, "text/plain");
                tokio::spawn(async move { sender.send("half").await });
                response
            }
            Route::Endless => {
                let (response, sender) = Response::stream(StatusCode::OK, "text/plain");
                let left = self.left.clone();
                tokio::spawn(async move {
                    let _ = sender.send("begun").await;
                    sender.closed().await;
                    let _ = left.send(());
                });
                response
            }
            Route::Upgrade => Response::take_over(StatusCode::SWITCHING_PROTOCOLS, async |taken| {
                let socket = std::os::unix::net::UnixStream::from(taken.socket);
                let mut socket = UnixStream::from_std(socket).expect("a socket");
                let greeting = format!("ahead={:?}", taken.read_ahead);
                socket.write_all(greeting.as_bytes()).await.expect("write");
            })
            .with_header(header::CONNECTION, HeaderValue::from_static("Upgrade")),
        }
    }
}

fn example() -> (Arc<Example>, tokio::sync::mpsc::UnboundedReceiver<()>) {
    let mut router = Router::new();
    let routes = [
        ("/ok", Route::Ok),
        ("/echo", Route::Echo),
        ("/ignore", Route::Ignore),
        ("/panic", Route::Panic),
        ("/count", Route::Count),
        ("/endless", Route::Endless),
        ("/broken", Route::Broken),
        ("/upgrade", Route::Upgrade),
    ];
    for (pattern, route) in routes {
        for method in [Method::GET, Method::HEAD, Method::POST] {
            router.add(method, pattern, BodyBound::Bytes(1 << 20), route);
        }
    }
    let (left, noticed) = tokio::sync::mpsc::unbounded_channel();
    (Arc::new(Example { router, left }), noticed)
}

fn limits() -> Limits {
    Limits {
        head_timeout: Duration::from_millis(200),
        discard_bytes: 1024,
        ..Limits::default()
    }
}

/// Sends `pieces` one after the other, ends the sending side, and gives all
/// that came back.
async fn talk(pieces: &[&[u8]]) -> String {
    let (mut client, server) = UnixStream::pair().expect("a pair");
    let (_ask, asked) = shutdown();
    let (service, _noticed) = example();
    let served = tokio::spawn(serve_connection(server, service, limits(), asked));
    for piece in pieces {
        // The server may have refused and closed already.
        if client.write_all(piece).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let _ = client.shutdown().await;
    let mut answer = Vec::new();
    let read = client.read_to_end(&mut answer);
    // A refusal may end in a reset, after its text.
    let _ = tokio::time::timeout(PATIENCE, read).await.expect("an end");
    served.await.expect("no panic leaves a handler");
    String::from_utf8_lossy(&answer).into_owned()
}

async fn check(pieces: &[&[u8]], expected: Expect) {
    let answer = talk(pieces).await;
    let lines = answer
        .split("\r\n")
        .filter(|line| !line.starts_with("Date:"));
    expected.assert_eq(&lines.collect::<Vec<_>>().join("\n"));
}

#[tokio::test]
async fn keep_alive_and_pipelining() {
    let get = b"GET /ok HTTP/1.1\r\nHost: d\r\n\r\n";
    let post = b"POST /echo HTTP/1.1\r\nHost: d\r\nContent-Length: 3\r\n\r\nabc";
    let all = [get.as_slice(), post, get].concat();
    let whole = talk(&[&all]).await;
    let expected = expect![[r#"
        HTTP/1.1 200 OK
        Content-Type: text/plain
        Content-Length: 2

        OKHTTP/1.1 200 OK
        Content-Type: text/plain
        Content-Length: 3

        abcHTTP/1.1 200 OK
        Content-Type: text/plain
        Content-Length: 2

        OK"#]];
    check(&[&all], expected).await;
    let bytes: Vec<&[u8]> = all.chunks(1).collect();
    let dates = |answer: &str| answer.matches("Date:").count();
    assert_eq!(dates(&talk(&bytes).await), dates(&whole), "byte by byte");
}

#[tokio::test]
async fn head_has_no_body() {
    check(
        &[b"HEAD /ok HTTP/1.1\r\nHost: d\r\n\r\nHEAD /count HTTP/1.1\r\nHost: d\r\n\r\n"],
        expect![[r#"
            HTTP/1.1 200 OK
            Content-Type: text/plain
            Content-Length: 2

            HTTP/1.1 200 OK
            Content-Type: text/plain

        "#]],
    )
    .await;
}

#[tokio::test]
async fn streams_are_chunked_and_kept_alive() {
    check(
        &[
            b"GET /count HTTP/1.1\r\nHost: d\r\n\r\n",
            b"GET /ok HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n",
        ],
        expect![[r#"
            HTTP/1.1 200 OK
            Content-Type: text/plain
            Transfer-Encoding: chunked

            4
            one 
            4
            two 
            5
            three
            0

            HTTP/1.1 200 OK
            Content-Type: text/plain
            Content-Length: 2
            Connection: close

            OK"#]],
    )
    .await;
    check(
        &[b"GET /count HTTP/1.0\r\n\r\n"],
        expect![[r#"
            HTTP/1.1 200 OK
            Content-Type: text/plain
            Connection: close

            one two three"#]],
    )
    .await;
}

#[tokio::test]
async fn a_stream_that_breaks_off_has_no_last_chunk() {
    let answer = talk(&[b"GET /broken HTTP/1.1\r\nHost: d\r\n\r\nX"]).await;
    assert!(answer.ends_with("4\r\nhalf\r\n"), "{answer:?}");
}

#[tokio::test]
async fn a_panic_is_500_and_the_next_request_works() {
    check(
        &[
            b"POST /panic HTTP/1.1\r\nHost: d\r\nContent-Length: 3\r\n\r\nabc",
            b"GET /ok HTTP/1.1\r\nHost: d\r\n\r\n",
        ],
        expect![[r#"
            HTTP/1.1 500 Internal Server Error
            Content-Type: text/plain; charset=utf-8
            Content-Length: 15

            internal error
            HTTP/1.1 200 OK
            Content-Type: text/plain
            Content-Length: 2

            OK"#]],
    )
    .await;
}

#[tokio::test]
async fn bodies() {
    let body = |fields: &str, body: &str| {
        format!("POST /echo HTTP/1.1\r\nHost: d\r\nConnection: close\r\n{fields}\r\n{body}")
    };
    let last_line = async |request: String| {
        let answer = talk(&[request.as_bytes()]).await;
        answer.rsplit("\r\n").next().unwrap_or_default().to_owned()
    };
    let chunked = "Transfer-Encoding: chunked\r\n";
    assert_eq!(
        last_line(body(chunked, "3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n")).await,
        "abcd"
    );
    assert_eq!(
        last_line(body(chunked, "3\r\nabcd\r\n0\r\n\r\n")).await,
        "malformed request body: chunk does not end where its size says"
    );
    assert_eq!(
        last_line(body(chunked, "3\r\nab")).await,
        "unexpected EOF in request body"
    );
    assert_eq!(
        last_line(body("Content-Length: 9\r\n", "ab")).await,
        "unexpected EOF in request body"
    );
    assert_eq!(
        last_line(body("Content-Length: 65\r\n", &"x".repeat(65))).await,
        "request body too large"
    );
    let long = format!("40\r\n{}\r\n1\r\nx\r\n0\r\n\r\n", "x".repeat(64));
    assert_eq!(
        last_line(body(chunked, &long)).await,
        "request body too large"
    );
}

#[tokio::test]
async fn continue_is_written_when_the_handler_reads() {
    let (mut client, server) = UnixStream::pair().expect("a pair");
    let (_ask, asked) = shutdown();
    tokio::spawn(serve_connection(server, example().0, limits(), asked));
    let head = |path| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: d\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        )
    };
    client
        .write_all(head("/echo").as_bytes())
        .await
        .expect("write");
    let mut line = [0; 25];
    client.read_exact(&mut line).await.expect("read");
    assert_eq!(&line, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"abc").await.expect("write");
    // Answered without reading: closed, since the body may come or not.
    client
        .write_all(head("/ignore").as_bytes())
        .await
        .expect("write");
    let mut answer = String::new();
    let read = client.read_to_string(&mut answer);
    tokio::time::timeout(PATIENCE, read)
        .await
        .expect("an end")
        .expect("text");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(
        answer.contains("\r\n\r\nabcHTTP/1.1 204 No Content\r\n"),
        "{answer}"
    );
    assert!(answer.ends_with("Connection: close\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn an_unread_body_is_never_taken_for_a_request() {
    let smuggled = b"POST /ignore HTTP/1.1\r\nHost: d\r\nContent-Length: 30\r\n\r\nGET /ok HTTP/1.1\r\nHost: d\r\n\r\n\r\n";
    check(
        &[smuggled],
        expect![[r#"
            HTTP/1.1 204 No Content

        "#]],
    )
    .await;
    // Too long to be worth reading: closed.
    let long = format!(
        "POST /ignore HTTP/1.1\r\nHost: d\r\nContent-Length: 2000\r\n\r\n{}GET /ok HTTP/1.1\r\nHost: d\r\n\r\n",
        "x".repeat(2000)
    );
    let answer = talk(&[long.as_bytes()]).await;
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
}

#[tokio::test]
async fn a_client_whose_upload_is_refused_can_send_all_of_it_and_read_why() {
    for body in ["Content-Length: 8000000", "Transfer-Encoding: chunked"] {
        let (mut client, server) = UnixStream::pair().expect("a pair");
        let (_ask, asked) = shutdown();
        let (service, _noticed) = example();
        let served = tokio::spawn(serve_connection(server, service, limits(), asked));
        let head = format!("POST /ignore HTTP/1.1\r\nHost: d\r\n{body}\r\n\r\n");
        client.write_all(head.as_bytes()).await.expect("the head");
        let piece = format!("3e8\r\n{}\r\n", "x".repeat(1000));
        for _ in 0..4000 {
            client.write_all(piece.as_bytes()).await.expect("the body");
        }
        client.shutdown().await.expect("its end");
        let mut answer = String::new();
        client
            .read_to_string(&mut answer)
            .await
            .expect("the answer");
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
        served.await.expect("it ends");
    }
}

#[tokio::test]
async fn hostile_heads_are_refused_and_closed() {
    let status = async |request: &[u8]| {
        let answer = talk(&[request]).await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    let after = "GET /ok HTTP/1.1\r\nHost: d\r\n\r\n";
    let both = format!(
        "POST /echo HTTP/1.1\r\nHost: d\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{after}"
    );
    assert_eq!(status(both.as_bytes()).await, "400");
    let folded = format!("GET /ok HTTP/1.1\r\nHost: d\r\n X: y\r\n\r\n{after}");
    assert_eq!(status(folded.as_bytes()).await, "400");
    assert_eq!(status(b"GET /ok HTTP/1.1\nHost: d\n\n").await, "400");
    assert_eq!(
        status(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n").await,
        "400"
    );
    assert_eq!(status(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await, "505");
    let fields = "X: y\r\n".repeat(200);
    let many = format!("GET /ok HTTP/1.1\r\nHost: d\r\n{fields}\r\n");
    assert_eq!(status(many.as_bytes()).await, "431");
    let long = format!("GET /{} HTTP/1.1\r\nHost: d\r\n\r\n", "x".repeat(70_000));
    assert_eq!(status(long.as_bytes()).await, "431");
    let endless = "x".repeat(200_000);
    assert_eq!(status(endless.as_bytes()).await, "431");
}

#[tokio::test]
async fn a_dripping_head_runs_out_of_time() {
    let (mut client, server) = UnixStream::pair().expect("a pair");
    let (_ask, asked) = shutdown();
    tokio::spawn(serve_connection(server, example().0, limits(), asked));
    client.write_all(b"GET /ok HT").await.expect("write");
    let mut answer = String::new();
    let read = client.read_to_string(&mut answer);
    tokio::time::timeout(PATIENCE, read)
        .await
        .expect("an end")
        .expect("text");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test]
async fn a_stream_is_told_that_its_client_left() {
    let (mut client, server) = UnixStream::pair().expect("a pair");
    let (_ask, asked) = shutdown();
    let (service, mut noticed) = example();
    let served = tokio::spawn(serve_connection(server, service, limits(), asked));
    client
        .write_all(b"GET /endless HTTP/1.1\r\nHost: d\r\n\r\n")
        .await
        .expect("write");
    let mut begun = Vec::new();
    while !begun.ends_with(b"begun\r\n") {
        client.read_buf(&mut begun).await.expect("read");
    }
    drop(client);
    let told = tokio::time::timeout(PATIENCE, noticed.recv()).await;
    assert_eq!(told.expect("in time"), Some(()));
    served.await.expect("ended");
}

#[tokio::test]
async fn a_taken_connection_comes_with_what_was_read_ahead() {
    check(
        &[b"POST /upgrade HTTP/1.1\r\nHost: d\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\nearly"],
        expect![[r#"
            HTTP/1.1 101 UPGRADED
            Connection: Upgrade

            ahead=b"early""#]],
    )
    .await;
}

#[tokio::test]
async fn shutdown_ends_streams_and_idle_connections() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("s.sock");
    let endpoint = Endpoint::Unix(path.clone());
    let listener = bind(&endpoint, &SocketGroup::Own).expect("bind");
    let (ask, asked) = shutdown();
    let (service, mut noticed) = example();
    let server = tokio::spawn(serve(vec![listener], service, limits(), asked));

    let mut idle = UnixStream::connect(&path).await.expect("connect");
    let mut stream = UnixStream::connect(&path).await.expect("connect");
    stream
        .write_all(b"GET /endless HTTP/1.1\r\nHost: d\r\n\r\n")
        .await
        .expect("write");
    let mut begun = Vec::new();
    while !begun.ends_with(b"begun\r\n") {
        stream.read_buf(&mut begun).await.expect("read");
    }
    ask.ask();
    let told = tokio::time::timeout(PATIENCE, noticed.recv()).await;
    assert_eq!(told.expect("in time"), Some(()));
    assert_eq!(idle.read(&mut [0; 8]).await.expect("read"), 0);
    let ended = tokio::time::timeout(PATIENCE, server).await;
    ended.expect("in time").expect("no panic");
    assert!(!path.exists(), "the socket's file is removed");
}

#[tokio::test]
async fn a_running_daemons_socket_is_not_replaced_and_a_stale_one_is() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("s.sock");
    // Stale: bound once, nobody listens any more.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("bind"));
    let endpoint = Endpoint::Unix(path.clone());
    let first = bind(&endpoint, &SocketGroup::Named("0".into())).expect("replace a stale socket");
    let mode = std::fs::metadata(&path)
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o660);
    let second = bind(&endpoint, &SocketGroup::Own);
    assert!(
        matches!(second, Err(ListenError::InUse { .. })),
        "{second:?}"
    );
    assert!(
        UnixStream::connect(&path).await.is_ok(),
        "the first still serves"
    );
    let names = std::fs::read_dir(directory.path())
        .expect("a directory")
        .count();
    assert_eq!(names, 1, "nothing else is left in the directory");
    drop(first);

    std::fs::write(&path, "precious").expect("write");
    let refused = bind(&endpoint, &SocketGroup::Own);
    assert!(matches!(refused, Err(ListenError::NotASocket { .. })));
    let unknown = bind(&endpoint, &SocketGroup::Named("no such group".into()));
    assert!(matches!(unknown, Err(ListenError::NoSuchGroup { .. })));
}

#[test]
fn addresses() {
    let parsed = |text: &str| text.parse::<Endpoint>().map_err(|error| error.to_string());
    assert_eq!(
        parsed("unix:///run/a.sock"),
        Ok(Endpoint::Unix("/run/a.sock".into()))
    );
    assert_eq!(
        parsed("/run/a.sock"),
        Ok(Endpoint::Unix("/run/a.sock".into()))
    );
    for refused in ["tcp://0.0.0.0:2375", "fd://", "a.sock", "unix://a", ""] {
        assert!(parsed(refused).is_err(), "{refused}");
    }
}

#[tokio::test]
async fn a_blocking_reader_reads_a_wire_body() {
    use std::io::Read;
    struct Blocking;
    impl Service for Blocking {
        async fn call(&self, request: Request) -> Response {
            let mut reader = request.body.into_reader();
            let read = tokio::task::spawn_blocking(move || {
                let mut text = String::new();
                reader.read_to_string(&mut text).map(|_| text)
            });
            let text = read.await.expect("no panic").expect("text");
            Response::bytes(StatusCode::OK, "text/plain", Bytes::from(text))
        }
    }
    let (mut client, server) = UnixStream::pair().expect("a pair");
    let (_ask, asked) = shutdown();
    tokio::spawn(serve_connection(
        server,
        Arc::new(Blocking),
        limits(),
        asked,
    ));
    let request = b"POST / HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n";
    client.write_all(request).await.expect("write");
    let mut answer = String::new();
    let read = client.read_to_string(&mut answer);
    tokio::time::timeout(PATIENCE, read)
        .await
        .expect("an end")
        .expect("text");
    assert!(answer.contains("\r\n\r\nabcHTTP/1.1 200 OK"), "{answer}");
}
