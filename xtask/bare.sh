#!/bin/sh
# Runs a command of this checkout in a bare Debian: nothing in it but what the
# command installs, and the Rust toolchain of this machine. Needs root, mmdebstrap.
#
#   xtask/bare.sh bookworm ./demo
#   xtask/bare.sh trixie ./test
#
# The root is entered by pivot_root in mount, pid and ipc namespaces of its own: in a chroot the
# kernel refuses user namespaces. It is kept in BARE_DIR for the next run; remove
# it to begin from nothing. The checkout is copied, so nothing is built into it.
set -eu
suite=${1:?suite: bookworm or trixie}
shift
[ $# -gt 0 ] || { echo "usage: $0 SUITE COMMAND..." >&2; exit 2; }
checkout=$(cd "$(dirname "$0")/.." && pwd)
dir=${BARE_DIR:-/var/tmp/carrack-bare}
root=$dir/$suite
cargo_home=${CARGO_HOME:-$HOME/.cargo}
rustup_home=${RUSTUP_HOME:-$HOME/.rustup}

if [ ! -e "$root/etc/os-release" ]; then
	mkdir -p "$dir"
	mmdebstrap --mode=root --variant=minbase --quiet "$suite" "$root"
fi
rm -rf "$root/src"
mkdir -p "$root/src" "$root/old" "$root/root/.cargo" "$root/root/.rustup"
git -C "$checkout" ls-files -z --cached --others --exclude-standard |
	(cd "$checkout" && tar --null --files-from=- --ignore-failed-read -cf - 2>/dev/null) | tar -C "$root/src" -xf -
cp /etc/resolv.conf "$root/etc/resolv.conf"

export root cargo_home rustup_home
exec unshare --mount --pid --ipc --fork --propagation private sh -eu -c '
	mount --bind "$root" "$root"
	mount -t proc proc "$root/proc"
	mount --rbind /sys "$root/sys"
	mount --rbind /dev "$root/dev"
	mount -t tmpfs run "$root/run"
	[ ! -d "$cargo_home" ] || mount --bind "$cargo_home" "$root/root/.cargo"
	[ ! -d "$rustup_home" ] || mount --bind "$rustup_home" "$root/root/.rustup"
	cd "$root"
	pivot_root . old
	umount -l /old
	cd /src
	exec env -i HOME=/root TERM="${TERM:-dumb}" LANG=C.UTF-8 CARGO_TERM_COLOR=never \
		CARGO_TARGET_DIR=/var/cache/carrack-target \
		PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
' sh "$@"
