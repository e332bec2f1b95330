//! `cp`.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use carrack_archive::tar::{TarWriter, TimePrecision};
use carrack_archive::{Limits, pack, unpack};
use serde_json::Value;

use super::{Arity, Place, Verb, number, text};
use crate::copy::rename::{Produced, renamed};
use crate::copy::{
    Destination, IsDirectory, Side, Source, arrive, clean, keep_ending, names_contents, split,
};
use crate::create::environment::go_reason;
use crate::create::mounts::absolute;
use crate::engine::{Ask, EngineError, chain, segment};
use crate::failure::{Failure, Outcome, exit};
use crate::flags::quantity::quote;
use crate::flags::{Order, Parsed, SWITCH, letter};
use crate::session::{PROGRAM, Session};
use crate::show::units::decimal_size;
use crate::terminal;

pub(super) static CP: Verb = Verb {
    names: &["container cp", "cp"],
    place: Place::Plain,
    usage: "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tcarrack cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    about: "Copy files out of a container or into it",
    arity: Arity::Exactly(2),
    order: Order::Mixed,
    flags: &[(
        "Options",
        &[
            letter(
                "archive",
                'a',
                SWITCH,
                "Keep owners as they are at the source",
            ),
            letter(
                "follow-link",
                'L',
                SWITCH,
                "Copy what a link at SRC_PATH points to",
            ),
            letter(
                "quiet",
                'q',
                SWITCH,
                "Do not say what was copied; so it is without a terminal",
            ),
        ],
    )],
    run: cp,
};

/// Bits of Go's file modes.
const GO_DIRECTORY: i64 = 1 << 31;
const GO_SYMLINK: i64 = 1 << 27;
const GO_DEVICE: i64 = 1 << 26;
const GO_IRREGULAR: i64 = 1 << 19;

fn cp(session: &mut Session, parsed: &Parsed) -> Outcome {
    for (argument, what) in parsed.args.iter().zip(["source", "destination"]) {
        if argument.is_empty() {
            return Err(Failure::new(format!("{what} can not be empty")));
        }
    }
    let quiet = if parsed.given("quiet") {
        parsed.on("quiet")
    } else {
        !terminal::stdout_is_terminal()
    };
    match (Side::parse(&parsed.args[0]), Side::parse(&parsed.args[1])) {
        (Side::Container { name, path }, Side::Local(to)) => {
            from_container(session, parsed, &name, &path, &to, quiet)
        }
        (Side::Local(from), Side::Container { name, path }) => {
            to_container(session, parsed, &from, &name, &path, quiet)
        }
        (Side::Container { .. }, Side::Container { .. }) => {
            Err(Failure::new("copying between containers is not supported"))
        }
        (Side::Local(_), Side::Local(_)) => {
            Err(Failure::new("must specify at least one container source"))
        }
    }
}

/// What the engine says of a path in a container.
fn path_stat(response: &carrack_outbound::Response) -> Option<Value> {
    let header = response.head.field("x-docker-container-path-stat")?;
    serde_json::from_slice(&base64(header)?).ok()
}

fn stat(session: &mut Session, archive: &str, path: &str) -> Result<Option<Value>, EngineError> {
    let response = session.engine.call(Ask::head(archive).with("path", path))?;
    let stat = path_stat(&response);
    session.engine.finish(response)?;
    Ok(stat)
}

/// RFC 4648's base64, with padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from((bits >> count) & 0xff).ok()?);
        }
    }
    Some(out)
}

/// A link's target as a path of its own.
fn resolve_link(link: &str, target: &str) -> String {
    if target.starts_with('/') {
        target.to_owned()
    } else {
        clean(&format!("{}/{target}", split(link).0))
    }
}

/// A reader that counts what goes through it.
struct Counted<R> {
    source: R,
    bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(out)?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

fn summary(bytes: &AtomicU64, to: &str) -> String {
    format!(
        "Successfully copied {} to {to}",
        decimal_size(bytes.load(Ordering::Relaxed) as f64, 3)
    )
}

fn from_container(
    session: &mut Session,
    parsed: &Parsed,
    name: &str,
    path: &str,
    to: &str,
    quiet: bool,
) -> Outcome {
    let archive = format!("/containers/{}/archive", segment(name));
    let to_path = if to == "-" {
        to.to_owned()
    } else {
        keep_ending(absolute(to, &session.folder()), to)
    };
    if to != "-" {
        check_output(&to_path)?;
    }
    let mut from = path.to_owned();
    let mut new_name = None;
    if parsed.on("follow-link") {
        let link = stat(session, &archive, &from)
            .ok()
            .flatten()
            .filter(|stat| number(stat, "mode") & GO_SYMLINK != 0);
        if let Some(link) = link {
            let target = resolve_link(&from, text(&link, "linkTarget"));
            let (_, link_name) = split(&from);
            // It arrives under the link's name, unless its contents are meant.
            new_name =
                (!names_contents(&from) && split(&target).1 != link_name).then_some(link_name);
            from = keep_ending(target, &from);
        }
    }
    let response = session
        .engine
        .call(Ask::get(&archive).with("path", &from))?;
    let stat = path_stat(&response)
        .ok_or_else(|| Failure::new("unable to get resource stat from response: unable to decode container path stat header"))?;
    if to == "-" {
        let mut body = response.into_body();
        let mut stdout = terminal::Stdout;
        return match io::copy(&mut body, &mut stdout).and_then(|_| stdout.flush()) {
            Ok(()) => Ok(exit::SUCCESS),
            Err(error) => Err(Failure::new(go_reason(&error))),
        };
    }
    let bytes = Arc::new(AtomicU64::new(0));
    let content = Counted {
        source: response.into_body(),
        bytes: Arc::clone(&bytes),
    };
    let source = Source {
        path: from,
        is_directory: number(&stat, "mode") & GO_DIRECTORY != 0,
        renamed: new_name,
    };
    unpack_here(content, source, &to_path)?;
    if !quiet {
        session.warn(&summary(&bytes, &to_path));
    }
    Ok(exit::SUCCESS)
}

/// Refuses a destination whose directory is not there, or that is no place
/// for a file.
fn check_output(path: &str) -> Result<(), Failure> {
    let (parent, _) = split(&clean(path));
    if !Path::new(&parent).exists() {
        return Err(Failure::new(format!(
            "invalid output path: directory {} does not exist",
            quote(&parent)
        )));
    }
    let Ok(metadata) = std::fs::metadata(path) else {
        return Ok(());
    };
    if !metadata.is_dir() && !metadata.is_file() {
        return Err(Failure::new(format!(
            "invalid output path: {} must be a directory or a regular file: got a device",
            quote(path)
        )));
    }
    Ok(())
}

/// The most links that are followed to a destination.
const LINKS: usize = 40;

/// Where the links at a destination lead, whether anything is there or not.
fn follow(path: &str) -> Result<String, Failure> {
    let mut at = path.to_owned();
    for _ in 0..LINKS {
        let bare = at.trim_end_matches('/');
        match std::fs::read_link(if bare.is_empty() { "/" } else { bare }) {
            Ok(target) => {
                at = keep_ending(resolve_link(&clean(&at), &target.to_string_lossy()), &at)
            }
            Err(_) => return Ok(at),
        }
    }
    Err(Failure::new(format!(
        "evalSymlinks: too many links in {}",
        quote(path)
    )))
}

/// Unpacks an archive where it is to arrive.
fn unpack_here(
    content: impl Read + Send + 'static,
    source: Source,
    to: &str,
) -> Result<(), Failure> {
    let real = follow(to)?;
    let is_there = match std::fs::metadata(&real) {
        Ok(metadata) if metadata.is_dir() => Some(IsDirectory::Yes),
        Ok(_) => Some(IsDirectory::No),
        Err(_) => None,
    };
    let arrival = arrive(
        &source,
        &Destination {
            path: real,
            is_there,
        },
    )?;
    let directory = std::fs::File::open(&arrival.directory).map_err(|error| {
        Failure::new(format!("open {}: {}", arrival.directory, go_reason(&error)))
    })?;
    let options = unpack::Options {
        ownership: unpack::Ownership::Unchanged,
        overwrite: unpack::Overwrite::SameKind,
        ..unpack::Options::plain(Limits::DEFAULT)
    };
    let failed = |error: &dyn std::error::Error| Failure::new(chain(error));
    match arrival.rename {
        Some((from, to)) if from != to => {
            let content = renamed(content, from, to).map_err(|error| failed(&error))?;
            unpack::unpack(&directory, content, &options).map_err(|error| failed(&error))?;
        }
        _ => {
            let (_, mut rest) =
                unpack::unpack(&directory, content, &options).map_err(|error| failed(&error))?;
            // What stands behind the archive's end is read, so that the
            // server is not cut off.
            let _ = io::copy(&mut rest, &mut io::sink());
        }
    }
    Ok(())
}

fn to_container(
    session: &mut Session,
    parsed: &Parsed,
    from: &str,
    name: &str,
    path: &str,
    quiet: bool,
) -> Outcome {
    if path.is_empty() {
        return Err(Failure::new("no such directory"));
    }
    let archive = format!("/containers/{}/archive", segment(name));
    let mut destination = Destination {
        path: path.to_owned(),
        is_there: None,
    };
    let mut found = stat(session, &archive, path).ok().flatten();
    if let Some(link) = found
        .as_ref()
        .filter(|stat| number(stat, "mode") & GO_SYMLINK != 0)
    {
        destination.path = resolve_link(path, text(link, "linkTarget"));
        found = stat(session, &archive, &destination.path).ok().flatten();
    }
    if let Some(stat) = &found {
        let mode = number(stat, "mode");
        for (bit, what) in [
            (GO_DEVICE, "got a device"),
            (GO_IRREGULAR, "got an irregular file"),
        ] {
            if mode & bit != 0 {
                return Err(Failure::new(format!(
                    "destination \"{name}:{path}\" must be a directory or a regular file: {what}"
                )));
            }
        }
        let is_directory = if mode & GO_DIRECTORY != 0 {
            IsDirectory::Yes
        } else {
            IsDirectory::No
        };
        destination.is_there = Some(is_directory);
    }
    let bytes = Arc::new(AtomicU64::new(0));
    let (directory, content): (String, Box<dyn Read + Send>) = if from == "-" {
        if destination.is_there != Some(IsDirectory::Yes) {
            return Err(Failure::new(format!(
                "destination \"{name}:{path}\" must be a directory"
            )));
        }
        (destination.path.clone(), Box::new(io::stdin()))
    } else {
        let from = keep_ending(absolute(from, &session.folder()), from);
        let (source, real) = local_source(&from, parsed.on("follow-link"))?;
        let arrival = arrive(&source, &destination)?;
        (
            arrival.directory,
            packed(&real, arrival.rename.map(|(_, to)| to))?,
        )
    };
    let content = Counted {
        source: content,
        bytes: Arc::clone(&bytes),
    };
    let ask = Ask::put(&archive)
        .with("path", &directory)
        .with("noOverwriteDirNonDir", "true")
        .with_some("copyUIDGID", parsed.on("archive").then_some("true"));
    let response = session.engine.upload(&ask, Box::new(content))?;
    session.engine.finish(response)?;
    if !quiet {
        session.warn(&summary(&bytes, &format!("{name}:{}", destination.path)));
    }
    Ok(exit::SUCCESS)
}

/// A source here: what it is, and the path at which it is read.
fn local_source(path: &str, follow: bool) -> Result<(Source, String), Failure> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotADirectory => Failure::new("not a directory"),
        _ => Failure::new(format!("lstat {path}: {}", go_reason(&error))),
    };
    // A path that says that it is a directory names what a link points to.
    let metadata = if names_contents(path) || path.ends_with('/') {
        let metadata = std::fs::metadata(path).map_err(failed)?;
        if !metadata.is_dir() {
            return Err(Failure::new("not a directory"));
        }
        metadata
    } else {
        std::fs::symlink_metadata(path).map_err(failed)?
    };
    // A trailing slash asks for what a link points to as `-L` does.
    let named = path.trim_end_matches('/');
    let is_link = || std::fs::symlink_metadata(named).is_ok_and(|m| m.is_symlink());
    if (follow || named.len() < path.len()) && is_link() {
        let real = std::fs::canonicalize(named).map_err(|error| {
            let target = std::fs::read_link(named).unwrap_or_default();
            let target = resolve_link(named, &target.to_string_lossy());
            Failure::new(format!("lstat {target}: {}", go_reason(&error)))
        })?;
        let is_directory = real.is_dir();
        let real = real.to_string_lossy().into_owned();
        let (own, link) = (split(&real).1, split(named).1);
        let renamed = (own != link).then_some(link);
        return Ok((
            Source {
                path: real.clone(),
                is_directory,
                renamed,
            },
            real,
        ));
    }
    let source = Source {
        path: path.to_owned(),
        is_directory: metadata.is_dir(),
        renamed: None,
    };
    Ok((source, path.to_owned()))
}

/// What is at a path, as an archive that a thread packs.
fn packed(path: &str, name: Option<String>) -> Result<Box<dyn Read + Send>, Failure> {
    let (parent, own) = split(path);
    let open = |path: &str| {
        std::fs::File::open(path)
            .map_err(|error| Failure::new(format!("open {path}: {}", go_reason(&error))))
    };
    let options = pack::Options {
        mode: unpack::Mode::Plain,
        limits: Limits::DEFAULT,
    };
    let directory = open(&parent)?;
    let produced = Produced::by(move |out| {
        let failed = |error: &dyn std::error::Error| io::Error::other(chain(error));
        let mut writer = TarWriter::new(out, TimePrecision::Nanoseconds);
        match (own.as_str(), &name) {
            // The root of everything, or what is in a directory that is there.
            ("" | ".", None) => pack::pack_below(&directory, &mut writer, &options)
                .map_err(|error| failed(&error))?,
            ("" | ".", Some(name)) => pack::pack_entry(
                &directory,
                b".",
                Some(name.as_bytes()),
                &mut writer,
                &options,
            )
            .map_err(|error| failed(&error))?,
            (own, name) => {
                let name = name.as_ref().map(String::as_bytes);
                pack::pack_entry(&directory, own.as_bytes(), name, &mut writer, &options)
                    .map_err(|error| failed(&error))?
            }
        };
        writer.finish().map_err(|error| failed(&error))?;
        Ok(())
    });
    produced
        .map(|produced| Box::new(produced) as Box<dyn Read + Send>)
        .map_err(|error| Failure::new(format!("{PROGRAM}: cannot pack {path}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_in_base64() {
        assert_eq!(base64("aGVsbG8=").unwrap(), b"hello");
        assert_eq!(base64("aGVsbG8gd29ybGQ").unwrap(), b"hello world");
        assert_eq!(base64("a\r\n"), None);
    }

    #[test]
    fn links_are_relative_to_where_they_are() {
        assert_eq!(resolve_link("/a/b", "c"), "/a/c");
        assert_eq!(resolve_link("/a/b", "/c"), "/c");
        assert_eq!(resolve_link("/a/b", "../../../c"), "/c");
    }
}
