/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* small_disk.h - a file system that is full soon, at the scratch folder. Include it after scratch.h. */
#ifndef WC_TESTS_SMALL_DISK_H
#define WC_TESTS_SMALL_DISK_H

#include <sched.h>
#include <sys/mount.h>

/* In a mount namespace of this program's, so that it goes with it however that ends. Before any thread that shall see it. */
static inline int mount_small_disk(const char *size)
{
	return unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	       mount("tmpfs", scratch, "tmpfs", 0, size);
}

#endif
