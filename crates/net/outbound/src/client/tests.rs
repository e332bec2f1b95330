use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;

use super::*;

/// Serves the given answers, a connection a list, and gives what was asked.
fn serve(
    connections: Vec<Vec<&'static str>>,
) -> (tempfile::TempDir, PathBuf, thread::JoinHandle<Vec<String>>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let server = thread::spawn(move || {
        let mut asked = Vec::new();
        for answers in connections {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            for answer in answers {
                asked.push(read_request(&mut reader));
                (&stream).write_all(answer.as_bytes()).unwrap();
            }
        }
        asked
    });
    (folder, path, server)
}

/// The request line and the body.
fn read_request(reader: &mut BufReader<UnixStream>) -> String {
    let mut lines = Vec::new();
    let mut length = 0;
    let mut chunked = false;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("Content-Length: ") {
            length = value.parse().unwrap();
        }
        chunked |= line == "Transfer-Encoding: chunked";
        lines.push(line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    while chunked {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let size = usize::from_str_radix(line.trim(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk).unwrap();
        body.extend_from_slice(&chunk[..size]);
        chunked = size > 0;
    }
    format!("{} {}", lines[0], String::from_utf8_lossy(&body))
}

fn text(client: &mut Client, request: Request) -> String {
    let response = client.send(request).unwrap();
    String::from_utf8(client.read(response, 1 << 20).unwrap()).unwrap()
}

#[test]
fn one_connection_carries_many_exchanges() {
    let (_folder, path, server) = serve(vec![vec![
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
    ]]);
    let mut client = Client::new(path, "t/1");
    assert_eq!(text(&mut client, Request::get("/a")), "hello");
    assert_eq!(
        text(&mut client, Request::post("/b").json(b"{}".to_vec())),
        "abcdefg"
    );
    assert_eq!(text(&mut client, Request::delete("/c")), "");
    assert_eq!(
        server.join().unwrap(),
        [
            "GET /a HTTP/1.1 ",
            "POST /b HTTP/1.1 {}",
            "DELETE /c HTTP/1.1 "
        ]
    );
}

#[test]
fn a_connection_that_the_server_closed_is_replaced() {
    let (_folder, path, server) = serve(vec![
        vec!["HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1"],
        vec!["HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2"],
    ]);
    let mut client = Client::new(path, "t/1");
    assert_eq!(text(&mut client, Request::get("/a")), "1");
    assert_eq!(text(&mut client, Request::get("/b")), "2");
    server.join().unwrap();
}

#[test]
fn an_upload_streams_and_its_answer_is_read() {
    let (_folder, path, server) = serve(vec![vec![
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ]]);
    let mut client = Client::new(path, "t/1");
    let source = Box::new(io::Cursor::new(vec![b'x'; 200_000]));
    assert_eq!(
        text(
            &mut client,
            Request::post("/load").stream("application/x-tar", source)
        ),
        "ok"
    );
    assert_eq!(
        server.join().unwrap()[0].len(),
        "POST /load HTTP/1.1 ".len() + 200_000
    );
}

#[test]
fn a_source_that_fails_is_the_error() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("no such disk"))
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        io::copy(&mut stream, &mut io::sink()).unwrap();
    });
    let mut client = Client::new(path, "t/1");
    let request = Request::post("/load").stream("application/x-tar", Box::new(Broken));
    assert!(matches!(
        client.send(request),
        Err(OutboundError::UploadSource { .. })
    ));
    server.join().unwrap();
}

#[test]
fn a_hijack_gives_the_socket_and_what_was_read_with_the_head() {
    let (_folder, path, server) = serve(vec![vec![
        "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\nfirst",
    ]]);
    let mut client = Client::new(path, "t/1");
    let response = client
        .send(Request::post("/attach").upgrade("tcp"))
        .unwrap();
    assert_eq!(response.status(), 101);
    let hijacked = response.hijack().unwrap();
    assert_eq!(hijacked.read_ahead, b"first");
    assert_eq!(hijacked.head.field("upgrade"), Some("tcp"));
    server.join().unwrap();
}

#[test]
fn nobody_listening_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let mut client = Client::new(folder.path().join("none"), "t/1");
    assert!(client.send(Request::get("/")).unwrap_err().is_connect());
    let mut client = Client::new("/".to_owned() + &"x".repeat(200), "t/1");
    assert!(client.send(Request::get("/")).unwrap_err().is_connect());
}

#[test]
fn bodies_that_break_off_or_are_too_large_are_errors() {
    type Case = (&'static str, fn(&OutboundError) -> bool);
    let cases: [Case; 4] = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", |e| {
            matches!(e, OutboundError::Body { .. })
        }),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
            |e| matches!(e, OutboundError::Body { .. }),
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
            |e| matches!(e, OutboundError::Body { .. }),
        ),
        (
            "HTTP/1.1 200 OK\r\n\r\n0123456789abcdef0123456789abcdef",
            |e| matches!(e, OutboundError::BodyTooLarge { limit: 16 }),
        ),
    ];
    for (answer, expected) in cases {
        let (_folder, path, server) = serve(vec![vec![answer]]);
        let mut client = Client::new(path, "t/1");
        let response = client.send(Request::get("/")).unwrap();
        let error = client.read(response, 16).unwrap_err();
        assert!(expected(&error), "{answer:?}: {error:?}");
        server.join().unwrap();
    }
}

#[test]
fn a_head_without_end_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ");
        while stream.write_all(&[b'a'; 4096]).is_ok() {}
    });
    let mut client = Client::new(path, "t/1");
    assert!(matches!(
        client.send(Request::get("/")),
        Err(OutboundError::HeadTooLarge { .. })
    ));
    drop(client);
    server.join().unwrap();
}

#[test]
fn a_silent_server_is_given_up_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let _listener = UnixListener::bind(&path).unwrap();
    let mut client = Client::new(path, "t/1");
    let outcome = client.send_within(Request::get("/"), Some(Duration::from_millis(20)));
    assert!(matches!(outcome, Err(OutboundError::Receive { .. })));
}

#[test]
fn two_requests_are_on_their_way_at_once() {
    let (_folder, path, server) = serve(vec![
        vec!["HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1"],
        vec!["HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2"],
    ]);
    let mut client = Client::new(path, "t/1");
    let first = client.begin(&Request::get("/a")).unwrap();
    let second = client.begin(&Request::get("/b")).unwrap();
    let second = second.receive().unwrap();
    let first = first.receive().unwrap();
    assert_eq!(client.read(first, 9).unwrap(), b"1");
    assert_eq!(client.read(second, 9).unwrap(), b"2");
    server.join().unwrap();
}

#[test]
fn what_may_have_happened_is_not_asked_for_again() {
    // The second exchange is taken, and the connection ends without an answer.
    let (_folder, path, server) = serve(vec![vec![
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1",
        "",
    ]]);
    let mut client = Client::new(path, "t/1");
    assert_eq!(text(&mut client, Request::get("/a")), "1");
    let error = client.send(Request::post("/b")).expect_err("no answer");
    assert!(is_end(&error), "{error}");
    assert_eq!(server.join().unwrap().len(), 2);
}
