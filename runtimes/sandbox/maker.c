/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * maker.c - warmcore-sandbox: makes sandboxes for instances, ahead of need (../abi/sandbox.h).
 *
 * It enters a mount namespace of its own and builds, once, the file tree that functions see: the host's programs and libraries,
 * read-only, and nothing else of the host. Each init inherits that tree and adds what must be its own: /proc and /tmp. The namespaces
 * belong to the init's user namespace, whose owner is root outside; so a zygote, which is root with few rights, can join
 * them, and a function, which is not, can do nothing to them.
 *
 * Sources: namespaces(7), user_namespaces(7), mount_setattr(2), pivot_root(2).
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../abi/sandbox.h"
#include "init.h"

#define ROOT_BYTES "size=256k,mode=755" /* folders and links only */

/* Links stay links. */
static const char *const folders[] = { WC_SANDBOX_HOST_FOLDERS };
static const char *const devices[] = { WC_SANDBOX_DEVICES, WC_SANDBOX_ZERO };
static const struct {
	const char *path, *target;
} links[] = {
	{ "dev/fd", "/proc/self/fd" },
	{ "dev/stdin", "/proc/self/fd/0" },
	{ "dev/stdout", "/proc/self/fd/1" },
	{ "dev/stderr", "/proc/self/fd/2" },
	{ "dev/shm", "/tmp" },
	{ "var/tmp", "/tmp" },
	{ "var/run", "/run" },
};

struct piece {
	char path[256];
	int tree; /* a detached copy of the mount, or -1: make the link `target` */
	char target[256];
	bool folder;
};

static struct piece pieces[WC_SANDBOX_FOLDERS_MAX + 32];
static size_t piece_count;

static void report(int fd, int error, const char *step)
{
	struct wc_sandbox_report message = { .error = error };

	snprintf(message.step, sizeof(message.step), "%s", step);
	if (send(fd, &message, sizeof(message), MSG_NOSIGNAL) < 0)
		_exit(1); /* nobody is there */
}

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
{
	int error = errno;
	char text[sizeof(((struct wc_sandbox_report *)0)->step)];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	report(WC_SANDBOX_FD, -error, text);
	_exit(1);
}

/* --- the file tree --- */

/* Take a copy of what is mounted at `path`, before anything is covered. What the host has not, the sandbox has not. */
static void take(const char *path, uint64_t attributes, bool needed)
{
	struct mount_attr set = { .attr_set = attributes };
	struct piece *piece = &pieces[piece_count];
	struct stat status;
	ssize_t length;

	if (piece_count == sizeof(pieces) / sizeof(pieces[0]) || strlen(path) >= sizeof(piece->path)) {
		errno = ENAMETOOLONG;
		die("%s", path);
	}
	if (lstat(path, &status)) {
		if (needed)
			die("%s", path);
		return;
	}
	snprintf(piece->path, sizeof(piece->path), "%s", path);
	piece->tree = -1;
	piece->folder = S_ISDIR(status.st_mode);
	if (S_ISLNK(status.st_mode)) {
		length = readlink(path, piece->target, sizeof(piece->target) - 1);
		piece->target[length > 0 ? length : 0] = 0;
	} else {
		piece->tree = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
		if (piece->tree < 0)
			die("open_tree(%s)", path);
		if (attributes && mount_setattr(piece->tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &set, sizeof(set)))
			die("mount_setattr(%s)", path);
	}
	piece_count++;
}

/* mkdir -p of a path relative to the working folder; of its last part only with `whole`. */
static void make_folders(char *path, bool whole)
{
	for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		if (mkdir(path, 0755) && errno != EEXIST)
			die("mkdir(%s)", path);
		*slash = '/';
	}
	if (whole && mkdir(path, 0755) && errno != EEXIST)
		die("mkdir(%s)", path);
}

static void put(struct piece *piece)
{
	char *path = piece->path + 1; /* relative to the new root */
	int fd;

	make_folders(path, piece->tree >= 0 && piece->folder);
	if (piece->tree < 0) {
		if (symlink(piece->target, path) && errno != EEXIST)
			die("symlink(%s)", path);
		return;
	}
	if (!piece->folder) {
		fd = open(path, O_CREAT | O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0444);
		if (fd < 0)
			die("create(%s)", path);
		close(fd);
	}
	if (move_mount(piece->tree, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH))
		die("move_mount(%s)", path);
	close(piece->tree);
}

/* Where systemd-resolved or another has /etc/resolv.conf, outside of /etc. */
static void take_resolver(uint64_t attributes)
{
	char path[PATH_MAX];

	if (realpath("/etc/resolv.conf", path) && !strncmp(path, "/run/", 5))
		take(path, attributes, false);
}

static void build(char **argv)
{
	const uint64_t read_only = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
	struct mount_attr root = { .attr_set = read_only };
	static const char *const empty[] = { "proc", "tmp", "run", "run/secrets", "dev", "var", "var/task" };

	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		die("a mount namespace");
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		take(folders[i], read_only, false);
	for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++)
		take(devices[i], MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, true);
	take_resolver(read_only);
	/* As it is: the kernel lets only those mount a /proc of their own who see a whole one already. */
	take("/proc", 0, true);
	for (; *argv; argv++) {
		if (!strncmp(*argv, "ro:/", 4))
			take(*argv + 3, read_only, true);
		else if (!strncmp(*argv, "rw:/", 4))
			take(*argv + 3, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, true);
		else
			errno = EINVAL, die("%s", *argv);
	}
	if (mount("warmcore", "/tmp", "tmpfs", 0, ROOT_BYTES) || chdir("/tmp"))
		die("mount(tmpfs)");
	for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++)
		if (mkdir(empty[i], 0755))
			die("mkdir(%s)", empty[i]);
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		if (symlink(links[i].target, links[i].path))
			die("symlink(%s)", links[i].path);
	/* The old root is put over the new one, and taken off: pivot_root(2), "pivot_root(".", ".")". */
	if (syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
		die("pivot_root");
	/* Only now: links in there would have led into the host's tree. */
	for (size_t i = 0; i < piece_count; i++)
		put(&pieces[i]);
	if (mount_setattr(AT_FDCWD, "/", 0, &root, sizeof(root)))
		die("mount_setattr(/)");
}

/* --- sandboxes --- */

static int write_map(pid_t pid, const char *name, uint32_t first, uint32_t count)
{
	char path[64], text[128];
	int fd, length, error = 0;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	length = snprintf(text, sizeof(text), "0 %u 1\n%u %u %u\n", first, first + 1, first + 1, count - 1);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, text, (size_t)length) != length)
		error = -errno;
	if (fd >= 0)
		close(fd);
	return error;
}

static pid_t clone_init(int cgroup)
{
	struct clone_args args = {
		.flags = CLONE_PARENT | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC |
			 CLONE_NEWUTS | (cgroup >= 0 ? CLONE_INTO_CGROUP : 0),
		.cgroup = cgroup >= 0 ? (uint64_t)cgroup : 0,
	};

	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

static int32_t make(const int fds[2], int count, const struct wc_sandbox_plan *plan)
{
	int go[2], cgroup = count > 1 ? fds[1] : -1, error;
	pid_t pid;

	if (pipe2(go, O_CLOEXEC))
		return -errno;
	pid = clone_init(cgroup);
	if (pid == 0) {
		close(go[1]);
		wc_sandbox_init(fds[0], go[0], plan);
	}
	error = pid < 0 ? -errno : write_map(pid, "uid_map", plan->first, plan->count);
	if (!error)
		error = write_map(pid, "gid_map", plan->first, plan->count);
	/* Without a byte the init exits. */
	if (!error && write(go[1], "", 1) != 1)
		error = -errno;
	close(go[0]);
	close(go[1]);
	return error ?: (int32_t)pid;
}

static uint32_t number(const char *text, uint32_t least, uint32_t most)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (!*text || *end || value < least || value > most) {
		errno = EINVAL;
		die("%s", text);
	}
	return (uint32_t)value;
}

int main(int argc, char **argv)
{
	char *below_tmp[WC_SANDBOX_FOLDERS_MAX + 1] = { NULL }, *writable[WC_SANDBOX_FOLDERS_MAX + 1] = { NULL };
	struct wc_sandbox_plan plan = { .below_tmp = below_tmp, .writable = writable };
	struct wc_sandbox_reply reply;
	int fds[2], count;
	char request;

	if (argc < 4 || argc > 4 + WC_SANDBOX_FOLDERS_MAX) {
		fprintf(stderr, "warmcore-sandbox is started by warmcored\n");
		return 2;
	}
	plan.first = number(argv[1], 1, INT32_MAX);
	plan.count = number(argv[2], 2, 1 << 20);
	plan.tmp_mb = number(argv[3], 1, 1 << 20);
	umask(0);
	build(argv + 4);
	for (char **at = argv + 4, **below = below_tmp, **write = writable; *at; at++) {
		if (!strncmp(*at + 3, "/tmp/", 5))
			*below++ = *at + 3;
		if (!strncmp(*at, "rw:", 3))
			*write++ = *at + 3;
	}
	report(WC_SANDBOX_FD, 0, "ready");
	while ((count = wc_sandbox_receive(WC_SANDBOX_FD, &request, fds, 2)) > 0) {
		reply.pid = request == WC_SANDBOX_REQUEST ? make(fds, count, &plan) : -EPROTO;
		for (int i = 0; i < count; i++)
			close(fds[i]);
		if (send(WC_SANDBOX_FD, &reply, sizeof(reply), MSG_NOSIGNAL) < 0)
			return 1;
	}
	return count < 0;
}
