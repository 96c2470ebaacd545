#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# demo.sh - the demonstration of `make run`: start a node of its own, run the examples of all three languages cold and
# warm, check what they answer, show the kernel's side of it, stop the node, and make sure that nothing is left.
#
# Ends with 0 only if every answer was right and nothing was left. Needs root, and a build (scripts/run.sh makes one).
set -uo pipefail

cd "$(dirname "$0")/.." || exit 1
BUILD=$(realpath -m "${WARMCORE_BUILD:-build}")
NODE=demo
PORT=47590
STATE=
PINS=/sys/fs/bpf/warmcore/$NODE
export BUILD NODE PINS STATE

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
	BOLD=$'\e[1m' GREEN=$'\e[32m' RED=$'\e[31m' YELLOW=$'\e[33m' PLAIN=$'\e[0m'
else
	BOLD='' GREEN='' RED='' YELLOW='' PLAIN=''
fi
export BOLD GREEN RED YELLOW PLAIN

heading() {
	printf '\n%s%s%s\n' "$BOLD" "$*" "$PLAIN"
}

die() {
	printf '%sdemo: %s%s\n' "$RED" "$*" "$PLAIN" >&2
	exit 1
}

warmcore() {
	"$BUILD/bin/warmcore" --node "$NODE" "$@"
}

[ "$(id -u)" = 0 ] || die "needs root, for network namespaces and BPF: sudo make run"
for program in bin/warmcore bin/warmcored tests/bench/bench_rtt; do
	[ -x "$BUILD/$program" ] || die "$BUILD/$program is missing: use make run"
done

# --- the node ---------------------------------------------------------------------------------------------------------

CLEAN=
stop_node() {
	local down=0
	warmcore down --force --timeout 10 >/dev/null || down=$?
	[ -z "$STATE" ] || rm -rf "$STATE"
	[ $down = 0 ] || return $down
	CLEAN=1
}

# Whatever ends this script ends the node.
on_exit() {
	local status=$?
	trap '' INT TERM HUP
	if [ -z "$CLEAN" ] && ! stop_node && ! stop_node; then # twice: the daemon may have died while it was asked
		echo "demo: the node could not be stopped: warmcore --node $NODE down --force" >&2
		status=1
	fi
	exit "$status"
}
trap 'exit 130' INT
trap 'exit 143' TERM HUP
trap on_exit EXIT

# What a killed demonstration left behind goes first.
stop_node || die "a node '$NODE' of an earlier run cannot be removed"
CLEAN=
find /tmp -maxdepth 1 -type d -user root -name "warmcore-$NODE-??????" -exec rm -rf {} +
STATE=$(mktemp -d "/tmp/warmcore-$NODE-XXXXXX") || die "cannot make a state folder in /tmp"
chmod 755 "$STATE" # functions run as users of their own

heading "A node in a network namespace of its own"
ERROR=$(mktemp)
KERNEL=1
if ! warmcore up --port $PORT --state-dir "$STATE" >/dev/null 2>"$ERROR"; then
	cat "$ERROR" >&2
	warmcore down --force >/dev/null 2>&1
	KERNEL=
	warmcore up --port $PORT --state-dir "$STATE" --datapath user >/dev/null 2>"$ERROR" || {
		cat "$ERROR" >&2
		rm -f "$ERROR"
		die "the node starts neither on the kernel datapath nor on the user one; see also: $BUILD/bin/warmcore doctor"
	}
	cat >&2 <<-END

	$YELLOW!!  The kernel datapath does not work on this host (why: above; details: $BUILD/bin/warmcore doctor).
	!!  What follows runs on --datapath user: plain UDP sockets, no XDP program, no BPF.$PLAIN

	END
fi
rm -f "$ERROR"
export KERNEL
warmcore status | sed -n '1,6p'

DAEMON=$(warmcore --json status | python3 -c 'import json, sys; print(json.load(sys.stdin)["node"]["pid"])') ||
	die "the node does not say its status"

# --- the functions ----------------------------------------------------------------------------------------------------

# As a file: standard input stays the terminal's, so that Ctrl-C and progress work.
python3 scripts/demo.py || exit 1
heading "Clean up"

# --- the end ----------------------------------------------------------------------------------------------------------

BPFTOOL=$(scripts/find-tool.sh bpftool || true)
PROCESSES="$DAEMON $(cat "/proc/$DAEMON"/task/*/children 2>/dev/null)"
PROGRAM=
if [ -n "$KERNEL" ] && [ -n "$BPFTOOL" ]; then
	PROGRAM=$("$BPFTOOL" prog show pinned "$PINS/progs/wc_dispatch" | sed -n 's/^\([0-9]*\):.*/\1/p')
fi

stop_node || die "warmcore down failed"

# Not a zombie either, which is up to whoever adopted it.
alive() {
	local state
	state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null)
	[ -n "$state" ] && [ "$state" != Z ]
}

left=()
[ ! -e "/run/netns/warmcore-$NODE" ] || left+=("the network namespace warmcore-$NODE")
[ ! -e "/sys/class/net/wc-$NODE" ] || left+=("the network device wc-$NODE")
[ ! -e "$PINS" ] || left+=("the BPF pins $PINS")
[ ! -e "/run/warmcore/$NODE" ] || left+=("the folder /run/warmcore/$NODE")
[ ! -e "$STATE" ] || left+=("the state folder $STATE")
for file in /dev/shm/*warmcore*"$NODE"*; do
	[ ! -e "$file" ] || left+=("$file")
done
for pid in $PROCESSES; do
	for _ in {1..20}; do # a process that has ended stays listed until its new parent has noticed
		alive "$pid" || break
		sleep 0.1
	done
	! alive "$pid" || left+=("process $pid, $(cat "/proc/$pid/comm" 2>/dev/null)")
done
if [ -n "$PROGRAM" ]; then
	for _ in {1..20}; do # the kernel frees programs a moment after their last user
		"$BPFTOOL" prog show id "$PROGRAM" >/dev/null 2>&1 || break
		sleep 0.1
	done
	! "$BPFTOOL" prog show id "$PROGRAM" >/dev/null 2>&1 || left+=("the BPF program with id $PROGRAM")
fi
if [ ${#left[@]} -gt 0 ]; then
	printf '  left behind: %s\n' "${left[@]}" >&2
	die "the node left something behind"
fi
echo "  node down; nothing left: namespace, device, BPF pins and program, processes, /run, /dev/shm, state"
if [ -n "$KERNEL" ]; then
	printf '\n%severything worked%s: each answer was right, through the XDP program, and nothing is left\n' "$GREEN" "$PLAIN"
else
	printf '\n%severything worked, but NOT through the kernel datapath%s: see above\n' "$YELLOW" "$PLAIN"
fi
