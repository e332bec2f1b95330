//! Which subnet a new bridge gets. Pure: what the host uses is handed in.

use std::net::{Ipv4Addr, Ipv6Addr};

use sha2::{Digest, Sha256};

use crate::cidr::{Cidr4, Cidr6};

/// Candidates for a bridge without a configured subnet, in order of
/// preference: what people have least of at home, at work and in clouds
/// first. 172.17 is left to dockerd, which prefers it, until the end.
fn candidates4(prefix: u8) -> impl Iterator<Item = Cidr4> {
    let of = move |address: Ipv4Addr, len: u8| Cidr4::new(address, len.max(prefix));
    let twelve = (18..=30)
        .rev()
        .chain([31, 17])
        .map(move |b| of(Ipv4Addr::new(172, b, 0, 0), 16));
    let ten = (200..=254)
        .rev()
        .map(move |b| of(Ipv4Addr::new(10, b, 0, 0), 16));
    let sixteen = (0..16)
        .rev()
        .map(move |c| of(Ipv4Addr::new(192, 168, c * 16, 0), 20));
    twelve.chain(ten).chain(sixteen).flatten()
}

/// Length of the prefix where nothing says otherwise.
pub(crate) const DEFAULT_PREFIX4: u8 = 16;
/// Length of the prefix of a ULA subnet (RFC 4193, section 3).
pub(crate) const DEFAULT_PREFIX6: u8 = 64;

/// A free private subnet; its prefix is `prefix` or longer where the range
/// itself is smaller. `exactly` allows only that very length, because the
/// rule set masks every bridge's addresses alike.
pub(crate) fn free4(used: &[Cidr4], prefix: u8, exactly: bool) -> Option<Cidr4> {
    candidates4(prefix)
        .filter(|candidate| !exactly || candidate.prefix() == prefix)
        .find(|candidate| used.iter().all(|other| !other.overlaps(*candidate)))
}

/// Subnet identifiers that are tried for one bridge.
const ULA_ATTEMPTS: u16 = 64;

/// A free ULA /64: the global identifier is the machine's, the subnet
/// identifier the bridge's.
///
/// The machine id itself must not be shown (machine-id(5)), so it is hashed
/// with a name of ours.
pub(crate) fn free6(used: &[Cidr6], machine: &[u8], bridge: &str, prefix: u8) -> Option<Cidr6> {
    let global = Sha256::new_with_prefix(b"carrack ULA global id\0")
        .chain_update(machine)
        .finalize();
    let subnet = Sha256::new_with_prefix(b"carrack ULA subnet id\0")
        .chain_update(machine)
        .chain_update(bridge.as_bytes())
        .finalize();
    let first = u16::from_be_bytes([subnet[0], subnet[1]]);
    (0..ULA_ATTEMPTS)
        .filter_map(|attempt| {
            let subnet = first.wrapping_add(attempt).to_be_bytes();
            let mut bytes = [0; 16];
            bytes[0] = 0xfd;
            bytes[1..6].copy_from_slice(&global[..5]);
            bytes[6..8].copy_from_slice(&subnet);
            Cidr6::new(Ipv6Addr::from(bytes), prefix.max(DEFAULT_PREFIX6))
        })
        .find(|candidate| used.iter().all(|other| !other.overlaps(*candidate)))
}

/// The bridge's own address: the one given, or the first where only a network
/// was.
pub(crate) fn gateway4(cidr: Cidr4) -> Cidr4 {
    if cidr.address() != cidr.network() {
        return cidr;
    }
    cidr.nth(1)
        .and_then(|address| Cidr4::new(address, cidr.prefix()))
        .unwrap_or(cidr)
}

/// The same for IPv6.
pub(crate) fn gateway6(cidr: Cidr6) -> Cidr6 {
    if cidr.address() != cidr.network() {
        return cidr;
    }
    cidr.nth(1)
        .and_then(|address| Cidr6::new(address, cidr.prefix()))
        .unwrap_or(cidr)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidrs(list: &[&str]) -> Vec<Cidr4> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn check(used: &[&str], prefix: u8, exactly: bool, expected: Option<&str>) {
        let found = free4(&cidrs(used), prefix, exactly).map(|cidr| cidr.to_string());
        assert_eq!(found.as_deref(), expected, "{used:?}");
    }

    #[test]
    fn free_subnets() {
        check(&[], 16, false, Some("172.30.0.0/16"));
        check(&["172.30.5.1/32"], 16, false, Some("172.29.0.0/16"));
        check(&["172.16.0.0/12"], 16, false, Some("10.254.0.0/16"));
        check(
            &["172.16.0.0/12", "10.0.0.0/8"],
            16,
            false,
            Some("192.168.240.0/20"),
        );
        check(&["172.16.0.0/12", "10.0.0.0/8"], 16, true, None);
        check(
            &["172.16.0.0/12", "10.0.0.0/8"],
            24,
            true,
            Some("192.168.240.0/24"),
        );
        check(
            &["172.16.0.0/12", "10.0.0.0/8", "192.168.0.0/16"],
            16,
            false,
            None,
        );
    }

    #[test]
    fn unique_local_subnets() {
        let first = free6(&[], b"machine", "carrack0", 64).unwrap();
        assert!(first.to_string().starts_with("fd"), "{first}");
        assert_eq!(
            free6(&[], b"machine", "carrack0", 64),
            Some(first),
            "the same every time"
        );
        let second = free6(&[], b"machine", "carrack0-1", 64).unwrap();
        assert_eq!(
            first.address().octets()[..6],
            second.address().octets()[..6]
        );
        assert_ne!(first, second);
        assert_ne!(free6(&[], b"other", "carrack0", 64), Some(first));
        let next = free6(&[first], b"machine", "carrack0", 64).unwrap();
        assert!(!next.overlaps(first));
        assert_eq!(
            free6(&["fc00::/7".parse().unwrap()], b"machine", "carrack0", 64),
            None
        );
    }

    #[test]
    fn gateways() {
        assert_eq!(
            gateway4("10.1.0.0/16".parse().unwrap()).to_string(),
            "10.1.0.1/16"
        );
        assert_eq!(
            gateway4("10.1.0.9/16".parse().unwrap()).to_string(),
            "10.1.0.9/16"
        );
        assert_eq!(
            gateway6("fd00::/64".parse().unwrap()).to_string(),
            "fd00::1/64"
        );
    }
}
