use super::*;

fn shell(script: &str, timeout: Option<i64>) -> Hook {
    Hook {
        path: "/bin/sh".to_owned(),
        args: ["sh", "-c", script]
            .iter()
            .map(|a| (*a).to_owned())
            .collect(),
        env: vec!["WORD=hello".to_owned()],
        timeout,
    }
}

#[test]
fn a_state_is_json_whatever_the_strings_hold() {
    let annotations = BTreeMap::from([("a\"b".to_owned(), "c\\\n\u{1}é".to_owned())]);
    let mut described = State {
        id: "c1",
        status: Status::Created,
        pid: Some(7),
        bundle: "/b",
        annotations: &annotations,
    };
    let parsed: serde_json::Value = serde_json::from_str(&state(&described)).expect("JSON");
    assert_eq!(parsed["pid"], 7);
    assert_eq!(parsed["status"], "created");
    assert_eq!(parsed["annotations"]["a\"b"], "c\\\n\u{1}é");
    described.pid = None;
    let template = state(&described);
    assert!(!template.contains("pid"));
    let parsed: serde_json::Value = serde_json::from_str(&with_pid(&template, 9)).expect("JSON");
    assert_eq!(parsed["pid"], 9);
}

#[test]
fn hooks_get_their_state_and_nothing_else_of_the_environment() {
    let check = shell(
        "read s; test \"$s\" = '{\"pid\":1}' && test $WORD = hello && test -z \"$HOME\"",
        None,
    );
    run(&[check], "{\"pid\":1}").expect("the hook is content");
}

#[test]
fn a_hook_that_fails_stops_the_next_but_not_after_the_end() {
    let fails = shell("echo because >&2; exit 3", None);
    let unreadable = shell("exit 0", None);
    let hooks = [fails.clone(), unreadable, fails];
    let error = run(&hooks, "{}").expect_err("fails").to_string();
    assert!(error.contains("3") && error.contains("because"), "{error}");
    assert_eq!(run_all(&hooks, "{}").len(), 2);
}

#[test]
fn a_hook_that_hangs_is_killed_and_one_that_never_reads_is_no_trouble() {
    let error = run(&[shell("exec sleep 100", Some(1))], "{}").expect_err("hangs");
    assert!(
        matches!(error, HookError::Timeout { timeout_s: 1, .. }),
        "{error}"
    );
    let large = format!("{{\"x\":\"{}\"}}", "y".repeat(300_000));
    run(&[shell("exit 0", None)], &large).expect("it need not read");
    run(&[shell("test $(wc -c) -eq 300008", None)], &large).expect("it may read all");
    assert!(matches!(
        run(
            &[Hook {
                path: "/no/such".to_owned(),
                ..Hook::default()
            }],
            "{}"
        ),
        Err(HookError::Run { .. })
    ));
}
