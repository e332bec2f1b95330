# Sourced by ./demo and ./test: what the machine must have. POSIX sh.
# Says what it installs before it does; installs with apt (Debian 12 and 13;
# Ubuntu 24.04 has the same names and is untried).

say() { printf '\n== %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

need_root() {
	[ "$(id -u)" -eq 0 ] || die "$0 needs root: it makes namespaces, mounts and control groups.
hint: sudo $0"
}

# need_packages NAME...: installs those that are missing.
need_packages() {
	missing=
	for package; do
		case $(dpkg-query -W -f='${Status}' "$package" 2>/dev/null) in
		*' installed') ;;
		*) missing="$missing $package" ;;
		esac
	done
	[ -n "$missing" ] || return 0
	say "installing with apt:$missing"
	command -v apt-get >/dev/null || die "no apt-get here. Install these by hand:$missing"
	apt-get update -qq
	# shellcheck disable=SC2086 # a list of names
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
		die "apt-get install failed:$missing"
}

# Whether the cargo of the path is at least the workspace's rust-version.
new_enough() {
	have=$(cargo --version 2>/dev/null | sed -n 's/^cargo \([0-9]*\.[0-9]*\).*/\1/p')
	[ -n "$have" ] && [ "${have%%.*}" -eq "${want%%.*}" ] && [ "${have#*.}" -ge "${want#*.}" ]
}

# need_rust [COMPONENT...]: cargo, by rustup where it is missing or too old.
need_rust() {
	want=$(sed -n 's/^rust-version = "\([0-9]*\.[0-9]*\).*/\1/p' Cargo.toml)
	PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
	export PATH
	new_enough && return 0
	if command -v rustup >/dev/null; then
		say "cargo ${have:-is missing}; installing Rust $want with rustup"
		rustup toolchain install "$want" --profile minimal || no_rust
		RUSTUP_TOOLCHAIN=$want
		export RUSTUP_TOOLCHAIN
	else
		say "cargo ${have:-is missing}; installing Rust $want with rustup from https://sh.rustup.rs into ${CARGO_HOME:-$HOME/.cargo}"
		need_packages ca-certificates curl
		script=$(mktemp)
		curl --proto '=https' --tlsv1.2 -sSf --connect-timeout 30 -o "$script" https://sh.rustup.rs || no_rust
		sh "$script" -y --profile minimal --no-modify-path --default-toolchain "$want" || no_rust
		rm -f "$script"
	fi
	for component; do
		rustup component add "$component" || no_rust
	done
	new_enough || no_rust
}

no_rust() {
	die "Rust $want or newer is needed and could not be installed here.
hint: on a machine that reaches static.rust-lang.org run
          curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --default-toolchain $want
      or install cargo and rustc $want (with clippy and rustfmt for ./test) by any other way,
      put them on the PATH, and run $0 again"
}

# The directory into which cargo builds: CARGO_TARGET_DIR, a config file, or target/.
target_dir() {
	cargo metadata --format-version 1 --no-deps --offline 2>/dev/null |
		sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}
