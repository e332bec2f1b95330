//! The unmodified `docker` command does what it does with dockerd.

mod terminal;

mod run {
    carrack_tests::cases!("docker_cli/run": bind, blkio_flags, capabilities, cgroupns, cidfile, debian, detach, devices, entrypoint, env, expose, identity, init, interactive, label, limits_flags, missing, name, namespaces, no_shell, oom_score, output, privileged, readonly, restart, security, shm, stopping, sysctl, tmpfs, ulimit, user, volumes, workdir);
}

mod verbs {
    carrack_tests::cases!("docker_cli/verbs": attach, copy, events, exec, exec_missing, inspect, kill_signal, lifecycle, log_drivers, logs, not_yet, port, prune, ps, start_attached, system, top_stats, tty, update_rename, wait);
}

mod images {
    carrack_tests::cases!("docker_cli/images": import, inspect, list, load_oci, load_save, prune, tag_remove);
}

mod volumes {
    carrack_tests::cases!("docker_cli/volumes": contents, options, prune, verbs);
}
