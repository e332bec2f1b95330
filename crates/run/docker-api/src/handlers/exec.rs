//! Execs.

use std::sync::Arc;

use carrack_containers::AttachRequest;
use carrack_docker::Engine;
use carrack_docker::engine::{ExecOptions, KeysOf};
use carrack_serve::TakenConnection;
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use crate::call::{Answer, Call, empty, json, ok};
use crate::error::with_causes;
use crate::handlers::attach::{taken_over, tell};
use crate::handlers::containers::terminal_size;
use crate::json::read;
use crate::version::v;

/// Body of `POST /containers/{name}/exec`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct CreateBody {
    user: String,
    privileged: bool,
    tty: bool,
    console_size: Option<[u16; 2]>,
    attach_stdin: bool,
    attach_stdout: bool,
    attach_stderr: bool,
    detach_keys: String,
    env: Vec<String>,
    working_dir: String,
    cmd: Vec<String>,
}

/// Body of `POST /exec/{name}/start`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct StartBody {
    detach: bool,
    tty: bool,
    console_size: Option<[u16; 2]>,
}

/// `POST /containers/{name}/exec`
pub(crate) async fn create(mut call: Call) -> Answer {
    let body: CreateBody = read(&mut call.request).await?;
    let options = ExecOptions {
        cmd: body.cmd,
        env: body.env,
        working_dir: body.working_dir,
        user: body.user,
        tty: body.tty,
        console_size: body
            .console_size
            .filter(|_| call.version >= v(42))
            .map(|[height, width]| (height, width)),
        privileged: body.privileged,
        attach_stdin: body.attach_stdin,
        attach_stdout: body.attach_stdout,
        attach_stderr: body.attach_stderr,
        detach_keys: body.detach_keys,
    };
    let exec = call.engine.exec_create(call.name(), options).await?;
    json(StatusCode::CREATED, &json!({"Id": exec}))
}

/// `POST /exec/{name}/start`
pub(crate) async fn start(mut call: Call) -> Answer {
    let body: StartBody = read(&mut call.request).await?;
    let exec = call.params.take("name");
    let checked = call.engine.check_exec(&exec)?;
    // Without a terminal there is no console; older clients knew of none.
    if let Some([height, width]) = body.console_size
        && body.tty
        && call.version >= v(42)
    {
        call.engine.exec_set_size(&exec, (height, width))?;
    }
    if body.detach {
        call.engine.exec_start(&exec, None).await?;
        return empty(StatusCode::OK);
    }
    let options = checked.options;
    let terminal = options.tty;
    let keys = Engine::detach_keys(KeysOf::Exec, &options.detach_keys)?;
    let attach = AttachRequest {
        stdin: options.attach_stdin,
        stdout: options.attach_stdout,
        stderr: options.attach_stderr,
        read_ahead: Vec::new(),
        detach_keys: if terminal { keys } else { Vec::new() },
    };
    let engine = Arc::clone(&call.engine);
    Ok(taken_over(&call, terminal, async move |taken| {
        run(&engine, &exec, attach, taken, terminal).await;
    }))
}

async fn run(
    engine: &Engine,
    exec: &str,
    mut attach: AttachRequest,
    taken: TakenConnection,
    terminal: bool,
) {
    attach.read_ahead = taken.read_ahead.to_vec();
    let spare = taken.socket.try_clone();
    let Err(error) = engine.exec_start(exec, Some((attach, taken.socket))).await else {
        return;
    };
    tracing::debug!(exec, %error, "start an exec");
    // A program that could not be executed is told of by the supervisor,
    // which has the socket then; everything else by us.
    let told = matches!(
        &error,
        carrack_docker::Error::Containers(carrack_containers::Error::Exec(_))
    );
    if let (false, Ok(spare)) = (told, spare) {
        tell(spare, &with_causes(&error), terminal).await;
    }
}

/// `POST /exec/{name}/resize`
pub(crate) async fn resize(call: Call) -> Answer {
    let (rows, columns) = terminal_size(&call)?;
    call.engine.exec_resize(call.name(), rows, columns).await?;
    empty(StatusCode::OK)
}

/// `GET /exec/{name}/json`
pub(crate) async fn inspect(call: Call) -> Answer {
    let view = call.engine.settled_exec(call.name()).await?;
    let options = &view.options;
    let (program, arguments) = options
        .cmd
        .split_first()
        .map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    ok(&json!({
        "ID": call.name(),
        "Running": view.state.running,
        "ExitCode": view.state.exit_code,
        "ProcessConfig": {
            "tty": options.tty,
            "entrypoint": program,
            "arguments": arguments,
            "privileged": options.privileged,
            "user": options.user,
        },
        "OpenStdin": options.attach_stdin,
        "OpenStderr": options.attach_stderr,
        "OpenStdout": options.attach_stdout,
        "CanRemove": view.state.exit_code.is_some(),
        "ContainerID": view.container.as_str(),
        "DetachKeys": options.detach_keys,
        "Pid": view.state.pid,
    }))
}
