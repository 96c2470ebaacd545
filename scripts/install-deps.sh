#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# install-deps.sh - install what building, running and testing warmcore needs, on Debian 12 and 13 and Ubuntu 24.04.
#
# Only what is missing is installed, so on a machine that has everything this is instant and needs no network. A need is
# met by a package or, where many people bring their own (clang, node, python3), by a command that is new enough.
set -euo pipefail

ROOT=$(cd "$(dirname "$0")/.." && pwd)
KERNEL_MIN=5.18 # bpf_xdp_load_bytes; atomics that return a value (5.12) and bpf_loop (5.17) are older
CLANG_PREFERRED="19 20 21 22 18 17 16"
NODE_MIN=18

GROUP=run
CHECK=
ANY_KERNEL=
FAILED=
MISSING=() # packages to install
OLD=() # likewise, of Debian 12: this release has them no longer

usage() {
	cat <<-END
	Usage: scripts/install-deps.sh [--group run|image|test|bench] [--any-kernel] [--check]
	  --group run   what building and running needs (default)
	  --group image what running needs of what was built elsewhere, on the same distribution
	  --group test  that, and what tests, fuzzers and lint need
	  --group bench that, and what group http of the benchmarks measures beside
	  --any-kernel  it will not run on this machine's kernel: an image is made
	  --check       change nothing, say what is missing, exit 1 if something is
	END
}

warn() {
	echo "install-deps: warning: $*" >&2
}

# An error does not stop the script: the reader gets the whole list at once.
error() {
	echo "install-deps: error: $*" >&2
	FAILED=1
}

die() {
	error "$@"
	exit 1
}

while [ $# -gt 0 ]; do
	case $1 in
	--group) GROUP=${2:?--group needs run, image, test or bench} && shift ;;
	--any-kernel) ANY_KERNEL=1 ;;
	--check) CHECK=1 ;;
	-h | --help) usage && exit 0 ;;
	*) usage >&2 && exit 2 ;;
	esac
	shift
done
case $GROUP in run | image | test | bench) ;; *) usage >&2 && exit 2 ;; esac

installed() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# The distribution can install it. Looks at the package lists, so refresh_lists first.
available() {
	[[ $(apt-cache policy "$1" 2>/dev/null) =~ Candidate:\ [^\(] ]]
}

# Once, and only when something is missing.
refresh_lists() {
	[ -z "${REFRESHED:-}" ] || return 0
	REFRESHED=1
	[ "$(id -u)" = 0 ] || return 0
	apt-get -qq update || die "apt-get update failed: is there a network, and a mirror in /etc/apt?"
}

need() {
	local package
	for package in "$@"; do
		installed "$package" || MISSING+=("$package")
	done
}

at_least() {
	[ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]
}

# --- what is needed ---------------------------------------------------------------------------------------------------

need_clang() {
	local version
	"$ROOT/scripts/find-tool.sh" clang >/dev/null && return
	if [ -n "$CHECK" ]; then # the package lists may be empty here, so no guess which one it would be
		MISSING+=("clang-${CLANG_PREFERRED%% *}")
		return
	fi
	refresh_lists
	for version in $CLANG_PREFERRED; do
		if available "clang-$version"; then
			MISSING+=("clang-$version")
			return
		fi
	done
	error "no clang 16 or later in the package lists: older ones cannot build the BPF programs"
}

# libFuzzer and the sanitizers' libraries for the clang that the build uses.
need_clang_runtime() {
	local version package
	version=$("$ROOT/scripts/find-tool.sh" clang-version || true)
	for package in "${MISSING[@]}"; do
		case $package in clang-*[0-9]) version=${package#clang-} ;; esac
	done
	[ -z "$version" ] || need "libclang-rt-$version-dev"
}

need_bpftool() {
	"$ROOT/scripts/find-tool.sh" bpftool >/dev/null && return
	if [ "$ID" = ubuntu ]; then
		need linux-tools-common linux-tools-generic
	else
		need bpftool
	fi
}

need_node() {
	local version
	version=$(node --version 2>/dev/null || true)
	version=${version#v}
	[ -n "$version" ] && [ "${version%%.*}" -ge "$NODE_MIN" ] && return
	[ -z "$version" ] || warn "node $version is too old (need $NODE_MIN): installing the distribution's nodejs"
	need nodejs
}

need_run() {
	need build-essential pkgconf
	need_clang
	need_bpftool
	need libbpf-dev libxdp-dev libelf-dev zlib1g-dev libjansson-dev libnl-3-dev libnl-route-3-dev libseccomp-dev
	need libzip-dev nettle-dev libevent-dev libsqlite3-dev libssl-dev libcurl4-openssl-dev ca-certificates libncurses-dev libyaml-dev
	need_h2o libh2o-evloop-dev libh2o-dev-common libh2o-evloop0.13
	need iproute2 python3 python3-numpy libpython3-dev
	need_node
}

# The first of these, which asks for the others. Debian 13 has none of them, but all that they need.
need_h2o() {
	local package
	installed "$1" && return
	[ -n "$CHECK" ] || refresh_lists
	if [ -n "$CHECK" ] || available "$1" || [ "$ID" != debian ]; then
		need "$1"
		return
	fi
	for package in "$@"; do
		OLD+=("$package")
	done
	need libwslay1 libssl3t64
}

# One of these packages: a library has other names in other releases.
need_any() {
	local package
	for package in "$@"; do
		! installed "$package" || return 0
	done
	[ -n "$CHECK" ] || refresh_lists
	for package in "$@"; do
		available "$package" && MISSING+=("$package") && return
	done
	[ -z "$CHECK" ] || MISSING+=("$1") # the package lists may be empty here
	[ -n "$CHECK" ] || error "none of $* is in the package lists"
}

# The libraries of need_run without what compiles, and the languages of functions.
need_image() {
	need libbpf1 libxdp1 libjansson4 libnl-3-200 libnl-route-3-200 libseccomp2 libsqlite3-0 libncursesw6 libtinfo6 libyaml-0-2
	need_any libzip5 libzip4t64 libzip4
	need_any libnettle8t64 libnettle8
	need_any libevent-core-2.1-7t64 libevent-core-2.1-7
	need_any libevent-extra-2.1-7t64 libevent-extra-2.1-7
	if [ "$ID" = debian ]; then
		need_h2o libh2o-evloop0.13
	else
		need_any libh2o-evloop0.13t64 libh2o-evloop0.13
	fi
	need_any libssl3t64 libssl3
	need_any libcurl4t64 libcurl4
	need ca-certificates iproute2 python3 python3-numpy
	need_node
}

need_test() {
	need_run
	need libcmocka-dev clang-format cppcheck procps util-linux spin
	need debian-archive-keyring # on Ubuntu, too: VMs come from Debian, and scripts/vm-kit.sh fetches all else they need
	need_clang_runtime
	need openssl # a certificate for the gateway
	[ "$ID" = ubuntu ] || need chromium # the gateway's page; 122 MB to fetch, 414 MB on the disk; Ubuntu's is a snap, and test_web.py is skipped
	need gnuplot-nox # plots of `warmcore study`, which does without
	need python3-pyte ncurses-base # a terminal that `warmcore top` draws on
	need python3-prometheus-client # its parser of OpenMetrics; promtool is fetched by scripts/promtool-kit.sh
	need vpx-tools # the workflow media: 0.3 MB, and libvpx
	need python3-boto3 # the SDK of AWS inside of functions; that for JavaScript comes by scripts/npm-kit.sh
	need curl cmake autoconf automake libtool # custom runtimes: the shell example, and scripts/npm-kit.sh
	command -v etcd >/dev/null || need etcd-server # tests start their own: quiet_etcd keeps the package's from running
}

# Debian's etcd-server starts a server on port 2379 when it is installed, and at every boot. Neither is wanted: while the packages are
# installed, what asks before it starts a service (policy-rc.d) says no for this one; where there is such a policy already, or nobody
# asks, it is stopped afterwards.
POLICY=/usr/sbin/policy-rc.d
OUR_POLICY=
quiet_etcd() {
	[[ " ${MISSING[*]} " == *" etcd-server "* && ! -e $POLICY ]] || return 0
	OUR_POLICY=$POLICY
	cat >"$POLICY" <<-'END'
		#!/bin/sh
		# Of warmcore's scripts/install-deps.sh, and gone when it ends.
		case " $* " in *" etcd "* | *" etcd.service "*) exit 101 ;; esac
	END
	chmod 755 "$POLICY"
}
unquiet_etcd() {
	[ -z "$OUR_POLICY" ] || rm -f "$OUR_POLICY"
	OUR_POLICY=
	if [[ " ${MISSING[*]} " == *" etcd-server "* ]] && installed etcd-server; then
		update-rc.d etcd disable >/dev/null 2>&1 || true # systemd's unit, too
		invoke-rc.d etcd stop >/dev/null 2>&1 || true
	fi
}

# Not with the tests: Debian's nginx starts a server on port 80 when it is installed.
need_bench() {
	need_test
	need nginx-light wrk
}

# --- the kernel -------------------------------------------------------------------------------------------------------

check_kernel() {
	local release
	release=$(uname -r)
	if ! at_least "$KERNEL_MIN" "$release"; then
		error "kernel $release is too old for the XDP program, which needs $KERNEL_MIN or later." \
			"What still works: warmcored --datapath user (plain UDP sockets, no BPF)."
	elif [ ! -r /sys/kernel/btf/vmlinux ]; then
		warn "this kernel has no type information (/sys/kernel/btf/vmlinux; CONFIG_DEBUG_INFO_BTF)." \
			"If the XDP program does not load, use --datapath user."
	fi
}

# --- main -------------------------------------------------------------------------------------------------------------

[ -r /etc/os-release ] || die "no /etc/os-release: which distribution is this?"
# shellcheck source=/dev/null
. /etc/os-release
if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
	die "${PRETTY_NAME:-this system} has no apt. Install by hand: clang 16+, bpftool, libbpf, libxdp, libelf, zlib," \
		"jansson, libnl3 (with route), libseccomp, libzip, nettle, libevent, sqlite 3.37+, libh2o-evloop, openssl, curl, ncurses, libyaml, cmocka, python3 with numpy, node $NODE_MIN+"
fi
case $ID-${VERSION_ID:-} in
debian-12 | debian-13 | ubuntu-24.04) ;;
*) warn "${PRETTY_NAME:-$ID} is not tested: Debian 12, 13 and Ubuntu 24.04 are" ;;
esac

need_"$GROUP"
[ -n "$ANY_KERNEL" ] || check_kernel

ALL=("${MISSING[@]}" "${OLD[@]}")
if [ ${#ALL[@]} -gt 0 ]; then
	if [ -n "$CHECK" ]; then
		echo "missing: ${ALL[*]}"
		exit 1
	fi
	if [ "$(id -u)" != 0 ]; then
		die "missing: ${ALL[*]}. Run as root: $0 --group $GROUP"
	fi
	refresh_lists
	LOG=$(mktemp)
	DEBS=$(mktemp -d)
	trap 'unquiet_etcd; rm -rf "$DEBS"' EXIT
	echo "installing: ${ALL[*]}"
	if [ ${#OLD[@]} -gt 0 ]; then
		echo "of these from Debian 12, because this release has them no longer: ${OLD[*]}"
		mapfile -t FILES < <("$ROOT/scripts/bookworm-debs.sh" "$DEBS" "${OLD[@]}")
		[ ${#FILES[@]} = ${#OLD[@]} ] || die "could not fetch them (see above)"
		MISSING+=("${FILES[@]}")
	fi
	quiet_etcd
	if ! DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends \
		-o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 install "${MISSING[@]}" >"$LOG" 2>&1 </dev/null; then
		cat "$LOG" >&2
		rm -f "$LOG"
		die "apt-get could not install them"
	fi
	rm -f "$LOG"
	for tool in clang bpftool; do
		[ "$GROUP" != image ] || break
		"$ROOT/scripts/find-tool.sh" $tool >/dev/null || error "$tool does not run although its package is installed"
	done
fi
[ -z "$FAILED" ]
