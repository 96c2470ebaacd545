// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* state.c - see state.h. */
#include "user/gateway/state.h"

#include <dirent.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_empty(int fd)
{
	DIR *folder = fdopendir(dup(fd));
	const struct dirent *entry;
	bool empty = folder != NULL;

	while (empty && (entry = readdir(folder)))
		empty = !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..");
	if (folder)
		closedir(folder);
	return empty;
}

/* By its descriptor: a name may come to mean something else meanwhile. With no other right than CAP_CHOWN. */
static int give_over(int place, const char *dir, const struct passwd *user, struct wc_fault *fault)
{
	struct stat status;
	int fd, ret = 0;

	if (fstat(place, &status))
		return wc_fail(fault, errno, "cannot look at %s: %s", dir, strerror(errno));
	if (status.st_uid == user->pw_uid)
		return 0;
	fd = status.st_uid ? -1 : openat(place, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || !is_empty(fd))
		ret = wc_fail(fault, EPERM,
			      "%s belongs to user %u and not to %s, as whom the gateway runs: chown -R %s %s", dir,
			      status.st_uid, user->pw_name, user->pw_name, dir);
	else if (fchmod(fd, 0700) || fchown(fd, user->pw_uid, user->pw_gid))
		ret = wc_fail(fault, errno, "cannot give %s to %s: %s", dir, user->pw_name, strerror(errno));
	if (fd >= 0)
		close(fd);
	return ret;
}

int wc_gateway_make_state(const char *dir, const char *user, struct wc_fault *fault)
{
	const struct passwd *found = geteuid() ? getpwuid(geteuid()) : getpwnam(user);
	size_t parent = strlen(WC_GATEWAY_STATE_PARENT);
	int fd, ret;

	if (!found)
		return geteuid() ? 0 : wc_fail(fault, EINVAL, "--user: there is no user '%.40s'", user);
	if (!strncmp(dir, WC_GATEWAY_STATE_PARENT "/", parent + 1) && mkdir(WC_GATEWAY_STATE_PARENT, 0755) &&
	    errno != EEXIST)
		return wc_fail(fault, errno, "cannot create %s: %s", WC_GATEWAY_STATE_PARENT, strerror(errno));
	if (mkdir(dir, 0700) && errno != EEXIST)
		return wc_fail(fault, errno, "cannot create %s: %s", dir, strerror(errno));
	fd = open(dir, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return wc_fail(fault, errno, "cannot open the folder %s: %s", dir, strerror(errno));
	ret = give_over(fd, dir, found, fault);
	close(fd);
	return ret;
}
