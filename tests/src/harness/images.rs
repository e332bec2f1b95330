//! Where the test images are: made before by `cargo run -p xtask -- images`.

use std::path::PathBuf;

/// Path of the image tar called `name` (`busybox`, `busybox-oci`, `static`, `debian`).
///
/// # Panics
/// When it was not made yet.
pub fn path(name: &str) -> PathBuf {
    let dir = std::env::var_os("CARRACK_IMAGES").map_or_else(
        || {
            let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(
                || PathBuf::from(std::env::var_os("HOME").unwrap_or("/root".into())).join(".cache"),
                PathBuf::from,
            );
            cache.join("carrack/images")
        },
        PathBuf::from,
    );
    let file = dir.join(format!("{name}.tar"));
    assert!(
        file.exists(),
        "{} is missing: run `cargo run -q -p xtask -- images`",
        file.display()
    );
    file
}

/// The reference under which the engine knows the image `name` once loaded.
pub fn reference(name: &str) -> &str {
    match name {
        "debian" => "debian:bookworm",
        "static" => "static:latest",
        "busybox" | "busybox-oci" => "busybox:latest",
        other => other,
    }
}
