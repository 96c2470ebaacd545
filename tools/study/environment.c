// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* environment.c - see environment.h. What cannot be read is "unknown", which is said, too. */
#include "tools/study/environment.h"

#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define FOLDER "/sys/devices/system/cpu/vulnerabilities"

/* The first line of a file, without its end; "unknown" when there is none. */
static const char *first_line(const char *path, char *text, size_t size)
{
	FILE *file = fopen(path, "re");

	if (!file || !fgets(text, (int)size, file))
		snprintf(text, size, "unknown");
	if (file)
		fclose(file);
	text[strcspn(text, "\n")] = 0;
	return text;
}

/* The first "KEY : VALUE" of a file such as /proc/cpuinfo. */
static const char *field(const char *path, const char *key, char *text, size_t size)
{
	FILE *file = fopen(path, "re");
	char line[1024];

	snprintf(text, size, "unknown");
	while (file && fgets(line, sizeof(line), file)) {
		char *colon = strchr(line, ':');

		if (!colon || strncmp(line, key, strlen(key)) != 0)
			continue;
		line[strcspn(line, "\n")] = 0;
		snprintf(text, size, "%s", colon + 1 + strspn(colon + 1, " \t"));
		break;
	}
	if (file)
		fclose(file);
	return text;
}

static void set(json_t *object, const char *key, const char *value)
{
	json_object_set_new(object, key, json_string(value) ?: json_string("unknown"));
}

static json_t *mitigations(void)
{
	json_t *object = json_object();
	DIR *folder = opendir(FOLDER);
	const struct dirent *entry;
	char path[512], text[256];

	while (folder && (entry = readdir(folder))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), FOLDER "/%s", entry->d_name);
		first_line(path, text, sizeof(text));
		if (strcmp(text, "Not affected") != 0)
			set(object, entry->d_name, text);
	}
	if (folder)
		closedir(folder);
	return object;
}

static void set_cpus(json_t *object)
{
	char text[64];
	cpu_set_t set_of;

	snprintf(text, sizeof(text), "%ld", sysconf(_SC_NPROCESSORS_ONLN));
	set(object, "cpus online", text);
	CPU_ZERO(&set_of);
	if (!sched_getaffinity(0, sizeof(set_of), &set_of))
		snprintf(text, sizeof(text), "%d", CPU_COUNT(&set_of));
	set(object, "cpus allowed", text);
}

/* Whoever runs above the rest of the machine says so: figures are better for it. */
static void set_priority(json_t *object)
{
	static const char *const names[] = { "normal", "FIFO", "round robin", "batch" };
	int policy = sched_getscheduler(0);
	struct sched_param param = { 0 };
	char text[64];

	sched_getparam(0, &param);
	if (policy == SCHED_FIFO || policy == SCHED_RR)
		snprintf(text, sizeof(text), "real time, %s, %d", names[policy], param.sched_priority);
	else
		snprintf(text, sizeof(text), "%s, nice %d", policy >= 0 && policy < 4 ? names[policy] : "other",
			 getpriority(PRIO_PROCESS, 0));
	set(object, "priority of the study", text);
}

json_t *environment_capture(void)
{
	json_t *object = json_object();
	struct utsname name;
	char text[1024];
	struct tm utc;
	time_t now = time(NULL);

	gmtime_r(&now, &utc);
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &utc);
	set(object, "begun", text);
	set(object, "warmcore", WARMCORE_VERSION);
	uname(&name);
	set(object, "kernel", name.release);
	set(object, "kernel build", name.version);
	set(object, "architecture", name.machine);
	set(object, "cpu", field("/proc/cpuinfo", "model name", text, sizeof(text)));
	set_cpus(object);
	set_priority(object);
	set(object, "memory", field("/proc/meminfo", "MemTotal", text, sizeof(text)));
	field("/proc/cpuinfo", "flags", text, sizeof(text));
	set(object, "virtual machine", strstr(text, " hypervisor") ? "yes" : "not by the CPU's flags");
	set(object, "simultaneous multithreading",
	    first_line("/sys/devices/system/cpu/smt/control", text, sizeof(text)));
	set(object, "frequency governor",
	    first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", text, sizeof(text)));
	set(object, "clock source",
	    first_line("/sys/devices/system/clocksource/clocksource0/current_clocksource", text, sizeof(text)));
	set(object, "sched_ext", !access("/sys/kernel/sched_ext", F_OK) ? "in this kernel" : "not in this kernel");
	set(object, "load average at the beginning", first_line("/proc/loadavg", text, sizeof(text)));
	set(object, "kernel command line", first_line("/proc/cmdline", text, sizeof(text)));
	json_object_set_new(object, "mitigations", mitigations());
	return object;
}

const char *environment_differs(const json_t *a, const json_t *b)
{
	static const char *const keys[] = { "kernel", "cpu", "cpus online", "cpus allowed", "warmcore" };

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (!json_equal(json_object_get(a, keys[i]), json_object_get(b, keys[i])))
			return keys[i];
	return NULL;
}
