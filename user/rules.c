/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* rules.c - see rules.h. */
#include "user/rules.h"

#include "runtimes/abi/landlock.h"
#include "runtimes/abi/sandbox.h"
#include "user/secrets.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is not there needs no rule. */
static int allow(int rules, int version, const char *path, uint64_t access, struct wc_fault *fault)
{
	int error = *path ? wc_landlock_allow(rules, version, path, access) : 0;

	return !error || error == -ENOENT ?
		       0 :
		       wc_fail(fault, -error, "a Landlock rule for %s: %s", path, strerror(-error));
}

static int fill(int rules, const struct wc_launcher *launcher, const struct wc_options *options, struct wc_fault *fault)
{
	static const char *const folders[] = { WC_SANDBOX_HOST_FOLDERS, WC_SANDBOX_ZERO, "/proc" };
	static const char *const devices[] = { WC_SANDBOX_DEVICES };
	static const char *const writable[] = { "/tmp", "/var/tmp", "/dev/shm" };
	static const char *const links[] = { "/etc/resolv.conf", "/etc/localtime" }; /* to who knows where */
	int version = launcher->landlock, error = 0;
	char path[PATH_MAX];

	for (size_t i = 0; !error && i < sizeof(folders) / sizeof(folders[0]); i++)
		error = allow(rules, version, folders[i], WC_LANDLOCK_READ, fault);
	for (size_t i = 0; !error && i < sizeof(links) / sizeof(links[0]); i++)
		error = allow(rules, version, links[i], WC_LANDLOCK_READ, fault);
	for (size_t i = 0; !error && i < sizeof(devices) / sizeof(devices[0]); i++)
		error = allow(rules, version, devices[i], WC_LANDLOCK_DEVICE, fault);
	for (size_t i = 0; !error && i < sizeof(writable) / sizeof(writable[0]); i++)
		error = allow(rules, version, writable[i], WC_LANDLOCK_WRITE, fault);
	for (uint32_t i = 0; !error && i < options->share_count; i++)
		error = allow(rules, version, options->shares[i], WC_LANDLOCK_WRITE, fault);
	error = error ?: allow(rules, version, launcher->runtimes, WC_LANDLOCK_READ, fault);
	error = error ?: allow(rules, version, launcher->node, WC_LANDLOCK_READ, fault);
	snprintf(path, sizeof(path), "%s/functions", launcher->state_dir);
	error = error ?: allow(rules, version, path, WC_LANDLOCK_READ, fault);
	snprintf(path, sizeof(path), "%s/secrets", launcher->state_dir);
	return error ?: allow(rules, version, path, WC_LANDLOCK_READ, fault);
}

int wc_rules_make(const struct wc_launcher *launcher, const struct wc_options *options, struct wc_fault *fault)
{
	int rules = wc_landlock_new(launcher->landlock), error;

	if (rules < 0)
		return wc_fail(fault, -rules, "cannot make a Landlock ruleset: %s", strerror(-rules));
	/* A rule is for a folder that is there, and the first secret may come later. */
	error = wc_secrets_open(launcher->state_dir, fault);
	error = error ?: fill(rules, launcher, options, fault);
	if (!error)
		return rules;
	close(rules);
	return error;
}
