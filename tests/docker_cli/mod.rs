//! The unmodified `docker` command does what it does with dockerd.

mod run {
    carrack_tests::cases!("docker_cli/run": first);
}
