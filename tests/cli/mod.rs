//! Our command line against docker's own: the same lines, the same engine, the
//! same output and exit status. `commands.txt` has the lines.

use carrack_tests::{Kind, Options, own};

/// Docker's client whose words the table was written after; older ones say
/// many things otherwise.
const CLIENT_MIN: u32 = 28;

#[test]
fn both_clients_say_the_same() {
    let test = "cli/both_clients_say_the_same";
    if Kind::from_env() != Kind::Carrack || carrack_tests::skipped(test) {
        return;
    }
    let mut engine = own(Options::default());
    let version = engine.client_version();
    let major = version
        .split('.')
        .next()
        .and_then(|n| n.parse::<u32>().ok());
    if major.is_none_or(|major| major < CLIENT_MIN) {
        println!("SKIP: {test}: docker's client {version} is older than {CLIENT_MIN}");
        return;
    }
    engine.image("busybox");
    let compared = engine.sh_bounded(
        &format!(
            "{} --docker $(command -v docker) --carrack {} --host $DOCKER_HOST",
            env!("CARGO_BIN_EXE_compare_clis"),
            carrack_tests::carrack_bin().display(),
        ),
        600,
    );
    assert_eq!(compared.code, 0, "{}\n{}", compared.stdout, compared.stderr);
    engine.sweep();
}
