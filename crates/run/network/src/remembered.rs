//! Which subnets the bridges had, so that they have them again after a
//! restart that found nothing alive.
//!
//! A convenience: a file that is missing or unreadable costs nothing but
//! other addresses, so it is not synced and its errors are only logged.

use std::fs;
use std::io;
use std::path::Path;

use crate::cidr::{Cidr4, Cidr6};

const FILE: &str = "subnets";
/// First line of the file.
const VERSION: &str = "carrack-subnets 1";
/// More than every bridge's line needs.
const MAX_BYTES: u64 = 16 << 10;

/// One bridge's subnets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subnets {
    pub(crate) bridge: String,
    pub(crate) ipv4: Cidr4,
    pub(crate) ipv6: Option<Cidr6>,
}

/// What was noted; nothing where nothing can be read.
pub(crate) fn read(state_dir: &Path) -> Vec<Subnets> {
    let path = state_dir.join(FILE);
    match fs::metadata(&path) {
        Ok(metadata) if metadata.len() <= MAX_BYTES => {}
        _ => return Vec::new(),
    }
    fs::read_to_string(path)
        .map(|text| parse(&text))
        .unwrap_or_default()
}

/// Notes the bridges as they are.
pub(crate) fn write(state_dir: &Path, list: &[Subnets]) -> io::Result<()> {
    fs::create_dir_all(state_dir)?;
    let temporary = state_dir.join(format!("{FILE}.new"));
    fs::write(&temporary, print(list))?;
    fs::rename(temporary, state_dir.join(FILE))
}

fn print(list: &[Subnets]) -> String {
    let mut text = format!("{VERSION}\n");
    for each in list {
        let ipv6 = each
            .ipv6
            .map_or_else(|| "-".to_owned(), |ipv6| ipv6.to_string());
        text.push_str(&format!("{} {} {ipv6}\n", each.bridge, each.ipv4));
    }
    text
}

fn parse(text: &str) -> Vec<Subnets> {
    let mut lines = text.lines();
    if lines.next() != Some(VERSION) {
        return Vec::new();
    }
    lines
        .filter_map(|line| {
            let mut words = line.split(' ');
            let bridge = words.next()?.to_owned();
            let ipv4 = words.next()?.parse().ok()?;
            let ipv6 = match words.next()? {
                "-" => None,
                text => Some(text.parse().ok()?),
            };
            Some(Subnets { bridge, ipv4, ipv6 })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let list = vec![
            Subnets {
                bridge: "carrack0".into(),
                ipv4: "172.30.0.1/16".parse().unwrap(),
                ipv6: "fd00::1/64".parse().ok(),
            },
            Subnets {
                bridge: "carrack0-1".into(),
                ipv4: "172.29.0.1/16".parse().unwrap(),
                ipv6: None,
            },
        ];
        let text = print(&list);
        expect_test::expect![[r#"
            carrack-subnets 1
            carrack0 172.30.0.1/16 fd00::1/64
            carrack0-1 172.29.0.1/16 -
        "#]]
        .assert_eq(&text);
        assert_eq!(parse(&text), list);
        for torn in [
            "",
            "carrack-subnets 2\na 10.0.0.1/8 -\n",
            "\0\0\0",
            "carrack-subnets 1\n\nx\nx y z\n",
        ] {
            assert_eq!(parse(torn), [], "{torn:?}");
        }
        for length in 0..text.len() {
            parse(&text[..length]);
        }
    }
}
