/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* first_line.h - read the first line of a small file, as the kernel shows most things below /sys and /proc. */
#ifndef WC_FIRST_LINE_H
#define WC_FIRST_LINE_H

#include <fcntl.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

/* Without its end, cut to size; empty when the file cannot be read. */
static inline void wc_first_line(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, text, size - 1);

	text[len > 0 ? len : 0] = 0;
	text[strcspn(text, "\n")] = 0;
	if (fd >= 0)
		close(fd);
}

#endif
