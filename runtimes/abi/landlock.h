/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * landlock.h - Landlock rulesets: which files an instance may open, whatever its mounts and its user would let it.
 *
 * A ruleset is made ahead, as a descriptor, by who knows the files (runtimes/sandbox/init.c, user/rules.c); an instance only puts it on.
 * Then it holds for all that the instance opens or executes, and for all that it starts. What is open already stays open, and so do
 * files that are in no folder: pipes, memfds. From version 6 on it also keeps the instance from signalling, or connecting to abstract
 * Unix sockets of, processes that are not its own. TCP ports are left to the network namespace.
 *
 * Version 1 (Linux 5.13) is not used: it would forbid every rename from one folder to another. Source:
 * Documentation/userspace-api/landlock.rst. The headers of a distribution may be older than its kernel, so numbers are here.
 */
#ifndef WC_LANDLOCK_H
#define WC_LANDLOCK_H

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define WC_LANDLOCK_LEAST 2  /* version, of Linux 5.19 */
#define WC_LANDLOCK_SCOPES 6 /* and later: sockets and signals, 6.12 */
#define WC_LANDLOCK_QUIET 7  /* and later: refusals go to the audit log unless one says otherwise, 6.15 */
/* LANDLOCK_RESTRICT_SELF_LOG_SAME_EXEC_OFF and _SUBDOMAINS_OFF: a function cannot flood that log, by a ruleset of its own either */
#define WC_LANDLOCK_QUIETLY (1u | 4u)
#define WC_LANDLOCK_SCOPE_ALL 3 /* LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET, _SIGNAL */

/* LANDLOCK_ACCESS_FS_TRUNCATE (version 3) and _IOCTL_DEV (5) */
#define WC_LANDLOCK_TRUNCATE (1ULL << 14)
#define WC_LANDLOCK_IOCTL_DEV (1ULL << 15)

/* What may be allowed of a folder and all that is below it, or of a file. Devices cannot be made anywhere. */
#define WC_LANDLOCK_READ (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define WC_LANDLOCK_WRITE                                                                                              \
	(WC_LANDLOCK_READ | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |                            \
	 LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |                  \
	 LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_SYM |                   \
	 LANDLOCK_ACCESS_FS_REFER | WC_LANDLOCK_TRUNCATE)
#define WC_LANDLOCK_DEVICE (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE)

/* The kernel's struct landlock_ruleset_attr as it is since version 6. Older ones take it as long as what they do not know is 0. */
struct wc_landlock_attributes {
	uint64_t files, ports, scopes;
};

/* Which version this kernel has; 0: none that is of use, and errno says why (EOPNOTSUPP: it was not chosen at boot). */
static inline int wc_landlock_version(void)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	if (version >= 0)
		errno = ENOSYS;
	return version < WC_LANDLOCK_LEAST ? 0 : (int)version;
}

/* Of what a ruleset decides, what this version knows. */
static inline uint64_t wc_landlock_files(int version)
{
	uint64_t files = WC_LANDLOCK_WRITE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK |
			 WC_LANDLOCK_IOCTL_DEV;

	if (version < 3)
		files &= ~WC_LANDLOCK_TRUNCATE;
	if (version < 5)
		files &= ~WC_LANDLOCK_IOCTL_DEV;
	return files;
}

/* A ruleset that allows nothing, for version >= WC_LANDLOCK_LEAST. A descriptor, or a negative errno. */
static inline int wc_landlock_new(int version)
{
	const struct wc_landlock_attributes attributes = {
		.files = wc_landlock_files(version),
		.scopes = version >= WC_LANDLOCK_SCOPES ? WC_LANDLOCK_SCOPE_ALL : 0,
	};
	long fd = syscall(SYS_landlock_create_ruleset, &attributes, sizeof(attributes), 0);

	return fd < 0 ? -errno : (int)fd;
}

/* Allow `access` to `path` and, when it is a folder, to all that is below it. 0 or a negative errno; -ENOENT: it is not there. */
static inline int wc_landlock_allow(int rules, int version, const char *path, uint64_t access)
{
	struct landlock_path_beneath_attr rule = {
		.allowed_access = access & wc_landlock_files(version),
		.parent_fd = open(path, O_PATH | O_CLOEXEC),
	};
	struct stat status;
	int error = 0;

	if (rule.parent_fd < 0)
		return -errno;
	if (fstat(rule.parent_fd, &status))
		error = -errno;
	else if (!S_ISDIR(status.st_mode))
		rule.allowed_access &= LANDLOCK_ACCESS_FS_EXECUTE | WC_LANDLOCK_DEVICE | WC_LANDLOCK_TRUNCATE;
	if (!error && syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0))
		error = -errno;
	close(rule.parent_fd);
	return error;
}

/* Put it on: this thread, and all that it will start, for ever. Needs no_new_privs or CAP_SYS_ADMIN. 0, or -1 and errno. */
static inline int wc_landlock_enter(int rules, int version)
{
	return (int)syscall(SYS_landlock_restrict_self, rules, version >= WC_LANDLOCK_QUIET ? WC_LANDLOCK_QUIETLY : 0);
}

#endif
