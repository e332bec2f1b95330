//! The one program of the image `static`, compiled by `xtask images` with plain
//! rustc: no crates, no libc calls but those of std. Each verb shows one thing
//! from inside a container that has no shell.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::exit;
use std::time::{Duration, Instant};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        [] | ["hello"] => println!("hello from a program without a shell"),
        ["true"] => {}
        ["exit", code] => exit(code.parse().unwrap_or(2)),
        ["args", rest @ ..] => rest.iter().for_each(|a| println!("{a}")),
        ["env"] => {
            let mut vars: Vec<_> = std::env::vars().collect();
            vars.sort();
            vars.iter().for_each(|(k, v)| println!("{k}={v}"));
        }
        ["cat", path] => match std::fs::read(path) {
            Ok(bytes) => drop(std::io::stdout().write_all(&bytes)),
            Err(e) => fail(path, &e),
        },
        ["ls", path] => match std::fs::read_dir(path) {
            Ok(entries) => {
                let mut names: Vec<_> = entries
                    .filter_map(Result::ok)
                    .map(|e| e.file_name().to_string_lossy().into_owned())
                    .collect();
                names.sort();
                names.iter().for_each(|n| println!("{n}"));
            }
            Err(e) => fail(path, &e),
        },
        ["sleep", seconds] => {
            std::thread::sleep(Duration::from_secs_f64(seconds.parse().unwrap_or(1.0)));
        }
        ["spin", threads, seconds] => spin(threads, seconds),
        ["eat", mebibytes] => eat(mebibytes),
        ["lines", count] => {
            let mut out = std::io::stdout().lock();
            for n in 0..count.parse::<u64>().unwrap_or(0) {
                if writeln!(out, "line {n}").is_err() {
                    exit(1);
                }
            }
        }
        ["ticks", every_ms] => {
            let every = Duration::from_millis(every_ms.parse().unwrap_or(100));
            for n in 0u64.. {
                println!("tick {n}");
                std::thread::sleep(every);
            }
        }
        ["serve", port] => serve(port),
        ["serve-udp", port] => serve_udp(port),
        ["udp", address, text] => match ask_udp(address, text) {
            Ok(answer) => println!("{answer}"),
            Err(e) => fail(address, &e),
        },
        ["get", address] => match TcpStream::connect(address) {
            Ok(mut s) => {
                let mut text = String::new();
                drop(s.write_all(b"x"));
                drop(s.read_to_string(&mut text));
                print!("{text}");
            }
            Err(e) => fail(address, &e),
        },
        other => {
            eprintln!("probe: no verb {other:?}");
            exit(2);
        }
    }
}

fn fail(what: &str, error: &std::io::Error) -> ! {
    eprintln!("probe: {what}: {error}");
    exit(1)
}

/// Burns CPU on `threads` threads for `seconds` of wall time.
fn spin(threads: &str, seconds: &str) {
    let end = Instant::now() + Duration::from_secs_f64(seconds.parse().unwrap_or(1.0));
    let workers: Vec<_> = (0..threads.parse().unwrap_or(1))
        .map(|_| {
            std::thread::spawn(move || {
                let mut n = 0u64;
                while Instant::now() < end {
                    n = std::hint::black_box(n.wrapping_add(1));
                }
            })
        })
        .collect();
    for worker in workers {
        drop(worker.join());
    }
}

/// Takes and touches `mebibytes` of memory, then says so.
fn eat(mebibytes: &str) {
    let size = mebibytes.parse::<usize>().unwrap_or(1) << 20;
    let mut memory = vec![0u8; size];
    for byte in memory.iter_mut().step_by(4096) {
        *byte = 1;
    }
    println!("{}", std::hint::black_box(&memory).len() >> 20);
}

/// Answers each TCP connection with the address that it sees; HTTP to those who
/// ask in it.
fn serve(port: &str) {
    let listener = TcpListener::bind(format!("[::]:{port}"))
        .or_else(|_| TcpListener::bind(format!("0.0.0.0:{port}")))
        .unwrap_or_else(|e| fail(port, &e));
    println!("listening");
    for stream in listener.incoming().flatten() {
        let mut stream = stream;
        let peer = stream.peer_addr().map(|a| a.ip().to_canonical().to_string()).unwrap_or_default();
        let mut request = [0; 2048];
        drop(stream.set_read_timeout(Some(Duration::from_millis(500))));
        let asked = stream.read(&mut request).unwrap_or(0);
        if request[..asked].starts_with(b"GET ") {
            drop(write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", peer.len() + 6));
        }
        drop(writeln!(stream, "peer {peer}"));
    }
}

/// Sends each UDP datagram back to where it came from.
fn serve_udp(port: &str) {
    let socket = UdpSocket::bind(format!("[::]:{port}"))
        .or_else(|_| UdpSocket::bind(format!("0.0.0.0:{port}")))
        .unwrap_or_else(|e| fail(port, &e));
    println!("listening");
    let mut buf = [0; 2048];
    while let Ok((n, from)) = socket.recv_from(&mut buf) {
        drop(socket.send_to(&buf[..n], from));
    }
}

fn ask_udp(address: &str, text: &str) -> std::io::Result<String> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.connect(address)?;
    socket.send(text.as_bytes())?;
    let mut buf = [0; 2048];
    let n = socket.recv(&mut buf)?;
    Ok(String::from_utf8_lossy(&buf[..n]).into_owned())
}
