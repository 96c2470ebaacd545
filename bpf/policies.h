/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * policies.h - from the table of policies (bpf/policy/table.h): the enum, what each one is, and wc_choose(), which calls the
 * one that config.policy names. The kernel runs them all; which one is a knob of the running node.
 *
 * A policy is one function, wc_policy_NAME(tables, config, function, choice). It reads what it likes and sets choice->core, and
 * in choice->how what it knows about that core. With late binding it claims the core; with early binding the caller
 * does the accounting, and a policy that sets no core has none to offer.
 */
#ifndef WC_POLICIES_H
#define WC_POLICIES_H

#include "bpf/choice.h"
#include "bpf/policy/table.h"

enum wc_policy {
#define WC_POLICY(name, binding, service, text) WC_POLICY_##name,
#include "bpf/policy/table.h"
#undef WC_POLICY
	WC_POLICY_COUNT,
};

static __always_inline enum wc_binding wc_policy_binding(__u32 policy)
{
	switch (policy) {
#define WC_POLICY(name, binding, service, text)                                                                        \
	case WC_POLICY_##name:                                                                                         \
		return WC_BIND_##binding;
#include "bpf/policy/table.h"
#undef WC_POLICY
	default:
		return WC_BIND_LATE;
	}
}

static __always_inline enum wc_service wc_policy_service(__u32 policy)
{
	switch (policy) {
#define WC_POLICY(name, binding, service, text)                                                                        \
	case WC_POLICY_##name:                                                                                         \
		return WC_SERVE_##service;
#include "bpf/policy/table.h"
#undef WC_POLICY
	default:
		return WC_SERVE_RUN;
	}
}

/*
 * Let choice->policy choose. choice->core is WC_NONE when it has none to offer. In BPF a global function: the verifier
 * checks the policies once, and the first look of the default policy (wc_central_first()) does not pay for all of them.
 */
WC_GLOBAL_AT(int, wc_choose, struct wc_choice, choice)
{
	struct wc_config *config = wc_config_at(WC_TABLES, 0);
	struct wc_function *function;

	if (!choice || !config)
		return 0;
	function = wc_functions_at(WC_TABLES, WC_FUNCTION_SLOT(choice->slot));
	if (!function)
		return 0;
	switch (choice->policy) {
#define WC_POLICY(name, binding, service, text)                                                                        \
	case WC_POLICY_##name:                                                                                         \
		wc_policy_##name(WC_TABLES, config, function, choice);                                                 \
		break;
#include "bpf/policy/table.h"
#undef WC_POLICY
	default:
		break;
	}
	return 0;
}

#endif
