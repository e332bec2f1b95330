use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use super::*;

#[test]
fn messages_and_descriptors_arrive_together() {
    let (daemon, supervisor) = UnixStream::pair().expect("socket pair");
    let (read, write) = rustix::pipe::pipe().expect("pipe");
    let resize = Request::Resize {
        target: Target::Exec("e".to_owned()),
        rows: 24,
        columns: 80,
    };
    let attach = Request::Attach(Attach {
        target: Target::Container,
        stdin: true,
        stdout: true,
        stderr: false,
        read_ahead: b"early".to_vec(),
        detach_keys: vec![16, 17],
        framed: false,
        held: None,
    });
    send(&daemon, &resize, &[]).expect("send");
    send(&daemon, &attach, &[write.as_fd()]).expect("send");
    drop((daemon, write));
    let mut reader = FrameReader::default();
    while reader.fill(&supervisor).expect("fill") {}
    let first = reader.message::<Request>().expect("frame").expect("whole");
    assert_eq!((first.message, first.descriptors.len()), (resize, 0));
    let second = reader.message::<Request>().expect("frame").expect("whole");
    assert_eq!(second.message, attach);
    assert_eq!(second.version, PROTOCOL);
    rustix::io::write(&second.descriptors[0], b"x").expect("the descriptor is the pipe");
    let mut byte = [0];
    assert_eq!(rustix::io::read(&read, &mut byte).expect("read"), 1);
    assert!(reader.message::<Request>().expect("none").is_none());
}

#[test]
fn a_batch_arrives_as_its_messages() {
    let (daemon, supervisor) = UnixStream::pair().expect("socket pair");
    let pipes: Vec<_> = (0..carrack_sys::descriptors::MAX_PASSED)
        .map(|_| rustix::pipe::pipe().expect("pipe").1)
        .collect();
    let borrowed: Vec<_> = pipes.iter().map(AsFd::as_fd).collect();
    let exited = Request::ExitRecorded;
    let mut batch = Batch::default();
    // The second does not fit beside the first, so it leaves in a part of its own.
    batch.push(&exited, &borrowed[..3]).expect("push");
    batch.push(&exited, &borrowed).expect("push");
    batch.push(&Request::Release, &[]).expect("push");
    batch.send(&daemon).expect("send");
    drop(daemon);
    let mut reader = FrameReader::default();
    while reader.fill(&supervisor).expect("fill") {}
    for (message, count) in [(&exited, 3), (&exited, pipes.len()), (&Request::Release, 0)] {
        let received = reader.message::<Request>().expect("frame").expect("whole");
        assert_eq!(received.message, *message);
        assert_eq!(received.descriptors.len(), count);
    }
    assert!(reader.message::<Request>().expect("none").is_none());
}

/// Bytes of frames as version 1 wrote them: a newer build must read them.
#[test]
fn version_1_frames_are_still_read() {
    let recorded: [(&[u8], Event); 2] = [
        (
            &[3, 0, 0, 0, 0, 0, 1, 0, 1, 0xb9, 0x60],
            Event::Prepared { pid: 12345 },
        ),
        (
            &[5, 0, 0, 0, 0, 0, 1, 0, 5, 0x92, 0x02, 0xac, 0x02],
            Event::Exited {
                code: 137,
                at_ns: 300,
            },
        ),
    ];
    for (bytes, expected) in recorded {
        assert_eq!(encode(&expected, 0).expect("encode"), bytes);
        let (a, b) = UnixStream::pair().expect("socket pair");
        rustix::io::write(&a, bytes).expect("write");
        let mut reader = FrameReader::default();
        reader.fill(&b).expect("fill");
        let read = reader.message::<Event>().expect("frame").expect("whole");
        assert_eq!(read.message, expected);
    }
}

#[test]
fn hostile_frames_are_errors() {
    let cases: [(&[u8], &str); 4] = [
        (&[0xff, 0xff, 0xff, 0xff, 0, 0, 1, 0], "too large"),
        (&[1, 0, 0, 0, 9, 0, 1, 0, 8], "9 descriptors"),
        (&[1, 0, 0, 0, 0, 0, 1, 0, 200], "decode frame of protocol 1"),
        (&[0, 0, 0, 0, 0, 0, 7, 0], "decode frame of protocol 7"),
    ];
    for (bytes, text) in cases {
        let (a, b) = UnixStream::pair().expect("socket pair");
        rustix::io::write(&a, bytes).expect("write");
        let mut reader = FrameReader::default();
        reader.fill(&b).expect("fill");
        let error = reader.message::<Request>().expect_err("hostile");
        assert!(error.to_string().contains(text), "{error}");
    }
}

/// Bytes are one piece or many: the same on the wire.
#[test]
fn a_filter_crosses_as_it_always_did() {
    let filter = carrack_runtime::plan::SeccompPlan {
        program: vec![1, 2, 200],
        flags: 300,
    };
    let frame = encode(&filter, 0).expect("encode");
    assert_eq!(frame[HEAD_BYTES..], [3, 1, 2, 200, 0xac, 0x02]);
    let (a, b) = UnixStream::pair().expect("socket pair");
    rustix::io::write(&a, &frame).expect("write");
    let mut reader = FrameReader::default();
    reader.fill(&b).expect("fill");
    let read = reader.message::<carrack_runtime::plan::SeccompPlan>();
    assert_eq!(read.expect("frame").expect("whole").message, filter);
}
