/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* payload_message.c - see payload_message.h. */
#include "user/payload_message.h"

#include <errno.h>
#include <stdbool.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u /* Linux 6.3 */
#endif

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

int wc_payload_check(const struct wc_payload_message *message, size_t length, int with_fd, enum wc_payload_side side)
{
	static const struct {
		enum wc_payload_side side;
		int with_fd, with_id, with_length, with_key;
	} kinds[] = {
		[WC_PAYLOAD_HELLO] = { WC_PAYLOAD_BY_NODE, 0, 0, 1, 1 },
		[WC_PAYLOAD_REFUSE] = { WC_PAYLOAD_BY_NODE, 0, 0, 0, 0 },
		[WC_PAYLOAD_PUT] = { WC_PAYLOAD_BY_CLIENT, 1, 1, 1, 0 },
		[WC_PAYLOAD_DROP] = { WC_PAYLOAD_BY_CLIENT, 0, 1, 0, 0 },
		[WC_PAYLOAD_RESULT] = { WC_PAYLOAD_BY_NODE, 1, 1, 1, 0 },
		[WC_PAYLOAD_TAKEN] = { WC_PAYLOAD_BY_CLIENT, 0, 1, 1, 0 },
		[WC_PAYLOAD_AWAY] = { WC_PAYLOAD_BY_CLIENT, 0, 0, 0, 0 },
		[WC_PAYLOAD_HELLO_AWAY] = { WC_PAYLOAD_BY_NODE, 0, 0, 1, 1 },
		[WC_PAYLOAD_KEPT] = { WC_PAYLOAD_BY_NODE, 0, 1, 0, 0 },
		[WC_PAYLOAD_FULL] = { WC_PAYLOAD_BY_NODE, 0, 1, 0, 0 },
	};
	static const uint8_t no_key[sizeof(message->key)];
	uint32_t kind;

	if (length != sizeof(*message) || message->magic != WC_PAYLOAD_MAGIC || message->reserved)
		return -EBADMSG;
	kind = message->kind;
	if (kind < WC_PAYLOAD_HELLO || kind > WC_PAYLOAD_FULL || kinds[kind].side != side ||
	    kinds[kind].with_fd != !!with_fd || (!kinds[kind].with_id && message->request_id) ||
	    (!kinds[kind].with_length && message->length) || message->length > WC_PAYLOAD_LARGE ||
	    (!kinds[kind].with_key && memcmp(message->key, no_key, sizeof(no_key)) != 0))
		return -EBADMSG;
	return 0;
}

void wc_payload_foreign_close(struct wc_payload_foreign *foreign)
{
	while (foreign->count)
		close(foreign->fds[--foreign->count]);
}

int wc_payload_receive(int socket, enum wc_payload_side side, struct wc_payload_message *ret_message, int *ret_fd,
		       struct wc_payload_foreign *ret_foreign)
{
	struct wc_payload_message message;
	/* Room for all that can come: what comes beyond it the kernel closes, and the caller waits for that. The node also gets credentials. */
	char control[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(WC_PAYLOAD_FDS_MAX * sizeof(int))]
		__attribute__((aligned(8)));
	struct iovec part = { .iov_base = &message, .iov_len = sizeof(message) };
	struct msghdr header = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	bool reset = false;
	ssize_t n;

	*ret_fd = -1;
	ret_foreign->count = 0;
	do
		n = recvmsg(socket, &header, MSG_DONTWAIT | MSG_TRUNC | MSG_CMSG_CLOEXEC);
	/* That the other side left something unread is told once; what it sent before is behind it. */
	while (n < 0 && (errno == EINTR || (errno == ECONNRESET && !reset && (reset = true))));
	if (n < 0)
		return errno == EAGAIN ? -EAGAIN : -EPIPE;
	/* An empty message has credentials, the end has not. */
	if (!n && !header.msg_controllen)
		return -EPIPE;
	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header); cmsg; cmsg = CMSG_NXTHDR(&header, cmsg)) {
		size_t bytes = cmsg->cmsg_len - CMSG_LEN(0);

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = 0; at + sizeof(int) <= bytes && ret_foreign->count < WC_PAYLOAD_FDS_MAX;
		     at += sizeof(int))
			memcpy(&ret_foreign->fds[ret_foreign->count++], CMSG_DATA(cmsg) + at, sizeof(int));
	}
	if (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC) || ret_foreign->count > 1 ||
	    wc_payload_check(&message, (size_t)n, ret_foreign->count == 1, side))
		return -EBADMSG;
	if (ret_foreign->count)
		*ret_fd = ret_foreign->fds[--ret_foreign->count];
	*ret_message = message;
	return 0;
}

int wc_payload_send(int socket, const struct wc_payload_message *message, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = { 0 };
	struct iovec part = { .iov_base = (void *)(uintptr_t)message, .iov_len = sizeof(*message) };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };
	struct cmsghdr *cmsg = (struct cmsghdr *)(void *)control;
	ssize_t n;

	if (fd >= 0) {
		header.msg_control = control;
		header.msg_controllen = sizeof(control);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
	}
	do
		n = sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

int wc_payload_is_sealed(int fd, uint32_t length)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct statfs system;
	struct stat status;

	/* Only files in memory have seals: so the two calls after this one ask no file system that could let us wait. */
	return seals >= 0 && (seals & SEALS) == SEALS && !fstatfs(fd, &system) && system.f_type == TMPFS_MAGIC &&
	       !fstat(fd, &status) && status.st_size == length;
}

int wc_payload_seal(const void *payload, uint32_t length)
{
	int fd = memfd_create("warmcore-payload", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL), error;
	uint32_t at = 0;

	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("warmcore-payload", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	while (at < length) {
		ssize_t n = pwrite(fd, (const char *)payload + at, length - at, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			error = n < 0 ? -errno : -EIO;
			goto fail;
		}
		at += (uint32_t)n;
	}
	if (fcntl(fd, F_ADD_SEALS, SEALS)) {
		error = -errno;
		goto fail;
	}
	return fd;
fail:
	close(fd);
	return error;
}
