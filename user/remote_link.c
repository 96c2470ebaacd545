/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* remote_link.c - see remote_link.h. */
#include "user/remote_link.h"

#include "user/clock.h"
#include "user/payload_message.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#define WAITING_MAX 4096u   /* messages that wait to be sent */
#define PART_MAX_MS 120000u /* a payload has to be here within this time */

struct item {
	struct item *next;
	struct wc_remote_frame frame; /* of its next piece */
	int fd;
};

struct part {
	uint32_t kind; /* 0: a free place */
	uint64_t id;
	uint32_t total, have;
	uint64_t end_ns;
	int fd;
};

struct wc_remote_link {
	int socket;
	enum wc_remote_side peer;
	struct wc_remote_hooks hooks;
	struct part parts[WC_REMOTE_PARTS_MAX];
	uint32_t part_count;
	uint8_t chunk[WC_REMOTE_CHUNK];
	/* Of the sender. */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t added;
	struct item *first, **last;
	uint32_t waiting;
	uint32_t begun; /* of these, messages of which a part was sent */
	bool over;
	_Atomic uint64_t sent, result_end; /* bytes into the socket; so many when the last RESULT's last one was */
};

void wc_remote_link_kill(struct wc_remote_link *link)
{
	pthread_mutex_lock(&link->lock);
	link->over = true;
	pthread_cond_signal(&link->added);
	pthread_mutex_unlock(&link->lock);
	shutdown(link->socket, SHUT_RDWR);
}

/* --- out --- */

static void item_end(struct wc_remote_link *link, struct item *item)
{
	if (item->fd >= 0)
		close(item->fd);
	link->hooks.sent(link->hooks.context, item->frame.kind, item->frame.id, item->frame.total);
	free(item);
}

static int send_piece(struct wc_remote_link *link, struct item *item)
{
	uint64_t end = wc_now() + WC_REMOTE_STALL_MS * WC_MS;
	uint8_t head[WC_REMOTE_HEADER];
	uint32_t left = item->frame.total - item->frame.offset;
	off_t at = item->frame.offset;
	int error;

	item->frame.length = item->fd < 0 ? 0 : left < WC_REMOTE_CHUNK ? left : WC_REMOTE_CHUNK;
	wc_remote_encode(&item->frame, head);
	error = wc_remote_write(link->socket, head, sizeof(head), end);
	for (left = item->frame.length; !error && left;) {
		ssize_t n = sendfile(link->socket, item->fd, &at, left);

		if (n > 0)
			left -= (uint32_t)n;
		else if (!n || (errno != EAGAIN && errno != EINTR)) /* EAGAIN: SO_SNDTIMEO, so it has stalled */
			error = -EPIPE;
		else if (wc_now() >= end)
			error = -ETIMEDOUT;
	}
	item->frame.offset += item->frame.length;
	if (error)
		return error;
	atomic_fetch_add(&link->sent, sizeof(head) + item->frame.length);
	if (item->frame.kind == WC_REMOTE_RESULT)
		atomic_store(&link->result_end, atomic_load(&link->sent));
	return 0;
}

bool wc_remote_link_owes(struct wc_remote_link *link)
{
	uint64_t sent =
		atomic_load(&link->sent); /* before what is on its way is asked for: that may be more then, not less */
	int bytes;

	if (ioctl(link->socket, SIOCOUTQ, &bytes) || bytes < 0)
		return false;
	return sent < atomic_load(&link->result_end) + (uint64_t)bytes;
}

/* The next one in turn, whose part the peer has room for. Under the lock. */
static struct item *next_item(struct wc_remote_link *link)
{
	struct item **at = &link->first, *item;

	while (*at && (*at)->fd >= 0 && !(*at)->frame.offset && link->begun >= WC_REMOTE_PARTS_MAX)
		at = &(*at)->next;
	item = *at;
	if (!item)
		return NULL;
	*at = item->next;
	if (!*at)
		link->last = at;
	link->begun += item->fd >= 0 && !item->frame.offset;
	return item;
}

static void *link_main(void *argument)
{
	struct wc_remote_link *link = argument;
	struct item *item;
	bool large;
	int error = 0;

	sigset_t pipe;

	pthread_setname_np(pthread_self(), "remote-out");
	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE); /* sendfile(2) cannot leave it out */
	pthread_sigmask(SIG_BLOCK, &pipe, NULL);
	pthread_mutex_lock(&link->lock);
	while (!link->over) {
		item = next_item(link);
		if (!item) {
			pthread_cond_wait(&link->added, &link->lock);
			continue;
		}
		large = item->fd >= 0;
		pthread_mutex_unlock(&link->lock);
		error = send_piece(link, item);
		if (error || item->fd < 0 || item->frame.offset >= item->frame.total) {
			item_end(link, item);
			item = NULL;
		}
		if (error)
			wc_remote_link_kill(link);
		pthread_mutex_lock(&link->lock);
		if (item) { /* the others come first */
			item->next = NULL;
			*link->last = item;
			link->last = &item->next;
		} else {
			link->waiting--;
			link->begun -= large;
		}
	}
	while ((item = link->first)) {
		link->first = item->next;
		pthread_mutex_unlock(&link->lock);
		item_end(link, item);
		pthread_mutex_lock(&link->lock);
	}
	pthread_mutex_unlock(&link->lock);
	return NULL;
}

/* Under the lock. */
static void append(struct wc_remote_link *link, struct item *item)
{
	*link->last = item;
	link->last = &item->next;
	link->waiting++;
	pthread_cond_signal(&link->added);
}

int wc_remote_link_send(struct wc_remote_link *link, uint32_t kind, uint64_t id, uint32_t total, int fd)
{
	struct item *item = calloc(1, sizeof(*item));
	int error = item ? 0 : -ENOMEM;

	pthread_mutex_lock(&link->lock);
	if (!error && (link->over || link->waiting >= WAITING_MAX))
		error = -ENOBUFS;
	if (!error) {
		item->frame = (struct wc_remote_frame){ .kind = kind, .id = id, .total = total };
		item->fd = fd;
		append(link, item);
	}
	pthread_mutex_unlock(&link->lock);
	if (!error)
		return 0;
	free(item);
	if (fd >= 0)
		close(fd);
	wc_remote_link_kill(link);
	return error;
}

/* --- in --- */

static struct part *find_part(struct wc_remote_link *link, const struct wc_remote_frame *frame)
{
	struct part *empty = NULL;

	for (uint32_t i = 0; i < WC_REMOTE_PARTS_MAX; i++) {
		struct part *part = &link->parts[i];

		if (part->kind == frame->kind && part->id == frame->id)
			return part->total == frame->total && part->have == frame->offset ? part : NULL;
		if (!part->kind && !empty)
			empty = part;
	}
	/* It begins. */
	if (!empty || frame->offset || !link->hooks.begins(link->hooks.context, frame))
		return NULL;
	empty->fd = memfd_create("warmcore-payload", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (empty->fd < 0)
		return NULL;
	empty->kind = frame->kind;
	empty->id = frame->id;
	empty->total = frame->total;
	empty->have = 0;
	empty->end_ns = wc_now() + PART_MAX_MS * WC_MS;
	link->part_count++;
	return empty;
}

static int part_end(struct wc_remote_link *link, struct part *part)
{
	int fd = part->fd;

	part->kind = 0;
	link->part_count--;
	return fd;
}

static int write_all(int fd, const uint8_t *from, uint32_t length, uint32_t at)
{
	while (length) {
		ssize_t n = pwrite(fd, from, length, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		from += n;
		at += (uint32_t)n;
		length -= (uint32_t)n;
	}
	return 0;
}

/* While a message is not complete, or a frame is not, the peer is not idle but slow. */
static int read_frame(struct wc_remote_link *link, struct wc_remote_frame *ret_frame)
{
	uint8_t head[WC_REMOTE_HEADER];
	int error = wc_remote_read(link->socket, head, 1, link->part_count ? wc_now() + WC_REMOTE_STALL_MS * WC_MS : 0);
	uint64_t end = wc_now() + WC_REMOTE_STALL_MS * WC_MS;

	error = error ?: wc_remote_read(link->socket, head + 1, sizeof(head) - 1, end);
	error = error ?: wc_remote_decode(head, link->peer, ret_frame);
	return error ?: wc_remote_read(link->socket, link->chunk, ret_frame->length, end);
}

int wc_remote_link_read(struct wc_remote_link *link, struct wc_remote_message *ret_message)
{
	for (;;) {
		struct wc_remote_frame frame;
		struct part *part;
		int error = read_frame(link, &frame);

		if (error)
			return error == -EBADMSG ? error : -EPIPE;
		*ret_message = (struct wc_remote_message){ frame.kind, frame.id, frame.total, -1 };
		if (frame.kind == WC_REMOTE_ASK || frame.kind == WC_REMOTE_ANSWER)
			return -EBADMSG; /* in another kind of session */
		if (frame.kind != WC_REMOTE_PUT && frame.kind != WC_REMOTE_RESULT)
			return 0;
		part = find_part(link, &frame);
		if (!part)
			return -EBADMSG;
		error = wc_now() > part->end_ns ? -EPIPE : write_all(part->fd, link->chunk, frame.length, frame.offset);
		part->have += frame.length;
		if (error)
			return error;
		if (part->have < part->total)
			continue;
		ret_message->fd = part_end(link, part);
		if (!fcntl(ret_message->fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE))
			return 0;
		close(ret_message->fd);
		return -EIO;
	}
}

int wc_remote_link_new(int socket, enum wc_remote_side peer, const struct wc_remote_hooks *hooks,
		       struct wc_remote_link **ret_link)
{
	const struct timeval stall = { .tv_sec = WC_REMOTE_STALL_MS / 1000 };
	struct wc_remote_link *link = calloc(1, sizeof(*link));
	int error;

	if (!link) {
		close(socket);
		return -ENOMEM;
	}
	(void)setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &stall, sizeof(stall)); /* sendfile waits as long */
	link->socket = socket;
	link->peer = peer;
	link->hooks = *hooks;
	link->last = &link->first;
	pthread_mutex_init(&link->lock, NULL);
	pthread_cond_init(&link->added, NULL);
	error = pthread_create(&link->thread, NULL, link_main, link);
	if (error) {
		close(socket);
		free(link);
		return -error;
	}
	*ret_link = link;
	return 0;
}

void wc_remote_link_free(struct wc_remote_link *link)
{
	if (!link)
		return;
	wc_remote_link_kill(link);
	pthread_join(link->thread, NULL);
	for (uint32_t i = 0; i < WC_REMOTE_PARTS_MAX; i++)
		if (link->parts[i].kind)
			close(part_end(link, &link->parts[i]));
	pthread_mutex_destroy(&link->lock);
	pthread_cond_destroy(&link->added);
	close(link->socket);
	free(link);
}
