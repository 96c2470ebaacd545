/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * zygote.h - the zygote ABI: how the daemon has instances made from a process that is loaded already.
 *
 * A zygote is a program with one thread that has a runtime, and perhaps libraries, in memory. The daemon starts it as root; it keeps
 * the capabilities to change its user and to join namespaces. It has no network, and WARMCORE_ZYGOTE=FD in its environment: a SOCK_SEQPACKET Unix
 * socket. It says READY (or exits, with the reason on stderr), and then for ever: takes a request, forks, answers with the pid. The
 * child is a child of the daemon (CLONE_PARENT), so the daemon reaps it; it puts off every right before it looks at the
 * function, and is an instance from then on (channel.h). End-of-file on the socket: exit with 0.
 *
 *     daemon                                  zygote
 *                                        <--  wc_zygote_reply { pid = 0 }: READY
 *     wc_zygote_request, strings, fds    -->
 *                                        <--  wc_zygote_reply { pid of the child, or -errno }
 *
 * One request at a time. What goes wrong in the child is told over its channel, as INIT_ERROR.
 *
 * Whoever sends requests owns the zygote, and with it root: the socket is between the two processes and nowhere else. A zygote
 * never runs a function's code: it imports what the host has installed, from folders that only root can write.
 */
#ifndef WC_ZYGOTE_ABI_H
#define WC_ZYGOTE_ABI_H

#include <stdint.h>

#define WC_ZYGOTE_ENV "WARMCORE_ZYGOTE"		 /* the socket's number */
#define WC_ZYGOTE_LIBRARIES "WARMCORE_LIBRARIES" /* names to load first, with commas between them */
#define WC_ZYGOTE_ROOM "WARMCORE_ROOM" /* its value is of no interest: instances show their environment there */
#define WC_ZYGOTE_ROOM_SIZE 8192
#define WC_ZYGOTE_MAGIC 0x575a4731u /* "WZG1" */
#define WC_ZYGOTE_MESSAGE_MAX 32768 /* bytes of a request with its strings */
#define WC_ZYGOTE_STRINGS_MAX 320   /* in argv and environment together */
/*
 * The number of a file with a seccomp filter for it and its instances: 8 bytes, and struct sock_filter[]. The 8 bytes are the key: the
 * filter lets setns, move_mount, clone3, and clone with CLONE_PARENT through when it is their sixth argument.
 */
#define WC_ZYGOTE_FILTER "WARMCORE_FILTER"
#define WC_FILTER_FD 4	/* that number */
#define WC_CHANNEL_FD 3 /* of an instance; 0, 1 and 2 are what one expects */

enum wc_zygote_flags {
	WC_ZYGOTE_EXEC = 1, /* run argv[0], instead of going on in the forked process */
	WC_ZYGOTE_SPARE =
		2, /* with EXEC, uid 0: it stays root, of its sandbox if it has one, and may change its user (channel.h) */
	WC_ZYGOTE_HAS_SANDBOX = 1 << (8 + 2),
	WC_ZYGOTE_HAS_CODE = 1 << (8 + 3),
	WC_ZYGOTE_HAS_CGROUP = 1 << (8 + 4),
	WC_ZYGOTE_HAS_NET = 1 << (8 + 5),
	WC_ZYGOTE_HAS_SECRETS = 1 << (8 + 6),
	WC_ZYGOTE_HAS_RULES = 1 << (8 + 7),
	WC_ZYGOTE_HAS_MAIL = 1 << (8 + 8),
};

/* Then argc + envc strings, each with its 0: argv, environment ("KEY=value"), and the working folder. */
struct wc_zygote_request {
	uint32_t magic;
	uint32_t flags; /* enum wc_zygote_flags */
	uint32_t uid;	/* user and group of the instance */
	uint32_t argc;	/* at least 1 */
	uint32_t envc;
	uint32_t files;	    /* RLIMIT_NOFILE */
	uint32_t processes; /* RLIMIT_NPROC */
	uint32_t data_mb;   /* RLIMIT_DATA; 0: no limit */
};

/* The descriptors that may come with a request, in this order. From the third on: WC_ZYGOTE_HAS_ flags say which there are. */
enum wc_zygote_fds {
	WC_ZYGOTE_FD_CHANNEL, /* becomes WC_CHANNEL_FD */
	WC_ZYGOTE_FD_OUTPUT,  /* becomes stdout and stderr */
	WC_ZYGOTE_FD_SANDBOX, /* pidfd of its init: the instance joins its namespaces */
	WC_ZYGOTE_FD_CODE,    /* mount that the instance puts on WC_SANDBOX_CODE */
	WC_ZYGOTE_FD_CGROUP,  /* folder of a cgroup (version 2) in which the instance begins */
	WC_ZYGOTE_FD_NET,     /* network namespace, instead of that of the sandbox or the zygote */
	WC_ZYGOTE_FD_SECRETS, /* mount that the instance puts on WC_SANDBOX_SECRETS */
	WC_ZYGOTE_FD_RULES,   /* Landlock ruleset (landlock.h) that the instance puts on */
	WC_ZYGOTE_FD_MAIL,    /* becomes WC_MAIL_FD (line.h) */
	WC_ZYGOTE_FDS,
};

struct wc_zygote_reply {
	int32_t pid; /* or a negative errno */
};

#endif
