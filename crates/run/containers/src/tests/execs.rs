//! Execs that do not come as far as a program.

use crate::testing::{World, container};
use crate::{Error, ExecRequest};

#[tokio::test(flavor = "multi_thread")]
async fn an_exec_that_cannot_be_asked_for_has_ended() {
    let Some(world) = World::new("an_exec_that_cannot_be_asked_for") else {
        return;
    };
    let new = container();
    let adoption = world.running(&new).await.adopted(&world, &[]).await;
    let containers = adoption.containers;
    let request = ExecRequest::default();
    let exec = containers.exec_create(&new.id, request).await;
    let exec = exec.expect("recorded");
    let started = containers.exec_start(&exec, None).await;
    assert!(matches!(started, Err(Error::Plan(_))), "{started:?}");
    let entry = containers.entry(&new.id).expect("entry");
    let inner = entry.lock();
    let found = &inner.execs[&exec];
    assert!(found.starting.is_none() && !found.state.running);
    assert_eq!(found.state.exit_code, Some(125));
}
