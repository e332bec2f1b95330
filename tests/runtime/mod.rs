//! runc's command line: containers from bundles, without a daemon.

carrack_tests::cases!("runtime": config, containerd, hooks, hostile, lifecycle, podman, run);
