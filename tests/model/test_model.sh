#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# test_model.sh [full] - the protocols of the free-core queue (freeq.pml) and of lines (line.pml) as models, checked by spin.
#
# A model has to pass in each configuration, searched to the end; and with each mutation spin has to find the error
# that it is made for, or the model proves nothing. `full`: larger configurations as well, a quarter of an hour and 6 GB
# instead of half a minute and 1.5 GB. JOBS=N searches N at once (default 2). Exit status 77 = skipped.
#
# parallel-safe
set -u

here=$(cd "$(dirname "$0")" && pwd)
jobs=${JOBS:-2}
full=${1:-} # or nothing
limit=${MODEL_TIMEOUT:-3000} # seconds for one search

skip() { echo "SKIP: $1"; exit 77; }
command -v spin >/dev/null || skip "spin is not installed (apt-get install spin)"
command -v cc >/dev/null || skip "cc is not installed"

tmp=$(mktemp -d)
# Shellcheck does not see that the trap calls this.
# shellcheck disable=SC2317
teardown() {
	local job
	for job in $(jobs -p); do kill "$job" 2>/dev/null; done
	wait
	rm -rf "$tmp"
}
trap teardown EXIT
trap 'exit 130' INT TERM

# What pan prints for each kind of error.
declare -A errors=(
	[lost]='invalid end state'
	[assert]='assertion violated'
	[cycle]='non-progress cycle'
)

# The verdict about the output of pan in the current folder. Prints why not.
judge() {
	local wants=$1 checks='invalid end states\s+\+'
	case $wants in ends | cycle) checks='non-progress cycles\s+\+' ;; esac
	grep -q '^Full statespace search' out || { echo "no search: $(tail -n 1 out)"; return 1; }
	grep -qE "$checks" out || { echo "the check is not switched on"; return 1; }
	if grep -qE 'Search not completed|max search depth too small|out of memory' out &&
		! grep -q '^pan:1: ' out; then
		echo "searched in part only"
		return 1
	fi
	case $wants in
	passes | ends)
		grep -q 'errors: 0$' out || { grep -m1 '^pan:1: ' out; return 1; }
		[ "$(states)" -gt 1000 ] || { echo "no more than $(states) states"; return 1; }
		;;
	*)
		grep -q "^pan:1: ${errors[$wants]}" out ||
			{ echo "no '${errors[$wants]}' but: $(grep -m1 -E '^pan:1: |errors: ' out)"; return 1; }
		;;
	esac
}

states() { awk '/states, stored/ { printf "%d", $1 }' out; }

# search NUMBER WANTS TEXT DEFINITION...: one line. Spin and pan work in a folder of their own.
search() {
	local wants=$2 text=$3 start=$EPOCHREALTIME build=(-O0 -DSAFETY) options=(-m100000) why verdict=ok
	mkdir "$tmp/$1" && cd "$tmp/$1" || exit 1
	shift 3
	case $wants in
	passes)
		build=(-O1 -DSAFETY) # with -O2 most take longer to compile than they gain
		[ ! "$full" ] || build+=(-DCOLLAPSE) # half the memory, a third more time
		;;
	ends | cycle) build=(-O2 -DNP) options+=(-l) ;;
	esac
	cp "$here/$model" . || exit 1
	if ! spin -a "$@" "$model" >log 2>&1 || ! cc -w "${build[@]}" -o pan pan.c >>log 2>&1; then
		printf 'FAIL  %s: it does not compile\n' "$text"
		tail -n 5 log
		exit 1
	fi
	timeout "$limit" ./pan "${options[@]}" >out 2>&1 &
	# shellcheck disable=SC2064
	trap "kill $!; exit 1" TERM
	wait $!
	why=$(judge "$wants") || verdict=FAIL
	printf '%-4s  %-6s %9d states %5.1f s  %s  (%s)\n' $verdict "$wants" "$(states)" \
		"$(awk "BEGIN { print $EPOCHREALTIME - $start }")" "$text" "${*#-D}"
	[ $verdict = ok ] && exit 0
	printf '      | %s\n' "$why"
	# The way there: what each step did.
	[ ! -e "$model.trail" ] ||
		spin -t -p "$@" "$model" 2>/dev/null | grep -E 'proc +[1-9]' | tail -n 60 | sed 's/^/      | /'
	exit 1
}

model=freeq.pml
count=0
running=0
failures=0

# check WANTS TEXT DEFINITION...: passes (every state visited, no error), ends (no cycle), or the kind of the error.
check() {
	count=$((count + 1))
	if [ $running -ge "$jobs" ]; then
		wait -n || failures=$((failures + 1))
		running=$((running - 1))
	fi
	(trap - EXIT; search $count "$@") &
	running=$((running + 1))
}

# --- the protocol as it is; the long searches first ---

check passes "three cores, two words" -DCORES=3 -DSEND0=1
check passes "a limit, and refusals" -DBUSY -DSEND0=1 -DLIMITED=3 -DREFUSE
check passes "a core moves to another shard" -DSEND1=0 -DMOVER=0
check passes "two cores" -DSEND0=2
check passes "a limit, XDP and the stack thread" -DBUSY -DSEND0=1 -DSTACK=1 -DLIMITED=2
check passes "a limit, looks that spare the lock" -DBUSY -DSEND1=0 -DLIMITED=1 -DEARLY
check passes "looks that spare the lock" -DSEND0=1 -DSTACK=1 -DEARLY
check passes "others empty the rings" -DSEND0=1 -DDRAINER
check passes "a wrong hint is harmless for wake-ups" -DSEND0=1 -DMUTATE_EMPTIED_NO_RECHECK -DNO_HINT_CHECK
check ends "nobody goes round in circles" -DSEND0=1
check ends "a limit, and nobody goes round in circles" -DBUSY -DSEND1=0 -DLIMITED=1

if [ "$full" ]; then
	check passes "two cores, four invocations" -DSEND1=2
	check passes "the stack thread sends more" -DSEND0=1 -DSEND1=2 -DSTACK=1
	check passes "two shards and a core that moves" -DSEND0=1 -DMOVER=0
	check passes "two shards and the other core moves" -DSEND0=1 -DMOVER=1
	check passes "a limit and a core that moves" -DBUSY -DSEND1=0 -DMOVER=0 -DLIMITED=1
	check passes "a limit and the other core moves" -DBUSY -DSEND1=0 -DMOVER=1 -DLIMITED=1
	check passes "a limit, three cores" -DBUSY -DCORES=3 -DSEND1=0 -DLIMITED=1
	check passes "a limit on some" -DLIMITED=5
	check passes "a limit on some, the stack thread, refusals" -DLIMITED=5 -DSTACK=1 -DREFUSE
	check passes "a limit, looks that spare the lock" -DBUSY -DSEND0=1 -DSTACK=1 -DLIMITED=3 -DEARLY
	check passes "a limit, others empty the rings" -DBUSY -DSEND0=1 -DLIMITED=2 -DDRAINER
	check passes "nobody needs the nudge" -DSTACK=1 -DMUTATE_NO_NUDGE
	check passes "a limit, and nobody needs the nudge" -DBUSY -DSEND0=1 -DSTACK=1 -DLIMITED=3 -DMUTATE_NO_NUDGE
	check passes "without refusals nobody needs the trials" -DLIMITED=5 -DSTACK=1 -DMUTATE_NO_TRIALS
	check passes "a wrong hint is harmless for wake-ups" -DMUTATE_EMPTIED_NO_RECHECK -DNO_HINT_CHECK
	check ends "nobody goes round in circles" -DBUSY -DSEND0=1 -DSTACK=1 -DLIMITED=3
fi

# --- claims and hints ---

check assert "a claim is a read and a write" -DMUTATE_CLAIM_NOT_ATOMIC
check assert "the state is written after the bit" -DMUTATE_STATE_AFTER_BIT
check assert "who clears a hint does not look again" -DMUTATE_EMPTIED_NO_RECHECK

# --- the two looks ---

check lost "no second look" -DMUTATE_NO_EXACT
check lost "the second look uses hints" -DMUTATE_EXACT_USES_HINTS
check lost "announced after the second look" -DMUTATE_ANNOUNCE_AFTER
check lost "a late claim does not take its announcement back" -DMUTATE_NO_UNDO
check lost "the agent does not look after the release" -DMUTATE_NO_RECHECK
check lost "a moved core's agent is not woken" -DSEND1=0 -DMOVER=0 -DMUTATE_MOVER_NO_WAKE

# --- the pending queue ---

check assert "no lock" -DMUTATE_NO_LOCK
check lost "the agent does not pick again after a run" -DMUTATE_NO_SECOND_PICK
check lost "the generation moves late, and the nudge uses hints" -DMUTATE_GENERATION_LATE -DMUTATE_NUDGE_HINTS
check lost "the generation moves late, the stack thread pushes" -DSEND0=1 -DSTACK=1 -DMUTATE_GENERATION_LATE
check lost "the generation moves late, others empty the rings" -DSEND0=1 -DDRAINER -DMUTATE_GENERATION_LATE

# --- the limit ---

check assert "a count is a read and a write" -DBUSY -DSEND0=1 -DLIMITED=3 -DMUTATE_LIMIT_NOT_ATOMIC
check lost "a count too many is not taken back" -DBUSY -DSEND0=1 -DLIMITED=3 -DMUTATE_LIMIT_NO_UNDO
check lost "no second try after the announcement" -DBUSY -DSEND0=1 -DLIMITED=3 -DMUTATE_LIMIT_RECHECK
check lost "the core is released before the look" -DBUSY -DSEND1=0 -DLIMITED=1 -DMUTATE_RELEASE_FIRST
check lost "the look before the release is for what is in flight" -DBUSY -DSEND0=1 -DSTACK=1 -DLIMITED=2 \
	-DMUTATE_LOOK_IN_FLIGHT
check lost "refusals, and nobody looks at trials" -DBUSY -DSEND0=1 -DLIMITED=3 -DREFUSE -DMUTATE_NO_TRIALS
check cycle "the agent looks at the queue, not at the generation" -DBUSY -DSEND1=0 -DLIMITED=1 -DMUTATE_LOOK_AT_QUEUE

# --- lines ---

model=line.pml
check passes "a caller that may die" -DDIES
check passes "three calls" -DCALLS=3 -DDIES
check passes "a caller that writes when it may not" -DSTRAYS=2 -DDIES
check assert "whether a call was taken is found by two looks" -DMUTATE_TWO_LOOKS
check assert "who looks whether a call was taken reads the log first" -DMUTATE_LOG_FIRST
check assert "a call is noted when it can be taken for not taken" -DMUTATE_LOG_LATE
check assert "the line ends whatever runs on it" -DDIES -DMUTATE_END_STORE
check assert "what runs at the end is not waited for" -DDIES -DMUTATE_END_WITHOUT_IT
check assert "calls are counted before the last one has ended" -DMUTATE_COUNT_EARLY
check assert "the called does not look whether it may" -DDIES -DMUTATE_TAKE_ALWAYS

while [ $running -gt 0 ]; do
	wait -n || failures=$((failures + 1))
	running=$((running - 1))
done
echo "test_model: $count searches, $failures failures"
[ $failures = 0 ]
