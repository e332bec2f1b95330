//! Names of signals, `signal(7)`.

const NAMES: [(&str, i32); 34] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
];
/// First and last signal that a C library leaves to programs.
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;

/// A signal by number or name, with or without `SIG`, in any case.
pub fn parse(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse() {
        return (1..=64).contains(&number).then_some(number);
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    if let Some((_, number)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Some(*number);
    }
    let number = match name.strip_prefix("RTM")? {
        "IN" => *REAL_TIME.start(),
        "AX" => *REAL_TIME.end(),
        rest => match (rest.strip_prefix("IN+"), rest.strip_prefix("AX-")) {
            (Some(above), _) => REAL_TIME.start().checked_add(above.parse().ok()?)?,
            (_, Some(below)) => REAL_TIME.end().checked_sub(below.parse().ok()?)?,
            _ => return None,
        },
    };
    REAL_TIME.contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        let check = |text: &str, number| assert_eq!(parse(text), number, "{text}");
        check("TERM", Some(15));
        check("SIGTERM", Some(15));
        check("sigkill", Some(9));
        check("9", Some(9));
        check("RTMIN", Some(34));
        check("SIGRTMIN+3", Some(37));
        check("RTMAX-1", Some(63));
        for bad in [
            "", "0", "65", "-9", "FOO", "SIG", "RTMIN+31", "RTMIN-1", "RTMAX--1", "9x",
        ] {
            check(bad, None);
        }
    }
}
