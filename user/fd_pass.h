/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * fd_pass.h - a message over a Unix socket with descriptors (unix(7), SCM_RIGHTS), between processes of ours that trust each other. What strangers
 * send is read by payload_message.c, which asks for credentials, too.
 */
#ifndef WC_FD_PASS_H
#define WC_FD_PASS_H

#include <stddef.h>
#include <sys/types.h>

#define WC_FD_PASS_MAX 9

/* Sends all of the bytes, at least one, with fds[count], 0 to WC_FD_PASS_MAX of them. 0, or a negative errno; -EPIPE: not all were sent. */
int wc_fd_send(int socket, const void *data, size_t size, const int *fds, int count);

/*
 * Receives into data[size], and at most `max` descriptors (close-on-exec, the caller's) into fds. `flags` as of recvmsg(2). How many bytes,
 * 0 at the end; or a negative errno: -EPIPE when more descriptors came than there is room for, of which none is left open.
 */
ssize_t wc_fd_receive(int socket, void *data, size_t size, int flags, int *fds, int max, int *ret_count);

#endif
