#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# run.sh - run the tests that are built: one line a test program, output only of those that fail, and at the end one
# line that counts them. CONTRIBUTING.md says how to write and skip tests.
#
# Which tests there are follows from the sources, so one that was not built fails instead of being forgotten. Exit
# status: 0 when something ran and nothing failed, 77 when everything was skipped, else 1.
set -uo pipefail

ROOT=$(cd "$(dirname "$0")/.." && pwd)
BUILD=$(realpath -m "${WARMCORE_BUILD:-$ROOT/build}")
JOBS=2
LIMIT=${TEST_TIMEOUT:-600} # seconds; generous, only to end what hangs
FUZZ_RUNS=${FUZZ_RUNS:-50000}
VM_KERNELS=${VM_KERNELS:-6.18 7.3}
UNSTEADY_MAX=${UNSTEADY_MAX:-0}
VERBOSE=
LIST=
PATTERNS=()

usage() {
	cat <<-END
	Usage: tests/run.sh [-j JOBS] [-t SECONDS] [-v] [-l] [PATTERN...]
	  PATTERN     run the tests whose name contains it (all without one)
	  -j JOBS     at once, where tests allow it (default $JOBS)
	  -t SECONDS  limit for one test program (default $LIMIT), eight times as long for those in a VM
	  -v          show the output of tests that pass, too
	  -l          list the names and stop
	Environment: WARMCORE_BUILD (default build), TEST_TIMEOUT, FUZZ_RUNS (default $FUZZ_RUNS), VM_KERNELS (default
	"$VM_KERNELS"), WARMCORE_VM_KIT (scripts/vm-kit.sh), UNSTEADY_MAX (default $UNSTEADY_MAX): when no more than so many
	fail, each of them is run twice more, by itself; who passes both is unsteady, which is told, and no failure.
	END
}

while getopts j:t:vlh option; do
	case $option in
	j) JOBS=$OPTARG ;;
	t) LIMIT=$OPTARG ;;
	v) VERBOSE=1 ;;
	l) LIST=1 ;;
	h) usage && exit 0 ;;
	*) usage >&2 && exit 2 ;;
	esac
done
shift $((OPTIND - 1))
PATTERNS=("$@")

cd "$ROOT" || exit 1
export WARMCORE_BUILD=$BUILD
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_stack_use_after_return=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1}

# --- which tests there are --------------------------------------------------------------------------------------------

# Names, in the order in which they are started. NAME:asan and NAME:tsan are the same source built with a sanitizer;
# NAME@6.18 is run for that kernel.
list_tests() {
	local source name kernel
	for source in tests/unit/test_*.c; do
		name=${source#tests/} name=${name%.c}
		echo "$name"
		echo "$name:asan"
		[[ $name != *_mt ]] || echo "$name:tsan"
	done
	for source in tests/bpf/test_*.c tests/fuzz/fuzz_*.c; do
		name=${source#tests/}
		echo "${name%.c}"
	done
	for source in tests/vm/test_*.sh; do
		for kernel in $VM_KERNELS; do
			echo "${source#tests/}@$kernel"
		done
	done
	for source in tests/model/test_*.sh tests/e2e/test_*.sh tests/e2e/test_*.py; do
		echo "${source#tests/}"
	done
}

selected() {
	local pattern
	[ ${#PATTERNS[@]} -gt 0 ] || return 0
	for pattern in "${PATTERNS[@]}"; do
		pattern=${pattern#tests/}
		[[ $1 != *"${pattern%.c}"* ]] || return 0
	done
	return 1
}

# Whether other tests may run at the same time. Those in VMs touch nothing of this machine.
parallel_safe() {
	[[ $1 != e2e/* ]] || grep -q '^# parallel-safe$' "tests/$1"
}

# Whether it waits for most of its time: such a one runs beside those that compute.
mostly_waits() {
	[[ $1 == unit/* ]] && grep -qxE '( \*|/\*) mostly-waits( \*/)?' "tests/${1%:*}.c"
}

# Whether it runs only when a pattern asks for it (make test-vm does): everywhere, or on the kernel that the line names.
only_when_asked() {
	local kernel=${1#*@}
	[[ $VM_KERNELS == *' '* ]] || kernel=none # with one kernel there is no other that would do
	[[ ${#PATTERNS[@]} = 0 && $1 == vm/* ]] && grep -qxE "# only-when-asked(@$kernel)?" "tests/${1%@*}"
}

# What takes minutes in a VM, and says where it reads this what it leaves out.
[ ${#PATTERNS[@]} -gt 0 ] || export VM_SHORT=1

shopt -s nullglob
TESTS=()
while read -r test; do
	! selected "$test" || only_when_asked "$test" || TESTS+=("$test")
done < <(list_tests)
shopt -u nullglob

if [ -n "$LIST" ]; then
	printf '%s\n' "${TESTS[@]}"
	exit 0
fi

# --- running one ------------------------------------------------------------------------------------------------------

SCRATCH=$(mktemp -d)
mkdir "$SCRATCH"/{result,output,group}
touch "$SCRATCH/lock"

POOLS=() # pids of what starts tests, while it does
# Shellcheck does not see that traps call these two.
# shellcheck disable=SC2317
kill_groups() {
	local file
	for file in "$SCRATCH"/group/*; do
		[ ! -e "$file" ] || kill -KILL -- "-$(cat "$file")" 2>/dev/null
	done
}
# shellcheck disable=SC2317
interrupted() {
	trap - INT TERM
	[ ${#POOLS[@]} = 0 ] || kill "${POOLS[@]}" 2>/dev/null
	kill_groups
	echo "interrupted" >&2
	exit 130
}
trap interrupted INT TERM
trap 'rm -rf "$SCRATCH"' EXIT

# Sanitizers need room at fixed addresses, which strong randomisation may take; where personality(2) is refused, try
# without.
NO_RANDOM=()
if setarch "$(uname -m)" -R true 2>/dev/null; then
	NO_RANDOM=(setarch "$(uname -m)" -R)
fi

# Sets COMMAND to what runs test $1; fails when its program is not there.
set_command() {
	local name=${1%[:@]*}
	case $1 in
	vm/*) COMMAND=(bash "tests/$name" "${1#*@}") ;;
	*:asan) COMMAND=("${NO_RANDOM[@]}" "$BUILD/san/tests/$name") ;;
	*:tsan) COMMAND=("${NO_RANDOM[@]}" "$BUILD/tsan/tests/$name") ;;
	fuzz/*)
		# A copy of the corpus: the fuzzer adds what it finds to it. Its own exit status for a crash is 77, our "skipped".
		local corpus=$SCRATCH/corpus/${name#fuzz/}
		mkdir -p "$corpus"
		cp -r "tests/fuzz/corpus/${name#fuzz/}/." "$corpus" 2>/dev/null
		COMMAND=("${NO_RANDOM[@]}" "$BUILD/$name" "-runs=$FUZZ_RUNS" -max_total_time=30 -seed=1 -max_len=4096 -timeout=60
			-error_exitcode=1 "-artifact_prefix=$BUILD/fuzz/" "$corpus")
		;;
	*.py) COMMAND=(python3 "tests/$name") ;;
	*.sh) COMMAND=(bash "tests/$name") ;;
	*) COMMAND=("$BUILD/tests/$name") ;;
	esac
	case $1 in
	*.py | *.sh | vm/*) ;;
	fuzz/*) [ -x "$BUILD/$name" ] ;;
	*) [ -x "${COMMAND[-1]}" ] ;;
	esac
}

# verdict TEST RESULT TEXT: record it and print its line, with the output when it failed.
verdict() {
	local file=${1//\//@}
	echo "$2" >"$SCRATCH/result/$file"
	{
		flock 9
		printf '%-4s  %s%s\n' "$2" "$1" "${3:+  ($3)}"
		if [ "$2" = FAIL ] || [ -n "$VERBOSE" ]; then
			[ ! -s "$SCRATCH/output/$file" ] || sed 's/^/      | /' "$SCRATCH/output/$file"
		fi
	} 9>"$SCRATCH/lock"
}

run_test() {
	local test=$1 file=${1//\//@} limit=$LIMIT status group start=$EPOCHREALTIME seconds reason
	if ! set_command "$test"; then
		verdict "$test" FAIL "not built: make test-programs"
		return
	fi
	if [[ $test == vm/* && -e $SCRATCH/no-kit@${test#*@} ]]; then
		reason=$(tail -n 1 "$SCRATCH/kit@${test#*@}")
		verdict "$test" "$(cat "$SCRATCH/no-kit@${test#*@}")" "${reason#SKIP: }"
		return
	fi
	# A virtual CPU is slow, and two machines share the host's.
	[[ $test != vm/* ]] || limit=$((LIMIT * 8))
	# timeout(1) makes itself the leader of a process group, and ends that.
	timeout -k 10 "$limit" "${COMMAND[@]}" >"$SCRATCH/output/$file" 2>&1 </dev/null 9>&- &
	group=$!
	echo $group >"$SCRATCH/group/$file"
	wait $group
	status=$?
	kill -KILL -- -$group 2>/dev/null # what the test left running in the background
	rm -f "$SCRATCH/group/$file"
	seconds=$(awk "BEGIN { printf \"%.1f s\", $EPOCHREALTIME - $start }")
	case $status in
	0) verdict "$test" ok "$seconds" ;;
	77)
		reason=$(grep -i 'skip' "$SCRATCH/output/$file" | tail -n 1 || true)
		reason=${reason#SKIP}
		verdict "$test" SKIP "${reason#: }"
		;;
	124 | 137) verdict "$test" FAIL "exit status $status after $seconds, the limit is $limit s" ;;
	*) verdict "$test" FAIL "exit status $status, $seconds" ;;
	esac
}

# --- what must not be left behind -------------------------------------------------------------------------------------

traces() {
	local path name
	shopt -s nullglob
	for path in /run/netns/{warmcore,wc}* /sys/fs/bpf/warmcore/* /sys/fs/bpf/warmcore /dev/shm/*warmcore* \
		/run/warmcore /run/warmcore/* /sys/class/net/wc* /sys/fs/cgroup/warmcore* /var/lib/warmcore/*; do
		echo "$path"
	done
	shopt -u nullglob
	for path in /proc/[0-9]*; do
		name=$(tr '\0' ' ' 2>/dev/null <"$path/cmdline")
		case ${name%% *} in # who builds one of them is none
		warmcored | */warmcored | *warmcore-native*) ;;
		*) [[ $name == *warmcore_runtime.* ]] || continue ;;
		esac
		echo "process ${path#/proc/}: $name"
	done
}

# Children of a process that was killed take a moment to go.
check_leftovers() {
	local left tries
	for tries in 1 2 3 4 5 6; do
		left=$(traces | sort | comm -13 "$SCRATCH/before" - | grep -vFf "$SCRATCH/others")
		[ -n "$left" ] || break
		[ "$tries" = 6 ] || sleep 0.5
	done
	echo "$left" >"$SCRATCH/output/leftovers"
	if [ -z "$left" ]; then
		verdict leftovers ok
	else
		verdict leftovers FAIL "the tests left these behind"
	fi
}

# A splat of the kernel while the tests ran is a failure whoever seems to have passed.
check_kernel_log() {
	if ! dmesg >/dev/null 2>&1; then
		verdict kernel-log SKIP "dmesg is not readable"
		return
	fi
	dmesg | awk -v start="${1:-0}" 'match($0, /^\[ *[0-9.]+\]/) && substr($0, 2, RLENGTH - 2) + 0 > start' |
		grep -E 'kernel BUG at|BUG: |WARNING: CPU|Oops: |KASAN|UBSAN|general protection fault: ' >"$SCRATCH/output/kernel-log"
	if [ -s "$SCRATCH/output/kernel-log" ]; then
		verdict kernel-log FAIL "the kernel complained"
	else
		verdict kernel-log ok
	fi
}

# --- main -------------------------------------------------------------------------------------------------------------

traces | sort >"$SCRATCH/before"
# Nodes that are up already go on starting instances meanwhile: their command lines name the node's folder.
sed -n 's|^/run/warmcore/.*|&/|p' "$SCRATCH/before" >"$SCRATCH/others"
KERNEL_LOG_END=$(dmesg 2>/dev/null | sed -n '$s/^\[ *\([0-9.]*\)\].*/\1/p')

# Once and before the tests, so that none of them waits for a network. Status 77: this machine cannot have it.
for kernel in $VM_KERNELS; do
	[[ " ${TESTS[*]} " == *"@$kernel "* ]] || continue
	scripts/vm-kit.sh --kernel "$kernel" 2>&1 >/dev/null | tee "$SCRATCH/kit@$kernel" >&2
	case ${PIPESTATUS[0]} in
	0) ;;
	77) echo SKIP >"$SCRATCH/no-kit@$kernel" ;;
	*) echo FAIL >"$SCRATCH/no-kit@$kernel" ;;
	esac
done

# Of these, $JOBS at once.
run_pool() {
	local running=0 test
	for test in "$@"; do
		if [ "$running" -ge "$JOBS" ]; then
			wait -n
			running=$((running - 1))
		fi
		run_test "$test" &
		running=$((running + 1))
	done
	wait
}

result() {
	cat "$SCRATCH/result/${1//\//@}" 2>/dev/null
}

# A failure under load that does not come again is a defect all the same, of the test or of what it tests; but it is told from one that does.
run_failed_again() {
	local test again=()
	for test in "${TESTS[@]}"; do
		case $(result "$test") in ok | SKIP) ;; *) again+=("$test") ;; esac
	done
	[ ${#again[@]} -le "$UNSTEADY_MAX" ] || return 0
	for test in "${again[@]}"; do
		for _ in 1 2; do
			run_test "$test"
			[ "$(result "$test")" = ok ] || continue 2
		done
		echo UNSTEADY >"$SCRATCH/result/${test//\//@}"
		UNSTEADY+=("$test")
	done
}

QUICK=() WAITING=() IN_VMS=() ALONE=() SYSTEM='' UNSTEADY=()
for test in "${TESTS[@]}"; do
	case $test in
	vm/*) IN_VMS+=("$test") ;;
	*) if [ "$JOBS" -gt 1 ] && mostly_waits "$test"; then WAITING+=("$test"); elif parallel_safe "$test"; then QUICK+=("$test"); else ALONE+=("$test"); fi ;;
	esac
	case $test in bpf/* | e2e/*) SYSTEM=1 ;; esac
done
run_pool "${QUICK[@]}" &
POOLS=($!)
(for test in "${WAITING[@]}"; do run_test "$test"; done) &
POOLS+=($!)
wait "${POOLS[@]}"
# Virtual machines compute all the time, end-to-end tests wait more than half of theirs: side by side, but these first.
(
	renice -n 19 -p $BASHPID >/dev/null
	export VM_PATIENCE=3 # they get what the others leave
	run_pool "${IN_VMS[@]}"
) &
POOLS=($!)
for test in "${ALONE[@]}"; do
	run_test "$test"
done
wait "${POOLS[@]}"
POOLS=()
run_failed_again
if [ -n "$SYSTEM" ]; then
	check_leftovers
	check_kernel_log "$KERNEL_LOG_END"
	TESTS+=(leftovers kernel-log)
fi

passed=0 failed=0 skipped=0 ran=0
for test in "${TESTS[@]}"; do
	case $(result "$test") in
	ok)
		passed=$((passed + 1))
		case $test in leftovers | kernel-log) ;; *) ran=1 ;; esac
		;;
	SKIP) skipped=$((skipped + 1)) ;;
	UNSTEADY) ran=1 ;;
	*) failed=$((failed + 1)) ;;
	esac
done
[ ${#UNSTEADY[@]} = 0 ] || echo "unsteady: ${UNSTEADY[*]} failed above, and then passed twice: find out why"
echo "$passed passed, $failed failed, $skipped skipped, ${#UNSTEADY[@]} unsteady"
[ "$failed" = 0 ] || exit 1
[ "$ran" = 0 ] || exit 0
[ "$skipped" = 0 ] || exit 77
exit 1
