//! Addresses with a prefix length.
//!
//! Plain values: the address keeps its host part, so that one value says
//! both "this bridge's address" and "this network".

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An IPv4 address and the length of its network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr4 {
    address: Ipv4Addr,
    prefix: u8,
}

/// An IPv6 address and the length of its network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr6 {
    address: Ipv6Addr,
    prefix: u8,
}

/// Text that is no CIDR of the family asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid CIDR address: {0}")]
pub struct InvalidCidr(String);

macro_rules! cidr {
    ($name:ident, $address:ty, $bits:ty, $width:expr) => {
        impl $name {
            /// `None` where the prefix is longer than the address.
            pub const fn new(address: $address, prefix: u8) -> Option<Self> {
                if prefix > $width {
                    None
                } else {
                    Some(Self { address, prefix })
                }
            }

            /// The address, its host part included.
            pub const fn address(self) -> $address {
                self.address
            }

            /// Length of the prefix in bits.
            pub const fn prefix(self) -> u8 {
                self.prefix
            }

            /// The mask with `prefix` leading ones.
            pub fn mask(self) -> $address {
                <$address>::from_bits(
                    <$bits>::MAX
                        .checked_shl(u32::from($width - self.prefix))
                        .unwrap_or_default(),
                )
            }

            /// The network: the address without its host part.
            pub fn network(self) -> $address {
                <$address>::from_bits(self.address.to_bits() & self.mask().to_bits())
            }

            /// The network with its prefix.
            pub fn subnet(self) -> Self {
                Self {
                    address: self.network(),
                    prefix: self.prefix,
                }
            }

            /// The address at `offset` in the network, `None` outside of it.
            pub fn nth(self, offset: u32) -> Option<$address> {
                let host_bits = !self.mask().to_bits();
                let offset = <$bits>::from(offset);
                (offset <= host_bits)
                    .then(|| <$address>::from_bits(self.network().to_bits() | offset))
            }

            /// Where `address` stands in the network; `None` outside, or past `u32`.
            pub fn offset_of(self, address: $address) -> Option<u32> {
                let offset = address.to_bits().checked_sub(self.network().to_bits())?;
                (offset <= !self.mask().to_bits()).then(|| u32::try_from(offset).ok())?
            }

            /// Whether `address` lies in the network.
            pub fn contains(self, address: $address) -> bool {
                address.to_bits() & self.mask().to_bits() == self.network().to_bits()
            }

            /// Whether the two networks share an address.
            pub fn overlaps(self, other: Self) -> bool {
                self.contains(other.network()) || other.contains(self.network())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}/{}", self.address, self.prefix)
            }
        }

        impl FromStr for $name {
            type Err = InvalidCidr;

            fn from_str(text: &str) -> Result<Self, InvalidCidr> {
                let invalid = || InvalidCidr(text.chars().take(64).collect());
                let (address, prefix) = text.split_once('/').ok_or_else(invalid)?;
                if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(invalid());
                }
                let address = address.parse().map_err(|_| invalid())?;
                let prefix = prefix.parse().map_err(|_| invalid())?;
                Self::new(address, prefix).ok_or_else(invalid)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidCidr;

            fn try_from(text: String) -> Result<Self, InvalidCidr> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(cidr: $name) -> Self {
                cidr.to_string()
            }
        }
    };
}

cidr!(Cidr4, Ipv4Addr, u32, 32);
cidr!(Cidr6, Ipv6Addr, u128, 128);

/// Bytes of an address as the kernel takes them.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_and_offsets() {
        let cidr: Cidr4 = "172.30.0.1/16".parse().unwrap();
        assert_eq!(cidr.network(), Ipv4Addr::new(172, 30, 0, 0));
        assert_eq!(cidr.mask(), Ipv4Addr::new(255, 255, 0, 0));
        assert_eq!(cidr.nth(258), Some(Ipv4Addr::new(172, 30, 1, 2)));
        assert_eq!(cidr.nth(65536), None);
        assert_eq!(cidr.offset_of(Ipv4Addr::new(172, 30, 1, 2)), Some(258));
        assert_eq!(cidr.offset_of(Ipv4Addr::new(172, 31, 0, 0)), None);
        assert_eq!(cidr.offset_of(Ipv4Addr::new(10, 0, 0, 0)), None);
        let all: Cidr4 = "0.0.0.0/0".parse().unwrap();
        assert_eq!(all.mask(), Ipv4Addr::UNSPECIFIED);
        assert!(all.overlaps(cidr) && cidr.overlaps(all));
        assert!(!cidr.overlaps("172.31.0.0/16".parse().unwrap()));
        let six: Cidr6 = "fd00::1/64".parse().unwrap();
        assert_eq!(six.nth(0xffff), Some("fd00::ffff".parse().unwrap()));
        assert_eq!(six.offset_of("fd00::1:0:0".parse().unwrap()), None);
        assert_eq!(six.to_string(), "fd00::1/64");
    }

    #[test]
    fn hostile_text_is_refused() {
        for text in [
            "",
            "/",
            "1.2.3.4",
            "1.2.3.4/33",
            "1.2.3.4/-1",
            "1.2.3.4/+8",
            "1.2.3/8",
            "::1/64",
            "1.2.3.4/8/8",
            "1.2.3.4/256",
            " 1.2.3.4/8",
            "1.2.3.4/8 ",
        ] {
            assert!(text.parse::<Cidr4>().is_err(), "{text:?}");
        }
        assert!("::1/129".parse::<Cidr6>().is_err());
        assert!("1.2.3.4/8".parse::<Cidr6>().is_err());
        let long = format!("{}/8", "x".repeat(10_000));
        assert!(long.parse::<Cidr4>().unwrap_err().to_string().len() < 100);
    }
}
