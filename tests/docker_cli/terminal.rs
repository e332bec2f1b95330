//! `-it`: a terminal between a person and a container.

use std::time::Duration;

use carrack_tests::{Inventory, Shared, shared, until};

/// Longest wait for something to be shown.
const BOUND: Duration = Duration::from_secs(10);

fn with_engine(test: impl FnOnce(&Shared)) {
    let mut engine = shared();
    engine.image("busybox");
    let before = Inventory::at_rest(&engine);
    test(&engine);
    engine.sweep();
    let left = Inventory::settled(&engine, &before);
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
fn a_shell_on_a_terminal() {
    with_engine(|engine| {
        let mut terminal = engine.terminal("docker run -it --rm --name term busybox sh");
        terminal.expect("/ #", BOUND);
        terminal
            .send("test -t 0 && test -t 1 && test -t 2 && echo is''term\n")
            .unwrap();
        terminal.expect("isterm", BOUND);
        // A program that is interrupted ends, the shell goes on.
        terminal.send("sleep 1000\n").unwrap();
        until("the program runs", BOUND, || {
            let out = engine.sh("docker exec term pidof sleep");
            if out.code == 0 {
                Ok(())
            } else {
                Err(out.stderr)
            }
        });
        terminal.send("\x03").unwrap();
        terminal.send("echo co''de $?\n").unwrap();
        terminal.expect("code 130", BOUND);
        terminal.send("exit 4\n").unwrap();
        assert_eq!(terminal.end(BOUND).code(), Some(4));
    });
}

#[test]
fn the_size_follows_the_window() {
    with_engine(|engine| {
        let mut terminal = engine.terminal("docker run -it --rm busybox sh");
        terminal.expect("/ #", BOUND);
        for (rows, columns) in [(33, 101), (20, 70)] {
            terminal.resize(rows, columns).unwrap();
            let end = std::time::Instant::now() + BOUND;
            // The size arrives by another request than the keys.
            while !terminal.seen().contains(&format!("{rows} {columns}")) {
                assert!(std::time::Instant::now() < end, "{}", terminal.seen());
                terminal.send("stty size\n").unwrap();
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        terminal.send("exit\n").unwrap();
        assert!(terminal.end(BOUND).success());
    });
}

#[test]
fn detached_by_keys_and_attached_again() {
    with_engine(|engine| {
        let mut terminal = engine.terminal("docker run -it --name kept busybox sh");
        terminal.expect("/ #", BOUND);
        terminal.send("word=kept''word\n").unwrap();
        terminal.send("\x10\x11").unwrap();
        assert!(terminal.end(BOUND).success());
        assert_eq!(
            engine
                .sh("docker inspect -f '{{.State.Running}}' kept")
                .ok(),
            "true"
        );

        let mut again = engine.terminal("docker attach --detach-keys ctrl-x kept");
        again.send("echo $word\n").unwrap();
        again.expect("keptword", BOUND);
        again.send("\x18").unwrap();
        let _either = again.end(BOUND);
        assert_eq!(
            engine
                .sh("docker inspect -f '{{.State.Running}}' kept")
                .ok(),
            "true"
        );

        let mut last = engine.terminal("docker attach kept");
        last.send("exit 6\n").unwrap();
        assert_eq!(last.end(BOUND).code(), Some(6));
    });
}

#[test]
fn a_terminal_in_exec() {
    with_engine(|engine| {
        engine
            .sh("docker run -d --name host busybox sleep 1000")
            .ok();
        let mut terminal = engine.terminal("docker exec -it -e WORD=fromexec host sh");
        terminal.expect("/ #", BOUND);
        terminal.send("echo $WORD; tty\n").unwrap();
        terminal.expect("fromexec", BOUND);
        terminal.expect("/dev/pts/", BOUND);
        terminal.send("exit 3\n").unwrap();
        assert_eq!(terminal.end(BOUND).code(), Some(3));
        // The container does not notice.
        assert_eq!(
            engine
                .sh("docker exec host ps -o args | grep -c '^sh$'")
                .stdout
                .trim(),
            "0"
        );
    });
}
