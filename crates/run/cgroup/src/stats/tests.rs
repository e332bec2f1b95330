use expect_test::expect;

use super::block::{v1, v2};
use super::parse::{device, flat_keyed, key};
use super::*;

#[test]
fn flat_keyed_files_survive_anything() {
    let text = "low 1\n\nbroken\nx y\noom_kill 3\nhuge 99999999999999999999\n";
    assert_eq!(key(text, "oom_kill"), Some(3));
    assert_eq!(key(text, "broken"), None);
    assert_eq!(flat_keyed(text).count(), 2);
    for hostile in ["", ":", "8:", "a:b", "8:0:1", "-1:0", "4294967296:0"] {
        assert_eq!(device(hostile), None, "{hostile}");
    }
}

#[test]
fn block_files() {
    let entries = v1("8:0 Read 4096\n8:0 Discard 0\nTotal 4096\n8:0 Strange 1\nx Read 1\n");
    expect![[r#"
        [
            BlockEntry {
                major: 8,
                minor: 0,
                operation: Read,
                value: 4096,
            },
            BlockEntry {
                major: 8,
                minor: 0,
                operation: Discard,
                value: 0,
            },
        ]
    "#]]
    .assert_debug_eq(&entries);
    let stats = v2(
        "8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6 cost.usage=7\n9:0 \n8:0 rbytes=x\n",
    );
    let numbers = |entries: &[BlockEntry]| -> Vec<(&str, u64)> {
        entries
            .iter()
            .map(|entry| (entry.operation.as_str(), entry.value))
            .collect()
    };
    assert_eq!(
        numbers(&stats.bytes),
        [("read", 1), ("write", 2), ("discard", 5)]
    );
    assert_eq!(
        numbers(&stats.operations),
        [("read", 3), ("write", 4), ("discard", 6)]
    );
}

#[test]
fn working_set_is_what_docker_shows() {
    let stats = |usage, detail: &[(&str, u64)]| MemoryStats {
        usage,
        detail: detail
            .iter()
            .map(|(key, value)| ((*key).to_owned(), *value))
            .collect(),
        ..MemoryStats::default()
    };
    assert_eq!(stats(100, &[("inactive_file", 30)]).working_set(), 70);
    let v1 = [("inactive_file", 30), ("total_inactive_file", 40)];
    assert_eq!(stats(100, &v1).working_set(), 60);
    assert_eq!(stats(100, &[("inactive_file", 100)]).working_set(), 100);
    assert_eq!(stats(100, &[]).working_set(), 100);
}
