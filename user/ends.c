/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* ends.c - see ends.h. */
#include "user/ends.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

void wc_ends_close(struct wc_ends *ends)
{
	if (ends->channel)
		munmap(ends->channel, WC_CHANNEL_SIZE);
	if (ends->child >= 0)
		close(ends->child);
	for (int i = 0; i < 2; i++) {
		if (ends->output[i] >= 0)
			close(ends->output[i]);
		if (ends->mail[i] >= 0)
			close(ends->mail[i]);
	}
	*ends = WC_ENDS_NONE;
}

static int make_channel(struct wc_ends *ends)
{
	struct wc_channel *channel;

	ends->child = memfd_create("warmcore-channel", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	/* Sealed: an instance that shrank it would kill the agent with SIGBUS. */
	if (ends->child < 0 || ftruncate(ends->child, WC_CHANNEL_SIZE) ||
	    fcntl(ends->child, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return -errno;
	channel = mmap(NULL, WC_CHANNEL_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, ends->child, 0);
	if (channel == MAP_FAILED)
		return -errno;
	channel->magic = WC_CHANNEL_MAGIC;
	channel->capacity = WC_CHANNEL_CAPACITY;
	channel->features = WC_CHANNEL_FEATURE_WAITING | WC_CHANNEL_FEATURE_LARGE | WC_CHANNEL_FEATURE_CALLS;
	if (!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends->mail))
		channel->features |= WC_CHANNEL_FEATURE_LINES;
	channel->answer.sequence = WC_CHANNEL_NOT_READY;
	ends->channel = channel;
	return 0;
}

static int make_pipe(struct wc_ends *ends)
{
	/* The function may block on a full pipe, the main loop may not. */
	return pipe2(ends->output, O_CLOEXEC) || fcntl(ends->output[0], F_SETFL, O_NONBLOCK) ? -errno : 0;
}

int wc_ends_pipe(struct wc_ends *ret_ends)
{
	int error;

	*ret_ends = WC_ENDS_NONE;
	error = make_pipe(ret_ends);
	if (error)
		wc_ends_close(ret_ends);
	return error;
}

int wc_ends_make(struct wc_ends *ret_ends)
{
	int error;

	*ret_ends = WC_ENDS_NONE;
	error = make_channel(ret_ends) ?: make_pipe(ret_ends);
	if (error)
		wc_ends_close(ret_ends);
	return error;
}
