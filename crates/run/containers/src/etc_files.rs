//! `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` of a container.
//!
//! They are written into the container's directory at each start and bound
//! over the image's, as Docker does.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;

use carrack_network::Endpoint;

use crate::{Error, NetworkMode, NetworkRequest, Result};

/// Name servers of a container whose host has none that it could reach:
/// Docker's choice.
const FALLBACK_SERVERS: [&str; 2] = ["8.8.8.8", "8.8.4.4"];
/// Largest `/etc/resolv.conf` or `/etc/hosts` of the host that is read.
const MAX_HOST_FILE_BYTES: u64 = 1 << 20;

/// Target inside and file name in the container's directory.
pub(crate) const FILES: [(&str, &str); 3] = [
    ("/etc/resolv.conf", "resolv.conf"),
    ("/etc/hostname", "hostname"),
    ("/etc/hosts", "hosts"),
];

/// Writes all three.
pub(crate) fn write_all(
    directory: &Path,
    (hostname, domainname): (&str, &str),
    mode: &NetworkMode,
    request: &NetworkRequest,
    endpoint: Option<&Endpoint>,
) -> Result<()> {
    let host_network = *mode == NetworkMode::Host;
    let host_hosts = if host_network {
        read_bounded("/etc/hosts")
    } else {
        String::new()
    };
    let resolv = resolv_conf(&read_bounded("/etc/resolv.conf"), host_network, request);
    let hosts = hosts(&host_hosts, (hostname, domainname), request, endpoint);
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        std::fs::write(&path, text).map_err(|source| Error::file("write", &path, source))
    };
    write("hosts", &hosts)?;
    write("hostname", &format!("{hostname}\n"))?;
    write("resolv.conf", &resolv)
}

/// A file of the host; one that is missing counts as empty.
fn read_bounded(path: &str) -> String {
    use std::io::Read;
    let mut text = Vec::new();
    let _missing_is_empty = std::fs::File::open(path)
        .and_then(|file| file.take(MAX_HOST_FILE_BYTES).read_to_end(&mut text));
    String::from_utf8_lossy(&text).into_owned()
}

fn hosts(
    host_file: &str,
    (hostname, domainname): (&str, &str),
    request: &NetworkRequest,
    endpoint: Option<&Endpoint>,
) -> String {
    let mut text = if host_file.is_empty() {
        "127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::\tip6-localnet\n\
         ff00::\tip6-mcastprefix\n\
         ff02::1\tip6-allnodes\n\
         ff02::2\tip6-allrouters\n"
            .to_owned()
    } else {
        host_file.to_owned()
    };
    let gateway = endpoint.map(|e| e.gateway4.to_string());
    for (address, names) in &request.extra_hosts {
        let address = match (address.as_str(), &gateway) {
            ("host-gateway", Some(gateway)) => gateway.as_str(),
            (address, _) => address,
        };
        // Writing to memory does not fail.
        let _infallible = writeln!(text, "{address}\t{names}");
    }
    if let Some(endpoint) = endpoint {
        let names = if domainname.is_empty() {
            hostname.to_owned()
        } else {
            format!("{hostname}.{domainname} {hostname}")
        };
        let _infallible = writeln!(text, "{}\t{names}", endpoint.ipv4.address());
        if let Some(ipv6) = endpoint.ipv6 {
            let _infallible = writeln!(text, "{}\t{names}", ipv6.address.address());
        }
    }
    text
}

fn resolv_conf(host_file: &str, host_network: bool, request: &NetworkRequest) -> String {
    let own = !request.dns_servers.is_empty()
        || !request.dns_search.is_empty()
        || !request.dns_options.is_empty();
    if host_network && !own {
        return host_file.to_owned();
    }
    let lines = |keyword: &str| -> Vec<String> {
        host_file
            .lines()
            .filter_map(|line| line.trim().strip_prefix(keyword))
            .filter(|rest| rest.starts_with([' ', '\t']))
            .flat_map(str::split_whitespace)
            .map(str::to_owned)
            .collect()
    };
    let servers: Vec<String> = if request.dns_servers.is_empty() {
        let mut servers = lines("nameserver");
        if !host_network {
            // The host's loopback is not the container's.
            servers.retain(|s| s.parse::<IpAddr>().is_ok_and(|ip| !ip.is_loopback()));
        }
        if servers.is_empty() {
            FALLBACK_SERVERS.iter().map(|s| (*s).to_owned()).collect()
        } else {
            servers
        }
    } else {
        request.dns_servers.iter().map(IpAddr::to_string).collect()
    };
    let choose = |wanted: &[String], keyword| {
        if wanted.is_empty() {
            lines(keyword)
        } else {
            wanted.to_vec()
        }
    };
    let search = choose(&request.dns_search, "search");
    let options = choose(&request.dns_options, "options");
    let mut text = String::new();
    for server in servers {
        let _infallible = writeln!(text, "nameserver {server}");
    }
    // Docker's way to say "no search domain".
    if !search.is_empty() && search != ["."] {
        let _infallible = writeln!(text, "search {}", search.join(" "));
    }
    if !options.is_empty() {
        let _infallible = writeln!(text, "options {}", options.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &str, host_network: bool, request: &NetworkRequest, expected: &str) {
        assert_eq!(resolv_conf(host, host_network, request), expected);
    }

    #[test]
    fn resolv_conf_follows_docker() {
        let none = NetworkRequest::default();
        check(
            "nameserver 10.0.0.1\nsearch a b\n",
            false,
            &none,
            "nameserver 10.0.0.1\nsearch a b\n",
        );
        check(
            "nameserver 127.0.0.53\n",
            false,
            &none,
            "nameserver 8.8.8.8\nnameserver 8.8.4.4\n",
        );
        check(
            "nameserver 127.0.0.53\n",
            true,
            &none,
            "nameserver 127.0.0.53\n",
        );
        let own = NetworkRequest {
            dns_servers: vec!["1.1.1.1".parse().expect("address")],
            dns_search: vec![".".to_owned()],
            dns_options: vec!["ndots:2".to_owned()],
            ..NetworkRequest::default()
        };
        check(
            "nameserver 10.0.0.1\nsearch a\n",
            false,
            &own,
            "nameserver 1.1.1.1\noptions ndots:2\n",
        );
    }

    #[test]
    fn hosts_has_loopback_and_extra_names() {
        let request = NetworkRequest {
            extra_hosts: vec![("10.1.2.3".to_owned(), "db".to_owned())],
            ..NetworkRequest::default()
        };
        let text = hosts("", ("web", ""), &request, None);
        assert!(text.starts_with("127.0.0.1\tlocalhost\n"));
        assert!(text.ends_with("10.1.2.3\tdb\n"));
    }
}
