//! An archive whose first name changes on its way.

use std::io::{self, BufReader, BufWriter, PipeReader, PipeWriter, Read, Write};
use std::thread::JoinHandle;

use carrack_archive::Limits;
use carrack_archive::tar::{Kind, TarReader, TarWriter, TimePrecision};

/// A stream that another thread writes; its error comes out at the end.
pub(crate) struct Produced {
    pipe: BufReader<PipeReader>,
    producer: Option<JoinHandle<io::Result<()>>>,
}

impl Produced {
    /// Runs `produce` in a thread of its own.
    pub(crate) fn by(
        produce: impl FnOnce(BufWriter<PipeWriter>) -> io::Result<()> + Send + 'static,
    ) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        let producer = std::thread::Builder::new()
            .name("archive".to_owned())
            .spawn(move || produce(BufWriter::with_capacity(64 * 1024, writer)))?;
        Ok(Self {
            pipe: BufReader::with_capacity(64 * 1024, reader),
            producer: Some(producer),
        })
    }
}

impl Read for Produced {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.pipe.read(out)?;
        if read == 0
            && !out.is_empty()
            && let Some(producer) = self.producer.take()
        {
            producer
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the archive's thread panicked")))?;
        }
        Ok(read)
    }
}

/// `source` with the name `from` of its first component as `to`.
pub(crate) fn renamed(
    source: impl Read + Send + 'static,
    from: String,
    to: String,
) -> io::Result<Produced> {
    Produced::by(move |out| copy_renamed(source, out, from.as_bytes(), to.as_bytes()))
}

fn copy_renamed(source: impl Read, out: impl Write, from: &[u8], to: &[u8]) -> io::Result<()> {
    let failed =
        |error: carrack_archive::ArchiveError| io::Error::other(crate::engine::chain(&error));
    let mut reader = TarReader::new(source, Limits::DEFAULT);
    let mut writer = TarWriter::new(out, TimePrecision::Nanoseconds);
    while let Some(mut entry) = reader.next_entry().map_err(failed)? {
        entry.path = rename(&entry.path, from, to);
        if let Kind::HardLink { target } = &mut entry.kind {
            *target = rename(target, from, to);
        }
        if matches!(entry.kind, Kind::Sparse { .. }) {
            return Err(io::Error::other(
                "the archive has a sparse file, which cannot be renamed on its way",
            ));
        }
        writer
            .append_with_data(&entry, &mut reader.data())
            .map_err(failed)?;
    }
    writer.finish().map_err(failed)?;
    Ok(())
}

/// A name with its first component exchanged.
fn rename(path: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let bare = path.strip_prefix(b"/").unwrap_or(path);
    let rest = if from == b"." || from.is_empty() {
        // Everything is below the directory whose contents are meant.
        match bare
            .strip_prefix(b"./")
            .or(if bare == b"." { Some(b"") } else { None })
        {
            Some(rest) => rest,
            None => bare,
        }
    } else {
        match bare.strip_prefix(from) {
            Some(b"") => b"",
            Some(rest) if rest.starts_with(b"/") => &rest[1..],
            _ => return path.to_vec(),
        }
    };
    let mut out = to.to_vec();
    if !rest.is_empty() || path.ends_with(b"/") {
        out.push(b'/');
        out.extend_from_slice(rest);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_components() {
        for (path, from, to, expected) in [
            ("f", "f", "x", "x"),
            ("dir/", "dir", "x", "x/"),
            ("dir/a/b", "dir", "x", "x/a/b"),
            ("dirty/a", "dir", "x", "dirty/a"),
            ("./", ".", "x", "x/"),
            ("./a", ".", "x", "x/a"),
            ("a", ".", "x", "x/a"),
            ("./", ".", ".", "./"),
        ] {
            let found = rename(path.as_bytes(), from.as_bytes(), to.as_bytes());
            assert_eq!(String::from_utf8(found).unwrap(), expected, "{path} {from}");
        }
    }
}
