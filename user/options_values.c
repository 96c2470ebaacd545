/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* options_values.c - values of the daemon's options that are more than a number, a word or a name: lists of CPUs and folders, the time to poll. */
#include "user/options_internal.h"

#include <ctype.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int wc_parse_cpus(const char *text, uint16_t *cpus, uint32_t max, uint32_t *ret_count, struct wc_fault *fault)
{
	uint32_t count = 0;
	cpu_set_t allowed;
	const char *at = text;

	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		return wc_fail(fault, errno, "cannot read the CPUs this process may use: %s", strerror(errno));
	while (*at) {
		unsigned long first, last, times = 1;
		char *end;

		if (!isdigit((unsigned char)*at))
			return wc_fail(fault, EINVAL, "--cores %s: expected a list like 0-3,6 or 0-1*32", text);
		first = last = strtoul(at, &end, 10);
		if (*end == '-' && isdigit((unsigned char)end[1]))
			last = strtoul(end + 1, &end, 10);
		if (*end == '*' && isdigit((unsigned char)end[1]))
			times = strtoul(end + 1, &end, 10);
		if ((*end && *end != ',') || (*end == ',' && !end[1]) || last < first || !times || times > max)
			return wc_fail(fault, EINVAL, "--cores %s: expected a list like 0-3,6 or 0-1*32", text);
		if (last >= CPU_SETSIZE) /* before the arithmetic, which could wrap around */
			return wc_fail(fault, EINVAL, "--cores %s: CPU %lu is not one this process may use", text,
				       last);
		for (unsigned long i = 0, cpu; i < times * (last - first + 1); i++) {
			cpu = first + i % (last - first + 1);
			if (cpu >= CPU_SETSIZE || !CPU_ISSET(cpu, &allowed))
				return wc_fail(fault, EINVAL, "--cores %s: CPU %lu is not one this process may use",
					       text, cpu);
			if (count == max)
				return wc_fail(fault, EINVAL, "--cores %s: more than %u worker cores", text, max);
			cpus[count++] = (uint16_t)cpu;
		}
		at = *end ? end + 1 : end;
	}
	if (!count)
		return wc_fail(fault, EINVAL, "--cores: the list is empty");
	*ret_count = count;
	return 0;
}

/* Is `path` the folder `above`, or below it? */
static bool is_within(const char *path, const char *above)
{
	size_t length = strlen(above);

	return !strncmp(path, above, length) && (!path[length] || path[length] == '/');
}

static int add_share(struct wc_options *options, const char *folder, struct wc_fault *fault)
{
	/* What each sandbox has of its own; /tmp may have folders below it. */
	static const char *const own[] = {
		"/proc", "/dev", "/sys", "/var/task", "/run/secrets", "/var/tmp", "/var/run"
	};
	size_t length = strlen(folder);
	struct stat status;

	if (options->share_count == WC_SHARES_MAX)
		return wc_fail(fault, EINVAL, "--share: %u folders at most", WC_SHARES_MAX);
	if (folder[0] != '/' || !folder[1] || length >= WC_SHARE_PATH_MAX || strstr(folder, "/../") ||
	    strstr(folder, "//") || strstr(folder, "/./") || folder[length - 1] == '/' ||
	    (length > 2 && !strcmp(folder + length - 3, "/..")) || !strcmp(folder + length - 2, "/."))
		return wc_fail(fault, EINVAL,
			       "--share %.100s: expected a whole path like /srv/models, of %u characters at most",
			       folder, WC_SHARE_PATH_MAX - 1);
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (is_within(folder, own[i]) || is_within(own[i], folder) || !strcmp(folder, "/tmp"))
			return wc_fail(fault, EINVAL, "--share %s: each sandbox has its own %s", folder,
				       !strcmp(folder, "/tmp") ? "/tmp" : own[i]);
	if (lstat(folder, &status) || !S_ISDIR(status.st_mode))
		return wc_fail(fault, EINVAL, "--share %s: there is no such folder", folder);
	snprintf(options->shares[options->share_count++], WC_SHARE_PATH_MAX, "%s", folder);
	return 0;
}

int wc_options_add_shares(void *options, const char *list, struct wc_fault *fault)
{
	char folders[WC_SHARES_MAX * WC_SHARE_PATH_MAX], *save;
	int error = 0;

	if (!*list || strlen(list) >= sizeof(folders))
		return wc_fail(fault, EINVAL, "--share: expected 1 to %zu characters", sizeof(folders) - 1);
	memcpy(folders, list, strlen(list) + 1);
	for (char *at = strtok_r(folders, ":", &save); at && !error; at = strtok_r(NULL, ":", &save))
		error = add_share(options, at, fault);
	return error;
}

int wc_options_parse_cores(void *options, const char *value, struct wc_fault *fault)
{
	struct wc_options *to = options;

	return wc_parse_cpus(value, to->cpus, WC_CORES_MAX, &to->core_count, fault);
}

int wc_options_parse_poll(void *options, const char *value, struct wc_fault *fault)
{
	static const struct wc_knob number = {
		.name = "poll-us", .kind = WC_KNOB_NUMBER, FIELD(poll_us), .max = 1000000
	};

	if (!strcmp(value, "auto"))
		((struct wc_options *)options)->poll_us = WC_POLL_AUTO;
	else if (wc_knob_set(&number, options, value, fault))
		return wc_fail(fault, EINVAL, "--poll-us %.100s: expected auto or 0 to 1000000", value);
	return 0;
}
