//! Making a container: group, namespaces, plan.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use carrack_cgroup::{Leaf, Shown, V2Membership};
use carrack_oci::runtime::{Hooks, Linux, Spec};
use carrack_runtime::hooks::{self, State};
use carrack_runtime::plan::{CgroupNamespace, FirstProcess, Plan, SeccompPlan};
use carrack_runtime::planner::{self, CgroupView, Context, UserNamespace};
use carrack_runtime::{capability, sources};
use carrack_seccomp::Arch;
use carrack_supervision::detached::{Made, Make};
use rustix::fs::CWD;
use rustix::mount::{OpenTreeFlags, open_tree};

use crate::arguments::Global;
use crate::bundle::Bundle;
use crate::console::{self, Console};
use crate::maker::Maker;
use crate::namespaces::Wanted;
use crate::record::{Place, Record};
use crate::{Error, Programs, Result, bundle, cgroups, log, not_yet, pidfile, processes, sockets};

/// How a container is made.
#[derive(Debug)]
pub(crate) struct Options {
    /// Its id.
    pub(crate) id: String,
    /// Its bundle.
    pub(crate) bundle: PathBuf,
    /// Where its first process's id is written.
    pub(crate) pid_file: Option<PathBuf>,
    /// Descriptors from 3 on that its program gets.
    pub(crate) preserved: u32,
    /// How many of them are sockets of an activation, which it is told of.
    pub(crate) activated: u32,
    /// The socket for its terminal.
    pub(crate) console_socket: Option<String>,
    /// Whether the command waits for its end.
    pub(crate) stays: console::Stays,
    /// For failures: `runc create` or `runc run`.
    pub(crate) verb: &'static str,
}

/// A container that waits for its start.
#[derive(Debug)]
pub(crate) struct Launched {
    /// Its first process.
    pub(crate) pid: i32,
    /// Its terminal, where this process keeps it.
    pub(crate) master: Option<OwnedFd>,
}

/// Makes a container, or leaves nothing.
pub(crate) fn launch(global: &Global, options: &Options, programs: Programs) -> Result<Launched> {
    let bundle = bundle::read(&options.bundle)?;
    let place = Place::make(&global.root, &options.id)?;
    let launched = (|| {
        let group = cgroups::path(&bundle.spec, &global.root, &options.id);
        let leaf = cgroups::make(&group)?;
        let launched = in_group(global, options, programs, &bundle, &place, &leaf, &group);
        if launched.is_err() {
            let killed = leaf.kill_all().map_err(Error::from);
            if let Err(error) = killed.and_then(|()| cgroups::remove(&group)) {
                log::warning(global, &format!("remove the control group: {error}"));
            }
        }
        launched
    })();
    if launched.is_err() {
        place.remove()?;
    }
    launched
}

fn in_group(
    global: &Global,
    options: &Options,
    programs: Programs,
    bundle: &Bundle,
    place: &Place,
    leaf: &Leaf,
    group: &str,
) -> Result<Launched> {
    let spec = &bundle.spec;
    let process = spec.process.as_ref();
    let process = process.ok_or_else(|| Error::Usage("process: is missing".to_owned()))?;
    let console = Console::new(
        process.terminal,
        options.console_socket.as_deref(),
        options.stays,
    )?;
    let linux = spec.linux.clone().unwrap_or_default();
    let wanted = Wanted::new(&linux)?;
    for ignored in cgroups::apply(leaf, linux.resources.as_ref())? {
        log::warning(global, &ignored);
    }
    let filter = filter(&linux)?;
    let context = context(leaf, &wanted, filter);
    let mut planned = planner::plan(spec, &context)?;
    planned.plan.process.preserved_descriptors = options.preserved;
    if options.activated > 0 {
        let environment = &mut planned.plan.process.environment;
        environment.push(format!("LISTEN_FDS={}", options.activated));
        environment.push("LISTEN_PID=1".to_owned());
    }
    let mut record = record(options, bundle, &wanted, group, &context);
    place.write(&record)?;
    if let Some(filter) = &context.seccomp {
        place.write_filter(&filter.program)?;
    }
    let mut maker = Maker::start(programs, options.preserved, options.verb)?;
    prepare(&maker, options, &linux, &wanted, leaf)?;
    let (made, _) = maker.next()?;
    let Made::Prepared { pid } = made else {
        return Err(Error::Maker(
            ": it says something else than asked".to_owned(),
        ));
    };
    record.pid = i32::try_from(pid).unwrap_or(0);
    record.began = processes::began(record.pid).unwrap_or(0);
    place.write(&record)?;
    run_hooks(spec, &record, pid)?;
    create(&maker, planned, place, bundle, &record)?;
    let mut master = None;
    loop {
        match maker.next()? {
            (Made::Console, descriptors) => master = descriptors.into_iter().next(),
            (Made::Done, _) => break,
            (Made::Prepared { .. } | Made::Failed(_), _) => {}
        }
    }
    if let (Console::Socket(path), Some(master)) = (
        &console,
        master.take_if(|_| !matches!(console, Console::Own)),
    ) {
        sockets::send_terminal(path, &master)?;
    }
    record.made = true;
    place.write(&record)?;
    if let Some(path) = &options.pid_file {
        pidfile::write(path, record.pid)?;
    }
    Ok(Launched {
        pid: record.pid,
        master,
    })
}

fn record(
    options: &Options,
    bundle: &Bundle,
    wanted: &Wanted,
    group: &str,
    context: &Context,
) -> Record {
    let spec = &bundle.spec;
    let hooks = spec.hooks.clone().unwrap_or_default();
    Record {
        id: options.id.clone(),
        bundle: bundle.path.clone(),
        rootfs: bundle.rootfs.clone(),
        created: jiff::Timestamp::now(),
        owner: rustix::process::geteuid().as_raw(),
        pid: 0,
        began: 0,
        made: false,
        cgroup: group.to_owned(),
        in_user_namespace: wanted.has_user(),
        annotations: spec.annotations.clone(),
        process: spec.process.clone().unwrap_or_default(),
        filter_flags: context.seccomp.as_ref().map(|filter| filter.flags),
        poststart: hooks.poststart,
        poststop: hooks.poststop,
    }
}

/// The compiled filter of a configuration.
fn filter(linux: &Linux) -> Result<Option<SeccompPlan>> {
    let Some(seccomp) = &linux.seccomp else {
        return Ok(None);
    };
    let native = Arch::native().ok_or(Error::NotYet(not_yet::ARCHITECTURE))?;
    let program = carrack_seccomp::compile(seccomp, native)?;
    if program.needs_listener() {
        return Err(Error::NotYet(not_yet::NOTIFY));
    }
    Ok(Some(SeccompPlan {
        program: program.to_bytes(),
        flags: program.flags().bits(),
    }))
}

fn context(leaf: &Leaf, wanted: &Wanted, seccomp: Option<SeccompPlan>) -> Context {
    Context {
        available_capabilities: capability::available(),
        seccomp,
        user: None,
        cgroup: view(leaf),
        cgroup_namespace: if wanted.new_cgroup {
            CgroupNamespace::New
        } else {
            CgroupNamespace::Keep
        },
        first_process: FirstProcess::Program,
        user_namespace: if wanted.has_user() {
            UserNamespace::Own
        } else {
            UserNamespace::Shared
        },
    }
}

/// How the container's group is shown inside.
pub(crate) fn view(leaf: &Leaf) -> CgroupView {
    match leaf.shown() {
        Shown::V1 { hierarchies, links } => CgroupView::V1 { hierarchies, links },
        Shown::V2(path) => CgroupView::V2(path),
    }
}

fn prepare(
    maker: &Maker,
    options: &Options,
    linux: &Linux,
    wanted: &Wanted,
    leaf: &Leaf,
) -> Result<()> {
    let attach = leaf.attach_files(V2Membership::Inherited)?;
    let born_in = leaf.v2_dir_fd();
    let mut files: Vec<BorrowedFd<'_>> = wanted.joined.iter().map(|(_, f)| f.as_fd()).collect();
    files.extend(attach.iter().map(AsFd::as_fd));
    files.extend(born_in);
    let prepare = wanted.prepare(&options.id, linux, attach.len(), born_in.is_some());
    maker.ask(&Make::Prepare(prepare), &files)
}

fn run_hooks(spec: &Spec, record: &Record, pid: u32) -> Result<()> {
    let Some(Hooks {
        prestart,
        create_runtime,
        ..
    }) = &spec.hooks
    else {
        return Ok(());
    };
    let state = state(record, hooks::Status::Created, Some(pid));
    for (kind, list) in [("prestart", prestart), ("createRuntime", create_runtime)] {
        hooks::run(list, &state).map_err(|source| Error::Hook { kind, source })?;
    }
    Ok(())
}

/// The state document that hooks get.
pub(crate) fn state(record: &Record, status: hooks::Status, pid: Option<u32>) -> String {
    let bundle = record.bundle.to_string_lossy();
    hooks::state(&State {
        id: &record.id,
        status,
        pid,
        bundle: &bundle,
        annotations: &record.annotations,
    })
}

fn create(
    maker: &Maker,
    planned: planner::Planned,
    place: &Place,
    bundle: &Bundle,
    record: &Record,
) -> Result<()> {
    let mut plan: Plan = planned.plan;
    plan.set_hook_state(&state(record, hooks::Status::Created, None));
    let listener = sockets::listen(place)?;
    let root = open_tree(
        CWD,
        &bundle.rootfs,
        OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_RECURSIVE,
    )
    .map_err(|errno| Error::file("open the root", &bundle.rootfs, errno.into()))?;
    let opened = sources::open_all(&planned.sources)?;
    let mut files = vec![listener.as_fd(), root.as_fd()];
    files.extend(opened.iter().map(AsFd::as_fd));
    maker.ask(&Make::Create(Box::new(plan)), &files)
}
