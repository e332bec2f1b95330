//! Standard streams: pipes from the supervisor, or a pseudo-terminal made in
//! the container's own devpts so that `tty` has a name for it.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, OFlags};
use rustix::mount::OpenTreeFlags;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use super::inside::{self, Links, Missing, Root};
use super::{Report, Tried, protect};
use crate::plan::{Failure, ProcessPlan, TerminalSize};

/// `DEVPTS_SUPER_MAGIC` of `<linux/magic.h>`.
const DEVPTS_MAGIC: i64 = 0x1cd1;

/// A pseudo-terminal.
struct Console {
    /// The supervisor's side.
    master: OwnedFd,
    /// The program's side.
    slave: OwnedFd,
}

/// Whose terminal it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The container's: also shown as `/dev/console`.
    Container,
    /// An exec's.
    Exec,
}

/// Gives the session its streams. Descriptors 0 to 2 are the supervisor's
/// pipes already; a terminal replaces them.
pub(super) fn set_up(
    root: &Root,
    plan: &ProcessPlan,
    report: &mut dyn Report,
    place: Place,
) -> Result<(), Failure> {
    if let Some(size) = plan.terminal {
        let console = open_console(root, size)?;
        if place == Place::Container {
            show_console(root, &console.slave)?;
        }
        rustix::process::ioctl_tiocsctty(&console.slave)
            .tried(|| "make the terminal the controlling one".to_owned())?;
        report.console(console.master)?;
        rustix::stdio::dup2_stdin(&console.slave).tried(|| "set standard input".to_owned())?;
        rustix::stdio::dup2_stdout(&console.slave).tried(|| "set standard output".to_owned())?;
        rustix::stdio::dup2_stderr(&console.slave).tried(|| "set standard error".to_owned())?;
    } else if plan.null_stdin
        && let Ok(null) = root.open("/dev/null", OFlags::RDWR | OFlags::NOCTTY, Links::Refuse)
        && protect::is_null(&null).is_ok_and(|genuine| genuine)
    {
        // Without a null device the pipe stays, whose other end is closed.
        rustix::stdio::dup2_stdin(&null).tried(|| "set standard input".to_owned())?;
    }
    Ok(())
}

/// Opens a terminal in the devpts of this mount namespace. The multiplexer
/// must be what it says: an image could put a link there (CVE-2025-52565).
fn open_console(root: &Root, size: TerminalSize) -> Result<Console, Failure> {
    let action = || "open a terminal in /dev/pts".to_owned();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK;
    let master = root
        .open("/dev/pts/ptmx", flags, Links::Refuse)
        .tried(action)?;
    let status = rustix::fs::fstat(&master).tried(action)?;
    let system = rustix::fs::fstatfs(&master).tried(action)?;
    let genuine = FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice
        && status.st_rdev == rustix::fs::makedev(5, 2)
        && system.f_type == DEVPTS_MAGIC;
    if !genuine {
        return Err(Failure::other(
            "/dev/pts/ptmx is not a pseudo-terminal multiplexer",
        ));
    }
    rustix::pty::unlockpt(&master).tried(action)?;
    let slave = rustix::pty::ioctl_tiocgptpeer(
        &master,
        OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
    )
    .tried(action)?;
    if size.rows != 0 || size.columns != 0 {
        let size = Winsize {
            ws_row: size.rows,
            ws_col: size.columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(&slave, size)
            .tried(|| "set the terminal's size".to_owned())?;
    }
    Ok(Console { master, slave })
}

/// Shows the terminal at `/dev/console`, a file of its own: where an image
/// has a link there, its target stays uncovered.
fn show_console(root: &Root, slave: &OwnedFd) -> Result<(), Failure> {
    let action = || "mount the terminal at /dev/console".to_owned();
    let tree = rustix::mount::open_tree(
        slave,
        "",
        OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH,
    )
    .tried(action)?;
    root.place_for_mount("/dev/console", Missing::File)?;
    let place = root
        .open("/dev/console", OFlags::PATH, Links::Refuse)
        .tried(action)?;
    inside::attach(tree.as_fd(), place).tried(action)
}
