//! `kill`.

use super::Call;
use crate::arguments::{Flag, switch};
use crate::record::{Found, Status};
use crate::{Error, Result, cgroups, processes};

pub(super) const FLAGS: &[Flag] = &[switch(
    &["all", "a"],
    "send it to every process of the container, also when the first one ended",
)];

pub(super) fn kill(call: &Call<'_>) -> Result<u8> {
    let (id, signal) = match call.parsed.rest.as_slice() {
        [id] => (id, libc::SIGTERM),
        [id, signal] => (id, number(signal)?),
        _ => {
            return Err(Error::Usage(
                "\"kill\" requires a container id and at most one signal".to_owned(),
            ));
        }
    };
    let found = Found::new(&call.global.root, id)?;
    if call.parsed.is_set("all") {
        return everywhere(&found, signal).map(|()| 0);
    }
    let status = found.status();
    let record = &found.record;
    let pidfd = processes::open(record.pid, record.began)
        .filter(|_| status != Status::Stopped)
        .ok_or_else(|| Error::State("container not running".to_owned()))?;
    processes::signal(&pidfd, signal)
        .map_err(|errno| Error::file("send a signal to", &record.id, errno.into()))?;
    // A frozen process dies when it goes on.
    if status == Status::Paused && signal == libc::SIGKILL {
        cgroups::open(&record.cgroup)?.thaw()?;
    }
    Ok(0)
}

fn everywhere(found: &Found, signal: i32) -> Result<()> {
    let leaf = cgroups::open(&found.record.cgroup)?;
    if signal == libc::SIGKILL {
        return Ok(leaf.kill_all()?);
    }
    for pid in leaf.processes()? {
        let pid = i32::try_from(pid).unwrap_or(0);
        let pidfd = processes::began(pid).and_then(|began| processes::open(pid, began));
        if let Some(pidfd) = pidfd {
            // It may have ended just now.
            let _ended = processes::signal(&pidfd, signal);
        }
    }
    Ok(())
}

/// A signal by number or by name, with `SIG` before it or not.
fn number(text: &str) -> Result<i32> {
    let unknown = || Error::Usage(format!("unknown signal {text:?}"));
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=64).contains(&number) {
            Ok(number)
        } else {
            Err(unknown())
        };
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let known = SIGNALS.iter().find(|(known, _)| *known == name);
    known.map(|(_, number)| *number).ok_or_else(unknown)
}

const SIGNALS: [(&str, i32); 31] = [
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("STKFLT", libc::SIGSTKFLT),
    ("CHLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_by_name_and_number() {
        for (text, expected) in [
            ("KILL", 9),
            ("SIGKILL", 9),
            ("9", 9),
            ("sigterm", 15),
            ("64", 64),
        ] {
            assert_eq!(number(text).expect(text), expected);
        }
        for text in ["", "0", "65", "-9", "SIGNOPE", "9x"] {
            assert!(number(text).is_err(), "{text}");
        }
    }
}
