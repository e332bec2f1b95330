//! What a daemon says about its network, and what is checked of it.

use std::path::PathBuf;

use crate::cidr::{Cidr4, Cidr6};
use crate::error::NetworkError;

/// The kernel's `IFNAMSIZ` without the NUL.
const INTERFACE_NAME_BYTES: usize = 15;
/// `NFT_NAME_MAXLEN` is 256; ours stays readable.
const TABLE_NAME_BYTES: usize = 64;
/// Bits that must be left for hosts: a bridge, a container, network and broadcast.
const MIN_HOST_BITS: u8 = 2;
/// An IPv6 subnet must hold every offset that the IPv4 one has.
const MAX_PREFIX6: u8 = 112;

/// One daemon's default network; everything in the kernel that belongs to it
/// is named after `bridge` and `table`, so that daemons live side by side.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// Name of the first bridge, at most 15 bytes. Successors are called
    /// `<bridge>-1`, `<bridge>-2`, …
    pub bridge: String,
    /// Name of the nftables table (family `inet`).
    pub table: String,
    /// The first bridge's address and network; a free private /16 without it.
    pub bip: Option<Cidr4>,
    /// The same for IPv6; a ULA /64 of this machine without it.
    pub ipv6: Option<Cidr6>,
    /// Where the chosen subnets are noted, so that they are the same after a
    /// restart that found nothing alive.
    pub state_dir: PathBuf,
    /// MTU of bridges and containers; without it the default route's, at most 1500.
    pub mtu: Option<u32>,
    /// What to do about another engine's firewall.
    pub docker_user: DockerUser,
}

/// Whether the accept rules in iptables' `DOCKER-USER` are ours to keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DockerUser {
    /// Put them there while the daemon runs.
    #[default]
    Accept,
    /// Leave the chain alone.
    LeaveAlone,
}

impl NetworkConfig {
    /// Checks what can be checked without the kernel.
    pub(crate) fn validate(&self) -> Result<(), NetworkError> {
        validate_interface_name(&self.bridge)?;
        validate_table_name(&self.table)?;
        if let Some(bip) = self.bip {
            let invalid = |reason| NetworkError::InvalidSubnet {
                subnet: bip.to_string(),
                reason,
            };
            if bip.prefix() > 32 - MIN_HOST_BITS || bip.prefix() < 8 {
                return Err(invalid("the prefix must be between 8 and 30 bits long"));
            }
            let address = bip.address();
            if address.is_loopback()
                || address.is_multicast()
                || address.is_link_local()
                || address.is_unspecified()
                || address.is_broadcast()
            {
                return Err(invalid(
                    "it must be of unicast addresses that can be routed",
                ));
            }
            if address.to_bits() == bip.network().to_bits() | !bip.mask().to_bits() {
                return Err(invalid("the bridge cannot have the broadcast address"));
            }
        }
        if let Some(ipv6) = self.ipv6 {
            let invalid = |reason| NetworkError::InvalidSubnet {
                subnet: ipv6.to_string(),
                reason,
            };
            if ipv6.prefix() > MAX_PREFIX6 || ipv6.prefix() < 16 {
                return Err(invalid("the prefix must be between 16 and 112 bits long"));
            }
            let address = ipv6.address();
            if address.is_loopback() || address.is_multicast() || address.is_unicast_link_local() {
                return Err(invalid(
                    "it must be of unicast addresses that can be routed",
                ));
            }
        }
        Ok(())
    }
}

/// The name of the bridge with that number; the first has the plain name.
pub(crate) fn bridge_name(base: &str, number: usize) -> String {
    if number == 0 {
        return base.to_owned();
    }
    let suffix = format!("-{number}");
    // Names are ASCII, as validated: cutting a byte cuts a character.
    let kept = base.len().min(INTERFACE_NAME_BYTES - suffix.len());
    format!("{}{suffix}", &base[..kept])
}

fn validate_interface_name(name: &str) -> Result<(), NetworkError> {
    let good = !name.is_empty()
        && name.len() <= INTERFACE_NAME_BYTES
        && !matches!(name, "." | ".." | "all" | "default" | "lo")
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if good {
        Ok(())
    } else {
        Err(NetworkError::InvalidName {
            name: name.chars().take(64).collect(),
            reason: "a bridge's name is 1 to 15 letters, digits, '-', '_' and '.'",
        })
    }
}

fn validate_table_name(name: &str) -> Result<(), NetworkError> {
    let good = name.len() <= TABLE_NAME_BYTES
        && name.as_bytes().first().is_some_and(u8::is_ascii_alphabetic)
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if good {
        Ok(())
    } else {
        Err(NetworkError::InvalidName {
            name: name.chars().take(64).collect(),
            reason: "a table's name is a letter and up to 63 letters, digits, '-', '_' and '.'",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(bridge: &str, bip: Option<&str>, ipv6: Option<&str>) -> NetworkConfig {
        NetworkConfig {
            bridge: bridge.into(),
            table: "carrack".into(),
            bip: bip.map(|text| text.parse().unwrap()),
            ipv6: ipv6.map(|text| text.parse().unwrap()),
            state_dir: PathBuf::new(),
            mtu: None,
            docker_user: DockerUser::LeaveAlone,
        }
    }

    #[test]
    fn names() {
        for name in ["carrack0", "a", "br-0123456789ab"] {
            assert!(config(name, None, None).validate().is_ok(), "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            "all",
            "default",
            "lo",
            "a/b",
            "../x",
            "a b",
            "sixteen-bytes-xx",
            "ä",
            "a\0",
            "a%d",
        ] {
            assert!(config(name, None, None).validate().is_err(), "{name}");
        }
        assert_eq!(bridge_name("carrack0", 0), "carrack0");
        assert_eq!(bridge_name("carrack0", 1), "carrack0-1");
        assert_eq!(bridge_name("br-0123456789ab", 12), "br-012345678-12");
    }

    #[test]
    fn subnets() {
        for bip in ["10.1.0.1/16", "10.1.0.0/30", "192.168.4.254/24"] {
            assert!(config("a", Some(bip), None).validate().is_ok(), "{bip}");
        }
        for bip in [
            "10.1.0.1/31",
            "127.0.0.1/8",
            "224.0.0.1/16",
            "169.254.0.1/16",
            "10.0.0.1/7",
            "0.0.0.0/8",
            "10.1.255.255/16",
        ] {
            assert!(config("a", Some(bip), None).validate().is_err(), "{bip}");
        }
        for ipv6 in [
            "fe80::1/64",
            "ff02::1/64",
            "fd00::1/113",
            "::1/64",
            "fd00::/8",
        ] {
            assert!(config("a", None, Some(ipv6)).validate().is_err(), "{ipv6}");
        }
    }
}
