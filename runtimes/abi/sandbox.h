/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * sandbox.h - the sandbox ABI: how the daemon gets the namespaces in which an instance runs.
 *
 * A sandbox is a set of namespaces (user, pid, mount, net, ipc, uts, cgroup) that one process holds, its init: pid 1 in there. The
 * maker (runtimes/sandbox/maker.c) makes them ahead of need. It is a program with one thread that the daemon starts as root:
 *
 *     warmcore-sandbox FIRST_UID COUNT TMP_MB ro:FOLDER... rw:FOLDER...
 *
 * with WC_SANDBOX_FD, a SOCK_SEQPACKET Unix socket. Once the file tree that all sandboxes have is there it says so, and then for ever: takes a
 * request, forks an init, answers with its pid. The init is the daemon's child (CLONE_PARENT).
 *
 *     daemon                                    maker                      init
 *                                          <--  report: ready
 *     request, with life socket, cgroup    -->
 *                                          <--  wc_sandbox_reply { pid }
 *                                          <-----------------------------  report: ready, on the life socket, with a
 *                                                                          Landlock ruleset (landlock.h) if the kernel has it
 *     request, with a mount                ----------------------------->  puts it in its place
 *                                          <-----------------------------  report
 *
 * The life socket is the sandbox's life: at its end-of-file the init exits, and the kernel kills all that is in the pid namespace. So a sandbox
 * does not outlive the daemon, however that dies.
 *
 * User ids are the same inside and outside, FIRST_UID + 1 to FIRST_UID + COUNT - 1. Inner root is FIRST_UID outside: nobody's.
 */
#ifndef WC_SANDBOX_ABI_H
#define WC_SANDBOX_ABI_H

#include <stdint.h>

#define WC_SANDBOX_FD 3
#define WC_SANDBOX_CODE "/var/task" /* where the function's code is; the name that Lambda has for it */
#define WC_SANDBOX_SECRETS "/run/secrets"
#define WC_SANDBOX_FOLDERS_MAX 64 /* ro: and rw: together */

/* What every instance sees of the host, where the host has it: programs and libraries, and devices. */
#define WC_SANDBOX_HOST_FOLDERS                                                                                        \
	"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/sys/devices/system/cpu"
#define WC_SANDBOX_DEVICES "/dev/null", "/dev/full", "/dev/random", "/dev/urandom"
/* To be read only: what maps it shared and writable has shared memory, which not every limit counts. */
#define WC_SANDBOX_ZERO "/dev/zero"

/* One byte with descriptors: to the maker one or two, to an init one, the mount. */
#define WC_SANDBOX_REQUEST 'S'
#define WC_SANDBOX_PUT_CODE 'C'
#define WC_SANDBOX_PUT_SECRETS 'K'

struct wc_sandbox_reply {
	int32_t pid; /* or a negative errno */
};

struct wc_sandbox_report {
	int32_t error; /* 0, or a negative errno and in which step it came */
	char step[124];
};

#endif
