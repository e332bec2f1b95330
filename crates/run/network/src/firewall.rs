//! Living beside another engine's firewall.
//!
//! A packet is forwarded only when every forward chain of the host lets it
//! pass, so an accept in our table does not help against a `DROP` policy in
//! iptables' `FORWARD`. dockerd sets that policy and leaves the chain
//! `DOCKER-USER` to the administrator: our accept rules go there, marked with
//! a comment, and leave when the daemon stops. They let pass what our own
//! table decides about, and nothing that dockerd guards: traffic from our
//! bridges to its bridges is left to its rules.
//!
//! The only place that forks: `iptables`, at open, at close and when a bridge
//! is added, and only where such a chain exists.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::process::{Command, Output, Stdio};

use crate::netlink::{NetlinkError, Socket};
use crate::nft;

const CHAIN: &str = "DOCKER-USER";
/// How long iptables waits for its lock, in seconds.
const LOCK_WAIT_S: &str = "5";
const PATH: &str = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin:/usr/local/bin";
/// dockerd's default bridge; its other bridges are `br-` and 12 hexadecimal digits.
const DOCKER_BRIDGE: &str = "docker0";

/// What iptables stores its rules in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backend {
    Nft,
    Legacy,
}

/// One family's tools and names.
#[derive(Clone, Copy, Debug)]
struct Family {
    tool: &'static str,
    nft: u8,
    nft_name: &'static str,
    /// The thread's, not the process's: they differ where a thread moved.
    legacy_tables: &'static str,
}

const IPV4: Family = Family {
    tool: "iptables",
    nft: 2,
    nft_name: "ip",
    legacy_tables: "/proc/thread-self/net/ip_tables_names",
};
const IPV6: Family = Family {
    tool: "ip6tables",
    nft: 10,
    nft_name: "ip6",
    legacy_tables: "/proc/thread-self/net/ip6_tables_names",
};

/// What must be in the chain: nothing, at close.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// Marks our rules among others' and other daemons'.
    pub(crate) mark: &'a str,
    /// Our bridges.
    pub(crate) bridges: &'a [String],
    /// dockerd's bridges, as they are now.
    pub(crate) foreign: &'a [String],
}

/// Whether a link's name is one that dockerd gives to a bridge.
pub(crate) fn is_docker_bridge(name: &str) -> bool {
    name == DOCKER_BRIDGE
        || name.strip_prefix("br-").is_some_and(|rest| {
            rest.len() == 12 && rest.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
}

/// Makes the chains hold exactly what is wanted; what stays in the way is
/// said in sentences for the user.
pub(crate) fn synchronise(socket: &mut Socket, wanted: Wanted<'_>, ipv6: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    let families: &[Family] = if ipv6 { &[IPV4, IPV6] } else { &[IPV4] };
    let mut opened = Vec::new();
    for family in families {
        match find_chain(socket, family) {
            Ok(Some(backend)) => match write_rules(backend, family, wanted) {
                Ok(()) => opened.push((family.nft, backend)),
                Err(error) => warnings.push(format!(
                    "cannot write {} rules into chain {CHAIN}: {error}",
                    family.tool
                )),
            },
            Ok(None) => {
                if let Some(warning) = legacy_in_the_way(family, wanted) {
                    warnings.push(warning);
                }
            }
            Err(error) => warnings.push(format!("cannot look for chain {CHAIN}: {error}")),
        }
    }
    match nft::forward_chains(socket) {
        Ok(chains) => warnings.extend(
            chains
                .iter()
                .filter(|chain| !is_opened(chain, &opened))
                .map(|chain| nft_in_the_way(chain, wanted)),
        ),
        Err(error) => warnings.push(format!("cannot list the host's forward chains: {error}")),
    }
    if wanted.bridges.is_empty() {
        Vec::new()
    } else {
        warnings
    }
}

fn is_opened(chain: &nft::ForwardChain, opened: &[(u8, Backend)]) -> bool {
    chain.table == "filter"
        && chain.chain == "FORWARD"
        && opened.contains(&(chain.family, Backend::Nft))
}

fn find_chain(socket: &mut Socket, family: &Family) -> Result<Option<Backend>, NetlinkError> {
    if nft::has_chain(socket, family.nft, "filter", CHAIN)? {
        return Ok(Some(Backend::Nft));
    }
    // Asking the legacy tool would load its tables: only where they are.
    let has_tables = fs::read_to_string(family.legacy_tables)
        .is_ok_and(|names| names.lines().any(|name| name == "filter"));
    let found = has_tables && list(Backend::Legacy, family, CHAIN).is_ok();
    Ok(found.then_some(Backend::Legacy))
}

fn write_rules(backend: Backend, family: &Family, wanted: Wanted<'_>) -> io::Result<()> {
    let listing = list(backend, family, CHAIN)?;
    let Some(script) = script(&listing, wanted) else {
        return Ok(());
    };
    let tool = format!("{}-restore", family.tool);
    let arguments = ["--noflush", "-w", LOCK_WAIT_S];
    succeed(run(&names(backend, family, &tool), arguments, &script)?).map(|_| ())
}

/// The restore script that turns `listing` (`iptables -S DOCKER-USER`) into
/// what is wanted; `None` where it is so already.
fn script(listing: &str, wanted: Wanted<'_>) -> Option<String> {
    let mark = format!("--comment \"{}\"", wanted.mark);
    // iptables quotes a comment only where it must.
    let plain = format!("--comment {} ", wanted.mark);
    let present: Vec<&str> = listing
        .lines()
        .filter_map(|line| line.strip_prefix("-A "))
        .filter(|line| line.contains(&mark) || line.contains(&plain))
        .collect();
    let rules = rules(wanted);
    let unquoted = |line: &str| line.replace('"', "");
    if present
        .iter()
        .map(|line| unquoted(line))
        .eq(rules.iter().map(|line| unquoted(line)))
    {
        return None;
    }
    let mut script = String::from("*filter\n");
    for line in present {
        script.push_str(&format!("-D {line}\n"));
    }
    for (at, rule) in rules.iter().enumerate() {
        let rule = rule.trim_start_matches(CHAIN);
        script.push_str(&format!("-I {CHAIN} {}{rule}\n", at + 1));
    }
    script.push_str("COMMIT\n");
    Some(script)
}

/// Our rules in the order and words in which iptables lists them.
fn rules(wanted: Wanted<'_>) -> Vec<String> {
    let mark = format!("-m comment --comment \"{}\"", wanted.mark);
    let mut rules = Vec::new();
    for bridge in wanted.bridges {
        for foreign in wanted.foreign {
            rules.push(format!("{CHAIN} -i {bridge} -o {foreign} {mark} -j RETURN"));
        }
        rules.push(format!("{CHAIN} -i {bridge} {mark} -j ACCEPT"));
        rules.push(format!("{CHAIN} -o {bridge} {mark} -j ACCEPT"));
    }
    rules
}

fn legacy_in_the_way(family: &Family, wanted: Wanted<'_>) -> Option<String> {
    let has_tables = fs::read_to_string(family.legacy_tables)
        .is_ok_and(|names| names.lines().any(|name| name == "filter"));
    let listing = has_tables
        .then(|| list(Backend::Legacy, family, "FORWARD"))?
        .ok()?;
    let drops = listing.lines().any(|line| line == "-P FORWARD DROP");
    let bridge = wanted.bridges.first()?;
    drops.then(|| {
        let tool = format!("{}-legacy", family.tool);
        format!(
            "{tool}: policy of chain FORWARD is DROP and there is no chain {CHAIN}: containers on \
             {bridge} reach nothing outside, and their published ports are closed to other hosts; \
             {}",
            hint(&tool, bridge)
        )
    })
}

fn nft_in_the_way(chain: &nft::ForwardChain, wanted: Wanted<'_>) -> String {
    let bridge = wanted.bridges.first().map_or("the bridge", String::as_str);
    let family = match chain.family {
        1 => "inet",
        family if family == IPV4.nft => IPV4.nft_name,
        family if family == IPV6.nft => IPV6.nft_name,
        _ => "other",
    };
    let is_iptables = chain.table == "filter" && chain.chain == "FORWARD";
    let remedy = if is_iptables && family != "inet" {
        hint(
            if family == "ip" {
                "iptables"
            } else {
                "ip6tables"
            },
            bridge,
        )
    } else {
        let (table, name) = (&chain.table, &chain.chain);
        format!(
            "hint: nft insert rule {family} {table} {name} iifname {bridge} accept; \
             nft insert rule {family} {table} {name} oifname {bridge} accept"
        )
    };
    let without = if is_iptables {
        format!(" and there is no chain {CHAIN}")
    } else {
        String::new()
    };
    format!(
        "nftables: policy of chain {family} {} {} is drop{without}: containers on {bridge} reach \
         nothing outside, and their published ports are closed to other hosts; {remedy}",
        chain.table, chain.chain
    )
}

fn hint(tool: &str, bridge: &str) -> String {
    format!(
        "hint: {tool} -I FORWARD -i {bridge} -j ACCEPT; {tool} -I FORWARD -o {bridge} -j ACCEPT"
    )
}

fn list(backend: Backend, family: &Family, chain: &str) -> io::Result<String> {
    let names = names(backend, family, family.tool);
    let output = succeed(run(&names, ["-w", LOCK_WAIT_S, "-S", chain], "")?)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The names under which a backend's tool may be installed, best first.
fn names(backend: Backend, family: &Family, tool: &str) -> [String; 2] {
    let backend = match backend {
        Backend::Nft => "nft",
        Backend::Legacy => "legacy",
    };
    [
        tool.replacen(family.tool, &format!("{}-{backend}", family.tool), 1),
        tool.to_owned(),
    ]
}

fn run<A: AsRef<OsStr>>(
    names: &[String],
    arguments: impl IntoIterator<Item = A> + Clone,
    input: &str,
) -> io::Result<Output> {
    let mut missing = io::Error::from(io::ErrorKind::NotFound);
    for name in names {
        let child = Command::new(name)
            .args(arguments.clone())
            .env_clear()
            .env("PATH", PATH)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        match child {
            Ok(mut child) => {
                if let Some(mut stdin) = child.stdin.take() {
                    // A tool that does not read has failed and says why.
                    let _ = stdin.write_all(input.as_bytes());
                }
                return child.wait_with_output();
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                missing = io::Error::new(error.kind(), format!("{name} is not installed"));
            }
            Err(error) => return Err(error),
        }
    }
    Err(missing)
}

fn succeed(output: Output) -> io::Result<Output> {
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(
        said.lines()
            .next()
            .unwrap_or("it failed and said nothing")
            .to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(listing: &str, bridges: &[&str], foreign: &[&str], expected: &Expect) {
        let owned = |list: &[&str]| {
            list.iter()
                .map(|each| (*each).to_owned())
                .collect::<Vec<_>>()
        };
        let (bridges, foreign) = (owned(bridges), owned(foreign));
        let wanted = Wanted {
            mark: "carrack:c0",
            bridges: &bridges,
            foreign: &foreign,
        };
        let script = script(listing, wanted);
        expected.assert_eq(script.as_deref().unwrap_or("nothing to do"));
    }

    #[test]
    fn scripts() {
        let docker =
            "-N DOCKER-USER\n-A DOCKER-USER -s 10.9.9.9/32 -j DROP\n-A DOCKER-USER -j RETURN\n";
        check(
            docker,
            &["c0"],
            &["docker0"],
            &expect![[r#"
            *filter
            -I DOCKER-USER 1 -i c0 -o docker0 -m comment --comment "carrack:c0" -j RETURN
            -I DOCKER-USER 2 -i c0 -m comment --comment "carrack:c0" -j ACCEPT
            -I DOCKER-USER 3 -o c0 -m comment --comment "carrack:c0" -j ACCEPT
            COMMIT
        "#]],
        );
        let ours = "-N DOCKER-USER\n\
            -A DOCKER-USER -i c0 -m comment --comment \"carrack:c0\" -j ACCEPT\n\
            -A DOCKER-USER -o c0 -m comment --comment \"carrack:c0\" -j ACCEPT\n\
            -A DOCKER-USER -i c1 -m comment --comment \"carrack:c1\" -j ACCEPT\n\
            -A DOCKER-USER -j RETURN\n";
        check(ours, &["c0"], &[], &expect![["nothing to do"]]);
        check(
            &ours.replace('"', ""),
            &["c0"],
            &[],
            &expect![["nothing to do"]],
        );
        check(
            ours,
            &[],
            &[],
            &expect![[r#"
            *filter
            -D DOCKER-USER -i c0 -m comment --comment "carrack:c0" -j ACCEPT
            -D DOCKER-USER -o c0 -m comment --comment "carrack:c0" -j ACCEPT
            COMMIT
        "#]],
        );
        check(docker, &[], &[], &expect![["nothing to do"]]);
    }

    #[test]
    fn bridges_of_docker() {
        for name in ["docker0", "br-0123456789ab"] {
            assert!(is_docker_bridge(name), "{name}");
        }
        for name in [
            "br-lan",
            "br0",
            "br-0123456789a",
            "br-0123456789abc",
            "docker1",
            "br-0123456789xy",
        ] {
            assert!(!is_docker_bridge(name), "{name}");
        }
    }
}
