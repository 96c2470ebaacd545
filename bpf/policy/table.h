/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * table.h - the policies there are, one line each. Their order is their number (wc_config.policy); a new one goes to the end.
 *
 * Each header is read more than once. With WC_POLICY(name, binding, service, text) defined it says only that one line about
 * itself; without, it defines wc_policy_NAME(). bpf/policies.h puts both together; docs/POLICIES.md shows how to write one.
 */
#include "bpf/policy/central.h"
#include "bpf/policy/ll_ps.h"
#include "bpf/policy/jsq2.h"
#include "bpf/policy/random.h"
#include "bpf/policy/hash.h"
#include "bpf/policy/rss.h"
#include "bpf/policy/pack.h"
