/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * doctor.h - checks of `warmcore doctor`: what this host offers, and what to do about what it lacks.
 *
 * A check is one function and one row of a table. It sets the outcome and a detail, and where something is to be done,
 * the remedy. It changes nothing on the host: what has to be tried is tried in a child process with its own namespaces.
 */
#ifndef WC_TOOLS_DOCTOR_H
#define WC_TOOLS_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>

enum outcome {
	OUTCOME_OK,
	OUTCOME_INFO,	 /* neither good nor bad */
	OUTCOME_WARNING, /* something works less well, or could not be checked */
	OUTCOME_MISSING, /* needed, and not there */
};

struct finding {
	enum outcome outcome;
	char detail[256];
	char remedy[384]; /* empty when there is nothing to do */
};

struct check {
	const char *name;
	void (*run)(struct finding *finding);
};

/* Tables, ended by a zeroed entry. */
extern const struct check doctor_kernel_checks[]; /* doctor_kernel.c: features of the kernel */
extern const struct check doctor_rights_checks[]; /* doctor_rights.c: what this process may do */
extern const struct check doctor_host_checks[];	  /* doctor_host.c: programs, packages and files */

/* Fill a finding in; the remedy is left alone by all but finding_remedy(). */
void finding_set(struct finding *finding, enum outcome outcome, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void finding_remedy(struct finding *finding, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * Runs `attempt` in a child process and returns what it returns (0..255), or -ECHILD when the child died. For what
 * would change this process: namespaces, mounts.
 */
int doctor_try(int (*attempt)(void));

/* Does this process have the capability (CAP_*) in effect? */
bool doctor_capable(unsigned capability);

/* The command that installs a package here: "apt install python3-numpy". Names for Debian, Fedora, Arch. */
void doctor_install(char *out, size_t size, const char *debian, const char *fedora, const char *arch);

/* Kernel version as major << 16 | minor << 8; 0 when it cannot be read. */
unsigned doctor_kernel_version(void);

#endif
