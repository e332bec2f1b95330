//! Where a reader stands in the files of a log, while the supervisor goes on
//! writing and rotating them. Blocks.
//!
//! A file keeps its inode when it gets another number, so a position is an
//! open file, and what follows it is found by inode each time.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::LogEntry;
use crate::log_files::{self, MAX_RECORD_BYTES};

/// Records read in one step.
const BATCH: usize = 256;
/// Tries to open a file by a name that rotation gives to another meanwhile.
const TRIES: u32 = 16;

/// A position in a log.
pub(crate) struct Reader {
    log: PathBuf,
    /// Where to begin, until it has begun.
    tail: Option<u64>,
    file: Option<Current>,
    partial: Vec<u8>,
}

/// The file that is being read.
struct Current {
    file: BufReader<File>,
    inode: u64,
    /// A newer one was seen, so nothing is written to it any more.
    is_rotated: bool,
}

impl Reader {
    /// Reads a log from its begin, or its last `tail` records.
    pub(crate) fn new(log: PathBuf, tail: Option<u64>) -> Self {
        Self {
            log,
            tail,
            file: None,
            partial: Vec::new(),
        }
    }

    /// The next records; none when there are no more just now.
    pub(crate) fn read_batch(&mut self) -> io::Result<Vec<LogEntry>> {
        let mut batch = Vec::new();
        while batch.len() < BATCH {
            let Some(current) = &mut self.file else {
                if self.begin()? {
                    continue;
                }
                break;
            };
            let count = current.file.read_until(b'\n', &mut self.partial)?;
            if self.partial.last() == Some(&b'\n') {
                batch.extend(log_files::decode(&self.partial));
                self.partial.clear();
            } else if self.partial.len() > MAX_RECORD_BYTES {
                self.partial.clear();
            } else if count == 0 && !self.go_on()? {
                break;
            }
        }
        Ok(batch)
    }

    /// Opens the first file to be read; false when there is none yet.
    fn begin(&mut self) -> io::Result<bool> {
        for _ in 0..TRIES {
            let files = log_files::files(&self.log);
            let (index, offset) = match self.tail {
                Some(count) => log_files::tail_position(&files, count)?,
                None => (0, 0),
            };
            let Some(found) = files.get(index) else {
                // All that comes is new.
                self.tail = None;
                return Ok(false);
            };
            if self.open(found, offset)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// At the end of the current file: whether there is more to read, in it
    /// or in the next one.
    fn go_on(&mut self) -> io::Result<bool> {
        for _ in 0..TRIES {
            let Some(current) = &mut self.file else {
                return Ok(false);
            };
            let files = log_files::files(&self.log);
            let own = files.iter().position(|file| file.inode == current.inode);
            let next = match own {
                Some(own) if own + 1 == files.len() => return Ok(false),
                Some(own) => own + 1,
                // Deleted: all that are left are newer.
                None => 0,
            };
            let Some(next) = files.get(next) else {
                return Ok(false);
            };
            if !current.is_rotated {
                // What was written between its end and its rotation.
                current.is_rotated = true;
                return Ok(true);
            }
            if self.open(next, 0)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Opens a file; false when its name is another's by now.
    fn open(&mut self, found: &log_files::LogFile, offset: u64) -> io::Result<bool> {
        let mut file = match File::open(&found.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        if file.metadata()?.ino() != found.inode {
            return Ok(false);
        }
        file.seek(SeekFrom::Start(offset))?;
        self.partial.clear();
        self.file = Some(Current {
            file: BufReader::new(file),
            inode: found.inode,
            is_rotated: false,
        });
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::Path;

    use super::*;

    /// A log that the test writes as a supervisor does.
    struct Log {
        directory: tempfile::TempDir,
        written: u64,
    }

    impl Log {
        fn new() -> Self {
            Self {
                directory: tempfile::tempdir().expect("a directory"),
                written: 0,
            }
        }

        fn path(&self) -> PathBuf {
            self.directory.path().join("x.log")
        }

        fn numbered(&self, number: u32) -> PathBuf {
            self.directory.path().join(format!("x.log.{number}"))
        }

        fn write(&mut self, count: u64) {
            let file = File::options().create(true).append(true).open(self.path());
            let mut file = file.expect("open");
            for _ in 0..count {
                let line = self.written;
                self.written += 1;
                let time = "2026-11-24T00:00:00Z";
                let record = format!(
                    "{{\"log\":\"{line}\\n\",\"stream\":\"stdout\",\"time\":\"{time}\"}}\n"
                );
                file.write_all(record.as_bytes()).expect("write");
            }
        }

        fn rotate(&self, max_files: u32) {
            let rename = |from: &Path, to: &Path| {
                if from.exists() {
                    std::fs::rename(from, to).expect("rename");
                }
            };
            for number in (1..max_files.saturating_sub(1)).rev() {
                rename(&self.numbered(number), &self.numbered(number + 1));
            }
            if max_files > 1 {
                rename(&self.path(), &self.numbered(1));
            } else {
                std::fs::remove_file(self.path()).expect("remove");
            }
            File::create(self.path()).expect("create");
        }
    }

    fn check(reader: &mut Reader, expected: impl Iterator<Item = u64>) {
        let batch = reader.read_batch().expect("read");
        let lines: Vec<_> = batch
            .iter()
            .map(|entry| String::from_utf8_lossy(&entry.line).into_owned())
            .collect();
        let expected: Vec<_> = expected.map(|line| format!("{line}\n")).collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn what_is_written_between_the_end_and_a_rotation_is_read() {
        let mut log = Log::new();
        let mut reader = Reader::new(log.path(), None);
        check(&mut reader, 0..0);
        log.write(3);
        check(&mut reader, 0..3);
        // The reader has met the end; it looks for a newer file only now.
        log.write(2);
        log.rotate(2);
        assert!(reader.go_on().expect("more"));
        log.write(1);
        check(&mut reader, 3..6);
    }

    #[test]
    fn no_file_is_passed_over() {
        let mut log = Log::new();
        log.write(2);
        log.rotate(4);
        log.write(2);
        let mut reader = Reader::new(log.path(), None);
        check(&mut reader, 0..4);
        for _ in 0..2 {
            log.write(2);
            log.rotate(4);
        }
        log.write(1);
        check(&mut reader, 4..9);
        // Its file is deleted, but open.
        for _ in 0..4 {
            log.write(1);
            log.rotate(4);
        }
        log.write(1);
        check(&mut reader, 9..14);
    }

    #[test]
    fn a_log_of_one_file_is_followed_over_its_end() {
        let mut log = Log::new();
        log.write(1);
        let mut reader = Reader::new(log.path(), None);
        check(&mut reader, 0..1);
        log.write(1);
        log.rotate(1);
        log.write(1);
        check(&mut reader, 1..3);
    }

    #[test]
    fn a_rotation_that_is_half_done_is_waited_for() {
        let mut log = Log::new();
        log.write(1);
        log.rotate(3);
        log.write(1);
        let mut reader = Reader::new(log.path(), None);
        check(&mut reader, 0..2);
        std::fs::rename(log.numbered(1), log.numbered(2)).expect("rename");
        check(&mut reader, 0..0);
        std::fs::rename(log.path(), log.numbered(1)).expect("rename");
        check(&mut reader, 0..0);
        log.write(1);
        check(&mut reader, 2..3);
    }

    #[test]
    fn the_tail_begins_in_the_file_that_was_looked_at() {
        let mut log = Log::new();
        log.write(3);
        log.rotate(2);
        log.write(2);
        let mut reader = Reader::new(log.path(), Some(3));
        check(&mut reader, 2..5);
        let mut none = Reader::new(log.path(), Some(0));
        check(&mut none, 0..0);
        log.write(1);
        check(&mut none, 5..6);
    }
}
