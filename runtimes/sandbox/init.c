/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* init.c - see init.h. */
#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../abi/landlock.h"
#include "../abi/sandbox.h"

#define HOST_NAME "sandbox"

int wc_sandbox_receive(int fd, char *ret_request, int *fds, int most)
{
	char byte = 0, control[CMSG_SPACE(2 * sizeof(int))];
	struct iovec part = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr header = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	struct cmsghdr *files;
	ssize_t n;
	int count;

	do
		n = recvmsg(fd, &header, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n < 0 && errno != ECONNRESET ? -1 : 0;
	files = CMSG_FIRSTHDR(&header);
	if (!files || files->cmsg_type != SCM_RIGHTS || (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return -1;
	count = (int)((files->cmsg_len - CMSG_LEN(0)) / sizeof(int));
	if (count < 1 || count > most)
		return -1;
	memcpy(fds, CMSG_DATA(files), (size_t)count * sizeof(int));
	*ret_request = byte;
	return count;
}

/* Exits when nobody listens any more. */
static void report(int life, int error, const char *step)
{
	struct wc_sandbox_report message = { .error = error };

	snprintf(message.step, sizeof(message.step), "%s", step);
	if (send(life, &message, sizeof(message), MSG_NOSIGNAL) < 0)
		_exit(0);
}

/* That all is well, with the ruleset of this sandbox, if there is one. */
static void report_ready(int life, int rules)
{
	struct wc_sandbox_report message = { .step = "ready" };
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec part = { .iov_base = &message, .iov_len = sizeof(message) };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };
	struct cmsghdr *files;

	if (rules >= 0) {
		header.msg_control = control;
		header.msg_controllen = sizeof(control);
		files = CMSG_FIRSTHDR(&header);
		files->cmsg_level = SOL_SOCKET;
		files->cmsg_type = SCM_RIGHTS;
		files->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(files), &rules, sizeof(int));
	}
	if (sendmsg(life, &header, MSG_NOSIGNAL) < 0)
		_exit(0);
	if (rules >= 0)
		close(rules);
}

/* mkdir -p. */
static int make_folders(const char *path)
{
	char part[256];

	for (const char *slash = path; slash;) {
		slash = strchr(slash + 1, '/');
		snprintf(part, sizeof(part), "%.*s", slash ? (int)(slash - path) : (int)strlen(path), path);
		if (mkdir(part, 0755) && errno != EEXIST)
			return -1;
	}
	return 0;
}

/* Its own /tmp, with the folders of the host that are to be seen below it. NULL, or the step that failed. */
static const char *mount_tmp(const struct wc_sandbox_plan *plan)
{
	int trees[WC_SANDBOX_FOLDERS_MAX], count = 0;
	char options[96];

	for (; plan->below_tmp[count]; count++) {
		trees[count] =
			open_tree(AT_FDCWD, plan->below_tmp[count], OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
		if (trees[count] < 0)
			return "open_tree(a folder below /tmp)";
	}
	snprintf(options, sizeof(options), "size=%um,mode=1777,nr_inodes=%u", plan->tmp_mb, plan->tmp_mb * 256);
	if (mount("tmp", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, options))
		return "mount(/tmp)";
	for (int i = 0; i < count; i++) {
		if (make_folders(plan->below_tmp[i]) ||
		    move_mount(trees[i], "", AT_FDCWD, plan->below_tmp[i], MOVE_MOUNT_F_EMPTY_PATH))
			return "move_mount(a folder below /tmp)";
		close(trees[i]);
	}
	return NULL;
}

/* In which one would be root, and could reach much more of the kernel: the filter refuses them, and so does this. */
static int no_more_user_namespaces(void)
{
	int fd = open("/proc/sys/user/max_user_namespaces", O_WRONLY | O_CLOEXEC), error = 0;

	if (fd < 0 || write(fd, "0", 1) != 1)
		error = -1;
	if (fd >= 0)
		close(fd);
	return error;
}

static int loopback_up(void)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), error = 0;

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request))
		error = -1;
	if (fd >= 0)
		close(fd);
	return error;
}

/*
 * What an instance in here may open, when its mounts are in place: all that is in this tree may be read, little written, nothing in
 * /proc. A rule holds for what is mounted below, too: the code, the secrets. What is not in this tree, and is reached all the same,
 * cannot be opened. The ruleset, or -1: *ret_failed is the step that failed, or NULL where the kernel has no Landlock.
 */
static int make_rules(const struct wc_sandbox_plan *plan, const char **ret_failed)
{
	static const char *const devices[] = { WC_SANDBOX_DEVICES };
	int version = wc_landlock_version(), rules = version ? wc_landlock_new(version) : -1, error;

	*ret_failed = NULL;
	if (!version)
		return -1;
	error = rules < 0 ? rules : wc_landlock_allow(rules, version, "/", WC_LANDLOCK_READ);
	if (!error)
		error = wc_landlock_allow(rules, version, "/tmp", WC_LANDLOCK_WRITE);
	for (size_t i = 0; !error && i < sizeof(devices) / sizeof(devices[0]); i++)
		error = wc_landlock_allow(rules, version, devices[i], WC_LANDLOCK_DEVICE);
	for (char *const *folder = plan->writable; !error && *folder; folder++)
		error = wc_landlock_allow(rules, version, *folder, WC_LANDLOCK_WRITE);
	if (!error)
		return rules;
	if (rules >= 0)
		close(rules);
	errno = -error;
	*ret_failed = "a Landlock ruleset";
	return -1;
}

/* NULL, or the step that failed, with errno. */
static const char *set_up(const struct wc_sandbox_plan *plan)
{
	const char *failed;

	if (setgroups(0, NULL) || setresgid(0, 0, 0) || setresuid(0, 0, 0))
		return "to be root in there";
	/* Who has changed its user is not dumpable, and then a zygote could not join its namespaces. */
	if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) || prctl(PR_SET_PDEATHSIG, SIGKILL))
		return "prctl";
	if (unshare(CLONE_NEWCGROUP) && errno != EINVAL)
		return "a cgroup namespace";
	if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL))
		return "mount(/proc)";
	if (no_more_user_namespaces())
		return "to forbid further user namespaces";
	failed = mount_tmp(plan);
	if (failed)
		return failed;
	if (sethostname(HOST_NAME, strlen(HOST_NAME)))
		return "sethostname";
	return loopback_up() ? "to bring the loopback device up" : NULL;
}

static void put(int life, char request, int tree)
{
	const char *place = request == WC_SANDBOX_PUT_CODE    ? WC_SANDBOX_CODE :
			    request == WC_SANDBOX_PUT_SECRETS ? WC_SANDBOX_SECRETS :
								NULL;
	int error = !place ? -EPROTO : move_mount(tree, "", AT_FDCWD, place, MOVE_MOUNT_F_EMPTY_PATH) ? -errno : 0;

	close(tree);
	report(life, error, place ? place : "an unknown request");
}

void wc_sandbox_init(int life, int go, const struct wc_sandbox_plan *plan)
{
	const struct sigaction no_zombies = { .sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT };
	const char *failed;
	char byte, request;
	int tree, rules;

	if (read(go, &byte, 1) != 1)
		_exit(1); /* the maker could not map the user ids, and tells the daemon */
	failed = set_up(plan);
	rules = failed ? -1 : make_rules(plan, &failed);
	if (failed) {
		report(life, -errno, failed);
		_exit(1);
	}
	/* What functions leave behind becomes its child; the kernel reaps it. */
	sigaction(SIGCHLD, &no_zombies, NULL);
	report_ready(life, rules); /* while nothing is closed yet: the number may be that of the ruleset */
	if (life != WC_SANDBOX_FD && dup2(life, WC_SANDBOX_FD) < 0)
		_exit(1);
	syscall(SYS_close_range, 0, WC_SANDBOX_FD - 1, 0);
	syscall(SYS_close_range, WC_SANDBOX_FD + 1, ~0U, 0);
	while (wc_sandbox_receive(WC_SANDBOX_FD, &request, &tree, 1) > 0)
		put(WC_SANDBOX_FD, request, tree);
	_exit(0);
}
