//! The engine's client alone, without any server in the same program:
//! `cargo run -p carrack-cli --example client -- ps`.

fn main() -> std::process::ExitCode {
    carrack_cli::run(std::env::args_os().skip(1)).into()
}
