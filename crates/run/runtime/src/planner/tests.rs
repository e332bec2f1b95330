//! Each case is a part of a spec laid over a small valid one, and what the
//! plan makes of it.

mod mounts;
mod process;

use expect_test::Expect;
use serde_json::{Value, json};

use super::*;

fn context() -> Context {
    Context {
        available_capabilities: crate::capability::ALL,
        seccomp: None,
        user: None,
        cgroup: CgroupView::V2("/sys/fs/cgroup/leaf".to_owned()),
        cgroup_namespace: CgroupNamespace::Keep,
        first_process: FirstProcess::Program,
        user_namespace: UserNamespace::Shared,
    }
}

/// Lays `over` on `under`: objects are merged, everything else is replaced.
fn lay(over: &Value, under: &mut Value) {
    match (over, under) {
        (Value::Object(over), Value::Object(under)) => {
            for (key, value) in over {
                lay(value, under.entry(key).or_insert(Value::Null));
            }
        }
        (over, under) => under.clone_from(over),
    }
}

fn try_plan(part: &Value, context: &Context) -> Result<Planned, PlanError> {
    let mut spec = json!({
        "ociVersion": "1.2.0",
        "process": {"args": ["/bin/sh"], "cwd": "/"},
        "root": {"path": "/bundle/rootfs"},
    });
    lay(part, &mut spec);
    plan(&serde_json::from_value(spec).expect("a spec"), context)
}

/// What a part of a spec becomes, a line an item.
#[track_caller]
fn check(part: &Value, show: fn(&Planned) -> String, expected: Expect) {
    let text = match try_plan(part, &context()) {
        Ok(planned) => show(&planned),
        Err(error) => format!("error: {error}\n"),
    };
    expected.assert_eq(&text);
}

/// Words for bits, in the order of the table.
fn words(bits: u64, table: &[(u64, &str)]) -> String {
    let mut left = bits;
    let mut words: Vec<String> = Vec::new();
    for (bit, word) in table {
        if bits & bit != 0 {
            words.push((*word).to_owned());
            left &= !bit;
        }
    }
    if left != 0 {
        words.push(format!("{left:#x}"));
    }
    if words.is_empty() {
        "-".to_owned()
    } else {
        words.join("+")
    }
}

fn propagation(bits: u64) -> String {
    words(
        bits,
        &[
            (1 << 17, "unbindable"),
            (1 << 18, "private"),
            (1 << 19, "slave"),
            (1 << 20, "shared"),
            (1 << 14, "rec"),
        ],
    )
}
