//! What a daemon makes of supervisors, living and gone.

use std::time::SystemTime;

use carrack_supervision::{Event, Request};

use crate::testing::{World, container, phase, until};
use crate::{ContainerEventKind, Phase, State, WaitCondition};

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_is_made_again_and_the_container_goes_on() {
    let Some(world) = World::new("a_broken_connection") else {
        return;
    };
    let new = container();
    let adoption = world.running(&new).await.adopted(&world, &[]).await;
    let (containers, supervisor) = (adoption.containers, adoption.supervisor);
    containers.resume();
    drop(adoption.connection);
    let mut again = supervisor.accept(&[]);
    assert_eq!(phase(&containers, &new.id), Some(Phase::Running));
    // Whoever asks from now on reaches it.
    until("a signal arrives", || {
        let sender = containers.entry(&new.id).expect("entry").sender();
        sender.is_some_and(|sender| sender.send(&Request::Sync(7), &[]).is_ok())
    })
    .await;
    again.until(|request| *request == Request::Sync(7));
    let ended = containers.wait(&new.id, WaitCondition::NotRunning);
    again.tell(&Event::Exited { code: 7, at_ns: 2 });
    assert_eq!(ended.await.expect("an end").code, 7);
    again.until(|request| *request == Request::Release);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_that_nobody_can_reach_is_lost() {
    let Some(world) = World::new("a_supervisor_is_lost") else {
        return;
    };
    let new = container();
    let adoption = world.running(&new).await.adopted(&world, &[]).await;
    let containers = adoption.containers;
    containers.resume();
    let ended = containers.wait(&new.id, WaitCondition::NotRunning);
    drop((adoption.supervisor, adoption.connection));
    assert_eq!(ended.await.expect("an end").code, 137);
}

#[tokio::test(flavor = "multi_thread")]
async fn execs_of_an_earlier_daemon_are_known_with_their_end() {
    let Some(world) = World::new("execs_of_an_earlier_daemon") else {
        return;
    };
    let new = container();
    let running = world.running(&new).await;
    let adoption = running.adopted(&world, &[("shell", 42)]).await;
    let containers = adoption.containers;
    containers.resume();
    let (id, _, state) = containers.exec_get("shell").expect("the exec");
    assert_eq!((id, state.running, state.pid), (new.id.clone(), true, 42));
    adoption.connection.tell(&Event::ExecExited {
        exec: "shell".to_owned(),
        code: 3,
    });
    until("the code is known", || {
        containers
            .exec_get("shell")
            .is_some_and(|(_, _, state)| state.exit_code == Some(3) && !state.running)
    })
    .await;
    // One that ended while no daemon looked is told with the connection.
    adoption.connection.tell(&Event::ExecExited {
        exec: "unheard".to_owned(),
        code: 6,
    });
    until("the code of the other is known", || {
        containers
            .exec_get("unheard")
            .is_some_and(|(_, _, state)| state.exit_code == Some(6) && !state.running)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throw_away_container_that_ended_meanwhile_is_told_to_who_listens() {
    let Some(world) = World::new("a_throw_away_container") else {
        return;
    };
    let mut new = container();
    new.auto_remove = true;
    let running = world.running(&new).await;
    let mut adoption = running.adopted(&world, &[]).await;
    adoption
        .connection
        .tell(&Event::Exited { code: 5, at_ns: 2 });
    let containers = adoption.containers;
    let mut events = containers.subscribe();
    containers.resume();
    let mut told = Vec::new();
    while told.last() != Some(&"removed") {
        match events.recv().await.expect("an event").kind {
            ContainerEventKind::Exited { code: 5, .. } => told.push("exited"),
            ContainerEventKind::Removed => told.push("removed"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(told, ["exited", "removed"]);
    // Once it is let go of, nothing on disk says that it was there.
    adoption.connection.until(|r| *r == Request::Release);
    let directory = world.directory_of(&new.id);
    assert!(directory.exists(), "its root may still be mounted");
    assert!(!directory.join("container.json").exists());
    adoption.connection.tell(&Event::Released);
    until("its files go", || !directory.exists()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_ended_with_its_supervisor_is_removed_when_owners_listen() {
    let Some(world) = World::new("one_that_ended_with_its_supervisor") else {
        return;
    };
    let mut new = container();
    new.auto_remove = true;
    drop(world.running(&new).await);
    let containers = world.open().await;
    assert!(containers.get(&new.id).is_some(), "owners find its record");
    let mut events = containers.subscribe();
    containers.resume();
    let event = events.recv().await.expect("an event");
    assert_eq!(
        (event.id, event.kind),
        (new.id.clone(), ContainerEventKind::Removed)
    );
    until("its files go", || !world.directory_of(&new.id).exists()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_power_cut_nothing_runs_and_known_codes_stay() {
    let Some(world) = World::new("after_a_power_cut") else {
        return;
    };
    let check = async |state: State, run_file: Option<&str>, expected: (Phase, i32)| {
        let new = container();
        world.record(&new, state.clone()).await;
        let path = world.directory_of(&new.id).join("run.json");
        if let Some(text) = run_file {
            std::fs::write(&path, text).expect("write");
        }
        // Once more: what was found out is on disk.
        for _ in 0..2 {
            let found = world.open().await.get(&new.id).expect("found").state;
            assert_eq!((found.phase, found.exit_code), expected, "{state:?}");
        }
        assert!(!path.exists());
    };
    let state = |phase, exit_code, finished_at| State {
        phase,
        exit_code,
        finished_at,
        ..State::default()
    };
    let later = SystemTime::now() + crate::testing::BOUND;
    check(state(Phase::Running, 0, None), None, (Phase::Exited, 255)).await;
    check(
        state(Phase::Running, 0, None),
        Some(""),
        (Phase::Exited, 255),
    )
    .await;
    check(
        state(Phase::Exited, 7, Some(later)),
        Some("{}"),
        (Phase::Exited, 7),
    )
    .await;
}
