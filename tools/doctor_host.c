// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* doctor_host.c - checks of programs, packages and files that a node uses; see doctor.h. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/cli.h"
#include "tools/doctor.h"

#define NODE_NEEDED_MAJOR 18
#define PYTHON "/usr/bin/python3"

/* ID and ID_LIKE of /etc/os-release, as one line with blanks around each word. */
static void read_distribution(char *out, size_t size)
{
	FILE *file = fopen("/etc/os-release", "re");
	char line[256];
	size_t at = 1;

	snprintf(out, size, " ");
	while (file && fgets(line, sizeof(line), file)) {
		char *value = strncmp(line, "ID=", 3) ? strncmp(line, "ID_LIKE=", 8) ? NULL : line + 8 : line + 3;

		if (!value)
			continue;
		value[strcspn(value, "\n")] = 0;
		for (char *c = value; *c; c++)
			if (*c == '"')
				*c = ' ';
		if (at < size)
			at += (size_t)snprintf(out + at, size - at, "%s ", value);
	}
	if (file)
		fclose(file);
}

void doctor_install(char *out, size_t size, const char *debian, const char *fedora, const char *arch)
{
	char words[512];

	read_distribution(words, sizeof(words));
	if (strstr(words, " debian ") || strstr(words, " ubuntu "))
		snprintf(out, size, "apt install %s", debian);
	else if (strstr(words, " fedora ") || strstr(words, " rhel ") || strstr(words, " centos "))
		snprintf(out, size, "dnf install %s", fedora);
	else if (strstr(words, " arch "))
		snprintf(out, size, "pacman -S %s", arch);
	else
		snprintf(out, size, "install the package that Debian calls %s", debian);
}

/* First line of what a program prints. Returns its exit status, or -1. Commands are constants of this file. */
static int run(const char *command, char *line, size_t size)
{
	FILE *pipe = popen(command, "re");
	char rest[256];
	int status;

	line[0] = 0;
	if (!pipe)
		return -1;
	if (fgets(line, (int)size, pipe))
		line[strcspn(line, "\n")] = 0;
	while (fgets(rest, sizeof(rest), pipe))
		;
	status = pclose(pipe);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void check_python(struct finding *finding)
{
	char line[128], install[128];

	if (access(PYTHON, X_OK)) {
		doctor_install(install, sizeof(install), "python3", "python3", "python");
		finding_set(finding, OUTCOME_WARNING, PYTHON " is not there; python functions cannot run");
		finding_remedy(finding, "%s", install);
		return;
	}
	if (run(PYTHON " --version 2>&1", line, sizeof(line)))
		finding_set(finding, OUTCOME_WARNING, PYTHON " does not run");
	else
		finding_set(finding, OUTCOME_OK, "%.200s", line);
}

static void check_numpy(struct finding *finding)
{
	char line[128], install[128];

	if (!run(PYTHON " -c 'import numpy; print(numpy.__version__)' 2>/dev/null", line, sizeof(line))) {
		finding_set(finding, OUTCOME_OK, "%.200s", line);
		return;
	}
	doctor_install(install, sizeof(install), "python3-numpy", "python3-numpy", "python-numpy");
	finding_set(finding, OUTCOME_WARNING, PYTHON " cannot import it; the matrix example needs it");
	finding_remedy(finding, "%s", install);
}

static void check_node(struct finding *finding)
{
	char line[128], install[128];
	unsigned major = 0;

	if (run("node --version 2>/dev/null", line, sizeof(line)) || sscanf(line, "v%u", &major) != 1) {
		doctor_install(install, sizeof(install), "nodejs", "nodejs", "nodejs");
		finding_set(finding, OUTCOME_WARNING, "node is not on PATH; node functions cannot run");
		finding_remedy(finding, "%s", install);
	} else if (major < NODE_NEEDED_MAJOR) {
		finding_set(finding, OUTCOME_WARNING, "%.64s is older than %d", line, NODE_NEEDED_MAJOR);
		finding_remedy(finding, "install node %d or later, for example from nodejs.org", NODE_NEEDED_MAJOR);
	} else {
		finding_set(finding, OUTCOME_OK, "%.64s", line);
	}
}

static void check_daemon(struct finding *finding)
{
	char path[PATH_MAX];

	if (!cli_find_daemon(path, sizeof(path))) {
		finding_set(finding, OUTCOME_OK, "%.250s", path);
		return;
	}
	finding_set(finding, OUTCOME_MISSING, "warmcored is neither beside this program, nor in ../sbin, nor on PATH");
	finding_remedy(finding, "make, or make install");
}

static bool has_entry(const char *folder, const char *prefix)
{
	const struct dirent *entry;
	DIR *dir = opendir(folder);
	bool found = false;

	if (!dir)
		return false;
	while (!found && (entry = readdir(dir)))
		found = !strncmp(entry->d_name, prefix, strlen(prefix));
	closedir(dir);
	return found;
}

static void check_runtimes(struct finding *finding)
{
	/* where make install puts them, and where they are in a source tree whose programs are in build/ */
	static const char *const places[] = { "../lib/warmcore", "../runtimes" };
	static const char *const names[] = { "native", "python", "node", "custom" };
	char own[PATH_MAX], folder[PATH_MAX + 32], lacking[64] = "";
	ssize_t length = readlink("/proc/self/exe", own, sizeof(own) - 1);
	size_t at = 0;

	if (length <= 0) {
		finding_set(finding, OUTCOME_WARNING, "cannot tell where this program is");
		return;
	}
	own[length] = 0;
	*strrchr(own, '/') = 0;
	for (size_t p = 0; p < sizeof(places) / sizeof(places[0]); p++) {
		snprintf(folder, sizeof(folder), "%s/%s", own, places[p]);
		if (!access(folder, F_OK))
			break;
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!has_entry(folder, names[i]))
			at += (size_t)snprintf(lacking + at, sizeof(lacking) - at, "%s%s", at ? ", " : "", names[i]);
	if (!at) {
		finding_set(finding, OUTCOME_OK, "native, python, node, custom in %.200s", folder);
		return;
	}
	finding_set(finding, OUTCOME_WARNING, "not found in %.180s: %s", folder, lacking);
	finding_remedy(finding, "make, or make install");
}

const struct check doctor_host_checks[] = {
	{ "daemon", check_daemon }, { "runtimes", check_runtimes }, { "Python", check_python },
	{ "numpy", check_numpy },   { "Node.js", check_node },	    { 0 },
};
