#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# e2e.sh KERNEL PART - the end-to-end tests in a VM, where the daemon has sched_ext: does the verifier take both programs, do native XDP,
# AF_XDP and the pins work there, and does all hold that holds elsewhere. In parts that run side by side (test_e2e_*.sh): a
# virtual CPU is some ten times slower. What no part names is in `rest`, so that no test is left out, but for things that do not touch what differs here, and
# would take half an hour more: ELSEWHERE, and the copies of tests for the user datapath (test_user_datapath.py is
# there). `make test` runs `threads` on the older kernel and `life` on the newer one, and leaves the others to `make test-vm`, which runs all; it also leaves out
# (E2E_SHORT, from VM_SHORT) what these two repeat in another mode or datapath, and what is about processes only: gates.Test.SHORT, test_kill9.py.
# E2E_ALL=1 runs ELSEWHERE as well. What is dear here: a start of Python (0.4 s), a node up and down (7 s of CPU), a process (0.1 s).
set -uo pipefail

KERNEL=${1:?which kernel: 6.18, for example}
PART=${2:?which part: threads, packets, queues, policies, life, upgrade, sandbox or rest}
ALL=${E2E_ALL:-}
cd "$(dirname "$0")/../.." || exit 1

declare -A PARTS=(
	[packets]="test_packets.py test_hostile_sources.py test_burst.py"
	[threads]="test_sched.py test_turns.py"
	[queues]="test_shards.py test_limits.py test_waiting.py test_once.py test_moves.py test_elastic.py"
	[policies]="test_policies.py test_user_datapath.py test_changes.py"
	[life]="test_kill9.py"
	[upgrade]="test_upgrade.py"
	[sandbox]="test_isolation.py test_churn.py"
)

# Runtimes without a node, what happens between files, the control socket, zygotes and instances, and the gateway, a client like others.
ELSEWHERE="test_zygotes.py test_spares.py test_warmness.py test_runtimes.py test_custom.py test_packages.py test_farewell.py test_logs.py
	test_cli_errors.sh test_install.py test_compiled.py test_idle_times.py test_async.py test_sigv4.py test_simulation.py
	test_trace_csv.py test_trace_sum.py test_gateway.py test_gateway_async.py test_gateway_auth.py test_registry.py test_web.py test_config.py
	test_reload.py test_payloads.py test_top.py test_metrics.py test_gateway_control.py test_sim.py
	test_gateway_autocannon.py test_gateway_callback.py test_gateway_context.py test_remote.py test_load.py test_study.py test_faults.py
	test_runtime_calls.py test_lambda_calls.py test_call_permissions.py test_sdk.py test_workflow_compile.py test_workflow_media.py test_workflow_nfv.py
	test_workflow_sort.py test_workflow_state.py test_state.py test_streams.py test_lines.py test_cluster.py test_siblings.py test_siblings_once.py test_cluster_chaos.py test_failover.py test_failover_known.py test_etcd_registry.py test_health.py test_kubernetes.py test_slow_node.py test_versions.py test_leader_hint.py test_rolling.py"
ELSEWHERE=${ELSEWHERE//[$'\n\t']/ }

part() {
	local file
	if [ "$PART" != rest ]; then
		echo "${PARTS[$PART]:?there is no such part}"
		return
	fi
	for file in tests/e2e/test_*; do
		[ -n "$ALL" ] || [[ " $ELSEWHERE " != *" ${file##*/} "* ]] || continue
		[[ " ${PARTS[*]} " == *" ${file##*/} "* ]] || echo "${file##*/}"
	done
}

TESTS=()
for name in $(part); do
	TESTS+=("e2e/$name")
done
[ ${#TESTS[@]} -gt 0 ] || exit 1
# SysRq-S is what test_sched.py throws the scheduler out with.
# The system's programs first: a python3 that comes from elsewhere (pyenv) may be a shell script, which takes seconds to start here.
SHORT=${VM_SHORT:-}
[ -z "$ALL" ] || SHORT=
exec scripts/vm-run.sh --kernel "$KERNEL" --memory 2G --timeout 2900 --allow sysrq -- \
	env "PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH" PACKETS_COUNT=1000 CHURN_COUNT=40 "KILL9_ROUNDS=$((ALL ? 6 : 2))" E2E_DATAPATH="${ALL:-kernel}" "E2E_SHORT=$SHORT" tests/run.sh -v -t 1200 "${TESTS[@]}"
