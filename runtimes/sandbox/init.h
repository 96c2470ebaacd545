/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* init.h - the first process of a sandbox (../abi/sandbox.h), forked by the maker. */
#ifndef WC_SANDBOX_INIT_H
#define WC_SANDBOX_INIT_H

#include <stdint.h>

struct wc_sandbox_plan {
	uint32_t first, count;	/* user ids */
	uint32_t tmp_mb;	/* of /tmp */
	char *const *below_tmp; /* folders that are to be seen in there all the same, NULL at the end */
	char *const *writable;	/* folders that functions may write, beside /tmp; NULL at the end */
};

/* Be the init: `life` is its life socket; from `go` comes a byte when its user ids are mapped. */
__attribute__((noreturn)) void wc_sandbox_init(int life, int go, const struct wc_sandbox_plan *plan);

/* A request with 1 to `most` descriptors: how many, and its byte. 0: end-of-file; -1: something else. */
int wc_sandbox_receive(int fd, char *ret_request, int *fds, int most);

#endif
