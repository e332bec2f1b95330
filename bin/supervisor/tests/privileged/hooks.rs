//! Hooks inside the container's namespaces.

use std::collections::BTreeMap;

use carrack_runtime::hooks::{State, Status, state};
use serde_json::json;

use crate::harness::{Setup, can_run};
use crate::rootfs::read;

fn hook_state() -> String {
    let annotations = BTreeMap::from([("key".to_owned(), "value".to_owned())]);
    state(&State {
        id: "container",
        status: Status::Created,
        pid: None,
        bundle: "/bundle",
        annotations: &annotations,
    })
}

#[test]
fn hooks_run_where_the_specification_says() {
    if !can_run() {
        return;
    }
    let mut setup = Setup::new("cat /tmp/started; cat /tmp/created; echo program");
    let bundle = setup.rootfs.path("bundle");
    std::fs::create_dir(&bundle).expect("directory");
    let out = setup.rootfs.path("state");
    let (bundle, out) = (bundle.display(), out.display());
    // The root is mounted where the bundle has it, with all that is in it.
    let create = setup.rootfs.script(
        "create",
        &format!(
            "cat > {out}; test -e {bundle}/proc/self || exit 3; test -c {bundle}/dev/null || exit 4; \
             hostname > {bundle}/tmp/created; echo $WORD >> {bundle}/tmp/created"
        ),
    );
    setup.spec["root"]["path"] = json!(bundle.to_string());
    setup.spec["hooks"] = json!({
        "createContainer": [{"path": create, "args": ["create"], "env": ["WORD=w", "PATH=/usr/bin:/bin"]}],
        "startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "read s; echo \"$s\" > /tmp/started; echo >> /tmp/started"]}],
    });
    setup.hook_state = hook_state();
    let out = setup.rootfs.path("state");
    let mut container = setup.park().expect("parked");
    let client = container.attach(carrack_supervision::Target::Container, false);
    container.start().expect("started");
    let (stdout, _) = crate::harness::read_frames(client);
    let lines: Vec<&str> = stdout.lines().collect();
    let of_start: serde_json::Value = serde_json::from_str(lines[0]).expect("a state");
    assert_eq!(of_start["status"], "created");
    assert_eq!(of_start["pid"], 1);
    assert_eq!(of_start["annotations"]["key"], "value");
    assert_eq!(lines[1..], ["", "inside", "w", "program"]);
    let of_create: serde_json::Value = serde_json::from_str(&read(out)).expect("a state");
    assert_eq!(of_create, of_start);
    container.await_exit();
    container.release();
}

#[test]
fn a_hook_that_fails_or_hangs_fails_the_start() {
    if !can_run() {
        return;
    }
    for (script, timeout, text) in [
        ("exit 3", 10, "exited with 3"),
        ("exec sleep 100", 1, "did not end within 1 s"),
    ] {
        for kind in ["createContainer", "startContainer"] {
            let mut setup = Setup::new("true");
            setup.spec["hooks"] = json!({kind: [{"path": "/bin/sh", "args": ["sh", "-c", script], "timeout": timeout}]});
            let sentence = setup.fails().sentence();
            assert!(sentence.contains(text), "{kind}: {sentence}");
        }
    }
}
