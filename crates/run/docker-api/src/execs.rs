//! Programs added to running containers.

use carrack_docker::engine::ExecOptions;
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use crate::api::{Answer, Api, Call, json};
use crate::body;
use crate::containers::size;

#[derive(Clone, Debug, Default, Deserialize)]
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

pub(crate) async fn create(api: &Api, mut call: Call) -> Answer {
    let body: CreateBody = body::decode(&mut call.request).await?;
    let options = ExecOptions {
        cmd: body.cmd,
        env: body.env,
        working_dir: body.working_dir,
        user: body.user,
        tty: body.tty,
        console_size: body.console_size.map(|[rows, columns]| (rows, columns)),
        privileged: body.privileged,
        attach_stdin: body.attach_stdin,
        attach_stdout: body.attach_stdout,
        attach_stderr: body.attach_stderr,
        detach_keys: body.detach_keys,
    };
    let id = api.engine.exec_create(call.name(), options).await?;
    json(StatusCode::CREATED, &json!({"Id": id}))
}

pub(crate) async fn resize(api: &Api, call: &Call) -> Answer {
    let (rows, columns) = size(call)?;
    api.engine.exec_resize(call.name(), rows, columns).await?;
    Ok(carrack_serve::Response::empty(StatusCode::OK))
}

pub(crate) async fn inspect(api: &Api, call: &Call) -> Answer {
    let exec = api.engine.exec(call.name())?;
    let options = &exec.options;
    let (program, arguments) = match options.cmd.split_first() {
        Some((program, arguments)) => (program.as_str(), arguments),
        None => ("", &[][..]),
    };
    json(
        StatusCode::OK,
        &json!({
            "ID": call.name(),
            "Running": exec.state.running,
            "ExitCode": exec.state.exit_code,
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
            "CanRemove": !exec.state.running && exec.state.started,
            "ContainerID": exec.container.as_str(),
            "DetachKeys": options.detach_keys,
            "Pid": exec.state.pid,
        }),
    )
}
