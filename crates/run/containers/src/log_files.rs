//! Reading log files: decoding records, and where the last N begin.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use serde::Deserialize;

use crate::{LogEntry, LogSource};

/// Longest record that is read; a supervisor writes at most 16 KiB of text,
/// six bytes each when escaped.
pub(crate) const MAX_RECORD_BYTES: usize = 256 << 10;
/// Bytes looked at in one step backwards.
const STEP_BYTES: u64 = 64 << 10;
/// Rotated files looked for.
const MAX_FILES: u32 = 1000;

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    log: std::borrow::Cow<'a, str>,
    stream: &'a str,
    time: &'a str,
}

/// Decodes one record; one that is damaged (by a full disk) is passed over.
pub(crate) fn decode(line: &[u8]) -> Option<LogEntry> {
    let line: Line<'_> = serde_json::from_slice(line).ok()?;
    let at: jiff::Timestamp = line.time.parse().ok()?;
    Some(LogEntry {
        source: match line.stream {
            "stdout" => LogSource::Stdout,
            "stderr" => LogSource::Stderr,
            _ => return None,
        },
        at: SystemTime::from(at),
        line: Bytes::copy_from_slice(line.log.as_bytes()),
    })
}

/// A file of a log.
pub(crate) struct LogFile {
    pub(crate) path: PathBuf,
    /// What stays when it gets another number.
    pub(crate) inode: u64,
}

/// The log's files, the oldest first. One that is renamed meanwhile may be
/// listed by both its names.
pub(crate) fn files(log: &Path) -> Vec<LogFile> {
    let found = |path: PathBuf| {
        let inode = std::fs::metadata(&path).ok()?.ino();
        Some(LogFile { path, inode })
    };
    let mut files = Vec::from_iter(found(log.to_owned()));
    let mut missing = 0;
    for number in 1..=MAX_FILES {
        let mut name = log.as_os_str().to_owned();
        name.push(format!(".{number}"));
        match found(PathBuf::from(name)) {
            Some(file) => files.push(file),
            // While files are renamed, one number after the other is free.
            None if missing > 0 => break,
            None => missing += 1,
        }
    }
    files.reverse();
    files
}

/// Where to begin for the last `count` records: file and offset. The files are
/// read backwards, so that a long log costs no more than a short one.
pub(crate) fn tail_position(files: &[LogFile], count: u64) -> io::Result<(usize, u64)> {
    let mut missing = count;
    for (index, found) in files.iter().enumerate().rev() {
        let mut file = match File::open(&found.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let length = file.metadata()?.len();
        if missing == 0 {
            return Ok((index, length));
        }
        let (found, offset) = last_lines(&mut file, length, missing)?;
        if found == missing {
            return Ok((index, offset));
        }
        missing -= found;
    }
    Ok((0, 0))
}

/// Looks for the begin of the last `wanted` lines; tells how many there are.
fn last_lines(file: &mut File, length: u64, wanted: u64) -> io::Result<(u64, u64)> {
    let mut buffer = vec![0_u8; STEP_BYTES as usize];
    let mut position = length;
    let mut found = 0;
    while position > 0 {
        let step = STEP_BYTES.min(position);
        position -= step;
        let chunk = &mut buffer[..step as usize];
        file.seek(SeekFrom::Start(position))?;
        file.read_exact(chunk)?;
        for (index, byte) in chunk.iter().enumerate().rev() {
            let at = position + index as u64;
            // The last line's own end is not the begin of another.
            if *byte == b'\n' && at + 1 != length {
                found += 1;
                if found == wanted {
                    return Ok((found, at + 1));
                }
            }
        }
    }
    Ok((if length > 0 { found + 1 } else { 0 }, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_found_across_files() {
        let directory = std::env::temp_dir().join(format!("carrack-log-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("directory");
        let log = directory.join("x.log");
        std::fs::write(directory.join("x.log.1"), "a\nb\n").expect("write");
        std::fs::write(&log, "c\nd\ne\n").expect("write");
        let files = files(&log);
        assert_eq!(files.len(), 2);
        let check = |count, expected| {
            assert_eq!(
                tail_position(&files, count).expect("tail"),
                expected,
                "{count}"
            );
        };
        check(0, (1, 6));
        check(1, (1, 4));
        check(3, (1, 0));
        check(4, (0, 2));
        check(5, (0, 0));
        check(99, (0, 0));
        std::fs::remove_dir_all(&directory).expect("clean");
    }

    #[test]
    fn damaged_records_are_passed_over() {
        assert!(
            decode(b"{\"log\":\"x\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-24T00:00:00Z\"}")
                .is_some()
        );
        for bad in [
            &b""[..],
            b"{",
            b"{\"log\":1}",
            b"\xff",
            b"{\"log\":\"x\",\"stream\":\"s\",\"time\":\"2026-11-24T00:00:00Z\"}",
        ] {
            assert!(decode(bad).is_none());
        }
    }
}
