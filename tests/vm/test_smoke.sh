#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# test_smoke.sh KERNEL - the test VM itself: what the guest has, and that scripts/vm-run.sh says truly how it ended. Little of that is the
# kernel's, and a start of a guest takes 13 s of CPU: `make test` does it on one.
# only-when-asked@6.18
set -uo pipefail

KERNEL=${1:?which kernel: 6.18, for example}
cd "$(dirname "$0")/../.." || exit 1
SCRATCH=$(mktemp -d)
trap 'rm -rf "$SCRATCH"' EXIT
trap 'exit 143' TERM INT
failed=0

# expect STATUS PATTERN OPTION... -- COMMAND...: run it; its exit status and a line of its output must be so.
expect() {
	local status=$1 pattern=$2 got=0 start=$SECONDS
	shift 2
	scripts/vm-run.sh --kernel "$KERNEL" --cpus 4 "$@" >"$SCRATCH/output" 2>&1 || got=$?
	if [ $got = 77 ]; then
		cat "$SCRATCH/output"
		exit 77
	fi
	if [ $got = "$status" ] && { [ -z "$pattern" ] || grep -qE -e "$pattern" "$SCRATCH/output"; }; then
		echo "ok: exit status $got, $((SECONDS - start)) s: $*"
	else
		echo "FAILED: exit status $got instead of $status, or no line \"$pattern\": $*"
		sed 's/^/  /' "$SCRATCH/output"
		failed=1
	fi
}

# The major version: the newest may have moved on since the kit was asked for (scripts/vm-kit.sh).
cat >"$SCRATCH/guest.sh" <<'END'
set -ex
[[ $(uname -r) == ${1%%.*}.* ]]
[ "$(nproc)" = 4 ]
[ "$(id -u)" = 0 ]
[ "$2" = "it's \$HOME" ]
[ -e /sys/kernel/sched_ext/state ]
[ -s /sys/kernel/btf/vmlinux ]
[ "$(stat -f -c %T /sys/fs/bpf)" = bpf_fs ]
[ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]
[ -z "$(ls -A /run/netns 2>/dev/null)" ]
ip netns add inside
ip link add outer type veth peer name inner
ip link set inner netns inside
ip address add 10.9.8.1/24 dev outer
ip link set outer up
ip -n inside address add 10.9.8.2/24 dev inner
ip -n inside link set inner up
ip netns exec inside python3 -c 'import socket; s = socket.socket(); s.bind(("10.9.8.2", 99)); s.listen(); s.accept()' &
until python3 -c 'import socket; socket.create_connection(("10.9.8.2", 99))' 2>/dev/null; do sleep 0.1; done
wait
python3 -c 'import socket; socket.create_server(("127.0.0.1", 0))'
echo kept >"$3/kept"
echo lost >tests/vm/lost # in the guest's memory only
echo all good
exit 3
END

mkdir "$SCRATCH/write"
expect 3 '^all good$' --write "$SCRATCH/write" -- bash "$SCRATCH/guest.sh" "$KERNEL" "it's \$HOME" "$SCRATCH/write"
if [ "$(cat "$SCRATCH/write/kept" 2>&1)" != kept ] || [ -e tests/vm/lost ]; then
	echo "FAILED: --write did not keep a file, or the guest wrote to this machine"
	failed=1
fi
# From the start of QEMU; whether the guest is up by then does not matter.
VM_PATIENCE=1 expect 124 'time was up' --timeout 15 -- sleep 1000
expect 125 'without an exit status' -- bash -c 'echo b >/proc/sysrq-trigger; sleep 100'
expect 126 'WARNING: made by the test' -- bash -c 'echo "<4>WARNING: made by the test" >/dev/kmsg'
expect 0 '' --allow 'made by the test' -- bash -c 'echo "<4>WARNING: made by the test" >/dev/kmsg
	echo "<4>sched_ext: BPF scheduler \"x\" disabled (unregistered from user space)" >/dev/kmsg'
expect 126 'sched_ext: .* disabled' -- bash -c 'echo "<3>sched_ext: BPF scheduler \"x\" disabled (runtime error)" >/dev/kmsg'

# Whoever ends the script ends QEMU and virtiofsd, too; all their command lines name its temporary folder.
left() {
	grep -lsa "$SCRATCH/[t]mp/" /proc/[0-9]*/cmdline # the brackets: so that it does not find itself
}
# Until the guest of process $1 has said so: as long as that takes, for vm-run.sh ends by itself.
wait_up() {
	while kill -0 "$1" 2>/dev/null && ! grep -q '^up$' "$SCRATCH/output"; do
		sleep 0.2
	done
}
mkdir "$SCRATCH/tmp"
for signal in TERM KILL; do
	: >"$SCRATCH/output" # the guest before has said it, too
	TMPDIR=$SCRATCH/tmp scripts/vm-run.sh --kernel "$KERNEL" --timeout 600 -- sh -c 'echo up; sleep 1000' >"$SCRATCH/output" 2>&1 &
	wait_up $!
	running=$(left | wc -l)
	kill -$signal $!
	wait $! 2>/dev/null
	for ((tries = 0; tries < 600; tries++)); do
		[ -n "$(left)" ] || break
		sleep 0.1
	done
	if [ "$running" -lt 3 ] || [ -n "$(left)" ] || { [ $signal = TERM ] && [ -n "$(ls "$SCRATCH/tmp")" ]; }; then
		echo "FAILED: $running processes before SIG$signal; after it:" "$(left)" "$(ls "$SCRATCH/tmp")"
		sed 's/^/  /' "$SCRATCH/output"
		failed=1
	else
		echo "ok: SIG$signal ends all $running processes"
	fi
done

# When QEMU itself fails, all is done again, three times at most. The first guest waits for it; the second finds a mark.
mkdir "$SCRATCH/again"
: >"$SCRATCH/output"
# shellcheck disable=SC2016 # the guest's shell expands it
TMPDIR=$SCRATCH/tmp scripts/vm-run.sh --kernel "$KERNEL" --timeout 900 --write "$SCRATCH/again" -- sh -c '
	[ ! -e "$1/first" ] || { echo up; exit 5; }
	touch "$1/first"
	echo up
	sleep 1000' sh "$SCRATCH/again" >"$SCRATCH/output" 2>&1 &
wait_up $!
for process in $(left); do
	process=${process#/proc/}
	process=${process%/cmdline}
	! tr '\0' ' ' <"/proc/$process/cmdline" | grep -q '^[^ ]*/ld-linux.*/qemu-system' || kill -ABRT "$process"
done
wait $!
status=$?
if [ $status = 5 ] && [ "$(grep -c '^up$' "$SCRATCH/output")" = 2 ] && grep -q 'QEMU itself failed.*signal 6' "$SCRATCH/output"; then
	echo "ok: done again when QEMU failed"
else
	echo "FAILED: exit status $status when QEMU failed, once"
	sed 's/^/  /' "$SCRATCH/output"
	failed=1
fi

# Reproducible: to the nanosecond.
for run in 1 2; do
	expect 0 '^[0-9.]+$' --icount --console "$SCRATCH/console-$run" --file /usr/bin/date -- /bin/sh -c 'sleep 0.1; date +%s.%N'
	mv "$SCRATCH/output" "$SCRATCH/time-$run"
done
if ! cmp "$SCRATCH/time-1" "$SCRATCH/time-2" || ! cmp "$SCRATCH/console-1" "$SCRATCH/console-2"; then
	echo "FAILED: two runs with --icount differ"
	failed=1
fi
exit $failed
