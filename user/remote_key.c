/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* remote_key.c - the key that a node and its clients on other hosts share, and their addresses: see remote_wire.h. */
#include "user/remote_wire.h"

#include <errno.h>
#include <fcntl.h>
#include <nettle/base16.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIGITS (2 * WC_REMOTE_KEY_SIZE)

int wc_remote_key_load(const char *path, uint8_t ret_key[WC_REMOTE_KEY_SIZE], struct wc_fault *fault)
{
	char text[DIGITS + 2];
	struct base16_decode_ctx context;
	size_t size = WC_REMOTE_KEY_SIZE;
	struct stat status;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), error = 0;
	ssize_t n;

	if (fd < 0)
		return wc_fail(fault, errno, "cannot open the key %s: %s; `warmcore remote-key FILE` makes one", path,
			       strerror(errno));
	n = fstat(fd, &status) || !S_ISREG(status.st_mode) ? -1 : read(fd, text, sizeof(text));
	close(fd);
	if (n < 0)
		return wc_fail(fault, EINVAL, "the key %s cannot be read, or is no file", path);
	if ((status.st_uid && status.st_uid != geteuid()) || status.st_mode & 077)
		error = wc_fail(fault, EACCES,
				"the key %s is open to others: it has to belong to root or to this user, with mode 600",
				path);
	base16_decode_init(&context);
	if (!error &&
	    (n < (ssize_t)DIGITS || n > (ssize_t)DIGITS + 1 || (n > (ssize_t)DIGITS && text[DIGITS] != '\n') ||
	     !base16_decode_update(&context, &size, ret_key, DIGITS, text) || size != WC_REMOTE_KEY_SIZE ||
	     !base16_decode_final(&context)))
		error = wc_fail(fault, EINVAL,
				"the key %s is not %u hexadecimal digits; `warmcore remote-key FILE` makes one", path,
				DIGITS);
	explicit_bzero(text, sizeof(text));
	return error;
}

int wc_remote_key_make(const char *path, struct wc_fault *fault)
{
	uint8_t key[WC_REMOTE_KEY_SIZE];
	char text[DIGITS + 1];
	int fd, error = 0;

	if (getrandom(key, sizeof(key), 0) != sizeof(key))
		return wc_fail(fault, EIO, "the system gives no random numbers");
	base16_encode_update(text, sizeof(key), key);
	text[DIGITS] = '\n';
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		error = wc_fail(fault, errno, "cannot make the key %s: %s", path,
				errno == EEXIST ? "it is there already; remove it first if nobody uses it" :
						  strerror(errno));
	} else if (write(fd, text, sizeof(text)) != sizeof(text) || fsync(fd)) {
		error = wc_fail(fault, errno, "cannot write the key %s: %s", path, strerror(errno));
		unlink(path);
	}
	if (fd >= 0)
		close(fd);
	explicit_bzero(key, sizeof(key));
	explicit_bzero(text, sizeof(text));
	return error;
}

int wc_remote_split(const char *text, char *ret_host, size_t size, char ret_port[8], struct wc_fault *fault)
{
	const char *colon = strrchr(text, ':'), *begin = text, *end = colon;
	unsigned long port = 0;
	char *stop = NULL;

	if (colon && colon[1] >= '0' && colon[1] <= '9')
		port = strtoul(colon + 1, &stop, 10);
	if (colon && *text == '[' && colon > text + 1 && colon[-1] == ']') {
		begin++;
		end--;
	} else if (colon && memchr(text, ':', (size_t)(colon - text))) {
		stop = NULL; /* an address of IPv6 without brackets */
	}
	if (!stop || *stop || !port || port > 65535 || end == begin || (size_t)(end - begin) >= size)
		return wc_fail(fault, EINVAL, "'%.80s' is not HOST:PORT, such as 192.0.2.1:4751 or [2001:db8::1]:4751",
			       text);
	memcpy(ret_host, begin, (size_t)(end - begin));
	ret_host[end - begin] = 0;
	snprintf(ret_port, 8, "%lu", port);
	return 0;
}
