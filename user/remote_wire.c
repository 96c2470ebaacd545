/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* remote_wire.c - see remote_wire.h. The key and its file: remote_key.c. */
#include "user/remote_wire.h"

#include "user/clock.h"

#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nettle/hmac.h>
#include <nettle/memops.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAGIC "warmcore remote 1" /* with its NUL: another version is another text */
#define NONCE_SIZE 32u

/* What is sent, in this order. */
struct challenge { /* by the node */
	char magic[18];
	uint8_t nonce[NONCE_SIZE];
};
struct proof { /* by the client */
	char magic[18];
	uint8_t purpose;
	uint8_t nonce[NONCE_SIZE];
	uint8_t mac[SHA256_DIGEST_SIZE];
};
struct welcome { /* by the node */
	uint8_t mac[SHA256_DIGEST_SIZE];
};
_Static_assert(sizeof(MAGIC) == 18 && sizeof(struct challenge) == 50 && sizeof(struct proof) == 83, "no padding");

void wc_remote_encode(const struct wc_remote_frame *frame, uint8_t out[WC_REMOTE_HEADER])
{
	const uint32_t words[6] = {
		htobe32(frame->kind),	      htobe32(frame->length), htobe32((uint32_t)(frame->id >> 32)),
		htobe32((uint32_t)frame->id), htobe32(frame->total),  htobe32(frame->offset)
	};

	memcpy(out, words, sizeof(words));
}

int wc_remote_decode(const uint8_t in[WC_REMOTE_HEADER], enum wc_remote_side side, struct wc_remote_frame *ret_frame)
{
	static const struct {
		enum wc_remote_side side;
		bool bytes;
		uint32_t max;
	} kinds[] = {
		[WC_REMOTE_ASK] = { WC_REMOTE_BY_CLIENT, true, WC_REMOTE_LONG_MAX },
		[WC_REMOTE_ANSWER] = { WC_REMOTE_BY_NODE, true, WC_REMOTE_ANSWER_MAX },
		[WC_REMOTE_OFFER] = { WC_REMOTE_BY_CLIENT, false, WC_PAYLOAD_LARGE },
		[WC_REMOTE_WANT] = { WC_REMOTE_BY_NODE, false, 0 },
		[WC_REMOTE_FULL] = { WC_REMOTE_BY_NODE, false, 0 },
		[WC_REMOTE_PUT] = { WC_REMOTE_BY_CLIENT, true, WC_PAYLOAD_LARGE },
		[WC_REMOTE_KEPT] = { WC_REMOTE_BY_NODE, false, 0 },
		[WC_REMOTE_DROP] = { WC_REMOTE_BY_CLIENT, false, 0 },
		[WC_REMOTE_RESULT] = { WC_REMOTE_BY_NODE, true, WC_PAYLOAD_LARGE },
	};
	struct wc_remote_frame frame;
	uint32_t words[6], left;

	memcpy(words, in, sizeof(words));
	frame = (struct wc_remote_frame){
		.kind = be32toh(words[0]),
		.length = be32toh(words[1]),
		.id = (uint64_t)be32toh(words[2]) << 32 | be32toh(words[3]),
		.total = be32toh(words[4]),
		.offset = be32toh(words[5]),
	};
	if (frame.kind < WC_REMOTE_ASK || frame.kind > WC_REMOTE_RESULT || kinds[frame.kind].side != side ||
	    frame.total > kinds[frame.kind].max)
		return -EBADMSG;
	if (!kinds[frame.kind].bytes) {
		if (frame.length || frame.offset)
			return -EBADMSG;
	} else {
		/* A piece is as large as it can be: nobody sends a message byte by byte. */
		if (frame.offset > frame.total || frame.offset % WC_REMOTE_CHUNK ||
		    (frame.offset == frame.total && frame.total))
			return -EBADMSG;
		left = frame.total - frame.offset;
		if (frame.length != (left < WC_REMOTE_CHUNK ? left : WC_REMOTE_CHUNK))
			return -EBADMSG;
	}
	*ret_frame = frame;
	return 0;
}

/* Until the socket is ready, or -ETIMEDOUT. */
static int await(int fd, short events, uint64_t end_ns)
{
	struct pollfd ready = { .fd = fd, .events = events };
	uint64_t now = wc_now();

	if (end_ns && now >= end_ns)
		return -ETIMEDOUT;
	return poll(&ready, 1, end_ns ? (int)((end_ns - now) / WC_MS) + 1 : -1) < 0 && errno != EINTR ? -errno : 0;
}

int wc_remote_read(int fd, void *to, size_t length, uint64_t end_ns)
{
	uint8_t *at = to;

	while (length) {
		ssize_t n = recv(fd, at, length, MSG_DONTWAIT);
		int error;

		if (n > 0) {
			at += n;
			length -= (size_t)n;
			continue;
		}
		if (!n || (errno != EAGAIN && errno != EINTR))
			return -EPIPE;
		error = await(fd, POLLIN, end_ns);
		if (error)
			return error;
	}
	return 0;
}

int wc_remote_write(int fd, const void *from, size_t length, uint64_t end_ns)
{
	const uint8_t *at = from;

	while (length) {
		ssize_t n = send(fd, at, length, MSG_DONTWAIT | MSG_NOSIGNAL);
		int error;

		if (n > 0) {
			at += n;
			length -= (size_t)n;
			continue;
		}
		if (errno != EAGAIN && errno != EINTR)
			return -EPIPE;
		error = await(fd, POLLOUT, end_ns);
		if (error)
			return error;
	}
	return 0;
}

/* Each side's label makes its proof of no use for the other's. */
static void prove(const uint8_t key[WC_REMOTE_KEY_SIZE], const char *label, uint8_t purpose,
		  const uint8_t node_nonce[NONCE_SIZE], const uint8_t client_nonce[NONCE_SIZE],
		  uint8_t ret_mac[SHA256_DIGEST_SIZE])
{
	struct hmac_sha256_ctx context;

	hmac_sha256_set_key(&context, WC_REMOTE_KEY_SIZE, key);
	hmac_sha256_update(&context, strlen(label) + 1, (const uint8_t *)label);
	hmac_sha256_update(&context, 1, &purpose);
	hmac_sha256_update(&context, NONCE_SIZE, node_nonce);
	hmac_sha256_update(&context, NONCE_SIZE, client_nonce);
	hmac_sha256_digest(&context, SHA256_DIGEST_SIZE, ret_mac);
	explicit_bzero(&context, sizeof(context));
}

/* A host that vanishes is noticed within a quarter of a minute, and no frame waits for a fuller packet. */
static void set_up(int fd)
{
	const int one = 1, idle_s = 5, interval_s = 3, count = 3, timeout_ms = WC_REMOTE_STALL_MS;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof(timeout_ms));
}

static const char client_label[] = "warmcore remote client", node_label[] = "warmcore remote node";

int wc_remote_meet_client(int fd, const uint8_t key[WC_REMOTE_KEY_SIZE], uint32_t *ret_purpose)
{
	uint64_t end = wc_now() + WC_REMOTE_HANDSHAKE_MS * WC_MS;
	struct challenge challenge = { MAGIC, { 0 } };
	struct proof proof;
	struct welcome welcome;
	uint8_t wanted[SHA256_DIGEST_SIZE];
	int error;

	set_up(fd);
	if (getrandom(challenge.nonce, NONCE_SIZE, 0) != NONCE_SIZE)
		return -EIO;
	error = wc_remote_write(fd, &challenge, sizeof(challenge), end) ?:
									  wc_remote_read(fd, &proof, sizeof(proof), end);
	if (error)
		return error;
	if (memcmp(proof.magic, MAGIC, sizeof(MAGIC)) != 0 || proof.purpose < WC_REMOTE_FOR_QUESTIONS ||
	    proof.purpose > WC_REMOTE_FOR_CLUSTER)
		return -EBADMSG;
	prove(key, client_label, proof.purpose, challenge.nonce, proof.nonce, wanted);
	if (!memeql_sec(wanted, proof.mac, sizeof(wanted)))
		return -EACCES;
	prove(key, node_label, proof.purpose, challenge.nonce, proof.nonce, welcome.mac);
	*ret_purpose = proof.purpose;
	return wc_remote_write(fd, &welcome, sizeof(welcome), end);
}

int wc_remote_meet_node(int fd, const uint8_t key[WC_REMOTE_KEY_SIZE], enum wc_remote_purpose purpose, unsigned ms)
{
	uint64_t end = wc_now() + ms * WC_MS;
	struct challenge challenge;
	struct proof proof = { MAGIC, (uint8_t)purpose, { 0 }, { 0 } };
	struct welcome welcome;
	uint8_t wanted[SHA256_DIGEST_SIZE];
	int error;

	set_up(fd);
	if (getrandom(proof.nonce, NONCE_SIZE, 0) != NONCE_SIZE)
		return -EIO;
	error = wc_remote_read(fd, &challenge, sizeof(challenge), end);
	if (error)
		return error;
	if (memcmp(challenge.magic, MAGIC, sizeof(MAGIC)) != 0)
		return -EBADMSG;
	prove(key, client_label, proof.purpose, challenge.nonce, proof.nonce, proof.mac);
	error = wc_remote_write(fd, &proof, sizeof(proof), end) ?: wc_remote_read(fd, &welcome, sizeof(welcome), end);
	if (error) /* who has not convinced the node is hung up on */
		return error == -EPIPE ? -EACCES : error;
	prove(key, node_label, proof.purpose, challenge.nonce, proof.nonce, wanted);
	return memeql_sec(wanted, welcome.mac, sizeof(wanted)) ? 0 : -EACCES;
}
