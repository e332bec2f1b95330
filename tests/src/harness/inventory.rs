//! What there is in a world: taken before and after a test and compared.
//!
//! Parked sandboxes come and go with names of their own, so each thing is
//! counted under a class: its name with numbers and hexadecimal ids struck out.
//! A test that leaves one more of anything than there was fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use super::engine::{Engine, Kind};
use super::shell::finish;
use super::wait::try_until;

/// How long the engine may take to come to rest: it destroys in batches.
const REST_BOUND: Duration = Duration::from_secs(20);

/// Between two looks that must show the same.
const REST: Duration = Duration::from_millis(150);

/// Counts, by kind of thing and class.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory(BTreeMap<(&'static str, String), usize>);

impl Inventory {
    /// Looks around.
    pub fn take(engine: &Engine) -> Self {
        let mut found = Self::default();
        found.mounts(engine);
        found.processes(engine);
        found.links(engine);
        found.groups(engine);
        found.rules(engine);
        found.files("file under the data root", &engine.data_root());
        found.files("file under the exec root", &engine.exec_root());
        if let Some(pid) = engine.pid() {
            found.descriptors(pid);
        }
        match engine.kind() {
            Kind::Carrack => found.forgive_caches(),
            Kind::Dockerd => found.forgive_dockerd(),
        }
        found
    }

    /// The inventory once it stays the same: parked sandboxes are still being made
    /// for a while after a start, and a slow unmount keeps the files of a container
    /// that is removed.
    pub fn at_rest(engine: &Engine) -> Self {
        let end = Instant::now() + REST_BOUND;
        let mut last = Self::take(engine);
        loop {
            std::thread::sleep(REST);
            let now = Self::take(engine);
            if now == last && !is_removing(engine) || Instant::now() > end {
                return now;
            }
            last = now;
        }
    }

    /// What differs from `before`: kind, class, count then and now.
    pub fn difference(&self, before: &Self) -> Vec<String> {
        let keys: BTreeSet<_> = self.0.keys().chain(before.0.keys()).collect();
        let count = |of: &Self, key| of.0.get(key).copied().unwrap_or(0);
        keys.into_iter()
            .filter(|key| {
                let (now, then) = (count(self, key), count(before, key));
                // Sandboxes are destroyed in batches: what was still waiting for
                // that before may be gone now. More is never right.
                now > then
                    || now < then
                        && !matches!(
                            key.0,
                            "netns" | "link" | "process" | "cgroup" | "descriptor of the daemon"
                        )
            })
            .map(|key| {
                format!(
                    "{}: {} ({} → {})",
                    key.0,
                    key.1,
                    count(before, key),
                    count(self, key)
                )
            })
            .collect()
    }

    /// Waits until the engine is as it was at `before`; the leftovers when it never is.
    pub fn settled(engine: &Engine, before: &Self) -> Vec<String> {
        let rest = try_until(REST_BOUND, || {
            let left = Self::take(engine).difference(before);
            if left.is_empty() { Ok(()) } else { Err(left) }
        });
        rest.err().unwrap_or_default()
    }

    fn add(&mut self, kind: &'static str, name: &str) {
        *self.0.entry((kind, class(name))).or_default() += 1;
    }

    fn mounts(&mut self, engine: &Engine) {
        let text = read(&format!("/proc/{}/mountinfo", engine.world().init()));
        for line in text.lines() {
            let at = line.split(' ').nth(4).unwrap_or_default();
            // Other people's, inherited when the world was made: they go as they like.
            let theirs = at.starts_with("/tmp/") || at.starts_with("/var/tmp/");
            if theirs && !Path::new(at).starts_with(engine.world().dir()) {
                continue;
            }
            let kind = line
                .split(" - ")
                .nth(1)
                .and_then(|r| r.split(' ').next())
                .unwrap_or("");
            self.add("mount", &format!("{kind} on {at}"));
        }
    }

    /// Processes of the world, and the network namespaces that they hold.
    fn processes(&mut self, engine: &Engine) {
        let mut netns = BTreeSet::new();
        for pid in pids(&engine.world().path("/proc")) {
            let proc = engine.world().path(&format!("/proc/{pid}"));
            let command = read(&proc.join("cmdline").to_string_lossy()).replace('\0', " ");
            if command.is_empty() {
                continue;
            }
            self.add("process", command.trim());
            if let Ok(link) = fs::read_link(proc.join("ns/net")) {
                netns.insert(link);
            }
            for fd in fs::read_dir(proc.join("fd"))
                .into_iter()
                .flatten()
                .flatten()
            {
                if let Ok(link) = fs::read_link(fd.path())
                    && link.to_string_lossy().starts_with("net:[")
                {
                    netns.insert(link);
                }
            }
        }
        for link in netns {
            self.add("netns", &link.to_string_lossy());
        }
    }

    fn links(&mut self, engine: &Engine) {
        let text = read(&format!("/proc/{}/net/dev", engine.world().init()));
        for line in text.lines().skip(2) {
            self.add("link", line.split(':').next().unwrap_or_default().trim());
        }
    }

    fn groups(&mut self, engine: &Engine) {
        for root in engine.world().groups() {
            let parent = root.parent().unwrap_or(root);
            walk(root, &mut |path, is_dir| {
                if is_dir {
                    self.add(
                        "cgroup",
                        &path.strip_prefix(parent).unwrap_or(path).to_string_lossy(),
                    );
                }
            });
        }
    }

    fn rules(&mut self, engine: &Engine) {
        let mut list = engine.world().command("nft");
        list.args(["--stateless", "list", "ruleset"]);
        let Ok(out) = finish(list, "") else { return };
        // One element a line, so that a map's elements are counted and not compared as one.
        for line in out.stdout.replace(", ", "\n").replace("{ ", "{\n").lines() {
            if line.trim().trim_matches('}').is_empty() {
                continue;
            }
            self.add("nftables", line.trim());
        }
    }

    fn descriptors(&mut self, pid: u32) {
        for fd in fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten()
            .flatten()
        {
            if let Ok(link) = fs::read_link(fd.path()) {
                self.add("descriptor of the daemon", &link.to_string_lossy());
            }
        }
    }

    fn files(&mut self, kind: &'static str, root: &Path) {
        walk(root, &mut |path, _| {
            self.add(
                kind,
                &path.strip_prefix(root).unwrap_or(path).to_string_lossy(),
            );
        });
    }

    /// What is made once for an image and goes with it: the layer of mount
    /// points in its snapshot.
    fn forgive_caches(&mut self) {
        self.0.retain(|(kind, name), _| {
            !(*kind == "file under the data root"
                && name.starts_with("snapshots/")
                && name.contains("/mount-points-"))
        });
    }

    /// What dockerd keeps by design: pooled connections to containerd, and
    /// network namespaces' files until its next collection, the dates of tags, and
    /// short names drawn at random.
    fn forgive_dockerd(&mut self) {
        self.0.retain(|(kind, name), _| {
            let kept = match *kind {
                "descriptor of the daemon" | "file under the exec root" => true,
                "mount" => name.starts_with("nsfs on /run/docker/"),
                "file under the data root" => {
                    name.contains("containerd/daemon")
                        || name.ends_with("/committed")
                        || name.contains("imagedb/metadata")
                        || name.starts_with("overlay#/l/")
                }
                _ => false,
            };
            !kept
        });
    }
}

/// Strikes ids and numbers out of a name.
pub fn class(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut word = String::new();
    for c in name.chars().chain([' ']) {
        if c.is_ascii_alphanumeric() {
            word.push(c);
            continue;
        }
        out.push_str(&class_of_word(&word));
        word.clear();
        out.push(c);
    }
    out.pop();
    out
}

fn class_of_word(word: &str) -> String {
    // From eight on no word of a language is made of a to f alone.
    let is_id = |s: &str| {
        s.bytes().all(|b| b.is_ascii_hexdigit())
            && (s.len() >= 8 || s.len() >= 6 && s.bytes().any(|b| b.is_ascii_digit()))
    };
    if is_id(word) {
        return "<id>".to_owned();
    }
    // veth3f2a91c: a short name and an id of the engine's.
    for at in (1..word.len()).filter(|at| word.is_char_boundary(*at)) {
        if is_id(&word[at..]) {
            return format!("{}<id>", &word[..at]);
        }
    }
    let mut out = String::new();
    for c in word.chars() {
        if !c.is_ascii_digit() {
            out.push(c);
        } else if !out.ends_with('#') {
            out.push('#');
        }
    }
    out
}

/// Whether files of containers are left that nobody can see any more.
fn is_removing(engine: &Engine) -> bool {
    let directory = engine.data_root().join("containers");
    let kept = fs::read_dir(directory).map_or(0, |entries| entries.flatten().count());
    engine.kind() == Kind::Carrack && kept > engine.sh("docker ps -aq").stdout.lines().count()
}

fn pids(proc: &Path) -> Vec<u32> {
    fs::read_dir(proc)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .collect()
}

fn walk(dir: &Path, see: &mut dyn FnMut(&Path, bool)) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_dir = entry.file_type().is_ok_and(|t| t.is_dir());
        see(&path, is_dir);
        // A mounted rootfs or an unpacked layer is the image's own business: its
        // top is counted, its thousands of files are not.
        let top = path
            .file_name()
            .is_some_and(|n| n == "fs" || n == "merged" || n == "diff" || n == "rootfs");
        if is_dir && !top {
            walk(&path, see);
        }
    }
}

fn read(path: &str) -> String {
    fs::read(path)
        .map(|b| String::from_utf8_lossy(&b).into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_classes() {
        for (name, wanted) in [
            ("veth3f2a91c", "veth<id>"),
            ("vethfffcffce", "veth<id>"),
            ("facade", "facade"),
            ("net:[4026531992]", "net:[<id>]"),
            ("docker/0123456789abcdef0123", "docker/<id>"),
            ("carrack supervisor 12", "carrack supervisor #"),
            ("eth0", "eth#"),
            ("state.redb", "state.redb"),
        ] {
            assert_eq!(class(name), wanted);
        }
    }

    #[test]
    fn a_leftover_is_named() {
        let mut before = Inventory::default();
        before.add("link", "lo");
        let mut after = before.clone();
        assert!(after.difference(&before).is_empty());
        after.add("link", "veth3f2a91c");
        assert_eq!(after.difference(&before), ["link: veth<id> (0 → 1)"]);
    }
}
